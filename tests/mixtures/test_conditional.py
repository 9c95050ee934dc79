"""The conditional of a mixture: block formulas, its marginal, quadrature, and draws to match."""

import numpy as np
import pytest
import torch
from scipy import stats

from skrae.mixtures.conditional import ConditionalMixture
from skrae.mixtures.mixture import MixtureDensity
from tests.mixtures.random_mixtures import in_blocks

INF = np.inf


def random_mixture(weights, d, dofs, seed=0, width=1.0):
    """A mixture with the weights and degrees of freedom given and random means and factors."""
    rng = np.random.default_rng(seed)
    k = len(weights)
    factors = np.tril(0.5 * rng.standard_normal((k, d, d)), -1)
    factors = width * (factors + np.eye(d) * rng.uniform(0.3, 1.5, (k, d, 1)))
    return MixtureDensity(weights, 1.5 * rng.standard_normal((k, d)), factors, dofs)


def narrow_and_wide():
    """A component of width 1e-3 on top of a wide one, and a heavy tail."""
    wide, narrow = random_mixture([1.0], 3, [INF]), random_mixture([1.0], 3, [INF], 1, 1e-3)
    means = torch.cat([wide.means, narrow.means, wide.means])
    factors = torch.cat([wide.factors, narrow.factors, 3 * wide.factors])
    return MixtureDensity([0.5, 0.4, 0.1], means, factors, [INF, INF, 3.0])


DENSITIES = {
    "line": random_mixture([0.6, 0.4], 1, [INF, 1.0]),
    "gaussian": random_mixture([1.0], 4, [INF]),
    "gaussians": random_mixture([0.2, 0.3, 0.5], 3, [INF, INF, INF]),
    "student": random_mixture([1.0], 3, [2.0]),
    "mixed": random_mixture([0.3, 0.5, 0.2], 4, [INF, 3.0, INF]),
    "mixed-tails": random_mixture([0.3, 0.3, 0.4], 2, [12.0, INF, 1.0]),
    "narrow": narrow_and_wide(),
}
BLOCKS = {
    "blocks": in_blocks(random_mixture([0.3, 0.5, 0.2], 4, [INF, 3.0, 7.0]), [0, 1, 0, 2]),
    "blocks-2d": in_blocks(random_mixture([0.5, 0.5], 2, [1.0, INF]), [1, 0]),
}
ALL = {**DENSITIES, **BLOCKS}
each_of_all = pytest.mark.parametrize("density", ALL.values(), ids=ALL)
each_density = pytest.mark.parametrize("density", DENSITIES.values(), ids=DENSITIES)
PLANE = {
    "gaussians": random_mixture([0.4, 0.6], 2, [INF, INF], seed=2),
    "students": random_mixture([0.7, 0.3], 2, [2.0, 5.0], seed=3),
    "mixed": random_mixture([0.3, 0.3, 0.4], 2, [INF, 3.0, INF], seed=4),
    "blocks": in_blocks(random_mixture([0.4, 0.6], 2, [3.0, INF], seed=5), [0, 1]),
}
each_plane = pytest.mark.parametrize("density", PLANE.values(), ids=PLANE)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def scales_of(density):
    """The scale matrices C_k = L_k L_k^T."""
    return (density.factors @ density.factors.mT).numpy()


def every_pattern(d):
    """All 2^d patterns of missing entries, shape (2^d, d)."""
    return torch.tensor([[bool(code >> bit & 1) for bit in range(d)] for code in range(2**d)])


def hide(rows, missing):
    return rows.masked_fill(missing, torch.nan)


def rows_and_patterns(density, seed, repeats=3):
    """Draws of the density, each pattern as often as `repeats`."""
    missing = every_pattern(density.n_features).repeat(repeats, 1)
    return density.sample(len(missing), generator(seed)), missing


def conditional_at(density, row, missing, n=1):
    """n copies of the conditional at one row with one pattern."""
    rows, missing = torch.as_tensor(row).expand(n, -1), torch.as_tensor(missing).expand(n, -1)
    return ConditionalMixture(density, hide(rows, missing), missing)


