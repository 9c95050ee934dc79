"""RAESampler: every kernel draws from every target, between modes, at any temperature."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import polygamma
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from skrae import RAESampler
from skrae.datasets import Banana, Funnel, Gaussian, LogGamma
from skrae.sampling.mcmc import diagnostics
from tests.density.estimators import quick_estimator
from tests.sampling.known_targets import KNOWN_TARGETS, Known, correlated_gaussian, five_modes

N_CHAINS, N_DRAWS, SLOWER = 64, 128, 8
# Effective draws of each feature and of its square without which a comparison says nothing.
MIN_ESS = 200
# Of one comparison: with some 50 of them a sweep of 200 seeds sees one false alarm.
FALSE_ALARM = 1e-4


class Kernel(NamedTuple):
    """Options of the sampler, transitions a draw, and the targets it is not meant for."""

    options: dict
    thin: int
    skipped: tuple
    slow: tuple = ()  # targets on which it takes SLOWER times as many


SEPARATE = "modes-2", "modes-10", "curve-10"
TAILED = "funnel-5", "log-gamma-8"
KERNELS = {
    "random_walk": Kernel({"proposal": "random_walk"}, 8, (*SEPARATE, "gaussian-50"), ("banana",)),
    # Langevin moves with one metric need too long to pass along the banana.
    "langevin": Kernel({"proposal": "langevin"}, 4, (*SEPARATE, "banana"), TAILED),
    # Without independence proposals, which would make up for an error of these moves.
    "langevin in local metrics": Kernel(
        {"proposal": "langevin", "base_density": "rows"},
        8,
        tuple(name for name in KNOWN_TARGETS if name != "log-gamma-8"),
    ),
    "hamiltonian": Kernel({"proposal": "hamiltonian"}, 1, SEPARATE, ("banana",)),
    "independence": Kernel(
        # log-gamma-8: its long left tail holds a chain for longer than all of a run.
        {"proposal": "independence", "base_density": "rows"},
        2,
        ("gaussian-50", "log-gamma-8"),
        ("funnel-5",),
    ),
    "auto without base density": Kernel({"base_density": None}, 1, SEPARATE, ("banana",)),
    "auto": Kernel({}, 2, ("gaussian-50",), ("banana", *TAILED)),
    "auto with rows": Kernel({"base_density": "rows"}, 2, (), TAILED),
}
CASES = [
    (kernel, target)
    for kernel in KERNELS
    for target in KNOWN_TARGETS
    if target not in KERNELS[kernel].skipped
]

# Whether the chains mix is what these tests compare; R-hat of as few draws is often above 1.01.
mixing_is_tested = pytest.mark.filterwarnings("ignore:The chains (do not mix|are too short)")


@cache
def law_of(name):
    return KNOWN_TARGETS[name]()


def moments(law):
    """Means and variances of the columns, in closed form."""
    d = law.n_features
    if isinstance(law, Banana):
        ridge = 2 * law.bend**2 * law.scale**4
        return np.zeros(d), np.array([law.scale**2, 1 + ridge] + (d - 2) * [1.0])
    if isinstance(law, Funnel):
        return np.zeros(d), np.array([law.scale**2] + (d - 1) * [np.exp(law.scale**2 / 2)])
    if isinstance(law, LogGamma):
        return np.full(d, polygamma(0, law.shape)), np.full(d, polygamma(1, law.shape))
    mean = law.weights @ law.means
    diagonals = np.einsum("kii->ki", law.covariances)
    return mean, law.weights @ (diagonals + (law.means - mean) ** 2)


@cache
def square_spread(name):
    """Standard deviations of the squared deviations from the mean, from exact draws."""
    law = law_of(name)
    return ((law.sample(20_000, 0) - moments(law)[0]) ** 2).std(axis=0)


def starts_of(name, seed):
    """Exact draws; for a Gaussian, where no chain can be stuck, twice as far from the mean."""
    law = law_of(name)
    X, mean = law.sample(N_CHAINS, seed), moments(law)[0]
    return mean + 2 * (X - mean) if name.startswith("gaussian") else X


def assert_moments(chains, law, spread, alpha=FALSE_ALARM):
    """Means and variances within the normal quantile of alpha shared among all of them.

    The error of a variance is that of the exact law at the chains' effective sample size: one
    estimated from the draws themselves is too small just where the draws miss the tails.
    """
    mean, variance = moments(law)
    squares = (chains.draws - mean) ** 2
    sizes = [diagnostics.ess(a, kind="mean") for a in (chains.draws, squares)]
    assert np.min([*sizes, chains.ess()]) > MIN_ESS, "too few effective draws to compare"
    limit = norm.isf(alpha / (4 * len(mean)))
    errors = np.abs(chains.draws.mean(axis=(0, 1)) - mean) / chains.mcse()
    assert errors.max() < limit
    errors = np.abs(squares.mean(axis=(0, 1)) - variance) / (spread / np.sqrt(sizes[1]))
    assert errors.max() < limit


@pytest.mark.parametrize("name", ["banana", "funnel-5", "log-gamma-8", "modes-2"])
def test_closed_moments_are_those_of_exact_draws(name, random_seed):
    law, n = law_of(name), 200_000
    X, (mean, variance) = law.sample(n, random_seed), moments(law)
    limit = norm.isf(FALSE_ALARM / (4 * len(mean)))
    assert (np.abs(X.mean(axis=0) - mean) < limit * np.sqrt(variance / n)).all()
    errors = np.abs(((X - mean) ** 2).mean(axis=0) - variance)
    assert (errors < limit * square_spread(name) / np.sqrt(n)).all()


@mixing_is_tested
@pytest.mark.filterwarnings("ignore:No base density is known")
# Leapfrog paths that diverge.
@pytest.mark.filterwarnings("ignore:The log density was NaN or .inf")
@pytest.mark.parametrize(("kernel", "target"), CASES)
def test_moments_are_exact(kernel, target, random_seed):
    options, thin, _, slow = KERNELS[kernel]
    law = law_of(target)
    if options.get("base_density") == "rows":
        options = {**options, "base_density": law.sample(1000, random_seed)}
    sampler = RAESampler(
        Known(law),
        n_chains=N_CHAINS,
        n_warmup=256,
        thin=SLOWER * thin if target in slow else thin,
        init=starts_of(target, random_seed + 1),
        random_state=random_seed,
        **options,
    )
    assert_moments(sampler.sample_chains(N_DRAWS), law, square_spread(target))


# Modes


@pytest.fixture(scope="module")
def modes():
    """Five modes, 2000 rows of them, and starts that all are in one."""
    law = five_modes(2)
    return law, law.sample(2000, 0), np.tile(law.means[0], (N_CHAINS, 1))


@pytest.fixture(scope="module")
def fitted_to_modes(modes):
    return {
        "mixture": quick_estimator(base_density="mixture", max_components=8).fit(modes[1]),
        "network": quick_estimator(max_iter=200).fit(modes[1]),
    }


def mode_weights(law, X, weights=None):
    """Share of the rows that are nearest to each mode."""
    nearest = ((X[:, None] - law.means) ** 2).sum(axis=2).argmin(axis=1)
    return np.bincount(nearest, weights, minlength=5) / (
        len(X) if weights is None else sum(weights)
    )


def weights_of_chains(law, sampler):
    draws = sampler.sample_chains(400).draws
    assert diagnostics.ess(draws).min() > 1000, "five shares to 0.03 take 1000 draws"
    return mode_weights(law, draws.reshape(-1, 2))


@mixing_is_tested
@pytest.mark.parametrize("source", ["rows", "fitted mixture", "estimator"])
def test_independence_proposals_find_the_weights_of_modes_from_one(
    source, modes, fitted_to_modes, random_seed
):
    law, rows, starts = modes
    estimator, base_density = Known(law), rows
    if source == "fitted mixture":
        base_density = GaussianMixture(5, n_init=3, random_state=0).fit(rows)
    elif source == "estimator":
        estimator, base_density = fitted_to_modes["mixture"], "auto"
    sampler = RAESampler(
        estimator,
        n_chains=N_CHAINS,
        n_warmup=256,
        init=starts,
        base_density=base_density,
        random_state=random_seed,
    )
    assert np.abs(weights_of_chains(law, sampler) - law.weights).max() < 0.03


@mixing_is_tested
def test_independence_proposals_find_the_modes_that_a_network_cut_out_of_one_gaussian(
    modes, fitted_to_modes, random_seed
):
    """Against the shares of the estimator's own density, by a sum over a grid."""
    law, _, starts = modes
    estimator = fitted_to_modes["network"]
    assert estimator.network_gain_ > 0.3
    grid = np.stack(np.meshgrid(*[np.arange(-30, 30, 0.1)] * 2), axis=-1).reshape(-1, 2)
    density = np.exp(estimator.score_samples(grid))
    expected = mode_weights(law, grid, density)
    sampler = RAESampler(
        estimator, n_chains=N_CHAINS, n_warmup=256, init=starts, random_state=random_seed
    )
    assert np.abs(weights_of_chains(law, sampler) - expected).max() < 0.03


