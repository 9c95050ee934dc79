"""Known densities, and the moments under which theirs is the largest entropy."""

from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.special import digamma, i0, i1


class Case(NamedTuple):
    """Options of a density, the law that it must be, and rows of its bulk."""

    options: dict
    law: object
    rows: np.ndarray


def angle(X):
    """cos and sin."""
    return np.hstack([np.cos(X), np.sin(X)])


def second_order(X):
    """All monomials of degree one and two."""
    i, j = np.triu_indices(X.shape[1])
    return np.hstack([X, X[:, i] * X[:, j]])


def _line(low, high):
    return np.linspace(low, high, 101)[:, None]


COVARIANCE = np.array([[4.0, 0.7], [0.7, 1.0]])
PLANE = stats.multivariate_normal([1.0, 2.0], COVARIANCE)
TRUNCATED = stats.truncnorm(-1.0, 2.0, loc=1.0, scale=3.0)
CASES = {
    "normal": Case(
        {"moments": second_order, "targets": [3.0, 13.0]}, stats.norm(3.0, 2.0), _line(-7, 13)
    ),
    "exponential": Case(
        {"moments": "mean", "targets": [2.0], "support": (0.0, np.inf)},
        stats.expon(scale=2.0),
        _line(0, 20),
    ),
    "exponential to the left": Case(
        {"moments": "mean", "targets": [-2.0], "support": (-np.inf, 0.0)},
        stats.gamma(1.0, scale=2.0),
        _line(-20, 0),
    ),
    "truncated normal": Case(
        {
            "moments": ("mean", "variance"),
            "targets": [TRUNCATED.mean(), TRUNCATED.var()],
            "support": (-2.0, 7.0),
        },
        TRUNCATED,
        _line(-2, 7),
    ),
    "gamma": Case(
        {
            "moments": ("mean", "log"),
            "targets": [7.5, digamma(2.5) + np.log(3.0)],
            "support": (0.0, np.inf),
        },
        stats.gamma(2.5, scale=3.0),
        _line(0.1, 30),
    ),
    "gamma with a pole": Case(
        {
            "moments": ("mean", "log"),
            "targets": [1.5, digamma(0.5) + np.log(3.0)],
            "support": (0.0, np.inf),
        },
        stats.gamma(0.5, scale=3.0),
        _line(0.1, 15),
    ),
    "von Mises": Case(
        {"moments": angle, "targets": [i1(3.0) / i0(3.0), 0.0], "support": (-np.pi, np.pi)},
        stats.vonmises(3.0),
        _line(-3, 3),
    ),
    "Laplace": Case(
        {"moments": lambda X: np.abs(X - 0.3), "targets": [2.0], "breakpoints": [0.3]},
        stats.laplace(0.3, 2.0),
        _line(-10, 10),
    ),
    "narrow normal": Case(
        {"moments": ("mean", "variance"), "targets": [0.3, 1e-8], "support": (0.0, 1.0)},
        stats.norm(0.3, 1e-4),
        _line(0.2995, 0.3005),
    ),
    "Student": Case(
        {"moments": lambda X: np.log1p(X**2 / 3.0), "targets": [digamma(2.0) - digamma(1.5)]},
        stats.t(3.0),
        _line(-10, 10),
    ),
    "normal of the plane": Case(
        {
            "moments": second_order,
            "targets": [1.0, 2.0, 5.0, 2.7, 5.0],
            "support": [(-np.inf, np.inf)] * 2,
        },
        PLANE,
        PLANE.rvs(200, random_state=0),
    ),
    "normal in closed form": Case(
        {"targets": [[1.0, 2.0], COVARIANCE]}, PLANE, PLANE.rvs(200, random_state=0)
    ),
}


def log_density(case):
    """Of the law, at the rows of a case."""
    rows = case.rows if case.rows.shape[1] > 1 else case.rows[:, 0]
    return case.law.logpdf(np.abs(rows) if case.rows.max() <= 0.0 else rows)
