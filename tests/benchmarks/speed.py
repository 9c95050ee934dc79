"""How fast skrae fits, scores and differentiates beside its peers, and what it holds in memory.

``python -m tests.benchmarks.speed`` prints four tables: rows a second, the race of whole fits,
memory above the data, and the time of the import; ``--tables throughput memory`` two of them.
All are of one law, a rotated mixture of five Gaussians in ten dimensions; ``--quick`` runs each
table small.
"""

import itertools
from functools import cache

import numpy as np

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import RotatedMixture
from tests.benchmarks import records
from tests.benchmarks.models import OURS, Fit, fit_model
from tests.benchmarks.peers import FittedPeer, MixturePeer, whitening
from tests.benchmarks.records import cell, timed
from tests.benchmarks.speed_processes import IMPORT_NOTE, MEMORY_NOTE, import_seconds, peak_memory
from tests.benchmarks.speed_throughput import (
    DTYPES,
    THROUGHPUT_NOTE,
    throughput,
    with_network,
)

LAW = RotatedMixture(n_features=10, n_components=5)
MODELS = OURS, "flow", "gmm"
TABLES = "throughput", "fit", "memory", "import"
FIT_ROWS, QUICK_FIT_ROWS = (1_000, 10_000, 100_000), (300,)
MEMORY_ROWS = 100_000, 1_000_000
TASKS = "fit", "score_samples", "log_density_gradient"
GMM_COMPONENTS, GMM_RIDGE = 8, 1e-4
FRESH_ROWS, FRESH_SEED = 20_000, 1000
# Steps a noise level of the whole, shorter fits by which the time to a likelihood is told.
SHORTER = 1, 30, 100


# --- what is measured -----------------------------------------------------------------------------


def measure(case):
    """Figures of one case."""
    return _MEASURES[case["table"]](case)


def _measure_throughput(case):
    quick = case.get("quick", False)
    rows, model = _default_fit(quick)
    fresh = LAW.sample(10_000 if quick else 100_000, FRESH_SEED).astype(case["dtype"])
    return throughput(model, rows, fresh, repeats=2 if quick else 5)


@cache
def _default_fit(quick):
    """Training rows and the default fit to them, for all that is asked of a fitted model."""
    rows = LAW.sample(300 if quick else 10_000, random_state=0)
    return rows, RegularizedAutoEncoderScore(random_state=0).fit(rows)


