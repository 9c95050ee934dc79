"""Quantiles of weights as those of copies, the fence, and the law of conformal p-values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skrae.tasks.detector.drawn import draw_copies, line_of, rows_of_copies
from skrae.tasks.detector.kernels import Kernel
from skrae.tasks.detector.thresholds import fence, p_values, quantile

COUNTS = st.lists(st.tuples(st.integers(-5, 5), st.integers(1, 4)), min_size=1, max_size=12)


@given(COUNTS, st.sampled_from([0.01, 0.1, 0.25, 0.5]))
def test_weighted_quantile_is_that_of_copies(counts, share):
    values, weights = np.array(counts, dtype=np.float64).T
    expected = np.quantile(np.repeat(values, weights.astype(int)), share)
    assert_allclose(quantile(values, weights, share), expected, atol=1e-12)


def test_fence_of_a_uniform_law_is_beyond_its_end():
    values = np.linspace(0.0, 1.0, 101)
    assert_allclose(fence(values, np.ones(101)), 0.25 - 1.5 * 0.5)


def test_p_values_count_calibration_rows_up_to_a_score():
    found = p_values(
        np.array([-1.0, 0.0, 2.5]), np.array([0.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0])
    )
    assert_allclose(found, np.array([1.0, 2.0, 5.0]) / 5.0)


def test_p_values_of_exchangeable_scores_are_uniform_on_their_grid(random_seed):
    """P(p <= k/(n + 1)) = k/(n + 1) without ties: counts of 4000 within 4 standard errors."""
    rng, n, repeats = np.random.default_rng(random_seed), 19, 4000
    draws = rng.normal(size=(repeats, n + 1))
    p = [p_values(row[:1], np.sort(row[1:]), np.ones(n))[0] for row in draws]
    for alpha in (0.05, 0.2, 0.5):
        error = 4.0 * np.sqrt(alpha * (1.0 - alpha) / repeats)
        assert abs(np.mean(np.array(p) <= alpha + 1e-12) - alpha) < error


def test_draws_of_weights_are_those_of_copies(random_seed):
    rng = np.random.default_rng(random_seed)
    rows, counts = rng.integers(0, 3, (30, 2)).astype(float), rng.integers(0, 4, 30)
    rows[0, 0] = np.nan
    tables = (rows, counts.astype(float)), (np.repeat(rows, counts, axis=0), None)
    drawn = []
    for table, weights in tables:
        line = line_of(table, np.ones(len(table)) if weights is None else weights)
        copies = draw_copies(line, Kernel(1.0, 1.0, 4, 5), np.random.RandomState(0))
        places, left = rows_of_copies(line, copies)
        drawn.append((table[line.index[places]], left))
    for a, b in zip(*drawn, strict=True):
        np.testing.assert_array_equal(a, b)


def test_single_subsample_of_all_copies_holds_each_once(random_seed):
    rows = np.random.default_rng(random_seed).normal(size=(40, 2))
    line = line_of(rows, np.ones(40))
    copies = draw_copies(line, Kernel(1.0, 1.0, 40, 1), np.random.RandomState(0))
    places, left = rows_of_copies(line, copies)
    assert sorted(places) == list(range(40))
    assert not left.any()


@pytest.mark.parametrize("n", [50, 2000])
def test_rows_left_undrawn_are_those_without_a_copy(random_seed, n):
    rows = np.random.default_rng(random_seed).normal(size=(n, 2))
    line = line_of(rows, np.ones(n))
    copies = draw_copies(line, Kernel(1.0, 1.0, 16, 30), np.random.RandomState(0))
    places, left = rows_of_copies(line, copies)
    assert set(np.flatnonzero(left)) == set(range(n)) - set(places)
