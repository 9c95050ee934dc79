"""DensityImputer beside scikit-learn's imputers, on eight tables with labels.

``python -m tests.benchmarks.imputers`` prints a table for each section; ``--quick`` takes one set
and few rows. A fifth of the entries of all rows is removed completely at random; imputers are
fitted to the training rows, without labels, and complete all. Of the holes of test rows, in
standard deviations of the column: root mean square error, CRPS (of 64 draws, or of chained
regressions 20, the absolute error of one value) and what central intervals of nominal 90 % hold.
Downstream is the accuracy on completed test rows of a logistic regression and of boosted trees that
were trained on completed training rows.
"""

import sys
import warnings
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.benchmarks import raw_data
from tests.benchmarks.data import data_folder
from tests.benchmarks.imputation import figures, hide
from tests.benchmarks.records import argument_parser, run, timed
from tests.benchmarks.sections import section_cases, section_tables

SEEDS = 0, 1, 2
OURS = "skrae"
FRACTION, TEST_SHARE, MAX_ROWS, QUICK_ROWS = 0.2, 0.25, 4000, 200
N_DRAWS, N_CHAINED, N_ROUNDS, N_TREES = 64, 20, 10, 10
GOOD_WINE = 6.0
SPEED_ROWS, SPEED_COLUMNS, SPEED_FIT = 100_000, 10, 10_000


# --- tables ---------------------------------------------------------------------------------------


def _wine(colour):
    rows = np.loadtxt(data_folder() / f"{colour}wine.csv.gz", delimiter=";", skiprows=1)
    return rows[:, :-1], rows[:, -1] >= GOOD_WINE


def _parkinsons():
    rows = np.loadtxt(data_folder() / "parkinsons_updrs.csv.gz", delimiter=",", skiprows=1)
    # The first columns are the subject, the age, the sex and the time of the test.
    return rows[:, 4:], rows[:, 2] > 0.0


def _ionosphere():
    rows = np.genfromtxt(
        data_folder() / "ionosphere.csv.gz", delimiter=",", dtype=str, skip_header=1
    )
    return rows[:, 2:-1].astype(float), rows[:, -1] == "good"


def _frame(name, label):
    frame = raw_data.table(name).dropna()
    numbers = frame.select_dtypes("number")
    return numbers.to_numpy(float), frame[label].cat.codes.to_numpy()


TABLES = {
    "red wine": lambda: _wine("red"),
    "white wine": lambda: _wine("white"),
    "Parkinsons": _parkinsons,
    "ionosphere": _ionosphere,
    "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "penguins": lambda: _frame("penguins", "species"),
    "diamonds": lambda: _frame("diamonds", "cut"),
}


class Problem(NamedTuple):
    """Rows with holes and the same without, standardised by the training part, and labels."""

    train: np.ndarray
    holed_train: np.ndarray
    test: np.ndarray
    holed_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


@cache
def _table(name):
    return TABLES[name]()


def problem(name, seed, quick=False):
    """The `Problem` of a table and a seed."""
    X, y = _table(name)
    order = np.random.default_rng(seed).permutation(len(X))[: QUICK_ROWS if quick else MAX_ROWS]
    train, test, y_train, y_test = train_test_split(
        X[order], y[order], test_size=TEST_SHARE, random_state=seed, stratify=y[order]
    )
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    rng = np.random.default_rng([seed, 1])
    holed = hide(train, rng, FRACTION), hide(test, rng, FRACTION)
    return Problem(train, holed[0], test, holed[1], y_train, y_test)


# --- imputers: (seed) -> estimator, and how it draws ----------------------------------------------


def _ours(seed, quick):
    from skrae import DensityImputer, RegularizedAutoEncoderScore

    density = RegularizedAutoEncoderScore(max_iter=10) if quick else None
    return DensityImputer(density, random_state=seed)


def _iterative(seed, estimator=None, **options):
    return IterativeImputer(estimator, max_iter=N_ROUNDS, random_state=seed, **options)


IMPUTERS = {
    OURS: _ours,
    "SimpleImputer": lambda seed, quick: SimpleImputer(),
    "KNNImputer": lambda seed, quick: KNNImputer(),
    "IterativeImputer, BayesianRidge": lambda seed, quick: _iterative(seed),
    "IterativeImputer, BayesianRidge, draws": (
        lambda seed, quick: _iterative(seed, sample_posterior=True)
    ),
    "IterativeImputer, ExtraTrees": lambda seed, quick: _iterative(
        seed, ExtraTreesRegressor(N_TREES, random_state=seed)
    ),
}


