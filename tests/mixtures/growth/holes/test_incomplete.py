"""Expectation-maximisation on rows with holes, against loops over rows and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.mixtures import quadratics
from skrae.mixtures.growth.em import Settings, em_step, settle
from skrae.mixtures.growth.expectation import Mixture, log_density
from skrae.mixtures.growth.holes import incomplete, patterns
from skrae.mixtures.growth.holes.holed import HoledRows
from skrae.mixtures.growth.holes.incomplete import (
    Gaussians,
    complete_from,
    fit_gaussian_with_holes,
    incomplete_moments,
)
from skrae.mixtures.growth.holes.patterns import IncompleteRows
from skrae.mixtures.noise import RowStreams
from skrae.preprocessing.rows import weighted_mean
from tests.mixtures.random_mixtures import generator

SIZES = (3, 2)


def settle_incomplete(mixture, settings, rows, matrix, n_steps=3):
    """Steps of a mixture in a space z = y @ matrix on rows with holes."""
    full = torch.cat([rows.y.nan_to_num(0.0) @ matrix, rows.onehots], dim=1)
    z = HoledRows(full, rows, matrix, settings.levels)
    return settle(mixture, (z, rows.weights), settings, n_steps)


def random_gaussians(d, n_components, seed, level_sizes=()):
    """Correlated components near the origin, with random levels."""
    rng = np.random.default_rng(seed)
    factors = np.tril(rng.standard_normal((n_components, d, d)), -1) / math.sqrt(d) + np.eye(d)
    levels = [rng.dirichlet(np.ones(size), n_components) for size in level_sizes]
    parts = (
        rng.dirichlet(np.full(n_components, 5.0)),
        rng.standard_normal((n_components, d)),
        factors @ factors.transpose(0, 2, 1),
        np.concatenate([np.empty((n_components, 0)), *levels], axis=1),
    )
    return Gaussians(*(torch.as_tensor(part) for part in parts))


def random_rows(n, d, seed, level_sizes=(), share=0.3):
    """Normal rows; each number and category is missing with this probability, all of the first."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal((n, d)) @ (np.eye(d) + 0.5 * rng.standard_normal((d, d)) / d)
    y[rng.random((n, d)) < share] = np.nan
    onehots = [np.eye(size)[rng.integers(0, size, n)] for size in level_sizes]
    onehots = [group * (rng.random((n, 1)) > share) for group in onehots]
    onehots = np.concatenate([np.empty((n, 0)), *onehots], axis=1)
    y[0], onehots[0] = np.nan, 0.0
    parts = y, onehots, rng.uniform(0.5, 2.0, n)
    return IncompleteRows(*(torch.as_tensor(part) for part in parts))


def groups(level_sizes):
    """The slice of each categorical column among the levels."""
    ends = np.cumsum(level_sizes)
    return [slice(end - size, end) for end, size in zip(ends, level_sizes, strict=True)]


def slow_conditional(mean, covariance, y):
    """E z and E z z^T of one row given its observed entries, and their log density."""
    o, m = ~np.isnan(y), np.isnan(y)
    z, second = np.where(m, mean, y), np.zeros_like(covariance)
    second[np.ix_(m, m)] = covariance[np.ix_(m, m)]
    if not o.any():
        return z, np.outer(z, z) + second, 0.0
    slope = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    z[m] += slope @ (y[o] - mean[o])
    second[np.ix_(m, m)] -= slope @ covariance[np.ix_(o, m)]
    value = stats.multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(y[o])
    return z, np.outer(z, z) + second, value


