"""What warm-up tunes, against closed forms of Gaussian targets."""

import math

import numpy as np
import pytest
import torch

from skrae.sampling.mcmc.adaptation import (
    MAX_LEAPFROG,
    STEP_JITTER,
    TARGET_ACCEPTANCE,
    DualAveraging,
    SeparateSteps,
    acceptance_probability,
    first_step_size,
    leapfrog_limit,
    pooled_factor,
)
from skrae.sampling.mcmc.density_ratios import exact
from skrae.sampling.mcmc.kernels import State
from skrae.sampling.mcmc.runs import Kernel, local_step
from tests.mixtures.random_mixtures import generator


class Normal:
    """N(0, I) as a target."""

    def __call__(self, z):
        n = len(z)
        return State(z, -0.5 * z.square().sum(1), -z, z.new_zeros(n), z.new_ones(n, 1))

    def gradient(self, z):
        return -z


def rate(step_size):
    """Mean acceptance of a random walk on N(0, 1): (2 / pi) arctan(2 / h)."""
    return 2 / math.pi * math.atan(2 / step_size)


def best_step(acceptance):
    """The step size of that acceptance rate."""
    return 2 / math.tan(math.pi * acceptance / 2)


def cycle(state, target, kind, step_size, rule):
    """A local step and its mean acceptance probability."""
    limit = leapfrog_limit(step_size) if kind == "hamiltonian" else 1
    factors = torch.eye(state.position.shape[1], dtype=torch.float64)[None]
    kernel = Kernel(
        local=kind,
        n_independent=0,
        n_local=1,
        step_size=step_size,
        factors=factors,
        max_leapfrog=limit,
        density_ratio=exact,
    )
    state, info = local_step(state, target, kernel, rule)
    return state, float(acceptance_probability(info.log_acceptance_ratio).mean())


def tuned(kind, d, rule, n_steps=300, n_chains=100):
    """Dual averaging on N(0, I) from exact draws; the state after it and its step size."""
    target, average = Normal(), DualAveraging(0.1, TARGET_ACCEPTANCE[kind])
    state = target(torch.randn(n_chains, d, generator=rule, dtype=torch.float64))
    for _ in range(n_steps):
        state, acceptance = cycle(state, target, kind, average.step_size, rule)
        average.update(acceptance)
    return state, average.averaged


def test_acceptance_probability_is_the_rule_and_zero_for_nan():
    log_acceptance_ratio = torch.tensor([-torch.inf, -2.0, 0.0, 3.0, torch.inf, torch.nan])
    expected = torch.tensor([0.0, math.exp(-2.0), 1.0, 1.0, 1.0, 0.0])
    torch.testing.assert_close(acceptance_probability(log_acceptance_ratio), expected)


# Step sizes


