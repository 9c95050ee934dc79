"""Metropolis-Hastings: detailed balance and an unchanged target, both skewed on purpose."""

import math

import numpy as np
import pytest
import torch

from skrae._base_density import MixtureDensity
from skrae._metropolis import State, accept, independence_step, langevin_step
from skrae._normalizer import tempered_target
from tests.models import generator, random_field, random_mixture

N_CHAINS = 100_000


class Gumbel:
    """log p(z) = z_1 - exp z_1 in one dimension; a bent second one: z_2 | z_1 ~ N(z_1^2 / 4, 1/4).

    Draws are exact and the distribution function is known, which gives cells of equal probability.
    """

    def __init__(self, d):
        self.d = d

    def sample(self, n, rule):
        first = torch.log(-torch.log(torch.rand(n, generator=rule, dtype=torch.float64)))
        if self.d == 1:
            return first[:, None]
        noise = torch.randn(n, generator=rule, dtype=torch.float64)
        return torch.stack([first, first**2 / 4 + noise / 2], dim=1)

    def log_density(self, z):
        first = z[:, 0] - z[:, 0].exp()
        if self.d == 1:
            return first
        return first - 2 * (z[:, 1] - z[:, 0] ** 2 / 4) ** 2 - 0.5 * math.log(math.pi / 2)

    def cells(self, z):
        """Cell 0 to 5 of each row, of equal probability, asymmetric under every reflection."""
        uniform = 1 - torch.exp(-z[:, 0].exp())
        if self.d == 1:
            return (6 * uniform).long().clamp_max(5)
        above = (z[:, 1] > z[:, 0] ** 2 / 4).long()
        return 3 * above + (3 * uniform).long().clamp_max(2)


def target_of(density, n_factors, base=None):
    """z -> State, with responsibilities that vary with z where there are several factors."""

    def target(z):
        z = z.detach().requires_grad_()
        log_p = density.log_density(z)
        (gradient,) = torch.autograd.grad(log_p.sum(), z)
        z = z.detach()
        logits = torch.arange(n_factors, dtype=z.dtype) * (1.5 * z[:, :1] + 0.5)
        log_base = torch.zeros(len(z), dtype=z.dtype) if base is None else base.log_density(z)
        return State(z, log_p.detach(), gradient, log_base, torch.softmax(logits, 1))

    return target


def factors_of(d, n_factors):
    """The identity alone, or narrow to wide and tilted."""
    eye = torch.eye(d, dtype=torch.float64)
    if n_factors == 1:
        return eye[None]
    tilt = eye + 0.7 * torch.ones(d, d, dtype=torch.float64).tril(-1)
    return torch.tensor([0.4, 1.0, 2.0], dtype=torch.float64)[:, None, None] * tilt


def flows(step, target, density, rule):
    """Number of chains that go from cell i to cell j in one step."""
    state = target(density.sample(N_CHAINS, rule))
    counts = np.zeros((6, 6))
    before = density.cells(state.position)
    state, info = step(state, target, rule)
    after = density.cells(state.position)
    np.add.at(counts, (before.numpy(), after.numpy()), 1)
    return counts, info


def assert_balanced(counts, n_errors=5):
    """Flows i -> j and j -> i are equal in law, their difference of variance i -> j + j -> i."""
    total = counts + counts.T
    assert counts[~np.eye(6, dtype=bool)].sum() > 0.15 * N_CHAINS, "the chains hardly move"
    difference = np.abs(counts - counts.T)
    assert (difference <= n_errors * np.sqrt(total)).all(), difference / np.sqrt(total + 1)


def mala(n_factors, d, step_size):
    def step(state, target, rule):
        return langevin_step(state, target, factors_of(d, n_factors), step_size, rule)

    return step


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("n_factors", [1, 3])
def test_langevin_step_is_in_detailed_balance(d, n_factors, random_seed):
    density = Gumbel(d)
    target = target_of(density, n_factors)
    counts, info = flows(mala(n_factors, d, 1.4 - 0.3 * d), target, density, generator(random_seed))
    assert 0.3 < info.accepted.double().mean() < 0.9, "no step to accept or to reject"
    assert_balanced(counts)