def slow_moments(gaussians, rows, level_sizes):
    """Products of (1, z) (K, 1 + d, 1 + d), sums of one-hots (K, D), log likelihoods (n,)."""
    mixture, (ys, onehots, weights) = [p.numpy() for p in gaussians], [p.numpy() for p in rows]
    n_components, d = mixture[1].shape
    products = np.zeros((n_components, 1 + d, 1 + d))
    level_sums, values = np.zeros_like(mixture[3]), np.zeros(len(ys))
    for i, (y, onehot) in enumerate(zip(ys, onehots, strict=True)):
        found, joint = [], np.zeros(n_components)
        for k, (w, mean, covariance, pi) in enumerate(zip(*mixture, strict=True)):
            z, second, joint[k] = slow_conditional(mean, covariance, y)
            joint[k] += np.log(w)
            expected = onehot.copy()
            for group in groups(level_sizes):
                if onehot[group].any():
                    joint[k] += np.log(pi[group][onehot[group].argmax()])
                else:
                    expected[group] = pi[group]
            found.append((z, second, expected))
        values[i] = np.logaddexp.reduce(joint)
        for k, (z, second, expected) in enumerate(found):
            share = weights[i] * np.exp(joint[k] - values[i])
            products[k] += share * np.block([[np.ones((1, 1)), z[None]], [z[:, None], second]])
            level_sums[k] += share * expected
    return products, level_sums, values


def packed(products, level_sums):
    """The layout of `weighted_moments` of few columns."""
    d = products.shape[1] - 1
    lower = [products[:, 1 + i, 1 + j] for i in range(d) for j in range(i + 1)]
    return np.column_stack([products[:, 0], *lower, level_sums])


def assert_close(found, expected, tolerance=1e-10):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# --- expectation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("level_sizes", [(), SIZES])
@pytest.mark.parametrize("share", [0.1, 0.7])
def test_moments_equal_slow_oracle(level_sizes, share, random_seed):
    gaussians = random_gaussians(4, 3, random_seed, level_sizes)
    rows = random_rows(150, 4, random_seed, level_sizes, share)
    moments, values = incomplete_moments(*gaussians, rows, level_sizes)
    products, level_sums, slow_values = slow_moments(gaussians, rows, level_sizes)
    assert_close(values, slow_values)
    assert_close(moments, packed(products, level_sums))


@pytest.mark.parametrize("level_sizes", [(), SIZES])
def test_moments_of_many_columns_equal_slow_oracle(level_sizes, random_seed):
    gaussians = random_gaussians(61, 2, random_seed, level_sizes)
    rows = random_rows(40, 61, random_seed, level_sizes)
    rows.y[20:] = rows.y[20:].nan_to_num(0.5)
    moments, values = incomplete_moments(*gaussians, rows, level_sizes)
    products, level_sums, slow_values = slow_moments(gaussians, rows, level_sizes)
    assert_close(values, slow_values)
    assert_close(moments[:, :, :62], products)
    assert_close(moments[:, 0, 62:], level_sums)


def test_one_column(random_seed):
    gaussians = random_gaussians(1, 3, random_seed, (2,))
    rows = random_rows(50, 1, random_seed, (2,))
    moments, values = incomplete_moments(*gaussians, rows, (2,))
    products, level_sums, slow_values = slow_moments(gaussians, rows, (2,))
    assert_close(values, slow_values)
    assert_close(moments, packed(products, level_sums))


@pytest.mark.parametrize("common", [0, 10**9])
@pytest.mark.parametrize("numbers", [1, 100])
def test_moments_do_not_depend_on_blocks(common, numbers, monkeypatch, random_seed):
    gaussians = random_gaussians(4, 3, random_seed, SIZES)
    rows = random_rows(200, 4, random_seed, SIZES)
    expected = incomplete_moments(*gaussians, rows, SIZES)
    monkeypatch.setattr(incomplete, "COMMON", common)
    monkeypatch.setattr(patterns, "BLOCK_NUMBERS", numbers)
    monkeypatch.setattr(patterns, "rows_at_once", lambda n_components, d: 7)
    for found, old in zip(incomplete_moments(*gaussians, rows, SIZES), expected, strict=True):
        assert_close(found, old, 1e-12)


def test_row_without_entries_gives_prior_moments(random_seed):
    gaussians = random_gaussians(3, 4, random_seed, SIZES)
    rows = IncompleteRows(torch.full((1, 3), torch.nan), torch.zeros(1, 5), torch.tensor([2.0]))
    rows = IncompleteRows(*(part.double() for part in rows))
    moments, values = incomplete_moments(*gaussians, rows, SIZES)
    assert_close(values, [0.0], 1e-14)
    counts, means, second = quadratics.unpacked_moments(moments[:, :-5], 3)
    assert_close(counts[:, 0], 2.0 * gaussians.weights)
    assert_close(means, gaussians.means)
    assert_close(second - means[:, :, None] * means[:, None], gaussians.covariances)
    assert_close(moments[:, -5:] / counts, gaussians.levels)


