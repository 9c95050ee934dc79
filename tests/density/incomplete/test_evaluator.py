"""Answers about incomplete rows, with a network and without: against quadrature and differences."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

from skrae.density.incomplete import evaluator as module
from skrae.density.incomplete.cells import Cells
from skrae.density.incomplete.evaluator import IncompleteEvaluator
from tests.density.incomplete.laws import (
    INF,
    UNITS,
    draws,
    evaluator_of_full_rows,
    every_hole,
    fillings,
    fitted_law,
    log_integral,
    punched,
)

LEVELS = (3, 2)
HOLES = [holes for holes in every_hole(2, LEVELS) if holes]
# Of numbers compared with their law by so many draws, in standard errors.
LIMIT, MANY = 5.0, 8192
SCALES = np.append(UNITS[:2], np.ones(5))


def law(head, seed=30, d=2, levels=LEVELS, dofs=None):
    return fitted_law(d, levels, seed, head=head, dofs=dofs)


def incomplete(fitted, steps=(0.0, 0.0)):
    return IncompleteEvaluator(evaluator_of_full_rows(fitted), Cells(np.array(steps)))


def rows_of(fitted, n, holes, seed=31, levels=LEVELS):
    return punched(draws(fitted, n, seed), 2, levels, holes)


def tilt_of(fitted):
    """f of full rows."""
    full = evaluator_of_full_rows(fitted)
    return lambda X: full.log_density(X) - full.base_log_density(X) + full.log_z


def relative_spread(fitted, row):
    """Standard deviation of exp f given what is observed, over its mean, under q."""
    full, tilt = evaluator_of_full_rows(fitted), tilt_of(fitted)
    rows, weights = fillings(fitted, row)
    log_q = full.base_log_density(rows) + weights
    f, total = tilt(rows), logsumexp(log_q)
    mean, square = (np.exp(logsumexp(log_q + k * f) - total) for k in (1, 2))
    return np.sqrt(max(square - mean**2, 0.0)) / mean


def conditional_means(fitted, row, function, size):
    """E and its standard deviation of function(full rows) under p given what is observed."""
    rows, weights = fillings(fitted, row)
    log_p = evaluator_of_full_rows(fitted).log_density(rows) + weights
    share = np.exp(log_p - logsumexp(log_p))
    values = function(rows).reshape(len(rows), size)
    mean = share @ values
    return mean, np.sqrt(share @ (values - mean) ** 2)


# The density


@pytest.mark.parametrize("holes", HOLES, ids=str)
def test_holes_are_integrated_out_of_the_model(holes, monkeypatch):
    fitted = law(head=1.0)
    rows = rows_of(fitted, 1 if {0, 1} <= set(holes) else 3, holes)
    full = evaluator_of_full_rows(fitted).log_density
    expected = np.array([log_integral(fitted, full, row) for row in rows])
    spread = np.array([relative_spread(fitted, row) for row in rows])
    assert (spread > 1e-3).all()  # the network says something of what is missing
    found = incomplete(fitted).log_density(rows)
    assert (np.abs(found - expected) < LIMIT * spread / 8.0).all()
    monkeypatch.setattr(module, "N_POINTS", MANY)
    found = incomplete(fitted).log_density(rows)
    assert (np.abs(found - expected) < LIMIT * spread / MANY**0.5 + 2e-4).all()


def test_a_missing_category_is_the_sum_over_its_levels(monkeypatch):
    fitted = law(head=1.0)
    row = rows_of(fitted, 1, (2,))
    levels = np.repeat(row, 3, axis=0)
    levels[:, 2:5] = np.eye(3)
    total = logsumexp(evaluator_of_full_rows(fitted).log_density(levels))
    monkeypatch.setattr(module, "N_POINTS", MANY)
    found = incomplete(fitted).log_density(row)
    assert abs(found - total) < LIMIT * relative_spread(fitted, row[0]) / MANY**0.5


def test_a_cell_is_the_mean_of_the_model_over_it():
    fitted, h = law(head=1.0), 6.0
    rows = rows_of(fitted, 4, ())
    u = h * ((np.arange(2000) + 0.5) / 2000 - 0.5)
    full = evaluator_of_full_rows(fitted).log_density
    expected = [logsumexp(full(row + np.outer(u, np.eye(7)[1]))) - np.log(len(u)) for row in rows]
    assert_allclose(incomplete(fitted, (0.0, h)).log_density(rows), expected, rtol=0, atol=1e-3)


def test_holes_beside_cells_are_integrated_out_of_the_model(monkeypatch):
    fitted, h = law(head=1.0), 6.0
    row = rows_of(fitted, 1, (0, 3))
    u = h * ((np.arange(16) + 0.5) / 16 - 0.5)
    full = evaluator_of_full_rows(fitted).log_density
    each = [log_integral(fitted, full, row[0] + v * np.eye(7)[1], n=501) for v in u]
    expected, spread = logsumexp(each) - np.log(16), relative_spread(fitted, row[0])
    found = incomplete(fitted, (0.0, h)).log_density(row)
    assert abs(found - expected) < LIMIT * spread / 8.0
    monkeypatch.setattr(module, "N_POINTS", MANY)
    found = incomplete(fitted, (0.0, h)).log_density(row)
    assert abs(found - expected) < LIMIT * spread / MANY**0.5 + 1e-3


def test_the_base_density_is_that_without_a_network():
    with_one, without = law(head=1.0), law(head=0.0)
    rows = rows_of(with_one, 6, (0, 2))
    found = incomplete(with_one, (0.0, 5.0)).base_log_density(rows)
    assert_array_equal(found, incomplete(without, (0.0, 5.0)).base_log_density(rows))
    assert_array_equal(found, incomplete(without, (0.0, 5.0)).log_density(rows))


@pytest.mark.parametrize("head", [0.0, 1.0])
def test_a_row_of_only_holes_is_certain(head):
    """log of the mass, which is exp(-log Z) E_q exp f, of as many draws as there are."""
    fitted = law(head)
    found = incomplete(fitted).log_density(np.full((1, 7), np.nan))[0]
    expected = -fitted.log_z
    if head:
        rows = draws(fitted, 200_000, seed=32)
        f = tilt_of(fitted)(rows)
        expected += logsumexp(f) - np.log(len(f))
        assert abs(found - expected) < LIMIT * np.exp(f - logsumexp(f)).std() * len(f) / 8.0
    else:
        assert abs(found) < 1e-12


# Derivatives


def differences(function, row, axis, step):
    """First and second central differences along one axis, and (n, d) ones of a gradient."""
    shift = step * np.eye(len(row))[axis]
    return (function((row + shift)[None]) - function((row - shift)[None])) / (2.0 * step)


def seen_numbers(row):
    return [j for j in range(2) if not np.isnan(row[j])]


@pytest.mark.parametrize("steps", [(0.0, 0.0), (0.0, 6.0), (0.3, 6.0)])
@pytest.mark.parametrize("dofs", [None, [INF, 3.0, INF]])
@pytest.mark.parametrize("holes", [(), (0,), (2,), (1, 3), (0, 1)], ids=str)
def test_derivatives_of_the_base_are_those_of_the_exact_marginal(holes, dofs, steps):
    fitted = law(head=0.0, dofs=dofs)
    row = rows_of(fitted, 1, holes)[0]
    own = incomplete(fitted, steps)
    gradient, hessian = own.gradient(row[None])[0], own.hessian(row[None])[0]
    expected, bends = np.zeros(7), np.zeros((7, 7))
    for j in seen_numbers(row):
        expected[j] = differences(own.log_density, row, j, 1e-4 * SCALES[j])[0]
        bends[:, j] = differences(own.gradient, row, j, 1e-4 * SCALES[j])[0]
    assert_allclose(gradient * SCALES, expected * SCALES, rtol=0, atol=1e-5)
    assert_allclose(
        hessian * SCALES * SCALES[:, None], bends * SCALES * SCALES[:, None], rtol=0, atol=1e-4
    )
    assert_allclose(hessian, hessian.T, rtol=0, atol=1e-9)


@pytest.mark.parametrize("steps", [(0.0, 6.0), (0.3, 6.0)])
def test_derivatives_of_a_cell_are_those_of_its_points(steps):
    """With a network, no holes: its log density is one of fixed points."""
    fitted = law(head=1.0)
    row = rows_of(fitted, 1, ())[0]
    own = incomplete(fitted, steps)
    gradient, hessian = own.gradient(row[None])[0], own.hessian(row[None])[0]
    for j in range(2):
        slope = differences(own.log_density, row, j, 1e-4 * SCALES[j])[0]
        assert_allclose(gradient[j] * SCALES[j], slope * SCALES[j], rtol=0, atol=1e-5)
        bend = differences(own.gradient, row, j, 1e-4 * SCALES[j])[0]
        assert_allclose(hessian[j] * SCALES * SCALES[j], bend * SCALES * SCALES[j], atol=1e-4)
    assert not gradient[2:].any()
    assert not hessian[2:].any()
    assert not hessian[:, 2:].any()


@pytest.mark.parametrize("holes", [(0,), (2,), (0, 3)], ids=str)
def test_derivatives_of_rows_with_holes_are_those_of_the_quadrature(holes, monkeypatch):
    fitted = law(head=1.0)
    row = rows_of(fitted, 1, holes)[0]
    full = evaluator_of_full_rows(fitted).log_density

    def marginal(rows):
        return np.array([log_integral(fitted, full, own) for own in rows])

    monkeypatch.setattr(module, "N_POINTS", MANY)
    own = incomplete(fitted)
    gradient, hessian = own.gradient(row[None])[0], own.hessian(row[None])[0]
    middle = marginal(row[None])[0]
    for j in seen_numbers(row):
        step = 1e-2 * SCALES[j]
        shift = step * np.eye(7)[j]
        above, below = marginal((row + shift)[None])[0], marginal((row - shift)[None])[0]
        bend = (above - 2.0 * middle + below) / step**2
        assert abs(gradient[j] * SCALES[j] - (above - below) / 2e-2) < 0.05
        assert abs(hessian[j, j] - bend) * SCALES[j] ** 2 < 0.15
    unseen = np.setdiff1d(np.arange(7), seen_numbers(row))
    assert not gradient[unseen].any()
    assert not hessian[unseen].any()
    assert not hessian[:, unseen].any()


# Draws and means


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize(("holes", "steps"), [((0,), 0.0), ((2,), 0.0), ((0, 3), 6.0), ((1,), 0.0)])
def test_draws_have_the_law_of_the_model_given_what_is_observed(holes, steps, repeats):
    fitted, n = law(head=1.0), 1000
    steps = (0.0, steps)
    rows, found = rows_of(fitted, 3, holes), np.zeros((3, n, 7))
    effective = incomplete(fitted, steps).draws(rows, n, 5, found.__setitem__, repeats)
    assert ((effective > 0.0) & (effective <= 1.0)).all()
    for row, own, share in zip(rows, found, effective, strict=True):
        seen = ~np.isnan(row)
        assert (own[:, seen] == row[seen]).all()
        assert np.isin(own[:, 2:], [0.0, 1.0]).all()
        mean, spread = conditional_means(fitted, row, lambda X: X, 7)
        # Draws of draws: the variances of both add up.
        error = spread * np.sqrt(1.0 / n + 1.0 / (share * 1024))
        slack = 0.1 * spread if steps[1] else 1e-9
        assert (np.abs(own.mean(axis=0) - mean)[~seen] < (LIMIT * error + slack)[~seen]).all()
        second, spread = conditional_means(fitted, row, lambda X, mean=mean: (X - mean) ** 2, 7)
        error = spread * np.sqrt(1.0 / n + 1.0 / (share * 1024))
        slack = 0.1 * second if steps[1] else 1e-9
        found_second = ((own - mean) ** 2).mean(axis=0)
        assert (np.abs(found_second - second)[~seen] < (LIMIT * error + slack)[~seen]).all()


def test_draws_of_the_base_are_taken_as_they_come():
    fitted = law(head=0.0)
    rows, found = rows_of(fitted, 4, (0, 2)), np.zeros((4, 300, 7))
    effective = incomplete(fitted).draws(rows, 300, 5, found.__setitem__, False)
    assert_array_equal(effective, 1.0)
    assert len(np.unique(found[0, :, 0])) == 300


def test_equal_rows_get_equal_draws_only_where_they_are_to():
    fitted = law(head=1.0)
    rows = np.repeat(rows_of(fitted, 1, (0,)), 2, axis=0)
    for repeats in (True, False):
        found = np.zeros((2, 5, 7))
        incomplete(fitted).draws(rows, 5, 1, found.__setitem__, repeats)
        assert (found[0] == found[1]).all() == repeats
    other = np.zeros((2, 5, 7))
    incomplete(fitted).draws(rows, 5, 2, other.__setitem__, False)
    assert (other != found)[..., 0].any()


@pytest.mark.parametrize("holes", [(0,), (2, 3)], ids=str)
def test_codes_are_means_over_what_is_missing(holes, monkeypatch):
    fitted = law(head=1.0)
    full = evaluator_of_full_rows(fitted)
    rows = rows_of(fitted, 2, holes)
    monkeypatch.setattr(module, "N_POINTS", MANY)
    found = incomplete(fitted).code(rows)
    for row, own in zip(rows, found, strict=True):
        mean, spread = conditional_means(fitted, row, full.code, full.code_size)
        assert (np.abs(own - mean) < LIMIT * 1.5 * spread / MANY**0.5 + 1e-4).all()


# Of its row alone


@pytest.mark.parametrize("head", [0.0, 1.0])
@pytest.mark.parametrize("is_cell", [False, True])
@pytest.mark.parametrize(("d", "levels"), [(3, ()), (4, (2,)), (9, ())])
def test_answers_depend_on_their_row_alone(d, levels, head, is_cell):
    """Bit by bit, in any batch and order, also where blocks of rows have many sizes."""
    fitted, n = law(head, d=d, levels=levels), 90
    rows = draws(fitted, n, seed=33)
    patterns = [holes for holes in every_hole(d, levels) if len(holes) in (0, 1, d)]
    for holes in patterns[1:8]:
        own = slice(len(holes), n, 2 * len(patterns[:8]))
        rows[own] = punched(rows[own], d, levels, holes)
    own = incomplete(fitted, [0.0] * (d - 1) + [0.5 * is_cell])
    order = np.random.default_rng(0).permutation(n)
    some = np.append(np.arange(3), np.flatnonzero(np.isnan(rows).any(axis=1))[:4])
    for question in ("log_density", "base_log_density", "gradient", "hessian"):
        answer = getattr(own, question)
        if question == "hessian":
            order = order[:60]
        together = answer(rows) if question != "hessian" else answer(rows[:20])
        asked = order[order < len(together)]
        assert_array_equal(answer(rows[asked]), together[asked], question)
        some = some[some < len(together)]
        alone = np.concatenate([answer(rows[i : i + 1]) for i in some])
        assert_array_equal(alone, together[some], question)
    found, alone = np.zeros((n, 3, rows.shape[1])), np.zeros((n, 3, rows.shape[1]))
    own.draws(rows, 3, 0, found.__setitem__, True)
    for i in some:
        own.draws(rows[i : i + 1], 3, 0, lambda _, part, i=i: alone.__setitem__([i], part), True)
    assert_array_equal(found[some], alone[some])


def test_a_row_too_far_is_refused():
    fitted = law(head=1.0)
    row = rows_of(fitted, 1, (0,))
    row[0, 1] = 1e300
    with pytest.raises(ValueError, match="spreads from the data"):
        incomplete(fitted).log_density(row)
