"""Moments by particles, beside closed forms of the normal density and exact sums of mixtures."""

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_wine
from sklearn.mixture import GaussianMixture

from skrae import MaximumEntropyDensity, RegularizedAutoEncoderScore
from tests.tasks.laws import second_order


class StandardNormal:
    """N(0, I) of d columns, as a fitted density."""

    def __init__(self, d):
        self.n_features_in_ = d

    def score_samples(self, X):
        return stats.norm.logpdf(X).sum(axis=1)

    def sample(self, n_samples=1, random_state=None):
        return np.random.RandomState(random_state).standard_normal((n_samples, self.n_features_in_))


def tilted(mean, random_state, **options):
    density = StandardNormal(len(mean))
    return MaximumEntropyDensity(
        "mean", targets=mean, base_density=density, random_state=random_state, **options
    ).fit()


@pytest.mark.parametrize("d", [2, 5, 20])
def test_tilt_of_the_normal_density_is_a_shift(d, random_seed):
    """N(mu, I): theta = mu, log Z = KL = |mu|^2 / 2."""
    mean = np.random.default_rng(random_seed).standard_normal(d)
    mean /= np.linalg.norm(mean)
    model = tilted(mean, random_seed)
    assert model.method_ == "particles"
    assert 0.0 < model.log_normalizer_stderr_ < 0.005
    assert abs(model.relative_entropy_ - 0.5) < 4.0 * model.log_normalizer_stderr_
    # theta is a mean of the particles, of variance 1.
    assert np.abs(model.multipliers_ - mean).max() < 5.0 / model.n_particles**0.5
    np.testing.assert_allclose(model.moments_, mean, atol=1e-8)
    entropy = 0.5 * d * np.log(2.0 * np.pi * np.e)
    assert abs(model.entropy_ - entropy) < 0.05


def test_standard_error_of_log_z_is_that_of_repeats():
    """Of 30 fits the spread is within a factor of 1.4 (chi-square of 29 at 1 %) of what is told."""
    fits = [tilted(np.array([1.0, 0.0]), seed, n_particles=1000) for seed in range(30)]
    spread = np.std([model.relative_entropy_ for model in fits])
    told = np.mean([model.log_normalizer_stderr_ for model in fits])
    assert 0.6 < spread / told < 1.4


def test_a_far_tilt_takes_stages(random_seed):
    """KL = 8, at which single draws of q have no weight."""
    model = tilted(np.array([4.0, 0.0, 0.0]), random_seed)
    assert abs(model.relative_entropy_ - 8.0) < 5.0 * model.log_normalizer_stderr_
    draws = model.sample(2000, random_state=random_seed)
    np.testing.assert_allclose(draws.mean(axis=0), [4.0, 0.0, 0.0], atol=4.0 / 2000**0.5)
    np.testing.assert_allclose(draws.std(axis=0), 1.0, atol=4.0 / 4000**0.5)


def test_tilt_of_a_mixture_shifts_its_components(random_seed):
    """By theta times their covariances, with weights exp(theta m + theta C theta / 2)."""
    rng = np.random.default_rng(random_seed)
    X = np.concatenate([rng.normal(0, 1, (200, 3)), rng.normal(3, 0.5, (100, 3))])
    X = X * [1.0, 100.0, 0.01]
    base = GaussianMixture(2, random_state=0).fit(X)
    target = X.mean(axis=0) + np.array([0.3, 0.0, 0.0])
    model = MaximumEntropyDensity("mean", targets=target, base_density=base, random_state=0).fit(X)
    theta = model.multipliers_
    shifts = base.covariances_ @ theta
    log_weights = np.log(base.weights_) + base.means_ @ theta + 0.5 * shifts @ theta
    log_z = np.logaddexp.reduce(log_weights)
    assert abs(log_z - model.log_normalizer_) < 5.0 * model.log_normalizer_stderr_
    reached = np.exp(log_weights - log_z) @ (base.means_ + shifts)
    assert (np.abs(reached - target) < 4.0 * X.std(axis=0) / model.n_particles**0.5).all()


