"""The choice of the base density: averages, inflation, tail."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.datasets import MixtureOfGaussians
from skrae.mixtures.growth import selection, tails
from skrae.mixtures.growth.em import single_gaussian
from skrae.mixtures.growth.expectation import log_density
from skrae.mixtures.growth.selection import Growth, Space, select_base
from skrae.mixtures.growth.tails import TAIL_SCALE
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing import blocks
from skrae.preprocessing.contract.work import Journal, as_work
from skrae.preprocessing.rows import WeightedRows
from tests.mixtures.growth.grown import grow
from tests.mixtures.growth.test_em import (
    SETTINGS,
    TRUTH,
    assert_same_mixtures,
    draw,
    draw_counted,
    generator,
)
from tests.mixtures.random_mixtures import random_mixture, with_levels


def judged(*arguments, **options):
    """The density that has not seen the held-out rows."""
    return select_base(*arguments, **options).judged


@pytest.fixture(scope="module")
def base(random_seed):
    """The base of 1000 rows, with its rows and its held-out rows, whose weights are not equal."""
    rows = draw(1000, random_seed)
    weights = torch.as_tensor(np.random.default_rng(random_seed).uniform(0.5, 2, 500))
    held_out = draw(500, random_seed + 1000)[0], weights
    return judged(rows, held_out, generator(random_seed), 16, 2), rows, held_out


# What a tail that is not needed costs at its least weight, 1e-3, and as much for the ridge.
PRICE = 2e-3


def mean_value(values, weights):
    return float(weights @ values / weights.sum())


def test_base_is_much_better_than_a_single_gaussian(base):
    density, rows, (z, weights) = base
    single = mean_value(log_density(single_gaussian(*rows, 0.0), z), weights)
    assert mean_value(density.log_density(z), weights) > single + 0.5


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_base_is_no_worse_than_a_single_gaussian_that_is_the_truth(n, random_seed):
    gaussian = MixtureOfGaussians([1.0], [[0.0, 0.0]], TRUTH.covariances[0])
    rows, (z, weights) = (draw(n, random_seed + shift, gaussian) for shift in (0, 1000))
    density = judged(rows, (z, weights), generator(random_seed), 4, 2)
    single = mean_value(log_density(single_gaussian(*rows, 0.0), z), weights)
    assert mean_value(density.log_density(z), weights) > single - PRICE


def test_base_approaches_the_truth(base, random_seed):
    density, (rows, _), _ = base
    z, _ = draw(20_000, random_seed + 2000)
    losses = TRUTH.log_density(z.numpy()) - density.log_density(z).numpy()
    noise = 5 * losses.std() / len(z) ** 0.5
    # Wilks' cost of the 16 components allowed: an average of several costs no more than each.
    cost = stats.chi2(16 * 6 - 1).isf(1e-5) / (2 * len(rows))
    assert -noise < losses.mean() < cost + noise


def assert_same_densities(one, other):
    for name in ("weights", "means", "factors", "dofs"):
        assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("max_rows", [200, 1000])
def test_base_is_reproducible_and_leaves_the_global_state(max_rows, monkeypatch):
    monkeypatch.setattr(selection, "MAX_ROWS", max_rows)
    rows, held_out = draw(300, 0), draw(200, 1000)
    state = torch.get_rng_state()
    first, again, other = (judged(rows, held_out, generator(s), 8, 2) for s in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    assert_same_densities(first, again)
    assert not torch.equal(first.log_density(rows[0]), other.log_density(rows[0]))


def test_held_out_weights_of_a_base_count_as_repetitions(random_seed, monkeypatch):
    # What an inflation must gain is counted in standard errors: fewer rows know less.
    monkeypatch.setattr(tails, "INFLATIONS", (1.0,))
    monkeypatch.setattr(selection, "TAIL_WEIGHTS", (1e-3,))
    rows = draw(300, random_seed)
    # Rounding may prefer one of two steps of a settled EM; the choices are the same otherwise.
    one, other = (
        judged(rows, held_out, generator(0), 8, 2)
        for held_out in draw_counted(200, random_seed + 1000)
    )
    assert_same_mixtures(one.arrays(), other.arrays(), rtol=1e-11)


DISAGREEING = [(0.0005, 4, 1), (-1e-9, 4, 4), (-1e-9, 3, 3)]


@pytest.mark.parametrize(("least", "most", "n_mixtures"), DISAGREEING)
def test_equal_mixtures_are_not_averaged_and_would_stay_the_same(
    least, most, n_mixtures, monkeypatch, random_seed
):
    rows, held_out = draw(100, random_seed), draw(100, random_seed + 1000)
    grown = grow(rows, held_out, SETTINGS, generator(0), max_components=4)
    monkeypatch.setattr(selection, "expand", lambda *args: grown[:2])
    monkeypatch.setattr(selection, "polish", lambda *args: grown)
    monkeypatch.setattr(selection, "MIN_DISAGREEMENT", least)
    # A gain that is exactly zero is no loss: the least error is not a bound.
    monkeypatch.setattr(selection, "compared", lambda *args: (0.0, 1e-9))
    one, several = (judged(rows, held_out, generator(0), 4, m) for m in (1, most))
    assert len(several.weights) - 1 == n_mixtures * (len(one.weights) - 1)
    z, _ = rows
    np.testing.assert_allclose(several.log_density(z), one.log_density(z), atol=1e-9)


def few_are_two(monkeypatch, **limits):
    """Two components are few and more are large; other limits by name."""
    for name, limit in {"FEW_COMPONENTS": 2, "LARGE": 2, **limits}.items():
        monkeypatch.setattr(selection, name, limit)


def test_many_components_are_for_rows_that_prefer_them(monkeypatch, random_seed):
    few_are_two(monkeypatch)
    rows, held_out = draw(1000, random_seed), draw(500, random_seed + 1000)
    few, many = (judged(rows, held_out, generator(0), most, 1) for most in (2, 16))
    z, _ = draw(2000, random_seed + 2000)
    assert len(few.weights) - 1 <= 2 < len(many.weights) - 1
    gain = many.log_density(z) - few.log_density(z)
    assert float(gain.mean()) > selection.MIN_GAIN


def test_a_trial_of_many_components_that_fails_leaves_nothing(monkeypatch, random_seed):
    few_are_two(monkeypatch, MIN_GAIN=np.inf)
    rows, held_out = draw(300, random_seed), draw(200, random_seed + 1000)
    few, tried = (judged(rows, held_out, generator(0), most, 4) for most in (2, 16))
    assert_same_densities(few, tried)


def test_a_key_is_another_one_where_anything_is_another(random_seed):
    rows, held_out = draw(50, random_seed), draw(40, random_seed + 1000)
    others = (WeightedRows(-rows[0], rows[1]), WeightedRows(rows[0], 2.0 * rows[1]))
    grower = selection._Grower(WeightedRows(*rows), None, None, generator(0), 4)

    def key(rows=rows, held_out=held_out, settings=SETTINGS, state=0, limit=4):
        first = settings._replace(ridge=selection.FIRST_RIDGE)
        grower.generator.manual_seed(state)
        held_out = selection.HeldOut(*held_out)
        return grower._key("expanded", WeightedRows(*rows), held_out, first, limit, None)

    assert key() == key()
    keys = [key(), *(key(rows=other) for other in others), key(held_out=rows)]
    keys += [key(settings=SETTINGS.stronger(2.0)), key(state=1), key(limit=5)]
    assert len(set(keys)) == 7


def test_only_first_growths_of_few_full_rows_have_a_key(monkeypatch):
    rows, held_out = (WeightedRows(*draw(n, n)) for n in (50, 40))
    grower = selection._Grower(rows, held_out, None, generator(0), 4)
    first = SETTINGS._replace(ridge=selection.FIRST_RIDGE)
    assert grower._key("expanded", rows, held_out, first)
    assert grower._key("expanded", rows, held_out, first._replace(ridge=1e-6)) is None
    assert grower._key("expanded", rows, held_out._replace(z=object()), first) is None
    assert grower._key("expanded", rows._replace(z=object()), held_out, first) is None
    with monkeypatch.context() as limits:
        limits.setattr(selection, "QUICK_ROWS", 49)
        assert grower._key("expanded", rows, held_out, first) is None
    monkeypatch.setattr(selection, "current", lambda: SimpleNamespace(size=2))
    assert grower._key("expanded", rows, held_out, first) is None


@pytest.mark.parametrize(
    ("n_rows", "narrow", "asked", "best"),
    [
        (1, 0.1, [1e-4, 1e-6], 1e-6),
        (1, -0.1, [1e-4, 1e-6, 1e-2, 1.0], 1e-2),
        (3, -0.1, [1e-4, 1e-6], 1e-4),
        (None, 0.1, [1e-4, 1e-6, 1e-2, 1.0], 1e-2),
    ],
    ids=["gained", "few", "many", "holes"],
)
def test_wider_ridges_are_for_few_rows_and_those_with_holes(
    n_rows, narrow, asked, best, monkeypatch
):
    monkeypatch.setattr(selection, "RIDGE_ROWS", 2)
    values, seen = {1e-4: 0.0, 1e-6: narrow, 1e-2: 0.2, 1.0: 0.1}, []

    def grower(rows, held_out, ridge):
        seen.append(min(values, key=lambda known: abs(np.log(known / ridge))))
        return Growth(values[seen[-1]], None, SETTINGS._replace(ridge=ridge), rows, held_out)

    z = object() if n_rows is None else torch.zeros(n_rows, 1)
    found = selection._best_ridge(grower, WeightedRows(z, None), None)
    assert seen == asked
    assert found.settings.ridge == pytest.approx(best)


@pytest.mark.parametrize(
    ("limits", "n_mixtures"),
    [({"MIN_OPTIMISM": np.inf}, 1), ({"MAX_TOTAL": 0}, 1), ({"MIN_OPTIMISM": -np.inf}, 2)],
)
def test_large_mixtures_are_averaged_where_they_are_optimistic(
    limits, n_mixtures, monkeypatch, random_seed
):
    few_are_two(monkeypatch, MIN_DISAGREEMENT=-np.inf, **limits)
    rows, held_out = draw(300, random_seed), draw(200, random_seed + 1000)
    monkeypatch.setattr(selection, "_helps", lambda *args: True)
    grown = []
    finish = selection.finish
    monkeypatch.setattr(
        selection, "finish", lambda groups, *args: grown.extend(groups[0]) or finish(groups, *args)
    )
    judged(rows, held_out, generator(0), 8, 2)
    assert len(grown) == n_mixtures


def noisy_values(rng, n, *levels):
    return [torch.as_tensor(level + 0.3 * rng.standard_normal(n)) for level in levels]


def test_mixtures_that_differ_are_averaged_unless_held_out_rows_lose(random_seed):
    rng = np.random.default_rng(random_seed)
    weights = torch.ones(1000, dtype=torch.float64)
    good = noisy_values(rng, 1000, 0.0, 0.0)
    assert selection._helps(good[:1], good[1:], weights)
    bad = noisy_values(rng, 1000, 0.0, -3.0)
    assert not selection._helps(bad[:1], bad[1:], weights)
    assert not selection._helps(good[:1], good[:1], weights)


def test_compared_is_the_mean_difference_and_its_standard_error(random_seed):
    rng = np.random.default_rng(random_seed)
    one, other = noisy_values(rng, 50, 1.0, 0.0)
    mean, error = selection.compared(one, other, torch.full((50,), 2.0).double())
    difference = (one - other).numpy()
    assert mean == pytest.approx(difference.mean())
    assert error == pytest.approx(stats.sem(difference, ddof=0))


def test_base_weights_sum_to_one(base):
    # The tail's weight passes through float32.
    assert float(base[0].weights.sum()) == pytest.approx(1, abs=1e-7)


def test_base_has_one_tail_narrower_than_the_rows(base):
    density, (z, _), _ = base
    (tail,) = torch.isfinite(density.dofs).nonzero()[:, 0]
    scale = (density.factors[tail] @ density.factors[tail].T).numpy()
    np.testing.assert_allclose(scale, TAIL_SCALE * np.cov(z.T, ddof=0), rtol=0.02, atol=0.02)


def test_tail_keeps_a_far_row_unsurprising(base):
    """1e6 standard deviations away log q is the tail's: log w + log t_3, some -70 nats."""
    density, (z, _), _ = base
    far = z.mean(0, keepdim=True) + 1e6 * z.std(0)
    (tail,) = torch.isfinite(density.dofs).nonzero()[:, 0]
    scale = (density.factors[tail] @ density.factors[tail].T).numpy()
    law = stats.multivariate_t(density.means[tail].numpy(), scale, df=float(density.dofs[tail]))
    expected = np.log(float(density.weights[tail])) + law.logpdf(far.numpy())
    assert float(density.log_density(far)) == pytest.approx(float(expected), rel=1e-9)
    assert expected > -100


