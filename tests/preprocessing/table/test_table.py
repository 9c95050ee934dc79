"""Views of rows at question time, rows of views, and holes filled."""

import sys

import numpy as np
import pytest

from skrae.preprocessing.rows import FRAME_LIBRARIES
from skrae.preprocessing.table.table import describe
from tests.preprocessing.table.tables import assert_same

RNG = np.random.default_rng(0)
N = 60
# A continuous column, integers, a spike at 0, strings, a number that is always 7.
MIXED = np.empty((N, 5), dtype=object)
MIXED[:, 0] = RNG.standard_normal(N).tolist()
MIXED[:, 1] = RNG.poisson(3.0, N).tolist()
MIXED[:, 2] = np.where(RNG.random(N) < 0.5, 0.0, RNG.standard_normal(N)).tolist()
MIXED[:, 3] = RNG.choice(["a", "b", "c"], N).tolist()
MIXED[:, 4] = 7
TABLE = describe(MIXED)


def ask(*rows):
    return TABLE.read(np.array(rows, dtype=object))


def test_what_a_mixed_table_is_made_of():
    assert TABLE.kinds == ("continuous", "cells", "atoms", "categorical", "constant")
    assert TABLE.levels == (2, 3)
    assert TABLE.steps.tolist() == [0.0, 1.0, 0.0]
    assert TABLE.numeric_of.tolist() == [0, 1, 2, -1, -1]
    assert TABLE.code_of.tolist() == [-1, -1, 0, 1, -1]
    assert not TABLE.is_plain


def test_view_of_atoms_levels_and_holes():
    view = ask([0.5, 3, 0.0, "b", 7], [None, np.nan, 2.5, None, None], [1, 2, None, "a", 7])
    np.testing.assert_array_equal(
        view.numeric, [[0.5, 3.0, np.nan], [np.nan, np.nan, 2.5], [1.0, 2.0, np.nan]]
    )
    assert view.codes.tolist() == [[1, 1], [0, -1], [-1, 0]]
    assert (view.numeric.dtype, view.codes.dtype) == (np.float64, np.int64)
    assert view.log_floor[1] == 0.0


def test_floor_is_a_share_for_all_levels_never_seen():
    """Known levels and the others together have the mass that all levels have: one."""
    view = ask([0.0, 3, 0.5, "a", 7], [0.0, 3, 0.5, "z", 7], [0.0, 3, 0.5, None, 8])
    known, unseen = np.log(N / (N + 1)), -np.log(N + 1)
    np.testing.assert_allclose(view.log_floor, [2 * known, unseen + known, unseen], rtol=1e-14)
    assert view.codes[:, 1].tolist() == [0, -1, -1]
    assert np.exp(known) + np.exp(unseen) == pytest.approx(1.0, rel=1e-14)


def test_floor_counts_the_observed_entries_of_its_column():
    X = MIXED.copy()
    X[:25, 3] = None
    view = describe(X).read(X)
    np.testing.assert_allclose(view.log_floor[:25], np.log(N / (N + 1)), rtol=1e-13)
    np.testing.assert_allclose(view.log_floor[25:], np.log(N / (N + 1)) + np.log(35 / 36))


def test_declared_categories_are_levels_seen_or_not():
    pandas = pytest.importorskip("pandas")
    kind = pandas.CategoricalDtype(["u", "never", "v"])
    table = describe(pandas.DataFrame({"a": pandas.Series(["u", "v"] * 5, dtype=kind)}))
    assert table.levels == (3,)
    view = table.read(pandas.DataFrame({"a": ["never", "other"]}))
    assert view.codes.ravel().tolist() == [1, -1]
    np.testing.assert_allclose(view.log_floor, [np.log(10 / 11), -np.log(11)])
    alone = describe(pandas.DataFrame({"a": pandas.Categorical(["u"] * 3)}))
    assert alone.kinds == ("constant",)


def test_numbers_off_the_grid_are_what_they_are():
    assert ask([0.0, 2.25, 1.0, "a", 7]).numeric[0, 1] == 2.25


def test_a_row_of_holes_is_a_view_of_nothing():
    view = ask([None] * 5)
    assert np.isnan(view.numeric).all()
    assert (view.codes == -1).all()
    assert view.log_floor.tolist() == [0.0]


def test_take_takes_all_three_parts():
    view = TABLE.read(MIXED)
    for index in ([3, 1], slice(2, 4), np.arange(N) == 5):
        for part, whole in zip(view.take(index), view, strict=True):
            np.testing.assert_array_equal(part, whole[index])


