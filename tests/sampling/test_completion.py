"""Completion of partly observed rows: closed forms, quadrature, and what must not be touched."""

import tracemalloc

import numpy as np
import pytest
from scipy.stats import chi2, norm
from sklearn.mixture import GaussianMixture

from skrae import RAESampler
from skrae.datasets import Banana, Gaussian, MixtureOfGaussians
from skrae.sampling import completion
from tests.density.estimators import quick_estimator
from tests.sampling.known_targets import Known, correlated_gaussian, five_modes

N_ROWS, N_SAMPLES = 60, 64
# Of one number compared with its law, beside the standard error between rows.
LIMIT = norm.isf(1e-5 / 2)
# Proposals for some rows are rarely accepted: the base density is far from the conditional law.
rows_far_out_may_warn = pytest.mark.filterwarnings("ignore:The chains of . of 60 rows do not mix")


def exact_mixture(law):
    """A fitted `GaussianMixture` of exactly this law."""
    mixture = GaussianMixture(len(law.weights))
    mixture.weights_, mixture.means_ = law.weights, law.means
    mixture.covariances_ = np.array(law.covariances)
    factors = np.linalg.cholesky(np.linalg.inv(mixture.covariances_))
    mixture.precisions_cholesky_, mixture.n_features_in_ = factors, law.n_features
    return mixture


def sampler_of(law, source, seed):
    """The law as a mixture that is its own base density, or as one with a fitted, inexact one."""
    if source == "mixture":
        return RAESampler(exact_mixture(law), random_state=seed)
    return RAESampler(Known(law), base_density=law.sample(1000, seed), random_state=seed)


def conditionals(law, row):
    """Weights (K,), means (K, m) and covariances (K, m, m) of the missing entries of a row."""
    missing = np.isnan(row)
    seen = ~missing
    weights, means, covariances = [], [], []
    for weight, mean, covariance in zip(law.weights, law.means, law.covariances, strict=True):
        inner = covariance[np.ix_(seen, seen)]
        slope = np.linalg.solve(inner, covariance[np.ix_(seen, missing)]).T
        deviation = row[seen] - mean[seen]
        distance = deviation @ np.linalg.solve(inner, deviation)
        height = np.exp(-0.5 * distance) / np.sqrt(np.linalg.det(2 * np.pi * inner))
        weights.append(weight * height)
        means.append(mean[missing] + slope @ deviation)
        within = covariance[np.ix_(missing, missing)]
        covariances.append(within - slope @ covariance[np.ix_(seen, missing)])
    return np.array(weights) / np.sum(weights), np.array(means), np.array(covariances)


def punched(law, patterns, seed, n=N_ROWS):
    """Exact draws of which row i lacks the columns of pattern i mod the number of patterns."""
    X = law.sample(n, seed)
    for i, row in enumerate(X):
        row[list(patterns[i % len(patterns)])] = np.nan
    return X


def assert_zero_mean(values, variance=None):
    """Row means of values (n, n_samples) are zero within the error that rows show between them.

    Rows are independent whatever the chains within one are like. Where the variance of a value is
    known, that of the row means tells that the draws of a row are worth at least a third of theirs.
    """
    means = values.mean(axis=1)
    assert abs(means.mean()) < LIMIT * means.std(ddof=1) / np.sqrt(len(means))
    if variance is not None:
        inflation = chi2.isf(1e-5, len(means) - 1) / (len(means) - 1)
        assert np.mean(means**2) < 3 * inflation * variance / values.shape[1]


PATTERNS = [(0,), (2,), (0, 3), (1, 2), (0, 1, 2), (1, 2, 3)]


@pytest.mark.parametrize("source", ["mixture", "rows"])
def test_gaussian_completions_are_those_of_block_formulas(source, random_seed):
    """Whitened by the conditional law of their row they are N(0, I), for all patterns at once."""
    law = correlated_gaussian(4)
    X = punched(law, PATTERNS, random_seed)
    sampler = sampler_of(law, source, random_seed)
    draws = sampler.sample_conditional(X, N_SAMPLES)
    assert draws.shape == (N_ROWS, N_SAMPLES, 4)
    first, square, cross = [], [], []
    for row, completed in zip(X, draws, strict=True):
        missing = np.isnan(row)
        assert (completed[:, ~missing] == row[~missing]).all()
        _, (mean,), (covariance,) = conditionals(law, row)
        lower = np.linalg.cholesky(covariance)
        white = np.linalg.solve(lower, (completed[:, missing] - mean).T)
        first.append(white[0])
        square.append((white**2 - 1).mean(axis=0))
        cross.append(white[0] * white[-1] if len(white) > 1 else np.zeros(N_SAMPLES))
    assert_zero_mean(np.array(first), 1.0)
    assert_zero_mean(np.array(square), 2.0)
    assert_zero_mean(np.array(cross))


