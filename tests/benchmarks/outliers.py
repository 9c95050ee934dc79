"""Outliers by low density: ROC-AUC of -log p beside the detectors people use, and what blur adds.

``python -m tests.benchmarks.outliers`` prints two tables. Training rows (60 %) contain the
outliers and no model sees a label; the test rows (40 %) tell the area under the curve, the chance
that an outlier scores higher than an inlier. ``--quick`` runs one trial of the smallest set.

A density that follows the training rows closely gives every cluster its own peak, a cluster of
outliers too. The second table shows what happens when it may not: skrae's base density blurred in
closed form, q_s = q * N(0, s^2 I) on standardised columns, with s from 0 to 2.
"""

from functools import cache
from itertools import product

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.svm import OneClassSVM

from tests.benchmarks.data import load_splits
from tests.benchmarks.models import OURS, fit_model
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

SETS = ("cardio", "mammography", "pendigits", "thyroid", "ionosphere")
TRIALS = (0, 1, 2, 3, 4)
N_NEIGHBORS = 5
HELD_OUT = 0.1
JITTER = 1e-3
DETECTORS = ("iforest", "knn", "lof", "ocsvm")
DENSITIES = (OURS, "gmm", "kde")
OPTIONS = {
    "noise_level=1": {"noise_level": 1.0},
    "gaussian": {"base_density": "gaussian"},
}
BLURS = (0.0, 0.3, 0.5, 1.0, 2.0)
BLUR = "blur={:g}"
SMOOTH = (*OPTIONS, *map(BLUR.format, BLURS))
MODELS = (*DENSITIES, *DETECTORS, *SMOOTH)
QUICK_SETS, QUICK_MODELS = ("ionosphere",), ("skrae", "gmm", "kde", *DETECTORS)
NOTE = f"""\
`knn` is the distance to the {N_NEIGHBORS}th neighbour; `iforest`, `lof` (novelty) and `ocsvm` are
scikit-learn's defaults; the mixture's size and the kernel's bandwidth are chosen on a held-out
tenth of the training rows, and skrae holds out as much by itself. `blur=0` is skrae's base alone,
on standardised columns; `gaussian` is `base_density="gaussian"`."""


# --- anomaly scores, greater is odder -------------------------------------------------------------


def anomaly(name, train, test, seed):
    """Anomaly score of each test row by the model ``name``, shape (n,), and what is to record."""
    if name in DENSITIES:
        return _by_density(name, train, test, seed)
    if name in SMOOTH:
        return _by_smooth(name, train, test, seed), {}
    return _by_detector(name, train, test, seed), {}


def _by_density(name, train, test, seed):
    """-log p: the peers are tuned on a held-out tenth, which skrae holds out by itself.

    One column of cardio is the difference of two others: whitening needs the peers' jitter.
    """
    order = np.random.default_rng(seed).permutation(len(train))
    n = len(train) - int(HELD_OUT * len(train))
    if name != OURS:
        train = train + JITTER * np.random.default_rng(seed).standard_normal(train.shape)
    fit = fit_model(name, train[order[:n]], train[order[n:]], seed)
    return -fit.model.score_samples(test), {"details": fit.details}


def _by_detector(name, train, test, seed):
    if name == "knn":
        return NearestNeighbors(n_neighbors=N_NEIGHBORS).fit(train).kneighbors(test)[0][:, -1]
    detector = {
        "iforest": IsolationForest(random_state=seed),
        "lof": LocalOutlierFactor(novelty=True),
        "ocsvm": OneClassSVM(),
    }[name]
    return -detector.fit(train).score_samples(test)


def _by_smooth(name, train, test, seed):
    from skrae import RegularizedAutoEncoderScore

    if name in OPTIONS:
        model = RegularizedAutoEncoderScore(random_state=seed, **OPTIONS[name])
        return -model.fit(train).score_samples(test)
    model = _base_fit(train.tobytes(), train.shape, seed)
    return -blurred_log_density(model, float(name.removeprefix("blur=")))(test)


