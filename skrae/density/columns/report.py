"""What became of each column, as arrays that a table can be made of."""

import numpy as np

from skrae.density.columns.line_mixture import grid_step
from skrae.preprocessing.scales import robust_scales


def column_report(X, weights, working, names=None):
    """A dict of arrays of shape (d,), the columns of a report on columns.

    Parameters
    ----------
    X : array of shape (n, d), the rows; weights : array of shape (n,)
    working : WorkingSpace
    names : feature names or None
    """
    d = X.shape[1]
    columns = working.columns or [None] * d
    ends = [[_end(c, side) for c in columns] for side in ("lower", "upper")]
    location, scale, _ = robust_scales(X, weights)
    low, high = working.limits
    t = X if working.margins is None else working.margins.forward(X)
    outside = (t < low) | (t > high)
    return {
        "name": np.array([f"x{j}" for j in range(d)] if names is None else names, dtype=str),
        "map": np.array([_kind(c, working) for c in columns]),
        "location": location,
        "scale": scale,
        "lower_end": _in_units(ends[0], working),
        "upper_end": _in_units(ends[1], working),
        "step": np.array([grid_step(column) for column in X.T]),
        "n_wild": outside.sum(axis=0),
        "is_constant": working.dither > 0.0,
    }


def _kind(column, working):
    if working.columns is None or column is None:
        return "affine"
    return "straight" if column.linear.is_identity else "bent"


def _end(column, side):
    place = None if column is None else getattr(column.inner, side)
    return np.nan if place is None else place[0]


def _in_units(ends, working):
    if working.margins is None:
        return np.full(len(ends), np.nan)
    return np.array(ends) * working.margins.scale + working.margins.location
