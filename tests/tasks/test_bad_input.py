"""Options, targets and rows that no density can have: what was got, what is expected."""

import copy

import numpy as np
import pytest
from numpy.testing import assert_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture

from skrae import MaximumEntropyDensity
from tests.tasks.laws import second_order

FACES = range(1, 7)
X = np.random.default_rng(0).uniform(0.1, 0.9, (30, 2))


def cubic(X):
    """Powers up to the third."""
    return np.hstack([X, X**2, X**3])


def double(X):
    """Twice the rows."""
    return 2.0 * X


# name: (options, rows, error, message)
BAD = {
    "alpha": ({"alpha": -1.0}, X, ValueError, "alpha=-1.0, expected a finite number >= 0"),
    "tol": ({"tol": 0.0}, X, ValueError, "tol=0.0, expected"),
    "max_iter": ({"max_iter": 0}, X, ValueError, "max_iter=0, expected an integer >= 1"),
    "n_particles": ({"n_particles": 2.5}, X, TypeError, "n_particles=2.5, expected an integer"),
    "a name": ({"moments": "skewness"}, X, ValueError, "'skewness', expected names of"),
    "no name": ({"moments": [3]}, X, TypeError, "with 3, expected names of"),
    "no moments": ({"moments": []}, X, ValueError, r"moments=\[\], expected names"),
    "a variance of no mean": (
        {"moments": "variance"},
        X,
        ValueError,
        "expected 'mean' among them",
    ),
    "neither rows nor targets": ({}, None, ValueError, "neither X nor targets"),
    "too few targets": (
        {"moments": "mean", "targets": [1.0]},
        X,
        ValueError,
        "1 targets, expected 2: mean of x0, mean of x1",
    ),
    "a target that is not finite": (
        {"moments": "mean", "targets": [1.0, np.nan]},
        X,
        ValueError,
        "target of nan for mean of x1",
    ),
    "a covariance that is not symmetric": (
        {"targets": [[0.0, 0.0], [[1.0, 0.5], [0.2, 1.0]]]},
        None,
        ValueError,
        r"covariance of shape \(2, 2\) as target, expected a symmetric matrix",
    ),
    "a covariance that is not positive": (
        {"targets": [[0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]]]},
        None,
        ValueError,
        "depends on the other columns",
    ),
    "a variance of zero": (
        {"moments": ("mean", "variance"), "targets": [0.0, 0.0]},
        None,
        ValueError,
        "variance of 0 for x0, expected a positive one",
    ),
    "a mean on the line": (
        {"moments": "mean", "targets": [0.0]},
        None,
        ValueError,
        "not integrable.*end of x0",
    ),
    "a mean in space": (
        {"moments": "mean", "targets": [0.0, 0.0, 0.0]},
        None,
        ValueError,
        "not integrable.*end of x0",
    ),
    "a third moment on the line": (
        {"moments": cubic, "targets": [0.0, 1.0, 0.3]},
        None,
        ValueError,
        "not integrable",
    ),
    "a kurtosis above the normal density's": (
        {"moments": lambda X: np.hstack([X, X**2, X**4]), "targets": [0.0, 1.0, 3.2]},
        None,
        ValueError,
        "not integrable",
    ),
    "a mean outside of the die": (
        {"moments": "mean", "targets": [7.0], "support": FACES},
        None,
        ValueError,
        "target of 7 for mean of x0.*came to 6 with",
    ),
    "a mean on the edge of the die": (
        {"moments": "mean", "targets": [6.0], "support": FACES},
        None,
        ValueError,
        "target of 6 for mean of x0.*on the edge",
    ),
    "a mean below the half-line": (
        {"moments": "mean", "targets": [-1.0], "support": (0.0, np.inf)},
        None,
        ValueError,
        "target of -1 for mean of x0",
    ),
    "a variance wider than the interval": (
        {"moments": ("mean", "variance"), "targets": [0.5, 0.3], "support": (0.0, 1.0)},
        None,
        ValueError,
        "target of 0.3 for variance of x0",
    ),
    "targets that contradict each other": (
        {"moments": ("mean", double), "targets": [3.0, 7.0], "support": FACES},
        None,
        ValueError,
        "target of [37] for (mean of x0|moment 0 of double).*contradict",
    ),
    "targets of particles out of reach": (
        {
            "moments": "mean",
            "targets": [2.0, 0.5],
            "base_density": GaussianMixture().fit(X),
            "support": (0.0, 1.0),
            "n_particles": 500,
            "random_state": 0,
        },
        None,
        ValueError,
        "target of 2 for mean of x0",
    ),
    "a log of what is negative": ({"moments": "log"}, -X, ValueError, "log of x0 that is nan in"),
    "a function that is NaN": (
        {"moments": lambda X: np.sqrt(X), "targets": [1.0], "support": (-1.0, 1.0)},
        None,
        ValueError,
        "that is NaN at",
    ),
    "a function of another length": (
        {"moments": lambda X: X[:1]},
        X,
        ValueError,
        r"moments of shape \(1, 2\) for 2 rows",
    ),
    "rows outside of the support": (
        {"support": (0.5, 1.0)},
        X,
        ValueError,
        "of 30 rows outside of the support, the first in",
    ),
    "bounds in the wrong order": (
        {"support": (1.0, 0.0)},
        X,
        ValueError,
        r"\(1.0, 0.0\), expected",
    ),
    "bounds of other columns": ({"support": [(0, 1)] * 3}, X, ValueError, "3 columns, expected 2"),
    "points twice": ({"support": [1, 1, 2]}, X[:, :1], ValueError, "equal points"),
    "another key": ({"support": {"states": [1, 2]}}, X, ValueError, "expected None, a pair"),
    "words as support": ({"support": "positive"}, X, TypeError, "support='positive', expected"),
    "breakpoints of other columns": (
        {"breakpoints": [[0.5]]},
        X,
        ValueError,
        "or a sequence of numbers for each; there are 2 columns",
    ),
    "no base density": ({"base_density": "normal"}, X, TypeError, "str as base_density, expected"),
    "a base density that is not fitted": (
        {"base_density": GaussianMixture()},
        X,
        ValueError,
        "GaussianMixture as base_density that is not fitted.*FrozenEstimator",
    ),
    "a base density of other columns": (
        {"base_density": GaussianMixture().fit(X[:, :1])},
        X,
        ValueError,
        "2 columns, expected 1, those of base_density",
    ),
    "equal rows": ({}, np.ones((5, 2)), ValueError, "all equal, expected at least two"),
    "holes": ({}, np.where(X > 0.8, np.nan, X), ValueError, "NaN in .* of 30 rows"),
}


