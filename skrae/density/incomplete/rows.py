"""Rows of a user, whatever they are, as full rows; and answers about those, column by column.

A table in which nothing was found, whose rows are complete, is answered as ever.
"""

import weakref
from functools import cached_property
from itertools import accumulate, pairwise
from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.utils.validation import validate_data

from skrae.density.incomplete.cells import Cells
from skrae.density.incomplete.evaluator import IncompleteEvaluator
from skrae.density.incomplete.law import RawRows, full_rows
from skrae.preprocessing.rows import (
    check_others,
    check_overflow,
    check_rows,
    check_weights,
    completed_as,
    distinct_rows,
    frame_of,
    plain_array,
)
from skrae.preprocessing.sources.pieces import is_iterable
from skrae.preprocessing.table.options import ATOMS, CELLS, CONTINUOUS, HEAPS
from skrae.preprocessing.table.reading import TEXT
from skrae.preprocessing.table.report import ColumnReport
from skrae.preprocessing.table.table import Table, describe

TRUTHS = bool, np.bool_


class AskedRows(NamedTuple):
    """Full rows (n, d), NaN where an entry is missing; dtype of answers; nats of unseen levels."""

    X: np.ndarray
    dtype: np.dtype
    log_floor: np.ndarray | float = 0.0


class FitRows(NamedTuple):
    """What a fit learns from: distinct rows (n, d) or `RawRows`, and weights (n,) of mean 1."""

    X: np.ndarray | RawRows
    weights: np.ndarray
    table: Table | None  # None where nothing was found but plain numbers
    dtype: np.dtype


def fit_rows(estimator, X, sample_weight, reset):
    """The `FitRows` of a table as it is; features set on the estimator, or checked."""
    numbers = checked(estimator, X, reset, ensure_min_samples=2)
    weights = check_weights(sample_weight, X if numbers is None else numbers)
    table = _described(estimator, X, weights) if reset else table_of(estimator.table_)
    if table is None and np.isnan(numbers).any():  # a fit to complete rows that goes on
        full, levels = numbers.astype(np.float64), ()
        cells = Cells(np.zeros(numbers.shape[1]))
    elif table is None or (table.is_plain and numbers is not None):
        return FitRows(*distinct_rows(numbers, sample_weight), None, numbers.dtype)
    else:
        full, cells, levels = rows_of_table(table, X).X, cells_of(table), table.levels
    full, weights = _weighted(full, weights)
    if table and not len(table.steps):
        full[:, 0] = np.random.RandomState(0).standard_normal(len(full))
    dtype = np.dtype(np.float64) if table else numbers.dtype
    return FitRows(RawRows(full, cells, levels), weights, table, dtype)


def _described(estimator, X, weights):
    """The `Table` of rows; decoders of numbers alone have flags and atoms as plain numbers."""
    features, kinds = estimator.categorical_features, estimator.column_kinds
    table = describe(X, weights, features, kinds)
    is_auto = isinstance(features, str) and isinstance(kinds, str) and kinds == "auto"
    if estimator.decoder == "gradient" or not is_auto:
        return table
    found = {
        place: CONTINUOUS
        for place, feature in enumerate(table.features)
        if feature.n_codes and feature.type.sort != TEXT
    }
    return describe(X, weights, features, found) if found else table


def _weighted(full, weights):
    """Rows of positive weight, and their weights as if there had been no others.

    Raises
    ------
    ValueError
        Where they are all equal, and where one leaves the others no share that sums would keep.
    """
    full, weights = full[weights > 0.0], weights[weights > 0.0]
    if ((full == full[0]) | (np.isnan(full) & np.isnan(full[0]))).all():
        raise ValueError(
            f"Got {len(full)} row(s) of positive weight, all equal, expected at least two"
            " different rows: of one point nothing can be learned."
        )
    check_others(weights)
    return full, check_weights(weights, full)


