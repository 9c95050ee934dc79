"""The display of outliers: which rows and columns it shows, with which values and names."""

import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.ensemble import IsolationForest

from skrae import DensityOutlierDetector
from skrae.plotting import OutlierDisplay

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")

X = load_wine().data


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def detector():
    return DensityOutlierDetector(random_state=0).fit(X)


def test_lowest_scores_come_first_with_their_largest_contributions(detector):
    display = OutlierDisplay.from_estimator(detector, X, n_rows=4, n_columns=5)
    lowest = np.argsort(detector.score_samples(X))[:4]
    assert display.row_names == [str(i) for i in lowest]
    contributions = detector.explain(X[lowest])
    columns = np.sort(np.argsort(-contributions.max(axis=0))[:5])
    assert display.feature_names == [f"x{j}" for j in columns]
    np.testing.assert_array_equal(display.contributions, contributions[:, columns])
    np.testing.assert_array_equal(display.image_.get_array(), contributions[:, columns])
    texts = [text.get_text() for text in display.texts_]
    assert texts == [f"{value:g}" for value in X[np.ix_(lowest, columns)].ravel()]


def test_colours_diverge_from_zero():
    display = OutlierDisplay.from_values([[0.5, -2.0], [1.0, 0.0]])
    assert display.image_.get_clim() == (-2.0, 2.0)
    assert display.row_names == ["1", "0"]
    assert display.texts_ == []
    assert display.plot(vmax=3.0).image_.get_clim() == (-3.0, 3.0)
    assert OutlierDisplay.from_values(np.zeros((2, 2))).image_.get_clim() == (-1.0, 1.0)
    norm = display.image_.norm
    np.testing.assert_allclose(norm([0.0, 0.5]) - 0.5, [0.0, (norm(1.0) - 0.5) / 2.0])


def test_values_are_written_in_four_digits_without_exponents():
    rows = np.array([[0.123456, 1940.0], [38.5, 123456.0]])
    display = OutlierDisplay.from_values(np.eye(2), X=rows)
    assert [text.get_text() for text in display.texts_] == ["0.1235", "1940", "38.5", "123500"]


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_name_their_rows_and_columns(kind):
    library = pytest.importorskip(kind)
    frame = library.DataFrame({"size": [0.0, 1.0, 2.0, 90.0] * 9, "kind": ["a", "b", "a", "c"] * 9})
    if kind == "pandas":
        frame.index = [f"row {i}" for i in range(len(frame))]
    model = DensityOutlierDetector(random_state=0).fit(frame)
    display = OutlierDisplay.from_estimator(model, frame, n_rows=2)
    assert display.feature_names == ["size", "kind"]
    first = int(np.argmin(model.score_samples(frame)))
    assert display.row_names[0] == (f"row {first}" if kind == "pandas" else str(first))
    assert display.values[0] == ["90", "c"]


def test_axes_given_are_drawn_on(detector):
    ax = matplotlib.figure.Figure().subplots()
    display = OutlierDisplay.from_estimator(detector, X, ax=ax, cmap="PuOr")
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.image_.get_cmap().name == "PuOr"
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_rows": 0}, ValueError, "Got n_rows=0, expected an integer >= 1"),
        ({"n_columns": 1.5}, TypeError, r"Got n_columns=1\.5, expected an integer"),
        ({"feature_names": ["a"]}, ValueError, "Got 1 feature_names, expected 13"),
    ],
)
def test_bad_options_raise(detector, options, error, message):
    with pytest.raises(error, match=message):
        OutlierDisplay.from_estimator(detector, X, **options)
    assert plt.get_fignums() == []


def test_bad_row_names_raise():
    with pytest.raises(ValueError, match="Got 1 row_names, expected 2, one per row"):
        OutlierDisplay.from_values(np.ones((2, 2)), row_names=["a"])


def test_detectors_that_explain_nothing_are_refused():
    forest = IsolationForest(random_state=0, n_estimators=5).fit(X)
    with pytest.raises(TypeError, match="Got OutlierDisplay of IsolationForest without explain"):
        OutlierDisplay.from_estimator(forest, X)
