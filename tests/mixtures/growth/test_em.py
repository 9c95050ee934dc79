"""Growing mixtures by expectation-maximisation, and the choice of the base density."""

from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.datasets import MixtureOfGaussians
from skrae.mixtures.components import quadratic_columns
from skrae.mixtures.growth import em, expectation
from skrae.mixtures.growth.em import (
    Settings,
    em_step,
    first_gaussian,
    merge,
    merge_closest,
    pool,
    refine,
    relax,
    settle,
    single_gaussian,
    split,
    stage_rows,
)
from skrae.mixtures.growth.expectation import HeldOut, Mixture, log_density, log_joint
from tests.mixtures.growth.grown import grow

TRUTH = MixtureOfGaussians(
    [0.2, 0.5, 0.3],
    [[-4.0, 0.0], [0.0, 2.0], [4.0, -1.0]],
    [[[1.0, 0.6], [0.6, 0.5]], [[0.2, -0.1], [-0.1, 0.9]], [[0.3, 0.0], [0.0, 0.3]]],
)
NO_PRIOR = Settings(ridge=0.0, strength=0.0)
SETTINGS = Settings(ridge=1e-6, strength=4.0)
each_settings = pytest.mark.parametrize("settings", [NO_PRIOR, SETTINGS, Settings(0.1, 50.0)])


def generator(seed):
    return torch.Generator().manual_seed(seed)


def draw(n, seed, density=TRUTH):
    """Rows of the density, with weights one."""
    return torch.as_tensor(density.sample(n, seed)), torch.ones(n, dtype=torch.float64)


def draw_counted(n, seed):
    """Rows with random whole weights, and the same rows repeated instead."""
    z = draw(n, seed)[0]
    counts = torch.as_tensor(np.random.default_rng(seed).integers(0, 4, n))
    repeated = z.repeat_interleave(counts, dim=0)
    return (z, counts.double()), (repeated, torch.ones(len(repeated), dtype=torch.float64))


def split_twice(z, weights, seed):
    """A start of four components that do not yet fit the rows."""
    rng = generator(seed)
    return split(split(single_gaussian(z, weights, 0.0), rng), rng)


def slow_joint(mixture, z):
    """log w_k N(z; mu_k, C_k), shape (n, K), by SciPy."""
    parts = (part.numpy() for part in mixture[:3])
    return np.column_stack(
        [
            np.log(w) + stats.multivariate_normal(m, C).logpdf(z)
            for w, m, C in zip(*parts, strict=True)
        ]
    )


def slow_em_step(mixture, z, weights, settings):
    """Weights, means and covariances by the textbook's sums over centred rows."""
    joint, z, weights = slow_joint(mixture, z), z.numpy(), weights.numpy()
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True)) * weights[:, None]
    counts = shares.sum(axis=0)
    means, covariances = [], []
    for share, count, prior in zip(shares.T, counts, mixture.priors.numpy(), strict=True):
        mean = np.average(z, axis=0, weights=share)
        scatter = sum(r * np.outer(row - mean, row - mean) for r, row in zip(share, z, strict=True))
        shrunk = (scatter + settings.strength * prior) / (count + settings.strength)
        means.append(mean)
        covariances.append(shrunk + settings.ridge * np.eye(z.shape[1]))
    return counts / weights.sum(), means, covariances


def penalised_likelihood(mixture, z, weights, strength):
    """Log likelihood plus each covariance's inverse-Wishart prior, whose mode is its prior's."""
    ratios = torch.linalg.solve(mixture.covariances, mixture.priors)
    traces = ratios.diagonal(dim1=1, dim2=2).sum()
    penalty = 0.5 * strength * (torch.logdet(mixture.covariances).sum() + traces)
    return float(weights @ log_density(mixture, z) - penalty)


def assert_same_mixtures(one, other, rtol):
    for first, second in zip(one, other, strict=True):
        if first is None or second is None:
            assert first is second
        else:
            np.testing.assert_allclose(first, second, rtol=rtol, atol=rtol)


