"""What the tables share: cases become records, kept as JSON, counted over seeds, shown as markdown.

A command names its cases, a function that measures one, and how the records become a table:

    def cases(options):
        for name, seed, model in itertools.product(sets, options.seeds, options.models):
            yield {"set": name, "seed": seed, "model": model}

    def measure(case):
        return {"mean": -10.2, "fit_cpu": 3.1}  # anything json can hold

    def main(arguments=None):
        options = argument_parser("density", __doc__, MODELS).parse_args(arguments)
        print(report(run(cases(options), measure, options)))

A record is its case, the figures measured and the environment. With ``--json FILE`` the file is
written after every record, so that a stop loses one; cases which the file already holds are not run
again, and the table shows all it holds. So peers and skrae can be run on different days, or by two
commands at once: remove a record from the file to have it run anew.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

PACKAGES = "numpy", "scipy", "scikit-learn", "torch", "zuko"


# --- time -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seconds:
    """Processor time (all threads of the process) and wall time of one piece of work."""

    cpu: float
    wall: float


def timed(work, *args):
    """Result of ``work(*args)`` and the `Seconds` it took."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = work(*args)
    return result, Seconds(time.process_time() - cpu, time.perf_counter() - wall)


# --- command line ---------------------------------------------------------------------------------


def argument_parser(command, description, models, seeds=(0, 1, 2)):
    """Parser of the options every table has; a command adds its own.

    Under ``--quick`` a command runs as few cases as show that all of it works; seeds are then the
    first of ``seeds`` unless named.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{command}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    listed = " ".join(map(str, seeds))
    parser.add_argument("--quick", action="store_true", help="a small run, within a minute")
    parser.add_argument(
        "--models", nargs="+", choices=models, help="default all, or a few if quick"
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, help=f"default {listed}; {seeds[0]} if quick"
    )
    parser.add_argument("--json", type=Path, help="file of records to add to; made if missing")
    parser.add_argument("--threads", type=int, default=1, help="default 1")
    return parser


def choose(named, full, quick_part, quick):
    """What the command line named, else the quick part or all.

    >>> choose(None, (0, 1, 2), (0,), quick=True), choose([2], (0, 1, 2), (0,), quick=True)
    ([0], [2])
    """
    return list(named if named is not None else quick_part if quick else full)


# --- records --------------------------------------------------------------------------------------


def environment(threads):
    """Versions, processor and threads a record was measured with."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "processor": _processor(),
        "threads": threads,
    }


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def run(cases, measure, options):
    """The records of the JSON file, and one measured for each case that it lacks.

    Parameters
    ----------
    cases : iterable of dict
        What identifies a record. Under ``--quick`` ``"quick": True`` is added; a small run's
        records are neither taken for a full one's nor returned among them.
    measure : callable
        ``measure(case)`` gives the figures, a dict that json can hold.
    options : argparse.Namespace
        Of `argument_parser`: ``json``, ``threads``, ``quick``.
    """
    records = load(options.json)
    torch.set_num_threads(options.threads)
    with threadpool_limits(limits=options.threads):
        for case in cases:
            case = {**case, "quick": True} if options.quick else case
            if select(_of_size(records, options.quick), **case):
                continue
            record = {**case, **measure(case), "environment": environment(options.threads)}
            print(json.dumps(record), file=sys.stderr, flush=True)
            # Read again: another command may have added to the file meanwhile.
            records = [*load(options.json, records), record]
            save(records, options.json)
    return _of_size(records, options.quick)


def _of_size(records, quick):
    return [record for record in records if record.get("quick", False) == quick]


def load(path, otherwise=()):
    """Records of a JSON file, or others if there is none."""
    return json.loads(path.read_text()) if path and path.exists() else list(otherwise)


def save(records, path):
    """Replace the JSON file in one step, so that a stop never leaves half of it."""
    if path:
        whole = path.with_name(path.name + ".part")
        whole.write_text("[\n" + ",\n".join(map(json.dumps, records)) + "\n]\n")
        os.replace(whole, path)


def select(records, **wanted):
    """Records with these entries.

    >>> select([{"set": "a", "seed": 0}, {"set": "b", "seed": 0}], set="b")
    [{'set': 'b', 'seed': 0}]
    """
    return [record for record in records if wanted.items() <= record.items()]


def grouped(records, *keys, order=None):
    """Records by the values of some keys, ``{(value, ...): [record, ...]}``.

    ``order`` maps a key to its values in the order in which a table shows them; other values come
    after these, as they are first met.

    >>> found = [{"set": "b", "n": 1}, {"set": "a", "n": 2}, {"set": "b", "n": 3}]
    >>> {key: len(group) for key, group in grouped(found, "set", order={"set": "ab"}).items()}
    {('a',): 1, ('b',): 2}
    """
    groups = {}
    for record in records:
        groups.setdefault(tuple(record[key] for key in keys), []).append(record)
    places = [_places(records, key, order or {}) for key in keys]
    ranked = sorted(groups, key=lambda values: [p[v] for p, v in zip(places, values, strict=True)])
    return {values: groups[values] for values in ranked}


def _places(records, key, order):
    values = dict.fromkeys([*order.get(key, ()), *(record[key] for record in records)])
    return {value: place for place, value in enumerate(values)}


# --- figures of a group of records, as cells ------------------------------------------------------


def mean(group, key):
    """Mean of a figure; NaN if a record has none (None)."""
    values = [record[key] for record in group]
    return float("nan") if None in values else float(np.mean(values))


def spread(group, key):
    """Standard deviation of a figure over the records (n - 1); NaN if there is one only."""
    values = [record[key] for record in group]
    return float("nan") if None in values or len(values) < 2 else float(np.std(values, ddof=1))


def cell(value, digits=3):
    """A number as text, "-" for None and NaN.

    >>> cell(1.23456, 2), cell(None)
    ('1.23', '-')
    """
    return "-" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def mean_and_spread(group, key, digits=2):
    """Mean over the records and, in brackets, their standard deviation.

    >>> mean_and_spread([{"ll": 1.0}, {"ll": 2.0}], "ll")
    '1.50 (0.71)'
    """
    return f"{cell(mean(group, key), digits)} ({cell(spread(group, key), digits)})"


def ahead(ours, others, key, by="seed"):
    """By how much a figure is larger in ``ours``, pair by pair: mean (sd), or "-" without pairs.

    Splits differ more than models do, so that the spread of the difference tells more than either.

    >>> ours = [{"seed": 0, "ll": 1.0}, {"seed": 1, "ll": 5.0}]
    >>> ahead(ours, [{"seed": 1, "ll": 4.0}, {"seed": 0, "ll": 0.0}], "ll")
    '+1.00 (0.00)'
    """
    values = {record[by]: record[key] for record in others}
    gains = [{"gain": r[key] - values[r[by]]} for r in ours if r[by] in values]
    if not gains:
        return "-"
    return f"{mean(gains, 'gain'):+.2f} ({cell(spread(gains, 'gain'), 2)})"


def table(head, rows):
    """Markdown table.

    >>> print(table(["set", "mean"], [["redwine", "-10.33"]]))
    | set | mean |
    | --- | --- |
    | redwine | -10.33 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
