"""Peers of the benchmark of raw tables: each is a distribution, and near a known one."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tests.benchmarks import raw_categories
from tests.benchmarks.raw_chain import Bins, Chain
from tests.benchmarks.raw_data import Rows, Schema, cell_points, grid_step
from tests.benchmarks.raw_joint_peers import MixtureByCategory, Vine, mean_over_cells
from tests.benchmarks.raw_peers import (
    Guarded,
    IndependentColumns,
    LatentClasses,
    chosen,
    log_cell_mass,
)

STEPS = {"half": 0.5, "count": 1.0}
N = 400


def frame(rng, n=N):
    """Two numbers on grids and two categories, all of which depend on a hidden class."""
    k = rng.integers(2, size=n)
    return pd.DataFrame(
        {
            "half": 0.5 * np.round(2.0 * rng.normal(4.0 * k, 1.0)) + 0.25,
            "letter": pd.Categorical(np.array(list("abc"))[(k + (rng.random(n) < 0.2))]),
            "count": rng.poisson(1.0 + 3.0 * k),
            "is_one": pd.Categorical(rng.random(n) < 0.2 + 0.6 * k),
        }
    )


@pytest.fixture
def rng(random_seed):
    return np.random.default_rng(random_seed)


@pytest.fixture
def table(rng):
    whole = frame(rng)
    return whole, Schema.of(whole)


def all_rows(schema, halves, counts):
    """Every row of a box of the grid."""
    halves = schema.origins["half"] + 0.5 * np.arange(*halves)
    parts = itertools.product(halves, np.arange(*counts), *map(range, schema.sizes))
    values = np.array(list(parts))
    return Rows(values[:, :2], values[:, 2:].astype(int))


def mass(model, rows, widths):
    return np.exp(model.log_density(rows)).sum() * widths.prod()


def makes(schema):
    independent = IndependentColumns(schema, 0, repeats=True)
    return {
        "independent": independent,
        "latent": LatentClasses(schema, 0, 4),
        "by category": MixtureByCategory(schema, 0, 1e-4),
        "chain": Chain(schema, 0),
    }


def test_the_schema_is_that_of_the_frame_and_back(table):
    whole, schema = table
    assert schema.steps == STEPS
    assert schema.sizes == (3, 2)
    rows = schema.encode(whole)
    pd.testing.assert_frame_equal(schema.decode(rows).astype(whole.dtypes), whole)
    np.testing.assert_allclose(schema.snapped(rows.numbers + 0.2), rows.numbers)
    holed = whole.assign(half=whole["half"].where(whole.index > 0)).astype({"count": "Float64"})
    assert schema.encode(holed).is_complete.tolist() == [False, *[True] * (N - 1)]


def test_steps_are_the_largest_that_fit():
    assert grid_step([3800.0, 2700.0, 6325.0]) == 25.0
    assert grid_step([5.32, 28.99, 5.33]) == pytest.approx(0.01)
    with pytest.raises(ValueError, match="Got values that are on no grid"):
        grid_step([0.1, np.pi])


@pytest.mark.parametrize("width", [1e-7, 1e-3, 0.1, 2.0])
@pytest.mark.parametrize("low", [-40.0, -1.0, -0.05, 0.3, 20.0])
def test_mass_of_a_cell_is_its_integral(low, width):
    """phi(low) times the integral of exp(-low t - t^2 / 2) over 0 .. width."""
    integral = quad(lambda t: np.exp(-low * t - 0.5 * t**2), 0.0, width, epsabs=0.0)[0]
    found = log_cell_mass(np.array([low]), np.array([low + width]))[0]
    assert found == pytest.approx(norm.logpdf(low) + np.log(integral), abs=1e-6)


@pytest.mark.parametrize("name", ["independent", "latent", "by category", "chain"])
def test_all_rows_of_the_grid_share_a_mass_of_one(name, table):
    whole, schema = table
    model = makes(schema)[name].fit(schema.encode(whole))
    found = mass(model, all_rows(schema, (-20, 40), (-12, 30)), schema.widths)
    # The Cauchy tail of 1 / (n + 1) has about a tenth of its mass outside of each column's range.
    assert found == pytest.approx(1.0, abs=1.5e-3)
    assert found < 1.0 + 1e-4


def test_a_vine_of_counted_numbers_has_the_mass_of_its_range(table):
    pytest.importorskip("pyvinecopulib")
    whole, schema = table
    model = Vine(schema, 0).fit(schema.encode(whole))
    found = mass(model, all_rows(schema, (0, 30), (0, 14)), schema.widths)
    assert found == pytest.approx(1.0, abs=0.02)


def test_a_vine_of_a_zero_inflated_number_has_a_mass_of_one(rng):
    pytest.importorskip("pyvinecopulib")
    flag = rng.random(N) < 0.5
    spend = np.where(rng.random(N) < 0.2 + 0.4 * flag, 0.0, 0.02 * np.ceil(rng.gamma(4.0, 20.0, N)))
    whole = pd.DataFrame({"spend": spend, "flag": pd.Categorical(flag)})
    schema = Schema.of(whole, {"spend": 0.02})
    model = Vine(schema, 0).fit(schema.encode(whole))
    assert model.is_inflated.tolist() == [True]
    places = np.array(list(itertools.product(0.02 * np.arange(400), range(2))))
    rows = Rows(places[:, :1], places[:, 1:].astype(int))
    p = np.exp(model.log_density(rows)) * 0.02
    assert p.sum() == pytest.approx(1.0, abs=0.03)
    assert p[:2].sum() == pytest.approx((spend == 0.0).mean(), abs=0.03)


def test_likelihood_of_latent_classes_never_falls(table):
    whole, schema = table
    rows = schema.encode(whole)
    few = LatentClasses(schema, 0, 2).fit(rows)
    one = LatentClasses(schema, 0, 1).fit(rows)
    assert few.log_density(rows).mean() > one.log_density(rows).mean() + 0.5


def test_a_hole_is_the_sum_over_what_may_be_there(table):
    whole, schema = table
    model = LatentClasses(schema, 0, 4).fit(schema.encode(whole))
    rows = all_rows(schema, (-20, 40), (-12, 30))
    one = (rows.numbers[:, 0] == rows.numbers[0, 0] + 10.0) & (rows.codes[:, 1] == 1)
    total = np.log(np.exp(model.log_density(rows.take(one))).sum() * STEPS["count"])
    holed = Rows(np.array([[rows.numbers[0, 0] + 10.0, np.nan]]), np.array([[-1, 1]]))
    assert model.log_density(holed)[0] == pytest.approx(total, abs=1e-9)
    independent = IndependentColumns(schema, 0).fit(schema.encode(whole))
    nothing = Rows(np.full((1, 2), np.nan), np.full((1, 2), -1))
    assert model.log_density(nothing)[0] == pytest.approx(0.0, abs=1e-12)
    assert independent.log_density(nothing)[0] == 0.0


@pytest.mark.parametrize("name", ["independent", "latent", "by category", "chain"])
def test_draws_are_on_the_grid_and_as_frequent_as_the_density_says(name, table, random_seed):
    whole, schema = table
    model = makes(schema)[name].fit(schema.encode(whole))
    draws = model.sample(20_000, np.random.default_rng(random_seed))
    np.testing.assert_allclose(schema.snapped(draws.numbers), draws.numbers, atol=1e-9)
    rows = all_rows(schema, (-20, 40), (-12, 30))
    p = np.exp(model.log_density(rows)) * schema.widths.prod()
    for code in range(3):
        share = p[rows.codes[:, 0] == code].sum()
        error = np.sqrt(share * (1.0 - share) / 20_000)
        assert abs((draws.codes[:, 0] == code).mean() - share) < 5.0 * error + 3e-3
    mean = (p @ rows.numbers[:, 0]) / p.sum()
    assert draws.numbers[:, 0].mean() == pytest.approx(mean, abs=5.0 * 2.5 / 20_000**0.5 + 0.03)


def test_joint_peers_beat_independent_columns_on_fresh_rows(table, random_seed):
    whole, schema = table
    fresh = schema.encode(frame(np.random.default_rng(1000 + random_seed), 2000))
    train = schema.encode(whole)
    found = {
        name: Guarded(model.fit(train), makes(schema)["independent"].fit(train), N)
        .log_density(fresh)
        .mean()
        for name, model in makes(schema).items()
    }
    assert min(found["latent"], found["by category"]) > found["independent"] + 0.3
    assert found["chain"] > found["independent"] + 0.1


def test_bins_share_out_the_grid():
    x = np.concatenate([np.zeros(100), np.arange(1, 101)])
    bins = Bins(x, 1.0)
    assert bins.sizes.sum() == 101
    assert bins.sizes[bins.codes(np.zeros(1))[0]] == 1
    assert bins.codes(np.array([-1.0, 101.0])).tolist() == [-1, -1]
    codes = np.arange(len(bins)).repeat(50)
    drawn = bins.draw(codes, np.random.default_rng(0))
    np.testing.assert_array_equal(bins.codes(drawn), codes)


def test_points_of_a_cell_are_even_along_each_axis():
    points = cell_points(5)
    for axis in points.T:
        np.testing.assert_allclose(np.sort(axis), (np.arange(16) + 0.5) / 16 - 0.5)
    # The mean over a cell of a linear function is its value in the middle.
    rows = Rows(np.zeros((3, 5)), np.zeros((3, 0), int))
    found = mean_over_cells(lambda r: np.log(7.0 + r.numbers.sum(axis=1)), rows, np.ones(5))
    np.testing.assert_allclose(found, np.log(7.0))


def test_held_out_rows_choose_the_size(table):
    whole, schema = table
    sizes = {k: lambda k=k: LatentClasses(schema, 0, k) for k in (1, 2, 100)}
    best, model = chosen(sizes, schema.encode(whole), 0)
    assert best == 2
    assert len(model.weights) == 2


@pytest.mark.parametrize("name", raw_categories.TAKES_HOLES)
def test_peers_that_take_holes_are_fitted_to_them(name, table):
    whole, schema = table
    rows = schema.encode(whole)
    rows.numbers[:50, 0], rows.codes[50:90, 1] = np.nan, -1
    found = raw_categories.fit_peer(name, rows, schema, 0).log_density(rows)
    assert np.isfinite(found).all()
