"""What can be measured: every command of the benchmarks, its table and its time on one core.

Each is run as ``python -m tests.benchmarks.NAME``, and ``--help`` tells its options.
"""

import ast
from pathlib import Path

from tests.benchmarks.records import table

FOLDER = Path(__file__).parent
# Processor time of a full run, every model included; --quick of any takes less than a minute.
COMMANDS = {
    "density": "4 hours",
    "published": "2 hours",
    "score": "2 hours",
    "outliers": "1 hour",
    "speed": "1 hour",
    "sampling": "1 hour",
    "imputation": "20 minutes",
    "trust": "20 minutes",
    "contraction": "5 minutes",
}


def first_line(name):
    """What a command says of itself, read without importing what it needs."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    return ast.get_docstring(tree).splitlines()[0]


def main():
    """Print the list of commands."""
    rows = [[f"`{name}`", first_line(name), time] for name, time in COMMANDS.items()]
    print("Run one as python -m tests.benchmarks.NAME; --quick makes it small, --help explains it.")
    print("\n" + table(["name", "what it prints", "a full run, about"], rows))


if __name__ == "__main__":
    main()
