"""log Z and draws of p~ = q exp f against quadrature in one and two dimensions."""

import math

import numpy as np
import pytest
import torch

from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.sampling.mcmc import tempered_smc
from skrae.sampling.mcmc.tempered_smc import _next_increment, _resample, log_normalizer, move
from tests.density.random_fields import random_field
from tests.mixtures.random_mixtures import generator, random_mixture

MAX_DRAWS = 16384


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch):
    """The largest population serves precision alone; a smaller one makes the tests faster."""
    monkeypatch.setattr(tempered_smc, "MAX_DRAWS", MAX_DRAWS)


def peaked_field(d, seed):
    """f = 4 in a window that holds a hundredth of q's mass, and -30 elsewhere."""
    base = random_mixture(d, 3, seed)
    first = base.sample(50_000, generator(seed))[:, 0]
    low, high = torch.quantile(first, torch.tensor([0.97, 0.98], dtype=torch.float64))
    steepness = 4 / (high - low)
    into = torch.zeros(d, 2, dtype=torch.float64)
    into[0] = steepness
    parameters = [
        into,
        -steepness * torch.stack([low, high]),
        torch.tensor([[20.0], [-20.0]], dtype=torch.float64),
        torch.tensor([-30.0], dtype=torch.float64),
    ]
    return ScoreField(
        base, GradientDecoder("tanh", 0.1, None), parameters, NoiseMetric(base, "local")
    )


def grid(d, half_width=14.0):
    """Points of a grid, fine along the first axis, and the logarithm of a cell's volume."""
    sizes = [20_001] if d == 1 else [2801, 281]
    axes = [torch.linspace(-half_width, half_width, n, dtype=torch.float64) for n in sizes]
    points = torch.cartesian_prod(*axes).reshape(-1, d)
    return points, sum(math.log(2 * half_width / (n - 1)) for n in sizes)


def quadrature(field):
    """log Z, mean, mean square and the relative variance of exp f under q."""
    z, log_cell = grid(field.base.n_features)
    log_q, f = field.base.log_density(z) + log_cell, field.log_tilt(z)
    assert abs(float(torch.logsumexp(log_q, 0))) < 1e-6, "the grid misses mass of q"
    log_z = float(torch.logsumexp(log_q + f, 0))
    share = torch.exp(log_q + f - log_z)
    second = float(torch.exp(torch.logsumexp(log_q + 2 * f, 0) - 2 * log_z))
    return log_z, share @ z, share @ z**2, second - 1


@pytest.fixture
def temperatures(monkeypatch):
    """The increments of beta that the code takes, in turn."""
    taken = []

    def recorded(*arguments):
        taken.append(_next_increment(*arguments))
        return taken[-1]

    monkeypatch.setattr(tempered_smc, "_next_increment", recorded)
    return taken


def assert_within(values, expected, n_errors=5):
    """Mean of independent values within so many of their own standard errors."""
    values = np.asarray(values)
    error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - np.asarray(expected)) < n_errors * error).all()


@pytest.mark.parametrize("d", [1, 2])
def test_log_normalizer_in_one_step_equals_quadrature(d, temperatures, random_seed):
    """The repeats scatter as importance sampling says, by sqrt(Var exp f) / Z / sqrt(n)."""
    field = random_field(d, random_seed, head=1.5)
    expected, mean, square, relative_variance = quadrature(field)
    n = 16
    with torch.no_grad():
        log_z, particles = log_normalizer(field, generator(random_seed), n, 512)
    assert temperatures == [1.0]
    assert particles.shape == (n, 512, d)
    assert relative_variance > 0.02, "the head hardly changes the base"
    assert_within(log_z, expected)
    # The code draws what a standard error of 0.008 takes, within limits.
    n_draws = min(max(relative_variance / 0.008**2, 4096), MAX_DRAWS)
    spread = float(log_z.var()) / (relative_variance / n_draws)
    # A chi-square of 15 degrees, over 15: beyond these with probability 1e-6 each.
    assert 0.06 < spread < 3.9
    assert_within(particles.mean(1), mean)
    assert_within((particles**2).mean(1), square)


@pytest.mark.parametrize("d", [1, 2])
def test_log_normalizer_of_a_peaked_head_equals_quadrature(d, temperatures, random_seed):
    """The tempered path, which one step of importance sampling could not serve."""
    field = peaked_field(d, random_seed)
    expected, mean, square, relative_variance = quadrature(field)
    assert 1 / (1 + relative_variance) < 0.04, "one step would do"
    with torch.no_grad():
        log_z, particles = log_normalizer(field, generator(random_seed), 12, 512)
    assert len(temperatures) > 1
    assert sum(temperatures) == pytest.approx(1.0)
    assert_within(log_z, expected)
    assert float(log_z.std()) < 0.2
    assert_within(particles.mean(1), mean)
    assert_within((particles**2).mean(1), square)