def test_whole_weights_are_repetitions(random_seed):
    gaussians = random_gaussians(3, 2, random_seed, SIZES)
    rows = random_rows(60, 3, random_seed, SIZES)
    counts = torch.as_tensor(np.random.default_rng(random_seed).integers(0, 4, 60))
    repeated = IncompleteRows(*(part.repeat_interleave(counts, dim=0) for part in rows[:2]), None)
    repeated = repeated._replace(weights=torch.ones(len(repeated.y), dtype=torch.float64))
    found, values = incomplete_moments(*gaussians, rows._replace(weights=counts.double()), SIZES)
    expected, each = incomplete_moments(*gaussians, repeated, SIZES)
    assert_close(found, expected)
    assert_close(values.repeat_interleave(counts), each)


def test_nearly_collinear_columns_equal_slow_oracle(random_seed):
    gaussians = random_gaussians(3, 1, random_seed)
    twin = gaussians.covariances[:, [0, 1, 2, 2]][:, :, [0, 1, 2, 2]]
    twin[:, 3, 3] += 1e-6
    means = gaussians.means[:, [0, 1, 2, 2]]
    gaussians = gaussians._replace(means=means, covariances=twin)
    rows = random_rows(100, 4, random_seed)
    rows.y[:, 3] = rows.y[:, 2] + 1e-3 * rows.y[:, 3]
    moments, values = incomplete_moments(*gaussians, rows)
    products, level_sums, slow_values = slow_moments(gaussians, rows, ())
    assert_close(values, slow_values, 1e-7)
    assert_close(moments, packed(products, level_sums), 1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weights": torch.ones(5)},
            r"Got y, onehots, weights of shapes \(6, 3\), \(6, 5\), \(5,\)",
        ),
        ({"onehots": torch.ones(6, 4)}, r"\(6, 4\), \(6,\), expected \(n, d\), \(n, 5\), \(n,\)"),
        ({"y": torch.full((6, 3), math.inf)}, "infinite number among y"),
        ({"onehots": torch.ones(6, 5)}, "onehots that are none"),
        ({"onehots": torch.full((6, 5), 0.5)}, "onehots that are none"),
        ({"y": torch.ones(6, 2)}, "mixture of 3 columns and 5 levels, expected 2 and 5"),
    ],
)
def test_bad_rows_raise(change, message):
    rows = random_rows(6, 3, 0, SIZES)._replace(**change)
    with pytest.raises(ValueError, match=message):
        incomplete_moments(*random_gaussians(3, 2, 0, SIZES), rows, SIZES)


# --- estimates ------------------------------------------------------------------------------------


def as_mixture(gaussians):
    return Mixture(*gaussians[:3], 2.0 * gaussians.covariances)


@pytest.mark.parametrize("settings", [Settings(0.0, 0.0), Settings(0.1, 50.0)])
@pytest.mark.parametrize("d", [3, 61])
def test_complete_rows_give_em_steps(settings, d, random_seed):
    mixture, rows = (
        as_mixture(random_gaussians(d, 2, random_seed)),
        random_rows(300, d, random_seed),
    )
    rows = rows._replace(y=rows.y.nan_to_num(0.3))
    settled = settle_incomplete(mixture, settings, rows, torch.eye(d, dtype=torch.float64), 2)
    for _ in range(2):
        mixture = em_step(mixture, rows.y, rows.weights, settings)
    for found, expected in zip(settled[:4], mixture[:4], strict=True):
        assert_close(found, expected)


def test_settling_in_another_space_is_the_same(random_seed):
    """With prior and no ridge, steps commute with linear maps."""
    mixture, rows = (
        as_mixture(random_gaussians(3, 2, random_seed)),
        random_rows(100, 3, random_seed),
    )
    settings, identity = Settings(0.0, 5.0), torch.eye(3, dtype=torch.float64)
    matrix = identity + 0.4 * torch.randn(3, 3, generator=generator(random_seed)).double()

    def mapped(m):
        covariances = (matrix.T @ c @ matrix for c in m[2:4])
        return Mixture(m.weights, m.means @ matrix, *covariances)

    found = settle_incomplete(mapped(mixture), settings, rows, matrix, 3)
    expected = mapped(settle_incomplete(mixture, settings, rows, identity, 3))
    for one, other in zip(found[:4], expected[:4], strict=True):
        assert_close(one, other)