def test_levels_of_float32_are_those_of_float64():
    X = np.repeat([0.1, 0.7], 20)[:, None]
    for fit, question in ((X, X.astype("f4")), (X.astype("f4"), X)):
        assert describe(fit).read(question).codes.ravel().tolist() == [0] * 20 + [1] * 20
    near = describe(X).read(np.nextafter(X, 1.0))
    assert (near.codes == -1).all()


def test_rows_are_snapped_rounded_and_decoded():
    rows = TABLE.rows([[0.25, 2.6, 9.0], [1.0, 1.2, 0.5]], [[1, 2], [0, 0]])
    assert rows.tolist() == [[0.25, 3, 0.0, "c", 7], [1.0, 1, 0.5, "a", 7]]
    assert isinstance(rows[0, 1], int)


def test_integers_that_are_continuous_are_integers():
    table = describe([["a", 3], ["b", 1000], ["a", 4]])
    assert table.kinds == ("categorical", "continuous")
    rows = table.rows([[7.6], [7.4]], [[0], [1]])
    assert rows.tolist() == [["a", 8], ["b", 7]]
    assert isinstance(rows[0, 1], int)


def test_rows_of_integers_are_the_nearest_that_their_type_holds():
    X = RNG.binomial(5, 0.5, (50, 2)).astype("u1") * np.array([1, 50], "u1")
    rows = describe(X).rows([[-4.2, 149.0], [300.0, 1e30]], np.zeros((2, 0)))
    assert rows.dtype == np.uint8
    assert rows.tolist() == [[0, 150], [255, 255]]


def test_rows_that_float32_does_not_hold_raise():
    table = describe(RNG.standard_normal((5, 1)).astype("f4"))
    with pytest.raises(ValueError, match="overflows float32"):
        table.rows([[1e39]], np.zeros((1, 0)))


@pytest.mark.parametrize(
    ("numeric", "codes", "message"),
    [
        ([[0.0, 1.0]], [[0, 0]], r"shapes \(1, 2\) and \(1, 2\), expected \(1, 3\) and \(1, 2\)"),
        ([[0.0, 1.0, 2.0]], [[0, -1]], r"codes of column 'x3' outside 0 .. 2"),
        ([[0.0, 1.0, 2.0]], [[2, 0]], r"codes of column 'x2' outside 0 .. 1"),
        ([[0.0, np.nan, 2.0]], [[0, 0]], r"numbers of column 'x1' that are not finite"),
        ([[0.0, 1.0, np.nan]], [[0, 0]], r"numbers of column 'x2' that are not finite"),
    ],
)
def test_rows_of_incomplete_views_raise(numeric, codes, message):
    with pytest.raises(ValueError, match=message):
        TABLE.rows(numeric, codes)


def test_completed_keeps_what_was_observed():
    X = np.array([[0.5, 2.25, None, "z", 8], [None, None, 1.5, None, None]], dtype=object)
    nan = np.nan
    found = TABLE.completed(X, [[nan, nan, 0.7], [0.1, 3.8, nan]], [[0, -1], [-1, 2]])
    assert found.tolist() == [[0.5, 2.25, 0.7, "z", 8], [0.1, 4, 1.5, "c", 7]]
    assert X[1, 0] is None
    at_atom = TABLE.completed(X[:1], [[nan, nan, nan]], [[1, -1]])
    assert at_atom[0, 2] == 0.0
    with pytest.raises(ValueError, match="Got 2 rows to complete X of 1 rows with"):
        TABLE.completed(X[:1], np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="codes of column 'x3' outside"):
        TABLE.completed(X, [[nan, nan, 0.7], [0.1, 3.8, nan]], [[0, -1], [-1, -1]])


def test_completed_gives_as_many_rows_as_there_are_of_the_view():
    X = np.array([[1.0, np.nan], [np.nan, 2.0], [np.nan, np.nan], [4.0, 3.0]])
    table = describe(X)
    found = table.completed(X, [[5.0, 6.0], [7.0, 8.0]], np.zeros((2, 0)))
    assert found.tolist() == [[1.0, 6.0], [7.0, 2.0]]
    assert table.completed(X.tolist(), np.ones((4, 2)), np.zeros((4, 0))).shape == (4, 2)


