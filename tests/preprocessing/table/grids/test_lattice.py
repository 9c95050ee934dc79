"""Grids of rounded values: found exactly in spite of rounding, and not where there are none."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrae.preprocessing.table.grids.lattice import find_lattice


@pytest.mark.parametrize(
    ("step", "offset"),
    [(0.1, 0.0), (0.25, 0.125), (1.0, 0.0), (0.3, 0.1), (5.0, 2.0), (0.001, 0.0005), (1e6, 0.0)],
)
@pytest.mark.parametrize("place", [0, 1000, -40])
def test_step_and_offset_of_decimal_grids(step, offset, place, random_seed):
    counts = np.unique(np.random.default_rng(random_seed).integers(-30, 31, 80)) + place
    counts = np.unique(np.r_[counts, place, place + 1])
    points = np.array([float(Fraction(str(step)) * int(k) + Fraction(str(offset))) for k in counts])
    found = find_lattice(points)
    assert found.step == step
    assert (found.offset - offset) % step == pytest.approx(0.0, abs=1e-12 * step)
    np.testing.assert_array_equal(found.snap(points), points)
    # Near the grid is what was there, as it is written in decimals.
    noise = np.random.default_rng(random_seed + 1).uniform(-0.45, 0.45, len(points)) * step
    np.testing.assert_array_equal(found.snap(points + noise), points)


@given(
    st.lists(st.integers(-200, 200), min_size=3, max_size=40, unique=True),
    st.integers(1, 10**6),
    st.integers(-(10**6), 10**6),
)
def test_integers_have_the_greatest_common_divisor(counts, step, offset):
    points = np.array(sorted(counts), dtype=float) * step + offset
    found = find_lattice(points)
    assert found.step == np.gcd.reduce(np.diff(sorted(counts))) * step
    assert ((points - found.offset) % found.step == 0.0).all()
    np.testing.assert_array_equal(found.snap(points), points)


@pytest.mark.parametrize(
    ("points", "step"),
    [([0.0, 0.6, 1.6, 3.1], 0.1), ([0.0, 1.0, 2.4], 0.2), ([-2.1, 0.0, 1.4, 5.6], 0.7)],
)
def test_differences_without_the_step_itself(points, step):
    """Steps of 6, 10 and 15 tenths have the step of a tenth, which none of them is."""
    assert find_lattice(np.array(points)).step == step


def test_grid_after_a_change_of_units():
    fahrenheit = np.unique(np.random.default_rng(0).integers(300, 1000, 500)) / 10.0
    celsius = (fahrenheit - 32.0) * 5.0 / 9.0
    found = find_lattice(celsius)
    assert found.step == pytest.approx(1.0 / 18.0, rel=1e-12)
    np.testing.assert_array_equal(found.snap(celsius), celsius)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("place", [0.0, 300.0])
def test_numbers_of_float32_have_its_rounding(kind, place):
    points = place + np.round(np.random.default_rng(0).uniform(-5, 5, 300), 1)
    points = np.unique(points.astype("f4"))
    found = find_lattice(points.astype("f8"), precision=float(np.finfo(kind).eps))
    assert found.step == 0.1
    np.testing.assert_array_equal(found.snap(points.astype("f8")).astype("f4"), points)


def test_values_that_rounding_took_apart_are_one():
    found = find_lattice(np.array([0.1, 0.2, 0.3, 0.1 + 0.2, 0.5]))
    assert found.step == 0.1
    assert found.snap(np.array([0.1 + 0.2]))[0] == 0.1 + 0.2


@pytest.mark.parametrize(
    "points",
    [
        [0.0, 1.0, np.sqrt(2.0)],
        np.sort(np.random.default_rng(1).standard_normal(40)),
        np.sort(np.random.default_rng(1).standard_normal(40).astype("f4").astype("f8")),
        [-1e200, 0.0, 1e200],
        [0.0, 5e-324],
        [0.0, 1e60, np.sqrt(2.0) * 1e60],
    ],
)
def test_no_grid(points):
    assert find_lattice(np.array(points)) is None


def test_least_step_bounds_the_step():
    points = np.array([0.0, 0.6, 1.6, 3.1])
    assert find_lattice(points, least=0.09).step == 0.1
    assert find_lattice(points, least=0.11) is None
    assert find_lattice(10.0 * points, least=0.9).step == 1.0
    assert find_lattice(np.rint(10.0 * points), least=1.1) is None


def test_holes_stay_holes():
    found = find_lattice(np.array([1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(found.snap(np.array([np.nan, 2.2])), [np.nan, 2.0])
