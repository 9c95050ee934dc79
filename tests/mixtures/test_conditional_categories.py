"""Missing numbers and categories given the others: marginals, enumeration, quadrature and draws."""

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.mixtures.conditional import ConditionalMixture
from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.noise import RowStreams
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import (
    every_onehot,
    generator,
    in_blocks,
    random_mixture,
    with_levels,
)

INF = np.inf
LAWS = {
    "line": with_levels(random_mixture(1, 3, 0, [INF, 2.0, INF]), (2, 3), seed=1),
    "plane": with_levels(random_mixture(2, 3, 2), (3,), seed=3),
    "blocks": with_levels(
        in_blocks(random_mixture(4, 3, 4, [INF, INF, 3.0]), [0, 1, 0, 2]), (2, 1, 4), seed=5
    ),
}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


def holed(law, n, seed, share=0.5):
    """Draws, and which of their numbers and categories are missing, (n, d) each."""
    rng = np.random.default_rng(seed)
    numbers = rng.random((n, law.n_numeric)) < share
    groups = [np.repeat(rng.random((n, 1)) < share, size, axis=1) for size in law.levels]
    return law.sample(n, generator(seed)), torch.as_tensor(np.hstack([numbers, *groups]))


def conditional_of(law, rows, missing):
    return ConditionalMixture(law, rows.masked_fill(missing, torch.nan), missing)


def slow_marginal(law, row, missing):
    """log q of the observed entries: sub-vectors, sub-blocks, and zeros for missing one-hots."""
    d = law.n_numeric
    weights, means, factors, dofs, axes, levels = law.arrays()
    kept = np.flatnonzero(~missing[:d].numpy())
    onehots = row[d:].masked_fill(missing[d:], 0.0)
    if not len(kept):
        return float(torch.log(law.weights @ torch.exp(law.means[:, d:].log() @ onehots)))
    scales = (factors @ factors.transpose(0, 2, 1))[:, kept][:, :, kept]
    means = np.hstack([means[:, kept], means[:, d:]])
    own = MixtureDensity(weights, means, np.linalg.cholesky(scales), dofs, axes[kept], levels)
    return float(own.log_density(torch.cat([row[kept], onehots])[None]))