def test_completed_frames_keep_index_and_dtypes():
    pandas = pytest.importorskip("pandas")
    kind = pandas.CategoricalDtype(["u", "v"], ordered=True)
    columns = {
        "cat": pandas.Series(["u", None, "v"] * 10, dtype=kind),
        "int": pandas.Series([1, None, 4] * 10, dtype="Int64"),
        "f4": pandas.Series([0.5, np.nan, 2.0] * 10, dtype="float32"),
        "whole": pandas.Series([1, 2, 4] * 10),
    }
    frame = pandas.DataFrame(columns).set_axis([f"row {i}" for i in range(30)])
    table = describe(frame)
    n_numeric, n_codes = len(table.steps), len(table.levels)
    found = table.completed(frame[:3], np.full((3, n_numeric), 1.2), np.ones((3, n_codes)))
    assert found.index.equals(frame.index[:3])
    assert found.dtypes.equals(frame.dtypes)
    assert found["cat"].tolist() == ["u", "v", "v"]
    assert found["int"].tolist() == [1, found["int"].iloc[1], 4]
    assert frame.isna().sum().sum() == 30


def test_completed_frames_of_other_dtypes_than_the_fit():
    """What a dtype cannot hold widens it; a column of holes alone gets that of the fit."""
    pandas = pytest.importorskip("pandas")
    n = 30
    fit = {"a": RNG.standard_normal(n), "b": ["u", "v", "w"] * 10, "c": [True, False, True] * 10}
    table = describe(pandas.DataFrame(fit))
    asked = pandas.DataFrame(
        {
            "a": pandas.array([1, None], dtype="Int64"),
            "b": pandas.Categorical(["u", None]),
            "c": [np.nan, np.nan],
        }
    )
    found = table.completed(asked, [[0.5], [0.5]], [[0, 1], [2, 0]])
    assert found["a"].tolist() == [1.0, 0.5]
    assert found["b"].tolist() == ["u", "w"]
    assert found["c"].dtype == bool
    assert found["c"].tolist() == [True, False]


def test_completed_polars_of_other_dtypes_than_the_fit():
    polars = pytest.importorskip("polars")
    fit = {"a": RNG.standard_normal(30), "b": ["u", "v", "w"] * 10, "c": [True, False, True] * 10}
    table = describe(polars.DataFrame(fit))
    asked = polars.DataFrame(
        {"a": [1, None], "b": ["u", None], "c": [None, None]},
        schema={"a": polars.Int64, "b": polars.Enum(["u"]), "c": polars.Null},
    )
    found = table.completed(asked, [[0.5], [0.5]], [[0, 1], [2, 0]])
    expected = polars.DataFrame({"a": [1.0, 0.5], "b": ["u", "w"], "c": [True, False]})
    assert_same(found, expected)


def test_numbers_that_leave_the_categories_of_their_dtype():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": pandas.Categorical([1, 2, 4] * 20)})
    table = describe(frame, column_kinds={"a": "cells"})
    rows = table.rows([[2.8]], np.zeros((1, 0)))
    assert rows["a"].tolist() == [3]
    assert rows["a"].dtype == np.int64


def test_a_plain_table_is_plain():
    X = RNG.standard_normal((50, 3))
    X[:, 1] = 2.0
    assert describe(X).is_plain
    assert describe(X).kinds == ("continuous", "constant", "continuous")
    for column in (np.where(X[:, 0] > 0.5, np.nan, X[:, 0]), np.round(X[:, 0])):
        assert not describe(np.c_[X, column]).is_plain
    assert describe(np.round(X), column_kinds="continuous").is_plain
    assert not describe(np.array([["a", 1.5], ["a", 2.0]], dtype=object)).is_plain


def test_arrays_need_no_library_of_frames(monkeypatch):
    """None is imported, be it there or not."""
    for kind in FRAME_LIBRARIES:
        monkeypatch.setitem(sys.modules, kind, None)
    assert TABLE.rows([[0.5, 2.0, 1.0]], [[0, 1]]).tolist() == [[0.5, 2, 1.0, "b", 7]]
    assert describe(MIXED) == TABLE
    view = TABLE.read(MIXED.tolist())
    assert TABLE.completed(MIXED, view.numeric, view.codes).tolist() == MIXED.tolist()
    assert len(repr(TABLE.report()).splitlines()) == 6


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_without_the_library_of_the_fit_rows_are_an_array(kind, monkeypatch):
    library = pytest.importorskip(kind)
    table = describe(library.DataFrame({"a": ["u", "v"], "b": [0.5, 1.5]}))
    monkeypatch.setitem(sys.modules, kind, None)
    with pytest.warns(UserWarning, match=f"Got a model of a {kind} data frame, but no {kind}"):
        rows = table.rows([[0.5]], [[1]])
    assert rows.tolist() == [["v", 0.5]]


def test_a_large_table_is_described_from_all_its_rows():
    """A block of rows at the end that is like no other."""
    X = np.r_[np.zeros(10**5), np.full(3, 0.3)][:, None]
    assert describe(X).features[0].points == (0.0, 0.3)