def test_log_density_equals_scipy(random_seed):
    z, weights = draw(200, random_seed)
    mixture = split_twice(z, weights, random_seed)
    oracle = slow_joint(mixture, z)
    np.testing.assert_allclose(
        log_joint(mixture)(quadratic_columns(z)).T, oracle, rtol=1e-11, atol=1e-11
    )
    total = np.logaddexp.reduce(oracle, axis=1)
    np.testing.assert_allclose(log_density(mixture, z), total, rtol=1e-11, atol=1e-11)


def test_single_gaussian_has_weighted_moments(random_seed):
    (z, weights), _ = draw_counted(100, random_seed)
    mixture = single_gaussian(z, weights, ridge=0.01)
    covariance = np.cov(z.T, ddof=0, fweights=weights.long()) + 0.01 * np.eye(2)
    np.testing.assert_array_equal(mixture.weights, [1])
    np.testing.assert_allclose(mixture.means[0], np.average(z, axis=0, weights=weights))
    np.testing.assert_allclose(mixture.covariances[0], covariance)
    np.testing.assert_array_equal(mixture.priors, mixture.covariances)


@each_settings
def test_em_step_equals_slow_oracle(settings, random_seed):
    z, _ = draw(300, random_seed)
    weights = torch.as_tensor(np.random.default_rng(random_seed).uniform(0.5, 2, 300))
    start = split_twice(z, weights, random_seed)
    start = start._replace(priors=2 * start.covariances)
    stepped = em_step(start, z, weights, settings)
    assert_same_mixtures(stepped[:3], slow_em_step(start, z, weights, settings), rtol=1e-10)
    assert torch.equal(stepped.priors, start.priors)


def test_em_step_of_one_component_is_its_maximum(random_seed):
    z, weights = draw(100, random_seed)
    start = single_gaussian(z + 1, weights, ridge=0.5)
    stepped = em_step(start, z, weights, NO_PRIOR)
    assert_same_mixtures(stepped[:3], single_gaussian(z, weights, 0.0)[:3], rtol=1e-11)


@pytest.mark.parametrize("strength", [0.0, 1.0, 30.0])
def test_em_never_lowers_the_penalised_likelihood(strength, random_seed):
    z, _ = draw(400, random_seed)
    weights = torch.as_tensor(np.random.default_rng(random_seed).uniform(0.5, 2, 400))
    mixture, values = split_twice(z, weights, random_seed), []
    # A starved component is dropped, and its penalty, or collapses: the law is of the steps before.
    while len(mixture.weights) == 4 and mixture.weights.min() > 0.02 and len(values) < 30:
        values.append(penalised_likelihood(mixture, z, weights, strength))
        mixture = em_step(mixture, z, weights, Settings(0.0, strength))
    assert len(values) >= 5
    assert np.diff(values).min() > -1e-10 * abs(values[0])
    assert values[-1] > values[0] + 1


@each_settings
def test_whole_weights_equal_repeated_rows(settings, random_seed):
    weighted, repeated = draw_counted(300, random_seed)
    one = single_gaussian(*weighted, settings.ridge)
    assert_same_mixtures(one, single_gaussian(*repeated, settings.ridge), rtol=1e-10)
    start = split_twice(*weighted, random_seed)
    first, second = (em_step(start, *rows, settings) for rows in (weighted, repeated))
    assert_same_mixtures(first, second, rtol=1e-10)


def test_em_step_is_independent_of_its_blocks(monkeypatch, random_seed):
    z, weights = draw(100, random_seed)
    start = split_twice(z, weights, random_seed)
    stepped, value = em_step(start, z, weights, SETTINGS), log_density(start, z)
    monkeypatch.setattr(expectation, "rows_at_once", lambda n_components, d: 7)
    assert_same_mixtures(stepped, em_step(start, z, weights, SETTINGS), rtol=1e-11)
    np.testing.assert_allclose(log_density(start, z), value, rtol=1e-13)


