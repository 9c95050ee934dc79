"""A table read a block at a time, as often as is asked for, and found the same each time."""

from collections.abc import Iterator

import numpy as np
import torch

from skrae.preprocessing.rows import frame_of
from skrae.preprocessing.sources import pieces
from skrae.preprocessing.sources.joining import (
    as_piece,
    as_rows,
    columns_of,
    cut,
    joined,
    kind_of,
    taken,
)
from skrae.preprocessing.table.reading import as_array, read_source

# Rows that a fit holds in memory: no mixture grows from more.
ROWS_IN_MEMORY = 2**18


def source_of(X):
    """The `Source` of a table that is not held as one in memory; None for arrays, frames and rows.

    Parameters
    ----------
    X : what `pieces.pieces_of` knows, or a table in memory

    Raises
    ------
    ValueError, TypeError
        For what `pieces.check_is_table` refuses.
    """
    found = pieces.pieces_of(X)
    if found is not None:
        return Source(found, is_once=isinstance(X, Iterator))
    pieces.check_is_table(X)
    return None


def source_to_fit(X, always=False):
    """The same that can be read again, also of tables in memory of more than `ROWS_IN_MEMORY` rows.

    Or of any table, where it is always to be a source.

    Raises
    ------
    ValueError, TypeError
        For an iterator, and what `source_of` refuses.
    """
    source = source_of(X)
    if source is None and _is_table(X) and (always or len(X) > ROWS_IN_MEMORY):
        piece = as_array(X) if isinstance(X, list | tuple) else as_piece(X)
        return Source(lambda: [piece])
    if source is not None and source.is_once:
        raise ValueError(
            f"Got a {type(X).__name__}, which can be read once, expected an iterable that begins"
            " anew each time it is read: an object whose __iter__ opens the file again."
        )
    return source


def _is_table(X):
    """Whether X is a table in memory, as far as can be told without reading it."""
    is_array = isinstance(X, np.ndarray | torch.Tensor) and X.ndim == 2
    return is_array or isinstance(X, list | tuple) or frame_of(X) is not None


class Source:
    """A table as blocks of `pieces.BLOCK_ROWS` rows, the same ones however the pieces are cut.

    Parameters
    ----------
    read : callable without arguments that gives an iterable of pieces
    is_once : bool, whether it does so only once
    n_rows : int or None, the number of rows that were counted
    sorts : list or None, what its columns were found to hold
    """

    def __init__(self, read, is_once=False, n_rows=None, sorts=None):
        self._read, self.is_once, self.n_rows, self.sorts = read, is_once, n_rows, sorts

    def counted(self):
        """The source with the number of its rows, all of which are read and checked.

        Raises
        ------
        ValueError, TypeError
            For a table without rows, for infinite values, for columns of types that are none of a
            table, and for blocks of other columns or types than those before.
        """
        n_rows, found = 0, None
        for block in self.blocks():
            source = read_source(block)
            found = agreed(found, [(c.name, _sort_of(c)) for c in source.columns], n_rows)
            n_rows += source.n_rows
        return Source(self._read, self.is_once, n_rows, found)

    def blocks(self):
        """Arrays or data frames of `pieces.BLOCK_ROWS` rows each, the last one of what is left.

        Raises
        ------
        ValueError
            For a table without rows, for pieces of different columns, and where there are not as
            many rows as were counted.
        """
        return map(as_rows, self._blocks())

    def taken(self, index):
        """The rows of a sorted index, together in one array or data frame."""
        parts, start = [], 0
        for block in self._blocks():
            stop = start + len(block)
            own = index[slice(*np.searchsorted(index, [start, stop]))]
            if len(own):
                parts.append(taken(block, own - start))
            start = stop
        return as_rows(joined(parts))

    def _blocks(self):
        n_rows = 0
        for block in recut(_alike(self._read()), pieces.BLOCK_ROWS):
            n_rows += len(block)
            if self.n_rows is not None and n_rows > self.n_rows:
                raise ValueError(_changed(f"more than {self.n_rows}", self.n_rows))
            yield block
        if not n_rows and not self.n_rows:
            raise ValueError("Got a table of 0 rows, expected at least one block with rows.")
        if self.n_rows is not None and n_rows < self.n_rows:
            raise ValueError(_changed(n_rows, self.n_rows))


def recut(parts, size):
    """Pieces of `size` rows, the last one of what is left, of pieces of any numbers of rows.

    >>> [len(piece) for piece in recut([np.zeros((5, 1)), np.zeros((4, 1))], 3)]
    [3, 3, 3]
    """
    held, n_held = [], 0
    for piece in parts:
        start, n = 0, len(piece)
        while n_held + n - start >= size:
            stop = start + size - n_held
            yield joined([*held, cut(piece, start, stop)])
            held, n_held, start = [], 0, stop
        if start < n:
            held.append(cut(piece, start, n))
            n_held += n - start
    if held:
        yield joined(held)


def as_one(parts):
    """Arrays or data frames of one table in one.

    Raises
    ------
    ValueError
        Where they are of different containers or columns.
    """
    return as_rows(joined(list(_alike(parts))))


def _alike(parts):
    """The pieces, up to the first that is none of the same table."""
    expected = None
    for piece in parts:
        found = kind_of(piece), columns_of(piece)
        expected = expected or found
        if found != expected:
            raise ValueError(
                f"Got a block of {_in_words(*found)} after one of {_in_words(*expected)}, expected"
                " blocks of the same container and columns."
            )
        yield piece


def _in_words(kind, columns):
    if isinstance(columns, int):
        return f"an array of {columns} columns"
    return f"{kind} with the columns {columns}"


def _sort_of(column):
    """What a column holds in a block, None where it may be anything."""
    declared = column.type.declared if column.type.is_category else None
    return None if column.missing.all() else (column.type.sort, declared)


def agreed(before, found, n_rows):
    """What columns hold, by what they held before.

    Raises
    ------
    ValueError
        Where one holds something else.
    """
    if before is None:
        return found
    agreed = []
    for (name, old), (_, new) in zip(before, found, strict=True):
        if None not in (old, new) and old != new:
            raise ValueError(
                f"Got column {name!r} of sort {_sort_in_words(new)} in the block from row {n_rows}"
                f" on, expected {_sort_in_words(old)} as before."
            )
        agreed.append((name, new if old is None else old))
    return agreed


def _sort_in_words(sort):
    sort, declared = sort
    return sort if declared is None else f"{sort} with the categories {list(declared)}"


def _changed(n_rows, expected):
    return (
        f"Got a table of {n_rows} rows, expected {expected} as when it was read before: it must"
        " not change while it is fitted to."
    )
