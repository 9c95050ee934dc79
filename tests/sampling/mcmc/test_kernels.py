"""Metropolis-Hastings: detailed balance and an unchanged target, both skewed on purpose."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from skrae.mixtures.mixture import MixtureDensity
from skrae.sampling.mcmc import kernels, runs
from skrae.sampling.mcmc.density_ratios import PathIntegral, exact, first_order
from skrae.sampling.mcmc.kernels import (
    State,
    accept,
    hamiltonian_step,
    independence_run,
    independence_step,
    langevin_step,
    random_walk_step,
)
from skrae.sampling.mcmc.runs import Kernel, local_step
from skrae.sampling.mcmc.tempered_smc import tempered_target
from tests.density.random_fields import random_field
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, random_mixture

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


class Target:
    """A density as kernels see it; responsibilities vary with z where there are several factors."""

    def __init__(self, density, n_factors, base=None):
        self.density, self.n_factors, self.base = density, n_factors, base

    def __call__(self, z):
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            log_p = self.density.log_density(z)
            (gradient,) = torch.autograd.grad(log_p.sum(), z)
        z = z.detach()
        logits = torch.arange(self.n_factors, dtype=z.dtype) * (1.5 * z[:, :1] + 0.5)
        return State(z, log_p.detach(), gradient, self._log_base(z), torch.softmax(logits, 1))

    def _log_base(self, z):
        return torch.zeros_like(z[:, 0]) if self.base is None else self.base.log_density(z)

    def gradient(self, z):
        return self(z).gradient

    def densities(self, z):
        return self.density.log_density(z), self._log_base(z)


class Watched:
    """A target that remembers the states it gave; `seen[-1]` is the last proposal's."""

    def __init__(self, target):
        self.target, self.gradient, self.seen = target, target.gradient, []

    def __call__(self, z):
        self.seen.append(self.target(z))
        return self.seen[-1]


class HalfLine(Target):
    """The same where z_1 < 0; beyond, the log density is a wall of NaN or -inf."""

    def __init__(self, density, base, wall, *, sees_gradient):
        super().__init__(density, 1, base)
        self.wall, self.sees_gradient = wall, sees_gradient

    def __call__(self, z):
        state, beyond = super().__call__(z), z[:, 0] >= 0
        gradient = state.gradient
        if not self.sees_gradient:
            gradient = torch.where(beyond[:, None], torch.nan, gradient)
        log_density = torch.where(beyond, self.wall, state.log_density)
        return state._replace(log_density=log_density, gradient=gradient)

    def densities(self, z):
        log_p, log_base = super().densities(z)
        return torch.where(z[:, 0] >= 0, self.wall, log_p), log_base


def factors_of(d, n_factors, n_chains=None):
    """The identity alone, or narrow to wide and tilted; of other sizes for n_chains chains."""
    factors = torch.eye(d, dtype=torch.float64)[None]
    if n_factors > 1:
        tilt = factors + 0.7 * torch.ones(d, d, dtype=torch.float64).tril(-1)
        factors = torch.linspace(0.4, 2.0, n_factors, dtype=torch.float64)[:, None, None] * tilt
    if n_chains is None:
        return factors
    return torch.linspace(0.6, 1.4, n_chains, dtype=torch.float64)[:, None, None, None] * factors


def wide_base(d):
    return MixtureDensity([1.0], np.zeros((1, d)), [1.5 * np.eye(d)], [5.0])


def local(kind, factors, step_size, density_ratio=exact):
    """A local move as a function (state, target, generator)."""

    def step(state, target, rule):
        common = state, target, factors, step_size, rule
        if kind == "random_walk":
            return random_walk_step(*common, density_ratio)
        if kind == "langevin":
            return langevin_step(*common, density_ratio)
        if kind == "hamiltonian":
            return hamiltonian_step(*common, 3, density_ratio)
        kernel = Kernel(
            local="hamiltonian",
            n_independent=0,
            n_local=1,
            step_size=step_size,
            factors=factors,
            max_leapfrog=4,
            density_ratio=density_ratio,
        )
        return local_step(state, target, kernel, rule)

    return step