def test_component_of_few_rows_is_dropped_and_the_rest_share_its_weight(random_seed):
    z, weights = draw(200, random_seed)
    covariances = torch.eye(2, dtype=torch.float64).expand(2, -1, -1)
    means = torch.tensor([[0.0, 0.0], [1e3, 0.0]], dtype=torch.float64)
    start = Mixture(weights[:2] / 2, means, covariances, covariances)
    stepped = em_step(start, z, weights, NO_PRIOR)
    assert_same_mixtures(stepped[:3], single_gaussian(z, weights, 0.0)[:3], rtol=1e-11)


def test_a_component_stays_where_all_rows_together_are_few():
    z, weights = draw(3, 0)
    start = split(single_gaussian(z, 0.1 * weights, 0.1), generator(0))
    stepped = em_step(start, z, 0.1 * weights, SETTINGS)
    assert len(stepped.weights) >= 1
    assert float(stepped.weights.sum()) == pytest.approx(1, abs=1e-12)


def test_covariances_tend_to_the_prior_as_it_strengthens(random_seed):
    z, weights = draw(100, random_seed)
    start = split_twice(z, weights, random_seed)
    stepped = em_step(start, z, weights, Settings(ridge=0.25, strength=1e14))
    expected = start.priors + 0.25 * torch.eye(2)
    np.testing.assert_allclose(stepped.covariances, expected, rtol=1e-10, atol=1e-10)


def test_split_halves_each_component_about_its_mean(random_seed):
    z, weights = draw(200, random_seed)
    parent = single_gaussian(z, weights, 0.0)
    rng = generator(random_seed)
    for size in (2, 4, 8):
        child = split(parent, rng)
        one, other = child.means.chunk(2)
        assert child.means.shape == (size, 2)
        assert not torch.any(one == other)
        np.testing.assert_allclose((one + other) / 2, parent.means, atol=1e-12)
        assert_same_mixtures(child.weights.chunk(2), [parent.weights / 2] * 2, rtol=1e-15)
        assert torch.equal(child.priors, child.covariances)
        parent = child


def test_split_narrows_the_longest_axis_alone():
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    covariance = torch.as_tensor(axes @ np.diag([1.0, 9.0, 4.0]) @ axes.T)[None]
    parent = Mixture(torch.ones(1).double(), torch.zeros(1, 3).double(), covariance, covariance)
    turned = axes.T @ split(parent, generator(0)).covariances.numpy() @ axes
    longest = turned[:, 1, 1]
    assert np.all((longest > 0) & (longest < 9))
    for matrix, variance in zip(turned, longest, strict=True):
        np.testing.assert_allclose(matrix, np.diag([1.0, variance, 4.0]), atol=1e-12)


def moments(mixture):
    """Mean and covariance of the whole mixture."""
    weights, means, covariances = (part.numpy() for part in mixture[:3])
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, covariances)
    return mean, second + np.einsum("k,ki,kj->ij", weights, means - mean, means - mean)


def slow_merge(mixture):
    """The pair (i, j) of least loss, and its union's four parts, by a loop over the pairs."""
    weights, means, covariances, priors = (part.numpy() for part in mixture[:4])
    best, found = np.inf, None
    for i, j in combinations(range(len(weights)), 2):
        pair = [i, j]
        mean, within, prior = (
            np.average(part[pair], axis=0, weights=weights[pair])
            for part in (means, covariances, priors)
        )
        shifts = means[pair] - mean
        between = np.einsum("k,ki,kj->ij", weights[pair], shifts, shifts) / weights[pair].sum()
        volumes = np.linalg.slogdet([within + between, *covariances[pair]])[1]
        loss = volumes @ [weights[pair].sum(), *-weights[pair]] / 2
        if loss < best:
            union = weights[pair].sum(), mean, within + between, prior + between
            best, found = loss, (i, j, *union)
    return found


