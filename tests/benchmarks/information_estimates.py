"""Entropy and mutual information of 1000 rows of laws in which both are known.

Beside the estimates of skrae stand scikit-learn's and SciPy's, where there is one column, and what
a normal law with the covariance of the rows would have. Figures are of several tables of a law: how
far the mean of the estimates is from the truth (bias), and their standard deviation (spread).
"""

import math
import re
import time

import numpy as np
from scipy.stats import differential_entropy
from sklearn.feature_selection import mutual_info_regression

from skrae.metrics import knn_entropy, knn_mutual_information

N_ROWS, N_TABLES = 1000, 10
WIDTHS = 1, 2, 5, 10, 20
CORRELATIONS = 0.5, 0.9, 0.99, 0.999


def normal_entropy(covariance):
    """Of a normal law, in nats."""
    covariance = np.atleast_2d(covariance)
    return float(np.linalg.slogdet(2 * np.pi * np.e * covariance)[1] / 2)


# --- laws: a function from a generator to rows, and the truth -------------------------------------


def _entropy_laws():
    for d in WIDTHS:
        yield f"normal, {d} columns", (_normal(np.ones(d)), normal_entropy(np.eye(d)))
    for d in (2, 5, 10):
        scales = np.geomspace(1.0, 1000.0, d)
        yield (
            f"normal, {d} columns of scales 1 to 1000",
            (_normal(scales), normal_entropy(np.diag(scales**2))),
        )
    for d in (1, 5):
        yield f"exponential, {d} columns", (_exponential(d), float(d))


def _normal(scales):
    return lambda rng: rng.standard_normal((N_ROWS, len(scales))) * scales


def _exponential(d):
    return lambda rng: rng.exponential(size=(N_ROWS, d))


def _information_laws():
    for d in (1, 5):
        for rho in CORRELATIONS:
            yield f"rho {rho}, {d} x {d} columns", (_pairs(d, rho), pairs_information(d, rho))
    truth = pairs_information(1, 0.9)
    yield "rho 0, 1 x 1 columns", (_pairs(1, 0.0), 0.0)
    yield "rho 0.9, 1 x 1 columns, exp(x) and exp(y)", (_pairs(1, 0.9, bend=np.exp), truth)
    truth = pairs_information(5, 0.9)
    yield "rho 0.9, 5 x 5 columns that correlate by 0.95", (_pairs(5, 0.9, within=0.95), truth)


def pairs_information(d, rho):
    """-d log(1 - rho^2) / 2, of d columns that correlate by rho with d others."""
    return -d / 2 * math.log(1 - rho**2)


def _pairs(d, rho, within=0.0, bend=lambda x: x):
    root = np.linalg.cholesky((1 - within) * np.eye(d) + within)

    def draw(rng):
        X, noise = rng.standard_normal((2, N_ROWS, d))
        Y = rho * X + math.sqrt(1 - rho**2) * noise
        return bend(X @ root.T), bend(Y @ root.T)

    return draw


ENTROPY_LAWS = dict(_entropy_laws())
INFORMATION_LAWS = dict(_information_laws())


# --- models: functions of rows --------------------------------------------------------------------


def _plug_in_information(X, Y):
    parts = (normal_entropy(np.cov(own.T)) for own in (X, Y, np.hstack([X, Y])))
    of_X, of_Y, of_both = parts
    return of_X + of_Y - of_both


ENTROPIES = {
    "skrae": knn_entropy,
    "skrae, whiten=False": lambda X: knn_entropy(X, whiten=False),
    "scipy differential_entropy": lambda X: float(differential_entropy(X.ravel())),
    "normal plug-in": lambda X: normal_entropy(np.cov(X.T)),
}
INFORMATIONS = {
    "skrae": knn_mutual_information,
    "skrae, whiten=False": lambda X, Y: knn_mutual_information(X, Y, whiten=False),
    "mutual_info_regression": lambda X, Y: float(
        mutual_info_regression(X, Y.ravel(), random_state=0)[0]
    ),
    "normal plug-in": _plug_in_information,
}
# There is nothing else to compare with in several columns.
OF_ONE_COLUMN = "scipy differential_entropy", "mutual_info_regression"


def _figures(case, law, estimate):
    draw, truth = law
    n_tables = 2 if case.get("quick") else N_TABLES
    tables = [draw(np.random.default_rng([case["seed"], i])) for i in range(n_tables)]
    start = time.process_time()
    estimates = [estimate(rows) for rows in tables]
    seconds = time.process_time() - start
    return {
        "truth": truth,
        "estimate": float(np.mean(estimates)),
        "bias": float(np.mean(estimates) - truth),
        "spread": float(np.std(estimates, ddof=1)),
        "cpu": seconds / n_tables,
    }


def entropy(case):
    """Entropy of rows of a known law."""
    return _figures(case, ENTROPY_LAWS[case["set"]], ENTROPIES[case["model"]])


def information(case):
    """What one table tells of another, of a known law of both."""
    estimate = INFORMATIONS[case["model"]]
    return _figures(case, INFORMATION_LAWS[case["set"]], lambda pair: estimate(*pair))


SECTIONS = {"entropy estimates": entropy, "information estimates": information}
_DIGITS = {"truth": 3, "estimate": 3, "bias": 3, "spread": 3, "cpu": 3}
COLUMNS = dict.fromkeys(SECTIONS, _DIGITS)
_KNOWN = {
    "entropy estimates": (ENTROPY_LAWS, ENTROPIES),
    "information estimates": (INFORMATION_LAWS, INFORMATIONS),
}


def cases_of(seed):
    """Every law and what is measured on it, the same for each seed."""
    for section, (laws, models) in _KNOWN.items():
        for name in laws:
            one = re.search(r"\b1 (x 1 )?column", name)
            for model in models:
                if one or model not in OF_ONE_COLUMN:
                    yield {"section": section, "set": name, "model": model}