def checked(estimator, X, reset, ensure_min_samples=1):
    """X as an array of numbers, NaN where missing; None where columns are of other types too."""
    if getattr(X, "ndim", 2) == 1 and not isinstance(X, np.ndarray):
        raise ValueError(
            f"Got a {type(X).__name__} of shape {X.shape}, expected a 2-dimensional container."
            " Reshape your data: frame.iloc[[0]] is one row, frame[['a']] one column."
        )
    if is_iterable(X):
        raise TypeError(
            f"Got a {type(X).__name__}, expected rows in memory, as an array or a data frame."
        )
    if not _is_mixed(X):
        return check_rows(estimator, X, reset, ensure_min_samples)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    if len(X) < ensure_min_samples:
        raise ValueError(f"Got X with {len(X)} row(s), expected at least {ensure_min_samples}.")
    return None


def _is_mixed(X):
    """Whether a column is of no number type, as of strings, categories or objects."""
    frame = frame_of(X)
    if frame is None:
        X = np.asarray(plain_array(X))
        if X.ndim == 2 and X.dtype.kind == "O":
            return not all(
                issubclass(kind, Real) and kind not in TRUTHS for kind in map(type, X.flat)
            )
        return X.ndim == 2 and X.dtype.kind in "US"
    if frame["kind"] == "polars":
        return not all(dtype.is_numeric() for dtype in X.dtypes)
    return not all(getattr(dtype, "kind", "O") in "iuf" for dtype in X.dtypes)


def asked_rows(estimator, table, X):
    """The `AskedRows` of a question to a fitted estimator."""
    if table is None:
        numbers = check_rows(estimator, X, reset=False)
        return AskedRows(numbers, numbers.dtype)
    checked(estimator, X, reset=False)
    return rows_of_table(table, X)


def rows_of_table(table, X):
    """The `AskedRows` of a raw table.

    One without a numeric column has a column of noise, which no row tells of.
    """
    view = table.read(X)
    if not view.numeric.shape[1]:
        view = view._replace(numeric=np.full((len(view.codes), 1), np.nan))
    return AskedRows(full_rows(view, table.levels), np.dtype(np.float64), view.log_floor)


def cells_of(table):
    """The `Cells` of the numeric columns of full rows."""
    return Cells(table.steps, table.heaps) if len(table.steps) else Cells(np.zeros(1))


# By evaluator of full rows: what is built is neither pickled nor compared.
_BUILT = weakref.WeakKeyDictionary()


def table_evaluator(evaluator, table):
    """The `TableEvaluator` of an evaluator, made once."""
    if evaluator not in _BUILT:
        _BUILT[evaluator] = TableEvaluator(evaluator, table)
    return _BUILT[evaluator]


