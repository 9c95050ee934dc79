"""The grid offset + k step on which rounded values lie."""

from typing import NamedTuple

import numpy as np

from skrae.preprocessing.table.reading import EPS

# Of the largest value: how far rounding takes a value from its grid.
ROUNDING = 2.0
# Integers below are exact in float64.
MAX_EXACT = 2.0**53
# The step exceeds what rounding leaves open by as much: fewer digits make no grid.
MIN_CONTRAST = 32.0
MAX_DIGITS = 15


class Lattice(NamedTuple):
    """The values offset + k step for integers k."""

    step: float
    offset: float
    tolerance: float  # values so near the grid are on it
    decimals: int  # with which its values are written; -1 where that is not exact

    def snap(self, values):
        """The nearest values of the grid, (n,); what is on it within rounding stays as it is.

        >>> Lattice(0.1, 0.0, 0.0, 1).snap(np.array([0.29, 1.17])).tolist()
        [0.3, 1.2]
        """
        places = np.rint((values - self.offset) / self.step)
        nearest = self.offset + places * self.step
        is_on = np.abs(values - nearest) <= self.tolerance
        if self.decimals >= 0:
            nearest = np.round(nearest, self.decimals)
        return np.where(is_on, values, nearest)


def find_lattice(points, least=0.0, precision=EPS):
    """The coarsest `Lattice` through all points, or None where its step were below `least`.

    Parameters
    ----------
    points : array of shape (m,), increasing, m >= 2
    least : float
    precision : float, relative distance of neighbouring numbers of their type

    Examples
    --------
    >>> find_lattice(np.array([0.1, 0.7, 1.3])).step
    0.6
    >>> find_lattice(np.array([0.0, 1.0, np.sqrt(2.0)])) is None
    True
    """
    largest = np.abs(points).max()
    if not 1e-100 < largest < 1e100:
        return None
    if largest < MAX_EXACT and (points == np.rint(points)).all():
        return _of_integers(points.astype(np.int64), least)
    # Numbers of float32 may have become float64 since.
    single = float(np.finfo(np.float32).eps)
    precisions = {precision}
    with np.errstate(over="ignore"):
        is_single = (points == points.astype(np.float32)).all()
    if is_single:
        precisions |= {EPS, single}
    # The finest would find the grid of all numbers of float32.
    for candidate in sorted(precisions, reverse=True):
        found = _within(points, least, float(ROUNDING * candidate * largest))
        if found is not None:
            return found
    return None


def _of_integers(points, least):
    step = int(np.gcd.reduce(np.diff(points)))
    return None if step < least else Lattice(float(step), float(points[0] % step), 0.0, 0)


def _within(points, least, tolerance):
    # From the middle, where values are dense, distances grow step by step.
    distances = np.sort(np.abs(points - points[len(points) // 2]))
    gaps = np.diff(points)
    gaps = gaps[gaps > 2.0 * tolerance]  # values nearer each other are one
    least = max(least, MIN_CONTRAST * tolerance)
    if not len(gaps) or gaps.min() < least:
        return None
    step = _common_divisor(gaps.min(), distances[distances > 2.0 * tolerance], least, tolerance)
    return None if step is None else _written(points, step, tolerance)


def _common_divisor(step, distances, least, tolerance):
    """Euclid's algorithm on increasing distances, each of which is known to 2 tolerance."""
    error, place = 2.0 * tolerance, 0
    while place < len(distances):
        distance = distances[place]
        count = np.rint(distance / step)
        rest, bound = abs(distance - count * step), 2.0 * tolerance + count * error
        if bound > 0.25 * step:
            return None
        if rest <= bound:
            # A longer distance tells the step with less error.
            if 2.0 * tolerance < error * count:
                step, error = distance / count, 2.0 * tolerance / count
            place += 1
        elif rest < least:
            return None
        else:
            step, error, place = rest, bound, 0
    return step


def _written(points, step, tolerance):
    """The lattice whose step and offset have the fewest digits; None where points lie off it."""
    counts = np.rint((points - points[0]) / step)
    for digits in range(1, MAX_DIGITS + 3):
        short = float(f"{step:.{digits}g}")
        if np.abs(points - points[0] - short * counts).max() <= 2.0 * tolerance:
            break
    else:
        return None
    exact = points[0] - short * np.rint(points[0] / short)
    offset = next(
        offset
        for offset in (0.0, *(float(f"{exact:.{digits}g}") for digits in range(1, 18)))
        if abs(offset - exact) <= 2.0 * tolerance
    )
    decimals = next(
        (p for p in range(MAX_DIGITS) if round(short, p) == short and round(offset, p) == offset),
        -1,
    )
    return Lattice(short, offset, 4.0 * tolerance, decimals)
