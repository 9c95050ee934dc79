"""The columns of arrays, lists and data frames, as numbers or strings with their holes known."""

import sys
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_array

from skrae.preprocessing.rows import frame_of, plain_array

NUMBER, TRUTH, TEXT = "number", "truth", "text"
EXPECTED = "expected numbers, strings, booleans or categories"
# A missing value of pandas, known without importing it.
HOLES = {"NoneType", "NAType", "NaTType"}
EPS = float(np.finfo(np.float64).eps)


class ColumnType(NamedTuple):
    """What a column holds and how its container stores it; plain data."""

    dtype: str
    sort: str  # NUMBER, TRUTH or TEXT
    is_whole: bool = False  # whether numbers are integers by their type
    precision: float = EPS  # relative distance of neighbouring numbers of the type
    is_category: bool = False
    declared: tuple = ()  # the categories of the type, in their order
    declared_dtype: str = ""
    is_ordered: bool = False


class RawColumn(NamedTuple):
    """A column as it was read."""

    name: object
    type: ColumnType
    values: np.ndarray  # (n,): float64, NaN at holes; or str in an object array, None at holes

    @property
    def missing(self):
        """Where nothing was observed, bool (n,)."""
        if self.type.sort == TEXT:
            return np.equal(self.values, None).astype(bool)
        return np.isnan(self.values)

    def kept(self, mask):
        """The column in some of the rows."""
        return self._replace(values=self.values[mask])


class Source(NamedTuple):
    """A table as it was read: where it came from, and its columns."""

    container: dict
    names: tuple
    columns: tuple
    n_rows: int


def read_source(X):
    """The `Source` of an array, a list, a tensor or a data frame.

    Raises
    ------
    ValueError, TypeError
        For infinite values, for numbers and strings in one column, and for types that are neither.
    """
    frame = frame_of(X)
    if frame is None:
        return _read_array(as_array(X))
    names = tuple(frame["columns"])
    if not (len(names) and len(X)):
        raise ValueError(
            f"Got a data frame of shape {tuple(X.shape)}, expected at least one row and one column."
        )
    if frame["kind"] == "polars":
        columns = [_read_polars(name, X[name]) for name in names]
    else:
        columns = [_read_pandas(name, X.iloc[:, j]) for j, name in enumerate(names)]
    for column in columns:
        _refuse_infinite(column)
    return Source(frame, names, tuple(columns), len(X))


def as_array(X):
    """X as an array of two dimensions, of objects where a list holds strings."""
    X = plain_array(X)
    if isinstance(X, list | tuple) and np.asarray(X).dtype.kind in "US":
        X = np.array(X, dtype=object)
    # scikit-learn looks for NaN in the sum of all values, which is inf - inf near the limit.
    with np.errstate(invalid="ignore", over="ignore"):
        return check_array(X, dtype=None, ensure_all_finite="allow-nan", input_name="X")


def _read_array(X):
    names = tuple(f"x{j}" for j in range(X.shape[1]))
    dtype = str(X.dtype)
    columns = []
    for name, values in zip(names, X.T, strict=True):
        if X.dtype.kind in "OUT":
            column = _of_objects(name, values.astype(object), dtype)
            _refuse_infinite(column)
        else:
            column = _of_numbers(name, values, dtype, X.dtype)
        columns.append(column)
    return Source({"kind": "array", "dtype": dtype}, names, tuple(columns), len(X))


def _of_numbers(name, values, dtype, kind):
    """A column of numbers or booleans, of the NumPy dtype `kind`."""
    if kind.kind not in "biuf":
        raise TypeError(f"Got dtype {dtype} in column {name!r}, {EXPECTED}.")
    type_ = ColumnType(
        dtype=dtype,
        sort=TRUTH if kind.kind == "b" else NUMBER,
        is_whole=kind.kind in "iu",
        precision=float(max(EPS, np.finfo(kind).eps)) if kind.kind == "f" else EPS,
    )
    return RawColumn(name, type_, np.asarray(values, dtype=np.float64))


def _of_objects(name, values, dtype):
    """A column of Python objects: all strings, all booleans or all numbers, beside holes."""
    sorts = {kind: _sort_of(kind, name) for kind in set(map(type, values))}
    found = {kind: sort for kind, sort in sorts.items() if sort is not None}
    if TEXT in found.values():
        return RawColumn(name, ColumnType(dtype, TEXT), _as_strings(name, values, sorts))
    is_whole = bool(found) and all(issubclass(kind, int | np.integer) for kind in found)
    is_truth = set(found.values()) == {TRUTH}
    type_ = ColumnType(dtype, TRUTH if is_truth else NUMBER, is_whole and not is_truth)
    return RawColumn(name, type_, _as_floats(name, values, found))


