"""Pieces of a table, arrays or frames of one library: cut, joined, and rows taken from them.

Arrow tables are made frames of pandas last: which integers become floats, because a hole is among
them, is then told by the rows and not by the chunks of a file.
"""

import sys

import numpy as np

from skrae.preprocessing.rows import frame_of, plain_array, taken_rows

ARRAY, ARROW = "array", "arrow"


def kind_of(piece):
    """Which library a piece is of: "array", "arrow", "pandas" or "polars"."""
    frame = frame_of(piece)
    if frame is not None:
        return frame["kind"]
    return ARROW if is_of(piece, "pyarrow", "Table") else ARRAY


def is_of(X, module, name):
    """Whether X is of a class of a module, which nobody may have imported: then it is not.

    >>> is_of(np.ones(1), "numpy", "ndarray"), is_of(1, "numpy", "ndarray"), is_of(1, "none", "a")
    (True, False, False)
    """
    found = getattr(sys.modules.get(module), name, None)
    return found is not None and isinstance(X, found)


def is_block(X):
    """Whether X is by itself an array of two dimensions or a data frame.

    >>> is_block(np.zeros((3, 2))), is_block([[0.0, 1.0]])
    (True, False)
    """
    if is_of(X, "pyarrow", "RecordBatch") or kind_of(X) != ARRAY:
        return True
    return getattr(X, "ndim", None) == 2


def as_piece(X):
    """A block of a user's as a piece.

    Raises
    ------
    ValueError
        Where it has not two dimensions.
    """
    if is_of(X, "pyarrow", "RecordBatch"):
        return sys.modules["pyarrow"].Table.from_batches([X])
    if kind_of(X) != ARRAY:
        return X
    try:
        found = np.asarray(plain_array(X))
    except ValueError as error:
        if not isinstance(X, list | tuple):
            raise
        raise ValueError(
            f"Got a block that is a {type(X).__name__} of {len(X)} parts of different shapes,"
            " expected an array or data frame: rows alone, without targets or weights."
        ) from error
    if found.ndim != 2:
        raise ValueError(
            f"Got a block of shape {found.shape}, expected blocks of two dimensions, rows x"
            " columns, or data frames."
        )
    return found


def columns_of(piece):
    """The names of the columns of a frame, the number of those of an array."""
    kind = kind_of(piece)
    if kind == ARRAY:
        return piece.shape[1]
    return list(piece.column_names if kind == ARROW else piece.columns)


def cut(piece, start, stop):
    """The rows from one to another of a piece, without a copy."""
    kind = kind_of(piece)
    if kind == ARROW:
        return piece.slice(start, stop - start)
    return piece.iloc[start:stop] if kind == "pandas" else piece[start:stop]


def taken(piece, index):
    """Some rows of a piece, by an int array."""
    return piece.take(index) if kind_of(piece) == ARROW else taken_rows(piece, index)


def joined(pieces):
    """Pieces of one kind, one after the other.

    >>> joined([np.zeros((1, 2)), np.ones((1, 2))]).tolist()
    [[0.0, 0.0], [1.0, 1.0]]
    """
    if len(pieces) == 1:
        return pieces[0]
    kind = kind_of(pieces[0])
    if kind == ARRAY:
        if len({piece.dtype.kind in "US" for piece in pieces}) > 1:
            # NumPy would make strings of the numbers.
            pieces = [piece.astype(object) for piece in pieces]
        return np.concatenate(pieces)
    if kind == ARROW:
        return sys.modules["pyarrow"].concat_tables(pieces)
    options = {"ignore_index": True} if kind == "pandas" else {}
    return sys.modules[kind].concat(pieces, **options)


def as_rows(piece):
    """A piece as an array or a data frame."""
    return piece.to_pandas() if kind_of(piece) == ARROW else piece
