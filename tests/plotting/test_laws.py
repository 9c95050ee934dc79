"""Displays of laws: what is drawn is what the laws say, of any container; errors."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skrae import DensityRegressor
from skrae.plotting import ConditionalDisplay, DensityDisplay
from tests.density.incomplete.tables import fitted, mixed_frame, quick, quietly

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")
Figure = matplotlib.figure.Figure


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return rng.standard_normal((300, 3)) @ [[1.0, 0.8, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]]


@pytest.fixture(scope="module")
def model(rows):
    return fitted(rows, select=None)


@pytest.fixture(scope="module")
def raw():
    return fitted(mixed_frame(pd, 200))


def conditional(*args, **options):
    return ConditionalDisplay.from_estimator(*args, ax=Figure().subplots(), **options)


def test_a_fan_is_of_the_quantiles_given_the_column_alone(model, rows):
    display = conditional(model, rows, feature=0, target=1, n_places=7)
    given = np.full((7, 3), np.nan)
    given[:, 0] = display.places
    law = model.conditional(1, given)
    assert_array_equal(display.quantiles, law.quantile([0.05, 0.25, 0.5, 0.75, 0.95]))
    assert_array_equal(display.line_.get_ydata(), display.quantiles[:, 2])
    assert display.names == ("x0", "x1")
    low, high = np.quantile(rows[:, 0], [0.01, 0.99])
    assert_allclose(display.places[[0, -1]], [low, high])
    for band, (i, j) in zip(display.bands_, [(0, 4), (1, 3)], strict=True):
        heights = band.get_paths()[0].vertices[:, 1]
        assert heights.min() == display.quantiles[:, i].min()
        assert heights.max() == display.quantiles[:, j].max()
    assert_array_equal(display.scatter_.get_offsets(), rows[:, :2])
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["90 %", "50 %", "median", "rows"]


def test_others_are_held_at_a_row(model, rows):
    given = np.array([[9.0, np.nan, 1.5]])
    display = conditional(model, rows, feature=0, target=1, given=given, n_places=5)
    expected = np.column_stack([display.places, np.full(5, np.nan), np.full(5, 1.5)])
    assert_array_equal(display.quantiles[:, 2], model.conditional(1, expected).quantile(0.5))


def test_a_regressor_has_its_target(rows):
    regressor = quietly(DensityRegressor(quick()).fit, rows[:, :2], rows[:, 2])
    display = conditional(
        regressor, rows[:, :2], rows[:, 2], feature=1, levels=(0.1, 0.9), n_points=50
    )
    assert display.line_ is None
    assert len(display.bands_) == 1
    assert display.ax_.get_ylabel() == "y"
    assert len(display.scatter_.get_offsets()) == 50
    assert conditional(regressor, rows[:, :2], feature=1).scatter_ is None
    with pytest.raises(ValueError, match="Got target=1 for a regressor, expected None"):
        conditional(regressor, rows[:, :2], feature=0, target=1)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_any_container_will_do(raw):
    frame = mixed_frame(pd, 60, seed=1)
    tables = frame, mixed_frame(pl, 60, seed=1), frame.astype(object).to_numpy()
    found = []
    for X in tables:
        feature, target = (1, 2) if isinstance(X, np.ndarray) else ("x", "k")
        found.append(conditional(raw, X, feature=feature, target=target, n_places=6).quantiles)
    for quantiles in found[1:]:
        assert_array_equal(quantiles, found[0])


def test_marginals_are_drawn(model, rows):
    figure = Figure()
    display = DensityDisplay.from_estimator(
        model, rows, features=[2, 0], n_places=40, axes=figure.subplots(2, 2)
    )
    assert display.names == ["x2", "x0"]
    first = model.marginal(2)
    assert_allclose(display.lines_[0].get_ydata(), np.exp(first.score_samples(display.grids[0])))
    point = [[display.grids[0][8], display.grids[1][12]]]
    density = np.exp(model.marginal([2, 0]).score_samples(point))[0]
    assert_allclose(display.planes[1, 0][3, 2], density, rtol=1e-6)
    assert_array_equal(display.scatters_[1, 0].get_offsets(), rows[:, [2, 0]])
    assert not display.axes_[0, 1].axison
    assert display.figure_ is figure


def test_contours_hold_their_share_of_the_rows(model, rows):
    display = DensityDisplay.from_estimator(model, rows, features=[0, 1])
    heights = display.contours_[1, 0].levels
    density = np.exp(model.marginal([0, 1]).score_samples(rows[:, :2]))
    for height, share in zip(heights, (0.9, 0.5, 0.1), strict=True):
        found = (density > height).mean()
        assert abs(found - share) < 4.0 * np.sqrt(share * (1.0 - share) / len(rows))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"feature": 0}, ValueError, "Got target=None, expected the column"),
        ({"feature": 0, "target": "z"}, ValueError, "Got target with 'z'"),
        ({"feature": 7, "target": 1}, ValueError, "Got feature with 7"),
        ({"feature": 0, "target": 1, "n_places": 1}, ValueError, "n_places=1"),
        (
            {"feature": 0, "target": 1, "given": np.ones((2, 3))},
            ValueError,
            r"Got given of shape \(2, 3\), expected \(1, 3\)",
        ),
    ],
)
def test_bad_arguments_raise(model, rows, options, error, message):
    with pytest.raises(error, match=message):
        conditional(model, rows, **options)


def test_categories_are_no_axes(raw):
    frame = mixed_frame(pd, 20)
    with pytest.raises(ValueError, match="expected a column of numbers"):
        conditional(raw, frame, feature="c", target="x")
    with pytest.raises(ValueError, match="expected a column of numbers"):
        DensityDisplay.from_estimator(raw, frame)


def test_an_estimator_without_laws_is_refused(rows):
    with pytest.raises(TypeError, match="ConditionalDisplay of object without conditional"):
        conditional(object(), rows, feature=0, target=1)
    with pytest.raises(TypeError, match="DensityDisplay of object without marginal"):
        DensityDisplay.from_estimator(object(), rows)
