"""Preferred values: masses add up, draws follow them, and chance makes none."""

import numpy as np
import pytest
from scipy import stats

from skrae.preprocessing.table.grids.heaps import Heaps, find_heaps
from skrae.preprocessing.table.grids.lattice import find_lattice
from skrae.preprocessing.table.table import Table, describe

N = 4000


def heaped(n=N, seed=0):
    """Normal sums in cents, of which half are told in tens."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(500.0, 100.0, n), 2)
    return np.where(rng.random(n) < 0.5, 10.0 * np.round(x / 10.0), x)


@pytest.fixture(scope="module")
def table():
    return describe(heaped()[:, None])


@pytest.fixture(scope="module")
def heaps(table):
    return table.features[0].heaps


def test_preferred_values_are_found(table, heaps):
    assert table.kinds == ("heaps",)
    values = np.array(heaps.values)
    # Three rows share another value by chance now and then.
    assert (values % 10.0 == 0.0).mean() > 0.9
    assert set(range(320, 690, 10)) <= set(heaps.values)
    assert table.steps.tolist() == [0.01]


def test_shares_of_an_interval_and_its_others_are_one(heaps):
    of = np.searchsorted(heaps.edges, heaps.values, side="right") - 1
    total = np.exp(heaps.log_others) + np.bincount(
        of, np.exp(heaps.log_shares), len(heaps.log_others)
    )
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)


def test_mass_of_the_grid_is_nearly_that_of_the_smooth_law(table, heaps):
    step, law = table.steps[0], stats.norm(500.0, 100.0)
    grid = np.round(np.arange(-100.0, 1100.0, step), 2)
    middles, lengths, log_weights = heaps.intervals(grid, step)
    mass = law.cdf(middles + lengths / 2.0) - law.cdf(middles - lengths / 2.0)
    total = (step * np.exp(log_weights) * mass / lengths).sum()
    # Of the others, what the law has in the cells of preferred values themselves is lost.
    assert 1.0 - len(heaps.values) * step * law.pdf(500.0) < total <= 1.0 + 1e-9


def test_intervals_hold_their_values_and_holes_stay(heaps):
    x = np.array([500.0, 500.01, np.nan, -1e6, 1e6])
    middles, lengths, log_weights = heaps.intervals(x, 0.01)
    assert (np.abs(middles[0] - 500.0) <= lengths[0] / 2.0).all()
    assert lengths[0] > 1.0
    np.testing.assert_array_equal(middles[1:], x[1:])
    np.testing.assert_array_equal(lengths[1:], 0.01)
    assert log_weights[0] > 0.0 > log_weights[1]
    np.testing.assert_array_equal(log_weights[2:], 0.0)


def test_quantiles_of_uniform_numbers_have_the_shares(heaps):
    n_each, interval = 100_000, len(heaps.log_others) // 2
    low, high = heaps.edges[interval : interval + 2]
    x = heaps.quantiles(low + (high - low) * (np.arange(n_each) + 0.5) / n_each)
    assert (np.diff(x) >= 0.0).all()
    assert ((x >= low) & (x <= high)).all()
    for value, log_share in zip(heaps.values, heaps.log_shares, strict=True):
        if low < value < high:
            assert abs((x == value).mean() - np.exp(log_share)) <= 2.0 / n_each
    others = x[~np.isin(x, heaps.values)]
    assert abs(len(others) / n_each - np.exp(heaps.log_others[interval])) <= 20.0 / n_each
    # What is at no preferred value is spread evenly.
    assert stats.kstest((others - low) / (high - low), "uniform").statistic < 1e-3


def test_quantiles_leave_what_is_outside(heaps):
    x = np.array([heaps.edges[0] - 1.0, heaps.edges[-1] + 1.0])
    np.testing.assert_array_equal(heaps.quantiles(x), x)


def test_draws_keep_heaps_and_grid(table):
    rng = np.random.default_rng(1)
    drawn = table.rows(rng.normal(500.0, 100.0, (N, 1)), np.empty((N, 0), int))[:, 0]
    share = (drawn % 10.0 == 0.0).mean()
    assert abs(share - 0.5) < 5.0 * np.sqrt(0.25 / N)
    np.testing.assert_array_equal(drawn, np.round(drawn, 2))


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: np.round(rng.normal(0.0, 100.0, N)),
        lambda rng: np.round(rng.normal(0.0, 30.0, N)),
        lambda rng: np.round(rng.exponential(1000.0, N)),
        lambda rng: rng.poisson(3.0, N).astype(float),
        lambda rng: rng.poisson(200.0, N).astype(float),
    ],
    ids=["normal", "narrow", "exponential", "poisson", "large poisson"],
)
@pytest.mark.parametrize("seed", range(3))
def test_chance_makes_no_heaps(draw, seed):
    x = draw(np.random.default_rng(seed))[:, None]
    assert "heaps" not in describe(x).kinds


def test_state_round_trip(table):
    again = Table.from_state(table.state())
    assert again.features[0].heaps == table.features[0].heaps
    assert isinstance(again.features[0].heaps, Heaps)


def test_kinds_that_are_asked_for():
    x = heaped()[:, None]
    assert describe(x, column_kinds="continuous").kinds == ("continuous",)
    assert describe(x, column_kinds="cells").features[0].heaps is None
    few = np.array([[1.0], [1.0], [2.0], [3.5]])
    assert describe(few, column_kinds="heaps").features[0].heaps.values == (1.0,)
    with pytest.raises(ValueError, match="do not repeat"):
        describe(few[1:], column_kinds="heaps")
    with pytest.raises(ValueError, match="no common grid"):
        describe(np.array([[0.0], [0.0], [1.0], [np.sqrt(2.0)]]), column_kinds="heaps")


def test_no_heaps_without_gain():
    points, counts = np.arange(100.0), np.full(100, 20)
    assert find_heaps(points, counts, find_lattice(points), points.std()) is None


@pytest.mark.parametrize("deviation", [0.0, 3.5e-18])
def test_one_value_but_for_a_row_has_no_heaps(deviation):
    """As a sensor that stood still; the deviation is rounding."""
    points, counts = np.array([-3.01923339e-02, 3.31209903e01]), np.array([1097, 1])
    assert find_heaps(points, counts, find_lattice(points), deviation) is None
