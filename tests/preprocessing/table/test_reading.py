"""Holes in every guise, and what is no table."""

import datetime
import decimal

import numpy as np
import pytest
import torch

from skrae.preprocessing.table.reading import read_source
from skrae.preprocessing.table.table import describe

OBJECTS = [["a", 1.5, True], ["b", 2.5, False], ["a", 3.5, True]]


def objects(j, value):
    X = np.array(OBJECTS, dtype=object)
    X[1, j] = value
    return X


def holes(X):
    return np.stack([column.missing for column in read_source(X).columns], axis=1).tolist()


@pytest.mark.parametrize("hole", [None, np.nan, float("nan"), np.float32("nan")])
@pytest.mark.parametrize("j", [0, 1, 2])
def test_holes_of_objects(j, hole):
    expected = np.zeros((3, 3), bool)
    expected[1, j] = True
    assert holes(objects(j, hole)) == expected.tolist()
    assert describe(objects(j, hole)).features[j].n_observed == 2


def test_holes_of_pandas():
    pandas = pytest.importorskip("pandas")
    for hole in (pandas.NA, pandas.NaT, None, np.nan):
        frame = pandas.DataFrame(objects(0, hole))
        assert holes(frame)[1] == [True, False, False]
        frame = pandas.DataFrame(objects(1, hole))
        assert holes(frame)[1] == [False, True, False]
    columns = {
        "Int64": [1, None],
        "Float64": [1.0, None],
        "boolean": [True, None],
        "string": ["a", None],
        "str": ["a", None],
        "category": ["a", None],
        "float32": [1.0, None],
        "Sparse[float64]": [1.0, np.nan],
    }
    frame = pandas.DataFrame({k: pandas.Series(v, dtype=k) for k, v in columns.items()})
    assert holes(frame) == [[False] * 8, [True] * 8]


def test_holes_of_polars():
    polars = pytest.importorskip("polars")
    kinds = [polars.Int64, polars.Float32, polars.Boolean, polars.String, polars.Categorical]
    kinds += [polars.Enum(["a"]), polars.Decimal(5, 1), polars.Int8]
    values = [1, 1.5, True, "a", "a", "a", decimal.Decimal("1.5"), 3]
    series = [
        polars.Series(str(i), [value, None], dtype=kind)
        for i, (kind, value) in enumerate(zip(kinds, values, strict=True))
    ]
    frame = polars.DataFrame([*series, polars.Series("nan", [1.0, float("nan")])])
    assert holes(frame) == [[False] * 9, [True] * 9]


def test_masked_entries_and_tensors():
    masked = np.ma.masked_greater([[1, 2], [5, 3]], 4)
    assert holes(masked) == [[False, False], [True, False]]
    assert holes(torch.tensor([[1.0, float("nan")]])) == [[False, True]]


def test_a_missing_category_is_no_level():
    assert describe(objects(0, None)).kinds[0] == "constant"
    X = np.array([["a"], ["b"], [None], [np.nan]], dtype=object)
    assert describe(X).levels == (2,)
    assert describe(X).read(X).codes.ravel().tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (objects(0, 3), TypeError, r"numbers and strings in column 'x0' \(3 in row 1\)"),
        (objects(1, "3"), TypeError, "numbers and strings in column 'x1'"),
        (objects(1, [1.0]), TypeError, "Got list in column 'x1': each argument must be a string"),
        (objects(0, {"a": 1}), TypeError, "Got dict in column 'x0'"),
        (objects(1, 1j), TypeError, "Got complex in column 'x1'"),
        (objects(0, b"a"), TypeError, "Got bytes in column 'x0'"),
        (objects(1, datetime.date(2020, 1, 1)), TypeError, "Got date in column 'x1'"),
        (objects(1, 10**400), ValueError, "too large for float64 in column 'x1'"),
        (objects(1, np.inf), ValueError, "contains infinity .* in column 'x1'"),
        (np.array([[1.0], [np.inf]]), ValueError, "Input X contains infinity"),
        (np.array([[1j]]), ValueError, "Complex data not supported"),
        (np.array([["2020-01-01"]], dtype="M8[D]"), TypeError, r"dtype datetime64\[D\] in .*'x0'"),
        (np.array([[3]], dtype="m8[s]"), TypeError, r"dtype timedelta64\[s\] in column 'x0'"),
        (np.zeros(3), ValueError, "Expected 2D array, got 1D array"),
        (np.zeros((0, 2)), ValueError, "0 sample"),
        (np.zeros((2, 0)), ValueError, "0 feature"),
    ],
)
def test_arrays_that_are_no_tables(X, error, message):
    with pytest.raises(error, match=message):
        describe(X)


