"""Tables read block by block: the same rows however they are cut, and what is refused."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from skrae.preprocessing.sources import pieces, source
from skrae.preprocessing.sources.source import Source, recut, source_of, source_to_fit
from tests.preprocessing.sources.containers import ON_DISK, Blocks, memory_mapped
from tests.rooms import SOURCES, imported_names

ROWS = np.random.default_rng(0).standard_normal((50, 3))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK_ROWS", 16)
    monkeypatch.setattr(source, "ROWS_IN_MEMORY", 40)


def array_of(rows):
    return np.concatenate([np.asarray(block) for block in rows])


@pytest.mark.parametrize("make", ON_DISK.values(), ids=ON_DISK)
def test_every_container_has_the_same_blocks_on_each_pass(make, tmp_path):
    found = source_to_fit(make(ROWS, tmp_path)).counted()
    assert found.n_rows == 50
    for _ in range(2):
        blocks = list(found.blocks())
        assert [len(block) for block in blocks] == [16, 16, 16, 2]
        assert_array_equal(array_of(blocks), ROWS)
    index = np.array([0, 3, 15, 16, 40, 49])
    assert_array_equal(np.asarray(found.taken(index)), ROWS[index])


def test_blocks_are_the_same_however_pieces_are_cut(random_seed):
    rng = np.random.default_rng(random_seed)
    for _ in range(20):
        ends = np.sort(rng.integers(0, 51, size=rng.integers(1, 12)))
        blocks = list(recut(np.split(ROWS, ends), 16))
        assert [len(block) for block in blocks] == [16, 16, 16, 2]
        assert_array_equal(array_of(blocks), ROWS)


@pytest.mark.parametrize(
    "X",
    [
        ROWS[:30],
        ROWS[:30].tolist(),
        np.ma.masked_less(ROWS[:30], 0.0),
        torch.from_numpy(ROWS[:30]),
        ROWS[0],
    ],
    ids=lambda X: type(X).__name__,
)
def test_what_is_in_memory_is_no_source(X):
    assert source_of(X) is None
    assert source_to_fit(X) is None


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("rows.npy", TypeError, "Got 'rows.npy', expected rows: open the file, as np.load"),
        (Path("rows.npy"), TypeError, "Got 'rows.npy', expected rows"),
        ({"a": ROWS}, TypeError, "Got a dict, expected an array or data frame"),
        ({1.0, 2.0}, TypeError, "Got a set, expected"),
        (None, TypeError, "Got a NoneType, expected"),
        (range(3), TypeError, "Got a range, expected"),
        (Blocks, TypeError, "Got a type, expected"),
        (array_of, TypeError, "Got a function, expected"),
        ([], ValueError, "Got an empty list, expected at least one row"),
        ([(ROWS, ROWS[:, 0])], ValueError, "Got a list of tuples of arrays, expected blocks"),
    ],
)
def test_what_is_no_rows_is_told(X, error, message):
    for find in (source_of, source_to_fit):
        with pytest.raises(error, match=message):
            find(X)


def test_numbers_stay_numbers_beside_strings():
    found = source_of([ROWS[:2], ROWS[:2].astype(str)])
    (block,) = found.blocks()
    assert list(map(type, block[[0, 2], 0])) == [float, str]
    with pytest.raises(TypeError, match="Got numbers and strings in column 'x0'"):
        found.counted()


def test_nested_lists_are_left_to_the_check_of_rows():
    assert source_of([[[1, 2], [3, 4]]]) is None


def test_a_block_with_targets_is_told():
    found = source_of(Blocks([(ROWS, ROWS[:, 0])]))
    with pytest.raises(ValueError, match="is a tuple of 2 parts of different shapes, expected"):
        next(found.blocks())


@pytest.mark.parametrize(
    "X", [ROWS, ROWS.tolist(), np.ma.masked_less(ROWS, 0.0), torch.from_numpy(ROWS)]
)
def test_more_rows_than_memory_should_hold_are_one_for_a_fit(X):
    assert source_of(X) is None
    found = source_to_fit(X).counted()
    expected = np.where(ROWS < 0.0, np.nan, ROWS) if isinstance(X, np.ma.MaskedArray) else ROWS
    assert_array_equal(array_of(found.blocks()), expected)


def test_changes_of_a_copy_on_write_file_are_read(tmp_path):
    memory_mapped(ROWS, tmp_path)
    X = np.load(tmp_path / "rows.npy", mmap_mode="c")
    X[:] = 1.0
    for _ in range(2):
        assert_array_equal(array_of(source_of(X).blocks()), np.ones_like(ROWS))


def test_integers_are_floats_where_a_hole_is_among_them_whatever_the_chunks():
    arrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pandas")
    values = [*range(20), None, *range(29)]
    for sizes in (50,), (7, 43), (21, 29):
        ends = np.cumsum([0, *sizes])
        chunks = [arrow.table({"a": values[a:b]}) for a, b in pairwise(ends)]
        found = source_of(Blocks(chunks))
        assert [str(b.dtypes.iloc[0]) for b in found.blocks()] == [
            "int64",
            "float64",
            "int64",
            "int64",
        ]
        assert str(found.taken(np.array([0, 17, 30])).dtypes.iloc[0]) == "int64"


# --- what is refused ------------------------------------------------------------------------------

INFINITE = np.where(ROWS.max() > ROWS, ROWS, np.inf)
WORDS = np.array([["a", "b", "c"]] * 20, dtype=object)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (Blocks([]), "Got a table of 0 rows"),
        (Blocks([ROWS[:0]]), "Got a table of 0 rows"),
        (Blocks([ROWS, ROWS[:, :2]]), "an array of 2 columns after one of an array of 3 columns"),
        (Blocks([ROWS[:20], WORDS]), "'x0' of sort text in the block from row 16 on|numbers and"),
        (Blocks([INFINITE]), "infinity"),
        (INFINITE, "infinity"),
        (Blocks([ROWS[0]]), r"Got a block of shape \(3,\)"),
        (Blocks([1.0, 2.0]), r"Got a block of shape \(\)"),
    ],
)
def test_a_table_that_is_none_is_refused(X, message):
    with pytest.raises((ValueError, TypeError), match=message):
        source_to_fit(X).counted()


def test_frames_of_other_names_and_categories_are_refused():
    pandas = pytest.importorskip("pandas")
    first = pandas.DataFrame({"a": [1.0], "b": ["u"]}, index=range(1))
    other = first.rename(columns={"a": "c"})
    with pytest.raises(ValueError, match=r"the columns \['c', 'b'\] after"):
        source_to_fit(Blocks([first, other])).counted()
    with pytest.raises(ValueError, match="Got a block of an array of 2 columns after one of pand"):
        source_to_fit(Blocks([first, first.to_numpy()])).counted()
    many = [first.assign(b=pandas.Categorical([own])) for own in "uv" for _ in range(16)]
    with pytest.raises(ValueError, match="'b' of sort text with the categories"):
        source_to_fit(Blocks([pandas.concat(many[:16]), pandas.concat(many[16:])])).counted()


def test_an_iterator_is_read_once_and_not_fitted_to():
    blocks = iter([ROWS[:20], ROWS[20:]])
    with pytest.raises(ValueError, match="Got a list_iterator, which can be read once"):
        source_to_fit(blocks)
    assert_array_equal(array_of(source_of(blocks).blocks()), ROWS)


@pytest.mark.parametrize("later", [ROWS[:30], np.concatenate([ROWS, ROWS])])
def test_a_table_that_changes_between_passes_is_refused(later):
    found = source_to_fit(Blocks([ROWS], [later])).counted()
    with pytest.raises(ValueError, match=r"rows, expected 50 as when it was read before"):
        list(found.blocks())


def test_a_table_that_shrinks_to_nothing_is_refused():
    counted = Source(lambda: [ROWS[:0]], n_rows=50)
    with pytest.raises(ValueError, match="0 rows, expected 50 as when it was read before"):
        list(counted.blocks())


def test_no_module_imports_libraries_of_files():
    names = set().union(*map(imported_names, SOURCES.values()))
    assert {"dask", "pyarrow"}.isdisjoint(name.split(".")[0] for name in names)