def test_likelihood_never_falls(random_seed):
    gaussians, rows = random_gaussians(3, 3, random_seed), random_rows(200, 3, random_seed)
    mixture, values = as_mixture(gaussians), []
    for _ in range(20):
        mean = weighted_mean(incomplete_moments(*mixture[:3], None, rows)[1], rows.weights)
        values.append(float(mean))
        identity = torch.eye(3, dtype=torch.float64)
        mixture = settle_incomplete(mixture, Settings(0.0, 0.0), rows, identity, 1)
    assert min(np.diff(values)) > -1e-12
    assert values[-1] > values[0] + 0.1


def test_components_without_rows_are_dropped(random_seed):
    gaussians, rows = random_gaussians(3, 3, random_seed), random_rows(100, 3, random_seed)
    gaussians.means[1] += 1e3
    rows.y[0] = 0.0  # one without entries is of every component
    complete = rows.y.isnan().sum(1) < 3
    rows = IncompleteRows(*(part[complete] for part in rows))
    identity = torch.eye(3, dtype=torch.float64)
    settled = settle_incomplete(as_mixture(gaussians), Settings(1e-6, 4.0), rows, identity, 1)
    assert len(settled.weights) == 2
    assert torch.equal(settled.priors, 2.0 * gaussians.covariances[[0, 2]])


def slow_gaussian(rows, variances, ridge, n_steps):
    """EM of one Gaussian by loops over rows."""
    (y, _, weights), d = (part.numpy() for part in rows), rows.y.shape[1]
    mean = np.array([np.average(c[~np.isnan(c)], weights=weights[~np.isnan(c)]) for c in y.T])
    covariance, n = np.diag(variances), weights.sum()
    for _ in range(n_steps):
        first, second = np.zeros(d), np.zeros((d, d))
        for row, weight in zip(y, weights, strict=True):
            z, products, _ = slow_conditional(mean, covariance, row)
            first, second = first + weight * z, second + weight * products
        mean = first / n
        scatter = second - n * np.outer(mean, mean)
        covariance = (scatter + ridge * np.diag(variances)) / (n + ridge)
    return mean, covariance


def observed_variances(rows):
    """Variances of the observed numbers of each column apart."""
    found = []
    for column in rows.y.numpy().T:
        own = ~np.isnan(column)
        found.append(np.cov(column[own], aweights=rows.weights.numpy()[own], ddof=0))
    return np.array(found)


@pytest.mark.parametrize("ridge", [0.0, 3.0])
@pytest.mark.parametrize("n_steps", [1, 4, 60])
def test_gaussian_equals_slow_oracle(ridge, n_steps, random_seed):
    rows = random_rows(60, 3, random_seed)
    found = fit_gaussian_with_holes(rows, ridge, max_steps=n_steps, tolerance=-1.0)
    mean, covariance = slow_gaussian(rows, observed_variances(rows), ridge, n_steps)
    assert_close(found.means[0], mean, 1e-9)
    assert_close(found.covariances[0], covariance, 1e-9)


def test_gaussian_of_monotone_holes_equals_closed_form(random_seed):
    """Anderson (1957): the regression of the rows that have both, at the moments of all rows."""
    rng = np.random.default_rng(random_seed)
    x = rng.standard_normal(200)
    y = np.where(np.arange(200) < 120, 0.5 + 0.8 * x + 0.6 * rng.standard_normal(200), np.nan)
    rows = IncompleteRows(
        *(torch.as_tensor(a) for a in (np.stack([x, y], 1), np.empty((200, 0)))), None
    )
    rows = rows._replace(weights=torch.ones(200, dtype=torch.float64))
    slope, origin = np.polyfit(x[:120], y[:120], 1)
    residual = np.var(y[:120] - origin - slope * x[:120])
    found = fit_gaussian_with_holes(rows, ridge=0.0, max_steps=500, tolerance=1e-15)
    assert_close(found.means[0], [x.mean(), origin + slope * x.mean()], 1e-6)
    cross = slope * x.var()
    expected = [[x.var(), cross], [cross, residual + slope**2 * x.var()]]
    assert_close(found.covariances[0], expected, 1e-6)


