"""Rows and weights as users hand them over, and rows handed back in the same container."""

import importlib
import sys
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skrae.preprocessing.contract.caller import warn

# Libraries whose data frames are handed back as such. None is imported before it was used.
FRAME_LIBRARIES = "pandas", "polars"
# The least share of all weight that the rows besides the heaviest have together. Each step of a sum
# rounds to 2e-16 of it: of a hundred others two digits are left here, at 1e-14 none.
LEAST_OTHERS = 1e-12


class WeightedRows(NamedTuple):
    """Rows in working space and their weights."""

    z: torch.Tensor  # (n, d)
    weights: torch.Tensor  # (n,)

    def to(self, device):
        """The same on a device."""
        return WeightedRows(self.z.to(device), self.weights.to(device))


def weighted_mean(values, weights):
    """sum w v / sum w of tensors (n,), a float."""
    return float(weights @ values / weights.sum())


def mean_and_error(values, weights):
    """sum w v / sum w and its standard error, floats, of arrays or tensors (n,)."""
    share = weights / weights.sum()
    mean = share @ values
    return float(mean), float((share**2 @ (values - mean) ** 2) ** 0.5)


def first_as_good(values, weights):
    """The first of `values`, (n,) each, within half a standard error of the one of highest mean."""
    best = max(values, key=lambda value: weighted_mean(value, weights))
    losses = (mean_and_error(best - value, weights) for value in values)
    return next(i for i, (loss, error) in enumerate(losses) if loss <= 0.5 * error)


def plain_array(X):
    """Tensors and masked arrays as NumPy arrays, what is masked as NaN; anything else as it is.

    >>> plain_array(np.ma.masked_greater([1, 5], 3))
    array([ 1., nan])
    """
    if isinstance(X, torch.Tensor):
        return X.numpy(force=True)
    if isinstance(X, np.ma.MaskedArray):
        return X.astype(np.result_type(X.dtype, np.float32)).filled(np.nan)
    return X


def frame_of(X):
    """What `as_frame` takes to make rows a data frame as X is one; None where X is none.

    >>> frame_of(np.zeros((2, 2))) is None
    True
    """
    for kind in FRAME_LIBRARIES:
        frame = getattr(sys.modules.get(kind), "DataFrame", None)
        if frame is not None and isinstance(X, frame):
            return {"kind": kind, "columns": list(X.columns)}
    return None


def taken_rows(X, index):
    """Some rows of an array or a data frame, in its container.

    >>> taken_rows([[1.0], [2.0]], np.array([1])).tolist()
    [[2.0]]
    """
    frame = frame_of(X)
    if frame is None:
        return np.asarray(plain_array(X))[index]
    return X.iloc[index] if frame["kind"] == "pandas" else X[index.tolist()]


def as_frame(rows, frame):
    """Rows (n, d) as the data frame that `frame_of` told of; as they are for None.

    Warns
    -----
    UserWarning
        Where the library of the frame is not there any more: rows stay an array.
    """
    if frame is None:
        return rows
    kind, columns = frame["kind"], frame["columns"]
    try:
        library = importlib.import_module(kind)
    except ImportError:
        warn(f"Got a model of a {kind} data frame, but no {kind}: its rows are given as an array.")
        return rows
    if kind == "polars":
        return library.DataFrame(rows, schema=columns, orient="row")
    if isinstance(columns[0], tuple):
        columns = library.MultiIndex.from_tuples(columns)
    return library.DataFrame(rows, columns=columns)


def as_fitted(estimator, rows):
    """Rows (n, d) in the container that the estimator was fitted to, where it tells of one.

    An estimator of raw tables decodes what stands for their rows.
    """
    rows = check_overflow(rows)
    found = estimator._decoded(rows) if hasattr(estimator, "_decoded") else None
    return as_frame(rows, getattr(estimator, "_fitted_frame", None)) if found is None else found


def check_overflow(rows):
    """The rows; ValueError where they are infinite, as answers are that float32 does not hold."""
    if np.isinf(rows).any():
        raise ValueError(
            f"Got an answer that overflows {rows.dtype.name}, expected other units, or rows of"
            " float64."
        )
    return rows


def completed_as(X, rows):
    """Completed rows in the container of X, of whose data frame complete columns stay as they are.

    Parameters
    ----------
    X : array-like of shape (n, d), NaN where unknown
    rows : array of shape (m, d), the first m <= n rows without what was unknown
    """
    frame = frame_of(X)
    if frame is None:
        return rows
    found = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=0)
    filled, whole = np.isnan(found).any(axis=0), X.head(len(rows))
    columns = [(j, rows[:, j]) for j in np.flatnonzero(filled).tolist()]
    fill = _fill_polars if frame["kind"] == "polars" else _fill_pandas
    return fill(whole, columns, sys.modules[frame["kind"]])


def _fill_pandas(frame, columns, pandas):
    frame = frame.copy()
    for j, values in columns:
        dtype, column = frame.dtypes.iloc[j], pandas.Series(values, index=frame.index)
        is_float = pandas.api.types.is_float_dtype(dtype)
        frame.isetitem(j, column.astype(dtype) if is_float else column)
    return frame


def _fill_polars(frame, columns, polars):
    for j, values in columns:
        dtype, column = frame.dtypes[j], polars.Series(frame.columns[j], values)
        frame = frame.with_columns(column.cast(dtype) if dtype.is_float() else column)
    return frame


