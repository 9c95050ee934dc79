"""The base density with noise: a convolution, of complete rows and of rows with holes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from skrae import RegularizedAutoEncoderScore

OPTIONS = {"max_iter": 1, "noise_level": 0.3, "margins": "identity", "random_state": 0}


@pytest.fixture(scope="module")
def X(random_seed):
    rng = np.random.default_rng(random_seed)
    return rng.standard_normal((150, 3)) @ [[1.0, 0.5, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.2]]


@pytest.fixture(scope="module")
def model(X):
    """In scaled columns, without maps: working space is one standard deviation a column."""
    return RegularizedAutoEncoderScore(scaling="standardize", **OPTIONS).fit(X)


def blurred_by_hand(model, X, blur, columns):
    """Of the Gaussian components alone, of some columns, in the units of X."""
    whitening = model.whitening_[np.ix_(columns, columns)]
    z = (X[:, columns] - model.location_[columns]) @ whitening
    parts = [
        np.log(w) + multivariate_normal(mean[columns], cov[np.ix_(columns, columns)]).logpdf(z)
        for w, mean, cov, dof in zip(
            model.base_weights_,
            model.base_means_,
            model.base_factors_ @ model.base_factors_.swapaxes(1, 2) + blur**2 * np.eye(3),
            model.base_dofs_,
            strict=True,
        )
        if np.isinf(dof)
    ]
    return logsumexp(parts, axis=0) + np.linalg.slogdet(whitening)[1]


@pytest.mark.parametrize("blur", [0.5, 2.0])
def test_noise_adds_to_the_covariance_of_each_component(model, X, blur):
    expected = blurred_by_hand(model, X, blur, [0, 1, 2])
    gap = model.base_log_density(X, blur=blur) - expected
    # What is left is the Student-t component, of little weight where rows are.
    assert gap.min() > -1e-9
    assert gap.max() < 0.05


def test_no_noise_changes_nothing(model, X):
    assert_array_equal(model.base_log_density(X, blur=0.0), model.base_log_density(X))


def test_rows_with_holes_have_the_marginal_of_the_blurred_density(model, X):
    holes = X[:40].copy()
    holes[:, 1] = np.nan
    expected = blurred_by_hand(model, X[:40], 1.0, [0, 2])
    assert_allclose(model.base_log_density(holes, blur=1.0), expected, atol=0.3)
    # The same law by both ways: that of complete rows is what integrates to the marginal.
    grid = np.linspace(-60.0, 60.0, 4001)
    row = np.tile(X[0], (len(grid), 1))
    row[:, 1] = grid
    whole = np.exp(model.base_log_density(row, blur=1.0))
    integral = np.sum(0.5 * (whole[1:] + whole[:-1])) * (grid[1] - grid[0])
    assert_allclose(np.exp(model.base_log_density(holes[:1], blur=1.0)), integral, rtol=1e-3)


@pytest.mark.parametrize(("blur", "error"), [(-1.0, ValueError), ("wide", TypeError)])
def test_bad_blur_is_refused(model, X, blur, error):
    with pytest.raises(error, match=f"Got blur={blur!r}, expected a finite number >= 0"):
        model.base_log_density(X, blur=blur)