def test_second_moments_in_three_columns_without_a_base_density(random_seed):
    """Callables on the whole space: the normal density, which particles do not know of."""
    mixing = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 1.0]])
    X = np.random.default_rng(random_seed).standard_normal((400, 3)) @ mixing
    exact = MaximumEntropyDensity().fit(X)
    model = MaximumEntropyDensity(second_order, random_state=random_seed).fit(X)
    assert model.method_ == "particles"
    assert abs(model.entropy_ - exact.entropy_) < 5.0 * model.log_normalizer_stderr_
    gap = model.score_samples(X) - exact.score_samples(X)
    assert np.sqrt(np.mean(gap**2)) < 0.05


def test_bounded_columns_with_covariance(random_seed):
    """Sums over a fine grid of the cube give the same moments."""
    rng = np.random.default_rng(random_seed)
    u = rng.uniform(size=(500, 4))
    X = np.stack([u[:, 0], 0.5 * (u[:, 0] + u[:, 1]), 0.5 * (u[:, 2] + u[:, 3])], axis=1)
    model = MaximumEntropyDensity(support=(0.0, 1.0), random_state=random_seed).fit(X)
    axis = (np.arange(40) + 0.5) / 40.0
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    p = np.exp(model.score_samples(grid)) / len(grid)
    # The midpoint rule errs by less than the particles do.
    assert abs(p.sum() - 1.0) < 5.0 * model.log_normalizer_stderr_ + 1e-3
    p /= p.sum()
    np.testing.assert_allclose(p @ grid, X.mean(axis=0), atol=0.01)
    found = np.cov(grid.T, aweights=p, ddof=0)
    np.testing.assert_allclose(found, np.cov(X.T, ddof=0), atol=0.004)
    assert np.isneginf(model.score_samples([[0.5, 0.5, 1.1]])).all()


@pytest.fixture(scope="module")
def wine():
    """Four columns of the wines, of spreads 0.8 to 300, and their fitted density."""
    X = load_wine().data[:, [0, 6, 9, 12]]
    base = RegularizedAutoEncoderScore(max_mixtures=1, max_iter=50, random_state=0).fit(X)
    return X, base


@pytest.mark.parametrize("shift", [0.5, 1.0])
def test_a_fitted_density_but_with_these_means(wine, shift):
    X, base = wine
    spread = X.std(axis=0)
    target = X.mean(axis=0) + shift * spread * [1.0, 0.0, 0.0, 0.0]
    room = 0.1 * np.ptp(X, axis=0)
    box = np.stack([X.min(axis=0) - room, X.max(axis=0) + room], axis=1)
    model = MaximumEntropyDensity(
        "mean", targets=target, base_density=base, support=box, random_state=0
    ).fit(X)
    draws = model.sample(2000, random_state=1)
    assert (np.abs(draws.mean(axis=0) - target) < 4.0 * spread / 2000**0.5).all()
    # It is normalised: p / q has the mean 1 over q, to what the draws' own spread allows.
    rows = base.sample(20000, random_state=2)
    ratio = np.exp(model.score_samples(rows) - base.score_samples(rows))
    error = ratio.std() / len(rows) ** 0.5 + model.log_normalizer_stderr_
    assert abs(ratio.mean() - 1.0) < 5.0 * error
    # KL is what it says, by the draws: E_p log p / q.
    log_ratio = model.score_samples(draws) - base.score_samples(draws)
    error = log_ratio.std() / len(draws) ** 0.5 + model.log_normalizer_stderr_
    assert abs(log_ratio.mean() - model.relative_entropy_) < 5.0 * error


def test_heavy_tails_get_a_box_and_a_warning(wine):
    X, base = wine
    with pytest.warns(UserWarning, match="tails heavier than exponential.*box of the rows of X"):
        model = MaximumEntropyDensity("mean", base_density=base, random_state=0).fit(X)
    room = 0.1 * np.ptp(X, axis=0)
    np.testing.assert_allclose(model.support_[:, 0], X.min(axis=0) - room)
    np.testing.assert_allclose(model.support_[:, 1], X.max(axis=0) + room)


def test_the_same_seed_gives_the_same(random_seed):
    first, second = (tilted(np.array([0.5, 0.5]), random_seed, n_particles=500) for _ in range(2))
    np.testing.assert_array_equal(first.multipliers_, second.multipliers_)
    draws = [model.sample(7, random_state=3) for model in (first, second)]
    np.testing.assert_array_equal(*draws)
