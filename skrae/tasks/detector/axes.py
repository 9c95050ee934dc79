"""Raw rows as axes of one spread: numbers by their deviation, levels as one-hots, holes known.

Numbers come in two ways: scaled, as distances far out are told by, and as normal scores of their
ranks among the rows drawn, which have no skew and no far values.
Two rows at random are 2 apart in squared distance along a column of numbers, as the standard
deviation has it, and along a category as well: levels that differ are 2 / P(two rows differ) apart.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from skrae.density.incomplete.rows import checked
from skrae.preprocessing.scales import location_and_scale
from skrae.preprocessing.table.options import ATOMS, CATEGORICAL, CELLS, CONSTANT, CONTINUOUS, HEAPS
from skrae.preprocessing.table.reading import read_source
from skrae.preprocessing.table.table import Table, describe

# Share of the rows at either end of a column that are drawn in before its deviation is taken, and
# the least share of the plain deviation that this one has to be: a column of few values has none.
DRAWN_IN, LEAST_SHARE = 0.025, 0.1
# Deviations, whose squares float64 holds: farther out all is as far.
FARTHEST = 1e100


class Entries(NamedTuple):
    """What rows say: numbers, NaN where missing, and codes of levels, -1 where missing."""

    numbers: np.ndarray  # (n, d_c)
    codes: np.ndarray  # (n, J), the number of levels for one that was never seen

    def joined(self):
        """Both beside each other, (n, d_c + J), NaN where missing."""
        codes = np.where(self.codes < 0, np.nan, self.codes)
        return np.column_stack([np.where(np.isnan(self.numbers), np.nan, self.numbers), codes])


def read_to_fit(estimator, X, weights_of):
    """The `Entries` of the rows of a fit, their weights and the `Table`, None of plain numbers.

    Parameters
    ----------
    estimator : the estimator that is fitted, on which the features are set
    X : array-like or data frame of shape (n, n_features)
    weights_of : callable, from rows to weights (n,)
    """
    numbers = checked(estimator, X, True, ensure_min_samples=2)
    weights = weights_of(X if numbers is None else numbers)
    features = estimator.categorical_features
    if numbers is not None and (features is None or isinstance(features, str)):
        return _plain(numbers), weights, None
    table = _described(X, weights, features)
    return _entries(table, X), weights, table


def _described(X, weights, categorical_features):
    """The `Table` of rows, whose numbers are numbers: kernels need neither cells nor atoms."""
    table = describe(X, weights, categorical_features)
    numbers = {
        place: CONTINUOUS for place, kind in enumerate(table.kinds) if kind in (ATOMS, CELLS, HEAPS)
    }
    return describe(X, weights, categorical_features, numbers) if numbers else table


def read_to_ask(estimator, X):
    """The `Entries` of rows asked about."""
    numbers = checked(estimator, X, reset=False)
    if estimator.table_ is None:
        if numbers is None:
            raise ValueError("Got X with columns of strings, expected numbers, as in the fit.")
        return _plain(numbers)
    return _entries(Table.from_state(estimator.table_), X)


def _plain(numbers):
    return Entries(numbers.astype(np.float64), np.empty((len(numbers), 0), np.int64))


def _entries(table, X):
    """Of a raw table; a level that was never seen is no hole."""
    view = table.read(X)
    codes = [_codes(f, column) for f, column in _with_levels(table, read_source(X).columns)]
    return Entries(view.numeric, np.array(codes, np.int64).reshape(-1, len(view.numeric)).T)


def _with_levels(table, parts):
    """Of the columns of levels, and of those of one value: the feature and its part."""
    pairs = zip(table.features, parts, strict=True)
    return [(f, part) for f, part in pairs if f.kind in (CATEGORICAL, CONSTANT)]


def _codes(feature, column):
    """The codes of a column's levels: -1 at holes, the number of levels where none is known."""
    codes = feature.place(column)
    return np.where(column.missing, -1, np.where(codes < 0, len(feature.points), codes))