@pytest.mark.parametrize("kind", ["local", "isotropic"])
def test_many_temperatures_lead_to_the_same_normalizer(
    kind, temperatures, monkeypatch, random_seed
):
    monkeypatch.setattr(tempered_smc, "FIRST_EFFECTIVE_SHARE", 0.9)
    monkeypatch.setattr(tempered_smc, "EFFECTIVE_SHARE", 0.9)
    field = random_field(2, random_seed, kind, head=5.0)
    expected, mean, square, _ = quadrature(field)
    with torch.no_grad():
        log_z, particles = log_normalizer(field, generator(random_seed), 12, 512)
    assert len(temperatures) >= 3
    assert_within(log_z, expected)
    assert_within(particles.mean(1), mean)
    assert_within((particles**2).mean(1), square)


def test_zero_head_has_normalizer_one(random_seed):
    field = random_field(2, random_seed, head=0.0)
    with torch.no_grad():
        log_z = log_normalizer(field, generator(random_seed), 3, 256).log_z
    np.testing.assert_allclose(log_z, 0, atol=1e-12)


def test_a_constant_head_is_its_own_normalizer(random_seed):
    """f = c everywhere: log Z = c without error."""
    field = random_field(2, random_seed, head=0.0)
    field.parameters[-1] += 1.5
    expected = field.log_tilt(torch.zeros(1, 2, dtype=torch.float64))
    with torch.no_grad():
        log_z = log_normalizer(field, generator(random_seed), 3, 256).log_z
    np.testing.assert_allclose(log_z, expected.expand(3), atol=1e-12)


def test_normalizer_follows_its_generator(random_seed):
    field = peaked_field(1, random_seed)
    with torch.no_grad():
        first, second, other = (
            log_normalizer(field, generator(seed), 2, 256) for seed in (1, 1, 2)
        )
    assert torch.equal(first.log_z, second.log_z)
    assert torch.equal(first.particles, second.particles)
    assert not torch.equal(first.log_z, other.log_z)


@pytest.mark.parametrize("peaked", [False, True])
@pytest.mark.parametrize("d", [1, 2])
def test_particles_have_the_moments_of_the_density(d, peaked, random_seed):
    """Means of runs within 5 standard errors: runs are independent, their rows are not."""
    field = peaked_field(d, random_seed) if peaked else random_field(d, random_seed, head=3.0)
    _, mean, square, _ = quadrature(field)
    with torch.no_grad():
        runs = log_normalizer(field, generator(random_seed), 12, 256).particles
    assert runs.shape == (12, 256, d)
    assert_within([run.mean(0).numpy() for run in runs], mean)
    assert_within([(run**2).mean(0).numpy() for run in runs], square)


def test_moves_leave_exact_draws_exact(random_seed):
    """At beta = 0 the target is q itself: means of its exact draws within 5 standard errors."""
    field, n = random_field(2, random_seed, head=2.0), 4000
    z = field.base.sample(n, generator(random_seed))
    state, step = move(field, 0.0, z, generator(random_seed + 1), 10)
    fresh = field.base.sample(400_000, generator(random_seed + 2))
    for power in (1, 2):
        exact, drawn = fresh**power, state.position**power
        error = drawn.std(0) / math.sqrt(n)
        assert ((drawn.mean(0) - exact.mean(0)).abs() < 5 * error).all()
    assert (state.position != z).any(1).double().mean() > 0.9
    assert 1e-3 < step < 2.0


def test_systematic_resampling_counts_are_the_expected_ones(random_seed):
    """Each row appears floor or ceil of n times its weight."""
    weights = torch.softmax(torch.randn(3, 40, generator=generator(random_seed)).double(), 1)
    z = torch.arange(3 * 40, dtype=torch.float64).reshape(3, 40, 1)
    chosen = _resample(z, weights, 200, generator(random_seed))
    assert chosen.shape == (3, 200, 1)
    for rows, repeat, share in zip(z, chosen, weights, strict=True):
        counts = (repeat == rows.T).sum(0)
        assert ((counts - 200 * share).abs() < 1 + 1e-9).all()


def test_next_increment_keeps_the_effective_sample_share(random_seed):
    f = 6 * torch.randn(4, 500, generator=generator(random_seed)).double()

    def share(log_weights):
        w = np.exp(log_weights.numpy() - log_weights.numpy().max(axis=1, keepdims=True))
        return (w.sum(1) ** 2 / (w**2).sum(1) / w.shape[1]).min()

    increment = _next_increment(f, 1.0, 0.5)
    assert 0 < increment < 1
    assert share(increment * f) == pytest.approx(0.5, abs=1e-6)
    assert _next_increment(0.01 * f, 0.7, 0.5) == 0.7


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_density_that_is_no_number_is_refused(bad, random_seed):
    field = random_field(2, random_seed)
    field.parameters[-1][:] = bad
    field.log_tilt = lambda z, log_q=None: torch.full_like(z[:, 0], bad)
    with torch.no_grad(), pytest.raises(ValueError, match="Got a log density that is not finite"):
        log_normalizer(field, generator(random_seed), 2, 256)


def test_a_normalizer_out_of_reach_is_refused(random_seed, monkeypatch):
    monkeypatch.setattr(tempered_smc, "MAX_TEMPERATURES", 1)
    with torch.no_grad(), pytest.raises(ValueError, match="Got a log Z that 1 temperatures"):
        log_normalizer(peaked_field(2, random_seed), generator(random_seed), 2, 256)
