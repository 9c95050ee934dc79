"""The affine map to working space: inverses, the chain rule, degenerate columns."""

import numpy as np
import pytest
from scipy import stats

from skrae.preprocessing import affine, scales
from skrae.preprocessing.affine import CONSTANT_WIDTH, MAX_NAMED, AffineMap, fit_affine

each_kind = pytest.mark.parametrize("kind", ["whiten", "standardize", None])


def fit_map(*arguments):
    """The map alone."""
    return fit_affine(*arguments).map


def remarks_of(*arguments):
    """What is said of the columns, in one string."""
    return " ".join(fit_affine(*arguments).remarks.messages())


def correlated(n, d, seed):
    """Rows whose columns differ in unit and depend on one another, and their weights."""
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((d, d)) + np.eye(d)
    units = 3.0 ** (np.arange(d) - 1)
    X = (rng.standard_normal((n, d)) @ mix + 1) * units
    return X, rng.uniform(0.1, 2.0, n)


@each_kind
@pytest.mark.parametrize("d", [1, 4])
def test_forward_and_inverse_undo_each_other(kind, d, random_seed):
    X, weights = correlated(200, d, random_seed)
    scaling = fit_map(X, weights, kind)
    units = np.abs(X).max(axis=0)
    np.testing.assert_allclose(scaling.inverse(scaling.forward(X)) / units, X / units, atol=1e-12)
    np.testing.assert_allclose(scaling.matrix @ scaling.inverse_matrix, np.eye(d), atol=1e-9)


@each_kind
@pytest.mark.parametrize("d", [1, 4])
def test_log_det_is_that_of_the_matrix(kind, d, random_seed):
    scaling = fit_map(*correlated(200, d, random_seed), kind)
    assert scaling.log_det == pytest.approx(np.linalg.slogdet(scaling.matrix)[1], abs=1e-10)


def test_whitened_rows_have_mean_zero_and_covariance_one(random_seed):
    X, weights = correlated(300, 4, random_seed)
    z = fit_map(X, weights, "whiten").forward(X)
    np.testing.assert_allclose(np.average(z, axis=0, weights=weights), 0, atol=1e-10)
    np.testing.assert_allclose(np.cov(z.T, aweights=weights, ddof=0), np.eye(4), atol=1e-10)


def test_standardized_columns_have_mean_zero_and_variance_one(random_seed):
    X, weights = correlated(300, 4, random_seed)
    scaling = fit_map(X, weights, "standardize")
    z = scaling.forward(X)
    np.testing.assert_allclose(np.average(z, axis=0, weights=weights), 0, atol=1e-12)
    np.testing.assert_allclose(np.average(z**2, axis=0, weights=weights), 1, rtol=1e-12)
    assert np.count_nonzero(scaling.matrix - np.diag(np.diag(scaling.matrix))) == 0


def test_no_scaling_centres_alone(random_seed):
    X, weights = correlated(50, 3, random_seed)
    scaling = fit_map(X, weights, None)
    mean = np.average(X, axis=0, weights=weights)
    np.testing.assert_allclose(scaling.forward(X), X - mean, atol=1e-12)
    assert scaling.log_det == 0.0


@each_kind
def test_chain_rule_on_a_gaussian_log_density(kind, random_seed):
    """log p_x = log p_z + log det, its gradient and its Hessian, all in closed form in x."""
    X, weights = correlated(40, 3, random_seed)
    scaling = fit_map(X, weights, kind)
    rng = np.random.default_rng(random_seed)
    mean, root = rng.standard_normal(3), rng.standard_normal((3, 3)) + 2 * np.eye(3)
    law = stats.multivariate_normal(mean, root @ root.T)
    precision, z = np.linalg.inv(root @ root.T), scaling.forward(X)
    # x = z A + m with z ~ N(mean, C) is N(mean A + m, A^T C A).
    inverse = scaling.inverse_matrix
    covariance = inverse.T @ root @ root.T @ inverse
    law_x = stats.multivariate_normal(
        mean @ inverse + scaling.location, covariance, allow_singular=True
    )
    log_p = law.logpdf(z) + scaling.log_abs_det(z)
    np.testing.assert_allclose(log_p, law_x.logpdf(X), rtol=1e-7)
    np.testing.assert_allclose(scaling.covariance(z, root @ root.T), covariance, rtol=1e-12)

    def log_density(X):
        return law.logpdf(scaling.forward(X))

    gradient = scaling.gradient(z, -(z - mean) @ precision)
    hessian = scaling.hessian(z, None, np.tile(-precision, (40, 1, 1)))
    steps = 1e-4 * np.diag(X.std(axis=0))
    for i in range(3):
        slope = (log_density(X + steps[i]) - log_density(X - steps[i])) / 2
        scale = np.abs(log_p).max() + 1
        assert_small(slope - gradient[:, i] * steps[i, i], 1e-9 * scale)
        for j in range(3):
            corners = [
                a * b * log_density(X + a * steps[i] + b * steps[j])
                for a in (-1, 1)
                for b in (-1, 1)
            ]
            curvature = sum(corners) / 4 / (steps[i, i] * steps[j, j])
            # A quadratic has no truncation error; rounding is 1e-16 of the values over step^2.
            error = (curvature - hessian[:, i, j]) * steps[i, i] * steps[j, j]
            assert_small(error, 1e-14 * scale)
            assert_small(hessian[:, i, j] - hessian[:, j, i], 1e-12 * np.abs(hessian).max())