def test_merge_equals_slow_oracle_and_keeps_the_moments(random_seed):
    z, weights = draw(200, random_seed)
    mixture = em_step(split_twice(z, weights, random_seed), z, weights, SETTINGS)
    while len(mixture.weights) > 1:
        i, j, *union = slow_merge(mixture)
        merged = merge_closest(mixture)
        others = [k for k in range(len(mixture.weights)) if k not in (i, j)]
        assert_same_mixtures([part[-1] for part in merged[:4]], union, rtol=1e-11)
        assert_same_mixtures(
            [part[:-1] for part in merged[:4]], [part[others] for part in mixture[:4]], rtol=0
        )
        assert_same_mixtures(moments(merged), moments(mixture), rtol=1e-11)
        mixture = merged


def test_shrink_merges_what_a_split_made_in_vain(random_seed):
    """The truth has three components: of six, halves of these, at least one is not missed."""
    rows, held_out = draw(1000, random_seed), draw(1000, random_seed + 1000)
    parts = [TRUTH.weights, TRUTH.means, TRUTH.covariances, TRUTH.covariances]
    start = split(Mixture(*map(torch.as_tensor, parts)), generator(random_seed))
    value = float(log_density(start, held_out[0]).mean())
    shrunk_value, shrunk = merge(start, value, rows, held_out, SETTINGS)
    assert shrunk_value > value
    assert shrunk_value == pytest.approx(float(log_density(shrunk, held_out[0]).mean()), abs=1e-12)
    assert 3 <= len(shrunk.weights) < 6


def test_mergers_end_where_a_cluster_is_lost(monkeypatch, random_seed):
    rows, held_out = draw(1000, random_seed), draw(1000, random_seed + 1000)
    parts = [TRUTH.weights, TRUTH.means, TRUTH.covariances, TRUTH.covariances]
    start = Mixture(*map(torch.as_tensor, parts))
    merged, merge_closest = [], em.merge_closest

    def counted(mixture):
        merged.append(len(mixture.weights))
        return merge_closest(mixture)

    monkeypatch.setattr(em, "merge_closest", counted)
    value = float(log_density(start, held_out[0]).mean())
    many_columns = SETTINGS._replace(shape=lambda covariances: covariances)
    for loss, settings, expected in (
        (0.1, SETTINGS, [3]),
        (np.inf, SETTINGS, [3, 2]),
        (0.1, many_columns, [3, 2]),
    ):
        merged.clear()
        monkeypatch.setattr(em, "HOPELESS", loss)
        found = merge(start, value, rows, held_out, settings)
        assert found == (value, start)
        assert merged == expected


@pytest.mark.parametrize(("n", "gain"), [(300, 0.01), (40, 0.0)])
def test_relaxed_prior_never_lowers_the_held_out_density(n, gain, random_seed):
    """A prior of 100 rows is too strong for components of 75, one of none too weak for 10."""
    rows, held_out = draw(n, random_seed), draw(300, random_seed + 1000)
    settings = Settings(1e-6, 100.0)
    value, mixture, _ = refine(split_twice(*rows, random_seed), rows, held_out, settings)
    relaxed_value, relaxed, weaker = relax(mixture, value, rows, held_out, settings)
    assert relaxed_value >= value + gain
    assert weaker.ridge == settings.ridge
    assert (weaker.strength < settings.strength) == (relaxed is not mixture)
    mean = float(log_density(relaxed, held_out[0]).mean())
    assert relaxed_value == pytest.approx(mean, abs=1e-12)


def test_refine_returns_the_mixture_of_its_value(random_seed):
    rows, (z_out, w_out) = draw(400, random_seed), draw(200, random_seed + 1000)
    start = split_twice(*rows, random_seed)
    value, best, last = refine(start, rows, (z_out, w_out), SETTINGS)
    assert value == pytest.approx(float(log_density(best, z_out).mean()), abs=1e-12)
    assert value >= max(float(log_density(m, z_out).mean()) for m in (start, best, last)) - 0.02
    assert value > float(log_density(start, z_out).mean())


def test_refine_without_steps_is_the_start(random_seed):
    rows = draw(100, random_seed)
    start = split_twice(*rows, random_seed)
    _, best, last = refine(start, rows, rows, SETTINGS, max_steps=0)
    assert best is start
    assert last is start


