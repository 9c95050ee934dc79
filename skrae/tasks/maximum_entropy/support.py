"""Where a density lives: bounds of each column, or a finite set of points."""

from typing import NamedTuple

import numpy as np

EXPECTED = (
    "None, a pair (low, high), an array of shape (n_features, 2) of bounds, three or more numbers"
    " or a range (the states of one column), or dict(points=array of shape (n_points, n_features))"
)


class Support(NamedTuple):
    """Bounds of each column or points, the other of which is None.

    Parameters
    ----------
    bounds : array of shape (d, 2), infinite where open
    points : array of shape (k, d), distinct
    """

    bounds: np.ndarray | None
    points: np.ndarray | None

    @property
    def is_whole_space(self):
        """Whether no column is bounded."""
        return self.points is None and bool(np.isinf(self.bounds).all())

    def contains(self, X):
        """Whether each row is in the support, bool (n,)."""
        if self.points is None:
            return ((self.bounds[:, 0] <= X) & (self.bounds[:, 1] >= X)).all(axis=1)
        states = {tuple(point) for point in (self.points + 0.0).tolist()}
        return np.array([tuple(row) in states for row in (X + 0.0).tolist()], bool)


def parse(support):
    """The option as "bounds" or "points" with an array; the bounds of one pair have one row.

    >>> parse((0, 1))
    ('bounds', array([[0., 1.]]))
    >>> parse([1, 2, 3])[0], parse(range(2))[0], parse({"points": [0, 1]})[1].shape
    ('points', 'points', (2, 1))
    """
    if support is None:
        return "bounds", np.array([[-np.inf, np.inf]])
    kind, given = "points" if isinstance(support, range) else "bounds", support
    if isinstance(support, dict):
        if set(support) != {"points"}:
            raise ValueError(f"Got support={support!r}, expected {EXPECTED}.")
        kind, given = "points", support["points"]
    try:
        found = np.array(list(given) if isinstance(given, range) else given, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"Got support={support!r}, expected {EXPECTED}.") from error
    if found.ndim == 1 and (kind == "points" or len(found) > 2):
        kind, found = "points", found[:, None]
    found = found[None] if found.shape == (2,) else found
    return (kind, _points(found) if kind == "points" else _bounds(found))


def _points(found):
    if found.ndim != 2 or not found.size or not np.isfinite(found).all():
        raise ValueError(
            f"Got support with points of shape {found.shape}, expected finite numbers of shape"
            " (n_points, n_features)."
        )
    if len(np.unique(found, axis=0)) < max(2, len(found)):
        raise ValueError("Got support with equal points, expected two or more distinct ones.")
    return found


def _bounds(found):
    if found.ndim != 2 or found.shape[1] != 2:
        raise ValueError(f"Got support of shape {found.shape}, expected {EXPECTED}.")
    if not (found[:, 0] < found[:, 1]).all():
        low, high = found[~(found[:, 0] < found[:, 1])][0]
        raise ValueError(f"Got support with bounds ({low}, {high}), expected low < high.")
    return found


def of_columns(kind, found, d):
    """The `Support` in d columns of what `parse` gave."""
    if kind == "bounds" and len(found) == 1:
        found = np.repeat(found, d, axis=0)
    columns = found.shape[1] if kind == "points" else len(found)
    if columns != d:
        raise ValueError(f"Got support of {columns} columns, expected {d}.")
    return Support(None, found) if kind == "points" else Support(found, None)


def checked_breakpoints(breakpoints, d):
    """Sorted breakpoints of each column, a list of d arrays."""
    if not len(breakpoints):
        return [np.empty(0)] * d
    nested = [breakpoints] if d == 1 and np.ndim(breakpoints[0]) == 0 else breakpoints
    if len(nested) != d:
        raise ValueError(
            f"Got breakpoints={breakpoints!r}, expected numbers for one column, or a sequence of"
            f" numbers for each; there are {d} columns."
        )
    arrays = [np.unique(np.asarray(own, np.float64)) for own in nested]
    if not all(np.isfinite(own).all() for own in arrays):
        raise ValueError(f"Got breakpoints={breakpoints!r}, expected finite numbers.")
    return arrays