def test_chains_in_separate_modes_without_independence_proposals_warn(modes, random_seed):
    law, rows, _ = modes
    sampler = RAESampler(
        Known(law), n_warmup=128, init=rows[:64], base_density=None, random_state=random_seed
    )
    with pytest.warns(ConvergenceWarning, match="chains do not mix: R-hat of feature") as caught:
        chains = sampler.sample_chains(100)
    assert len(caught) == 1
    assert chains.rhat().max() > 1.5


def test_chains_without_a_known_base_density_warn_of_unseen_modes(modes, random_seed):
    """No R-hat can see that all chains are in one mode."""
    law, _, starts = modes
    sampler = RAESampler(
        Known(law), n_chains=N_CHAINS, n_warmup=128, init=starts, random_state=random_seed
    )
    with pytest.warns(ConvergenceWarning, match="No base density is known") as caught:
        chains = sampler.sample_chains(100)
    assert len(caught) == 1
    assert mode_weights(law, chains.draws.reshape(-1, 2))[0] == 1.0
    with pytest.warns(ConvergenceWarning, match="No base density is known"):
        sampler.sample(10)


# Temperature


@mixing_is_tested
@pytest.mark.parametrize("proposal", ["random_walk", "langevin", "hamiltonian", "auto"])
def test_a_gaussian_at_temperature_four_is_twice_as_wide(proposal, random_seed):
    law = correlated_gaussian(2)
    sampler = RAESampler(
        Known(law),
        proposal=proposal,
        temperature=4.0,
        n_warmup=256,
        thin=16 if proposal == "auto" else 4,
        init=law.sample(64, random_seed),
        base_density=law.sample(1000, random_seed) if proposal == "auto" else None,
        random_state=random_seed,
    )
    chains = sampler.sample_chains(128)
    wide = type(law)(law.means[0], 4 * law.covariances[0])
    variances = np.diag(wide.covariances[0])
    assert_moments(chains, wide, np.sqrt(2) * variances)
    flat = chains.draws.reshape(-1, 2)
    assert np.allclose(chains.log_density.ravel(), law.log_density(flat))
    assert np.allclose(np.cov(flat.T), wide.covariances[0], atol=0.15 * variances.max())