def test_gaussian_is_penalised_maximum(random_seed):
    """At convergence no step changes it, and no neighbour is likelier."""
    rows, ridge = random_rows(100, 3, random_seed), 2.0
    gaussian = fit_gaussian_with_holes(rows, ridge, max_steps=1000, tolerance=1e-16)
    variances = torch.as_tensor(observed_variances(rows))

    def value(mean, covariance):
        _, values = incomplete_moments(gaussian.weights, mean[None], covariance[None], None, rows)
        traces = torch.linalg.inv(covariance).diagonal() @ variances
        return float(rows.weights @ values - 0.5 * ridge * (torch.logdet(covariance) + traces))

    mean, covariance, rng = gaussian.means[0], gaussian.covariances[0], generator(random_seed)
    best = value(mean, covariance)
    for _ in range(10):
        step = 1e-3 * torch.randn(3, 4, generator=rng, dtype=torch.float64)
        apart = torch.eye(3) + step[:, :3]
        assert value(mean + step[:, 3], apart @ covariance @ apart.T) < best


def test_gaussian_with_a_rare_column(random_seed):
    """A column observed in as few rows as it has correlations keeps its variance."""
    rows = random_rows(400, 6, random_seed, share=0.1)
    rows.y[5:, 0] = torch.nan
    rows.y[:5, 0] = torch.as_tensor(np.random.default_rng(random_seed).standard_normal(5))
    found = fit_gaussian_with_holes(rows)
    assert 0.05 < float(found.covariances[0, 0, 0] / observed_variances(rows)[0]) < 20
    rows.y[1:, 0] = torch.nan  # in one row: no variance is observed
    torch.linalg.cholesky(fit_gaussian_with_holes(rows).covariances)
    rows.y[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"no observed number in columns \[0\]"):
        fit_gaussian_with_holes(rows)
    with pytest.raises(ValueError, match="ridge=-1"):
        fit_gaussian_with_holes(rows, ridge=-1.0)


def test_level_frequencies_are_those_of_observed_categories(random_seed):
    rows = random_rows(100, 2, random_seed, SIZES)
    found = fit_gaussian_with_holes(rows, level_sizes=SIZES).levels[0]
    counts = (rows.weights[:, None] * rows.onehots).sum(0) + 0.5
    for group in groups(SIZES):
        assert_close(found[group], counts[group] / counts[group].sum())


# --- draws ----------------------------------------------------------------------------------------


def test_draws_have_the_moments_of_the_conditional(random_seed):
    """Of copies of each of a few rows, at 5 standard errors."""
    gaussians, n_copies = random_gaussians(3, 3, random_seed, SIZES), 20_000
    few = random_rows(8, 3, random_seed, SIZES, share=0.4)
    few = few._replace(weights=torch.ones(8, dtype=torch.float64))
    rows = IncompleteRows(*(part.repeat_interleave(n_copies, dim=0) for part in few))
    full = complete_from(*gaussians, rows, generator(random_seed), SIZES).numpy()
    known = np.concatenate([few.y.nan_to_num(0.0), few.onehots], axis=1)
    for i, draws in enumerate(full.reshape(8, n_copies, -1)):
        own = IncompleteRows(*(part[i : i + 1] for part in few))
        products, level_sums, _ = slow_moments(gaussians, own, SIZES)
        products = products.sum(0)
        z, onehots = draws[:, :3], draws[:, 3:]
        observed = ~np.isnan(few.y[i].numpy())
        np.testing.assert_array_equal(
            z[:, observed], np.tile(known[i, :3][observed], (n_copies, 1))
        )
        second = z[:, :, None] * z[:, None]
        for found, expected in (
            (z, products[0, 1:]),
            (second, products[1:, 1:]),
            (onehots, level_sums.sum(0)),
        ):
            error = found.std(0) / math.sqrt(n_copies)
            assert (abs(found.mean(0) - expected) <= 5 * error + 1e-9).all()
        for group in groups(SIZES):
            assert (onehots[:, group].sum(1) == 1).all()


