"""Categories of a mixture: loops, enumeration and quadrature, and draws to match."""

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.mixtures.categories import Categories, draw_levels, normalised, spread
from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.noise import RowStreams
from skrae.preprocessing import blocks
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import (
    every_onehot,
    generator,
    in_blocks,
    random_mixture,
    with_levels,
)

INF = np.inf
PLAIN = {
    "gaussians": (random_mixture(1, 3, 0), (2, 3)),
    "with a tail": (random_mixture(3, 3, 1, [INF, 3.0, INF]), (4,)),
    "blocks": (in_blocks(random_mixture(4, 3, 2, [INF, INF, 3.0]), [0, 1, 0, 2]), (2, 1, 5)),
}
LAWS = {name: with_levels(*law, seed=3) for name, law in PLAIN.items()}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
LINES = {
    "gaussians": LAWS["gaussians"],
    "students": with_levels(random_mixture(1, 3, 4, [INF, 2.0, 5.0]), (3, 2, 2), seed=5),
}


def rows_of(law, n, seed):
    """Draws, of which half lie farther from the origin."""
    rows = law.sample(n, generator(seed))
    rows[n // 2 :, : law.n_numeric] *= 3.0
    return rows


def slow_log_density(law, rows):
    """log q by loops over rows, components and columns."""
    numeric = MixtureDensity(*law.arrays()[:1], law.means[:, : law.n_numeric], *law.arrays()[2:5])
    alone = []
    for k in range(len(law.weights)):
        parts = (part[k : k + 1] for part in (numeric.means, numeric.factors, numeric.dofs))
        alone.append(MixtureDensity([1.0], *parts, numeric.blocks))
    values = []
    for row in rows:
        z, u, total = row[None, : law.n_numeric], row[law.n_numeric :], 0.0
        for k, own in enumerate(alone):
            mass = float(law.weights[k]) * float(own.log_density(z).exp())
            probabilities, start = law.means[k, law.n_numeric :], 0
            for size in law.levels:
                level = int(u[start : start + size].argmax())
                mass *= float(probabilities[start + level])
                start += size
            total += mass
        values.append(np.log(total))
    return np.array(values)


@each_law
def test_log_density_equals_loops(law, random_seed):
    rows = law.sample(40, generator(random_seed))
    expected = slow_log_density(law, rows)
    np.testing.assert_allclose(law.log_density(rows), expected, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(law.evaluate(rows)[0], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("law", LINES.values(), ids=LINES)
def test_density_sums_and_integrates_to_one(law):
    """x = sinh(u): the power tail of a t becomes exponential, where the trapezoid is exact."""
    u = torch.linspace(-30.0, 30.0, 6001, dtype=torch.float64)
    places, dx = u.sinh()[:, None], u.cosh() * (u[1] - u[0])
    total = 0.0
    for onehot in every_onehot(law.levels):
        rows = torch.cat([places, onehot.expand(len(u), -1)], dim=1)
        total += float(law.log_density(rows).exp() @ dx)
    assert total == pytest.approx(1.0, abs=1e-8)


@each_law
def test_zeros_in_place_of_a_onehot_are_the_marginal(law, random_seed):
    rows, start = rows_of(law, 20, random_seed), law.n_numeric
    for size in law.levels:
        group = slice(start, start + size)
        each = []
        for level in range(size):
            set_to = rows.clone()
            set_to[:, group] = torch.eye(size, dtype=torch.float64)[level]
            each.append(law.log_density(set_to))
        without = rows.clone()
        without[:, group] = 0.0
        expected = torch.logsumexp(torch.stack(each), 0)
        np.testing.assert_allclose(law.log_density(without), expected, rtol=1e-12, atol=1e-12)
        start += size


@each_law
def test_without_onehots_it_is_the_plain_density(law, random_seed):
    weights, means, factors, dofs, own, _ = law.arrays()
    plain = MixtureDensity(weights, means[:, : law.n_numeric], factors, dofs, own)
    rows = rows_of(law, 20, random_seed)
    rows[:, law.n_numeric :] = 0.0
    z = rows[:, : law.n_numeric]
    torch.testing.assert_close(law.log_density(rows), plain.log_density(z), rtol=0, atol=1e-13)
    identity = torch.eye(z.shape[1], dtype=torch.float64)
    for change in (
        lambda q: q.affine(2.0 * identity, identity[0]),
        lambda q: q.blurred(0.3, local=True),
        lambda q: q.blurred(0.3, local=False),
    ):
        mixed, alone = change(law), change(plain)
        assert torch.equal(mixed.means[:, law.n_numeric :], law.means[:, law.n_numeric :])
        torch.testing.assert_close(mixed.log_density(rows), alone.log_density(z))
    for mixed, alone in zip(law.moments(), plain.moments(), strict=True):
        torch.testing.assert_close(mixed, alone, rtol=1e-15, atol=0)


@each_law
def test_derivatives_are_of_the_numbers_alone(law, random_seed):
    rows, d = rows_of(law, 20, random_seed), law.n_numeric
    gradient, hessian = law.evaluate(rows)[1], law.hessian(rows)
    assert gradient.shape == rows.shape
    assert hessian.shape == (*rows.shape, rows.shape[1])
    assert not gradient[:, d:].any()
    assert not hessian[:, d:].any()
    assert not hessian[:, :, d:].any()

    def moved(function):
        return lambda z: function(torch.cat([z, rows[:, d:]], dim=1))

    slopes = finite_differences(moved(law.log_density), rows[:, :d])
    np.testing.assert_allclose(gradient[:, :d], slopes, rtol=1e-5, atol=1e-6)
    slopes = finite_differences(moved(lambda x: law.evaluate(x)[1][:, :d]), rows[:, :d])
    torch.testing.assert_close(hessian[:, :d, :d], slopes, rtol=1e-5, atol=1e-5)
    rows.requires_grad_()
    (slope,) = torch.autograd.grad(law.log_density(rows).sum(), rows)
    torch.testing.assert_close(slope, gradient, rtol=1e-10, atol=1e-10)


@each_law
def test_responsibilities_are_by_bayes_rule(law, random_seed):
    """Of one row, the shares of all components with the level probabilities as likelihoods."""
    rows, d = rows_of(law, 20, random_seed), law.n_numeric
    without = rows.clone()
    without[:, d:] = 0.0
    likelihoods = torch.exp(rows[:, d:] @ law.means[:, d:].log().T)
    expected = law.responsibilities(without) * likelihoods
    expected = expected / expected.sum(1, keepdim=True)
    np.testing.assert_allclose(law.responsibilities(rows), expected, rtol=1e-9, atol=1e-12)


@each_law
def test_density_of_many_columns_is_the_same(law, monkeypatch, random_seed):
    rows = rows_of(law, 30, random_seed)
    narrow = *law.evaluate(rows), law.sample(20, generator(0))
    monkeypatch.setattr(blocks, "WIDE", 0)
    wide = MixtureDensity(*law.arrays())
    for one, other in zip(
        (*wide.evaluate(rows), wide.sample(20, generator(0))), narrow, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@each_law
def test_arrays_rebuild_the_density(law, random_seed):
    rows = rows_of(law, 10, random_seed)
    again = MixtureDensity(*law.arrays())
    assert again.levels == law.levels
    assert torch.equal(again.log_density(rows), law.log_density(rows))
    np.testing.assert_array_equal(law.arrays()[5], law.levels)


def test_a_tail_brings_its_level_probabilities(random_seed):
    law = LAWS["with a tail"]
    longer = law.with_tail(0.2, law.mean, law.factors[1], 3.0)
    rows = rows_of(law, 20, random_seed)
    tail = MixtureDensity([1.0], law.mean[None], law.factors[1:2], [3.0], None, law.levels)
    expected = torch.logaddexp(
        law.log_density(rows) + np.log(0.8), tail.log_density(rows) + np.log(0.2)
    )
    np.testing.assert_allclose(longer.log_density(rows), expected, rtol=1e-12)


@each_law
def test_draws_have_the_masses_and_means_of_enumeration(law, random_seed):
    """P(u) = sum_k w_k pi_k(u); with finite variances E[z | u] = sum_k r_k(u) mu_k besides."""
    n, d = 40_000, law.n_numeric
    rows, onehots = law.sample(n, generator(random_seed)), every_onehot(law.levels)
    assert torch.equal(rows[:, d:], rows[:, d:].round())
    shares = law.weights * torch.exp(onehots @ law.means[:, d:].log().T)
    drawn = (rows[:, d:] @ onehots.T).round().long() == len(law.levels)
    assert (drawn.sum(1) == 1).all()
    counts = drawn.sum(0).numpy()
    expected = n * shares.sum(1).numpy()
    assert expected.sum() == pytest.approx(n)
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2(len(onehots) - 1).isf(1e-6)
    means = (shares @ law.means[:, :d]) / shares.sum(1, keepdim=True)
    often = int(counts.argmax())
    z = rows[drawn[:, often], :d]
    errors = z.std(0) / len(z) ** 0.5
    assert ((z.mean(0) - means[often]).abs() < 5 * errors).all()


@pytest.mark.parametrize("name", PLAIN)
def test_numbers_of_draws_are_those_without_levels(name):
    """Levels are drawn last: what comes before takes the same random numbers."""
    plain, law = PLAIN[name][0], LAWS[name]
    rows = law.sample(50, generator(1))
    assert torch.equal(rows[:, : law.n_numeric], plain.sample(50, generator(1)))


def test_plain_tables_draw_no_levels():
    law, rng = random_mixture(2, 3, 0), generator(0)
    law.sample(10, rng)
    again = generator(0)
    torch.rand(10, generator=again, dtype=torch.float64)
    torch.randn(10, 2, generator=again, dtype=torch.float64)
    assert torch.equal(rng.get_state(), again.get_state())


def test_levels_of_a_stream_belong_to_their_row():
    """Ten rows alone are drawn as the first ten of thirty."""
    probabilities = torch.rand(30, 5, generator=generator(0), dtype=torch.float64)
    probabilities = normalised(probabilities, (2, 3))
    keys = torch.arange(100, 130)
    many = draw_levels(probabilities, (2, 3), RowStreams(keys))
    few = draw_levels(probabilities[:10], (2, 3), RowStreams(keys[:10]))
    assert torch.equal(many[:10], few)
    assert torch.equal(many.reshape(30, 5)[:, :2].sum(1), torch.ones(30).double())


def test_draws_by_level_have_their_probabilities(random_seed):
    probabilities = torch.tensor([[0.2, 0.8, 0.0, 0.7, 0.3]], dtype=torch.float64)
    drawn = draw_levels(probabilities.expand(20_000, -1), (2, 3), generator(random_seed))
    found = drawn.mean(0)
    errors = (probabilities[0] * (1 - probabilities[0]) / 20_000).sqrt()
    assert ((found - probabilities[0]).abs() <= 5 * errors).all()
    products = drawn[:, 0] * drawn[:, 3]
    assert float(products.mean()) == pytest.approx(0.14, abs=5 * (0.14 * 0.86 / 20_000) ** 0.5)


def test_groups_are_normalised_each():
    entries = torch.tensor([[1.0, 3.0, 2.0, 2.0, 4.0]])
    expected = torch.tensor([[0.25, 0.75, 0.25, 0.25, 0.5]])
    assert torch.equal(normalised(entries, (2, 3)), expected)
    assert torch.equal(spread(torch.tensor([7.0, 9.0]), (1, 2)), torch.tensor([7.0, 9.0, 9.0]))
    assert normalised(entries[:, :0], ()).shape == (1, 0)


def test_a_level_that_never_occurs_costs_hundreds_of_nats_and_is_no_nan():
    categories = Categories(torch.tensor([[1.0, 0.0]], dtype=torch.float64), (2,))
    masses = categories.log_masses(torch.eye(2, dtype=torch.float64))[0]
    assert float(masses[0]) == 0.0
    assert -np.inf < float(masses[1]) < -700.0


@pytest.mark.parametrize(
    ("mean", "levels", "words"),
    [
        ([0.0, 0.5, 0.4], (2,), "Got level probabilities .* a sum of 1"),
        ([0.0, 1.5, -0.5], (2,), "Got level probabilities .* none below 0"),
        ([0.0, 0.5, 0.5], (), r"Got means of shape \(1, 3\), expected \(K, 1\)"),
        ([0.0, 0.5, 0.5], (3,), r"Got means of shape \(1, 3\), expected \(K, 4\)"),
    ],
)
def test_bad_levels_are_told(mean, levels, words):
    with pytest.raises(ValueError, match=words):
        MixtureDensity([1.0], [mean], [[[1.0]]], [INF], levels=levels)