def assert_small(values, bound):
    assert np.abs(values).max() <= bound


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
def test_weights_are_repeated_rows(kind, random_seed):
    X, _ = correlated(300, 3, random_seed)
    counts = np.random.default_rng(random_seed).integers(1, 4, 300)
    weighted = fit_map(X, counts.astype(float), kind)
    repeated = fit_map(np.repeat(X, counts, axis=0), np.ones(counts.sum()), kind)
    np.testing.assert_allclose(weighted.location, repeated.location, rtol=1e-12)
    assert weighted.log_det == pytest.approx(repeated.log_det, rel=1e-10)
    np.testing.assert_allclose(np.abs(weighted.forward(X)), np.abs(repeated.forward(X)), atol=1e-9)
    unequal = fit_map(X, np.ones(300), kind)
    assert abs(unequal.log_det - weighted.log_det) > 1e-3


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
def test_scaling_of_weights_does_not_matter(kind, random_seed):
    X, weights = correlated(30, 3, random_seed)
    once, thrice = fit_map(X, weights, kind), fit_map(X, 3 * weights, kind)
    assert once.log_det == pytest.approx(thrice.log_det, rel=1e-12)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
@pytest.mark.parametrize("constant", [0.0, 0.1, -1e8])
def test_constant_columns_are_named(kind, constant, random_seed):
    X, weights = correlated(40, 4, random_seed)
    X[:, 1], X[:, 3] = constant, constant
    scaling = fit_map(X, weights, kind)
    assert "Got constant columns (column 1, column 3), " in remarks_of(X, weights, kind)
    named = remarks_of(X, weights, kind, ["a", "b", "c", "d"])
    assert "Got constant columns ('b', 'd'), expected columns that vary" in named
    units = np.maximum(np.abs(X).max(axis=0), 1)
    np.testing.assert_allclose(scaling.inverse(scaling.forward(X)) / units, X / units, atol=1e-12)
    # Such a column has the unit one, of which it gets a hundredth as its deviation.
    step = scaling.forward(X + np.eye(4)[1]) - scaling.forward(X)
    np.testing.assert_allclose(np.linalg.norm(step, axis=1), 1 / CONSTANT_WIDTH, rtol=1e-5)


def test_collinear_columns_are_named(random_seed):
    X, weights = correlated(60, 4, random_seed)
    X[:, 2] = 2 * X[:, 0] + 5
    scaling = fit_map(X, weights, "whiten")
    assert "Got collinear columns (column 0, column 2), " in remarks_of(X, weights, "whiten")
    units = np.abs(X).max(axis=0)
    np.testing.assert_allclose(scaling.inverse(scaling.forward(X)) / units, X / units, atol=1e-9)
    assert np.isfinite(scaling.log_det)
    # Standardising divides by no small number.
    assert remarks_of(X, weights, "standardize") == ""


@each_kind
def test_proper_columns_bring_no_remark(kind, random_seed):
    assert remarks_of(*correlated(60, 4, random_seed), kind) == ""