@pytest.mark.parametrize("d", [1, 2])
def test_independence_step_is_in_detailed_balance(d, random_seed):
    density, base = Gumbel(d), MixtureDensity([1.0], np.zeros((1, d)), [1.5 * np.eye(d)], [5.0])
    target = target_of(density, 1, base)

    def step(state, target, rule):
        return independence_step(state, target, base, rule)

    counts, info = flows(step, target, density, generator(random_seed))
    assert 0.2 < info.accepted.double().mean() < 0.9, "no step to accept or to reject"
    assert_balanced(counts)


@pytest.mark.parametrize("d", [1, 2])
def test_exact_draws_stay_exact(d, random_seed):
    """Moments and cells after many steps of both kernels, within 5 standard errors."""
    density, base = Gumbel(d), MixtureDensity([1.0], np.zeros((1, d)), [1.5 * np.eye(d)], [5.0])
    target, rule = target_of(density, 3, base), generator(random_seed)
    n = 20_000
    state = target(density.sample(n, rule))
    for _ in range(10):
        state, _ = langevin_step(state, target, factors_of(d, 3), 0.8, rule)
        state, _ = independence_step(state, target, base, rule)
    counts = torch.bincount(density.cells(state.position), minlength=6).double()
    assert (counts - n / 6).abs().max() < 5 * math.sqrt(n * (1 / 6) * (5 / 6))
    first = state.position[:, 0]
    # log of an exponential: mean -gamma, variance pi^2 / 6, fourth central moment 3 pi^4 / 20.
    variance, fourth = math.pi**2 / 6, 3 * math.pi**4 / 20
    assert abs(float(first.mean()) + np.euler_gamma) < 5 * math.sqrt(variance / n)
    assert abs(float(first.var()) - variance) < 5 * math.sqrt((fourth - variance**2) / n)
    torch.testing.assert_close(state.log_density, density.log_density(state.position))


def test_langevin_log_ratio_is_that_of_the_proposal_densities(random_seed):
    """log [p(y) r_k(y) N(z; ...)] - log [p(z) r_k(z) N(y; ...)], with one factor a chain drawn."""
    density, h, n = Gumbel(2), 0.7, 50
    target, factors = target_of(density, 3), factors_of(2, 3)
    state, seen = target(density.sample(n, generator(random_seed))), []

    def watched(z):
        seen.append(target(z))
        return seen[-1]

    _, info = langevin_step(state, watched, factors, h, generator(random_seed + 1))
    (proposed,) = seen
    candidates = []
    for k, factor in enumerate(factors):
        covariance = h**2 * factor @ factor.T

        def log_kernel(a, b, covariance=covariance, k=k):
            mean = a.position + 0.5 * a.gradient @ covariance
            normal = torch.distributions.MultivariateNormal(mean, covariance)
            return a.log_density + a.responsibilities[:, k].log() + normal.log_prob(b.position)

        candidates.append(log_kernel(proposed, state) - log_kernel(state, proposed))
    errors = (torch.stack(candidates) - info.log_ratio).abs()
    assert errors.min(0).values.max() < 1e-9
    assert len(errors.argmin(0).unique()) == 3, "not every factor was drawn"


def test_independence_log_ratio_is_that_of_the_densities(random_seed):
    base, density, seen = random_mixture(1, 2, random_seed), Gumbel(1), []
    target = target_of(density, 1, base)

    def watched(z):
        seen.append(target(z))
        return seen[-1]

    state = target(density.sample(50, generator(random_seed)))
    _, info = independence_step(state, watched, base, generator(random_seed + 1))
    z, y = state.position, seen[0].position
    expected = density.log_density(y) + base.log_density(z)
    expected = expected - density.log_density(z) - base.log_density(y)
    torch.testing.assert_close(info.log_ratio, expected)


