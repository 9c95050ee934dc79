"""Where the rows of a source come from, as functions that give its pieces from the first on."""

import mmap
import os
from collections.abc import Mapping, Set
from functools import partial

import numpy as np

from skrae.preprocessing.sources.joining import as_piece, is_block, is_of

# Rows at a time, on which it depends how sums over blocks round: the same for every source, and a
# multiple of the blocks that questions are answered in.
BLOCK_ROWS = 2**16
# What arrays and frames have, one or another of them.
ARRAYS = "__array__", "__dataframe__", "shape"


def pieces_of(X):
    """A function without arguments that gives X piece by piece; None where X is held in memory.

    Parameters
    ----------
    X : numpy.memmap of two dimensions, array or data frame of dask, `Table`, `Dataset` or
        `ParquetFile` of pyarrow, list or tuple of arrays of two dimensions or data frames, or any
        other iterable of blocks
    """
    if isinstance(X, np.memmap):
        return partial(_of_file, X) if X.ndim == 2 else None
    for module, name, pieces in KINDS:
        if is_of(X, module, name):
            return partial(pieces, X)
    if isinstance(X, list | tuple):
        return partial(map, as_piece, X) if X and is_block(X[0]) else None
    return partial(map, as_piece, X) if is_iterable(X) else None


def is_iterable(X):
    """Whether X is an iterable and no array, frame or other container of single values."""
    is_other = isinstance(X, str | bytes | list | tuple | range | Mapping | Set)
    return hasattr(X, "__iter__") and not (is_other or _is_array(X) or isinstance(X, type))


def check_is_table(X):
    """Refuse what is neither rows nor gives them.

    Raises
    ------
    TypeError
        For a path and other objects that are no table.
    ValueError
        For an empty list, and one of blocks with targets.

    Examples
    --------
    >>> check_is_table({"a": [1.0]})
    Traceback (most recent call last):
    TypeError: Got a dict, expected an array or data frame of rows, or an iterable of such blocks.
    """
    if isinstance(X, str | os.PathLike):
        raise TypeError(
            f"Got {str(X)!r}, expected rows: open the file, as np.load(path, mmap_mode='r') or"
            " pyarrow.dataset.dataset(path) do."
        )
    if isinstance(X, list | tuple):
        _check_list(X)
    elif isinstance(X, type) or not _is_array(X):
        raise TypeError(
            f"Got a {type(X).__name__}, expected an array or data frame of rows, or an iterable of"
            " such blocks."
        )


def _check_list(X):
    """`check_is_table` of a list or tuple."""
    if not X:
        raise ValueError(f"Got an empty {type(X).__name__}, expected at least one row.")
    if isinstance(X[0], list | tuple) and any(getattr(part, "ndim", 0) for part in X[0]):
        raise ValueError(
            f"Got a {type(X).__name__} of {type(X[0]).__name__}s of arrays, expected blocks that"
            " are an array or data frame each: rows alone, without targets or weights."
        )


def _is_array(X):
    return any(hasattr(X, name) for name in ARRAYS)


def _of_file(X):
    """Copies of blocks of a file, whose pages are given back: they would count as memory."""
    for start in range(0, len(X), BLOCK_ROWS):
        yield np.array(X[start : start + BLOCK_ROWS])
        pages = getattr(X, "_mmap", None)
        if X.mode == "r" and pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)


def _of_dask_array(X):
    if X.ndim != 2:
        raise ValueError(f"Got a dask array of {X.ndim} dimension(s), expected two.")
    for place in range(X.numblocks[0]):
        yield as_piece(X.blocks[place].compute())


def _of_dask_frame(X):
    for place in range(X.npartitions):
        yield as_piece(X.partitions[place].compute())


def _of_table(X):
    yield X


def _of_dataset(X):
    # By default sixteen batches of four files each are read ahead.
    ahead = {"batch_readahead": 1, "fragment_readahead": 1}
    return map(as_piece, X.to_batches(batch_size=BLOCK_ROWS, **ahead))


def _of_parquet(X):
    return map(as_piece, X.iter_batches(batch_size=BLOCK_ROWS))


# A module, where it is imported, a class of it, and what gives its pieces.
KINDS = (
    ("dask.array", "Array", _of_dask_array),
    ("dask.dataframe", "DataFrame", _of_dask_frame),
    ("pyarrow", "Table", _of_table),
    ("pyarrow.dataset", "Dataset", _of_dataset),
    ("pyarrow.parquet", "ParquetFile", _of_parquet),
)
