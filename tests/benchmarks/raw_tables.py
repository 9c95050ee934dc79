"""Raw tables, of categories, holes and counts as they are: densities, predictions and draws.

``python -m tests.benchmarks.raw_tables`` prints a table for each section: the log density of rows
of numbers and categories, and a category predicted from it; fits to rows with holes, and these
holes imputed; draws beside test rows; laws of counts whose truth is known; the time that holes
cost. ``--quick`` runs one case of each on few rows and in few steps.
"""

from tests.benchmarks import raw_categories, raw_counts, raw_draws, raw_holes
from tests.benchmarks.raw_ours import OURS
from tests.benchmarks.records import argument_parser, run
from tests.benchmarks.sections import of_parts, section_cases, section_tables

SEEDS = 0, 1, 2
PARTS = raw_categories, raw_holes, raw_draws, raw_counts
SECTIONS, COLUMNS = of_parts(PARTS, "SECTIONS"), of_parts(PARTS, "COLUMNS")
KEYS = "set", "fraction", "model"
TITLES = {
    "mean": "nats a row",
    "mean_complete": "of complete rows",
    "fit_cpu": "fit, CPU s",
    "rmse": "RMSE",
    "crps": "CRPS",
    "impute_cpu": "imputation, CPU s",
    "sample_cpu": "draws, CPU s",
    "complete_cpu": "complete, CPU s",
    "holed_cpu": "holes, CPU s",
    "gap": "less the truth",
}


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
    parser = argument_parser("raw_tables", __doc__, models, SEEDS)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="default all")
    parser.add_argument("--sets", nargs="+", help="tables or laws; default all")
    parser.add_argument("--peers-only", action="store_true", help="leave skrae out")
    options = parser.parse_args(arguments)
    asked = (
        case
        for case in cases(options)
        if (not options.sets or case["set"] in options.sets)
        and not (options.peers_only and case["model"].startswith(OURS))
    )
    print(report(run(asked, measure, options)))


if __name__ == "__main__":
    main()
