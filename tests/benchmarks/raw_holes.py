"""Fits to rows with holes, these holes imputed, and the time that holes cost.

Entries of the training rows are removed completely at random; test rows are whole. Columns are
standardised, and protein has 10 000 training rows. Beside the fit to rows with holes are the same
estimator on rows that an imputer filled, on rows that never lost anything, and on so few of these
that as many entries are left: what the entries are worth where none stands beside a hole. All
columns are numbers to it, so that all densities are of one measure.

Imputed are the holes of the training rows: root mean square error and CRPS over all of them, of 64
draws, in standard deviations; a method that gives one value has the absolute error as its CRPS.
"""

import warnings
from functools import lru_cache

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from tests.benchmarks.data import density_split
from tests.benchmarks.imputation import figures, hide
from tests.benchmarks.raw_ours import OURS, estimator
from tests.benchmarks.records import timed

TABLES = "redwine", "parkinsons", "protein_casp"
FRACTIONS = 0.2, 0.4
MAX_ROWS, QUICK_ROWS = 10_000, 300
N_DRAWS = 64
HOLE_SEED = 7000
N_TREES, N_ROUNDS = 10, 10
SPEED_ROWS, SPEED_COLUMNS, SPEED_FRACTION = 10_000, 10, 0.2

COMPLETE, FEWER = f"{OURS}, complete rows", f"{OURS}, fewer complete rows"
MEANS, NEIGHBOURS = "SimpleImputer", "KNNImputer"
RIDGE, TREES = "IterativeImputer, BayesianRidge", "IterativeImputer, ExtraTrees"
IMPUTERS = {
    MEANS: lambda seed: SimpleImputer(),
    NEIGHBOURS: lambda seed: KNNImputer(),
    RIDGE: lambda seed: IterativeImputer(max_iter=N_ROUNDS, random_state=seed),
    TREES: lambda seed: IterativeImputer(
        ExtraTreesRegressor(N_TREES, random_state=seed), max_iter=N_ROUNDS, random_state=seed
    ),
}
AFTER = f"{OURS} after "
FILLED = {f"{AFTER}{name}": name for name in (MEANS, NEIGHBOURS, RIDGE)}


def holed_split(case):
    """Training rows, the same with holes, and test rows."""
    train, validation, test = density_split(case["set"], case["seed"])
    rows = np.vstack([train, validation])[: QUICK_ROWS if case.get("quick") else MAX_ROWS]
    rng = np.random.default_rng(HOLE_SEED + case["seed"])
    return rows, hide(rows, rng, case["fraction"]), test


def _filled(name, holed, seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return IMPUTERS[name](seed).fit_transform(holed)


def _fit(case, rows):
    return estimator(case, column_kinds="continuous").fit(rows)


@lru_cache(maxsize=1)
def _on_holes(**case):
    """(model, `Seconds`) of a fit to rows with holes, kept for the other section."""
    return timed(_fit, case, holed_split(case)[1])


def _model_on_holes(case):
    names = "set", "seed", "fraction", "quick"
    return _on_holes(**{name: case[name] for name in names if name in case})


def holes(case):
    """Mean log density of test rows, of a fit to rows with holes or to filled ones."""
    rows, _, test = holed_split(case)
    model, seconds = _model_on_holes(case) if case["model"] == OURS else _on_rows(case, rows)
    return {"mean": float(model.score_samples(test).mean()), "fit_cpu": seconds.cpu}


def _on_rows(case, rows):
    """The same of a fit to filled rows, or to some of the complete ones."""
    if case["model"] in FILLED:
        rows = _filled(FILLED[case["model"]], holed_split(case)[1], case["seed"])
    elif case["model"] == FEWER:
        order = np.random.default_rng(HOLE_SEED + case["seed"]).permutation(len(rows))
        rows = rows[order[: round((1.0 - case["fraction"]) * len(rows))]]
    return timed(_fit, case, rows)


def imputation(case):
    """RMSE and CRPS of the holes of training rows."""
    rows, holed, _ = holed_split(case)
    model, fitting = _model_on_holes(case) if case["model"] == OURS else (None, None)
    draws, seconds = timed(_imputed, case, holed, model)
    found = figures(draws, holed, rows)
    cpu = seconds.cpu + (fitting.cpu if fitting else 0.0)
    return {"rmse": found["rmse"], "crps": found["crps"], "impute_cpu": cpu}


def _imputed(case, holed, model):
    """Completed rows, (n, m, d), by a fitted model or, where that is None, by a peer."""
    if model is None:
        return _filled(case["model"], holed, case["seed"])[:, None]
    from skrae import RAESampler

    sampler = RAESampler(model, random_state=case["seed"])
    return np.asarray(sampler.sample_conditional(holed, N_DRAWS))


def speed(case):
    """Processor time of a fit to rows with holes over that to the same rows without."""
    from skrae.datasets import RotatedMixture

    n = QUICK_ROWS if case.get("quick") else SPEED_ROWS
    rows = RotatedMixture(n_features=SPEED_COLUMNS).sample(n, random_state=case["seed"])
    holed = hide(rows, np.random.default_rng(HOLE_SEED + case["seed"]), SPEED_FRACTION)
    _, whole = timed(_fit, case, rows)
    _, seconds = timed(_fit, case, holed)
    return {
        "ratio": seconds.cpu / whole.cpu,
        "complete_cpu": whole.cpu,
        "holed_cpu": seconds.cpu,
        "n_patterns": len(np.unique(np.isnan(holed), axis=0)),
    }


SECTIONS = {"holes": holes, "imputation": imputation, "speed": speed}
COLUMNS = {
    "holes": {"mean": 3, "fit_cpu": 1},
    "imputation": {"rmse": 3, "crps": 3, "impute_cpu": 1},
    "speed": {"ratio": 2, "complete_cpu": 1, "holed_cpu": 1, "n_patterns": 0},
}


def cases_of(seed):
    """All cases of a seed."""
    del seed
    for name in TABLES:
        for fraction in FRACTIONS:
            own = {"set": name, "fraction": fraction}
            for model in (OURS, COMPLETE, FEWER, *FILLED):
                yield {"section": "holes", **own, "model": model}
            for model in (OURS, *IMPUTERS):
                yield {"section": "imputation", **own, "model": model}
    yield {"section": "speed", "set": "mixture d=10", "fraction": SPEED_FRACTION, "model": OURS}
