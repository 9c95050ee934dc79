"""The affine map between the units of the data and working space, z = (x - m) W.

Its moments are those of all rows but the few that have a wild value (`scales`). With fewer rows
than RATIO_TO_SHRINK times the columns, correlations are shrunk towards none (oracle approximating
shrinkage; Chen, Wiesel, Eldar & Hero 2010). Columns whose correlations are small, directly and by
way of others, are in different blocks, which are whitened one by one.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components

from skrae.preprocessing.scales import (
    MAX_SPREADS,
    ROUNDING,
    inside,
    location_and_scale,
    robust_scales,
    row_blocks,
)
from skrae.preprocessing.transform import Transform

# Columns of a wider or narrower spread would have covariances outside of float64.
MIN_SPREAD, MAX_SPREAD = 1e-140, 1e140
# Spreads outside of these limits are far from the unit that scaling=None takes for granted.
UNSCALED_LIMITS = 0.01, 100.0
# Squares of wider columns, unscaled, overflow a network in float32.
MAX_UNSCALED = 1e15
# Relative variance of a direction below which it is held to be collinear, and its floor.
VARIANCE_FLOOR = 1e-10
# Columns that a warning names.
MAX_NAMED = 6
# Of the weight of all rows, what must be left without a wild value; else none is wild.
LEAST_KEPT = 0.5
# Correlations below both, the latter over the root of the rows, do not join blocks.
MIN_CORRELATION, CORRELATION_ERRORS = 0.1, 4.0
RATIO_TO_SHRINK = 10
# The deviation that a constant column is given, in its unit.
CONSTANT_WIDTH = 0.01


@dataclass(frozen=True, eq=False)
class AffineMap(Transform):
    """z = (x - location) @ matrix."""

    location: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, d)
    inverse_matrix: np.ndarray  # (d, d)
    log_det: float  # log |det matrix|

    is_affine = True

    @classmethod
    def diagonal(cls, location, scale):
        """z = (x - location) / scale, column by column."""
        return cls(location, np.diag(1.0 / scale), np.diag(scale), -np.log(scale).sum())

    def forward(self, X):
        """Rows in working space, float64."""
        z = np.empty((len(X), len(self.matrix.T)))
        for start, rows in row_blocks(X):
            np.matmul(rows - self.location, self.matrix, out=z[start : start + len(rows)])
        return z

    def inverse(self, z):
        """Rows in the units of the data."""
        return z @ self.inverse_matrix + self.location

    def log_abs_det(self, X):
        """log |det matrix| for each row."""
        return np.full(len(X), self.log_det)

    def gradient(self, X, gradient):
        """d/dx from d/dz."""
        return gradient @ self.matrix.T

    def pull_back(self, X, gradient):
        """d/dz from d/dx."""
        return gradient @ self.inverse_matrix.T

    def hessian(self, X, gradient, hessian):
        """d2/dx2 from d2/dz2."""
        return self.matrix @ hessian @ self.matrix.T

    def covariance(self, X, covariance):
        """A covariance matrix in the units of the data."""
        return self.inverse_matrix.T @ covariance @ self.inverse_matrix

    def by_columns(self):
        """x - location, and the matrix."""
        centred = AffineMap.diagonal(self.location, np.ones(len(self.location)))
        return centred, self.matrix, self.inverse_matrix

    def scaled(self, scale):
        """z = (x - location) @ matrix / scale."""
        inverse = scale[:, None] * self.inverse_matrix
        log_det = self.log_det - np.log(scale).sum()
        return AffineMap(self.location, self.matrix / scale, inverse, log_det)

    def parts(self):
        """location, matrix, its inverse and the log determinant."""
        return [self.location, self.matrix, self.inverse_matrix, self.log_det]


@dataclass(frozen=True)
class Remarks:
    """What a fit of a map has to say about columns, for the public method to warn of."""

    constant: tuple = ()
    collinear: tuple = ()
    few_rows: tuple = ()  # (rows, columns) where there are no more rows than columns
    unscaled: tuple = ()  # (name, mean, standard deviation) of the first column far from the unit
    wild: tuple = ()  # (number of rows, name of the column, value of the entry farthest out)

    def messages(self):
        """The text of each warning."""
        listed = (("constant", self.constant, "columns that vary"),)
        listed += (("collinear", self.collinear, "linearly independent columns"),)
        for what, names, expected in listed:
            if names:
                yield (
                    f"Got {_counted(what, names)}, expected {expected}. Their missing spread is"
                    " replaced by a floor, on which the log density depends."
                )
        if self.few_rows:
            yield (
                "Got {} rows of {} columns, expected more rows than columns. The directions without"
                " a spread get a floor, on which the log density depends.".format(*self.few_rows)
            )
        if self.wild:
            n_rows, name, value = self.wild
            yield (
                f"Got {n_rows} row(s) with a value beyond {MAX_SPREADS:g} deviations of its column,"
                f" such as {name} with {value:.6g}, expected none. They are left to the tail of the"
                " density and decide no scale."
            )
        if self.unscaled:
            name, location, scale = self.unscaled
            yield (
                f"Got scaling=None and {name} with mean {location:.2g} and standard deviation"
                f" {scale:.2g}, expected columns near 0 with a spread near 1, or scaling='whiten'"
                " or 'standardize'."
            )


def _counted(what, names):
    """Say which columns, naming at most the first MAX_NAMED."""
    listed = ", ".join(names[:MAX_NAMED])
    rest = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{what} columns ({listed}{rest})"


class AffineFit(NamedTuple):
    """An affine map, and what its fit learned of the rows.

    Parameters
    ----------
    map : AffineMap
    remarks : Remarks
    limits : pair of arrays of shape (d,), between which no value of a column is wild
    blocks : array of shape (d,), the number of the block of each column, and of each axis of z
    covariance : array of shape (d, d), that of the rows kept in z, shrunk where they are few; of a
        constant column the variance that it is given
    constant : bool array of shape (d,)
    """

    map: AffineMap
    remarks: Remarks
    limits: tuple
    blocks: np.ndarray
    covariance: np.ndarray
    constant: np.ndarray

    def holds(self, X):
        """Whether no value of a row is wild, bool (n,)."""
        return inside(X, self.limits)


def fit_affine(X, weights, kind, names=None):
    """The map that fits weighted rows, and what it has to say about columns.

    Parameters
    ----------
    X : array of shape (n, d)
    weights : array of shape (n,)
    kind : {"whiten", "standardize", None}
    names : sequence of d str, or None

    Returns
    -------
    AffineFit

    Raises
    ------
    ValueError
        If the square of a column's spread leaves float64, or float32 where it is not scaled, or no
        column varies beyond rounding.
    """
    d = X.shape[1]
    names = [f"column {j}" for j in range(d)] if names is None else [repr(n) for n in names]
    *_, limits = robust_scales(X, weights)
    kept = inside(X, limits)
    if weights[kept].sum() < LEAST_KEPT * weights.sum():  # of many columns each has its own
        limits = np.full(d, -np.inf), np.full(d, np.inf)
        kept = np.ones(len(X), bool)
    rows, weights = (X, weights) if kept.all() else (X[kept], weights[kept])
    share = weights / weights.sum()
    location, scale = location_and_scale(rows, share)
    rounding = ROUNDING * np.abs(location)
    # A mean of many has a rounding error of its own.
    span = rows.max(axis=0).astype(np.float64) - rows.min(axis=0).astype(np.float64)
    constant = (scale <= rounding) | (span <= rounding)
    if constant.all():
        raise ValueError(
            "Got columns that are all constant up to rounding, expected at least one that varies."
        )
    # A constant column has the unit one, unless that is finer than its own rounding.
    unit = CONSTANT_WIDTH * np.where(scale == 0.0, 1.0, np.maximum(1.0, rounding))
    scale = np.where(constant, unit, scale)
    _check_spreads(scale, names, kind)
    correlations, collinear = _correlations(rows, share, location, scale, constant)
    blocks = _blocks_of(correlations, share)
    if is_few(*rows.shape):
        scale = np.where(constant, scale, _shrunk_scales(scale, ~constant, share))
    few = len(rows) <= d and bool(collinear.any())  # which says nothing about the columns
    remarks = Remarks(
        constant=_named(constant, names) if kind else (),
        collinear=_named(collinear, names) if kind == "whiten" and not few else (),
        few_rows=rows.shape if kind == "whiten" and few else (),
        unscaled=() if kind else _first_unscaled(location, scale, names),
    )
    if kind == "whiten":
        map, covariance = _whitening(correlations, blocks, location, scale), np.eye(d)
    elif kind == "standardize":
        map, covariance = AffineMap.diagonal(location, scale), correlations
    else:
        map = AffineMap(location, np.eye(d), np.eye(d), 0.0)  # far from 0, squares would cancel
        covariance = correlations * scale[:, None] * scale
    return AffineFit(map, remarks, limits, blocks, covariance, constant)


def _named(flags, names):
    return tuple(names[j] for j in np.flatnonzero(flags))


def _check_spreads(scale, names, kind):
    low, high, remedy = MIN_SPREAD, MAX_SPREAD, "for its square is needed"
    if kind is None:
        high, remedy = MAX_UNSCALED, "or scaling='whiten' or 'standardize'"
    outside = (scale < low) | (scale > high)
    if outside.any():
        worst = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"Got {names[worst]} with a standard deviation of {scale[worst]:.2g}, expected units in"
            f" which it is between {low:g} and {high:g}, {remedy}."
        )


def _first_unscaled(location, scale, names):
    low, high = UNSCALED_LIMITS
    odd = np.flatnonzero((scale < low) | (scale > high) | (np.abs(location) > high))
    return (names[odd[0]], location[odd[0]], scale[odd[0]]) if len(odd) else ()


def _correlations(X, share, location, scale, constant):
    """Correlations (d, d), shrunk where rows are few; and which columns are collinear, (d,)."""
    correlations = 0.0
    for _, rows, part in row_blocks(X, share):
        standard = np.where(constant, 0.0, (rows - location) / scale)
        correlations = correlations + standard.T @ (part[:, None] * standard)
    correlations[constant, constant] = 1.0
    variances, axes = np.linalg.eigh(correlations)
    floor = VARIANCE_FLOOR * variances.max()
    collinear = np.abs(axes[:, variances < floor]).max(axis=1, initial=0.0) > 0.1
    if is_few(*X.shape):
        correlations = _shrunk(correlations, 1.0 / np.sum(share**2))
    return correlations, collinear


def is_few(n_rows, n_columns):
    """Whether correlations are shrunk."""
    return n_rows < RATIO_TO_SHRINK * n_columns


def _shrunk(correlations, n):
    """Correlations of n rows, shrunk towards none by the oracle approximation."""
    d, square = len(correlations), np.sum(correlations**2)
    apart = (n + 1.0 - 2.0 / d) * (square - d)
    weight = (1.0 - 2.0 / d) * square + float(d) ** 2
    weight = min(weight / apart, 1.0) if apart > 0.0 else 1.0
    return (1.0 - weight) * correlations + weight * np.eye(d)


def _shrunk_scales(scale, varies, share):
    """Deviations drawn towards their geometric mean, as far as chance alone tells them apart.

    The logarithm of a normal column's deviation errs by about 1 / sqrt(2 n): what is more than that
    between columns is their own (empirical Bayes).
    """
    logs, error = np.log(scale[varies]), 0.5 * np.sum(share**2)
    own = max(logs.var() - error, 0.0)
    kept = own / (own + error)
    return np.exp(kept * np.log(scale) + (1.0 - kept) * logs.mean())


def _blocks_of(correlations, share):
    least = max(MIN_CORRELATION, CORRELATION_ERRORS * np.sqrt(np.sum(share**2)))
    if is_few(len(share), len(correlations)):
        least = 0.0  # nothing can be told apart from noise
    return connected_components(np.abs(correlations) > least, directed=False)[1]


def _whitening(correlations, blocks, location, scale):
    """The map to uncorrelated axes of variance one, block by block."""
    d = len(scale)
    matrix, inverse, log_det = np.zeros((d, d)), np.zeros((d, d)), -np.log(scale).sum()
    for block in np.unique(blocks):
        own = np.flatnonzero(blocks == block)
        variances, axes = np.linalg.eigh(correlations[np.ix_(own, own)])
        lengths = np.sqrt(np.maximum(variances, VARIANCE_FLOOR * variances.max()))
        matrix[np.ix_(own, own)] = axes / (scale[own, None] * lengths)
        inverse[np.ix_(own, own)] = (axes * lengths).T * scale[own]
        log_det -= np.log(lengths).sum()
    return AffineMap(location, matrix, inverse, log_det)