def test_held_out_weights_count_as_repetitions(random_seed):
    rows = draw(200, random_seed)
    weighted, repeated = draw_counted(200, random_seed + 1000)
    first, second = (
        grow(rows, held_out, SETTINGS, generator(0), max_components=8)
        for held_out in (weighted, repeated)
    )
    assert first[0] == pytest.approx(second[0], abs=1e-12)
    assert_same_mixtures(first[1], second[1], rtol=1e-12)


@pytest.mark.parametrize("max_components", [1, 2, 7])
def test_growth_stays_within_its_number_of_components(max_components, random_seed):
    rows, held_out = draw(300, random_seed), draw(200, random_seed + 1000)
    value, mixture, _ = grow(rows, held_out, SETTINGS, generator(0), max_components)
    assert len(mixture.weights) <= max_components
    single = single_gaussian(*rows, SETTINGS.ridge)
    assert value >= float(log_density(single, held_out[0]).mean()) - 1e-12


def test_few_components_are_refined_with_the_first_rows_alone(monkeypatch):
    monkeypatch.setattr(em, "STAGE_ROWS", 100)
    monkeypatch.setattr(em, "ROWS_PER_COMPONENT", 30)
    monkeypatch.setattr(em, "ROWS_PER_COLUMN", 18)
    rows = draw(300, 0)
    for d, n_components, n_rows in ((1, 1, 100), (1, 4, 120), (1, 16, 300), (2, 4, 144)):
        z, weights = stage_rows(rows, SimpleNamespace(means=torch.zeros(n_components, d)))
        assert torch.equal(z, rows[0][:n_rows])
        assert torch.equal(weights, rows[1][:n_rows])


@pytest.mark.parametrize("n_more", [0, 1])
def test_large_mixtures_are_neither_merged_nor_relaxed(n_more, monkeypatch, random_seed):
    rows, held_out = draw(300, random_seed), draw(200, random_seed + 1000)
    start = split_twice(*rows, random_seed)
    value = expectation.mean_log_density(start, held_out)
    monkeypatch.setattr(em, "LARGE", len(start.weights) - n_more)
    polished_value, polished, settings = em.polish(start, value, rows, held_out, SETTINGS)
    if n_more:
        assert (polished_value, settings) == (value, SETTINGS)
        assert polished is start
    else:
        assert polished_value > value


def test_growth_reaches_the_truth(random_seed):
    """What a family of p parameters costs held out is chi2_p / 2n, by Wilks' theorem."""
    n, n_parameters = 3000, 8 * 6 - 1
    rows, held_out = draw(n, random_seed), draw(1000, random_seed + 1000)
    _, mixture, _ = grow(rows, held_out, SETTINGS, generator(random_seed), max_components=8)
    z, _ = draw(20_000, random_seed + 2000)
    losses = TRUTH.log_density(z.numpy()) - log_density(mixture, z).numpy()
    noise = 5 * losses.std() / len(z) ** 0.5
    assert -noise < losses.mean() < stats.chi2(n_parameters).isf(1e-5) / (2 * n) + noise


CURVE = MixtureOfGaussians(
    np.full(12, 1 / 12),
    4.0 * np.eye(12),
    0.1 * np.eye(12),
)


def test_pooling_learns_a_common_covariance(random_seed):
    """Components of one shape: an average of K covariances has 1/K of the variance of each."""
    rows, held_out = draw(600, random_seed, CURVE), draw(2000, random_seed + 1000, CURVE)
    value, mixture, _ = grow(rows, held_out, SETTINGS, generator(0), max_components=16)
    pooled_value, pooled, stronger = pool(mixture, value, rows, held_out, SETTINGS)
    assert pooled_value > value + 0.1
    assert stronger.strength > SETTINGS.strength
    z, _ = draw(5000, random_seed + 2000, CURVE)
    gain = log_density(pooled, z) - log_density(mixture, z)
    assert float(gain.mean()) > 0.1