class TableEvaluator:
    """What `Evaluator` answers, about rows that may be incomplete, by the user's columns.

    Parameters
    ----------
    evaluator : Evaluator
    table : Table, or None where all columns are plain numbers
    """

    def __init__(self, evaluator, table):
        self.evaluator, self.table = evaluator, table
        n = evaluator.field.base.n_numeric
        self.cells = Cells(np.zeros(n)) if table is None else cells_of(table)

    @cached_property
    def incomplete(self):
        """The evaluator of rows that tell less than all, made when the first is asked about."""
        return IncompleteEvaluator(self.evaluator, self.cells)

    def ask(self, question, rows, *options):
        """The answer of the method of that name."""
        complete = np.zeros(len(rows.X), bool)
        if not self.cells.any:
            complete = ~np.isnan(rows.X).any(axis=1)
        if complete.all() and self.table is None:
            return getattr(self.evaluator, question)(rows.X, *options)
        return getattr(self, question)(rows, complete, *options)

    def _joined(self, rows, complete, of_complete, of_others):
        """Answers about complete rows and about the others, float64, in their order."""
        parts = []
        if complete.any():
            parts.append((complete, of_complete(rows.X[complete])))
        if not complete.all():
            parts.append((~complete, of_others(rows.X[~complete])))
        found = np.empty((len(rows.X), *parts[0][1].shape[1:]))
        for place, values in parts:
            found[place] = values
        return found

    def _answers(self, question, rows, complete, *options):
        """The answers that both evaluators have by the same name."""
        return self._joined(
            rows,
            complete,
            lambda X: getattr(self.evaluator, question)(X, *options),
            lambda X: getattr(self.incomplete, question)(X, *options),
        )

    def log_density(self, rows, complete):
        """(n,)"""
        found = self._answers("log_density", rows, complete) + rows.log_floor
        return found.astype(rows.dtype, copy=False)

    def base_log_density(self, rows, complete, blur=0.0):
        """(n,)"""
        found = self._answers("base_log_density", rows, complete, blur) + rows.log_floor
        return found.astype(rows.dtype, copy=False)

    def gradient(self, rows, complete):
        """(n, n_features), 0 where there is no derivative, and how many rows were not corrected."""
        n_kept = 0

        def own(X):
            nonlocal n_kept
            values, n_kept = self.evaluator.gradient(X)
            return values

        found = self._joined(rows, complete, own, lambda X: self.incomplete.gradient(X))
        return self._by_features(found).astype(rows.dtype, copy=False), n_kept

    def hessian(self, rows, complete):
        """(n, n_features, n_features), 0 where there is no derivative."""
        found = self._answers("hessian", rows, complete)
        found = self._by_features(self._by_features(found).swapaxes(1, 2)).swapaxes(1, 2)
        return found.astype(rows.dtype, copy=False)

    def _by_features(self, values):
        """Values (n, d, ...) by full rows' columns as those by the user's, 0 for categories."""
        if self.table is None:
            return values
        place = np.asarray(self.table.numeric_of)
        return np.where((place >= 0).reshape(-1, *[1] * (values.ndim - 2)), values[:, place], 0.0)

    def code(self, rows, complete):
        """(n, k): of incomplete rows the mean of the codes of full ones."""
        return self._answers("code", rows, complete).astype(rows.dtype, copy=False)

    def reconstruct(self, rows, complete):
        """Denoised rows as the user has them: (n, n_features) where all columns are numbers."""
        found = self._answers("reconstruct", rows, complete)
        if self.table is None:
            return found.astype(rows.dtype, copy=False)
        return denoised_rows(self.table, found, rows.dtype)

    def local_moments(self, rows, complete):
        """(n, d) and (n, d, d), of complete numeric rows."""
        if self.table is not None or not complete.all():
            raise ValueError(
                "Got rows with holes, categories, cells or atoms, expected complete rows of plain"
                " numbers: local moments are those of a point."
            )
        return self.evaluator.local_moments(rows.X)


def completed_tables(evaluator, rows, X, n_draws, seed):
    """The rows X with draws of what is missing, n_draws tables in the container of X.

    And the effective number of draws of q behind each row, as a share.
    """
    full = np.empty((len(rows.X), n_draws, rows.X.shape[1]))
    effective = evaluator.incomplete.draws(rows.X, n_draws, seed, full.__setitem__, repeats=False)
    return [_completed(evaluator, X, rows, full[:, i]) for i in range(n_draws)], effective


def conditional_draws(evaluator, rows, X, n_draws, seed):
    """The same as an array of shape (n, n_draws, n_features)."""
    tables, effective = completed_tables(evaluator, rows, X, n_draws, seed)
    return np.stack([np.asarray(table) for table in tables], axis=1), effective


def imputed(evaluator, rows, X, n_draws, seed, limits=None):
    """The rows X with the mean of what is missing, of categories the likeliest level.

    Limits (2, n_features), NaN where a column has no numbers, bound the numbers drawn.
    """
    atoms = _atoms(evaluator.table, rows.X.shape[1])
    if limits is not None and evaluator.table is not None:
        limits = limits[:, np.asarray(evaluator.table.numeric_of) >= 0]
    full, effective = evaluator.incomplete.filled(rows.X, n_draws, seed, atoms, limits)
    return _completed(evaluator, X, rows, full), effective