def test_held_out_rows_are_used_in_the_end(random_seed):
    """Fresh rows gain by steps on all rows; what is judged is as it was."""
    rows, held_out = draw(150, random_seed), draw(150, random_seed + 1000)
    choice = select_base(rows, held_out, generator(0), 4, 1)
    z, _ = draw(20_000, random_seed + 2000)
    assert choice.density.log_density(z).mean() > choice.judged.log_density(z).mean()
    assert len(choice.density.weights) == len(choice.judged.weights)


def test_each_further_growth_of_a_few_rows_holds_out_its_own_fold(monkeypatch, random_seed):
    rows, held_out = draw(90, random_seed), draw(30, random_seed + 1000)
    folds = [torch.arange(0, 30), torch.arange(30, 60), torch.arange(60, 90)]
    seen, true_expand = [], selection.expand

    def spy(rows, held_out, *args):
        seen.append((rows, held_out))
        return true_expand(rows, held_out, *args)

    monkeypatch.setattr(selection, "expand", spy)
    choice = select_base(rows, held_out, generator(0), 4, 4, None, folds)
    every = torch.cat([rows[0], held_out[0]])
    for (train, judge), fold in zip(seen[-3:], folds, strict=True):
        assert torch.equal(judge.z, rows[0][fold])
        together = torch.cat([train[0], judge.z])
        assert torch.equal(together.sort(0).values, every.sort(0).values)
    assert len(choice.density.weights) >= len(choice.judged.weights)