@mixing_is_tested
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_tempered_density_of_an_estimator_is_that_of_weighted_points(
    temperature, modes, fitted_to_modes, random_seed
):
    """Within a disc, against a sum over a grid of points with weights p^(1/T)."""
    law, radius = modes[0], 20.0
    estimator = fitted_to_modes["network"]
    sampler = RAESampler(
        estimator, temperature=temperature, n_chains=256, n_warmup=256, random_state=random_seed
    )
    chains = sampler.sample_chains(400)
    inside = np.linalg.norm(chains.draws, axis=2) < radius
    shares = mode_weights(law, chains.draws[inside])

    points = np.stack(np.meshgrid(*[np.arange(-20, 20, 0.1)] * 2), axis=-1).reshape(-1, 2)
    points = points[np.linalg.norm(points, axis=1) < radius]
    log_density = estimator.score_samples(points)
    expected = mode_weights(law, points, np.exp(log_density / temperature))
    size = chains.ess().min()
    assert size > 4000
    errors = np.sqrt(expected * (1 - expected) / size)
    assert (np.abs(shares - expected) < norm.isf(FALSE_ALARM / 10) * errors).all()
    # The comparison can tell temperatures apart.
    untempered = mode_weights(law, points, np.exp(log_density))
    assert (np.abs(untempered - expected) > 10 * errors).any()


@mixing_is_tested
def test_a_base_density_too_narrow_leaves_more_to_local_moves(random_seed):
    """Proposals from it hold chains in the tails, which a mean over chains would hide."""
    law = Gaussian(np.zeros(5), np.eye(5))
    rows = law.sample(1000, random_seed)
    narrow, fit = (
        RAESampler(Known(law), base_density=width * rows, random_state=random_seed)
        .sample_chains(32)
        ._checkpoint.kernel
        for width in (0.5, 1.0)
    )
    assert fit.n_local < 16 < narrow.n_local