def _atoms(table, width):
    """The column, the slice of one-hots and the values of each column with atoms."""
    if table is None:
        return []
    one_hots = one_hot_slices(table, width)
    parts = zip(table.features, table.numeric_of, table.code_of, strict=True)
    return [
        (int(j), one_hots[c], np.array(feature.points, np.float64))
        for feature, j, c in parts
        if feature.kind == ATOMS
    ]


def one_hot_slices(table, width):
    """Where each code column is in full rows of so many entries, a list of slices."""
    ends = accumulate(table.levels, initial=width - sum(table.levels))
    return [slice(*pair) for pair in pairwise(ends)]


def _completed(evaluator, X, rows, full):
    """The rows X completed by full rows (n, d)."""
    table = evaluator.table
    if table is None:
        return completed_as(X, check_overflow(full.astype(rows.dtype)))
    return table.completed(X, *_parts(table, full))


COMPLETIONS = {"draws": conditional_draws, "mean": imputed, "tables": completed_tables}


def raw_rows(table, full):
    """Full rows (n, d) as rows of the table, the likeliest level where several have a share."""
    return table.rows(*_parts(table, full))


def denoised_rows(table, full, dtype):
    """The same, an array of numbers, between the steps of a grid too, where all columns are."""
    found, kinds = raw_rows(table, full), np.array(table.kinds)
    if (kinds == "categorical").any():
        return found
    found, place = np.asarray(found).astype(dtype), np.asarray(table.numeric_of)
    cells = np.flatnonzero(np.isin(kinds, (CELLS, HEAPS)))
    found[:, cells] = full[:, place[cells]]
    return found


def _parts(table, full):
    """The numbers (n, d_c) and codes (n, J) of full rows."""
    codes = [full[:, own].argmax(axis=1) for own in one_hot_slices(table, full.shape[1])]
    codes = np.stack(codes, axis=1) if codes else np.zeros((len(full), 0), int)
    return full[:, : len(table.steps)], codes


def names_of_numbers(estimator, table):
    """The names of the numeric columns of full rows, or None where the user's have none."""
    names = getattr(estimator, "feature_names_in_", None)
    if table is None or (names is None and len(table.steps)):
        return names
    if not len(table.steps):
        return ["noise"]
    place = np.asarray(table.numeric_of)
    return [names[feature] for feature in np.argsort(place)[(place < 0).sum() :]]


def axis_names(estimator, table):
    """The names of the columns of full rows: of a category one for each level."""
    features = getattr(estimator, "feature_names_in_", None)
    if features is None:
        features = [f"x{j}" for j in range(estimator.n_features_in_)]
    numbers = names_of_numbers(estimator, table)
    if numbers is None:
        numbers = [f"x{j}" for j in np.flatnonzero(np.asarray(table.numeric_of) >= 0)]
    codes = np.asarray(table.code_of)
    levels = [
        f"{features[feature]}={level}"
        for feature in np.argsort(codes)[(codes < 0).sum() :]
        for level in range(table.levels[codes[feature]])
    ]
    return np.array([*numbers, *levels], dtype=object)


def report_of(table, numbers):
    """The report of a fit's columns: what was found of each, and its map where it is a number.

    Parameters
    ----------
    table : Table, or None where all columns are plain numbers
    numbers : dict of arrays of shape (d_c,), about numeric columns
    """
    if table is None:
        return ColumnReport(numbers)
    place, own = np.asarray(table.numeric_of), {}
    for key, values in numbers.items():
        if key not in ("name", "step"):
            fill = {"U": "", "b": False, "i": 0}.get(values.dtype.kind, np.nan)
            own[key] = np.where(place >= 0, values[place], np.array(fill, values.dtype))
    return ColumnReport({**table.report(), **own})


def table_of(state):
    """The `Table` that a fitted model keeps, None for plain numbers."""
    return None if state is None else Table.from_state(state)