def test_single_gaussians_of_all_folds_are_one(random_seed):
    gaussian = MixtureOfGaussians([1.0], [[0.0, 0.0]], np.eye(2)[None])
    rows, held_out = draw(60, random_seed, gaussian), draw(20, random_seed + 1000, gaussian)
    choice = select_base(rows, held_out, generator(0), 1, 4, None, [torch.arange(20)])
    assert len(choice.density.weights) == 2  # and the tail


@pytest.mark.parametrize("joint", [False, True])
def test_tail_is_of_one_block_where_rows_are_far_along_several_at_once(joint, random_seed):
    """Two uncorrelated axes: independent ones, or those of a bivariate t."""
    rng = np.random.default_rng(random_seed)

    def far(n):
        z = rng.standard_normal((n, 6))
        return torch.as_tensor(z / np.sqrt(rng.chisquare(2.0, (n, 1)) / 2.0) if joint else z)

    rows, held_out = ((far(n), torch.ones(n).double()) for n in (800, 800))
    space = Space(np.arange(6), 0.0, torch.eye(6).double())
    density = judged(rows, held_out, generator(0), 1, 1, space)
    assert (len(np.unique(density.blocks)) == 1) == joint


def test_a_covariance_of_few_rows_is_shrunk_to_that_of_the_space(random_seed):
    """30 rows in 20 dimensions whose law is the space's: better than their own covariance."""
    law = MixtureOfGaussians([1.0], np.zeros((1, 20)), np.eye(20)[None])
    rows, held_out = draw(30, random_seed, law), draw(10, random_seed + 1000, law)
    z, _ = draw(4000, random_seed + 2000, law)
    prior = torch.eye(20).double()
    scores = [
        float(select_base(rows, held_out, generator(0), 1, 1, space).density.log_density(z).mean())
        for space in (Space(None, 0.0, prior, prior), None)
    ]
    truth = float(torch.as_tensor(law.log_density(z.numpy())).mean())
    assert truth - 2.0 < scores[0]
    assert scores[1] < scores[0] - 2.0
    assert isinstance(judged(rows, held_out, generator(0), 1, 1), MixtureDensity)


