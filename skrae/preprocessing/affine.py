"""The affine map between the units of the data and working space, z = (x - m) W."""

import warnings
from typing import NamedTuple

import numpy as np

# Columns of a wider or narrower spread would have covariances outside of float64.
MIN_SPREAD, MAX_SPREAD = 1e-140, 1e140
# Spreads outside of these limits are far from the unit that scaling=None takes for granted.
UNSCALED_LIMITS = 0.01, 100.0
# Relative variance of a direction below which it is held to be collinear, and its floor.
VARIANCE_FLOOR = 1e-10
# Rows at a time, so that a large table is never held twice.
BLOCK = 2**16


class Scaling(NamedTuple):
    """z = (x - location) @ matrix; `inverse` is its inverse and log_det its log |det|."""

    location: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, d)
    inverse: np.ndarray  # (d, d)
    log_det: float

    def forward(self, X):
        """Rows in working space, float64."""
        z = np.empty((len(X), len(self.matrix.T)))
        for start, rows in _blocks(X):
            np.matmul(rows - self.location, self.matrix, out=z[start : start + len(rows)])
        return z

    def backward(self, z):
        """Rows in the units of the data."""
        return z @ self.inverse + self.location

    def gradient(self, gradient):
        """d/dx from d/dz."""
        return gradient @ self.matrix.T

    def hessian(self, hessian):
        """d2/dx2 from d2/dz2."""
        return self.matrix @ hessian @ self.matrix.T

    def covariance(self, covariance):
        """A covariance matrix in the units of the data."""
        return self.inverse.T @ covariance @ self.inverse


def _blocks(*arrays):
    """The place of each block of rows, and the block of every array in float64."""
    for start in range(0, len(arrays[0]), BLOCK):
        yield start, *(a[start : start + BLOCK].astype(np.float64, copy=False) for a in arrays)


def fit_scaling(X, weights, kind, names=None):
    """`Scaling` of weighted rows: kind is "whiten", "standardize" or None.

    Raises
    ------
    ValueError
        If the square of a column's spread leaves float64, or no column varies beyond rounding.

    Warns
    -----
    UserWarning
        Names constant columns, columns that are linear combinations of others (whiten), and
        columns whose spread is far from one (None).
    """
    d = X.shape[1]
    names = [f"column {j}" for j in range(d)] if names is None else [repr(n) for n in names]
    share = weights / weights.sum()
    location, scale = _location_and_scale(X, share)
    rounding = 10 * np.finfo(np.float64).eps * np.abs(location)
    constant = scale <= rounding
    if constant.all():
        raise ValueError(
            "Got columns that are all constant up to rounding; expected at least one that varies."
        )
    # A constant column keeps its unit, unless that is finer than its own rounding.
    unit = np.where(scale == 0.0, 1.0, np.maximum(1.0, rounding))
    scale = np.where(constant, unit, scale)
    _check_spreads(scale, names)
    if kind is None:
        _warn_of_units(location, scale, names)
        return Scaling(np.zeros(d), np.eye(d), np.eye(d), 0.0)
    _warn_of(constant, names, "constant", "expected columns that vary")
    if kind == "standardize":
        return Scaling(location, np.diag(1.0 / scale), np.diag(scale), -np.log(scale).sum())
    return _whitening(X, share, location, scale, constant, names)


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
            f"The standard deviation of {names[worst]} is {scale[worst]:.2g}; expected units in"
            f" which it is between {MIN_SPREAD:g} and {MAX_SPREAD:g}, for its square is needed."
        )


def _warn_of_units(location, scale, names):
    low, high = UNSCALED_LIMITS
    odd = (scale < low) | (scale > high) | (np.abs(location) > high)
    if odd.any():
        worst = int(np.flatnonzero(odd)[0])
        warnings.warn(
            f"scaling is None and {names[worst]} has mean {location[worst]:.2g} and standard"
            f" deviation {scale[worst]:.2g}; expected columns near 0 with a spread near 1, or"
            " scaling='whiten' or 'standardize'.",
            UserWarning,
            stacklevel=2,
        )


def _whitening(X, share, location, scale, constant, names):
    correlations = 0.0
    for _, rows, part in _blocks(X, share):
        standard = np.where(constant, 0.0, (rows - location) / scale)
        correlations = correlations + standard.T @ (part[:, None] * standard)
    correlations[constant, constant] = 1.0
    variances, axes = np.linalg.eigh(correlations)
    floor = VARIANCE_FLOOR * variances.max()
    collinear = np.abs(axes[:, variances < floor]).max(axis=1, initial=0.0) > 0.1
    _warn_of(collinear, names, "collinear", "expected linearly independent columns")
    lengths = np.sqrt(np.maximum(variances, floor))
    matrix = axes / (scale[:, None] * lengths)
    inverse = (axes * lengths).T * scale
    return Scaling(location, matrix, inverse, -np.log(scale).sum() - np.log(lengths).sum())


def _warn_of(flags, names, what, expected):
    if flags.any():
        listed = ", ".join(names[j] for j in np.flatnonzero(flags))
        warnings.warn(
            f"Got {what} columns ({listed}); {expected}. Their missing spread is replaced by a"
            " floor, on which the log density depends.",
            UserWarning,
            stacklevel=2,
        )
