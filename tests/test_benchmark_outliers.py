"""The outlier benchmark: the base blurred in closed form, the detectors' sign, the means."""

import doctest
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score

from skrae import RegularizedAutoEncoderScore
from tests.benchmarks import outliers


def test_examples_in_docstrings():
    assert doctest.testmod(outliers).failed == 0


@pytest.mark.parametrize("s", [0.0, 0.7])
def test_blurred_gaussian_has_the_sum_of_the_covariances(random_seed, s):
    rng = np.random.default_rng(random_seed)
    factor = np.tril(rng.normal(size=(3, 3))) + 2.0 * np.eye(3)
    whitening, location = np.diag([1.0, 2.0, 0.5]), np.array([3.0, 0.0, -1.0])
    model = SimpleNamespace(
        base_weights_=np.ones(1),
        base_means_=np.full((1, 3), 0.3),
        base_factors_=factor[None],
        base_dofs_=np.full(1, np.inf),
        base_blocks_=np.zeros(3, int),
        location_=location,
        whitening_=whitening,
    )
    X = rng.normal(size=(5, 3))
    covariance = factor @ factor.T + s**2 * np.eye(3)
    expected = multivariate_normal([0.3] * 3, covariance).logpdf((X - location) @ whitening)
    np.testing.assert_allclose(outliers.blurred_log_density(model, s)(X), expected, rtol=1e-10)


def test_no_blur_leaves_the_base_of_a_fit(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((100, 2)) * [1.0, 5.0]
    model = RegularizedAutoEncoderScore(
        max_iter=1, noise_level=0.3, margins="identity", random_state=0
    ).fit(X)
    # The base density of the rows' own units differs by log|det dz/dx| alone.
    constant = model.base_log_density(X) - outliers.blurred_log_density(model, 0.0)(X)
    expected = np.linalg.slogdet(model.whitening_)[1]
    np.testing.assert_allclose(constant, expected, atol=1e-8)


@pytest.mark.parametrize("name", [*outliers.DETECTORS, "gmm", "kde"])
def test_far_rows_are_the_outliers(random_seed, name):
    rng = np.random.default_rng(random_seed)
    train = rng.standard_normal((200, 2))
    test, labels = rng.standard_normal((100, 2)), np.arange(100) < 10
    test[labels] += 20.0
    scores, _ = outliers.anomaly(name, train, test, seed=0)
    assert roc_auc_score(labels, scores) == 1.0


def test_peers_stand_a_column_that_is_the_sum_of_others(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((100, 2))
    rows = np.column_stack([X, X.sum(1)])
    for name in ("gmm", "kde"):
        scores, _ = outliers.anomaly(name, rows, rows, seed=0)
        assert np.isfinite(scores).all()


def test_trial_without_all_sets_is_left_out_of_the_mean():
    records = [
        {"set": "cardio", "seed": 0, "model": "knn", "auc": 0.5},
        {"set": "thyroid", "seed": 0, "model": "knn", "auc": 0.7},
        {"set": "cardio", "seed": 1, "model": "knn", "auc": 0.9},
    ]
    row = outliers.auc_table(records, ("knn",)).splitlines()[-1]
    assert row == "| knn | **0.700** | **0.700** | **0.600** | - |"


def test_model_without_all_sets_has_no_mean():
    sets = {"knn": ("cardio", "thyroid"), "lof": ("cardio",)}
    records = [
        {"set": name, "seed": 0, "model": model, "auc": 0.5}
        for model, names in sets.items()
        for name in names
    ]
    row = outliers.auc_table(records, ("knn", "lof")).splitlines()[-1]
    assert row == "| lof | **0.500** | - | - | - |"