# Many columns


@pytest.fixture
def wide(monkeypatch):
    """Every table counts as one of many columns."""
    monkeypatch.setattr(blocks, "WIDE", 0)


def test_many_columns_in_clusters_get_a_component_each(random_seed):
    """Where a component has fewer rows than columns, shapes without factors are what it takes."""
    d, rng = 70, np.random.default_rng(random_seed)
    centres = 1.5 * rng.standard_normal((3, d))
    X = centres[rng.integers(3, size=640)] + rng.standard_normal((640, d))
    z, weights = torch.as_tensor(X), torch.ones(640, dtype=torch.float64)
    rows, held_out = (WeightedRows(z[p], weights[p]) for p in (slice(480), slice(480, 640)))
    found = judged(rows, held_out, generator(random_seed), 64, 1)
    truth = [stats.norm.logpdf(X[480:], centre).sum(axis=1) for centre in centres]
    truth = np.mean(np.logaddexp.reduce(truth, axis=0) - np.log(3))
    assert len(found.weights) >= 4  # and the tail
    assert float(found.log_density(held_out.z).mean()) > truth - 1.0


def test_components_of_many_columns_are_limited_by_rows_and_by_memory(monkeypatch, wide):
    rows, held_out = (WeightedRows(*draw(n, 0)) for n in (300, 100))
    d = rows.z.shape[1]

    def most(n_rows):
        part = WeightedRows(*(a[:n_rows] for a in rows))
        return selection._Grower(part, held_out, None, generator(0), 64).max_components

    assert most(300) == 64
    assert most(10) == int(selection.COMPONENTS_PER_RATIO * 10 / d)
    monkeypatch.setattr(blocks, "MATRIX_NUMBERS", 5 * d * d)
    assert most(300) == 5


