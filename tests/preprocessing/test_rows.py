"""Rows and weights: copies merged into weights, a mean with its standard error."""

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.preprocessing.rows import (
    LEAST_OTHERS,
    check_weights,
    distinct_rows,
    first_as_good,
    mean_and_error,
    merged,
)


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


def test_positive_weights_stay_positive():
    weights = check_weights([5e-324, 1e300, 0.0], np.zeros((3, 1)))
    assert (weights > 0.0).tolist() == [True, True, False]
    assert weights.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("n", [2, 50])
def test_others_have_a_share_that_sums_keep(n, copies, random_seed):
    """Copies of the heavy row weigh together; just above the least share all is as ever."""
    X = np.random.default_rng(random_seed).standard_normal((n, 2))
    X = np.vstack([X, *[X[:1]] * (copies - 1)])
    weights = np.ones(len(X))
    others = n - 1.0
    weights[[0, *range(n, len(X))]] = 1.01 * others / LEAST_OTHERS / copies
    with pytest.raises(
        ValueError, match=r"one row leaves all others a share of 9\.9e-13, expected"
    ):
        distinct_rows(X, weights)
    weights[[0, *range(n, len(X))]] /= 1.02
    rows, kept = distinct_rows(X, weights)
    assert len(rows) == n
    assert kept[1:].sum() / kept.sum() == pytest.approx(1.0099 * LEAST_OTHERS, rel=1e-3)


@pytest.mark.parametrize(("share", "low", "high"), [(1.0, 0.0, 0.02), (0.01, 0.5, 1.0)])
def test_a_hundredth_of_the_least_share_is_lost_in_a_sum(share, low, high):
    """Of a hundred rows, added one after another to the heaviest."""
    share = share * LEAST_OTHERS
    weights = np.r_[1.0, np.full(99, share / 99)]
    lost = abs((np.cumsum(weights)[-1] - 1.0) / share - 1.0)
    assert low <= lost <= high