def marginal(density, kept):
    """The mixture's own marginal: sub-vectors, sub-blocks, and the same degrees of freedom."""
    blocks = scales_of(density)[:, kept][:, :, kept]
    weights, means, _, dofs, axes, _ = density.arrays()
    factors = np.linalg.cholesky(blocks)
    return MixtureDensity(weights, means[:, kept], factors, dofs, axes[kept])


def digits_of(density):
    """What base densities are good to: beside a width of 1e-3 their polynomial cancels digits."""
    return 1e-9 if float(density.factors.diagonal(dim1=1, dim2=2).min()) > 0.1 else 1e-4


def standard_errors_from(expected, values):
    """How many standard errors the mean of `values` lies from `expected`, entry by entry."""
    return (values.mean(axis=0) - expected) / (values.std(axis=0, ddof=1) / len(values) ** 0.5)


def block_formula(mean, scale, row, missing):
    """mu_m + C_mo C_oo^-1 (z_o - mu_o) and C_mm - C_mo C_oo^-1 C_om, for one row."""
    o, m = ~missing, missing
    gain = scale[np.ix_(m, o)] @ np.linalg.inv(scale[np.ix_(o, o)])
    spread = scale[np.ix_(m, m)] - gain @ scale[np.ix_(o, m)]
    return mean[m] + gain @ (row[o] - mean[o]), spread


@each_density
def test_components_equal_the_block_formulas(density, random_seed):
    """A t's conditional has nu + d_o degrees of freedom, scaled by (nu + delta) / (nu + d_o)."""
    rows, missing = rows_and_patterns(density, random_seed)
    conditional = ConditionalMixture(density, hide(rows, missing), missing)
    scales = (conditional.factors @ conditional.factors.mT).numpy()
    means, dofs, C = density.means.numpy(), density.dofs.numpy(), scales_of(density)
    for i, k in np.ndindex(*conditional.dofs.shape[:2]):
        row, hidden = rows[i].numpy(), missing[i].numpy()
        mean, spread = block_formula(means[k], C[k], row, hidden)
        gap = (row - means[k])[~hidden]
        delta = gap @ np.linalg.solve(C[k][np.ix_(~hidden, ~hidden)], gap)
        n_observed = np.count_nonzero(~hidden)
        if np.isfinite(dofs[k]):
            spread = spread * (dofs[k] + delta) / (dofs[k] + n_observed)
        width = np.sqrt(np.diag(spread))
        got = conditional.means[i, k].numpy()
        # Far from a narrow component its mean moves by millions of widths.
        reach = 1e-9 * width + 1e-12 * np.abs(mean - means[k][hidden])
        assert (np.abs(got[hidden] - mean) <= reach).all()
        np.testing.assert_array_equal(got[~hidden], row[~hidden])
        np.testing.assert_allclose(
            scales[i, k][np.ix_(hidden, hidden)] / np.outer(width, width),
            spread / np.outer(width, width),
            atol=1e-9,
        )
        assert conditional.dofs[i, k] == dofs[k] + n_observed


@each_density
def test_factors_are_zero_in_observed_rows(density, random_seed):
    rows, missing = rows_and_patterns(density, random_seed)
    factors = ConditionalMixture(density, hide(rows, missing), missing).factors
    nonzero = (factors != 0).any(dim=3)
    assert factors.shape == (*missing.shape[:1], len(density.weights), *density.means.shape[1:] * 2)
    assert torch.equal(nonzero, missing[:, None].expand_as(nonzero))


@each_of_all
def test_log_density_is_joint_minus_marginal(density, random_seed):
    """The marginal's own mixture has the sub-blocks of every component."""
    digits = digits_of(density)
    x, missing = rows_and_patterns(density, random_seed)
    conditional = ConditionalMixture(density, hide(x, missing), missing)
    expected = density.log_density(x)
    for i, hidden in enumerate(missing.numpy()):
        if not hidden.all():
            kept = np.flatnonzero(~hidden)
            expected[i] -= marginal(density, kept).log_density(x[i : i + 1, kept])[0]
    log_density = conditional.log_density(x)
    np.testing.assert_allclose(log_density, expected, rtol=digits, atol=digits)
    same, moved = conditional.log_density(torch.stack([x, x.masked_fill(~missing, 7.0)]))
    assert torch.equal(same, moved)
    np.testing.assert_allclose(same, log_density, rtol=1e-12, atol=1e-12)