def _measure_fit(case):
    """Whole fit and its likelihood; the last tenth of the rows is the peers' validation part."""
    rows, fresh = LAW.sample(case["n"], case["seed"]), LAW.sample(FRESH_ROWS, FRESH_SEED)
    figures = {"truth": float(LAW.log_density(fresh).mean())}
    n_train = len(rows) - max(100, len(rows) // 10)
    if case["model"] == "gmm":
        fit = _fixed_mixture(rows, case["seed"])
    else:
        fit = fit_model(case["model"], rows[:n_train], rows[n_train:], case["seed"])
    seconds, mean = fit.fit_seconds, fit.model.score_samples(fresh).mean()
    figures.update(mean=float(mean), fit_cpu=seconds.cpu, fit_wall=seconds.wall)
    if case["model"] == OURS:
        shorter = SHORTER[:1] if case.get("quick") else SHORTER
        figures["shorter"] = [_shorter_fit(rows, fresh, case["seed"], k) for k in shorter]
    return figures


def _fixed_mixture(rows, seed):
    scaling = whitening(rows)
    z = scaling.forward(rows)
    density, seconds = timed(MixturePeer, z, GMM_COMPONENTS, GMM_RIDGE, seed)
    return Fit(FittedPeer("gmm", scaling, density, {}, seconds, seconds), seconds, seconds)


def _shorter_fit(rows, fresh, seed, max_iter):
    model = RegularizedAutoEncoderScore(max_iter=max_iter, random_state=seed)
    model, seconds = timed(model.fit, rows)
    return {"max_iter": max_iter, "mean": float(model.score(fresh)), "fit_cpu": seconds.cpu}


def _measure_memory(case):
    _, model = _default_fit(case.get("quick", False))
    return peak_memory(with_network(model), case["task"], LAW.sample(case["n"], FRESH_SEED))


def _measure_import(case):
    return import_seconds(repeats=3 if case.get("quick") else 11)


_MEASURES = {
    "throughput": _measure_throughput,
    "fit": _measure_fit,
    "memory": _measure_memory,
    "import": _measure_import,
}


def cases(options):
    """Those of the tables named, in their order."""
    quick = options.quick
    for name in options.tables:
        if name == "throughput":
            yield from ({"table": name, "dtype": dtype} for dtype in DTYPES)
        elif name == "fit":
            sizes = records.choose(None, FIT_ROWS, QUICK_FIT_ROWS, quick)
            seeds = records.choose(options.seeds, (0,), (0,), quick)
            models = records.choose(options.models, MODELS, (OURS, "gmm"), quick)
            for n, seed, model in itertools.product(sizes, seeds, models):
                yield {"table": name, "n": n, "seed": seed, "model": model}
        elif name == "memory":
            sizes = (10_000,) if quick else MEMORY_ROWS
            tasks = TASKS[1:] if quick else TASKS
            for task, n in itertools.product(tasks, sizes):
                yield {"table": name, "task": task, "n": n}
        else:
            yield {"table": name}


# --- tables ---------------------------------------------------------------------------------------


def throughput_table(found):
    """Thousands of rows a second; one line a model and dtype."""
    rows = []
    for record in found:
        floor = record["models"]["network alone"]
        for name, rate in record["models"].items():
            cells = [f"{rate[task] / 1e3:.3g}" for task in ("score", "gradient")]
            shares = [f"{rate[task] / floor[task]:.2g}" for task in ("score", "gradient")]
            rows.append([record["dtype"], name, *cells, *shares])
    head = ["rows", "model", "density, 1000 rows/s", "gradient, 1000 rows/s"]
    return records.table([*head, "density / floor", "gradient / floor"], rows)


def fit_table(found):
    """Seconds and likelihood of whole fits, and the time to the flow's likelihood."""
    groups = records.grouped(found, "n", "model", order={"model": MODELS})
    rows = []
    for (n, model), group in groups.items():
        flow = groups.get((n, "flow"))
        seconds, truth = (records.mean(group, key) for key in ("fit_cpu", "truth"))
        ratio = f"{seconds / records.mean(flow, 'fit_cpu'):.2g}" if flow else "-"
        reached = _time_to(flow, group) if flow and model == OURS else "-"
        likelihood = cell(records.mean(group, "mean")), cell(truth)
        rows.append([f"{n:.0e}", model, cell(seconds, 1), ratio, *likelihood, reached])
    head = ["n", "model", "fit s", "fit / flow", "test log-likelihood", "of the law"]
    return records.table([*head, "s to the flow's likelihood"], rows)


def _time_to(flow, group):
    """Mean over the seeds of the cheapest whole fit that is at least as likely as the flow."""
    seconds = []
    for record in group:
        (goal,) = (r["mean"] for r in flow if r["seed"] == record["seed"])
        fits = [*record["shorter"], record]
        seconds.append(min((f["fit_cpu"] for f in fits if f["mean"] >= goal), default=np.nan))
    mean = float(np.mean(seconds))
    share = mean / records.mean(flow, "fit_cpu")
    return "-" if np.isnan(mean) else f"{cell(mean, 1)} ({share:.2g})"


def growth(found):
    """The exponent e of fit time ~ n^e by least squares, for each model with several n."""
    lines = []
    for (model,), group in records.grouped(found, "model", order={"model": MODELS}).items():
        n, seconds = (np.log([r[key] for r in group]) for key in ("n", "fit_cpu"))
        if len(set(n)) > 1:
            lines.append(f"{model} {np.polyfit(n, seconds, 1)[0]:.2f}")
    return f"Exponent of the fit time in n: {', '.join(lines)}." if lines else ""


def memory_table(found):
    """Megabytes above what was held before, by task and n."""
    rows = [
        [r["task"], f"{r['n']:.0e}", f"{r['data_mb']:.0f}", f"{r['peak_mb']:.0f}"] for r in found
    ]
    return records.table(["task", "n", "rows, MB", "peak above, MB"], rows)


def import_table(found):
    """Median seconds of the imports."""
    rows = [[r["of"], f"{r['cpu']:.3f}", f"{r['wall']:.3f}"] for f in found for r in f["imports"]]
    return records.table(["import", "processor s", "wall s"], rows)


FIT_NOTE = (
    f"Processor seconds of one whole fit, and mean log density of {FRESH_ROWS} fresh rows. skrae"
    " at its defaults; the flow is the one training that gave the kept model; the mixture has"
    f" {GMM_COMPONENTS} components on whitened rows. The time to the flow's likelihood is that of"
    f" the cheapest whole fit as likely as the flow: skrae with max_iter in {SHORTER} or its"
    " default, in brackets in units of the flow's fit."
)


SECTIONS = {
    "throughput": ("Rows a second", throughput_table, THROUGHPUT_NOTE),
    "fit": ("Whole fits", fit_table, FIT_NOTE),
    "memory": ("Memory", memory_table, MEMORY_NOTE),
    "import": ("Import", import_table, IMPORT_NOTE),
}


def report(found):
    """Every table that has records, with its heading and note."""
    parts = []
    for name, (title, show, note) in SECTIONS.items():
        chosen = records.select(found, table=name)
        if chosen:
            parts += [f"### {title}", show(chosen), growth(chosen) if name == "fit" else "", note]
    return "\n\n".join(filter(None, parts))


def main(arguments=None):
    """Print the tables."""
    parser = records.argument_parser("speed", __doc__, MODELS, seeds=(0,))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args(arguments)
    print(report(records.run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
