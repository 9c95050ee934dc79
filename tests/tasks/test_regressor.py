"""The law of a number given a row: closed forms, its density's conditionals, tables as they are."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV

from skrae import DensityRegressor, RegularizedAutoEncoderScore
from tests.density.incomplete.tables import quick, quietly


def small(**options):
    return DensityRegressor(quick(**options))


def linear(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 2)) @ [[1.0, 0.5], [0.0, 1.0]]
    return X, 3.0 + X @ [1.0, -2.0] + 0.5 * rng.standard_normal(n)


@pytest.fixture(scope="module")
def gaussian():
    """A density of one Gaussian: the wide component is asked to have no weight."""
    X, y = linear(300, 0)
    model = quietly(small(base_density="gaussian", select=None).fit, X, y)
    model.density_.base_weights_ = np.array([1.0, 1e-300])
    return model, X, y


@pytest.fixture(scope="module")
def noisy():
    """Noise whose width rises from 1 to 3 with x."""
    rng = np.random.default_rng(1)
    x = rng.uniform(1.0, 3.0, 1500)
    y = x * (1.0 + rng.standard_normal(1500))
    return quietly(small(max_components=16, margins="auto").fit, x[:, None], y)


def test_a_gaussian_is_linear_regression(gaussian):
    model, X, y = gaussian
    line = LinearRegression().fit(X, y)
    # Of rows of which a few were left out: within their standard errors.
    assert_allclose(model.predict(X), line.predict(X), atol=0.05)
    spread = (y - line.predict(X)).std()
    width = np.diff(model.predict_quantiles(X, [0.5, stats.norm.cdf(1.0)]))
    assert_allclose(width, spread, rtol=0.1)


def test_every_answer_is_the_conditional_of_the_density(gaussian):
    model, X, y = gaussian
    law = model.density_.conditional(2, np.column_stack([X, y]))
    law._drawn_in(tuple(model.target_limits_))
    assert_array_equal(model.predict(X), law.mean())
    assert_array_equal(model.predict_quantiles(X), law.quantile([0.05, 0.5, 0.95]))
    assert_array_equal(model.predict_quantiles(X, 0.3), law.quantile(0.3))
    assert_array_equal(model.predict_cdf(X, y), law.cdf(y))
    assert_array_equal(model.predict_log_density(X, y), law.score_samples(y))
    assert_array_equal(model.sample(X, 4, 0), law.sample(4, 0))
    weights = np.arange(len(y)) % 3
    expected = np.average(law.score_samples(y), weights=weights)
    assert_allclose(model.score(X, y, sample_weight=weights), expected, rtol=1e-12)
    assert_allclose(model.score(X, y), law.score_samples(y).mean(), rtol=1e-12)


def test_width_follows_the_row(noisy):
    q = [0.05, 0.25, 0.75, 0.95]
    X = np.array([[1.3], [2.0], [2.7]])
    expected = X * (1.0 + stats.norm.ppf(q))
    # A sixth of 1500 rows tell of each law: quantiles at 5 % have a standard error of .13 x.
    assert (np.abs(noisy.predict_quantiles(X, q) - expected) < 0.45 * X).all()


def test_predicted_laws_hold_on_fresh_rows(noisy):
    """Probability integral transforms are even, by Kolmogorov and Smirnov at 1e-4."""
    rng = np.random.default_rng(2)
    x = rng.uniform(1.0, 3.0, 400)
    y = x * (1.0 + rng.standard_normal(400))
    u = noisy.predict_cdf(x[:, None], y)
    assert stats.kstest(u, "uniform").pvalue > 1e-4
    truth = stats.norm(x, x).logpdf(y).mean()
    assert truth - 0.1 < noisy.score(x[:, None], y) < truth + 0.05


def test_laws_of_far_rows_are_drawn_in():
    """No farther out than the targets' range on either side of it."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 2))
    y = np.exp(X[:, 0] + 0.3 * rng.standard_normal(300))
    model = quietly(small(margins="auto", max_components=8).fit, X, y)
    low, high = 2.0 * y.min() - y.max(), 2.0 * y.max() - y.min()
    assert_allclose(model.target_limits_, [low, high])
    far = np.array([[40.0, -40.0], [0.0, 0.0]])
    beyond = model.density_.conditional(2, np.column_stack([far, [0, 0]]))
    q = np.linspace(0.0, 1.0, 41)
    assert beyond.quantile(0.99)[0] > high
    quantiles = model.predict_quantiles(far, q)
    assert_allclose(quantiles, np.clip(beyond.quantile(q), low, high), rtol=1e-12)
    assert_allclose(model.predict_quantiles(far, [0.0, 1.0]), [[low, high]] * 2)
    levels = (np.arange(20000) + 0.5) / 20000
    mean = np.clip(beyond.quantile(levels), low, high).mean(axis=1)
    assert_allclose(model.predict(far), mean, rtol=5e-3)
    draws = model.sample(far, 500, random_state=0)
    assert draws.min() >= low
    assert draws.max() <= high
    assert_array_equal(model.predict_cdf(far, [high, low - 1.0]), [1.0, 0.0])


# --- tables as they are ---------------------------------------------------------------------------


def counts(n, seed):
    rng = np.random.default_rng(seed)
    kind, x = rng.choice(["a", "b"], n), rng.standard_normal(n)
    y = rng.poisson(np.exp(1.0 + 0.5 * x + (kind == "b")))
    x[rng.random(n) < 0.1] = np.nan
    return kind, x, y


