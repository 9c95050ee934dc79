"""Rows and weights: copies merged into weights, a mean with its standard error."""

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.preprocessing.rows import first_as_good, mean_and_error, merged


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_copies_are_merged_in_the_order_of_their_first_places(dtype):
    X = np.array([[2.0, 1.0], [0.0, 1.0], [2.0, 1.0], [-0.0, 1.0], [3.0, 0.0]], dtype)
    rows, weights = merged(np.asfortranarray(X), np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    np.testing.assert_array_equal(rows, [[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    np.testing.assert_array_equal(weights, [5.0, 10.0, 16.0])
    assert rows.dtype == dtype


def test_distinct_rows_are_not_copied(random_seed):
    X, weights = np.random.default_rng(random_seed).standard_normal((50, 3)), np.ones(50)
    rows, same = merged(X, weights)
    assert rows is X
    assert same is weights


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_mean_and_error_are_those_of_scipy_and_of_weights(kind, random_seed):
    rng = np.random.default_rng(random_seed)
    values, weights = rng.standard_normal(200), rng.uniform(0.5, 2.0, 200)
    mean, error = mean_and_error(kind(values), kind(np.full(200, 3.0)))
    assert (mean, error) == pytest.approx((values.mean(), stats.sem(values, ddof=0)))
    mean, error = mean_and_error(kind(values), kind(weights))
    share = weights / weights.sum()
    assert mean == pytest.approx(np.average(values, weights=weights))
    assert error == pytest.approx(np.sqrt(np.sum(share**2 * (values - mean) ** 2)))


def test_least_is_the_first_that_held_out_rows_cannot_tell_from_the_best(random_seed):
    noise = torch.as_tensor(np.random.default_rng(random_seed).standard_normal(400))
    weights = torch.ones(400, dtype=torch.float64)
    error = float(noise.std()) / 20
    for gain, place in ((0.45, 0), (0.55, 2)):
        values = [noise * 0.0, noise * 0.0, noise + gain * error - noise.mean(), noise * 0.0]
        assert first_as_good(values, weights) == place