@each_of_all
def test_responsibilities_are_those_of_the_marginal(density, random_seed):
    digits = digits_of(density)
    x, missing = rows_and_patterns(density, random_seed)
    responsibilities = ConditionalMixture(density, hide(x, missing), missing).responsibilities
    for i, hidden in enumerate(missing.numpy()):
        kept = np.flatnonzero(~hidden)
        expected = density.weights[None]
        if len(kept):
            expected = marginal(density, kept).responsibilities(x[i : i + 1, kept])
        np.testing.assert_allclose(responsibilities[i], expected[0], atol=digits)
    np.testing.assert_allclose(responsibilities.sum(1), 1, rtol=1e-12)


def line_through(density, row, axis, n=20_001):
    """Rows (n, 1, d) along one axis, closest at its middle, and dx of each.

    x = mu + sinh(u): the power tail of a t becomes exponential, where the trapezoid is exact.
    """
    u = torch.linspace(-30.0, 30.0, n, dtype=torch.float64)
    x = row.repeat(n, 1)
    x[:, axis] = density.means[0, axis] + u.sinh()
    return x[:, None], u.cosh() * (u[1] - u[0])


@each_plane
@pytest.mark.parametrize("axis", [0, 1])
def test_conditional_density_integrates_to_one(density, axis, random_seed):
    for row in density.sample(3, generator(random_seed)):
        conditional = conditional_at(density, row, torch.arange(2) == axis)
        x, dx = line_through(density, row, axis)
        mass = (conditional.log_density(x)[:, 0].exp() * dx).sum()
        assert float(mass) == pytest.approx(1, abs=1e-8)


@each_plane
@pytest.mark.parametrize("axis", [0, 1])
def test_draws_follow_the_joint_density_along_the_line(density, axis, random_seed):
    row = density.sample(1, generator(random_seed))[0]
    conditional = conditional_at(density, row, torch.arange(2) == axis)
    draws = conditional.sample(20_000, generator(random_seed + 1))[:, 0, axis].numpy()
    x, dx = line_through(density, row, axis)
    mass = (density.log_density(x[:, 0]).exp() * dx).numpy()
    places, shares = x[:, 0, axis].numpy(), (mass.cumsum() - 0.5 * mass) / mass.sum()
    assert stats.kstest(draws, lambda at: np.interp(at, places, shares)).pvalue > 1e-5


def test_draws_have_mean_and_covariance(random_seed):
    """Several patterns side by side; given one entry, t_2 has 3 degrees of freedom, t_8 has 9."""
    density = random_mixture([0.3, 0.4, 0.3], 4, [INF, 8.0, INF], seed=5)
    missing = every_pattern(4)[[1, 6, 11, 14]]
    rows = density.sample(len(missing), generator(random_seed))
    conditional = ConditionalMixture(density, hide(rows, missing), missing)
    draws = conditional.sample(40_000, generator(random_seed + 1)).numpy()
    shares, dofs = conditional.responsibilities.numpy(), conditional.dofs[..., 0].numpy()
    spreads = np.where(np.isinf(dofs), 1.0, dofs / (np.where(np.isinf(dofs), 3.0, dofs) - 2))
    scales = (conditional.factors @ conditional.factors.mT).numpy()
    for i, hidden in enumerate(missing.numpy()):
        mean = shares[i] @ conditional.means[i].numpy()
        np.testing.assert_allclose(conditional.mean()[i], mean, rtol=1e-12)
        gaps = (conditional.means[i].numpy() - mean)[:, hidden]
        covariance = np.einsum("k,kij->ij", shares[i] * spreads[i], scales[i])[hidden][:, hidden]
        covariance += np.einsum("k,ki,kj->ij", shares[i], gaps, gaps)
        away = draws[:, i, hidden] - mean[hidden]
        products = np.einsum("ni,nj->nij", away, away)
        assert np.abs(standard_errors_from(0, away)).max() < 5
        assert np.abs(standard_errors_from(covariance, products)).max() < 5


