"""Margins: a monotone spline for each column, its inverse and its exact derivatives."""

import numpy as np
import pytest
from scipy import stats

from skrae.density.columns.margin_fit import STRENGTH, fit_columns, margins_of
from skrae.density.columns.margins import Chain, Margins
from skrae.preprocessing.affine import AffineMap


def columns(n, seed):
    """Skewed, boxed, heavy-tailed, two-humped and rounded columns, in unlike units."""
    rng = np.random.default_rng(seed)
    humps = np.where(rng.random(n) < 0.5, -3.0, 3.0) + 0.3 * rng.standard_normal(n)
    parts = [
        np.exp(rng.standard_normal(n)),
        rng.random(n),
        rng.standard_t(2, n),
        humps,
        np.round(rng.standard_normal(n), 1),
    ]
    return np.column_stack(parts) * [1.0, 1e4, 1e-3, 1.0, 5.0]


def fit_margins(X, weights, held_out, held_out_weights, strength=STRENGTH, bent=False):
    """The map of one kind."""
    location, scale, *kinds = fit_columns(X, weights, held_out, held_out_weights)
    return margins_of(location, scale, kinds[bent], strength)


def fitted(seed=0, n=1000, **options):
    X = columns(n, seed)
    held_out = columns(300, seed + 1)
    return fit_margins(X, np.ones(n), held_out, np.ones(300), **options)


@pytest.fixture(scope="module", params=[False, True], ids=["straight", "bent"])
def margins(request):
    return fitted(bent=request.param)


def chain_of(margins, seed):
    rng, d = np.random.default_rng(seed), len(margins.location)
    matrix = rng.standard_normal((d, d)) + 2.0 * np.eye(d)
    log_det = np.linalg.slogdet(matrix)[1]
    return Chain(margins, AffineMap(rng.standard_normal(d), matrix, np.linalg.inv(matrix), log_det))


@pytest.mark.parametrize("far", [1.0, 30.0, 1e6])
def test_inverse_undoes_forward_near_and_far(margins, far, random_seed):
    X = columns(500, random_seed + 5)
    X = margins.location + far * (X - margins.location)
    back = margins.inverse(margins.forward(X))
    scale = margins.scale + np.abs(X - margins.location)
    np.testing.assert_allclose((back - X) / scale, 0.0, atol=1e-12)


def test_inverse_takes_any_leading_axes(margins):
    t = margins.forward(columns(12, 3))
    np.testing.assert_array_equal(
        margins.inverse(t.reshape(3, 4, 5)), margins.inverse(t).reshape(3, 4, 5)
    )


def test_map_rises_and_is_linear_far_out(margins):
    s = np.linspace(-40.0, 40.0, 20_001)[:, None]
    X = margins.location + margins.scale * s
    assert (np.diff(margins.forward(X), axis=0) > 0.0).all()
    last = np.abs(margins.knots).max() * np.array([[1.0], [2.0], [3.0]])
    ends = margins.forward(margins.location + margins.scale * last)
    np.testing.assert_allclose(ends[2] - ends[1], ends[1] - ends[0], rtol=1e-9)


def test_map_goes_a_part_of_the_way_to_normal_columns():
    """At strength a, t = (1 - a) s + a Phi^-1(F(s)) with F the law of the column, here known."""
    rng = np.random.default_rng(0)
    X, held_out = rng.lognormal(size=(20_000, 1)), rng.lognormal(size=(2000, 1))
    fit = fit_margins(X, np.ones(20_000), held_out, np.ones(2000), strength=0.5)
    x = np.linspace(0.2, 5.0, 50)[:, None]
    expected = 0.5 * (x - fit.location) / fit.scale + 0.5 * np.log(x)
    np.testing.assert_allclose(fit.forward(x), expected, atol=0.05)


def test_strength_zero_is_the_standardising_map():
    fit, X = fitted(strength=0.0), columns(100, 7)
    np.testing.assert_allclose(fit.forward(X), (X - fit.location) / fit.scale, atol=1e-12)
    np.testing.assert_allclose(fit.log_abs_det(X), -np.log(fit.scale).sum(), rtol=1e-12)


def inner_points(margins, random_seed):
    """Rows (n, d) inside of intervals between knots, and a hundredth of the length of each."""
    rng = np.random.default_rng(random_seed)
    place = np.stack([rng.choice(margins.knots.shape[1] - 1, 200) for _ in margins.knots], axis=1)
    left = np.take_along_axis(margins.knots.T, place, axis=0)
    length = np.take_along_axis(margins.knots.T, place + 1, axis=0) - left
    s = left + length * rng.uniform(0.1, 0.9, place.shape)
    return s * margins.scale + margins.location, 0.01 * length


