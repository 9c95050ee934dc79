"""Values of columns in the container of the fit, or in the holes of a table."""

import re
import sys

import numpy as np

from skrae.preprocessing.rows import as_frame, check_overflow, frame_of
from skrae.preprocessing.table.options import CATEGORICAL, CONSTANT
from skrae.preprocessing.table.reading import (
    NUMBER,
    TEXT,
    as_array,
    numpy_dtype,
    plain_values,
)


def in_container(features, values, container, n):
    """n rows of complete columns as the container of a fit.

    Parameters
    ----------
    features : sequence of Feature
    values : sequence of arrays of shape (n,)
    container : dict, as `Source` has
    """
    columns = list(zip(features, values, strict=True))
    if container["kind"] == "array":
        return _array(columns, np.dtype(container["dtype"]), n)
    if container["kind"] == "polars":
        frame = as_frame(np.zeros((0, len(columns))), container)
    else:
        frame = as_frame(np.zeros((n, len(columns))), container)
    if isinstance(frame, np.ndarray):
        return _array(columns, np.dtype(object), n)
    library = sys.modules[container["kind"]]
    if container["kind"] == "polars":
        names = container["columns"]
        series = [_polars(library, name, *c) for name, c in zip(names, columns, strict=True)]
        return library.DataFrame(series)
    for j, column in enumerate(columns):
        frame.isetitem(j, _pandas(library, *column))
    return frame


def _array(columns, dtype, n):
    if dtype.kind in "biuf":
        rows = np.empty((n, len(columns)), dtype)
        for j, (_, values) in enumerate(columns):
            rows[:, j] = cast(values, dtype)
        return check_overflow(rows) if dtype.kind == "f" else rows
    if all(feature.type.sort == NUMBER for feature, _ in columns):
        return np.stack([values.astype(np.float64) for _, values in columns], axis=1)
    rows = np.empty((n, len(columns)), object)
    for j, (feature, values) in enumerate(columns):
        rows[:, j] = _objects(feature, values)
    return rows.astype(dtype)


def cast(values, dtype):
    """Numbers in a NumPy dtype; of integers the nearest in its range.

    >>> cast(np.array([-1.0, 7.0, 300.0]), np.dtype("uint8")).tolist()
    [0, 7, 255]
    """
    if dtype.kind not in "iu":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    info = np.iinfo(dtype)
    high = float(info.max)
    if int(high) > info.max:
        high = np.nextafter(high, 0.0)
    return np.clip(np.rint(values.astype(np.float64)), float(info.min), high).astype(dtype)


def _objects(feature, values):
    """The values as an array of Python's own objects."""
    found = np.empty(len(values), object)
    found[:] = plain_values(values, feature.type)
    return found


def _pandas(library, feature, values, index=None):
    """A series of the dtype of the fit."""
    type_ = feature.type
    if type_.is_category and feature.kind in (CATEGORICAL, CONSTANT):
        categories = library.Index(list(type_.declared), dtype=type_.declared_dtype)
        dtype = library.CategoricalDtype(categories, type_.is_ordered)
        return library.Series(list(_objects(feature, values)), index=index, dtype=dtype)
    # Numbers of a category dtype that were asked to be numbers may be none of its categories.
    text = type_.declared_dtype if type_.is_category else type_.dtype
    dtype = library.api.types.pandas_dtype(text)
    values = _typed(feature, values, numpy_dtype(dtype))
    return library.Series(values, index=index, dtype=dtype)


def _typed(feature, values, dtype):
    """The values as NumPy holds them in a dtype, which may be that of objects."""
    if dtype.kind not in "biuf":
        return _objects(feature, values)
    values = cast(values, dtype)
    return check_overflow(values) if dtype.kind == "f" else values


def _polars(library, name, feature, values):
    """A series of the dtype of the fit."""
    text = feature.type.dtype
    decimal = re.fullmatch(r"Decimal\(precision=(\d+), scale=(\d+)\)", text)
    if decimal:
        return library.Series(name, values).cast(library.Decimal(*map(int, decimal.groups())))
    dtype = library.Enum(feature.type.declared) if text == "Enum" else getattr(library, text)()
    typed = _typed(feature, values, _numpy_of(dtype))
    return library.Series(name, typed if dtype.is_numeric() else list(typed), dtype=dtype)


def _numpy_of(dtype):
    """The NumPy dtype of the values of a dtype of polars."""
    if not dtype.is_numeric():
        return np.dtype("?" if str(dtype) == "Boolean" else object)
    # NumPy has none of 128 bits.
    return np.dtype(str(dtype).lower().replace("128", "64"))


def fill_holes(X, features, missing, fillings):
    """The first m rows of X with values in their holes, all else as it is.

    Parameters
    ----------
    X : array-like or data frame of n >= m rows
    features : sequence of Feature
    missing : sequence of bool arrays of shape (m,)
    fillings : sequence of arrays, for each column the values of its holes
    """
    parts = [
        (j, part)
        for j, part in enumerate(zip(features, missing, fillings, strict=True))
        if part[1].any()
    ]
    frame = frame_of(X)
    if frame is None:
        return _fill_array(as_array(X)[: len(missing[0])].copy(), parts)
    X, library = X.head(len(missing[0])), sys.modules[frame["kind"]]
    if frame["kind"] == "polars":
        filled = [_fill_polars(library, X.get_columns()[j], *part) for j, part in parts]
        return X.with_columns(filled)
    X = X.copy()
    for j, part in parts:
        X.isetitem(j, _fill_pandas(library, X.iloc[:, j], *part))
    return X


def _fill_array(rows, parts):
    if rows.dtype.kind == "f" and any(feature.type.sort == TEXT for _, (feature, *_) in parts):
        rows = rows.astype(object)
    for j, (feature, missing, values) in parts:
        rows[missing, j] = _typed(feature, values, rows.dtype)
    return rows


def _fill_pandas(library, series, feature, missing, values):
    if missing.all():  # a dtype of holes alone says nothing
        return _pandas(library, feature, values, series.index)
    if str(series.dtype) == "category":
        known = set(series.cat.categories)
        found = _objects(feature, values)
        series = series.cat.add_categories([v for v in dict.fromkeys(found) if v not in known])
    else:
        dtype = numpy_dtype(series.dtype)
        if not _holds(dtype, values):
            series, dtype = series.astype("Float64"), np.dtype(np.float64)
        if hasattr(series.dtype, "subtype"):  # a sparse series takes no values
            series = series.astype(series.dtype.subtype)
        found = _typed(feature, values, dtype)
    series = series.copy()
    series.iloc[np.flatnonzero(missing)] = found
    return series


def _holds(dtype, values):
    """Whether a dtype of integers or booleans holds numbers as they are; other dtypes do."""
    return dtype.kind not in "biu" or bool((cast(values, dtype) == values).all())


def _fill_polars(library, series, feature, missing, values):
    if missing.all():
        return _polars(library, series.name, feature, values)
    dtype = series.dtype
    if dtype == library.Boolean or dtype.is_integer():
        dtype = dtype if _holds(_numpy_of(dtype), values) else library.Float64
    elif dtype == library.Enum and not set(values) <= set(dtype.categories):
        dtype = library.String
    found = np.full(len(missing), None)
    found[missing] = _objects(feature, values)
    if dtype.is_numeric():
        found = [None if value is None else float(value) for value in found]
        found = library.Series(series.name, found, dtype=library.Float64).cast(dtype)
    else:
        found = library.Series(series.name, found.tolist(), dtype=dtype)
    return series.cast(dtype).zip_with(library.Series(~missing), found)