def check_rows(estimator, X, reset, ensure_min_samples=1, advice=None):
    """X as finite float64 rows, or float32 where X is; features set on the estimator or checked.

    Parameters
    ----------
    estimator : the estimator that asks
    X : array-like of shape (n, d)
    reset : bool, whether it is fitted to the rows
    ensure_min_samples : int
    advice : str or None, what to do about NaN; None where it may stand for what is missing

    Raises
    ------
    ValueError
        For what scikit-learn refuses, and for NaN, with what can be done about it.
    """
    # scikit-learn looks for NaN in the sum of all values, which is inf - inf near the limit.
    with np.errstate(invalid="ignore", over="ignore"):
        X = validate_data(
            estimator,
            plain_array(X),
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_min_samples=ensure_min_samples,
            ensure_all_finite="allow-nan",
        )
        if advice is not None and np.isnan(X.sum()):
            refuse_missing(X, advice)
    return X


def refuse_missing(X, advice, name="X"):
    """Raise ValueError for rows (n, d) with NaN, saying how many there are and what to do."""
    holes = np.flatnonzero(np.isnan(X).any(axis=1))
    if not len(holes):
        return
    raise ValueError(
        f"Got {name} with NaN in {len(holes)} of {len(X)} rows, the first in row {holes[0]},"
        f" expected finite numbers: {advice}."
    )


def check_codes(X, n_codes):
    """Codes (n, n_codes) as finite float64, or float32 where X is.

    Raises
    ------
    ValueError
        For another number of columns, and for what scikit-learn refuses.
    """
    codes = check_array(plain_array(X), dtype=[np.float64, np.float32], input_name="X")
    if codes.shape[1] != n_codes:
        raise ValueError(
            f"Got X with {codes.shape[1]} columns, expected {n_codes}, the size of a code."
        )
    return codes


def check_weights(sample_weight, X):
    """Sample weights as float64 (n,), scaled to mean 1; ones where None.

    Raises
    ------
    ValueError
        For negative, non-finite or all-zero weights, or weights of the wrong length.
    """
    if sample_weight is None:
        return np.ones(len(X))
    weights = np.array(
        check_array(
            plain_array(sample_weight),
            dtype=np.float64,
            ensure_2d=False,
            input_name="sample_weight",
        )
    )
    if weights.shape != (len(X),):
        raise ValueError(f"Got sample_weight of shape {weights.shape}, expected ({len(X)},).")
    if (weights < 0.0).any():
        raise ValueError(f"Got sample_weight with {weights.min()}, expected weights >= 0.")
    if not weights.any():
        raise ValueError("Got sample_weight of zeros alone, expected at least one positive weight.")
    # However small, what is positive stays so.
    least = np.finfo(np.float64).tiny * (weights > 0.0)
    weights = np.maximum(weights / weights.max(), least)
    return weights / weights.mean()


def distinct_rows(X, sample_weight):
    """The distinct rows of positive weight, and their weights with mean 1.

    Raises
    ------
    ValueError
        For weights that `check_weights` refuses, for rows that are all equal, and for weights of
        which one leaves the others no share that sums would keep.
    """
    weights = check_weights(sample_weight, X)
    if not weights.all():  # a copy of the rows only where there is something to leave out
        X, weights = X[weights > 0.0], weights[weights > 0.0]
    if (X[0] == X).all():
        raise ValueError(
            f"Got {len(X)} row(s) of positive weight, all equal, expected at least two"
            " different rows: of one point nothing can be learned."
        )
    X, weights = merged(X, weights)
    check_others(weights)
    return X, weights / weights.mean()


def check_others(weights):
    """Raise ValueError where one of positive weights leaves the others no share that sums keep."""
    others = np.delete(weights, weights.argmax()).sum() / weights.sum()
    if others < LEAST_OTHERS:
        raise ValueError(
            f"Got sample_weight of which one row leaves all others a share of {others:.2g},"
            f" expected at least {LEAST_OTHERS:g}: beside it they vanish in every sum, and of"
            " one point nothing can be learned. Lower its weight, or leave the row out."
        )


def canonical_order(X):
    """Indices (n,) that bring distinct rows into an order of their own, whatever they came in.

    >>> X = np.array([[2.0, 1.0], [1.0, 3.0], [1.0, 2.0]])
    >>> X[canonical_order(X)].tolist() == X[[1, 2, 0]][canonical_order(X[[1, 2, 0]])].tolist()
    True
    """
    return np.argsort(_keys(X), kind="stable")


def canonical_weights(weights):
    """Weights without their last bits, in which sums of another order differ.

    >>> float(canonical_weights(np.array([1.0 + 1e-15]))[0])
    1.0
    """
    parts, exponents = np.frexp(weights)
    return np.ldexp(np.round(parts * 2.0**40), exponents - 40)


def _keys(X):
    """One key a row, equal where the rows are."""
    contiguous = np.ascontiguousarray(X) + 0.0  # -0.0 is 0.0
    return contiguous.view(np.dtype((np.void, contiguous.dtype.itemsize * X.shape[1]))).ravel()


def merged(X, weights):
    """Distinct rows, in the order of their first places, and the sums of their weights.

    What is repeated says no more than its weight does: k copies and a weight of k are one table.
    """
    _, first, inverse = np.unique(_keys(X), return_index=True, return_inverse=True)
    if len(first) == len(X):
        return X, weights
    order = np.argsort(first)
    sums = np.bincount(inverse.ravel(), weights, len(first))
    return X[first[order]], sums[order]
