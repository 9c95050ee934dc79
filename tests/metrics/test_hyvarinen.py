"""Hyvarinen's score: its value and its minimum on a Gaussian, its laws, its use in a search."""

import tracemalloc

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import RegularizedAutoEncoderScore
from skrae.metrics import hyvarinen, hyvarinen_score, hyvarinen_scorer


class IsotropicGaussian(BaseEstimator):
    """N(0, scale^2 I), with nothing to fit."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None):
        return self

    def log_density_gradient(self, X):
        return -np.asarray(X) / self.scale**2

    def log_density_hessian(self, X):
        n, d = np.shape(X)
        return np.tile(-np.eye(d) / self.scale**2, (n, 1, 1))


@pytest.fixture(scope="module")
def fitted():
    model = RegularizedAutoEncoderScore(0.3, hidden_layer_sizes=(16,), max_iter=40, random_state=0)
    return model.fit(load_iris().data)


def gaussian_rows(n, d, scale, seed):
    return scale * np.random.default_rng(seed).standard_normal((n, d))


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_expected_score_of_the_true_gaussian(d, scale, random_seed):
    n = 20_000
    X = gaussian_rows(n, d, scale, random_seed)
    # |x|^2 / (2 s^4) has variance d / (2 s^4): that of s^2 chi^2_d over 2 s^4.
    standard_error = np.sqrt(d / 2) / scale**2 / np.sqrt(n)
    score = hyvarinen_score(IsotropicGaussian(scale), X)
    assert abs(score + d / (2 * scale**2)) < 5 * standard_error


def test_true_scale_has_the_lowest_score(random_seed):
    X = gaussian_rows(5000, 2, 0.7, random_seed)
    factors = [0.5, 0.8, 0.9, 1.0, 1.1, 1.25, 2.0]
    scores = [hyvarinen_score(IsotropicGaussian(0.7 * factor), X) for factor in factors]
    assert factors[int(np.argmin(scores))] == 1.0
    assert np.all(np.diff(scores)[:3] < 0)
    assert np.all(np.diff(scores)[3:] > 0)


def test_weights_are_repetitions(random_seed):
    X = gaussian_rows(50, 2, 1.0, random_seed)
    weights = np.random.default_rng(random_seed).integers(0, 4, 50)
    weighted = hyvarinen_score(IsotropicGaussian(1.3), X, sample_weight=weights)
    repeated = hyvarinen_score(IsotropicGaussian(1.3), np.repeat(X, weights, axis=0))
    assert weighted == pytest.approx(repeated, rel=1e-13)
    scorer = hyvarinen_scorer(IsotropicGaussian(1.3), X, sample_weight=weights)
    assert scorer == -weighted


def test_same_score_by_finite_differences_of_the_log_density(fitted):
    X, step = load_iris().data[::10], 1e-4
    at, value = fitted.score_samples, np.zeros(len(X))
    for direction in step * np.eye(4):
        after, here, before = at(X + direction), at(X), at(X - direction)
        value += 0.5 * ((after - before) / (2 * step)) ** 2 + (after - 2 * here + before) / step**2
    assert hyvarinen_score(fitted, X) == pytest.approx(value.mean(), rel=1e-5)


@pytest.mark.parametrize("container", ["array", "list", "frame"])
def test_hessians_of_a_few_rows_at_a_time_give_the_same_score(container, fitted, monkeypatch):
    X, asked = load_iris().data, []
    expected = hyvarinen_score(fitted, X)
    weights = np.arange(150.0)
    weighted = hyvarinen_score(fitted, X, weights)
    if container == "frame":
        # Of rows in another order, by names that are no places.
        X = pytest.importorskip("pandas").DataFrame(X, index=np.arange(150)[::-1])
    monkeypatch.setattr(hyvarinen, "CHUNK_NUMBERS", 16 * 7 + 3)
    hessian = type(fitted).log_density_hessian

    def counted(model, X):
        asked.append(len(X))
        return hessian(model, X)

    monkeypatch.setattr(type(fitted), "log_density_hessian", counted)
    X = X.tolist() if container == "list" else X
    assert hyvarinen_score(fitted, X) == pytest.approx(expected, rel=1e-12)
    assert asked == [7] * 21 + [3]
    assert hyvarinen_score(fitted, X, weights) == pytest.approx(weighted, rel=1e-12)


def test_memory_is_that_of_gradients_not_of_hessians(random_seed):
    """Of 200 000 rows of ten columns, Hessians alone would be 160 MB; a tenth of the rows here."""
    n, d = 20_000, 10
    X = gaussian_rows(n, d, 1.0, random_seed)
    tracemalloc.start()
    try:
        hyvarinen_score(IsotropicGaussian(), X)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The gradient and what it is computed of, or the Hessians of some rows and theirs.
    assert peak < max(3 * 8 * n * d, 2.5 * 8 * hyvarinen.CHUNK_NUMBERS)
    assert peak < 0.7 * 8 * n * d**2


def test_normaliser_does_not_matter(fitted, monkeypatch):
    X = load_iris().data
    before, log_density = hyvarinen_score(fitted, X), fitted.score(X)
    monkeypatch.setattr(fitted, "log_normalizer_", fitted.log_normalizer_ + 5.0)
    assert fitted.score(X) == pytest.approx(log_density - 5.0)
    assert hyvarinen_score(fitted, X) == before


def test_score_of_float32_rows_is_a_float_close_to_that_of_float64(fitted):
    X = load_iris().data
    score = hyvarinen_score(fitted, X.astype(np.float32))
    assert type(score) is float
    assert score == pytest.approx(hyvarinen_score(fitted, X), rel=1e-3)


def test_search_finds_the_true_scale(random_seed):
    X = gaussian_rows(2000, 2, 3.0, random_seed)
    grid = {"scale": [1.0, 2.0, 3.0, 4.0, 6.0]}
    search = GridSearchCV(IsotropicGaussian(), grid, scoring=hyvarinen_scorer, error_score="raise")
    assert search.fit(X).best_params_ == {"scale": 3.0}
    assert search.fit(X, np.zeros(len(X))).best_params_ == {"scale": 3.0}


def test_search_over_the_estimator_reports_the_score_of_held_out_rows():
    X = load_iris().data
    train, test = np.arange(0, 150, 2), np.arange(1, 150, 2)
    model = RegularizedAutoEncoderScore(hidden_layer_sizes=(8,), max_iter=20, random_state=0)
    grid = {"noise_level": [0.25, 0.5]}
    options = {"cv": [(train, test)], "refit": False, "error_score": "raise"}
    search = GridSearchCV(model, grid, scoring=hyvarinen_scorer, **options).fit(X)
    expected = [
        -hyvarinen_score(model.set_params(noise_level=level).fit(X[train]), X[test])
        for level in grid["noise_level"]
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=1e-6)


def test_missing_methods_are_named():
    class OnlyGradient:
        def log_density_gradient(self, X):
            return -X

    with pytest.raises(TypeError, match="Got OnlyGradient without log_density_hessian, expected"):
        hyvarinen_score(OnlyGradient(), np.zeros((3, 2)))


def test_pipeline_is_refused_with_advice(fitted):
    pipeline = make_pipeline(StandardScaler(), fitted)
    with pytest.raises(
        TypeError, match=r"Got Pipeline without .* and log_density_hessian, expected.*Of a Pipeline"
    ):
        hyvarinen_scorer(pipeline, load_iris().data)
