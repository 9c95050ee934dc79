"""Growing mixtures of rows with categories: loops, laws of the steps, and a truth to be found."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.mixtures.growth import em, expectation
from skrae.mixtures.growth.em import (
    Settings,
    em_step,
    first_gaussian,
    merge_closest,
    pool,
    pool_levels,
    single_gaussian,
    split,
)
from skrae.mixtures.growth.expectation import Mixture, log_density
from skrae.mixtures.growth.levels import divergence, frequencies, shrunk, tilted
from skrae.preprocessing import blocks
from tests.mixtures.growth.test_em import assert_same_mixtures
from tests.mixtures.random_mixtures import generator, random_mixture, with_levels

LEVELS = (2, 3)
LAW = with_levels(random_mixture(2, 3, 0), LEVELS, seed=1)
SETTINGS = Settings(1e-3, 4.0, levels=LEVELS, level_share=0.5)
SIZES = [
    Settings(0.0, 0.0, levels=LEVELS),
    SETTINGS,
    Settings(0.1, 30.0, levels=LEVELS, level_share=2.0),
]
each_settings = pytest.mark.parametrize("settings", SIZES)


def draw(n, seed):
    """Rows of the law, with weights that are not equal."""
    weights = torch.as_tensor(np.random.default_rng(seed).uniform(0.5, 2.0, n))
    return LAW.sample(n, generator(seed)), weights


def split_twice(rows, weights, seed):
    """A start of four components that do not yet fit the rows."""
    rng = generator(seed)
    mixture = single_gaussian(rows, weights, 0.0, LEVELS)
    return split(split(mixture, rng, LEVELS), rng, LEVELS)


def slow_joint(mixture, rows):
    """log w_k N(z; mu_k, C_k) prod_j pi_kj(u_j) by loops, (n, K)."""
    d = mixture.means.shape[1]
    found = np.empty((len(rows), len(mixture.weights)))
    for k in range(len(mixture.weights)):
        law = stats.multivariate_normal(mixture.means[k].numpy(), mixture.covariances[k].numpy())
        for i, row in enumerate(rows.numpy()):
            total, start = np.log(float(mixture.weights[k])) + law.logpdf(row[:d]), d
            for size in LEVELS:
                level = int(np.argmax(row[start : start + size]))
                total += np.log(float(mixture.levels[k, start - d + level]))
                start += size
            found[i, k] = total
    return found


def slow_em_step(mixture, rows, weights, settings):
    """The six parts after a step, by sums over rows of each component."""
    joint, d = slow_joint(mixture, rows), mixture.means.shape[1]
    shares = np.exp(joint - np.logaddexp.reduce(joint, axis=1, keepdims=True))
    shares *= weights.numpy()[:, None]
    parts = [[], [], [], []]
    for k in range(shares.shape[1]):
        count, mean, scatter, counts = 0.0, np.zeros(d), np.zeros((d, d)), np.zeros(sum(LEVELS))
        for share, row in zip(shares[:, k], rows.numpy(), strict=True):
            count += share
            mean += share * row[:d]
            counts += share * row[d:]
        mean /= count
        for share, row in zip(shares[:, k], rows.numpy(), strict=True):
            scatter += share * np.outer(row[:d] - mean, row[:d] - mean)
        covariance = scatter + settings.strength * mixture.priors[k].numpy()
        covariance = covariance / (count + settings.strength) + settings.ridge * np.eye(d)
        strength = settings.level_share * settings.strength
        levels = counts + strength * mixture.level_priors[k].numpy()
        levels /= count + strength
        found = count / float(weights.sum()), mean, covariance, levels
        for part, own in zip(parts, found, strict=True):
            part.append(own)
    weights, means, covariances, levels = map(np.array, parts)
    return weights, means, covariances, mixture.priors, levels, mixture.level_priors


def penalised_likelihood(mixture, rows, weights, settings):
    """Log likelihood, inverse-Wishart priors of covariances and Dirichlet priors of levels."""
    ratios = torch.linalg.solve(mixture.covariances, mixture.priors)
    traces = ratios.diagonal(dim1=1, dim2=2).sum()
    penalty = 0.5 * settings.strength * (torch.logdet(mixture.covariances).sum() + traces)
    penalty -= settings.level_strength * (mixture.level_priors * mixture.levels.log()).sum()
    return float(weights @ log_density(mixture, rows) - penalty)


def test_log_density_equals_loops(random_seed):
    rows, weights = draw(100, random_seed)
    mixture = split_twice(rows, weights, random_seed)
    expected = np.logaddexp.reduce(slow_joint(mixture, rows), axis=1)
    np.testing.assert_allclose(log_density(mixture, rows), expected, rtol=1e-11, atol=1e-11)


@each_settings
@pytest.mark.parametrize("wide", [False, True])
def test_em_step_equals_loops(settings, wide, monkeypatch, random_seed):
    if wide:
        monkeypatch.setattr(blocks, "WIDE", 0)
    rows, weights = draw(200, random_seed)
    start = split_twice(rows, weights, random_seed)
    start = start._replace(priors=2 * start.covariances)
    stepped = em_step(start, rows, weights, settings)
    assert_same_mixtures(stepped, slow_em_step(start, rows, weights, settings), rtol=1e-9)
    np.testing.assert_allclose(stepped.levels[:, :2].sum(1), 1.0, rtol=1e-12)


def test_em_step_is_independent_of_its_blocks(monkeypatch, random_seed):
    rows, weights = draw(100, random_seed)
    start = split_twice(rows, weights, random_seed)
    stepped, value = em_step(start, rows, weights, SETTINGS), log_density(start, rows)
    monkeypatch.setattr(expectation, "rows_at_once", lambda n_components, d: 7)
    assert_same_mixtures(stepped, em_step(start, rows, weights, SETTINGS), rtol=1e-11)
    np.testing.assert_allclose(log_density(start, rows), value, rtol=1e-13)


@pytest.mark.parametrize("settings", [Settings(0.0, s, levels=LEVELS) for s in (1.0, 30.0)])
def test_em_never_lowers_the_penalised_likelihood(settings, random_seed):
    rows, weights = draw(400, random_seed)
    mixture, values = split_twice(rows, weights, random_seed), []
    # A starved component is dropped, and its penalty: the law is of the steps before.
    while len(mixture.weights) == 4 and mixture.weights.min() > 0.02 and len(values) < 30:
        values.append(penalised_likelihood(mixture, rows, weights, settings))
        mixture = em_step(mixture, rows, weights, settings)
    assert len(values) >= 5
    assert np.diff(values).min() > -1e-10 * abs(values[0])
    assert values[-1] > values[0] + 1


def test_whole_weights_equal_repeated_rows(random_seed):
    rows, _ = draw(100, random_seed)
    counts = torch.as_tensor(np.random.default_rng(random_seed).integers(0, 4, 100))
    repeated = rows.repeat_interleave(counts, dim=0)
    both = (rows, counts.double()), (repeated, torch.ones(len(repeated), dtype=torch.float64))
    one, other = (first_gaussian(each, SETTINGS) for each in both)
    assert_same_mixtures(one, other, rtol=1e-10)
    start = split(one, generator(0), LEVELS)
    assert_same_mixtures(*(em_step(start, *each, SETTINGS) for each in both), rtol=1e-10)


def test_rows_that_are_silent_about_a_category_leave_its_levels_to_the_others(random_seed):
    rows, weights = draw(300, random_seed)
    silent = rows.clone()
    silent[::2, 2:4] = 0.0
    start = single_gaussian(rows, weights, 0.0, LEVELS)
    stepped = em_step(start, silent, weights, SETTINGS)
    strength = SETTINGS.level_strength
    counts = weights[1::2] @ rows[1::2, 2:4]
    expected = (counts + strength * start.levels[0, :2]) / (weights[1::2].sum() + strength)
    np.testing.assert_allclose(stepped.levels[0, :2], expected, rtol=1e-12)
    whole = em_step(start, rows, weights, SETTINGS)
    np.testing.assert_allclose(stepped.levels[0, 2:], whole.levels[0, 2:], rtol=1e-12)


def test_frequencies_are_counted_and_never_zero():
    onehots = torch.tensor([[1.0, 0.0, 0.0, 1.0, 0.0]] * 3 + [[0.0, 1.0, 0.0, 1.0, 0.0]])
    found = frequencies(onehots, torch.tensor([1.0, 1.0, 1.0, 3.0]), (2, 3))
    expected = [3.5 / 7, 3.5 / 7, 0.5 / 7.5, 6.5 / 7.5, 0.5 / 7.5]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_levels_tend_to_their_prior_with_its_strength():
    counts = torch.tensor([[8.0, 2.0]], dtype=torch.float64)
    prior = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    assert torch.equal(shrunk(counts, prior, 0.0, (2,)), counts / 10)
    np.testing.assert_allclose(shrunk(counts, prior, 10.0, (2,)), [[11 / 20, 9 / 20]])
    np.testing.assert_allclose(shrunk(counts, prior, 1e15, (2,)), prior, rtol=1e-12)


def test_children_have_opposite_tilts_and_the_parent_for_a_prior(random_seed):
    rows, weights = draw(100, random_seed)
    parent = single_gaussian(rows, weights, 0.0, LEVELS)
    rng = generator(random_seed)
    for size in (2, 4):
        child = split(parent, rng, LEVELS)
        one, other = child.levels.chunk(2)
        assert child.levels.shape == (size, 5)
        assert torch.equal(child.level_priors, torch.cat([parent.levels, parent.levels]))
        for group in (slice(0, 2), slice(2, 5)):
            np.testing.assert_allclose(child.levels[:, group].sum(1), 1.0, rtol=1e-12)
            # sqrt(pi_1 pi_2) is proportional to the parent's.
            middle = (one * other).sqrt()[:, group]
            middle = middle / middle.sum(1, keepdim=True)
            np.testing.assert_allclose(middle, parent.levels[:, group], rtol=1e-12)
        assert not (one == other).any()
        parent = child


def test_numbers_are_split_as_without_levels(random_seed):
    """The random numbers of levels come after, so that a plain table has those it had."""
    rows, weights = draw(100, random_seed)
    mixed = split(single_gaussian(rows, weights, 0.0, LEVELS), generator(3), LEVELS)
    rng, again = generator(3), generator(3)
    plain = split(single_gaussian(rows[:, :2].contiguous(), weights, 0.0), rng)
    assert_same_mixtures(mixed[:4], plain[:4], rtol=1e-13)
    assert plain.levels is plain.level_priors is None
    torch.randn(1, 2, generator=again, dtype=torch.float64)
    assert torch.equal(rng.get_state(), again.get_state())


def slow_merge(mixture):
    """The pair of least loss and the level probabilities of its union, by a loop over pairs."""
    weights, means, covariances, _, levels, _ = (part.numpy() for part in mixture)
    best, found = np.inf, None
    for i, j in combinations(range(len(weights)), 2):
        pair = [i, j]
        mean, within, union = (
            np.average(part[pair], axis=0, weights=weights[pair])
            for part in (means, covariances, levels)
        )
        shifts = means[pair] - mean
        within = within + np.einsum("k,ki,kj->ij", weights[pair], shifts, shifts) / sum(
            weights[pair]
        )
        volumes = np.linalg.slogdet([within, *covariances[pair]])[1]
        loss = volumes @ [weights[pair].sum(), *-weights[pair]] / 2
        for k in pair:
            loss += weights[k] * stats.entropy(levels[k, :2], union[:2])
            loss += weights[k] * stats.entropy(levels[k, 2:], union[2:])
        if loss < best:
            best, found = loss, (i, j, weights[pair].sum(), union)
    return found


def test_merge_equals_loops_and_keeps_the_levels_of_all(random_seed):
    rows, weights = draw(200, random_seed)
    mixture = em_step(split_twice(rows, weights, random_seed), rows, weights, SETTINGS)
    while len(mixture.weights) > 1:
        i, j, weight, union = slow_merge(mixture)
        merged = merge_closest(mixture)
        others = [k for k in range(len(mixture.weights)) if k not in (i, j)]
        assert float(merged.weights[-1]) == pytest.approx(weight)
        np.testing.assert_allclose(merged.levels[-1], union, rtol=1e-12)
        assert torch.equal(merged.levels[:-1], mixture.levels[others])
        total = mixture.weights @ mixture.level_priors
        np.testing.assert_allclose(merged.weights @ merged.level_priors, total, rtol=1e-12)
        mixture = merged


def test_components_that_differ_in_levels_alone_are_merged_last():
    """Three of the same place: the two of about the same levels go first."""
    levels = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.85, 0.15]], dtype=torch.float64)
    eye = torch.eye(1, dtype=torch.float64).expand(3, 1, 1)
    weights = torch.full((3,), 1 / 3, dtype=torch.float64)
    mixture = Mixture(weights, torch.zeros(3, 1).double(), eye, eye, levels, levels)
    merged = merge_closest(mixture)
    np.testing.assert_allclose(merged.levels, [[0.1, 0.9], [0.875, 0.125]], rtol=1e-12)


def test_divergence_is_zero_of_equals_and_that_of_scipy():
    one, other = torch.tensor([[0.2, 0.8]]), torch.tensor([[0.6, 0.4]])
    assert float(divergence(one, one)) == 0.0
    assert float(divergence(one, other)) == pytest.approx(stats.entropy([0.2, 0.8], [0.6, 0.4]))
    certain = torch.tensor([[1.0, 0.0]])
    assert float(divergence(certain, other)) == pytest.approx(-np.log(0.6))


def test_a_tilt_of_a_certain_level_changes_nothing():
    certain = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    for child in tilted(certain, (2, 1), generator(0)):
        np.testing.assert_allclose(child, certain)


def test_pooled_covariances_leave_levels_their_prior(random_seed):
    """Clusters of one shape with levels of their own: pooling is of the shapes."""
    rng = np.random.default_rng(random_seed)
    classes = rng.integers(8, size=640)
    z = 6.0 * np.eye(8)[classes] + rng.standard_normal((640, 8))
    u = np.where(classes % 2 == 0, 0.95, 0.05) > rng.random(640)
    rows = torch.as_tensor(np.column_stack([z, u, ~u]).astype(float))
    one = torch.ones(640, dtype=torch.float64)
    train, judge = (rows[:320], one[:320]), (rows[320:], one[320:])
    settings = Settings(1e-3, 16.0, levels=(2,), level_share=0.25)
    start = Mixture(
        torch.full((8,), 1 / 8).double(),
        torch.as_tensor(6.0 * np.eye(8)),
        *2 * [torch.eye(8).double().expand(8, 8, 8).clone()],
        *2 * [torch.full((8, 2), 0.5).double()],
    )
    value, start, _ = em.refine(start, train, judge, settings)
    found, pooled, best = pool(start, value, train, judge, settings)
    assert found > value
    assert best.strength > settings.strength
    assert best.level_strength == pytest.approx(settings.level_strength)
    np.testing.assert_allclose(pooled.levels[:, 0].round(), [1, 0] * 4)


def test_pooled_levels_are_those_that_components_share(random_seed):
    """Eight clusters of 40 rows whose levels have one law: frequencies of each alone err more."""
    rng = np.random.default_rng(random_seed)
    truth = np.array([0.4, 0.3, 0.2, 0.1])
    classes = rng.integers(8, size=640)
    z = 6.0 * np.eye(8)[classes] + rng.standard_normal((640, 8))
    u = np.hstack([np.eye(4)[rng.choice(4, size=640, p=truth)] for _ in range(3)])
    rows, one = torch.as_tensor(np.hstack([z, u])), torch.ones(640, dtype=torch.float64)
    train, judge = (rows[:320], one[:320]), (rows[320:], one[320:])
    # The covariances of the truth are their prior, and stay: levels alone have to be learned.
    settings = Settings(1e-3, 1e4, levels=(4, 4, 4), level_share=2e-4)
    start = Mixture(
        torch.full((8,), 1 / 8).double(),
        torch.as_tensor(6.0 * np.eye(8)),
        *2 * [torch.eye(8).double().expand(8, 8, 8).clone()],
        *2 * [torch.full((8, 12), 0.25).double()],
    )
    value, start, _ = em.refine(start, train, judge, settings)
    found, pooled, best = pool_levels(start, value, train, judge, settings)
    assert found > value + 0.01
    assert found == pytest.approx(expectation.mean_log_density(pooled, judge))
    assert best.strength == settings.strength
    assert best.level_strength > settings.level_strength
    expected = torch.as_tensor(np.tile(truth, 3))

    def distance(mixture):
        return float(divergence(expected.expand(8, -1), mixture.levels).sum())

    assert distance(pooled) < 0.5 * distance(start)


def test_pooling_leaves_levels_that_differ_and_tables_without(random_seed):
    rows, held_out = draw(400, random_seed), draw(400, random_seed + 1000)
    value, mixture, _ = em.refine(split_twice(*rows, random_seed), rows, held_out, SETTINGS)
    found, pooled, best = pool_levels(mixture, value, rows, held_out, SETTINGS)
    assert found >= value
    assert (pooled is mixture) == (best is SETTINGS) == (found == value)
    plain = mixture._replace(levels=None, level_priors=None)
    assert pool_levels(plain, value, rows, held_out, SETTINGS)[1] is plain
