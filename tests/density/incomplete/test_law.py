"""Incomplete rows under a base density: quadrature, enumeration and distribution functions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import norm

from skrae.density.incomplete.cells import Cells
from skrae.density.incomplete.law import N_POINTS, RawRows, RowLaw, full_rows, lattice
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.affine import AffineMap
from skrae.preprocessing.beside import Beside
from skrae.preprocessing.table.table import View
from tests.density.incomplete.laws import (
    INF,
    UNITS,
    draws,
    evaluator_of_full_rows,
    every_hole,
    fitted_law,
    log_integral,
    punched,
)

LAWS = {
    "numbers": (2, (), [INF, INF, 3.0]),
    "both": (2, (3, 2), None),
    "heavy": (1, (2,), [INF, 2.0, INF]),
}


def law_of(fitted, steps=None):
    base = MixtureDensity(*fitted.base)
    steps = np.zeros(base.n_numeric) if steps is None else np.array(steps)
    return RowLaw(fitted.transform, base, Cells(steps))


def cases():
    for name, (d, levels, dofs) in LAWS.items():
        for holes in every_hole(d, levels):
            yield pytest.param(d, levels, dofs, holes, id=f"{name}-{holes}")


@pytest.mark.parametrize(("d", "levels", "dofs", "holes"), list(cases()))
def test_holes_are_integrated_out(d, levels, dofs, holes):
    fitted = fitted_law(d, levels, seed=3, dofs=dofs)
    n_rows, tolerance = (1, 2e-4) if {0, 1} <= set(holes) and d > 1 else (3, 3e-5)
    rows = punched(draws(fitted, n_rows, seed=4), d, levels, holes)
    full = evaluator_of_full_rows(fitted).log_density
    expected = [log_integral(fitted, full, row) for row in rows]
    assert_allclose(law_of(fitted).log_density(rows), expected, rtol=0, atol=tolerance)
    if len(holes) == d + len(levels):
        assert_allclose(expected, 0.0, atol=tolerance)


def normal_law(mean, sd):
    """One Gaussian column."""
    affine = AffineMap.diagonal(np.array([mean]), np.array([sd]))
    base = MixtureDensity([1.0], np.zeros((1, 1)), np.ones((1, 1, 1)), [INF])
    return affine, base


@pytest.mark.parametrize(("step", "tolerance"), [(0.1, 1e-6), (1.0, 2e-5), (4.0, 1.2e-3)])
def test_a_cell_of_one_gaussian_column_is_a_difference_of_its_cdf(step, tolerance):
    law = RowLaw(*normal_law(3.0, 2.0), Cells([step]))
    x = 3.0 + step * np.arange(-3.0, 4.0)
    upper, lower = norm.cdf(x + step / 2, 3.0, 2.0), norm.cdf(x - step / 2, 3.0, 2.0)
    found = law.log_density(x[:, None])
    assert_allclose(found, np.log((upper - lower) / step), rtol=0, atol=tolerance)


def test_a_cell_is_the_mean_of_the_density_over_it():
    """Of one curved column of cells beside another number, for every pattern of holes."""
    fitted = fitted_law(2, (2,), seed=5)
    law, full = law_of(fitted, [0.0, 8.0]), evaluator_of_full_rows(fitted).log_density
    u = 8.0 * ((np.arange(2000) + 0.5) / 2000 - 0.5)
    for holes in ((), (0,), (2,), (0, 2)):
        row = punched(draws(fitted, 1, seed=6), 2, (2,), holes)
        within = np.repeat(row, len(u), axis=0)
        within[:, 1] += u
        if 0 in holes:
            expected = [log_integral(fitted, full, r, n=401) for r in within[::40]]
        elif holes:
            expected = [log_integral(fitted, full, r) for r in within[::20]]
        else:
            expected = full(within)
        expected = logsumexp(expected) - np.log(len(expected))
        assert_allclose(law.log_density(row), expected, rtol=0, atol=2e-3)


def test_cells_of_two_columns_are_means_over_rectangles():
    fitted = fitted_law(2, (), seed=7)
    law, steps = law_of(fitted, [0.7, 14.0]), np.array([0.7, 14.0])
    rows = draws(fitted, 6, seed=8)
    grid = (np.arange(60) + 0.5) / 60 - 0.5
    offsets = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    full = evaluator_of_full_rows(fitted).log_density
    expected = [logsumexp(full(row + steps * offsets)) - np.log(len(offsets)) for row in rows]
    assert_allclose(law.log_density(rows), expected, rtol=0, atol=0.05)
    assert_allclose(law.log_density(rows, 8192), expected, rtol=0, atol=1e-3)


def test_masses_of_all_cells_and_levels_add_up_to_one():
    fitted = fitted_law(1, (3,), seed=9)
    law, step = law_of(fitted, [0.5]), 0.5
    x = step * np.arange(-200, 201)
    rows = np.hstack([np.repeat(x, 3)[:, None], np.tile(np.eye(3), (len(x), 1))])
    assert_allclose(np.exp(law.log_density(rows)).sum() * step, 1.0, atol=1e-4)


def test_the_hole_of_a_cell_is_the_sum_over_all_cells():
    fitted = fitted_law(2, (), seed=10)
    law = law_of(fitted, [0.0, 5.0])
    row = draws(fitted, 1, seed=11)
    cells = np.repeat(row, 801, axis=0)
    cells[:, 1] = 5.0 * np.arange(-400, 401)
    total = logsumexp(law.log_density(cells)) + np.log(5.0)
    row[:, 1] = np.nan
    assert_allclose(law.log_density(row), total, rtol=0, atol=1e-4)


def test_units_shift_log_densities_by_the_observed_columns_alone():
    fitted = fitted_law(2, (2,), seed=12)
    rows, scale = draws(fitted, 4, seed=13), 7.0
    affine = fitted.transform.inner.affine
    margins = fitted.transform.inner.margins
    wider = type(margins)(
        margins.location * [1.0, scale], margins.scale * [1.0, scale], *margins.parts()[2:]
    )
    other = fitted._replace(transform=Beside(type(fitted.transform.inner)(wider, affine), 2))
    for holes, shift in (((), np.log(scale)), ((0,), np.log(scale)), ((1,), 0.0), ((1, 2), 0.0)):
        own = punched(rows, 2, (2,), holes)
        found = law_of(other).log_density(own * np.array([1.0, scale, 1.0, 1.0]))
        assert_allclose(found, law_of(fitted).log_density(own) - shift, rtol=0, atol=1e-9)


# Draws


def test_draws_within_a_cell_and_of_holes_are_those_of_the_law():
    """Moments given what is observed, by quadrature."""
    fitted = fitted_law(2, (3,), seed=14, dofs=None)
    law, n = law_of(fitted, [0.0, 30.0]), 40_000
    row = punched(draws(fitted, 1, seed=15), 2, (3,), (0, 2))
    found = law.drawn(np.repeat(row, 8, axis=0), n // 8, np.random.RandomState(0)).reshape(n, -1)

    within = np.repeat(row, 200, axis=0)
    within[:, 1] += 30.0 * ((np.arange(200) + 0.5) / 200 - 0.5)
    full = evaluator_of_full_rows(fitted).log_density
    u = np.linspace(-5.0, 5.0, 101)
    x, weights = UNITS[0] * np.sinh(u), np.log(np.cosh(u))
    grid = np.array(
        [[value, place, *level] for value in x for place in within[:, 1] for level in np.eye(3)]
    )
    log_p = full(grid) + np.repeat(weights, 600)
    share = np.exp(log_p - logsumexp(log_p))
    expected = share @ grid
    spread = np.sqrt(share @ (grid - expected) ** 2 / n)
    assert (np.abs(found.mean(axis=0) - expected) < 5.0 * spread + [0, 30.0 / 32, 0, 0, 0]).all()
    assert (np.abs(found[:, 1] - row[0, 1]) <= 15.0 + 1e-9).all()
    assert len(np.unique(found[:, 1])) > 100  # the lattice moves from row to row
    second = share @ grid[:, 0] ** 2
    error = np.sqrt(share @ (grid[:, 0] ** 2 - second) ** 2 / n)
    assert abs((found[:, 0] ** 2).mean() - second) < 5.0 * error


def test_draws_keep_what_is_observed():
    fitted = fitted_law(2, (3,), seed=16)
    rows = draws(fitted, 9, seed=17)
    for holes in every_hole(2, (3,)):
        own = punched(rows, 2, (3,), holes)
        found = law_of(fitted).drawn(own, 4, np.random.RandomState(1))
        seen = ~np.isnan(own)
        assert_array_equal(found[:, 0][seen], own[seen])
        assert np.isfinite(found).all()
        assert_allclose(found[:, :, 2:].sum(axis=2), 1.0)
        assert np.isin(found[:, :, 2:], [0.0, 1.0]).all()


# Rows


def test_full_rows_of_a_view():
    view = View(np.array([[1.0], [np.nan]]), np.array([[1, -1], [0, 2]]), np.zeros(2))
    nan = np.nan
    expected = [[1.0, 0.0, 1.0, nan, nan, nan], [nan, 1.0, 0.0, 0.0, 0.0, 1.0]]
    assert_array_equal(full_rows(view, (2, 3)), expected)


def test_rows_are_complete_without_holes_and_cells():
    X = np.zeros((2, 1))
    assert RawRows(X, Cells(np.zeros(1)), ()).are_complete
    assert not RawRows(X, Cells(np.ones(1)), ()).are_complete
    assert not RawRows(np.array([[np.nan], [0.0]]), Cells(np.zeros(1)), ()).are_complete


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_lattice_points_are_spread_evenly(d):
    """No axis has a gap, and the mean of products is that of the cube."""
    points = lattice(N_POINTS, d)
    assert points.shape == (N_POINTS, d)
    assert ((points > 0.0) & (points < 1.0)).all()
    for axis in points.T:
        gaps = np.diff(np.sort(axis), append=1.0 + axis.min())
        assert gaps.max() < 0.13
    assert abs(lattice(4096, d).prod(axis=1).mean() - 0.5**d) < 2e-3


@pytest.mark.parametrize("repeats", [False, True])
def test_blocks_hold_rows_of_one_pattern_each_row_once(repeats):
    fitted = fitted_law(2, (2,), seed=18)
    rows = draws(fitted, 50, seed=19)
    rows[::3, 0] = np.nan
    rows[::5, 2:] = np.nan
    law, found = law_of(fitted), []
    for index, own, keys in law.blocks(rows, 8, repeats=repeats):
        assert len(own) == len(keys) == 8
        assert_array_equal(own[: len(index)], rows[index])
        assert (np.isnan(own) == np.isnan(own[0])).all()
        found += index.tolist()
    assert sorted(found) == list(range(50))


def test_patterns_beyond_those_that_are_kept_are_made_anew(monkeypatch):
    from skrae.density.incomplete import law as module

    fitted = fitted_law(2, (3, 2), seed=20)
    rows = draws(fitted, 16, seed=21)
    for row, holes in zip(range(16), every_hole(2, (3, 2)), strict=True):
        rows[row] = punched(rows[row : row + 1], 2, (3, 2), holes)[0]
    expected = law_of(fitted).log_density(rows)
    monkeypatch.setattr(module, "MAX_PATTERNS", 3)
    law = law_of(fitted)
    assert_array_equal(law.log_density(rows), expected)
    assert len(law._marginals) <= 3