@pytest.mark.parametrize("start", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("acceptance", [0.234, 0.574, 0.8])
def test_dual_averaging_finds_the_step_of_a_known_acceptance_rate(acceptance, start):
    average = DualAveraging(start, acceptance)
    for _ in range(2000):
        average.update(rate(average.step_size))
    assert average.averaged == pytest.approx(best_step(acceptance), rel=0.05)
    assert average.step_size == pytest.approx(best_step(acceptance), rel=0.05)


def test_dual_averaging_smooths_noisy_acceptances(random_seed):
    """The averaged step varies less than the last one, about the same value."""
    rng, last, averaged = np.random.default_rng(random_seed), [], []
    for _ in range(40):
        average = DualAveraging(1.0, 0.5)
        for _ in range(300):
            average.update(rate(average.step_size) + 0.1 * rng.standard_normal())
        last.append(math.log(average.step_size))
        averaged.append(math.log(average.averaged))
    assert np.std(averaged) < 0.5 * np.std(last)
    error = np.std(averaged) / math.sqrt(len(averaged))
    assert abs(np.mean(averaged) - math.log(best_step(0.5))) < 5 * error + 0.02


def test_dual_averaging_without_updates_keeps_its_start():
    average = DualAveraging(0.3, 0.5)
    assert average.step_size == 0.3
    assert average.averaged == pytest.approx(0.3, rel=1e-14)


@pytest.mark.parametrize(
    ("kind", "d"), [("random_walk", 1), ("random_walk", 4), ("langevin", 4), ("hamiltonian", 4)]
)
def test_dual_averaging_reaches_its_acceptance_on_a_gaussian(kind, d, random_seed):
    rule = generator(random_seed)
    state, step_size = tuned(kind, d, rule)
    rates = []
    for _ in range(100):
        state, acceptance = cycle(state, Normal(), kind, step_size, rule)
        rates.append(acceptance)
    # 300 averages of 100 chains tune to about 0.02.
    assert np.mean(rates) == pytest.approx(TARGET_ACCEPTANCE[kind], abs=0.04)
    if (kind, d) == ("random_walk", 1):
        assert step_size == pytest.approx(best_step(TARGET_ACCEPTANCE[kind]), rel=0.15)


def test_separate_steps_follow_each_chain_alone():
    """Chains on N(0, s^2) of very different s end at s times the step of a unit Gaussian."""
    scale = torch.tensor([1e-4, 0.1, 1.0, 30.0], dtype=torch.float64)
    steps = SeparateSteps(1.0, 0.4, 4)
    assert steps.step_size.shape == (4, 1)
    for _ in range(60):
        ratio = steps.step_size[:, 0] / scale
        steps.update(2 / math.pi * torch.atan(2 / ratio))
    torch.testing.assert_close(steps.step_size[:, 0], scale * best_step(0.4), rtol=1e-3, atol=0)


def test_separate_steps_move_one_chain_without_the_others():
    steps = SeparateSteps(0.5, 0.4, 3)
    before = steps.step_size
    steps.update(torch.tensor([0.0, 0.4, 1.0]))
    torch.testing.assert_close(before[:, 0], torch.full((3,), 0.5, dtype=torch.float64))
    down, same, up = (steps.step_size / before)[:, 0].tolist()
    assert (down, same, up) == pytest.approx((math.exp(-0.4), 1.0, math.exp(0.6)), rel=1e-6)


@pytest.mark.parametrize("d", [5, 20])
@pytest.mark.parametrize("kind", ["random_walk", "langevin", "hamiltonian"])
def test_first_step_size_is_near_the_tuned_one_of_a_gaussian(kind, d, random_seed):
    """A start for the tuning: within a few of its updates."""
    _, step_size = tuned(kind, d, generator(random_seed), n_steps=150, n_chains=50)
    assert 0.5 < first_step_size(kind, d) / step_size < 1.5


@pytest.mark.parametrize(
    ("kind", "power"), [("random_walk", 2), ("langevin", 6), ("hamiltonian", 4)]
)
def test_first_step_size_falls_by_the_law_of_its_kernel(kind, power):
    ratio = first_step_size(kind, 3) / first_step_size(kind, 3 * 2**power)
    assert ratio == pytest.approx(2.0)


# Paths


def test_longest_path_is_half_a_period():
    """The least number of mean steps that reaches pi, no more than the limit, no fewer than one."""
    for step_size in np.geomspace(1e-3, 100.0, 200):
        mean_step, n = (1 - STEP_JITTER / 2) * step_size, leapfrog_limit(step_size)
        assert isinstance(n, int)
        assert 1 <= n <= MAX_LEAPFROG
        assert n * mean_step >= math.pi or n == MAX_LEAPFROG
        assert (n - 1) * mean_step < math.pi
    assert leapfrog_limit(1e-3) == MAX_LEAPFROG
    assert leapfrog_limit(100.0) == 1


# Metrics


def correlated(n_draws, n_chains, d, seed):
    """Draws (n_draws, n_chains, d) of very different widths."""
    rng = np.random.default_rng(seed)
    matrix = np.tril(rng.standard_normal((d, d)), -1) + np.diag(np.geomspace(1e-3, 1e3, d))
    return torch.as_tensor(rng.standard_normal((n_draws, n_chains, d)) @ matrix.T + 5.0)


def numpy_covariance(draws):
    return np.cov(draws.flatten(0, 1).numpy(), rowvar=False, bias=True)


def test_pooled_factor_is_the_shrunk_covariance_of_all_chains(random_seed):
    """A tenth of 40 * 25 draws against 4 pseudo-draws of the diagonal."""
    draws = correlated(40, 25, 4, random_seed)
    (factor,) = pooled_factor(draws, "dense")
    covariance = numpy_covariance(draws)
    share = 4 / (4 + 100)
    expected = (1 - share) * covariance + share * np.diag(np.diag(covariance))
    np.testing.assert_allclose((factor @ factor.T).numpy(), expected, rtol=1e-9)
    assert torch.equal(factor, factor.tril())
    assert (factor.diagonal() > 0).all()


def test_pooled_factor_of_many_draws_is_the_covariance(random_seed):
    draws = correlated(2000, 50, 3, random_seed)
    (factor,) = pooled_factor(draws, "dense")
    inverse = np.linalg.inv(np.linalg.cholesky(numpy_covariance(draws)))
    whitened = inverse @ (factor @ factor.T).numpy() @ inverse.T
    # The share of the diagonal is 3 / 10 003, its correlations after whitening below 2 / 3.
    np.testing.assert_allclose(whitened, np.eye(3), atol=2e-2)


def test_diagonal_factor_is_that_of_the_variances(random_seed):
    draws = correlated(40, 25, 4, random_seed)
    (factor,) = pooled_factor(draws, "diagonal")
    expected = np.diag(draws.flatten(0, 1).numpy().std(0))
    np.testing.assert_allclose(factor.numpy(), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("kind", ["dense", "diagonal"])
@pytest.mark.parametrize(
    ("n_draws", "n_chains", "d"), [(1, 1, 3), (1, 2, 8), (3, 2, 20), (7, 1, 1)]
)
def test_few_draws_give_a_positive_definite_metric(kind, n_draws, n_chains, d, random_seed):
    draws = correlated(n_draws, n_chains, d, random_seed)
    factors = pooled_factor(draws, kind)
    assert factors.shape == (1, d, d)
    assert (factors.diagonal(dim1=1, dim2=2) > 0).all()
    assert factors.isfinite().all()


@pytest.mark.parametrize("kind", ["dense", "diagonal"])
def test_columns_that_never_moved_or_move_together_give_a_positive_definite_metric(
    kind, random_seed
):
    draws = correlated(5, 4, 4, random_seed)
    draws[..., 1] = 2.0
    draws[..., 3] = 3.0 * draws[..., 0]
    (factor,) = pooled_factor(draws, kind)
    assert (factor.diagonal() > 0).all()
    assert factor[1, 1] < 1e-100