@pytest.mark.parametrize("observed", [0, 1, 2])
def test_draws_of_a_student_have_its_conditional_tail(observed, random_seed):
    """Given d_o entries, |F^-1 (z - mean)|^2 / d_m follows F(d_m, nu + d_o)."""
    density, n_draws = DENSITIES["student"], 50_000
    missing = torch.arange(3) >= observed
    row = density.means[0] + torch.tensor([2.0, -3.0, 0.0], dtype=torch.float64)
    conditional = conditional_at(density, row, missing)
    away = (conditional.sample(n_draws, generator(random_seed))[:, 0] - conditional.means[0, 0]).T
    whitened = torch.linalg.pinv(conditional.factors[0, 0][missing]) @ away[missing]
    ratios = whitened.square().sum(0).numpy() / (3 - observed)
    law = stats.f(3 - observed, 2 + observed)
    for tail in (0.1, 0.01, 0.001):
        counted = np.count_nonzero(ratios > law.isf(tail))
        assert abs(counted - n_draws * tail) < 5 * np.sqrt(n_draws * tail * (1 - tail))
    assert stats.kstest(ratios, law.cdf).pvalue > 1e-5


@each_of_all
def test_fully_missing_rows_have_the_law_of_the_base(density, random_seed):
    x = density.sample(40, generator(random_seed))
    conditional = conditional_at(density, x[0], [True] * density.n_features, n=40)
    np.testing.assert_allclose(conditional.responsibilities, density.weights.expand(40, -1))
    np.testing.assert_array_equal(conditional.means, density.means.expand(40, -1, -1))
    expected = density.dofs[:, None].expand(40, -1, len(np.unique(density.blocks)))
    np.testing.assert_array_equal(conditional.dofs, expected)
    scales = conditional.factors @ conditional.factors.mT
    C = torch.as_tensor(scales_of(density)).expand_as(scales)
    np.testing.assert_allclose(scales, C, rtol=1e-12, atol=1e-15)
    digits = digits_of(density)
    np.testing.assert_allclose(
        conditional.log_density(x), density.log_density(x), rtol=digits, atol=digits
    )


@each_of_all
def test_fully_observed_rows_stay_as_they_are(density, random_seed):
    rows = density.sample(5, generator(random_seed))
    conditional = ConditionalMixture(density, rows, torch.zeros_like(rows, dtype=torch.bool))
    assert not conditional.factors.any()
    assert torch.equal(conditional.mean(), rows)
    assert torch.equal(conditional.sample(3, generator(0)), rows.expand(3, -1, -1))
    np.testing.assert_allclose(conditional.log_density(rows), 0, atol=1e-12)
    expected = density.responsibilities(rows)
    np.testing.assert_allclose(conditional.responsibilities, expected, atol=digits_of(density))


@each_of_all
@pytest.mark.parametrize("distance", [1e2, 1e6])
def test_observed_entries_are_kept_to_the_bit(density, distance, random_seed):
    rows, missing = rows_and_patterns(density, random_seed)
    rows = distance * rows
    conditional = ConditionalMixture(density, hide(rows, missing), missing)
    draws = conditional.sample(4, generator(random_seed))
    observed = ~missing
    assert torch.equal(draws[:, observed], rows[observed].expand(4, -1))
    assert torch.equal(conditional.mean()[observed], rows[observed])
    assert not (draws == rows)[:, missing].any()


@each_of_all
def test_far_rows_keep_a_law(density, random_seed):
    """1e6 away no component explains the row, and still one must be the best explanation."""
    rows, missing = rows_and_patterns(density, random_seed, repeats=1)
    rows = rows + 1e6 * torch.tensor([1.0, -1.0, 1.0, -1.0])[: density.n_features]
    conditional = ConditionalMixture(density, hide(rows, missing), missing)
    draws = conditional.sample(20, generator(random_seed))
    np.testing.assert_allclose(conditional.responsibilities.sum(1), 1, rtol=1e-12)
    assert torch.isfinite(conditional.factors).all()
    assert torch.isfinite(conditional.log_density(draws)).all()
    heavy = torch.isfinite(density.dofs)
    if heavy.any():
        tails = conditional.responsibilities[~missing.all(1)][:, heavy].sum(1)
        np.testing.assert_allclose(tails, 1, rtol=1e-12)


