"""A raw table as the fit understood it: views of raw rows, and raw rows of views.

A raw row is an incomplete view of numbers and codes. A hole is not observed; a row at an atom of a
column, a value that many rows share, has a code there and no number.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skrae.preprocessing.rows import check_weights
from skrae.preprocessing.table.features import Feature
from skrae.preprocessing.table.grids.heaps import Heaps
from skrae.preprocessing.table.grids.lattice import Lattice
from skrae.preprocessing.table.kinds import feature_of
from skrae.preprocessing.table.options import ATOMS, CATEGORICAL, CONSTANT, CONTINUOUS, asked_kinds
from skrae.preprocessing.table.reading import TEXT, ColumnType, read_source
from skrae.preprocessing.table.report import ColumnReport
from skrae.preprocessing.table.writing import fill_holes, in_container


class View(NamedTuple):
    """What was observed of n raw rows, as numbers and codes."""

    numeric: np.ndarray  # (n, d_c) float64, NaN where not observed: a hole, or a row at an atom
    codes: np.ndarray  # (n, J) int64, -1 where not observed
    log_floor: np.ndarray  # (n,) nats that levels never seen, and constants, add to log p

    def take(self, index):
        """The view of some of the rows, told by anything that indexes an array."""
        return View(*(part[index] for part in self))


@dataclass(frozen=True)
class Table:
    """The columns of a table, as `describe` found them; plain data.

    A categorical or constant column of n observed entries gives the mass 1 / (n + 1) to all levels
    that were never seen together, and the rest to those that were: `View.log_floor` sums
    log(n / (n + 1)) over a row's known levels and -log(n + 1) over those never seen, whose codes
    are -1 as if they were holes.
    """

    features: tuple
    container: dict

    @property
    def levels(self):
        """The size of each code column, a tuple of J int.

        A categorical column has its levels; a column with atoms {elsewhere, atom, ...}, code 0
        elsewhere.
        """
        return tuple(feature.n_codes for feature in self.features if feature.n_codes)

    @property
    def steps(self):
        """h of the grid of each numeric column, 0.0 where it is continuous, (d_c,)."""
        return np.array([f.step for f in self.features if f.has_numbers], dtype=np.float64)

    @property
    def heaps(self):
        """The `Heaps` of the numeric columns that have preferred values, a dict by their index."""
        numeric = [f for f in self.features if f.has_numbers]
        return {j: feature.heaps for j, feature in enumerate(numeric) if feature.heaps}

    @property
    def numeric_of(self):
        """The numeric column of each feature, int (n_features,), -1 where it has none."""
        return _numbered([feature.has_numbers for feature in self.features])

    @property
    def code_of(self):
        """The code column of each feature, int (n_features,), -1 where it has none."""
        return _numbered([feature.n_codes > 0 for feature in self.features])

    @property
    def kinds(self):
        """The kind of each feature, a tuple of str."""
        return tuple(feature.kind for feature in self.features)

    @property
    def is_plain(self):
        """Whether there is nothing but numbers without holes, each continuous or constant."""
        return all(
            feature.kind in (CONTINUOUS, CONSTANT)
            and feature.type.sort != TEXT
            and not feature.share_missing
            for feature in self.features
        )

    def read(self, X):
        """The `View` of raw rows.

        Parameters
        ----------
        X : array-like or data frame of shape (n, n_features)

        Raises
        ------
        ValueError
            For other columns than those of the fit, for strings where it had numbers and numbers
            where it had strings, and for what `describe` refuses of values.
        """
        source = self._matching(X)
        n = source.n_rows
        numeric = np.full((n, np.sum(self.numeric_of >= 0)), np.nan)
        codes = np.full((n, len(self.levels)), -1, dtype=np.int64)
        log_floor = np.zeros(n)
        for feature, column, j, c in self._with_places(source.columns):
            if feature.kind in (CATEGORICAL, CONSTANT):
                places = feature.place(column)
                log_floor += _floor(feature, column, places)
            if feature.kind == CATEGORICAL:
                codes[:, c] = places
            elif feature.kind != CONSTANT:
                numeric[:, j] = column.values
            if feature.kind == ATOMS:
                codes[:, c] = np.where(column.missing, -1, feature.place(column) + 1)
                numeric[codes[:, c] > 0, j] = np.nan
        return View(numeric, codes, log_floor)

    def rows(self, numeric, codes):
        """Complete raw rows in the container of the fit.

        Numbers of cells are snapped to their grid, integers are integers, and dtypes are those of
        the fit.

        Parameters
        ----------
        numeric : array of shape (n, d_c); at atoms what is there does not matter
        codes : int array of shape (n, J)

        Returns
        -------
        rows : data frame of the fit's library, or array of the fit's dtype

        Raises
        ------
        ValueError
            For arrays of other shapes, and for what is not observed.
        """
        numeric, codes = self._checked(numeric, codes)
        everywhere = np.ones(len(numeric), dtype=bool)
        values = self._decoded(numeric, codes, [everywhere] * len(self.features))
        return in_container(self.features, values, self.container, len(numeric))

    def completed(self, X, numeric, codes):
        """Raw rows with their holes filled, all that was observed as it is.

        Parameters
        ----------
        X : array-like or data frame of shape (n, n_features)
        numeric, codes : arrays of shape (m, d_c) and (m, J) for the first m <= n rows, as `rows`
            takes them; they are read at the holes of X alone

        Returns
        -------
        rows : m rows in the container of X
        """
        numeric, codes = self._checked(numeric, codes)
        m, source = len(numeric), self._matching(X)
        if m > source.n_rows:
            raise ValueError(f"Got {m} rows to complete X of {source.n_rows} rows with.")
        missing = [column.missing[:m] for column in source.columns]
        fillings = self._decoded(numeric, codes, missing)
        return fill_holes(X, self.features, missing, fillings)

    def report(self, more=None):
        """What became of each column, a `ColumnReport`.

        Parameters
        ----------
        more : dict of arrays of shape (n_features,) or None, put behind what there is
        """
        features = self.features
        return ColumnReport(
            {
                "name": np.array([str(f.name) for f in features]),
                "kind": np.array(self.kinds),
                "dtype": np.array([f.type.dtype for f in features]),
                "missing": np.array([f.share_missing for f in features]),
                "n_levels": np.array(
                    [len(f.points) if f.kind == CATEGORICAL else 0 for f in features]
                ),
                "step": np.array([f.step for f in features], dtype=np.float64),
                "n_heaps": np.array([len(f.heaps.values) if f.heaps else 0 for f in features]),
                "atoms": [f.points if f.kind == ATOMS else () for f in features],
                **(more or {}),
            }
        )

    def state(self):
        """All of it in dicts, tuples, str and numbers, for `from_state`."""
        plain = [
            tuple(tuple(part) if isinstance(part, NESTED) else part for part in feature)
            for feature in self.features
        ]
        return {"container": dict(self.container), "features": tuple(plain)}

    @classmethod
    def from_state(cls, state):
        """The table whose `state` this is."""
        features = []
        for part in map(tuple, state["features"]):
            feature = Feature(*part)
            parts = {"type": ColumnType(*feature.type)}
            for name, kind in (("lattice", Lattice), ("heaps", Heaps)):
                value = getattr(feature, name)
                parts[name] = None if value is None else kind(*value)
            features.append(feature._replace(**parts))
        return cls(tuple(features), dict(state["container"]))

    def _with_places(self, parts):
        """Of each feature: itself, its part, its numeric column and its code column."""
        return zip(
            self.features, parts, self.numeric_of.tolist(), self.code_of.tolist(), strict=True
        )

    def _matching(self, X):
        """The `Source` of X, with the columns of the fit."""
        source = read_source(X)
        d, names = len(self.features), [feature.name for feature in self.features]
        if len(source.names) != d:
            others = sorted(set(map(str, source.names)) ^ set(map(str, names)))
            raise ValueError(
                f"X has {len(source.names)} features, but Table is expecting {d} features as"
                f" input: {others} in one of them alone."
            )
        frames = "array" not in (source.container["kind"], self.container["kind"])
        if frames and list(source.names) != names:
            raise ValueError(
                f"Got columns {list(source.names)}, expected those of the fit in their order,"
                f" {names}."
            )
        for feature, column in zip(self.features, source.columns, strict=True):
            _refuse_other_sort(feature, column)
        return source

    def _checked(self, numeric, codes):
        numeric, codes = np.asarray(numeric, dtype=np.float64), np.asarray(codes, dtype=np.int64)
        shapes = (len(numeric), len(self.steps)), (len(numeric), len(self.levels))
        if (numeric.shape, codes.shape) != shapes:
            raise ValueError(
                f"Got numeric and codes of shapes {numeric.shape} and {codes.shape}, expected"
                f" {shapes[0]} and {shapes[1]}."
            )
        return numeric, codes

    def _decoded(self, numeric, codes, masks):
        """For each feature, its values in the rows of its mask."""
        values = []
        for feature, mask, j, c in self._with_places(masks):
            numbers = numeric[mask, j] if j >= 0 else None
            own_codes = codes[mask, c] if c >= 0 else None
            _refuse_incomplete(feature, numbers, own_codes)
            values.append(feature.values(int(mask.sum()), numbers, own_codes))
        return values


NESTED = ColumnType, Lattice, Heaps


def describe(X, weights=None, categorical_features="from_dtype", column_kinds="auto"):
    """The `Table` of raw rows: what each column is, and how it is read.

    Parameters
    ----------
    X : array-like or data frame of pandas or polars, of shape (n, n_features)
        Holes are NaN, None, pandas' NA and NaT and polars' null.
    weights : array-like of shape (n,) or None
        Rows of weight zero are left out; otherwise every row counts as one.
    categorical_features : "from_dtype", None, or array-like of bool, int or str
        Which columns are categories: those of category, string and boolean dtypes and of objects
        that are strings or booleans; none; or a mask, indices or names.
    column_kinds : "auto", str or dict
        The kind of all columns of numbers, or of some by their names or indices: "continuous",
        "cells", "heaps", "atoms", "categorical", "constant" or "auto". A column of one value is
        constant whatever is asked for.

    Raises
    ------
    ValueError, TypeError
        For options outside these; for columns without any observed value, of infinite values, of
        numbers and strings, of other types, or of levels that look like an identifier.

    Examples
    --------
    >>> X = np.array([["a", 1.5], ["b", 2.0], ["a", None]], dtype=object)
    >>> table = describe(X)
    >>> table.kinds, table.levels
    (('categorical', 'continuous'), (2,))
    >>> view = table.read(X)
    >>> view.codes.ravel().tolist(), view.numeric.ravel().tolist()
    ([0, 1, 0], [1.5, 2.0, nan])
    >>> table.rows([[2.5]], [[1]]).tolist()
    [['b', 2.5]]
    """
    source = read_source(X)
    kept = check_weights(weights, range(source.n_rows)) > 0.0
    asked = asked_kinds(source, categorical_features, column_kinds)
    columns = source.columns if kept.all() else [column.kept(kept) for column in source.columns]
    features = (feature_of(column, kind) for column, kind in zip(columns, asked, strict=True))
    return Table(tuple(features), source.container)


def _numbered(chosen):
    """0, 1, ... for each that is chosen, -1 for the others."""
    chosen = np.array(chosen)
    return np.where(chosen, np.cumsum(chosen) - 1, -1)


def _floor(feature, column, places):
    """What the levels of a column add to log p, (n,); nothing at holes."""
    n = feature.n_observed
    found = np.where(places >= 0, -np.log1p(1.0 / n), -np.log1p(n))
    return np.where(column.missing, 0.0, found)


def _refuse_incomplete(feature, numbers, codes):
    n_codes, is_at_atom = feature.n_codes, False
    if codes is not None:
        if ((codes < 0) | (codes >= n_codes)).any():
            raise ValueError(
                f"Got codes of column {feature.name!r} outside 0 .. {n_codes - 1}, expected"
                " complete rows."
            )
        is_at_atom = codes > 0
    if numbers is not None and not (np.isfinite(numbers) | is_at_atom).all():
        raise ValueError(
            f"Got numbers of column {feature.name!r} that are not finite, expected complete rows."
        )


def _refuse_other_sort(feature, column):
    was_text, is_text = feature.type.sort == TEXT, column.type.sort == TEXT
    if was_text != is_text and not column.missing.all():
        was, now = ("strings", "numbers") if was_text else ("numbers", "strings")
        raise ValueError(
            f"Got {now} in column {feature.name!r}, expected {was}: it changed kind between fit and"
            " question."
        )