def frames(n=300, seed=3):
    kind, x, y = counts(n, seed)
    pandas = pd.DataFrame({"kind": pd.Categorical(kind), "x": x})
    polars = pl.DataFrame({"kind": pl.Series(kind.tolist(), dtype=pl.Enum(["a", "b"])), "x": x})
    objects = np.array([kind, x], dtype=object).T
    return {"pandas": pandas, "polars": polars, "objects": objects}, y


def test_frames_and_arrays_of_objects_give_one_model():
    tables, y = frames()
    found = []
    for X in tables.values():
        model = quietly(small().fit, X, y)
        assert model.density_._table().kinds[-1] == "cells"
        found.append((model.predict(X), model.predict_quantiles(X, [0.2, 0.9])))
    for mean, quantiles in found[1:]:
        assert_allclose(mean, found[0][0], rtol=1e-9)
        assert_array_equal(quantiles, found[0][1])
    quantiles = found[0][1]
    assert_array_equal(quantiles, np.rint(quantiles))


def test_names_are_those_of_the_rows_alone():
    tables, y = frames(60)
    X = tables["pandas"].rename(columns={"x": "y"})
    model = quietly(small().fit, X, y)
    assert model.feature_names_in_.tolist() == ["kind", "y"]
    assert model.n_features_in_ == 2
    assert model.density_.feature_names_in_.tolist() == ["kind", "y", "y_"]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X[["y", "kind"]])


def test_numbered_columns_of_a_frame_take_a_target():
    X, y = linear(60, 4)
    model = quietly(small().fit, pd.DataFrame(X), y)
    assert_array_equal(model.predict(X), model.predict(pd.DataFrame(X)))


def test_two_values_are_numbers():
    X, y = linear(80, 5)
    y = np.where(y > 3.0, 2.0, -1.0)
    model = quietly(small().fit, X, y)
    assert set(model.predict_quantiles(X, [0.1, 0.9]).ravel().tolist()) <= {-7.0, -4.0, -1, 2, 5, 8}
    assert np.corrcoef(model.predict(X), y)[0, 1] > 0.7


def test_rows_with_holes_are_integrated_out(gaussian):
    model, X, _ = gaussian
    holed = X[:5].copy()
    holed[:, 0] = np.nan
    row = np.column_stack([holed, np.full(5, np.nan)])
    assert_allclose(model.predict(holed), model.density_.conditional(2, row).mean(), rtol=1e-6)


# --- the contract ---------------------------------------------------------------------------------


def test_weights_act_as_repetitions():
    X, y = linear(40, 6)
    weights = np.arange(40) % 3
    models = [small(base_density="gaussian", select=None, random_state=0) for _ in range(2)]
    quietly(models[0].fit, X, y, sample_weight=weights)
    quietly(models[1].fit, np.repeat(X, weights, axis=0), np.repeat(y, weights))
    assert_allclose(models[0].predict(X), models[1].predict(X), rtol=1e-6)


def test_random_state_is_that_of_the_density():
    X, y = linear(60, 7)
    models = [DensityRegressor(quick(random_state=None), random_state=3) for _ in range(2)]
    first, second = (quietly(model.fit, X, y).predict(X) for model in models)
    assert_array_equal(first, second)
    assert models[0].density_.random_state == 3
    assert models[0].density.random_state is None


def test_a_search_chooses_by_log_density(gaussian):
    _, X, y = gaussian
    search = GridSearchCV(small(), {"density__max_components": [1, 4]}, cv=2)
    quietly(search.fit, X, y)
    model = clone(small()).set_params(density__max_components=1)
    score = quietly(model.fit, X[:150], y[:150]).score(X[150:], y[150:])
    assert_allclose(search.cv_results_["split1_test_score"][0], score, rtol=1e-9)


def test_a_stored_model_answers_alike(gaussian):
    model, X, _ = gaussian
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert_array_equal(other.predict(X), model.predict(X))


def test_a_fit_that_fails_keeps_what_was_fitted(gaussian):
    model, X, y = copy.deepcopy(gaussian[0]), *gaussian[1:]
    before = model.predict(X)
    with pytest.raises(ValueError, match="Got y of which all"):
        model.fit(X[:, :1], np.ones(len(y)))
    assert_array_equal(model.predict(X), before)


X = np.random.default_rng(0).standard_normal((30, 2))
Y = X.sum(axis=1)
BAD = {
    "labels": (small(), X, np.repeat(["no", "yes"], 15), "no numbers.*DensityClassifier"),
    "truths": (small(), X, Y > 0.0, "of bool that are no numbers.*DensityClassifier"),
    "objects": (small(), X, np.array(["a", 1.0] * 15, dtype=object), "DensityClassifier"),
    "no targets": (small(), X, None, "Got y=None, expected numbers"),
    "missing": (small(), X, np.append(Y[1:], np.nan), "y contains NaN"),
    "another number": (small(), X, Y[1:], "Got y of 29 targets, expected 30"),
    "one value": (small(), X, np.ones(30), "Got y of which all 30 targets are 1"),
    "a category": (
        small(column_kinds={2: "categorical"}),
        X,
        np.repeat([0.0, 1.0, 2.0], 10),
        "makes a category, expected another kind: for labels take DensityClassifier",
    ),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_targets_are_refused(case):
    model, rows, y, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        quietly(clone(model).fit, rows, y)


def test_a_density_without_conditionals_is_refused():
    with pytest.raises(TypeError, match=r"density=LinearRegression.*, expected a Regularized"):
        DensityRegressor(LinearRegression()).fit(X, Y)


def test_questions_before_a_fit_are_refused():
    with pytest.raises(NotFittedError):
        small().predict(X)


def test_default_density_is_one_of_default_options():
    assert repr(DensityRegressor()._new_density()) == repr(RegularizedAutoEncoderScore())
