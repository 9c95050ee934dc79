"""Entropy, information and maximum entropy: draws, codes, moments, estimates and words.

``python -m tests.benchmarks.information`` prints a table for each: draws decoded from codes beside
those of the score model and of mixtures on PCA's codes; the entropy of codes; what a classifier
reads from codes learned by information; entropy and information estimated from rows; densities and
classifiers by moments, beside closed forms, logistic regression and QDA; words of a text without
spaces. ``--quick`` runs one case of each in a few steps.
"""

from tests.benchmarks import (
    information_codes,
    information_estimates,
    information_moments,
    information_words,
)
from tests.benchmarks.records import argument_parser, run
from tests.benchmarks.sections import of_parts, section_cases, section_tables

SEEDS = 0, 1, 2
PARTS = information_codes, information_estimates, information_moments, information_words
SECTIONS, COLUMNS = of_parts(PARTS, "SECTIONS"), of_parts(PARTS, "COLUMNS")
KEYS = "set", "n_components", "weight", "rho", "model"
TITLES = {"ratio": "distance / floor", "fit_cpu": "fit, CPU s", "r2": "R^2", "ms": "fit, ms"}


def measure(case):
    """The figures of a case, by its section."""
    return SECTIONS[case["section"]](case)


def cases(options):
    """All that were asked for; of a quick run the first case of each section."""
    return section_cases(PARTS, SEEDS, options)


def report(found):
    """A table for each section, of means over seeds."""
    return section_tables(found, COLUMNS, KEYS, TITLES)


def main(arguments=None):
    """Print the tables."""
    models = sorted({case["model"] for part in PARTS for case in part.cases_of(0)})
    parser = argument_parser("information", __doc__, models, SEEDS)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="default all")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