def plain_values(values, type_):
    """A tuple of the values of an array as Python's own: str, bool, int or float."""
    if type_.sort == TEXT:
        return tuple(values)
    kind = bool if type_.sort == TRUTH else int if type_.is_whole else float
    return tuple(map(kind, values.tolist()))


def _sort_of(kind, name):
    if kind.__name__ in HOLES:
        return None
    if issubclass(kind, str):
        return TEXT
    if issubclass(kind, bool | np.bool_):
        return TRUTH
    if issubclass(kind, Real):
        return NUMBER
    raise TypeError(
        f"Got {kind.__name__} in column {name!r}: each argument must be a string, a number or"
        " missing."
    )


def _as_floats(name, values, found):
    try:
        return np.array([float(v) if type(v) in found else np.nan for v in values], np.float64)
    except OverflowError as error:
        raise ValueError(
            f"Got a number too large for float64 in column {name!r}, expected finite numbers."
        ) from error


def _as_strings(name, values, sorts):
    """Strings, None at holes; a number among them may only be NaN."""
    if set(sorts) == {str}:
        return values
    strings = np.full(len(values), None)
    is_text = np.array([sorts[type(value)] == TEXT for value in values])
    strings[is_text] = [str(value) for value in values[is_text]]
    for i in np.flatnonzero(~is_text).tolist():
        value = values[i]
        if sorts[type(value)] is not None and value == value:
            raise TypeError(
                f"Got numbers and strings in column {name!r} ({value!r} in row {i}), expected"
                " either: convert the column to one of them."
            )
    return strings


def _refuse_infinite(column):
    if column.type.sort != TEXT and np.isinf(column.values).any():
        raise ValueError(
            f"Input X contains infinity or a value too large for dtype('float64') in column"
            f" {column.name!r}, expected finite numbers."
        )


def _of_categories(name, codes, categories, dtype, declared_dtype="", is_ordered=False):
    """A column of a category dtype; codes (n,) are -1 at holes."""
    levels = _of_objects(name, np.array([*categories, None], dtype=object), dtype)
    declared = plain_values(levels.values[:-1], levels.type)
    type_ = levels.type._replace(
        is_category=True, declared=declared, declared_dtype=declared_dtype, is_ordered=is_ordered
    )
    return RawColumn(name, type_, levels.values[codes])


def _read_pandas(name, series):
    dtype, text = series.dtype, str(series.dtype)
    if text == "category":
        categories = series.cat.categories
        codes = series.cat.codes.to_numpy()
        return _of_categories(
            name, codes, categories, text, str(categories.dtype), bool(series.cat.ordered)
        )
    if dtype.kind in "biuf":
        numbers = series.to_numpy(dtype=np.float64, na_value=np.nan)
        return _of_numbers(name, numbers, text, numpy_dtype(dtype))
    if dtype.kind == "O":
        return _of_objects(name, series.to_numpy(dtype=object), text)
    raise TypeError(f"Got dtype {text} in column {name!r}, {EXPECTED}.")


def numpy_dtype(dtype):
    """The NumPy dtype of the values of a dtype of pandas, object where they are no numbers."""
    if dtype.kind not in "biuf":
        return np.dtype(object)
    for attribute in ("numpy_dtype", "subtype"):
        dtype = getattr(dtype, attribute, dtype)
    return np.dtype(dtype)


def _read_polars(name, series):
    polars = sys.modules["polars"]
    dtype, text = series.dtype, str(series.dtype)
    if dtype == polars.Enum:
        categories = dtype.categories.to_list()
        codes = series.to_physical().cast(polars.Int64).fill_null(-1).to_numpy()
        return _of_categories(name, codes, categories, "Enum")
    if dtype == polars.Categorical:
        column = _of_objects(name, series.cast(polars.String).to_numpy(), text)
        return column._replace(type=column.type._replace(is_category=True))
    if dtype.is_numeric() or dtype in (polars.Boolean, polars.Null):
        kind = "b" if dtype == polars.Boolean else "i" if dtype.is_integer() else "f"
        kind = "f4" if dtype == polars.Float32 else {"b": "?", "i": "i8", "f": "f8"}[kind]
        return _of_numbers(name, series.cast(polars.Float64).to_numpy(), text, np.dtype(kind))
    if dtype in (polars.String, polars.Object):
        return _of_objects(name, np.array([*series.to_list(), None], dtype=object)[:-1], text)
    raise TypeError(f"Got dtype {text} in column {name!r}, {EXPECTED}.")