def test_derivatives_are_those_of_the_spline(margins, random_seed):
    """The first three by differences of the fourth order, within a millionth."""
    X, steps = inner_points(margins, random_seed)
    s = (X - margins.location) / margins.scale
    steps = np.maximum(steps, 1e-9 * (1.0 + np.abs(s)))
    found = margins._at(s, 3)
    for order in range(3):

        def at(k, order=order):
            return margins._at(s + k * steps, order)[order]

        slope = (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * steps)
        rounding = 1e-12 * np.abs(found[order]) / steps
        size = np.abs(found[order + 1]) + np.abs(found[1]) / (100.0 * steps) ** order
        error = np.abs(slope - found[order + 1]) - rounding
        assert (error <= 1e-6 * size).all()


@pytest.mark.parametrize("kind", ["margins", "chain"])
def test_chain_rule_of_gradient_and_hessian(kind, margins, random_seed):
    """log |det|, gradient and Hessian of log p_x = log N(t(x); 0, I) + log det, by differences."""
    transform = margins if kind == "margins" else chain_of(margins, random_seed)
    X = columns(40, random_seed + 9)
    X = X[(np.abs(X - margins.location) < 15.0 * margins.scale).all(axis=1)]
    # As fine as the intervals that the rows are in.
    s = (X - margins.location) / margins.scale
    place = [
        np.searchsorted(k, c).clip(1, len(k) - 1) for k, c in zip(margins.knots, s.T, strict=True)
    ]
    gaps = [k[p] - k[p - 1] for k, p in zip(margins.knots, place, strict=True)]
    steps = 1e-3 * np.stack(gaps, axis=1).clip(1e-8, 1.0) * margins.scale
    identity = np.eye(5)

    def slopes(function):
        pairs = [(X + steps * e, X - steps * e, steps[:, j]) for j, e in enumerate(identity)]
        return np.stack(
            [
                ((function(a) - function(b)).T / (a[:, j] - b[:, j])).T
                for j, (a, b, _) in enumerate(pairs)
            ],
            axis=-1,
        )

    def log_density(X):
        return -0.5 * (transform.forward(X) ** 2).sum(axis=1) + transform.log_abs_det(X)

    def score(X):
        return transform.gradient(X, -transform.forward(X))

    jacobians = np.swapaxes(slopes(transform.forward), 1, 2)
    expected = np.linalg.slogdet(jacobians)[1]
    np.testing.assert_allclose(transform.log_abs_det(X), expected, atol=1e-4)
    units = np.exp(margins.log_abs_det(X)[:, None] / 5.0)
    size = np.abs(score(X)) + 1.0 / margins.scale + units
    assert (np.abs(score(X) - slopes(log_density)) < 1e-3 * size).all()
    hessian = transform.hessian(
        X, lambda: -transform.forward(X), np.tile(-identity, (len(X), 1, 1))
    )
    bends = slopes(score)
    assert (
        np.abs(hessian - bends) < 1e-2 * (np.abs(bends) + size[:, :, None] * size[:, None])
    ).all()
    np.testing.assert_allclose(hessian, hessian.swapaxes(1, 2), rtol=1e-12)


def test_rows_beyond_a_block_are_mapped_as_if_alone(margins, monkeypatch):
    X = columns(100, 3)
    whole = margins.forward(X), margins.log_abs_det(X)
    monkeypatch.setattr("skrae.density.columns.margins.BLOCK", 7)
    np.testing.assert_array_equal(margins.forward(X), whole[0])
    np.testing.assert_array_equal(margins.log_abs_det(X), whole[1])