def test_draws_of_numbers_and_categories_share_the_component(random_seed):
    """Of a row without entries, category and number are as dependent as the mixture makes them."""
    gaussians, n = random_gaussians(1, 2, random_seed, (2,)), 20_000
    y = torch.full((n, 1), torch.nan, dtype=torch.float64)
    rows = IncompleteRows(y, torch.zeros(n, 2).double(), torch.ones(n).double())
    full = complete_from(*gaussians, rows, generator(random_seed), (2,))
    product = full[:, 0] * full[:, 1]
    expected = (gaussians.weights * gaussians.means[:, 0] * gaussians.levels[:, 0]).sum()
    assert abs(product.mean() - expected) < 5 * product.std() / math.sqrt(n)


def test_draws_do_not_depend_on_blocks(monkeypatch, random_seed):
    gaussians, rows = random_gaussians(3, 3, random_seed), random_rows(100, 3, random_seed)
    expected = complete_from(*gaussians, rows, generator(random_seed))
    assert torch.equal(expected[~rows.y.isnan()], rows.y[~rows.y.isnan()])
    monkeypatch.setattr(patterns, "BLOCK_NUMBERS", 10)
    found = complete_from(*gaussians, rows, generator(random_seed))
    assert_close(found, expected)


def test_draws_of_streams_depend_on_their_row_alone(random_seed):
    gaussians = random_gaussians(3, 3, random_seed, SIZES)
    rows, keys = random_rows(50, 3, random_seed, SIZES), torch.arange(50)
    full = complete_from(*gaussians, rows, RowStreams(keys), SIZES)
    some = torch.tensor([31, 0, 7])
    few = IncompleteRows(*(part[some] for part in rows))
    assert_close(complete_from(*gaussians, few, RowStreams(keys[some]), SIZES), full[some], 1e-12)


def test_likelihood_of_completed_rows_is_the_log_density(random_seed):
    gaussians, rows = random_gaussians(3, 3, random_seed), random_rows(100, 3, random_seed)
    rows = rows._replace(y=complete_from(*gaussians, rows, generator(random_seed)))
    _, values = incomplete_moments(*gaussians, rows)
    assert_close(values, log_density(as_mixture(gaussians), rows.y))


def with_levels(gaussians):
    """A mixture of rows with categories, whose levels are shrunk to equal ones."""
    equal = [torch.full((len(gaussians.weights), size), 1.0 / size) for size in SIZES]
    priors = torch.cat(equal, dim=1).double()
    return as_mixture(gaussians)._replace(levels=gaussians.levels, level_priors=priors)


@pytest.mark.parametrize("d", [3, 61])
def test_complete_rows_with_categories_give_em_steps(d, random_seed):
    mixture = with_levels(random_gaussians(d, 2, random_seed, SIZES))
    rows = random_rows(300, d, random_seed, SIZES, share=0.0)
    rows = IncompleteRows(*(part[1:] for part in rows))
    settings, identity = Settings(0.1, 50.0, levels=SIZES), torch.eye(d, dtype=torch.float64)
    settled = settle_incomplete(mixture, settings, rows, identity, 2)
    for _ in range(2):
        mixture = em_step(mixture, torch.cat(rows[:2], dim=1), rows.weights, settings)
    for found, expected in zip(settled, mixture, strict=True):
        assert_close(found, expected)


def test_likelihood_of_rows_with_categories_never_falls(random_seed):
    rows, values = random_rows(200, 3, random_seed, SIZES), []
    mixture = with_levels(random_gaussians(3, 3, random_seed, SIZES))
    settings, identity = Settings(0.0, 0.0, levels=SIZES), torch.eye(3, dtype=torch.float64)
    for _ in range(20):
        _, each = incomplete_moments(*mixture[:3], mixture.levels, rows, SIZES)
        values.append(float(weighted_mean(each, rows.weights)))
        mixture = settle_incomplete(mixture, settings, rows, identity, 1)
    assert min(np.diff(values)) > -1e-12
    assert values[-1] > values[0] + 0.1