def test_nan_log_density_is_never_entered(random_seed):
    """Beyond z = 0 the density is NaN, as of an overflow there."""
    density = Gumbel(1)
    smooth = target_of(density, 1, random_mixture(1, 1, random_seed))

    def target(z):
        state = smooth(z)
        return state._replace(
            log_density=torch.where(z[:, 0] > 0, torch.nan, state.log_density),
            gradient=torch.where(z > 0, torch.nan, state.gradient),
        )

    rule, base = generator(random_seed), random_mixture(1, 1, random_seed)
    z = density.sample(2000, rule)
    state, proposed_nan, moved = target(z[z[:, 0] < 0]), 0, 0
    for _ in range(5):
        for step in (
            lambda s: langevin_step(s, target, factors_of(1, 1), 1.0, rule),
            lambda s: independence_step(s, target, base, rule),
        ):
            state, info = step(state)
            refused = info.log_ratio.isnan()
            proposed_nan += int(refused.sum())
            moved += int(info.accepted.sum())
            assert not info.accepted[refused].any()
            assert (state.position < 0).all()
            assert state.log_density.isfinite().all()
            assert state.gradient.isfinite().all()
    assert proposed_nan > 100
    assert moved > 100


def test_accept_takes_every_part_of_the_state_together(random_seed):
    density, rule = Gumbel(2), generator(random_seed)
    target = target_of(density, 3, random_mixture(2, 2, random_seed))
    old, new = (target(density.sample(400, rule)) for _ in range(2))
    log_ratio = torch.linspace(-4, 1, 400, dtype=torch.float64)
    merged, info = accept(old, new, log_ratio, rule)
    assert torch.equal(info.log_ratio, log_ratio)
    assert info.accepted[log_ratio >= 0].all()
    for part, from_old, from_new in zip(merged, old, new, strict=True):
        assert torch.equal(part[info.accepted], from_new[info.accepted])
        assert torch.equal(part[~info.accepted], from_old[~info.accepted])


def test_acceptance_probability_is_the_ratio(random_seed):
    n = 100_000
    state = target_of(Gumbel(1), 1)(torch.zeros(n, 1, dtype=torch.float64))
    for probability in (0.0, 0.02, 0.5, 1.0):
        log_ratio = torch.full((n,), probability, dtype=torch.float64).log()
        _, info = accept(state, state, log_ratio, generator(random_seed))
        error = math.sqrt(probability * (1 - probability) / n)
        assert abs(info.accepted.double().mean() - probability) <= 5 * error


def test_step_sizes_may_differ_between_chains(random_seed):
    density = Gumbel(2)
    target = target_of(density, 1)
    state = target(density.sample(1000, generator(random_seed)))
    size = torch.linspace(0.0, 1.0, 1000, dtype=torch.float64)[:, None]
    for i in (0, 300, 999):
        whole, _ = langevin_step(state, target, factors_of(2, 1), size, generator(5))
        same, _ = langevin_step(state, target, factors_of(2, 1), float(size[i]), generator(5))
        torch.testing.assert_close(whole.position[i], same.position[i])
    assert torch.equal(whole.position[0], state.position[0])


@pytest.mark.parametrize("beta", [0.4, 1.0])
def test_field_is_a_target_of_both_kernels(beta, random_seed):
    """The state of a tempered field holds its density, gradient, base and responsibilities."""
    field = random_field(2, random_seed)
    z = field.base.sample(300, generator(random_seed))
    state = tempered_target(field, beta)(z)
    assert torch.equal(state.position, z)
    log_q = field.base.log_density(z)
    torch.testing.assert_close(state.log_base, log_q)
    torch.testing.assert_close(state.log_density, log_q + beta * field.log_ratio(z))
    torch.testing.assert_close(state.gradient, field.evaluate(z, beta)[1])
    torch.testing.assert_close(state.responsibilities, field.base.responsibilities(z))