def test_sparse_matrices_are_no_tables():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="Sparse data was passed"):
        describe(sparse.csr_array(np.eye(3)))


def test_lists_of_strings_and_numbers_keep_them_apart():
    assert describe(OBJECTS).kinds == ("categorical", "continuous", "categorical")


def test_pandas_frames_that_are_no_tables():
    pandas = pytest.importorskip("pandas")
    dates = pandas.to_datetime(["2020-01-01", "2020-01-02"])
    bad = {
        "datetime64": dates,
        "timedelta64": dates - dates[0],
        "complex128": [1j, 2j],
        r"Got Period in": dates.to_period("D"),
        "Got Interval in": pandas.cut([1.0, 2.0], 2),
        "Got Timestamp in": pandas.Categorical(dates),
        "infinity": [1.0, np.inf],
        "Got list in": [[1], [2]],
    }
    for message, values in bad.items():
        frame = pandas.DataFrame({"fine": [1.0, 2.0], "bad one": values})
        with pytest.raises((TypeError, ValueError), match=f"{message}.* column 'bad one'"):
            describe(frame)
    with pytest.raises(ValueError, match=r"data frame of shape \(0, 1\)"):
        describe(frame[["fine"]][:0])
    with pytest.raises(ValueError, match=r"data frame of shape \(2, 0\)"):
        describe(frame[[]])


def test_polars_frames_that_are_no_tables():
    polars = pytest.importorskip("polars")
    bad = {
        "Date": [datetime.date(2020, 1, 1)] * 2,
        "Duration": [datetime.timedelta(1)] * 2,
        "List": [[1], [2]],
        "infinity": [1.0, float("inf")],
        "without any observed value": [None, None],
    }
    for message, values in bad.items():
        frame = polars.DataFrame({"fine": [1.0, 2.0], "bad one": values})
        with pytest.raises((TypeError, ValueError), match="'bad one'") as caught:
            describe(frame)
        assert message in str(caught.value)


def fitted():
    return describe(np.array(OBJECTS, dtype=object))


@pytest.mark.parametrize(
    ("j", "value", "message"),
    [
        (0, 1.0, "Got numbers in column 'x0', expected strings: it changed kind between fit and"),
        (1, "1.5", "Got strings in column 'x1', expected numbers: it changed kind between fit and"),
        (2, "yes", "Got strings in column 'x2', expected numbers: it changed kind"),
    ],
)
def test_a_column_that_changed_kind_raises(j, value, message):
    X = np.array(OBJECTS, dtype=object)
    X[:, j] = value
    with pytest.raises(ValueError, match=message):
        fitted().read(X)


def test_other_columns_than_those_of_the_fit_raise():
    with pytest.raises(ValueError, match="X has 2 features, but Table is expecting 3 features"):
        fitted().read(np.array(OBJECTS, dtype=object)[:, :2])
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [0.5, 1.5], "b": [1.5, 2.5]})
    table = describe(frame)
    with pytest.raises(ValueError, match=r"X has 1 features.*\['b'\] in one of them alone"):
        table.read(frame[["a"]])
    with pytest.raises(ValueError, match=r"X has 3 features.*\['c'\] in one of them alone"):
        table.read(frame.assign(c=1.0))
    for other in (frame[["b", "a"]], frame.rename(columns={"a": "c"})):
        with pytest.raises(ValueError, match=r"expected those of the fit in their order, \['a'"):
            table.read(other)
    np.testing.assert_array_equal(table.read(frame.to_numpy()).numeric, frame.to_numpy())
