"""Rows to views and back: rows(read(X)) is X, in its container and its dtypes."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skrae.preprocessing.table.table import Table, describe
from tests.preprocessing.table.tables import MAKERS, POLARS_MAKERS, assert_same

LIBRARIES = [
    pytest.param(*pair, id=pair[0]) for pair in (("pandas", MAKERS), ("polars", POLARS_MAKERS))
]


def columns_of(makers):
    """Strategies of a number of rows, a seed and names of columns."""
    names = st.lists(st.sampled_from(sorted(makers)), min_size=1, max_size=6)
    return st.tuples(st.integers(1, 80), st.integers(0, 2**16), names)


def frame_from(kind, makers, drawn):
    library = pytest.importorskip(kind)
    n, seed, names = drawn
    rng = np.random.default_rng(seed)
    columns = {f"{name} {j}": makers[name](library, n, rng) for j, name in enumerate(names)}
    return library.DataFrame(columns)


def back(table, X):
    view = table.read(X)
    return table.rows(view.numeric, view.codes)


@pytest.mark.parametrize(("kind", "makers"), LIBRARIES)
@given(data=st.data())
def test_frames_come_back_as_they_were(kind, makers, data):
    frame = frame_from(kind, makers, data.draw(columns_of(makers)))
    assert_same(back(describe(frame), frame), frame)


@pytest.mark.parametrize(("kind", "makers"), LIBRARIES)
@given(data=st.data())
def test_stored_tables_read_as_before(kind, makers, data):
    frame = frame_from(kind, makers, data.draw(columns_of(makers)))
    table = describe(frame)
    for other in (pickle.loads(pickle.dumps(table)), Table.from_state(table.state())):
        assert other == table
        assert_same(back(other, frame), frame)
        for part, same in zip(other.read(frame), table.read(frame), strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize(("kind", "makers"), LIBRARIES)
@given(data=st.data())
def test_holes_are_filled_with_what_was_there(kind, makers, data):
    """Holes in some rows of X: what the whole X says there gives X again."""
    frame = frame_from(kind, makers, data.draw(columns_of(makers)))
    table, (n, d) = describe(frame), frame.shape
    holes = np.random.default_rng(n).random((n, d)) < data.draw(st.sampled_from([0.1, 0.5]))
    view = table.read(frame)
    filled = table.completed(with_holes(frame, holes), view.numeric, view.codes)
    assert_same(filled, frame, dtypes=False)


def with_holes(frame, holes):
    if hasattr(frame, "mask"):
        return frame.mask(holes)
    masks = [type(frame.to_series())(~hole) for hole in holes.T]
    none = [column.clear(len(column)) for column in frame.get_columns()]
    parts = zip(frame.get_columns(), masks, none, strict=True)
    return frame.with_columns([column.zip_with(mask, gone) for column, mask, gone in parts])


@given(st.data())
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "u1", "?"])
def test_arrays_come_back_as_they_were(dtype, data):
    n, d = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 4)))
    digits = data.draw(st.sampled_from([0, 1, 15]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    X = np.abs(rng.normal(0.0, data.draw(st.sampled_from([0.5, 30.0])), (n, d)))
    X[rng.random((n, d)) < data.draw(st.sampled_from([0.0, 0.4]))] = 0.0
    X = np.round(X, digits).clip(0, 255).astype(dtype)
    found = back(describe(X), X)
    assert found.dtype == X.dtype
    np.testing.assert_array_equal(found, X)


@pytest.mark.parametrize("kind", [list, np.array])
def test_objects_come_back_as_objects(kind):
    rows = [["a", 1.5, True, 3], ["b", -2.0, False, 4], ["a", 0.25, True, 9]]
    X = kind(rows) if kind is list else kind(rows, dtype=object)
    found = back(describe(X), X)
    assert found.dtype == object
    assert found.tolist() == rows
    assert [type(value) for value in found[0]] == [str, float, bool, int]


def test_strings_of_numpy_come_back():
    X = np.array([["a", "long"], ["b", "x"], ["a", "x"]])
    found = back(describe(X), X)
    assert found.dtype == X.dtype
    np.testing.assert_array_equal(found, X)


def test_objects_of_numbers_alone_are_floats():
    X = np.array([[1, 2.5], [3, 4.5]], dtype=object)
    found = back(describe(X), X)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, X.astype(float))


def test_labels_of_columns_come_back():
    pandas = pytest.importorskip("pandas")
    for labels in ([3, 1], [("a", 1), ("b", 2)], ["same", "same"]):
        columns = pandas.MultiIndex.from_tuples(labels) if isinstance(labels[0], tuple) else labels
        frame = pandas.DataFrame([[1.5, "u"], [2.5, "v"]], columns=columns)
        pandas.testing.assert_frame_equal(back(describe(frame), frame), frame)