def test_shared_work_gives_the_same(margins, random_seed):
    for transform in (margins, chain_of(margins, random_seed)):
        X = columns(50, random_seed)
        z, log_det = transform.forward_and_log_det(X)
        np.testing.assert_allclose(z, transform.forward(X), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(log_det, transform.log_abs_det(X), rtol=1e-12)


def slopes_of(chain, X):
    """The Jacobians dz/dx (n, d, d) of a chain, from what the tests above have checked."""
    _, first = chain.margins.forward_and_slopes(X)
    return chain.affine.matrix.T * (first / chain.margins.scale)[:, None, :]


def test_gradients_are_pulled_back_by_the_jacobian(margins, random_seed):
    """d/dz of a function of x: its gradient in x times dx/dz."""
    chain, X = chain_of(margins, random_seed), columns(30, random_seed)
    gradient = np.random.default_rng(random_seed).standard_normal(X.shape) / margins.scale
    jacobians = slopes_of(chain, X)
    expected = np.stack([np.linalg.solve(j.T, g) for j, g in zip(jacobians, gradient, strict=True)])
    np.testing.assert_allclose(chain.pull_back(X, gradient), expected, rtol=1e-5, atol=1e-7)


def test_covariances_follow_the_jacobian(margins, random_seed):
    chain, X = chain_of(margins, random_seed), columns(30, random_seed)
    jacobians = slopes_of(chain, X)
    root = np.random.default_rng(random_seed).standard_normal((5, 5))
    covariance = np.tile(root @ root.T, (30, 1, 1))
    inverse = np.linalg.inv(jacobians)
    expected = inverse @ covariance @ inverse.swapaxes(1, 2)
    units = margins.scale[:, None] * margins.scale
    found = chain.covariance(X, covariance)
    np.testing.assert_allclose(found / units, expected / units, rtol=1e-4, atol=1e-6)


def test_columns_and_matrix_are_the_map(margins, random_seed):
    chain, X = chain_of(margins, random_seed), columns(30, random_seed)
    inner, matrix, inverse = chain.by_columns()
    np.testing.assert_allclose(inner.forward(X) @ matrix, chain.forward(X), atol=1e-10)
    np.testing.assert_allclose(matrix @ inverse, np.eye(5), atol=1e-9)
    scaled = inner.scaled(np.full(5, 2.0))
    np.testing.assert_allclose(scaled.forward(X), 0.5 * inner.forward(X), atol=1e-12)
    np.testing.assert_allclose(scaled.inverse(scaled.forward(X)), X, rtol=1e-9, atol=1e-9)


# The fit


def test_mapped_columns_are_nearer_to_normal(margins):
    """Kolmogorov's distance to a normal column of the same moments falls, but for rounded ones."""
    X = columns(3000, 11)
    for j in range(4):
        before, after = X[:, j], margins.forward(X)[:, j]
        distances = [
            stats.kstest((c - c.mean()) / c.std(), "norm").statistic for c in (before, after)
        ]
        assert distances[1] < distances[0], j


def test_weights_act_as_repetitions():
    """Not to the digit: the number of rows, which the prior and the sizes depend on, is another."""
    X, held_out, ones = columns(300, 0), columns(100, 1), np.ones(100)
    counts = np.random.default_rng(2).integers(1, 4, 300)
    repeated = np.repeat(X, counts, axis=0)
    expected = fit_margins(repeated, np.ones(len(repeated)), held_out, ones).forward(held_out)
    gaps = [
        np.abs(fit_margins(X, weights, held_out, ones).forward(held_out) - expected).mean()
        for weights in (counts.astype(float), np.ones(300))
    ]
    assert gaps[0] < 0.6 * gaps[1]


def test_a_constant_column_keeps_its_unit():
    X = np.column_stack([np.full(50, 7.0), np.random.default_rng(0).standard_normal(50)])
    fit = fit_margins(X, np.ones(50), X[:10], np.ones(10))
    found = fit.forward(np.array([[7.0, 0.0], [9.0, 0.0]]))[:, 0]
    np.testing.assert_allclose(found, [7.0, 9.0], atol=1e-12)


def test_rounded_values_get_no_peaks_of_their_own():
    """A column of ten integers: no slope of the map beyond that of a cell's width."""
    rng = np.random.default_rng(0)
    X, held_out = rng.integers(0, 10, (4000, 1)) * 1.0, rng.integers(0, 10, (400, 1)) * 1.0
    fit = fit_margins(X, np.ones(4000), held_out, np.ones(400))
    x = np.linspace(0.0, 9.0, 1801)[:, None]
    slopes = np.exp(fit.log_abs_det(x))
    assert slopes.max() < 4.0 / fit.scale[0]


def test_margins_are_monotone_by_construction_of_their_knots(margins):
    assert (np.diff(margins.knots) > 0.0).all()
    assert (np.diff(margins.values) > 0.0).all()
    assert (margins.slopes > 0.0).all()
    assert isinstance(margins, Margins)