@pytest.mark.parametrize("source", ["mixture", "rows"])
def test_mixture_completions_have_the_weights_and_moments_of_each_mode(source, random_seed):
    """Rows whose one column leaves several modes open."""
    rng = np.random.default_rng(0)
    means = np.array([[0.0, -4, 1], [0.5, 4, -2], [3.0, 0, 6]])
    covariances = [0.2 * a @ a.T + 0.3 * np.eye(3) for a in rng.standard_normal((3, 3, 3))]
    law = MixtureOfGaussians([0.2, 0.5, 0.3], means, covariances)
    X = punched(law, [(1, 2)], random_seed)
    draws = sampler_of(law, source, random_seed).sample_conditional(X, N_SAMPLES)[:, :, 1:]
    n_open = 0
    shares, residuals, squares = [], [], []
    for row, completed in zip(X, draws, strict=True):
        weights, centres, spreads = conditionals(law, row)
        n_open += (weights > 0.1).sum() > 1
        nearest = ((completed[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        shares.append(np.eye(3)[nearest] - weights)
        mean = weights @ centres
        residuals.append(completed - mean)
        total = weights @ (np.einsum("kii->ki", spreads) + (centres - mean) ** 2)
        squares.append((completed - mean) ** 2 - total)
    assert n_open > N_ROWS / 3
    for values in (shares, residuals, squares):
        for column in np.moveaxis(np.array(values), 2, 0):
            assert_zero_mean(column)


def test_modes_far_apart_are_all_found(random_seed):
    """x_0 = -8.1 is the place of two modes, weighted by how well each explains it."""
    law = five_modes(2)
    X = np.tile([[-8.09, np.nan]], (40, 1))
    weights, centres, _ = conditionals(law, X[0])
    assert np.sort(weights)[-2] > 0.2
    for source in ("mixture", "rows"):
        draws = sampler_of(law, source, random_seed).sample_conditional(X, N_SAMPLES)[:, :, 1]
        nearest = np.abs(draws[:, :, None] - centres[:, 0]).argmin(axis=2)
        for k in np.flatnonzero(weights > 0.2):
            assert_zero_mean((nearest == k) - weights[k], weights[k] * (1 - weights[k]))


@pytest.fixture(scope="module")
def bent():
    """A network that bends one Gaussian into a banana, and its law."""
    law = Banana(scale=2.0, bend=0.3)
    model = quick_estimator(max_iter=100).fit(law.sample(2000, 0))
    assert model.network_gain_ > 0.1
    return law, model


@rows_far_out_may_warn
@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("proposal", ["auto", "independence"])
def test_completions_of_a_network_are_those_of_quadrature(missing, proposal, bent, random_seed):
    """F(draw | observed), by a sum along the missing axis, is uniform; given x_1 it has two modes.

    Proposals of the Gaussian base have no idea of the bend: all of it must come from the network.
    """
    law, model = bent
    X = punched(law, [(missing,)], random_seed)
    sampler = RAESampler(model, proposal=proposal, random_state=random_seed)
    draws = sampler.sample_conditional(X, N_SAMPLES)[:, :, missing]
    grid = np.linspace(-25.0, 25.0, 4001)
    points = np.repeat(X[:, None], len(grid), axis=1)
    points[:, :, missing] = grid
    density = np.exp(model.score_samples(points.reshape(-1, 2))).reshape(N_ROWS, -1)
    areas = 0.5 * (density[:, 1:] + density[:, :-1])
    below = np.concatenate([np.zeros((N_ROWS, 1)), areas.cumsum(axis=1)], axis=1)
    below /= below[:, -1:]
    uniform = np.array([np.interp(x, grid, f) for x, f in zip(draws, below, strict=True)])
    for q in np.arange(0.1, 1.0, 0.1):
        assert_zero_mean((uniform < q) - q, q * (1 - q) if proposal == "auto" else None)


@rows_far_out_may_warn
def test_temperature_widens_completions(random_seed):
    law = Gaussian([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]])
    X = np.column_stack([np.linspace(-1, 1, N_ROWS), np.full(N_ROWS, np.nan)])
    sampler = RAESampler(exact_mixture(law), temperature=4.0, random_state=random_seed)
    draws = sampler.sample_conditional(X, 4 * N_SAMPLES)[:, :, 1]
    residuals = draws - 0.8 * X[:, :1]
    assert_zero_mean(residuals)
    assert_zero_mean(residuals**2 - 4 * 0.36)


@pytest.mark.parametrize("source", ["mixture", "rows"])
def test_rows_of_only_unknown_entries_are_plain_draws(source, random_seed):
    law = five_modes(2)
    X = np.full((40, 2), np.nan)
    draws = sampler_of(law, source, random_seed).sample_conditional(X, N_SAMPLES)
    nearest = ((draws[:, :, None] - law.means) ** 2).sum(axis=3).argmin(axis=2)
    for k, weight in enumerate(law.weights):
        assert_zero_mean((nearest == k) - weight, weight * (1 - weight))
    mean = law.weights @ law.means
    variance = law.weights @ (np.einsum("kii->ki", law.covariances) + (law.means - mean) ** 2)
    for j in range(2):
        assert_zero_mean(draws[:, :, j] - mean[j], variance[j])


def test_observed_entries_and_complete_rows_come_back_bit_by_bit(bent, random_seed):
    law, model = bent
    X = law.sample(6, random_seed)
    X[1, 0] = X[4, 1] = np.nan
    before = X.copy()
    draws = RAESampler(model, random_state=random_seed).sample_conditional(X, 7)
    assert np.array_equal(X, before, equal_nan=True)
    seen = np.broadcast_to(~np.isnan(X)[:, None], draws.shape)
    assert np.array_equal(draws[seen], np.broadcast_to(X[:, None], draws.shape)[seen])
    assert np.isfinite(draws).all()
    assert len(np.unique(draws[1, :, 0])) > 4
    whole = X[[0, 2, 3, 5]]
    sampler = RAESampler(model, random_state=random_seed)
    assert np.array_equal(sampler.sample_conditional(whole, 3), np.repeat(whole[:, None], 3, 1))
    assert np.array_equal(sampler.impute(whole), whole)


def test_impute_is_the_mean_of_the_completions_and_near_the_conditional_mean(random_seed):
    law = correlated_gaussian(4)
    X = punched(law, PATTERNS, random_seed)
    X[0] = law.sample(1, random_seed)[0]
    sampler = sampler_of(law, "mixture", random_seed)
    filled, draws = sampler.impute(X, 50), sampler.sample_conditional(X, 50)
    seen = ~np.isnan(X)
    assert np.array_equal(filled[seen], X[seen])
    assert np.allclose(filled, draws.mean(axis=1), rtol=1e-12, atol=1e-14)
    assert np.array_equal(filled, sampler.impute(X, n_samples=50))
    for row, guess in zip(X[1:], filled[1:], strict=True):
        missing = np.isnan(row)
        _, (mean,), (covariance,) = conditionals(law, row)
        # Draws of a row are worth a third of as many independent ones at least.
        errors = np.sqrt(np.diag(covariance) / (50 / 3))
        assert (np.abs(guess[missing] - mean) < LIMIT * errors).all()


def test_units_of_the_columns_do_not_matter(random_seed):
    """Columns of 1e6 and 1e-6 are completed as those of 1 are."""
    law, units = correlated_gaussian(4), np.array([1e6, 1e-6, 1.0, 1e-6])
    scaled = Gaussian(law.means[0] * units, law.covariances[0] * np.outer(units, units))
    X = punched(law, PATTERNS, random_seed)
    plain = sampler_of(law, "mixture", random_seed).sample_conditional(X, N_SAMPLES)
    draws = sampler_of(scaled, "mixture", random_seed).sample_conditional(X * units, N_SAMPLES)
    # Numbers differ by rounding alone, which turns few acceptances: one of 60 rows at most.
    close = np.isclose(draws / units, plain, rtol=1e-6, atol=1e-6).all(axis=(1, 2))
    assert close.mean() > 0.9
    rows = RAESampler(Known(scaled), base_density=scaled.sample(1000, 0), random_state=random_seed)
    draws = rows.sample_conditional(X * units, N_SAMPLES) / units
    values = []
    for row, completed in zip(X, draws, strict=True):
        missing = np.isnan(row)
        _, (mean,), (covariance,) = conditionals(law, row)
        white = np.linalg.solve(np.linalg.cholesky(covariance), (completed[:, missing] - mean).T)
        values.append(white[0])
    assert_zero_mean(np.array(values), 1.0)
    assert_zero_mean(np.array(values) ** 2 - 1, 2.0)


def test_data_frames_and_small_numbers_of_draws(random_seed):
    pandas = pytest.importorskip("pandas")
    law = five_modes(2)
    frame = pandas.DataFrame(law.sample(1500, 0), columns=["left", "right"])
    model = quick_estimator(base_density="mixture", max_components=6).fit(frame)
    incomplete = frame[:5].copy()
    incomplete.loc[[0, 3], "right"] = np.nan
    sampler = RAESampler(model, random_state=random_seed)
    for n in (1, 3, 5):
        draws = sampler.sample_conditional(incomplete, n)
        assert draws.shape == (5, n, 2)
        assert np.isfinite(draws).all()
    same = sampler.sample_conditional(incomplete, 5)
    assert np.array_equal(same, draws)
    assert np.array_equal(draws[:, 0, 0], frame["left"][:5])
    seen = ~np.isnan(incomplete.to_numpy())
    assert np.array_equal(
        sampler.impute(incomplete, 5).to_numpy()[seen], incomplete.to_numpy()[seen]
    )


def test_float32_rows_stay_float32(random_seed):
    law = five_modes(2)
    rows = law.sample(1500, 0).astype(np.float32)
    model = quick_estimator(base_density="mixture", max_components=6).fit(rows)
    X = rows[:8].copy()
    X[::2, 1] = np.nan
    draws = RAESampler(model, random_state=random_seed).sample_conditional(X, 4)
    assert draws.dtype == np.float32
    assert np.array_equal(draws[:, 2, 0], X[:, 0])
    assert RAESampler(model, random_state=random_seed).impute(X, 4).dtype == np.float32


def test_imputation_holds_the_draws_of_one_block_alone(monkeypatch):
    """Of 1000 rows: 32 at a time, of 100 draws each, in float64."""
    rng = np.random.default_rng(0)
    model = GaussianMixture(random_state=0).fit(rng.standard_normal((200, 4)))
    holed = np.where(rng.random((1000, 4)) < 0.3, np.nan, rng.standard_normal((1000, 4)))
    monkeypatch.setattr(completion, "MAX_ROWS", 32)
    monkeypatch.setattr(completion, "N_WARMUP", 8)
    sampler = RAESampler(model, random_state=0)
    sampler.impute(holed[:32], 8)
    tracemalloc.start()
    try:
        filled = sampler.impute(holed, 100)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 32 * 100 * 4 * 8 < 1000 * 100 * 4 * 8
    assert np.isfinite(filled).all()
    monkeypatch.undo()
    draws = sampler.sample_conditional(holed[:20], 8)
    np.testing.assert_allclose(sampler.impute(holed[:20], 8), draws.mean(axis=1))


@pytest.fixture
def holed(bent):
    """A sampler of the network, and rows of which half the entries are missing."""
    law, model = bent
    X = law.sample(40, 1)
    X[np.arange(40), np.random.default_rng(0).integers(0, 2, 40)] = np.nan
    return RAESampler(model, random_state=0), X


@rows_far_out_may_warn
def test_a_row_alone_and_in_a_batch_gets_the_same(holed):
    """Draws and means, in every order, beside whatever rows, in every block."""
    sampler, X = holed
    filled, draws = sampler.impute(X, 8), sampler.sample_conditional(X, 8)
    for i in (0, 7, 39):
        np.testing.assert_allclose(sampler.impute(X[i : i + 1], 8)[0], filled[i], rtol=1e-6)
        alone = sampler.sample_conditional(X[i : i + 1], 8)[0]
        np.testing.assert_allclose(alone, draws[i], rtol=1e-6)
    np.testing.assert_allclose(sampler.impute(X[::-1], 8)[::-1], filled, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:The chains of .* rows do not mix")
def test_rows_get_random_numbers_of_their_own(holed):
    sampler, X = holed
    draws = sampler.sample_conditional(np.full((400, 2), np.nan), 1)[:, 0]
    assert len(np.unique(draws[:, 0])) > 390
    correlation = np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]
    assert abs(correlation) < 5.0 / np.sqrt(400)
    twice = np.repeat(X[:1], 2, axis=0)
    assert (
        sampler.sample_conditional(twice, 4)[0] != sampler.sample_conditional(twice, 4)[1]
    ).any()
    first, second = sampler.impute(twice, 4)
    np.testing.assert_array_equal(first, second)