def flows(step, target, density, rule, n_batches=4):
    """Number of chains that go from cell i to cell j in one step, and the acceptance rate."""
    counts, rate = np.zeros((6, 6)), 0.0
    for _ in range(n_batches):
        state = target(density.sample(N_CHAINS // n_batches, rule))
        before = density.cells(state.position)
        state, info = step(state, target, rule)
        np.add.at(counts, (before.numpy(), density.cells(state.position).numpy()), 1)
        rate += float(info.accepted.double().mean()) / n_batches
    return counts, rate


def assert_balanced(counts, n_errors=5):
    """Flows i -> j and j -> i are equal in law, their difference of variance i -> j + j -> i."""
    total = counts + counts.T
    assert counts[~np.eye(6, dtype=bool)].sum() > 0.15 * N_CHAINS, "the chains hardly move"
    difference = np.abs(counts - counts.T)
    assert (difference <= n_errors * np.sqrt(total)).all(), difference / np.sqrt(total + 1)


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize(("n_factors", "n_chains"), [(1, None), (3, None), (1, 5), (3, 5)])
@pytest.mark.parametrize("kind", ["random_walk", "langevin", "hamiltonian", "jittered"])
def test_local_step_is_in_detailed_balance(kind, n_factors, n_chains, d, random_seed):
    """n_chains: the factors are those of a chain."""
    density, factors = Gumbel(d), factors_of(d, n_factors, n_chains)
    target = Target(density, n_factors)
    step = local(kind, factors, (1.8 if kind == "jittered" else 1.4) - 0.3 * d)
    counts, rate = flows(step, target, density, generator(random_seed))
    assert 0.25 < rate < 0.9, "no step to accept or to reject"
    assert_balanced(counts)


@pytest.mark.parametrize("d", [1, 2])
def test_independence_step_is_in_detailed_balance(d, random_seed):
    density, base = Gumbel(d), wide_base(d)
    target = Target(density, 1, base)

    def step(state, target, rule):
        return independence_step(state, target, base, rule)

    counts, rate = flows(step, target, density, generator(random_seed))
    assert 0.2 < rate < 0.9, "no step to accept or to reject"
    assert_balanced(counts)


@pytest.mark.parametrize("d", [1, 2])
def test_exact_draws_stay_exact(d, random_seed):
    """Moments and cells after many steps of both kernels, within 5 standard errors."""
    density, base = Gumbel(d), wide_base(d)
    target, rule = Target(density, 3, base), generator(random_seed)
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


def test_langevin_log_acceptance_ratio_is_that_of_the_proposal_densities(random_seed):
    """log [p(y) r_k(y) N(z; ...)] - log [p(z) r_k(z) N(y; ...)], with one factor a chain drawn."""
    density, h, n = Gumbel(2), 0.7, 50
    target, factors = Target(density, 3), factors_of(2, 3)
    state, watched = target(density.sample(n, generator(random_seed))), Watched(target)
    _, info = langevin_step(state, watched, factors, h, generator(random_seed + 1))
    (proposed,) = watched.seen
    candidates = []
    for k, factor in enumerate(factors):
        covariance = h**2 * factor @ factor.T

        def log_kernel(a, b, covariance=covariance, k=k):
            mean = a.position + 0.5 * a.gradient @ covariance
            normal = torch.distributions.MultivariateNormal(mean, covariance)
            return a.log_density + a.responsibilities[:, k].log() + normal.log_prob(b.position)

        candidates.append(log_kernel(proposed, state) - log_kernel(state, proposed))
    errors = (torch.stack(candidates) - info.log_acceptance_ratio).abs()
    assert errors.min(0).values.max() < 1e-9
    assert len(errors.argmin(0).unique()) == 3, "not every factor was drawn"


def test_independence_log_acceptance_ratio_is_that_of_the_densities(random_seed):
    base, density = random_mixture(1, 2, random_seed), Gumbel(1)
    target = Target(density, 1, base)
    watched = Watched(target)
    state = target(density.sample(50, generator(random_seed)))
    _, info = independence_step(state, watched, base, generator(random_seed + 1))
    z, y = state.position, watched.seen[0].position
    expected = density.log_density(y) + base.log_density(z)
    expected = expected - density.log_density(z) - base.log_density(y)
    torch.testing.assert_close(info.log_acceptance_ratio, expected)


@pytest.fixture
def still_noise(monkeypatch):
    """Hands the local moves the noise that a test chose, which is also the velocity at the start"""

    def choose(noise):
        monkeypatch.setattr(kernels, "_noise_like", lambda position, generator: noise)

    return choose


def leapfrog(target, factor, z, v, h, n_leapfrog):
    """Half a kick, a whole drift, half a kick: the textbook's loop, with v in units of the metric.

    Returns the position, velocity and energy -log p(z) + |v|^2 / 2 at the end.
    """
    for _ in range(n_leapfrog):
        v = v + h / 2 * target.gradient(z) @ factor
        z = z + h * v @ factor.T
        v = v + h / 2 * target.gradient(z) @ factor
    return z, v, 0.5 * v.square().sum(1) - target(z).log_density


@pytest.mark.parametrize("n_leapfrog", [0, 1, 4])
def test_log_acceptance_ratio_of_local_step_is_that_of_the_component_drawn(
    n_leapfrog, still_noise, random_seed
):
    """Random walk (0) and leapfrog: proposal and log acceptance ratio of one of the factors."""
    density, h, n = Gumbel(2), 0.1, 200
    rule, target, factors = generator(random_seed), Target(density, 3), factors_of(2, 3)
    state, watched = target(density.sample(n, rule)), Watched(target)
    v = torch.randn(n, 2, generator=rule, dtype=torch.float64)
    still_noise(v)
    if n_leapfrog:
        _, info = hamiltonian_step(state, watched, factors, h, rule, n_leapfrog)
    else:
        _, info = random_walk_step(state, watched, factors, h, rule)
    gaps, errors = [], []
    for k, factor in enumerate(factors):
        y, w = state.position + h * v @ factor.T, v
        if n_leapfrog:
            y, w, _ = leapfrog(target, factor, state.position, v, h, n_leapfrog)
        expected = density.log_density(y) - density.log_density(state.position)
        expected += 0.5 * (v.square() - w.square()).sum(1)
        expected += (target(y).responsibilities / state.responsibilities)[:, k].log()
        gaps.append((watched.seen[-1].position - y).abs().amax(1))
        errors.append((info.log_acceptance_ratio - expected).abs())
    # Paths with the widest of the factors may diverge where it was not drawn.
    gaps, errors = torch.stack(gaps).nan_to_num(torch.inf), torch.stack(errors)
    drawn = gaps.argmin(0)
    assert gaps.min(0).values.max() < 1e-9
    assert errors.gather(0, drawn[None]).max() < 1e-9
    assert len(drawn.unique()) == 3, "not every factor was drawn"


def test_chain_takes_the_factors_of_its_index(random_seed):
    density = Gumbel(2)
    target, factors = Target(density, 3), factors_of(2, 3, n_chains=5)
    state = target(density.sample(50, generator(random_seed)))
    for kind in ("random_walk", "langevin", "hamiltonian"):
        mixed, info = local(kind, factors, 0.5)(state, target, generator(random_seed))
        assert info.accepted.any()
        for i in range(5):
            alone, _ = local(kind, factors[i], 0.5)(state, target, generator(random_seed))
            torch.testing.assert_close(mixed.position[i::5], alone.position[i::5])


def test_hamiltonian_paths_have_random_numbers_of_random_steps(monkeypatch, random_seed):
    """1 to max_leapfrog steps, one number for all chains, each of .4 to 1 times the step size."""
    seen = []

    def watched(state, target, factors, step_size, generator, n_leapfrog, density_ratio):
        seen.append((n_leapfrog, step_size))
        return hamiltonian_step(
            state, target, factors, step_size, generator, n_leapfrog, density_ratio
        )

    monkeypatch.setattr(runs, "hamiltonian_step", watched)
    density, rule = Gumbel(2), generator(random_seed)
    target = Target(density, 1)
    state = target(density.sample(50, rule))
    for _ in range(100):
        local("jittered", factors_of(2, 1), 0.5)(state, target, rule)
    lengths, sizes = zip(*seen, strict=True)
    counts = np.bincount(lengths, minlength=5)
    assert len(counts) == 5
    assert counts[0] == 0
    assert (np.abs(counts[1:] - 25) < 5 * math.sqrt(100 * 0.25 * 0.75)).all()
    shares = torch.stack(sizes).flatten() / 0.5
    assert 0.4 <= shares.min() < 0.41
    assert 0.99 < shares.max() <= 1.0
    assert abs(shares.mean() - 0.7) < 5 * 0.6 / math.sqrt(12 * 5000)


def test_langevin_step_is_one_leapfrog(random_seed):
    density = Gumbel(2)
    target, factors = Target(density, 3), factors_of(2, 3)
    state = target(density.sample(300, generator(random_seed)))
    one, info = hamiltonian_step(state, target, factors, 0.7, generator(1), 1)
    same, other = langevin_step(state, target, factors, 0.7, generator(1))
    for found, expected in zip((*one, *info), (*same, *other), strict=True):
        assert torch.equal(found, expected)


def tilted_factor():
    return torch.tensor([[[0.9, 0.0], [0.5, 0.7]]], dtype=torch.float64)


def path_end(state, target, h, n_leapfrog, rule):
    """Position that a Hamiltonian move proposes, and its log acceptance ratio."""
    watched = Watched(target)
    _, info = hamiltonian_step(state, watched, tilted_factor(), h, rule, n_leapfrog)
    return watched.seen[-1], info.log_acceptance_ratio


def test_leapfrog_is_reversible(still_noise, random_seed):
    """From the end with the velocity turned round, back to the start, with the ratio's negative."""
    density, rule = Gumbel(2), generator(random_seed)
    target = Target(density, 1)
    state = target(density.sample(100, rule))
    v = torch.randn(100, 2, generator=rule, dtype=torch.float64)
    still_noise(v)
    end, log_acceptance_ratio = path_end(state, target, 0.15, 8, rule)
    _, w, _ = leapfrog(target, tilted_factor()[0], state.position, v, 0.15, 8)
    still_noise(-w)
    back, opposite = path_end(end, target, 0.15, 8, rule)
    torch.testing.assert_close(back.position, state.position, atol=1e-9, rtol=0)
    torch.testing.assert_close(opposite, -log_acceptance_ratio, atol=1e-9, rtol=0)
    assert (end.position - state.position).norm(dim=1).mean() > 0.5


def test_leapfrog_preserves_volume(still_noise, random_seed):
    """|det d(z', v') / d(z, v)| = 1, by central differences; v' as in the textbook's loop."""
    density, rule = Gumbel(2), generator(random_seed)
    target = Target(density, 1)
    z = density.sample(20, rule)
    v = torch.randn(20, 2, generator=rule, dtype=torch.float64)

    def end(zv):
        z, v = zv[:, :2], zv[:, 2:]
        still_noise(v)
        position = path_end(target(z), target, 0.3, 4, rule)[0].position
        return torch.cat([position, leapfrog(target, tilted_factor()[0], z, v, 0.3, 4)[1]], dim=1)

    jacobian = finite_differences(end, torch.cat([z, v], dim=1), 1e-5)
    volume = torch.linalg.det(jacobian).abs()
    torch.testing.assert_close(volume, torch.ones_like(volume), rtol=1e-5, atol=0)


def test_path_of_a_gaussian_follows_the_ellipse(still_noise, random_seed):
    """Where C is the metric, z' = z cos t + K v sin t; the ratio falls with the square of h."""
    factor, rule, t = tilted_factor()[0], generator(random_seed), 1.2
    target = Target(Normal(factor), 1)
    noise = torch.randn(2, 200, 2, generator=rule, dtype=torch.float64)
    state = target(noise[0] @ factor.T)
    still_noise(noise[1])
    expected = math.cos(t) * state.position + math.sin(t) * noise[1] @ factor.T
    errors, ratios = [], []
    for n_leapfrog in (20, 40):
        end, log_acceptance_ratio = path_end(state, target, t / n_leapfrog, n_leapfrog, rule)
        errors.append(float((end.position - expected).abs().max()))
        ratios.append(float(log_acceptance_ratio.abs().max()))
    assert errors[0] < 2e-3
    # 4.0 in the limit of small steps.
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.1)
    assert ratios[0] / ratios[1] == pytest.approx(4.0, abs=0.1)


class Normal:
    """N(0, K K^T) but for its constant."""

    def __init__(self, factor):
        self.precision = torch.linalg.inv(factor @ factor.T)

    def log_density(self, z):
        return -0.5 * ((z @ self.precision) * z).sum(1)


# Independence proposals


@pytest.mark.parametrize("d", [1, 2])
def test_independence_run_flows_as_independence_steps(d, random_seed):
    """Each of three transitions in detailed balance, and the flows over all of them alike."""
    density, rule, n_steps = Gumbel(d), generator(random_seed), 3
    base = wide_base(d)
    target = Target(density, 1, base)
    start = target(density.sample(N_CHAINS, rule))
    states, info = independence_run(start, target, base, n_steps, rule)
    path = [density.cells(z).numpy() for z in (start.position, *states.position)]
    for before, after in pairwise(path):
        counts = np.zeros((6, 6))
        np.add.at(counts, (before, after), 1)
        assert_balanced(counts)
    single = start
    for _ in range(n_steps):
        single, last = independence_step(single, target, base, rule)
    whole = np.zeros((2, 6, 6))
    np.add.at(whole[0], (path[0], path[-1]), 1)
    np.add.at(whole[1], (path[0], density.cells(single.position).numpy()), 1)
    assert (np.abs(whole[0] - whole[1]) <= 5 * np.sqrt(whole.sum(0))).all()
    rates = [float(i.double().mean()) for i in (info.accepted[-1], last.accepted)]
    assert abs(rates[0] - rates[1]) < 5 * math.sqrt(2 * 0.25 / N_CHAINS)


def test_independence_run_is_the_rule_applied_to_its_proposals_in_turn(random_seed):
    """Drawn again from the same generator: proposals first, then the uniform numbers."""
    density, base = Gumbel(2), random_mixture(2, 2, random_seed)
    target, n, n_steps = Target(density, 3, base), 40, 12
    start = target(density.sample(n, generator(random_seed)))
    states, info = independence_run(start, target, base, n_steps, generator(5))
    rule = generator(5)
    proposals = base.sample(n_steps * n, rule).reshape(n_steps, n, 2)
    uniform = torch.rand(n_steps, n, generator=rule, dtype=torch.float64)
    position, log_p, log_q = start.position.clone(), start.log_density, start.log_base
    for t in range(n_steps):
        proposed = target(proposals[t])
        ratio = proposed.log_density - proposed.log_base - log_p + log_q
        accepted = uniform[t].log() < ratio
        position = torch.where(accepted[:, None], proposals[t], position)
        log_p = torch.where(accepted, proposed.log_density, log_p)
        log_q = torch.where(accepted, proposed.log_base, log_q)
        assert torch.equal(info.accepted[t], accepted)
        assert torch.equal(states.position[t], position)
        torch.testing.assert_close(info.log_acceptance_ratio[t], ratio)
        torch.testing.assert_close(states.log_density[t], log_p)
        torch.testing.assert_close(states.log_base[t], log_q)
        torch.testing.assert_close(info.log_density[t], proposed.log_density)


def test_independence_run_keeps_its_books(random_seed):
    """The start until the first acceptance, the last accepted proposal from then on, bitwise."""
    density, base = Gumbel(2), wide_base(2)
    target = Target(density, 3, base)
    start = target(density.sample(400, generator(random_seed)))
    states, info = independence_run(start, target, base, 20, generator(random_seed))
    before = [torch.cat([old[None], new[:-1]]) for old, new in zip(start, states, strict=True)]
    moved = info.accepted
    for name in ("position", "log_density", "log_base"):
        old, new = before[State._fields.index(name)], getattr(states, name)
        assert torch.equal(new[~moved], old[~moved])
        assert (new[moved] != old[moved]).all()
    assert torch.equal(states.log_density[moved], info.log_density[moved])
    waiting = ~moved.cummax(0).values
    assert waiting.any()
    assert torch.equal(states.position[waiting], start.position.expand(20, -1, -1)[waiting])
    flat = states.position.flatten(0, 1)
    torch.testing.assert_close(states.log_density.flatten(), density.log_density(flat))
    torch.testing.assert_close(states.log_base.flatten(), base.log_density(flat))
    assert torch.equal(states.gradient, start.gradient.expand(20, -1, -1))
    assert torch.equal(states.responsibilities, start.responsibilities.expand(20, -1, -1))


# What is never entered

MOVES = ["random_walk", "langevin", "hamiltonian", "jittered", "independence", "run"]


@pytest.mark.parametrize("wall", [torch.nan, -torch.inf], ids=["nan", "-inf"])
@pytest.mark.parametrize("kind", MOVES)
def test_nonfinite_log_density_is_never_entered(kind, wall, random_seed):
    """And the step's info tells how often it was proposed."""
    density, base, rule = Gumbel(1), wide_base(1), generator(random_seed)
    target = HalfLine(density, base, torch.tensor(wall).double(), sees_gradient=False)
    z = density.sample(4000, rule)
    state, n_refused, n_moved = target(z[z[:, 0] < 0]), 0, 0
    for _ in range(5):
        if kind == "run":
            states, info = independence_run(state, target, base, 2, rule)
            state = State(*(part[-1] for part in states))
        elif kind == "independence":
            state, info = independence_step(state, target, base, rule)
        else:
            state, info = local(kind, factors_of(1, 1), 1.0)(state, target, rule)
        refused = ~info.log_density.isfinite()
        assert not (refused & info.accepted).any()
        assert (state.position < 0).all()
        assert all(part.isfinite().all() for part in state)
        n_refused, n_moved = n_refused + int(refused.sum()), n_moved + int(info.accepted.sum())
    assert min(n_refused, n_moved) > 500


@pytest.mark.parametrize("wall", [torch.nan, -torch.inf], ids=["nan", "-inf"])
@pytest.mark.parametrize("density_ratio", [PathIntegral(), first_order], ids=["path", "first"])
@pytest.mark.parametrize("kind", MOVES[:-1])
def test_score_ratios_do_not_enter_what_has_no_density(kind, density_ratio, wall, random_seed):
    """A score that goes on smoothly beyond the wall is no reason to."""
    density, base, rule = Gumbel(1), wide_base(1), generator(random_seed)
    target = HalfLine(density, base, torch.tensor(wall).double(), sees_gradient=True)
    z = density.sample(2000, rule)
    state = target(z[z[:, 0] < 0])
    if kind == "independence":
        state, info = independence_step(state, target, base, rule, density_ratio)
    else:
        state, info = local(kind, factors_of(1, 1), 1.0, density_ratio)(state, target, rule)
    assert (~info.log_density.isfinite()).sum() > 50
    assert (state.position < 0).all()


@pytest.mark.parametrize("kind", MOVES[:-1])
def test_path_integral_decides_as_the_density(kind, random_seed):
    """On a conservative score of which the rule's error is below 1e-8."""
    density, path = Gumbel(2), PathIntegral(40)
    base = MixtureDensity([1.0], np.zeros((1, 2)), [np.eye(2)], [np.inf])
    target = Target(density, 3, base)
    state = target(density.sample(500, generator(random_seed)))
    found = []
    for ratio in (exact, path):
        if kind == "independence":
            found.append(independence_step(state, target, base, generator(3), ratio))
        else:
            found.append(local(kind, factors_of(2, 3), 0.6, ratio)(state, target, generator(3)))
    (one, info), (other, same) = found
    # Paths that left the numbers are NaN for both.
    close = {"atol": 1e-8, "rtol": 1e-8, "equal_nan": True}
    torch.testing.assert_close(same.log_acceptance_ratio, info.log_acceptance_ratio, **close)
    assert torch.equal(same.accepted, info.accepted)
    assert torch.equal(other.position, one.position)
    assert 50 < info.accepted.sum() < 490


def test_accept_takes_every_part_of_the_state_together(random_seed):
    density, rule = Gumbel(2), generator(random_seed)
    target = Target(density, 3, random_mixture(2, 2, random_seed))
    old, new = (target(density.sample(400, rule)) for _ in range(2))
    log_acceptance_ratio = torch.linspace(-4, 1, 400, dtype=torch.float64)
    merged, info = accept(old, new, log_acceptance_ratio, rule)
    assert torch.equal(info.log_acceptance_ratio, log_acceptance_ratio)
    assert info.accepted[log_acceptance_ratio >= 0].all()
    for part, from_old, from_new in zip(merged, old, new, strict=True):
        assert torch.equal(part[info.accepted], from_new[info.accepted])
        assert torch.equal(part[~info.accepted], from_old[~info.accepted])


def test_acceptance_probability_is_the_ratio(random_seed):
    n = 100_000
    state = Target(Gumbel(1), 1)(torch.zeros(n, 1, dtype=torch.float64))
    for probability in (0.0, 0.02, 0.5, 1.0):
        log_acceptance_ratio = torch.full((n,), probability, dtype=torch.float64).log()
        _, info = accept(state, state, log_acceptance_ratio, generator(random_seed))
        error = math.sqrt(probability * (1 - probability) / n)
        assert abs(info.accepted.double().mean() - probability) <= 5 * error


def test_step_sizes_may_differ_between_chains(random_seed):
    density = Gumbel(2)
    target = Target(density, 1)
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
    torch.testing.assert_close(state.log_density, log_q + beta * field.log_tilt(z))
    torch.testing.assert_close(state.gradient, field.evaluate(z, beta)[1])
    torch.testing.assert_close(state.responsibilities, field.base.responsibilities(z))
