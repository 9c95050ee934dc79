"""One table in every container that a source is made of, and iterables of its blocks."""

import numpy as np
import pytest


class Blocks:
    """An iterable that begins anew: blocks of other rows on its later passes, where there are."""

    def __init__(self, blocks, *later):
        self.passes = [blocks, *later]

    def __iter__(self):
        blocks = self.passes.pop(0) if len(self.passes) > 1 else self.passes[0]
        return iter(blocks)


def memory_mapped(X, folder):
    np.save(folder / "rows.npy", X)
    return np.load(folder / "rows.npy", mmap_mode="r")


def iterable(X, folder):
    return Blocks(np.array_split(X, 7))


def list_of_arrays(X, folder):
    return np.array_split(X, 7)


def dask_array(X, folder):
    return pytest.importorskip("dask.array").from_array(X, chunks=(len(X) // 5, 2))


def dask_frame(X, folder):
    pandas, dask = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    return dask.from_pandas(pandas.DataFrame(X, columns=names(X)), npartitions=3)


def arrow_table(X, folder):
    return pytest.importorskip("pyarrow").table(dict(zip(names(X), X.T, strict=True)))


def parquet(X, folder):
    """A dataset of one file."""
    files = pytest.importorskip("pyarrow.parquet")
    path = folder / "rows.parquet"
    files.write_table(arrow_table(X, folder), path, row_group_size=len(X) // 6)
    return pytest.importorskip("pyarrow.dataset").dataset(path)


def parquet_file(X, folder):
    parquet(X, folder)
    return pytest.importorskip("pyarrow.parquet").ParquetFile(folder / "rows.parquet")


def frame(X, folder):
    return pytest.importorskip("pandas").DataFrame(X, columns=names(X))


def polars_frame(X, folder):
    return pytest.importorskip("polars").DataFrame(X, schema=names(X))


def names(X):
    return [f"x{j}" for j in range(X.shape[1])]


ON_DISK = {
    make.__name__: make
    for make in (
        memory_mapped,
        iterable,
        list_of_arrays,
        dask_array,
        dask_frame,
        arrow_table,
        parquet,
        parquet_file,
    )
}
IN_MEMORY = {make.__name__: make for make in (frame, polars_frame)}
