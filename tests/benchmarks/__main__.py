"""What can be measured: every command of the benchmarks, its table and its time on one core.

Each is run as ``python -m tests.benchmarks.NAME``, and ``--help`` tells its options. The records of
docs/benchmarks come from ``--json docs/benchmarks/NAME.json``; ``python -m tests.benchmarks
--report docs/benchmarks`` prints the tables that they make, without measuring anything.
"""

import argparse
import ast
import importlib
from pathlib import Path

from tests.benchmarks.records import load, table

FOLDER = Path(__file__).parent
# Processor time of a full run, every model included; --quick of those that have it takes less
# than a minute.
COMMANDS = {
    "density": "4 hours",
    "published": "2 hours",
    "large": "2 hours",
    "score": "2 hours",
    "outliers": "1 hour",
    "detectors": "2 hours",
    "speed": "1 hour",
    "sampling": "1 hour",
    "autoencoders": "1 hour",
    "information": "1 hour",
    "raw_tables": "4 hours",
    "imputation": "20 minutes",
    "imputers": "20 minutes",
    "conditionals": "30 minutes",
    "trust": "20 minutes",
    "reliability": "2 hours",
    "fuzz": "15 minutes",
    "optimism": "10 minutes",
    "hard_tables": "10 minutes",
    "size": "1 hour",
    "wide": "10 minutes",
    "many_columns": "10 minutes",
    "contraction": "5 minutes",
    "answers": "1 minute",
}
# Of these docs/benchmarks keeps the records.
KEPT = (
    "density",
    "large",
    "size",
    "many_columns",
    "published",
    "score",
    "outliers",
    "detectors",
    "autoencoders",
    "information",
    "raw_tables",
    "imputers",
    "conditionals",
    "speed",
)


def first_line(name):
    """What a command says of itself, read without importing what it needs."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree).splitlines()[0]


def index():
    """The list of commands, as a table."""
    rows = [[f"`{name}`", first_line(name), time] for name, time in COMMANDS.items()]
    text = "Run one as python -m tests.benchmarks.NAME; --quick makes it small, --help explains it."
    return text + "\n\n" + table(["name", "what it prints", "a full run, about"], rows)


def reports(folder):
    """The tables of every ``NAME.json`` of a folder, each under the command that printed it."""
    parts = []
    for name in KEPT:
        records = load(folder / f"{name}.json")
        if records:
            module = importlib.import_module(f"tests.benchmarks.{name}")
            parts += [f"## `python -m tests.benchmarks.{name}`", module.report(records)]
    return "\n\n".join(parts)


def main(arguments=None):
    """Print the list of commands, or the tables of records that were kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="print its records' tables")
    folder = parser.parse_args(arguments).report
    print(reports(folder) if folder else index())


if __name__ == "__main__":
    main()