def test_pooling_leaves_what_it_does_not_improve(random_seed):
    """One narrow and one wide component share no shape."""
    truth = MixtureOfGaussians([0.5, 0.5], [[0.0, 0.0], [3.0, 0.0]], [np.eye(2), 1e-3 * np.eye(2)])
    rows, held_out = draw(1000, random_seed, truth), draw(1000, random_seed + 1000, truth)
    value, mixture, _ = grow(rows, held_out, SETTINGS, generator(0), max_components=2)
    assert pool(mixture, value, rows, held_out, SETTINGS) == (value, mixture, SETTINGS)


def test_a_first_gaussian_is_shrunk_to_its_prior(random_seed):
    """(n S + strength P) / (n + strength) + ridge I."""
    rows, prior = draw(20, random_seed), torch.diag(torch.tensor([2.0, 3.0]).double())
    mixture = first_gaussian(rows, Settings(0.1, 30.0), prior)
    sample = single_gaussian(*rows, 0.0).covariances[0]
    expected = (20.0 * sample + 30.0 * prior) / 50.0 + 0.1 * torch.eye(2).double()
    np.testing.assert_allclose(mixture.covariances[0], expected, rtol=1e-12)
    assert torch.equal(mixture.priors[0], prior)


def test_a_single_gaussian_is_pooled_towards_its_prior(random_seed):
    """Few rows in many dimensions, whose law is the prior: the more of it the better."""
    law = MixtureOfGaussians([1.0], np.zeros((1, 12)), np.eye(12)[None])
    rows, held_out = draw(20, random_seed, law), draw(500, random_seed + 1000, law)
    settings = Settings(1e-4, 24.0)
    mixture = first_gaussian(rows, settings, torch.eye(12).double())
    value = float(log_density(mixture, held_out[0]).mean())
    pooled_value, _, stronger = pool(mixture, value, rows, held_out, settings)
    assert pooled_value > value
    assert stronger.strength > settings.strength


def test_a_far_held_out_row_counts_no_more_than_its_floor(random_seed):
    rows, (z, weights) = draw(300, random_seed), draw(100, random_seed + 1000)
    far = torch.cat([z, torch.full((1, 2), 1e8).double()]), torch.cat([weights, weights[:1]])
    mixture = single_gaussian(*rows, 0.0)
    alone = float(expectation.mean_log_density(mixture, HeldOut(z, weights)))
    floor = torch.full((101,), -50.0).double()
    floored = float(expectation.mean_log_density(mixture, HeldOut(*far, floor)))
    assert floored == pytest.approx((100.0 * alone - 50.0) / 101.0, abs=1e-6)


def test_settled_mixtures_have_taken_steps_on_all_rows(random_seed):
    rows, more = draw(100, random_seed), draw(400, random_seed)
    _, mixture, settings = grow(rows, rows, SETTINGS, generator(0), max_components=4)
    expected = mixture
    for _ in range(3):
        expected = em_step(expected, *more, settings)
    assert_same_mixtures(settle(mixture, more, settings), expected, rtol=0.0)


def test_a_first_gaussian_bears_a_singular_prior(random_seed):
    z, weights = draw(50, random_seed)
    z = torch.cat([z, z[:, :1]], dim=1)
    prior = single_gaussian(z, weights, 0.0).covariances[0]
    mixture = first_gaussian((z, weights), Settings(1e-4, 6.0), prior)
    assert torch.isfinite(log_density(mixture, z)).all()


@pytest.mark.parametrize("weight", [1.0, np.nan])
def test_growth_ends_where_no_mixture_is_told_from_another(weight, random_seed):
    """Beside a row of almost all weight a split is undone, and held-out rows far away say nothing.

    Nor does a mean that is no number.
    """
    (z, weights), floor = draw(40, random_seed), torch.full((20,), -50.0).double()
    weights[1:] = 1e-12
    held_out = HeldOut(torch.full((20, 2), 1e6).double(), torch.full_like(floor, weight), floor)
    value, mixture = em.expand((z, weights), held_out, SETTINGS, generator(0), max_components=8)
    assert value == (-50.0 if weight == 1.0 else -np.inf)
    assert len(mixture.weights) == 1