@pytest.fixture(scope="module")
def fitted():
    """A fitted model, for tests that leave it as it is."""
    return MaximumEntropyDensity(("mean", "variance"), support=(0.0, 1.0)).fit(X)


# Roots of negative numbers are what is asked about.
@pytest.mark.filterwarnings("ignore:invalid value encountered in sqrt")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_and_nothing_is_lost(name, fitted):
    options, rows, error, message = BAD[name]
    model = MaximumEntropyDensity(**options)
    with pytest.raises(error, match=message):
        model.fit(rows)
    assert [attribute for attribute in vars(model) if attribute.endswith("_")] == []
    defaults = MaximumEntropyDensity().get_params()
    again = copy.deepcopy(fitted).set_params(**{**defaults, **options})
    before = copy.deepcopy(vars(again))
    with pytest.raises(error, match=message):
        again.fit(rows)
    del before["base_density"], before["moments"]
    assert_equal({name: vars(again)[name] for name in before}, before)


def test_what_is_not_fitted_answers_nothing():
    for question in (MaximumEntropyDensity().sample, lambda: MaximumEntropyDensity().score(X)):
        with pytest.raises(NotFittedError):
            question()


def test_a_draw_of_no_rows_is_refused(fitted):
    with pytest.raises(ValueError, match="n_samples=0, expected an integer >= 1"):
        fitted.sample(0)


def test_constant_and_collinear_columns_get_a_floor():
    rows = np.column_stack([X, np.full(len(X), 0.1)])
    with pytest.warns(UserWarning, match=r"Got constant columns \(x2\)"):
        model = MaximumEntropyDensity().fit(rows)
    alone = MaximumEntropyDensity().fit(X)
    np.testing.assert_allclose(
        model.score_samples(rows), alone.score_samples(X) - np.log(0.01) - 0.5 * np.log(2 * np.pi)
    )
    with pytest.warns(UserWarning, match="Got collinear columns"):
        model = MaximumEntropyDensity().fit(np.column_stack([X, X @ [1.0, 2.0]]))
    assert np.isfinite(model.score_samples(np.column_stack([X, X @ [1.0, 2.0]]))).all()


def test_kinks_along_a_curve_are_told_of():
    """A disc in a square: no cell ends along a circle."""
    with pytest.warns(UserWarning, match="after as many cells as there may be"):
        model = MaximumEntropyDensity(
            lambda X: np.hypot(X[:, 0], X[:, 1]) < 1.0, targets=[0.5], support=[(0, 2), (0, 2)]
        ).fit()
    np.testing.assert_allclose(
        np.exp(model.score_samples([[0.1, 0.1]])), 0.5 / (np.pi / 4), rtol=1e-3
    )


def test_a_frozen_base_density_stays_fitted_in_clones():
    rows = second_order(X)[:, :2]
    base = GaussianMixture(random_state=0).fit(rows)
    model = MaximumEntropyDensity(
        "mean", base_density=FrozenEstimator(base), n_particles=200, random_state=0
    )
    first, second = (clone(model).fit(rows) for _ in range(2))
    np.testing.assert_array_equal(first.multipliers_, second.multipliers_)
    with pytest.raises(ValueError, match="not fitted"):
        clone(MaximumEntropyDensity("mean", base_density=base)).fit(rows)