def test_fewer_rows_than_columns_are_not_called_collinear(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((3, 6))
    scaling = fit_map(X, np.ones(3), "whiten")
    said = remarks_of(X, np.ones(3), "whiten")
    assert said.startswith("Got 3 rows of 6 columns, expected more rows than columns")
    assert "collinear" not in said
    np.testing.assert_allclose(scaling.inverse(scaling.forward(X)), X, atol=1e-9)


@each_kind
@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_spread_whose_square_leaves_float64_raises(kind, size):
    X = np.array([[1.0, -size], [2.0, size], [3.0, 0.0]])
    with pytest.raises(ValueError, match=r"Got column 1 with .*deviation of 8.2e.*expected units"):
        fit_map(X, np.ones(3), kind)
    with pytest.raises(ValueError, match=r"Got 'far' with a standard deviation of"):
        fit_map(X, np.ones(3), kind, ["near", "far"])


@each_kind
def test_columns_that_are_all_constant_raise(kind):
    with pytest.raises(ValueError, match="all constant"):
        fit_map(np.full((5, 2), 0.3), np.ones(5), kind)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
@pytest.mark.parametrize("exponent", [-300, 300])
def test_units_of_powers_of_two_change_nothing_but_the_units(kind, exponent, random_seed):
    X, weights = correlated(40, 3, random_seed)
    scaling = fit_map(X, weights, kind)
    other = fit_map(np.ldexp(X, exponent), weights, kind)
    assert np.array_equal(other.forward(np.ldexp(X, exponent)), scaling.forward(X))
    shift = 3 * exponent * np.log(2)
    assert other.log_det == pytest.approx(scaling.log_det - shift, rel=1e-12)


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1e3), (0.0, 1e-3), (1e3, 1.0)])
def test_unscaled_columns_far_from_unit_size_are_named(shift, scale, random_seed):
    X = np.random.default_rng(random_seed).standard_normal((50, 2))
    X[:, 1] = scale * X[:, 1] + shift
    assert "Got scaling=None and column 1 with mean" in remarks_of(X, np.ones(50), None)


@each_kind
def test_single_precision_rows_are_scaled_in_double(kind, random_seed):
    X, weights = correlated(50, 3, random_seed)
    single = X.astype(np.float32)
    scaling = fit_map(single, weights, kind)
    assert scaling.forward(single).dtype == np.float64
    same = fit_map(single.astype(np.float64), weights, kind)
    np.testing.assert_allclose(scaling.forward(single), same.forward(single), rtol=1e-12)