class Filled(NamedTuple):
    """Completed training and test rows, draws of the latter (n, m, d), and CPU seconds."""

    train: np.ndarray
    test: np.ndarray
    draws: np.ndarray
    fit_cpu: float
    impute_cpu: float


@lru_cache(maxsize=32)
def filled(name, seed, model, quick):
    """What an imputer makes of a table."""
    own = problem(name, seed, quick)
    imputer = IMPUTERS[model](seed, quick)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, fit = timed(imputer.fit, own.holed_train)
        test, impute = timed(imputer.transform, own.holed_test)
        if model == OURS:
            draws = np.stack(imputer.sample(own.holed_test, N_DRAWS), axis=1)
        elif getattr(imputer, "sample_posterior", False):
            each = [imputer.transform(own.holed_test) for _ in range(N_CHAINED)]
            draws = np.stack(each, axis=1)
        else:
            draws = test[:, None]
        return Filled(imputer.transform(own.holed_train), test, draws, fit.cpu, impute.cpu)


# --- sections -------------------------------------------------------------------------------------


def holes(case):
    """RMSE of what is filled in, CRPS and coverage of draws, over the holes of test rows."""
    quick = bool(case.get("quick"))
    own = problem(case["set"], case["seed"], quick)
    found = filled(case["set"], case["seed"], case["model"], quick)
    drawn = figures(found.draws, own.holed_test, own.test)
    mean = figures(found.test[:, None], own.holed_test, own.test)
    return {
        "rmse": mean["rmse"],
        "crps": drawn["crps"],
        "coverage": None if np.isnan(drawn["coverage"]) else drawn["coverage"],
        "fit_cpu": found.fit_cpu,
        "impute_cpu": found.impute_cpu,
    }


def downstream(case):
    """Accuracy of classifiers of completed rows."""
    quick, seed = bool(case.get("quick")), case["seed"]
    own = problem(case["set"], seed, quick)
    found = filled(case["set"], seed, case["model"], quick)
    classifiers = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "boosted": HistGradientBoostingClassifier(random_state=seed),
    }
    return {
        name: float(model.fit(found.train, own.y_train).score(found.test, own.y_test))
        for name, model in classifiers.items()
    }


def speed(case):
    """CPU seconds to complete 100 000 rows of ten columns, after a fit to 10 000."""
    from skrae import DensityImputer
    from skrae.datasets import RotatedMixture

    quick, seed = bool(case.get("quick")), case["seed"]
    n = QUICK_ROWS if quick else SPEED_ROWS
    rows = RotatedMixture(n_features=SPEED_COLUMNS).sample(n, random_state=seed)
    holed = hide(rows, np.random.default_rng(seed), FRACTION)
    imputer = DensityImputer(random_state=seed).fit(rows[:SPEED_FIT])
    _, seconds = timed(imputer.transform, holed)
    return {"impute_cpu": seconds.cpu, "n_patterns": len(np.unique(np.isnan(holed), axis=0))}


SECTIONS = {"holes": holes, "downstream": downstream, "speed": speed}
COLUMNS = {
    "holes": {"rmse": 3, "crps": 3, "coverage": 3, "fit_cpu": 1, "impute_cpu": 2},
    "downstream": {"logistic": 3, "boosted": 3},
    "speed": {"impute_cpu": 1, "n_patterns": 0},
}
TITLES = {
    "rmse": "RMSE",
    "crps": "CRPS",
    "coverage": "held by 90 %",
    "fit_cpu": "fit, CPU s",
    "impute_cpu": "completion, CPU s",
    "logistic": "LogisticRegression",
    "boosted": "HistGradientBoostingClassifier",
}


def cases_of(seed):
    """All cases of a seed."""
    del seed
    for name in TABLES:
        for model in IMPUTERS:
            yield {"section": "holes", "set": name, "model": model}
            yield {"section": "downstream", "set": name, "model": model}
    yield {"section": "speed", "set": "mixture d=10", "model": OURS}


def measure(case):
    """The figures of a case, by its section."""
    return SECTIONS[case["section"]](case)


def report(found):
    """A table for each section, of means over seeds."""
    return section_tables(found, COLUMNS, ("set", "model"), TITLES)


def main(arguments=None):
    """Print the tables."""
    parser = argument_parser("imputers", __doc__, list(IMPUTERS), SEEDS)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="default all")
    parser.add_argument("--sets", nargs="+", help="tables; default all")
    options = parser.parse_args(arguments)
    asked = section_cases((sys.modules[__name__],), SEEDS, options)
    asked = (case for case in asked if not options.sets or case["set"] in options.sets)
    print(report(run(asked, measure, options)))


if __name__ == "__main__":
    main()
