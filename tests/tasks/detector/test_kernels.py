"""Ensembles of kernels against slow sums, and the identities of contributions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

from skrae.tasks.detector.kernels import Kernel, KernelEnsemble

KERNELS = [Kernel(0.5, np.inf, 4, 3), Kernel(1.0, 1.0, 6, 2), Kernel(2.0, 4.0, 12, 1)]


def log_kernel(kernel, square, n_seen):
    if np.isinf(kernel.dof):
        return -0.5 * square / kernel.bandwidth**2
    scaled = square / (kernel.dof * kernel.bandwidth**2)
    return -0.5 * (kernel.dof + n_seen) * np.log1p(scaled)


def slow_log_density(kernel, drawn, copies, rows):
    """Row by row and draw by draw, of complete drawn rows."""
    found = []
    for row in rows:
        seen, logs = ~np.isnan(row), []
        for b in range(kernel.n_subsamples):
            own = slice(b, None, kernel.n_subsamples)
            square = ((row - drawn[own])[:, seen] ** 2).sum(axis=1)
            equal = (row[seen] == drawn[own][:, seen]).all(axis=1) & seen.all()
            kept = np.where(equal, 1.0 - 1.0 / copies[own], 1.0)
            if kept.sum() > 0.0:
                values = log_kernel(kernel, square, seen.sum())
                logs.append(logsumexp(values, b=kept) - np.log(kept.sum()))
        found.append(np.mean(logs))
    return np.array(found)


@pytest.fixture(scope="module", params=KERNELS, ids=lambda kernel: f"dof={kernel.dof:g}")
def case(request, random_seed):
    kernel, rng = request.param, np.random.default_rng(random_seed)
    drawn, copies = rng.normal(size=(12, 3)), rng.choice([1.0, 2.0, 5.0], 12)
    ensemble = KernelEnsemble(kernel, drawn, copies, np.arange(3))
    rows = np.concatenate([rng.normal(size=(5, 3)), 50.0 * rng.normal(size=(2, 3)), drawn[:4]])
    rows[1, 2] = rows[2, :2] = np.nan
    return kernel, drawn, copies, ensemble, rows


def test_log_density_is_the_mean_of_log_means_of_kernels(case):
    kernel, drawn, copies, ensemble, rows = case
    expected = slow_log_density(kernel, drawn, copies, rows)
    assert_allclose(ensemble.log_density(rows), expected, rtol=1e-9, atol=1e-9)


def test_terms_too_small_for_floats_are_summed_all_the_same(case):
    kernel, drawn, copies, ensemble, _ = case
    far = np.array([[100.0, -100.0, 3.0], [0.0, 0.0, 0.0]])
    expected = slow_log_density(kernel, drawn, copies, far)
    assert_allclose(ensemble.log_density(far), expected, rtol=1e-9)


def test_contributions_of_columns_sum_to_the_log_density(case):
    ensemble, rows = case[3:]
    contributions, expected = ensemble.contributions(rows), ensemble.log_density(rows)
    assert_allclose(contributions.sum(axis=1), expected, rtol=1e-3, atol=1e-6)
    assert (contributions[np.isnan(rows)] == 0.0).all()
    assert (contributions <= 1e-12).all()


def test_contributions_are_the_integral_of_slopes_along_shares(case):
    """By differences of the log density in the shares of distances, column by column."""
    kernel, drawn, _, ensemble, rows = case
    row, step = rows[:1], 1e-5
    shares = (np.arange(2000) + 0.5) / 2000
    expected = np.zeros(3)
    for share in shares:
        for j in range(3):
            high, low = np.full((2, 3), share)
            high[j], low[j] = share + step, share - step
            ends = [
                np.mean(
                    [
                        logsumexp(log_kernel(kernel, (d @ part), 3)) - np.log(len(d))
                        for d in _squares(kernel, drawn, row)
                    ]
                )
                for part in (high, low)
            ]
            expected[j] += (ends[0] - ends[1]) / (2 * step) / len(shares)
    assert_allclose(ensemble.contributions(row)[0], expected, rtol=1e-4, atol=1e-5)


def _squares(kernel, drawn, row):
    """Squared distances (m, d) along each column, of each subsample."""
    B = kernel.n_subsamples
    return [(row - drawn[b::B]) ** 2 for b in range(B)]


def test_row_that_was_drawn_is_no_evidence_for_itself(random_seed):
    """Of one subsample, the density at a row that it holds once is that of the others."""
    drawn = np.random.default_rng(random_seed).normal(size=(5, 2))
    kernel = Kernel(1.0, np.inf, 5, 1)
    whole = KernelEnsemble(kernel, drawn, np.ones(5), np.arange(2))
    rest = KernelEnsemble(kernel._replace(size=4), drawn[1:], np.ones(4), np.arange(2))
    assert_allclose(whole.log_density(drawn[:1]), rest.log_density(drawn[:1]), rtol=1e-12)
    many = KernelEnsemble(kernel, drawn, np.full(5, 1e12), np.arange(2))
    plain = logsumexp(-0.5 * ((drawn[0] - drawn) ** 2).sum(axis=1)) - np.log(5)
    assert_allclose(many.log_density(drawn[:1]), plain, rtol=1e-9)


def test_subsample_of_copies_of_a_row_alone_has_no_voice_about_it():
    drawn = np.array([[1.0], [0.0], [1.0], [3.0]])  # subsamples (1, 1) and (0, 3)
    ensemble = KernelEnsemble(Kernel(1.0, np.inf, 2, 2), drawn, np.ones(4), np.arange(1))
    expected = logsumexp([-0.5, -2.0]) - np.log(2)
    assert_allclose(ensemble.log_density(np.array([[1.0]])), expected)


def test_missing_entry_of_a_drawn_row_is_that_of_a_row_at_random():
    drawn = np.array([[0.0, np.nan], [0.0, 1.0], [0.0, 3.0]])
    ensemble = KernelEnsemble(Kernel(1.0, np.inf, 3, 1), drawn, np.ones(3), np.arange(2))
    squares = np.array([(1.0 + 9.0) / 2, 1.0, 9.0])  # from 0; the first is a mean
    expected = logsumexp(-0.5 * squares) - np.log(3)
    assert_allclose(ensemble.log_density(np.array([[0.0, 0.0]])), expected)


@pytest.mark.parametrize("n_columns", [1, 2, 7, 40])
def test_rows_are_answered_the_same_alone_and_in_any_company(random_seed, n_columns):
    rng = np.random.default_rng(random_seed)
    drawn, rows = rng.normal(size=(60, n_columns)), rng.normal(size=(150, n_columns))
    rows[::7] *= 1e3
    for kernel in (Kernel(0.5, np.inf, 6, 10), Kernel(1.0, 1.0, 60, 1)):
        ensemble = KernelEnsemble(kernel, drawn, np.ones(60), np.arange(n_columns))
        answers = ensemble.by_blocks(ensemble.log_density, rows)
        for part in (slice(0, 1), slice(70, 71), slice(3, 140)):
            alone = ensemble.by_blocks(ensemble.log_density, rows[part])
            assert_array_equal(alone, answers[part])