def test_far_from_a_student_its_conditional_widens_in_proportion():
    """s^2 = (nu + delta) / (nu + d_o), and delta grows as the square of the distance."""
    density, missing = DENSITIES["student"], torch.tensor([False, True, True])
    rows = torch.tensor([[1e6], [1e7]], dtype=torch.float64).repeat(1, 3)
    conditional = ConditionalMixture(density, rows, missing.expand(2, -1))
    np.testing.assert_allclose(conditional.factors[1], 10 * conditional.factors[0], rtol=1e-5)


@pytest.mark.parametrize("distance", [5.0, 1e3])
def test_a_far_entry_says_nothing_of_other_blocks(distance):
    density = BLOCKS["blocks-2d"]
    row = density.means[0] + torch.tensor([distance, 0.0], dtype=torch.float64)
    conditional = conditional_at(density, row, torch.tensor([False, True]))
    assert float(conditional.factors[0, 0, 1].norm()) == pytest.approx(
        float(density.factors[0, 1].norm()), rel=1e-12
    )


def test_a_row_does_not_depend_on_its_neighbours(random_seed):
    density = DENSITIES["mixed"]
    rows, missing = rows_and_patterns(density, random_seed)
    together = ConditionalMixture(density, hide(rows, missing), missing)
    for i in range(len(rows)):
        alone = conditional_at(density, rows[i], missing[i])
        for name in ("responsibilities", "means", "factors", "dofs"):
            mine, theirs = getattr(alone, name)[0], getattr(together, name)[i]
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_order_of_features_is_immaterial(random_seed):
    density, order = DENSITIES["mixed"], [2, 0, 3, 1]
    turned = marginal(density, order)
    rows, missing = rows_and_patterns(density, random_seed)
    one = ConditionalMixture(density, hide(rows, missing), missing)
    other = ConditionalMixture(turned, hide(rows, missing)[:, order], missing[:, order])
    np.testing.assert_allclose(one.mean()[:, order], other.mean(), atol=1e-11)
    np.testing.assert_allclose(one.log_density(rows), other.log_density(rows[:, order]), atol=1e-10)


def test_draws_depend_on_the_generator_alone():
    density, state = DENSITIES["mixed"], torch.get_rng_state()
    rows, missing = rows_and_patterns(density, 0)
    conditional = ConditionalMixture(density, hide(rows, missing), missing)
    first, again, other = (conditional.sample(3, generator(seed)) for seed in (3, 3, 4))
    assert first.shape == (3, *rows.shape)
    assert torch.equal(first, again)
    assert not (first == other)[:, missing].any()
    assert torch.equal(torch.get_rng_state(), state)


def test_single_precision_rows_are_raised_to_double():
    density = DENSITIES["mixed"]
    rows, missing = rows_and_patterns(density, 0)
    rows = rows.float()
    narrow = ConditionalMixture(density, hide(rows, missing), missing)
    wide = ConditionalMixture(density, hide(rows.double(), missing), missing)
    assert narrow.means.dtype == torch.float64
    assert torch.equal(narrow.means, wide.means)
    assert torch.equal(narrow.log_density(rows), wide.log_density(rows.double()))


@each_density
def test_no_rows_and_no_draws_give_no_values(density):
    rows = density.sample(0, generator(0))
    empty = ConditionalMixture(density, rows, rows.isnan())
    assert empty.sample(2, generator(0)).shape == (2, *rows.shape)
    assert empty.mean().shape == rows.shape
    assert empty.log_density(rows).shape == (0,)
    one = conditional_at(density, density.means[0], density.means[0] == 0)
    assert one.sample(0, generator(0)).shape == (0, 1, density.n_features)


@pytest.mark.parametrize(
    ("rows", "missing", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2, 4), "Got missing as a torch.float32 tensor"),
        (torch.zeros(2, 4), torch.zeros(2, 3).bool(), r"of the shape of rows, \(2, 4\)"),
        (torch.zeros(2, 3), torch.zeros(2, 3).bool(), r"expected \(n, 4\)"),
        (torch.zeros(4), torch.zeros(4).bool(), r"expected \(n, 4\)"),
        (torch.full((2, 4), torch.nan), torch.zeros(2, 4).bool(), "not finite"),
        (torch.full((2, 4), torch.inf), torch.zeros(2, 4).bool(), "not finite"),
    ],
)
def test_unusable_rows_raise(rows, missing, message):
    with pytest.raises(ValueError, match=message):
        ConditionalMixture(DENSITIES["gaussian"], rows, missing)