@pytest.mark.parametrize("kind", ["whiten", "standardize"])
def test_many_blocks_of_rows_give_the_scaling_of_one(kind, monkeypatch, random_seed):
    rng = np.random.default_rng(random_seed)
    X = rng.standard_normal((50, 3)) @ rng.standard_normal((3, 3)) + 10.0
    weights = rng.uniform(0.1, 2.0, 50)
    X[:, 2] = np.where(np.arange(50) < 45, 7.0, X[:, 2])  # constant in all blocks but the last
    whole = fit_map(X, weights, kind)
    monkeypatch.setattr(scales, "BLOCK", 7)
    parts = fit_map(X, weights, kind)
    for one, other in zip(vars(parts).values(), vars(whole).values(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(parts.forward(X), (X - whole.location) @ whole.matrix, atol=1e-12)


def test_at_most_a_few_columns_are_named():
    X = np.random.default_rng(0).standard_normal((300, 200))
    X[:, 10:] = 0.0
    said = remarks_of(X, np.ones(300), "standardize")
    assert said.count("column ") == MAX_NAMED
    assert f"and {190 - MAX_NAMED} more" in said


@each_kind
def test_map_of_columns_and_matrix_are_the_map(kind, random_seed):
    X, weights = correlated(50, 3, random_seed)
    whole = fit_map(X, weights, kind)
    columns, matrix, inverse = whole.by_columns()
    np.testing.assert_allclose(columns.forward(X) @ matrix, whole.forward(X), atol=1e-12)
    np.testing.assert_allclose(matrix @ inverse, np.eye(3), atol=1e-9)
    # Each column of what is mapped depends on that column alone.
    moved = columns.forward(X + np.eye(3)[1]) - columns.forward(X)
    assert np.array_equal(moved[:, [0, 2]], np.zeros((50, 2)))


def test_scaled_map_divides_what_the_map_gives(random_seed):
    X, weights = correlated(50, 3, random_seed)
    whole, scale = fit_map(X, weights, "whiten"), np.array([0.5, 2.0, 3.0])
    scaled = whole.scaled(scale)
    np.testing.assert_allclose(scaled.forward(X), whole.forward(X) / scale, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(scaled.inverse(scaled.forward(X)), X, rtol=1e-10)
    expected = np.linalg.slogdet(scaled.matrix)[1]
    np.testing.assert_allclose(scaled.log_abs_det(X), np.full(50, expected), rtol=1e-12)


def test_diagonal_map_is_that_of_each_column():
    location, scale = np.array([1.0, -2.0]), np.array([0.5, 4.0])
    diagonal, X = AffineMap.diagonal(location, scale), np.array([[1.5, 2.0], [0.0, 0.0]])
    np.testing.assert_array_equal(diagonal.forward(X), (X - location) / scale)
    np.testing.assert_array_equal(diagonal.inverse(diagonal.forward(X)), X)
    assert diagonal.log_abs_det(X)[0] == pytest.approx(-np.log(2.0))


@each_kind
@pytest.mark.parametrize("value", [1e3, 1e6, 1e12])
def test_one_wild_value_moves_no_map(kind, value, random_seed):
    X, weights = correlated(1000, 3, random_seed)
    spoilt = X.copy()
    spoilt[5, 1] = value * X[:, 1].std()
    fit, without = (
        fit_affine(spoilt, weights, kind),
        fit_affine(np.delete(X, 5, 0), np.delete(weights, 5), kind),
    )
    assert np.flatnonzero(~fit.holds(spoilt)).tolist() == [5]
    np.testing.assert_allclose(
        np.abs(fit.map.matrix), np.abs(without.map.matrix), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("n", [50, 400, 5000])
def test_at_most_one_row_in_400_is_wild_on_either_side(n, random_seed):
    """However heavy the tails; one row where there are fewer."""
    X = np.random.default_rng(random_seed).standard_t(0.3, (n, 1))
    wild = ~fit_affine(X, np.ones(n), "whiten").holds(X)
    assert wild.sum() <= 2 * max(1, n // 400)


def test_uncorrelated_columns_are_blocks_of_their_own(random_seed):
    rng = np.random.default_rng(random_seed)
    z = rng.standard_normal((2000, 4))
    X = np.column_stack([z[:, 0], z[:, 1], z[:, 0] + z[:, 2], z[:, 3]])
    fit = fit_affine(X, np.ones(2000), "whiten")
    assert fit.blocks[0] == fit.blocks[2]
    assert len(np.unique(fit.blocks)) == 3
    apart = np.not_equal.outer(fit.blocks, fit.blocks)
    assert not fit.map.matrix[apart].any()


def test_covariances_of_few_rows_are_shrunk(random_seed):
    """40 columns of 60 rows: nearer to the truth than the rows' own."""
    X = np.random.default_rng(random_seed).standard_normal((60, 40))
    inverse = fit_map(X, np.ones(60), "whiten").inverse_matrix
    found = inverse.T @ inverse
    assert np.abs(found - np.eye(40)).max() < 0.3
    assert np.linalg.eigvalsh(found).min() > 0.4


@pytest.mark.parametrize("ratio", [1.0, 1e3])
def test_scales_of_few_rows_are_drawn_together_as_far_as_they_are_alike(ratio, random_seed):
    units = np.array([1.0, ratio, 1.0, ratio])
    X = np.random.default_rng(random_seed).standard_normal((30, 4)) * units
    fit = fit_affine(X, np.ones(30), "standardize")
    scale = 1.0 / np.diag(fit.map.matrix)
    spread = np.log(scale / units).std()
    own = np.log(X.std(axis=0) / units).std()
    assert spread < own if ratio == 1.0 else spread == pytest.approx(own, rel=0.05)


def test_a_heavy_row_is_not_wild(random_seed):
    """A thousand copies of one value are a place of its own."""
    X = np.append(np.random.default_rng(random_seed).standard_normal(1000), 100.0)[:, None]
    weights = np.append(np.ones(1000), 1000.0)
    assert fit_affine(X, weights, "whiten").holds(X).all()
    assert not fit_affine(X, np.ones(1001), "whiten").holds(X)[-1]


def test_shrinkage_is_the_oracle_approximation(random_seed):
    """Chen et al. (2010), equation 23: rho of a sample covariance S of trace d."""
    n, d = 30, 12
    S = np.corrcoef(np.random.default_rng(random_seed).standard_normal((n, d)).T)
    square = np.trace(S @ S)
    numerator = (1.0 - 2.0 / d) * square + np.trace(S) ** 2
    rho = numerator / ((n + 1.0 - 2.0 / d) * (square - np.trace(S) ** 2 / d))
    rho = min(rho, 1.0)
    found = affine._shrunk(S, n)
    np.testing.assert_allclose(found, (1.0 - rho) * S + rho * np.eye(d), atol=1e-12)
    np.testing.assert_array_equal(affine._shrunk(np.eye(d), n), np.eye(d))
