"""Which columns are asked for, their places in full rows, and their values from users and back."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_array

from skrae.density.incomplete.rows import one_hot_slices, raw_rows
from skrae.preprocessing.rows import frame_of, plain_array
from skrae.preprocessing.table.options import CATEGORICAL, CONSTANT
from skrae.preprocessing.table.reading import TEXT
from skrae.preprocessing.table.table import Table, View


class Place(NamedTuple):
    """Where a column is in full rows: its number and the slice of its one-hot, or None each."""

    number: int | None
    one_hot: slice | None


class Chosen(NamedTuple):
    """Some of the columns of a fit.

    Parameters
    ----------
    names : list, of all columns
    index : tuple of ints, those that are chosen
    is_one : bool, whether one was asked for by itself, not in a list
    table : Table, or None where all columns are plain numbers
    """

    names: list
    index: tuple
    is_one: bool
    table: Table | None

    @property
    def features(self):
        """What is known of each, None where they are plain numbers."""
        return [None if self.table is None else self.table.features[j] for j in self.index]

    @property
    def labels(self):
        """Their names."""
        return [self.names[j] for j in self.index]

    def places(self, width):
        """The `Place` of each in full rows of so many entries."""
        if self.table is None:
            return [Place(j, None) for j in self.index]
        one_hots = one_hot_slices(self.table, width)
        numbers, codes = self.table.numeric_of, self.table.code_of
        return [
            Place(
                int(numbers[j]) if numbers[j] >= 0 else None,
                one_hots[codes[j]] if codes[j] >= 0 else None,
            )
            for j in self.index
        ]

    def without(self, X):
        """Full rows (n, d) without any entry of these columns."""
        X = X.astype(np.float64)
        for place in self.places(X.shape[1]):
            for part in place:
                if part is not None:
                    X[:, part] = np.nan
        return X

    def with_values(self, X, view):
        """Full rows (n, d) with the entries of a `View` of these columns."""
        X, numbers, codes = X.copy(), iter(view.numeric.T), iter(view.codes.T)
        for place in self.places(X.shape[1]):
            if place.number is not None:
                X[:, place.number] = next(numbers)
            if place.one_hot is not None:
                own = next(codes)
                size = place.one_hot.stop - place.one_hot.start
                X[:, place.one_hot] = np.where(own[:, None] < 0, np.nan, np.eye(size)[own])
        return X

    def read(self, Y):
        """The `View` of values (n, k) of these columns; (n,) of one.

        Raises
        ------
        ValueError
            For another number of columns, and for values that the fit would refuse.
        """
        Y = _as_rows(Y)
        if self.table is None:
            found = check_array(plain_array(Y), dtype=np.float64, ensure_all_finite="allow-nan")
            self._check_width(found.shape[1])
            return View(found, np.zeros((len(found), 0), int), np.zeros(len(found)))
        self._check_width(np.shape(Y)[1])
        return Table(tuple(self.features), self.table.container).read(Y)

    def _check_width(self, width):
        if width != len(self.index):
            raise ValueError(
                f"Got values of {width} columns, expected {len(self.index)}: {self.labels}."
            )

    def decoded(self, X):
        """The values of these columns in full rows, (n, k)."""
        if self.table is None:
            return X[:, list(self.index)]
        rows = raw_rows(self.table, X)
        if frame_of(rows) is not None:
            return rows[self.labels].to_numpy()
        return rows[:, list(self.index)]

    def values(self, drawn):
        """What was drawn of the only column: its numbers, or the levels of its codes."""
        (feature,) = self.features
        if feature is None or feature.kind not in (CATEGORICAL, CONSTANT):
            return drawn
        return self.levels_of(feature)[drawn.astype(int)]

    @staticmethod
    def levels_of(feature):
        """The levels of a category, strings as objects."""
        return np.array(feature.points, dtype=object if feature.type.sort == TEXT else None)

    def as_asked(self, values):
        """Values (..., k) without the last axis where one column was asked for by itself."""
        return values[..., 0] if self.is_one else values


def chosen_columns(model, columns):
    """The `Chosen` columns of a fitted estimator.

    Parameters
    ----------
    model : fitted estimator
    columns : int, str, or sequence of them, or a boolean mask

    Raises
    ------
    ValueError, TypeError
        For what names no column, for the same column twice, and for none.
    """
    d = model.n_features_in_
    names = list(getattr(model, "feature_names_in_", [f"x{j}" for j in range(d)]))
    is_one = isinstance(columns, str) or np.ndim(columns) == 0
    listed = [columns] if is_one else list(columns)
    if listed and all(isinstance(flag, bool | np.bool_) for flag in listed) and not is_one:
        if len(listed) != d:
            raise ValueError(f"Got columns, a mask of {len(listed)} entries, expected {d}.")
        listed = np.flatnonzero(listed).tolist()
    index = tuple(_index(column, names) for column in listed)
    if not index or len(set(index)) < len(index):
        raise ValueError(f"Got columns={columns!r}, expected at least one column, and none twice.")
    return Chosen(names, index, is_one, model._table())


def _index(column, names):
    d = len(names)
    if isinstance(column, str) and column in names:
        return names.index(column)
    is_number = isinstance(column, Integral) and not isinstance(column, bool | np.bool_)
    if is_number and -d <= column < d:
        return int(column) % d
    if not (is_number or isinstance(column, str)):
        raise TypeError(f"Got {column!r} in columns, expected names or positions of columns.")
    raise ValueError(
        f"Got {column!r} in columns, expected a name or a position of the {d} columns {names[:10]}."
    )


def _as_rows(Y):
    """Values in two dimensions: (n,) becomes (n, 1), a series a frame."""
    if hasattr(Y, "to_frame"):
        return Y.to_frame()
    if frame_of(Y) is not None:
        return Y
    array = plain_array(Y) if hasattr(Y, "shape") else np.asarray(Y)
    if array.dtype.kind in "US" and not hasattr(Y, "shape"):
        array = np.array(Y, dtype=object)
    return array[:, None] if array.ndim == 1 else array
