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
from tests.benchmarks.records import argument_parser, cell, grouped, mean, run, table

SEEDS = 0, 1, 2
PARTS = information_codes, information_estimates, information_moments, information_words
SECTIONS = {name: function for part in PARTS for name, function in part.SECTIONS.items()}
COLUMNS = {name: columns for part in PARTS for name, columns in part.COLUMNS.items()}
KEYS = "set", "n_components", "weight", "rho", "model"
MOST_DIGITS = 6
TITLES = {"ratio": "distance / floor", "fit_cpu": "fit, CPU s", "r2": "R^2", "ms": "fit, ms"}


def measure(case):
    """The figures of a case, by its section."""
    return SECTIONS[case["section"]](case)


def cases(options):
    """All that were asked for; of a quick run the first case of each section."""
    begun = set()
    for seed in options.seeds or (SEEDS[:1] if options.quick else SEEDS):
        for case in (case for part in PARTS for case in part.cases_of(seed)):
            section = case["section"]
            if options.sections and section not in options.sections:
                continue
            if options.models and case["model"] not in options.models:
                continue
            if options.quick and section in begun:
                continue
            begun.add(section)
            yield {**case, "seed": seed}


def _figure(value, digits):
    """A number as text; of errors of rounding the order of magnitude."""
    return f"{value:.0e}" if digits > MOST_DIGITS else cell(value, digits)


def report(found):
    """A table for each section, of means over seeds."""
    parts = []
    for (section,), group in grouped(found, "section", order={"section": SECTIONS}).items():
        keys = [key for key in KEYS if any(key in record for record in group)]
        columns, rows = COLUMNS[section], []
        for values, own in grouped(group, *keys).items():
            filled = [{**dict.fromkeys(columns), **record} for record in own]
            figures = [_figure(mean(filled, key), digits) for key, digits in columns.items()]
            rows.append([*map(str, values), *figures, str(len(own))])
        head = [*keys, *(TITLES.get(key, key.replace("_", " ")) for key in columns), "seeds"]
        parts.append(f"### {section}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def main(arguments=None):
    """Print the tables."""
    models = sorted({case["model"] for part in PARTS for case in part.cases_of(0)})
    parser = argument_parser("information", __doc__, models, SEEDS)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="default all")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
