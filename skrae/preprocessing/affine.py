"""The affine map between the units of the data and working space, z = (x - m) W."""

from dataclasses import dataclass

import numpy as np

from skrae.preprocessing.transform import Transform

# Columns of a wider or narrower spread would have covariances outside of float64.
MIN_SPREAD, MAX_SPREAD = 1e-140, 1e140
# Spreads outside of these limits are far from the unit that scaling=None takes for granted.
UNSCALED_LIMITS = 0.01, 100.0
# Relative variance of a direction below which it is held to be collinear, and its floor.
VARIANCE_FLOOR = 1e-10
# Columns that a warning names.
MAX_NAMED = 6
# Rows at a time, so that a large table is never held twice.
BLOCK = 2**16


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
        for start, rows in _blocks(X):
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


def _blocks(*arrays):
    """The place of each block of rows, and the block of every array in float64."""
    for start in range(0, len(arrays[0]), BLOCK):
        yield start, *(a[start : start + BLOCK].astype(np.float64, copy=False) for a in arrays)


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
    AffineMap, Remarks

    Raises
    ------
    ValueError
        If the square of a column's spread leaves float64, or no column varies beyond rounding.
    """
    d = X.shape[1]
    names = [f"column {j}" for j in range(d)] if names is None else [repr(n) for n in names]
    share = weights / weights.sum()
    location, scale = _location_and_scale(X, share)
    rounding = 10 * np.finfo(np.float64).eps * np.abs(location)
    constant = scale <= rounding
    if constant.all():
        raise ValueError(
            "Got columns that are all constant up to rounding, expected at least one that varies."
        )
    # A constant column keeps its unit, unless that is finer than its own rounding.
    unit = np.where(scale == 0.0, 1.0, np.maximum(1.0, rounding))
    scale = np.where(constant, unit, scale)
    _check_spreads(scale, names)
    if kind is None:
        unscaled = _first_unscaled(location, scale, names)
        return AffineMap(np.zeros(d), np.eye(d), np.eye(d), 0.0), Remarks(unscaled=unscaled)
    named = _named(constant, names)
    if kind == "standardize":
        return AffineMap.diagonal(location, scale), Remarks(named)
    affine, collinear = _whitening(X, share, location, scale, constant)
    if len(X) <= d and collinear.any():  # which says nothing about the columns
        return affine, Remarks(named, few_rows=X.shape)
    return affine, Remarks(named, _named(collinear, names))


def _named(flags, names):
    return tuple(names[j] for j in np.flatnonzero(flags))


def _location_and_scale(X, share):
    """Mean and standard deviation of each column, in units whose squares are within float64."""
    largest = np.max([np.abs(rows).max(axis=0) for _, rows in _blocks(X)], axis=0)
    # A power of two scales exactly, so that units of 2^k change nothing but the units.
    exponents = 1 - np.frexp(largest)[1]
    location = sum(part @ np.ldexp(rows, exponents) for _, rows, part in _blocks(X, share))
    # The mean of equal numbers is not always that number.
    first = X[0].astype(np.float64)
    equal = np.all([(first == rows).all(axis=0) for _, rows in _blocks(X)], axis=0)
    location = np.where(equal, np.ldexp(first, exponents), location)
    variance = sum(
        part @ (np.ldexp(rows, exponents) - location) ** 2 for _, rows, part in _blocks(X, share)
    )
    return np.ldexp(location, -exponents), np.ldexp(np.sqrt(variance), -exponents)


def _check_spreads(scale, names):
    outside = (scale < MIN_SPREAD) | (scale > MAX_SPREAD)
    if outside.any():
        worst = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"Got {names[worst]} with a standard deviation of {scale[worst]:.2g}, expected units in"
            f" which it is between {MIN_SPREAD:g} and {MAX_SPREAD:g}, for its square is needed."
        )


def _first_unscaled(location, scale, names):
    low, high = UNSCALED_LIMITS
    odd = np.flatnonzero((scale < low) | (scale > high) | (np.abs(location) > high))
    return (names[odd[0]], location[odd[0]], scale[odd[0]]) if len(odd) else ()


def _whitening(X, share, location, scale, constant):
    """The whitening map, and which columns are linear combinations of others, (d,)."""
    correlations = 0.0
    for _, rows, part in _blocks(X, share):
        standard = np.where(constant, 0.0, (rows - location) / scale)
        correlations = correlations + standard.T @ (part[:, None] * standard)
    correlations[constant, constant] = 1.0
    variances, axes = np.linalg.eigh(correlations)
    floor = VARIANCE_FLOOR * variances.max()
    collinear = np.abs(axes[:, variances < floor]).max(axis=1, initial=0.0) > 0.1
    lengths = np.sqrt(np.maximum(variances, floor))
    matrix = axes / (scale[:, None] * lengths)
    inverse = (axes * lengths).T * scale
    log_det = -np.log(scale).sum() - np.log(lengths).sum()
    return AffineMap(location, matrix, inverse, log_det), collinear
