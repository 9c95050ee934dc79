"""Frames in, frames out: draws and completed rows in the container that the rows came in."""

import pickle
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV

from skrae import RAESampler
from skrae.preprocessing.rows import as_frame, completed_as, frame_of
from tests.density.estimators import quick_estimator

NAMES = ["height", "width"]
ROWS = np.random.default_rng(0).standard_normal((40, 2))
LIBRARIES = ("pandas", "polars")


def frame(kind, X=ROWS, names=NAMES):
    """The rows as a data frame of the library, whose tests skip without it."""
    library = pytest.importorskip(kind)
    if kind == "polars":
        return library.DataFrame(X, schema=names, orient="row")
    return library.DataFrame(X, columns=names)


@pytest.fixture(scope="module", params=LIBRARIES)
def kind(request):
    pytest.importorskip(request.param)
    return request.param


@pytest.fixture(scope="module")
def fitted(kind):
    return quick_estimator(max_iter=6).fit(frame(kind))


@pytest.fixture(scope="module")
def plain():
    return quick_estimator(max_iter=6).fit(ROWS)


def sampler(estimator):
    return RAESampler(estimator, n_chains=4, n_warmup=8, random_state=0)


def test_draws_are_a_frame_of_the_kind_and_columns_of_the_fit(kind, fitted, plain):
    search = GridSearchCV(quick_estimator(), {"max_iter": [6]}, cv=2).fit(frame(kind))
    draws = fitted.sample(5, random_state=0)
    assert_array_equal(draws.to_numpy(), plain.sample(5, random_state=0))
    for rows in (draws, sampler(fitted).sample(5), sampler(search).sample(5)):
        assert isinstance(rows, type(frame(kind)))
        assert list(rows.columns) == NAMES
        assert rows.shape == (5, 2)
    assert fitted.score_samples(draws).shape == (5,)


@pytest.mark.filterwarnings("ignore:The chains")
def test_draws_by_chains_are_a_frame(kind):
    model = quick_estimator(max_iter=20, noise_level=0.5).fit(frame(kind))
    model.coefs_[-1] = model.coefs_[-1] + 0.1
    assert not model._sampling_target().is_base
    assert list(sampler(model).sample(3).columns) == NAMES
    assert isinstance(sampler(model).sample_chains(4).draws, np.ndarray)


def test_float32_stays_float32():
    draws = quick_estimator(max_iter=6).fit(frame("pandas", ROWS.astype("f4"))).sample(3)
    assert draws.to_numpy().dtype == np.float32


def test_an_array_after_a_frame_gives_arrays(kind):
    model = quick_estimator(max_iter=6).fit(frame(kind)).fit(ROWS)
    assert isinstance(model.sample(3), np.ndarray)


def test_a_stored_model_keeps_it_and_an_older_one_gives_arrays(fitted, kind):
    loaded = pickle.loads(pickle.dumps(fitted))
    assert list(loaded.sample(3).columns) == NAMES
    del loaded._fitted_frame  # as states were before
    assert isinstance(pickle.loads(pickle.dumps(loaded)).sample(3), np.ndarray)


def test_a_frame_that_is_not_there_is_told(fitted, kind, monkeypatch):
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.warns(UserWarning, match=f"Got a model of a {kind} data frame, but no {kind}"):
        assert isinstance(fitted.sample(3), np.ndarray)


@pytest.mark.parametrize(
    "columns", [[10, 20], [("a", 1), ("a", 2)], range(2)], ids=["numbers", "levels", "default"]
)
def test_columns_without_string_names_are_kept(columns):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(ROWS, columns=pd.Index(columns))
    pd.testing.assert_index_equal(as_frame(ROWS, frame_of(X)).columns, X.columns, exact="equiv")


def test_displays_take_the_names(kind, fitted):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    from skrae.plotting import PairDisplay

    axes = figure.subplots(2, 2)
    display = PairDisplay.from_chains(fitted.sample(20, random_state=0), X=frame(kind), axes=axes)
    assert display.feature_names == NAMES


def test_nothing_is_imported_for_arrays(monkeypatch):
    for library in LIBRARIES:
        monkeypatch.delitem(sys.modules, library, raising=False)
    assert frame_of(ROWS) is None
    assert not set(LIBRARIES) & set(sys.modules)


# Completed rows


@pytest.mark.parametrize("foreign", [False, True])
def test_imputed_rows_are_a_frame_of_what_arrays_give(kind, fitted, plain, foreign):
    holes = np.where([[True, False], [False, True], [False, False]], np.nan, ROWS[:3])
    models = fitted, plain
    if foreign:
        models = (GaussianMixture(random_state=0).fit(X) for X in (frame(kind), ROWS))
    found, expected = (
        sampler(model).impute(X, 4)
        for model, X in zip(models, (frame(kind, holes), holes), strict=True)
    )
    assert isinstance(found, type(frame(kind)))
    assert list(found.columns) == NAMES
    assert_array_equal(found.to_numpy(), expected)
    draws = sampler(fitted).sample_conditional(frame(kind, holes), 4)
    assert isinstance(draws, np.ndarray)
    assert draws.shape == (3, 4, 2)


def test_index_and_dtypes_of_pandas_are_kept():
    """Floats stay what they are, complete columns whatever they are; other holes become floats."""
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame({"a": [np.nan, 1.0], "b": [1, 2], "c": [1.0, 2.0]}, index=["x", "y"])
    X = X.astype({"a": "float32", "c": "Float64"}).assign(d=pd.array([1, None], dtype="Int64"))
    X.iloc[1, 2] = pd.NA
    before = X.copy()
    found = completed_as(X, np.array([[5.0, 1.0, 1.0, 1.0], [1.0, 2.0, 7.0, 2.5]]))
    expected = pd.DataFrame(
        {"a": [5.0, 1.0], "b": [1, 2], "c": [1.0, 7.0], "d": [1.0, 2.5]}, index=["x", "y"]
    ).astype({"a": "float32", "c": "Float64"})
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(X, before)
    assert len(completed_as(X, np.ones((1, 4)))) == 1  # after an interrupt


def test_dtypes_of_polars_are_kept():
    pl = pytest.importorskip("polars")
    X = pl.DataFrame(
        {"a": [None, 1.0], "b": [1, 2], "c": [1, None]}, schema_overrides={"a": pl.Float32}
    )
    found = completed_as(X, np.array([[5.0, 1.0, 1.0], [1.0, 2.0, 2.5]]))
    assert found.rows() == [(5.0, 1, 1.0), (1.0, 2, 2.5)]
    assert found.dtypes == [pl.Float32, pl.Int64, pl.Float64]