def test_few_rows_choose_the_settings_of_many_columns_and_all_grow(monkeypatch, wide, random_seed):
    rows, held_out = (WeightedRows(*draw(n, random_seed + n)) for n in (300, 100))
    seen, expand = [], selection.expand

    def watched(rows, *args):
        seen.append(len(rows.z))
        return expand(rows, *args)

    monkeypatch.setattr(selection, "expand", watched)
    whole = select_base(rows, held_out, generator(random_seed), 8, 1).density
    assert seen == 3 * [300]
    seen.clear()
    monkeypatch.setattr(selection, "MAX_ROWS", 200)
    monkeypatch.setattr(selection, "QUICK_ROWS", 60)
    few = select_base(rows, held_out, generator(random_seed), 8, 1).density
    assert seen == [60, 60, 60, 300]
    gain = few.log_density(held_out.z) - whole.log_density(held_out.z)
    assert float(gain.mean()) > -0.2


def test_mixtures_of_many_columns_share_their_memory(monkeypatch, wide, random_seed):
    rows, held_out = (WeightedRows(*draw(n, random_seed + n)) for n in (200, 100))
    folds = [torch.arange(k, k + 40) for k in range(0, 160, 40)]

    def parts(numbers):
        monkeypatch.setattr(selection, "MAX_WIDE", numbers)
        chosen = select_base(rows, held_out, generator(random_seed), 8, 5, None, folds)
        return chosen.parts

    assert len(parts(2**20)) == 5
    assert len(parts(0)) == 1


