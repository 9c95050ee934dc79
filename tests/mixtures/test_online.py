"""Online expectation-maximisation: where it begins, what it converges to, and rows that are far."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import stats

from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.online import MOST_TAIL, N_STEPS, online_step, statistics_of
from skrae.mixtures.quadratics import packed_moments, row_columns, weighted_moments
from skrae.preprocessing.rows import WeightedRows

WIDE = 61


def with_tail(d=2, n_components=3, weight=0.01):
    """Gaussians in d dimensions and a wide Student-t component."""
    means = 3.0 * torch.randn(n_components, d, generator=torch.Generator().manual_seed(0))
    factors = torch.eye(d).expand(n_components, d, d)
    weights = np.full(n_components, 1.0 / n_components)
    gaussians = MixtureDensity(weights, means, factors, np.full(n_components, np.inf))
    return gaussians.with_tail(weight, torch.zeros(d), 3.0 * torch.eye(d, dtype=torch.float64), 3)


def drawn(base, n, seed=1):
    z = base.sample(n, torch.Generator().manual_seed(seed))
    return WeightedRows(z, torch.ones(n, dtype=torch.float64))


@pytest.mark.parametrize("d", [1, 3, WIDE])
def test_packed_moments_are_those_of_rows(d):
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(50, d, generator=rng, dtype=torch.float64)
    shares = torch.rand(4, 50, generator=rng, dtype=torch.float64)
    counts = shares.sum(1)
    means = shares @ z / counts[:, None]
    second = torch.einsum("kn,ni,nj->kij", shares, z, z) / counts[:, None, None]
    expected = weighted_moments(shares, row_columns(z, d), d)
    assert_allclose(packed_moments(counts, means, second), expected, atol=1e-12)


@pytest.mark.parametrize("d", [2, WIDE])
def test_where_nothing_is_new_nothing_changes(d):
    """Rows of hardly any weight leave the density, and its statistics, as they are."""
    base = with_tail(d)
    rows = drawn(base, 20)
    rows = rows._replace(weights=1e-12 * rows.weights)
    stepped, _ = online_step(base, statistics_of(base, 1000.0), rows)
    for part, other in zip(base.arrays()[:4], stepped.arrays()[:4], strict=True):
        assert_allclose(other, part, atol=1e-9)


def test_weights_are_repetitions():
    base, rows = with_tail(), drawn(with_tail(), 40, seed=3)
    weights = torch.arange(1.0, 41.0, dtype=torch.float64) % 3 + 1.0
    repeated = rows.z.repeat_interleave(weights.long(), dim=0)
    ones = torch.ones(len(repeated), dtype=torch.float64)
    parts = rows._replace(weights=weights), WeightedRows(repeated, ones)
    weighted, plain = (online_step(base, statistics_of(base, 100.0), p)[0] for p in parts)
    for part, other in zip(weighted.arrays()[:4], plain.arrays()[:4], strict=True):
        assert_allclose(other, part, rtol=1e-9, atol=1e-12)


def slow_step(base, n_rows, z, weights, forgetting):
    """Weights, means and covariances after a step, row by row, where the tail has no limit."""
    q, means, factors, dofs = (np.asarray(part) for part in base.arrays()[:4])
    covariances, tail, d = factors @ factors.swapaxes(1, 2), q[-1], z.shape[1]
    q, heavy = q[:-1] / q[:-1].sum(), stats.multivariate_t(means[-1], covariances[-1], dofs[-1])
    far = heavy.pdf(z)
    means, priors = means[:-1], covariances[:-1]
    old = forgetting * (1.0 - tail) * n_rows * q, forgetting * tail * n_rows
    start, covariances = means, priors
    for _ in range(N_STEPS):
        laws = zip(q, means, covariances, strict=True)
        near = np.array([w * stats.multivariate_normal(m, c).pdf(z) for w, m, c in laws])
        odds = tail * far / (tail * far + (1.0 - tail) * near.sum(0))
        shares = weights * (1.0 - odds) * near / near.sum(0)
        counts, lost = old[0] + shares.sum(1), old[1] + weights @ odds
        means = (old[0][:, None] * start + shares @ z) / counts[:, None]
        second = priors + start[:, :, None] * start[:, None, :]
        second = old[0][:, None, None] * second + np.einsum("kn,ni,nj->kij", shares, z, z)
        scatter = second / counts[:, None, None] - means[:, :, None] * means[:, None, :]
        kept = (counts / (counts + 2.0 * d))[:, None, None]
        covariances = kept * scatter + (1.0 - kept) * priors
        q, tail = counts / counts.sum(), lost / (lost + counts.sum())
    return np.append((1.0 - tail) * q, tail), means, covariances


@pytest.mark.parametrize("forgetting", [1.0, 0.6])
def test_a_step_is_that_of_the_definition(forgetting):
    base, (z, weights) = with_tail(3), drawn(with_tail(3), 60)
    weights = weights * torch.linspace(0.5, 2.0, 60, dtype=torch.float64)
    found, _ = online_step(base, statistics_of(base, 80.0), WeightedRows(z, weights), forgetting)
    expected = slow_step(base, 80.0, z.numpy(), weights.numpy(), forgetting)
    assert_allclose(found.weights, expected[0], rtol=1e-9)
    assert_allclose(found.means[:-1], expected[1], rtol=1e-9)
    assert_allclose((found.factors @ found.factors.mT)[:-1], expected[2], rtol=1e-9, atol=1e-12)


def test_one_gaussian_has_the_moments_of_all_rows():
    """Of one component the recursion is the mean and covariance of the rows, but for the prior."""
    base = with_tail(2, 1, weight=1e-3)
    statistics, seen = statistics_of(base, 1e-3), []
    for seed in range(5):
        z = torch.randn(4000, 2, generator=torch.Generator().manual_seed(seed)).double() @ (
            torch.tensor([[2.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
        )
        seen.append(z)
        base, statistics = online_step(base, statistics, WeightedRows(z, torch.ones(4000).double()))
    z = torch.cat(seen)
    factor = base.factors[0]
    assert_allclose(base.means[0], z.mean(0), atol=0.02)
    assert_allclose(factor @ factor.T, z.T.cov(), rtol=0.05, atol=0.03)


def test_what_is_forgotten_has_no_say():
    """With forgetting the mean is that of the last blocks, without it that of all."""
    means = {}
    for forgetting in (1.0, 0.5):
        base = with_tail(1, 1)
        statistics = statistics_of(base, 1000.0)
        centre = float(base.means[0, 0])
        for _ in range(12):
            z = torch.randn(1000, 1, generator=torch.Generator().manual_seed(4)).double()
            rows = WeightedRows(centre + 2.0 + z, torch.ones(1000).double())
            base, statistics = online_step(base, statistics, rows, forgetting)
        means[forgetting] = float(base.means[0, 0]) - centre
    assert abs(means[0.5] - 2.0) < 0.1
    assert 1.6 < means[1.0] < means[0.5]


def test_few_far_rows_are_left_to_the_tail_and_many_are_not():
    base = with_tail(2, 2)
    for n_far, moves in ((50, False), (1000, True)):
        rows = drawn(base, 1000)
        z = rows.z.clone()
        z[:n_far] = 300.0 + z[:n_far]
        stepped, statistics = online_step(base, statistics_of(base, 1000.0), rows._replace(z=z))
        assert (np.abs(stepped.means[:-1].numpy()).max() > 100.0) == moves
        assert statistics.tail <= MOST_TAIL * 1000.0 + 10.0 + 1e-6
        assert float(stepped.weights[-1]) <= MOST_TAIL
        assert torch.isfinite(stepped.log_density(z)).all()


def test_a_component_that_no_row_is_left_to_is_dropped_at_last():
    base = with_tail(1, 2)
    statistics = statistics_of(base, 1000.0)
    centres = base.means[:2, 0]
    z = centres[0] + 0.5 * torch.randn(500, 1, generator=torch.Generator().manual_seed(0)).double()
    rows = WeightedRows(z, torch.ones(500).double())
    for _ in range(40):
        base, statistics = online_step(base, statistics, rows, 0.5)
        assert math.isclose(float(base.weights.sum()), 1.0, abs_tol=1e-12)
    assert len(base.weights) == 2
    grid = torch.linspace(-60, 60, 200_001, dtype=torch.float64)[:, None]
    mass = base.log_density(grid).exp().sum() * 120 / 200_000
    assert_allclose(float(mass), 1.0, atol=1e-3)