@each_law
def test_log_marginal_is_that_of_the_marginal_mixture(law, random_seed):
    rows, missing = holed(law, 40, random_seed)
    found = conditional_of(law, rows, missing).log_marginal
    expected = [slow_marginal(law, *each) for each in zip(rows, missing, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@each_law
def test_conditional_and_marginal_make_the_density_of_the_full_row(law, random_seed):
    rows, missing = holed(law, 60, random_seed)
    conditional = conditional_of(law, rows, missing)
    total = conditional.log_density(rows) + conditional.log_marginal
    np.testing.assert_allclose(total, law.log_density(rows), rtol=1e-10, atol=1e-10)
    other = torch.stack([law.sample(60, generator(7)), rows])
    other = torch.where(missing, other, rows)
    total = conditional.log_density(other) + conditional.log_marginal
    np.testing.assert_allclose(total[0], law.log_density(other[0]), rtol=1e-10, atol=1e-10)


@each_law
def test_gradient_of_the_log_marginal_is_of_observed_numbers(law, random_seed):
    rows, missing = holed(law, 20, random_seed)
    d = law.n_numeric

    def log_marginal(z):
        return conditional_of(law, torch.cat([z, rows[:, d:]], dim=1), missing).log_marginal

    slopes = finite_differences(log_marginal, rows[:, :d])
    rows = rows.requires_grad_()
    (gradient,) = torch.autograd.grad(conditional_of(law, rows, missing).log_marginal.sum(), rows)
    np.testing.assert_allclose(gradient[:, :d], slopes, rtol=1e-5, atol=1e-6)
    assert not gradient[:, d:].any()
    assert not gradient[missing].any()


@each_law
def test_means_and_factors_of_onehots(law, random_seed):
    rows, missing = holed(law, 20, random_seed)
    conditional, d = conditional_of(law, rows, missing), law.n_numeric
    n, k, width = conditional.means.shape
    assert conditional.factors.shape == (n, k, width, width)
    assert not conditional.factors[:, :, d:].any()
    assert not conditional.factors[:, :, :, d:].any()
    expected = torch.where(missing[:, None, d:], law.means[:, d:], rows[:, None, d:])
    assert torch.equal(conditional.means[:, :, d:], expected)


@each_law
def test_numbers_are_as_without_levels_of_the_same_responsibilities(law, random_seed):
    """Given the component, levels and numbers are independent: only the shares differ."""
    rows, missing = holed(law, 20, random_seed)
    weights, means, factors, dofs, axes, _ = law.arrays()
    d = law.n_numeric
    plain = MixtureDensity(weights, means[:, :d], factors, dofs, axes)
    mixed = conditional_of(law, rows, missing)
    alone = conditional_of(plain, rows[:, :d], missing[:, :d])
    assert torch.equal(mixed.means[:, :, :d], alone.means)
    assert torch.equal(mixed.factors[:, :, :d, :d], alone.factors)
    onehots = rows[:, d:].masked_fill(missing[:, d:], 0.0)
    shares = alone.responsibilities * torch.exp(onehots @ law.means[:, d:].log().T)
    shares = shares / shares.sum(1, keepdim=True)
    np.testing.assert_allclose(mixed.responsibilities, shares, rtol=1e-10, atol=1e-14)


@each_law
def test_probabilities_of_missing_levels_are_those_of_enumeration(law, random_seed):
    """All numbers observed: P(u | z) is proportional to q(z, u)."""
    d, onehots = law.n_numeric, every_onehot(law.levels)
    row = law.sample(1, generator(random_seed))[0]
    missing = torch.arange(law.n_features) >= d
    conditional = conditional_of(law, row[None], missing[None])
    every = torch.cat([row[:d].expand(len(onehots), -1), onehots], dim=1)
    masses = torch.softmax(law.log_density(every), 0)
    np.testing.assert_allclose(conditional.mean()[0, d:], masses @ onehots, rtol=1e-10)
    assert torch.equal(conditional.mean()[0, :d], row[:d])
    draws = conditional.sample(20_000, generator(random_seed + 1))[:, 0]
    drawn = (draws[:, d:] @ onehots.T).round().long() == len(law.levels)
    counts, expected = drawn.sum(0).numpy(), 20_000 * masses.numpy()
    assert ((counts - expected) ** 2 / expected).sum() < stats.chi2(len(onehots) - 1).isf(1e-6)


@pytest.mark.parametrize("streams", [False, True])
def test_draws_of_a_number_and_a_level_follow_the_joint_density(streams, random_seed):
    """The cells of a level and an interval of the number, by quadrature; one column is observed."""
    law, n = LAWS["line"], 30_000
    row = law.sample(1, generator(random_seed))[0]
    missing = torch.tensor([True, False, False, True, True, True])
    rng = generator(random_seed + 1)
    if streams:
        rng = RowStreams(torch.randint(2**62, (n,), generator=rng))
        conditional = conditional_of(law, row.expand(n, -1), missing.expand(n, -1))
        draws = conditional.sample(1, rng)[0]
    else:
        draws = conditional_of(law, row[None], missing[None]).sample(n, rng)[:, 0]
    assert torch.equal(draws[:, 1:3], row[1:3].expand(n, -1))
    u = torch.linspace(-30.0, 30.0, 6001, dtype=torch.float64)
    places, dx = u.sinh(), u.cosh() * (u[1] - u[0])
    edges, found, expected = [-1.0, 0.0, 1.0], [], []
    for level in torch.eye(3, dtype=torch.float64):
        onehots = torch.cat([row[1:3], level]).expand(len(u), -1)
        mass = law.log_density(torch.cat([places[:, None], onehots], dim=1)).exp() * dx
        below = np.interp(edges, places.numpy(), (mass.cumsum(0) - 0.5 * mass).numpy())
        expected.extend(np.diff([0.0, *below, float(mass.sum())]))
        own = draws[(draws[:, 3:] == level).all(1), 0].numpy()
        found.extend(np.histogram(own, [-np.inf, *edges, np.inf])[0])
    found, expected = np.array(found), n * np.array(expected) / sum(expected)
    assert found.sum() == n
    assert ((found - expected) ** 2 / expected).sum() < stats.chi2(len(found) - 1).isf(1e-6)


@each_law
def test_observed_entries_are_kept_to_the_bit(law, random_seed):
    rows, missing = holed(law, 30, random_seed)
    # A row may be silent about a category without asking for it.
    rows[0, law.n_numeric :], missing[0, law.n_numeric :] = 0.0, False
    draws = conditional_of(law, rows, missing).sample(4, generator(random_seed))
    assert draws.shape == (4, *rows.shape)
    assert torch.equal(draws[:, ~missing], rows[~missing].expand(4, -1))
    start = law.n_numeric
    for size in law.levels:
        onehots = draws[:, 1:, start : start + size]
        assert ((onehots == 0) | (onehots == 1)).all()
        assert (onehots.sum(-1) == 1).all()
        start += size


def test_streams_of_rows_do_not_hang_on_their_neighbours(random_seed):
    law = LAWS["blocks"]
    rows, missing = holed(law, 12, random_seed)
    keys = torch.arange(5, 17)
    every = conditional_of(law, rows, missing).sample(2, RowStreams(keys))
    alone = conditional_of(law, rows[:4], missing[:4]).sample(2, RowStreams(keys[:4]))
    torch.testing.assert_close(every[:, :4], alone, rtol=1e-12, atol=1e-12)


def test_a_part_of_a_onehot_missing_is_told():
    rows = torch.zeros(1, 6, dtype=torch.float64)
    missing = torch.tensor([[False, True, False, False, False, False]])
    with pytest.raises(ValueError, match=r"expected all or none of each group of levels=\(2, 3\)"):
        ConditionalMixture(LAWS["line"], rows, missing)