def test_axes_of_columns_are_those_of_the_noise(wide, random_seed):
    """Turned rows, whose columns are told, are fitted as if they had not been turned."""
    z, weights = draw(300, random_seed)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=generator(3)).double()).Q

    def density(z, axes):
        parts = (WeightedRows(z[p], weights[p]) for p in (slice(200), slice(200, 300)))
        space = Space(axes=axes)
        return selection.quick_base(*parts, generator(random_seed), 1, space).log_density(z)

    plain = density(z, None)
    torch.testing.assert_close(density(z @ turn, (turn.T, turn)), plain, rtol=1e-6, atol=1e-6)


def test_a_tail_of_many_columns_is_new_to_the_rows_that_judge_it(wide, random_seed):
    """Of few columns it is one for all folds."""
    rows, held_out = (WeightedRows(*draw(n, random_seed + n)) for n in (200, 50))
    grower = selection._Grower(rows, held_out, None, generator(0), 1)
    part = selection._other_part(rows, held_out, torch.arange(40))
    growth = grower.expanded(*part, 1e-4)
    found, expected = (a.arrays()[1:3] for a in (grower.tail_of(growth, grower.tail), grower.tail))
    mean = growth.rows.z.mean(0)
    np.testing.assert_allclose(found[0][0], mean)
    assert not np.allclose(expected[0][0], mean)


# Categories


def latent_classes():
    """Three classes that seven binary columns tell apart, and a number that tells nothing."""
    likely = np.array([[1, 1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 1, 1]])
    probabilities = 0.1 + 0.8 * likely
    levels = np.stack([probabilities, 1.0 - probabilities], axis=2).reshape(3, 14)
    means = np.hstack([np.zeros((3, 1)), levels])
    return MixtureDensity([0.5, 0.3, 0.2], means, np.ones((3, 1, 1)), [np.inf] * 3, levels=[2] * 7)


def full_rows(law, n, seed):
    return WeightedRows(law.sample(n, generator(seed)), torch.ones(n, dtype=torch.float64))


def independent(rows, levels):
    """Log density of a Gaussian and frequencies, as if no column depended on another, (n,)."""
    d = rows.z.shape[1] - sum(levels)
    mixture = single_gaussian(*rows, 0.0, levels)
    assert mixture.means.shape == (1, d)
    return lambda z: log_density(mixture, z)


def test_classes_that_only_categories_tell_are_found(random_seed):
    """Held out, the density is near the truth, and independent columns are far from it."""
    law = latent_classes()
    rows, held_out = full_rows(law, 1200, random_seed), full_rows(law, 400, random_seed + 1000)
    choice = select_base(rows, held_out, generator(0), 16, 2, Space(levels=law.levels))
    density = choice.density
    assert (density.n_numeric, density.levels) == (1, law.levels)
    z = law.sample(20_000, generator(random_seed + 2000))
    losses = law.log_density(z) - density.log_density(z)
    noise = 5 * float(losses.std()) / len(z) ** 0.5
    # Wilks' cost of three classes is 29 / 2n = 0.009 in the mean.
    assert -noise < float(losses.mean()) < 0.03 + noise
    apart = law.log_density(z) - independent(rows, law.levels)(z)
    assert float(apart.mean()) > 0.5


def mixed_law():
    """Clusters of numbers, each with levels of its own."""
    return with_levels(random_mixture(2, 3, 0), (2, 4), seed=1)