@cache
def _base_fit(content, shape, seed):
    """The fit whose base is blurred; its network is not asked, so one step has to do."""
    from skrae import RegularizedAutoEncoderScore

    plain = {"column_kinds": "continuous", "margins": "identity", "scaling": "standardize"}
    model = RegularizedAutoEncoderScore(noise_level=0.35, max_iter=1, **plain, random_state=seed)
    return model.fit(np.frombuffer(content).reshape(shape))


def blurred_log_density(model, s):
    """Log density, in working space, of the base convolved with N(0, s^2 I), without margins.

    Exact for Gaussian components; the one Student-t component is widened likewise, which is no
    convolution but keeps its tail.
    """
    import torch

    from skrae.mixtures.mixture import MixtureDensity

    parts = "weights", "means", "factors", "dofs", "blocks"
    arrays = (getattr(model, f"base_{part}_") for part in parts)
    blurred = MixtureDensity(*arrays).blurred(s**2, local=False)

    def log_density(X):
        z = (np.asarray(X) - model.location_) @ model.whitening_
        return blurred.log_density(torch.as_tensor(z)).numpy()

    return log_density


# --- cases and tables -----------------------------------------------------------------------------


def cases(options):
    sets = choose(options.sets, SETS, QUICK_SETS, options.quick)
    trials = choose(options.seeds, TRIALS, TRIALS[:1], options.quick)
    models = choose(options.models, MODELS, QUICK_MODELS, options.quick)
    for name, seed, model in product(sets, trials, models):
        yield {"set": name, "seed": seed, "model": model}


def measure(case):
    train, test, labels = load_splits().outlier_split(case["set"], case["seed"])
    (scores, details), seconds = timed(anomaly, case["model"], train, test, case["seed"])
    auc = float(roc_auc_score(labels, scores))
    return {"auc": auc, "fit_cpu": seconds.cpu, **details}


def trial_means(records, n_sets):
    """One record a seed: the mean over the sets, for the seeds that have all of them.

    >>> found = [{"set": "a", "seed": 0, "auc": 0.5}, {"set": "b", "seed": 0, "auc": 0.7}]
    >>> trial_means([*found, {"set": "a", "seed": 1, "auc": 0.5}], n_sets=2)
    [{'seed': 0, 'auc': 0.6}]
    """
    return [
        {"seed": seed, "auc": mean(group, "auc")}
        for (seed,), group in grouped(records, "seed").items()
        if len(group) == n_sets
    ]


def auc_table(records, models):
    """A row per model: its mean AUC on each set and over the sets, the best of a column in bold."""
    found = [record for record in records if record["model"] in models]
    order = {"set": SETS, "model": models}
    sets = [name for (name,) in grouped(found, "set", order=order)]
    names = [name for (name,) in grouped(found, "model", order=order)]
    groups = [select(found, model=name) for name in names]
    trials = [trial_means(group, len(sets)) for group in groups]
    values = np.array(
        [
            [*(_auc(select(group, set=name)) for name in sets), _auc(means)]
            for group, means in zip(groups, trials, strict=True)
        ]
    )
    best = [np.nanmax(column, initial=0.0) for column in values.T]
    rows = [
        [name, *map(_bold, row, best), cell(spread(means, "auc"))]
        for name, row, means in zip(names, values, trials, strict=True)
    ]
    return table(["model", *sets, "mean", "sd over trials"], rows)


def _auc(group):
    return mean(group, "auc") if group else np.nan


def _bold(value, best):
    text = cell(value)
    return f"**{text}**" if text == cell(best) and text != "-" else text


def report(records):
    """Both tables, those that have rows."""
    found = {record["model"] for record in records}
    parts = []
    if found - set(SMOOTH):
        parts += ["### ROC-AUC, outliers among the training rows", auc_table(records, MODELS[:7])]
    if found & set(SMOOTH):
        parts += ["### The same, blurred or with other options", auc_table(records, SMOOTH)]
    return "\n\n".join([*parts, NOTE])


def main(arguments=None):
    parser = argument_parser("outliers", __doc__, MODELS, TRIALS)
    parser.add_argument("--sets", nargs="+", choices=SETS, help="default all")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
