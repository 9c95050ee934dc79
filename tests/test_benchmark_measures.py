"""The measures of the imputation benchmark against closed forms."""

import numpy as np
import pytest

from tests.benchmarks.imputation import covered, crps, figures, hide

# CRPS of N(0, 1) at y: y (2 Phi(y) - 1) + 2 phi(y) - 1 / sqrt(pi); 0.2337 at y = 0.
GAUSSIAN_CRPS = {0.0: 0.2336950, 2.0: 1.4527920}


@pytest.mark.parametrize("m", [2, 10, 100])
@pytest.mark.parametrize("y", GAUSSIAN_CRPS)
def test_crps_of_few_gaussian_draws_has_no_bias(random_seed, m, y):
    draws = np.random.default_rng(random_seed).standard_normal((m, 40_000))
    values = crps(draws, np.full(40_000, y))
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - GAUSSIAN_CRPS[y]) < 5.0 * error


def test_crps_is_the_mean_over_pairs(random_seed):
    draws = np.random.default_rng(random_seed).standard_normal((7, 3))
    pairs = np.abs(draws[:, None] - draws).sum(axis=(0, 1)) / (7 * 6)
    expected = np.abs(draws - 0.3).mean(axis=0) - 0.5 * pairs
    np.testing.assert_allclose(crps(draws, np.full(3, 0.3)), expected, rtol=1e-12)


def test_crps_of_one_value_is_the_absolute_error():
    np.testing.assert_array_equal(crps(np.array([[1.0, -2.0]]), np.array([3.0, 1.0])), [2.0, 3.0])


@pytest.mark.parametrize("m", [39, 100])
def test_interval_of_exact_draws_covers_as_often_as_it_says(random_seed, m):
    draws = np.random.default_rng(random_seed).standard_normal((m + 1, 20_000))
    share = covered(draws[1:], draws[0], level=0.9).mean()
    assert abs(share - 0.9) < 5.0 * np.sqrt(0.09 / 20_000)


def test_figures_read_the_hidden_entries_only():
    truth, holed = np.array([[0.0, 5.0]]), np.array([[np.nan, 5.0]])
    draws = np.array([[[1.0, 99.0], [3.0, 99.0]]])
    assert figures(draws, holed, truth)["rmse"] == 2.0


def test_hide_leaves_one_entry_of_each_row(random_seed):
    holed = hide(np.zeros((20_000, 2)), np.random.default_rng(random_seed))
    assert np.isfinite(holed).any(axis=1).all()
    # Of two entries both are drawn in 4 % of the rows, and one of them is then kept.
    assert abs(np.isnan(holed).mean() - 0.18) < 5.0 * np.sqrt(0.2 / 40_000)