@pytest.mark.parametrize("n_folds", [0, 2])
def test_a_base_of_numbers_and_categories_approaches_the_truth(n_folds, random_seed):
    law = mixed_law()
    rows, held_out = full_rows(law, 800, random_seed), full_rows(law, 400, random_seed + 1000)
    folds = [torch.arange(200 * k, 200 * (k + 1)) for k in range(n_folds)]
    choice = select_base(rows, held_out, generator(0), 16, 3, Space(levels=law.levels), folds)
    z = law.sample(20_000, generator(random_seed + 2000))
    losses = law.log_density(z) - choice.density.log_density(z)
    noise = 5 * float(losses.std()) / len(z) ** 0.5
    # As without levels: Wilks' cost of the 16 components allowed, 6 + 4 numbers each.
    cost = stats.chi2(16 * 10 - 1).isf(1e-5) / (2 * len(rows.z))
    assert -noise < float(losses.mean()) < cost + noise
    assert len(choice.parts) == 1 + n_folds
    for part in choice.parts:
        assert part.density.levels == law.levels


def test_the_tail_has_the_frequencies_of_the_rows(random_seed):
    law = mixed_law()
    rows, held_out = full_rows(law, 300, random_seed), full_rows(law, 100, random_seed + 1000)
    density = judged(rows, held_out, generator(0), 4, 1, Space(levels=law.levels))
    (tail,) = torch.isfinite(density.dofs).nonzero()[:, 0]
    counts = rows.z[:, 2:].sum(0)
    expected = torch.cat([(counts[:2] + 0.5) / 301, (counts[2:] + 0.5) / 302])
    np.testing.assert_allclose(density.means[tail, 2:], expected, rtol=1e-12)
    far = torch.cat([torch.full((1, 2), 1e6), rows.z[:1, 2:]], dim=1)
    assert float(density.log_density(far)) > -100


def test_a_quick_base_has_levels(random_seed):
    law = mixed_law()
    rows, held_out = full_rows(law, 300, random_seed), full_rows(law, 100, random_seed + 1000)
    density = selection.quick_base(rows, held_out, generator(0), 8, Space(levels=law.levels))
    assert density.levels == law.levels
    gain = density.log_density(held_out.z) - independent(rows, law.levels)(held_out.z)
    assert float(gain.mean()) > 0.2


def test_categories_beside_many_columns(wide, random_seed):
    law = mixed_law()
    rows, held_out = full_rows(law, 400, random_seed), full_rows(law, 200, random_seed + 1000)
    density = select_base(rows, held_out, generator(0), 8, 2, Space(levels=law.levels)).density
    z = law.sample(5000, generator(random_seed + 2000))
    gain = density.log_density(z) - independent(rows, law.levels)(z)
    assert float(gain.mean()) > 0.2


def test_categories_that_tell_nothing_cost_what_their_frequencies_do(random_seed):
    """Of a number that is normal and a level of it independent one component is left."""
    law = MixtureDensity([1.0], [[0.0, 0.3, 0.7]], [[[1.0]]], [np.inf], levels=(2,))
    rows, held_out = full_rows(law, 400, random_seed), full_rows(law, 200, random_seed + 1000)
    density = select_base(rows, held_out, generator(0), 8, 1, Space(levels=(2,))).density
    z = law.sample(20_000, generator(random_seed + 2000))
    assert float((law.log_density(z) - density.log_density(z)).mean()) < 0.03


def test_a_journal_takes_mixtures_with_levels_and_without(tmp_path, random_seed):
    """Begun again, the work has the same mixtures without growing them."""
    law, grown = mixed_law(), []
    rows, held_out = full_rows(law, 200, random_seed), full_rows(law, 100, random_seed + 1000)

    def chosen(levels, journal):
        width = 2 + sum(levels)
        parts = (WeightedRows(part.z[:, :width], part.weights) for part in (rows, held_out))
        arguments = *parts, generator(0), 4, 1, Space(levels=levels)
        density, _ = as_work(judged, *arguments, journal=journal)
        return density

    true_expand = selection.expand
    for levels in ((), law.levels):
        path = tmp_path / str(len(levels))
        first = chosen(levels, Journal(path, {}))
        assert path.exists()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                selection, "expand", lambda *args: grown.append(args) or true_expand(*args)
            )
            again = chosen(levels, Journal(path, {}))
        assert not grown
        assert_same_densities(first, again)
        assert again.levels == levels