class AxisMap(NamedTuple):
    """From entries to axes; plain arrays."""

    location: np.ndarray  # (d_c,)
    scale: np.ndarray  # (d_c,)
    drawn: list  # of d_c arrays, the numbers of each column among the rows drawn
    score_scale: np.ndarray  # (d_c,) deviation of their normal scores
    sizes: np.ndarray  # (J,) levels of each category, one more for those never seen
    heights: np.ndarray  # (J,) of its one-hots
    owners: np.ndarray  # (D,) the column of each axis

    def scaled(self, entries):
        """Axes of rows, (n, D), NaN where missing, numbers scaled."""
        with np.errstate(over="ignore"):
            z = (entries.numbers - self.location) / self.scale
        return self._with_levels(np.clip(z, -FARTHEST, FARTHEST), entries)

    def scores(self, entries):
        """Axes of rows, (n, D), NaN where missing, numbers as scaled normal scores."""
        columns = zip(entries.numbers.T, self.drawn, strict=True)
        found = np.array([_normal_scores(*column) for column in columns])
        found = found.reshape(entries.numbers.shape[::-1]).T / self.score_scale
        return self._with_levels(found, entries)

    def _with_levels(self, numbers, entries):
        parts = [numbers]
        for j, (size, height) in enumerate(zip(self.sizes, self.heights, strict=True)):
            codes = entries.codes[:, j]
            one_hot = height * (codes[:, None] == np.arange(size))
            parts.append(np.where(codes[:, None] < 0, np.nan, one_hot))
        return np.concatenate(parts, axis=1)

    def by_column(self, values, n_columns):
        """Sums over the axes of each column, (n, n_columns), of values (n, D)."""
        found = np.zeros((len(values), n_columns))
        np.add.at(found.T, self.owners, values.T)
        return found


def axis_map(entries, everything, weights, table):
    """The `AxisMap` of rows drawn; of a column that is constant among them, of all rows.

    Parameters
    ----------
    entries : Entries of the rows drawn
    everything : Entries of all rows
    weights : array of shape (n,), of all rows
    table : Table or None
    """
    n_numbers = entries.numbers.shape[1]
    scales = [
        _first_spread(_spread(entries.numbers[:, j]), _spread(everything.numbers[:, j], weights))
        for j in range(n_numbers)
    ]
    location, scale = np.array(scales).reshape(-1, 2).T
    drawn = [column[~np.isnan(column)] for column in entries.numbers.T]
    score_scale = np.array([_normal_scores(own, own).std() if len(own) else 0.0 for own in drawn])
    indexed = [] if table is None else _with_levels(table, range(len(table.features)))
    sizes = np.array([len(feature.points) + 1 for feature, _ in indexed], dtype=np.int64)
    # A column of one value: as if one more row had another.
    least = 2.0 / (weights.sum() + 1.0)
    heights = np.array(
        [
            (_differing(c, size) or _differing(a, size, weights) or least) ** -0.5
            for c, a, size in zip(entries.codes.T, everything.codes.T, sizes, strict=True)
        ]
    )
    if table is None:
        owners = np.arange(n_numbers)
    else:
        owners = np.concatenate(
            [
                np.flatnonzero(table.numeric_of >= 0),
                np.repeat([place for _, place in indexed], sizes).astype(np.int64),
            ]
        )
    score_scale[score_scale == 0.0] = 1.0
    return AxisMap(location, scale, drawn, score_scale, sizes, heights.reshape(-1), owners)


def _normal_scores(values, drawn):
    """Phi^-1 of the middle rank of each value among those drawn, (n,), NaN where it is missing."""
    points, counts = np.unique(drawn, return_counts=True)
    ends = np.concatenate([[0.0], np.cumsum(counts)])
    # Scores at each gap before, between and behind the points, then at each point.
    middle = np.concatenate([ends, 0.5 * (ends[:-1] + ends[1:])])
    scores = ndtri((middle + 0.5) / (len(drawn) + 1.0))
    place = np.searchsorted(points, values)
    is_at = np.append(points, np.inf)[place] == values
    return np.where(np.isnan(values), np.nan, scores[place + is_at * len(ends)])


def _first_spread(drawn, of_all):
    return drawn if drawn[1] > 0.0 else (of_all if of_all[1] > 0.0 else (of_all[0], 1.0))


def _spread(column, weights=None):
    """Mean and deviation of what is observed, its ends drawn in; a deviation of 0 of a constant."""
    seen = ~np.isnan(column)
    column = column[seen, None]
    if not len(column):
        return 0.0, 0.0
    share = np.ones(len(column)) if weights is None else weights[seen]
    if not share.any():
        return 0.0, 0.0
    share = share / share.sum()
    ends = np.quantile(column, [DRAWN_IN, 1.0 - DRAWN_IN], axis=0)
    plain, clipped = (location_and_scale(column, share, limits) for limits in (None, ends))
    found = clipped if clipped[1] > LEAST_SHARE * plain[1] else plain
    return float(found[0][0]), float(found[1][0])


def _differing(codes, size, weights=None):
    """The chance that two rows have different levels."""
    seen = codes >= 0
    weights = np.ones(seen.sum()) if weights is None else weights[seen]
    shares = np.bincount(codes[seen], weights, size)
    if np.count_nonzero(shares) < 2:
        return 0.0
    return 1.0 - np.sum((shares / shares.sum()) ** 2)
