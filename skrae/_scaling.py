"""The affine map between the units of the data and working space, z = (x - m) W."""

import warnings
from typing import NamedTuple

import numpy as np

# Relative variance of a direction below which it is held to be collinear, and its floor.
VARIANCE_FLOOR = 1e-10


class Scaling(NamedTuple):
    """z = (x - location) @ matrix; `inverse` is its inverse and log_det its log |det|."""

    location: np.ndarray  # (d,)
    matrix: np.ndarray  # (d, d)
    inverse: np.ndarray  # (d, d)
    log_det: float

    def forward(self, X):
        """Rows in working space, float64."""
        return (X.astype(np.float64) - self.location) @ self.matrix

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


def fit_scaling(X, weights, kind, names=None):
    """`Scaling` of weighted rows: kind is "whiten", "standardize" or None.

    Raises
    ------
    ValueError
        If a column's spread overflows float64.

    Warns
    -----
    UserWarning
        Names constant columns, and columns that are linear combinations of others (whiten).
    """
    d = X.shape[1]
    if kind is None:
        return Scaling(np.zeros(d), np.eye(d), np.eye(d), 0.0)
    names = [f"column {j}" for j in range(d)] if names is None else [repr(n) for n in names]
    X, share = X.astype(np.float64), weights / weights.sum()
    location = share @ X
    with np.errstate(over="ignore", invalid="ignore"):
        scale = np.sqrt(share @ (X - location) ** 2)
    if not np.isfinite(scale).all():
        worst = names[int(np.flatnonzero(~np.isfinite(scale))[0])]
        raise ValueError(f"The spread of {worst} overflows float64; expected smaller units.")
    constant = scale <= 10 * np.finfo(np.float64).eps * np.abs(location)
    _warn_of(constant, names, "constant", "expected columns that vary")
    scale[constant] = 1.0
    if kind == "standardize":
        return Scaling(location, np.diag(1.0 / scale), np.diag(scale), -np.log(scale).sum())
    return _whitening(X, share, location, scale, constant, names)


def _whitening(X, share, location, scale, constant, names):
    standard = (X - location) / scale
    correlations = standard.T @ (share[:, None] * standard)
    correlations[constant, constant] = 1.0  # no spread to divide by: the column keeps its unit
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
