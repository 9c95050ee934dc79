"""Many columns: beside a shrunk Gaussian, derivatives, draws, and a network where it is trained."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf

from tests.density.estimators import quick_estimator

D = 70


def rows(n, seed):
    """Two factors and noise."""
    rng = np.random.default_rng(seed)
    loadings = np.random.default_rng(0).standard_normal((2, D))
    return rng.standard_normal((n, 2)) @ loadings + rng.standard_normal((n, D))


@pytest.fixture(scope="module")
def model(random_seed):
    options = {"base_density": "mixture", "margins": "identity", "max_iter": 12, "max_mixtures": 2}
    return quick_estimator(**options).fit(rows(250, random_seed))


def test_factors_beat_a_shrunk_gaussian(model, random_seed):
    fresh, shrunk = rows(500, random_seed + 1), LedoitWolf().fit(rows(250, random_seed))
    other = multivariate_normal(shrunk.location_, shrunk.covariance_).logpdf(fresh).mean()
    assert model.score(fresh) > other + 1.0


@pytest.mark.parametrize("question", ["score_samples", "log_density_gradient", "reconstruct"])
def test_rows_are_answered_as_if_alone(question, model, random_seed):
    X = rows(6, random_seed + 2)
    whole = getattr(model, question)(X)
    parts = np.concatenate([getattr(model, question)(row[None]) for row in X])
    np.testing.assert_allclose(whole, parts, rtol=1e-9, atol=1e-9)


def test_local_moments_are_covariances(model, random_seed):
    covariances = model.local_moments(rows(3, random_seed))[1]
    assert covariances.shape == (3, D, D)
    assert np.linalg.eigvalsh(covariances).min() > -1e-9


def test_gradient_and_hessian_along_a_line(model, random_seed):
    X = rows(3, random_seed + 3)
    way = 1e-4 * np.random.default_rng(random_seed).standard_normal(D)
    ends = X + way, X - way
    rise = np.subtract(*(model.score_samples(end) for end in ends))
    np.testing.assert_allclose(2.0 * model.log_density_gradient(X) @ way, rise, rtol=1e-5)
    turn = np.subtract(*(model.log_density_gradient(end) for end in ends))
    np.testing.assert_allclose(2.0 * model.log_density_hessian(X) @ way, turn, rtol=1e-4, atol=1e-8)


def test_draws_have_the_moments_of_the_rows(model):
    draws, truth = model.sample(4000, random_state=0), rows(4000, 9)
    spread = truth.std(axis=0)
    assert np.abs((draws.mean(axis=0) - truth.mean(axis=0)) / spread).max() < 0.4
    assert np.abs(draws.std(axis=0) / spread - 1.0).max() < 0.4


@pytest.mark.parametrize("covariance", ["local", "isotropic"])
def test_a_network_is_trained_and_judged(covariance, random_seed):
    """A base of one Gaussian, which a ring in two of the columns leaves work to do."""
    X, angle = rows(300, random_seed), np.random.default_rng(1).uniform(0.0, 6.3, 300)
    X[:, :2] = 20.0 * np.column_stack([np.cos(angle), np.sin(angle)])
    options = {"noise_covariance": covariance, "contraction_weight": 0.01, "max_iter": 30}
    model = quick_estimator(**options).fit(X)
    assert len(model.validation_curve_) > 1
    assert np.isfinite(model.validation_curve_).all()
    assert np.isfinite(model.score_samples(X)).all()
