"""Scales of columns that no wild value rules.

A value is wild where it lies farther out than MAX_SPREADS deviations of its column, the farthest
1/400 of the rows on either side drawn in (winsorised).
"""

import numpy as np

# Rows at a time, so that a large table is never held twice.
BLOCK = 2**16
# Deviations beyond which a value is wild, and the share of rows on either side that are drawn in
# before deviations are taken, or a single row. So at most as many can be wild on either side of a
# column: the square root of the share is 1 / 20.
MAX_SPREADS, WINSORISED = 20.0, 1.0 / 400.0
# Rows that decide what is drawn in, and the least number that has any to spare.
MAX_SORTED, MIN_SORTED = 2**16, 10
# Of a mean: deviations below are its rounding.
ROUNDING = 10 * np.finfo(np.float64).eps


def robust_scales(X, weights):
    """Mean and deviation of each column, with its ends drawn in, and the limits of wild values.

    Returns
    -------
    location, scale : arrays of shape (d,); the scale of a constant column is one
    limits : pair of arrays of shape (d,), between which no value is wild
    """
    share = weights / weights.sum()
    if len(X) < MIN_SORTED:
        ends = None
    else:
        step = -(-len(X) // MAX_SORTED)
        ends = _inner_ends(X[::step].astype(np.float64), weights[::step])
    location, scale = location_and_scale(X, share, ends)
    varies = scale > ROUNDING * np.abs(location)
    reach = np.where(varies & (ends is not None), MAX_SPREADS * scale, np.inf)
    return location, np.where(varies, scale, 1.0), (location - reach, location + reach)


def observed_scales(X, weights):
    """`robust_scales` of what is observed of each column, NaN where an entry is missing."""
    if not np.isnan(X).any():
        return robust_scales(X, weights)
    found = np.empty((4, X.shape[1]))
    for j, column in enumerate(X.T):
        seen = ~np.isnan(column)
        if seen.any():
            location, scale, limits = robust_scales(column[seen, None], weights[seen])
            found[:, j] = location[0], scale[0], limits[0][0], limits[1][0]
        else:
            found[:, j] = 0.0, 1.0, -np.inf, np.inf
    return found[0], found[1], (found[2], found[3])


def _inner_ends(X, weights):
    """The first and the last value of each column, (d,) each, beyond the share that is drawn in."""
    share = max(1, int(WINSORISED * len(X))) / len(X) + 1e-12
    ends = []
    for order in (np.argsort(X, axis=0), np.argsort(-X, axis=0)):
        place = (np.cumsum(weights[order], axis=0) > share * weights.sum()).argmax(axis=0)
        columns = np.arange(X.shape[1])
        ends.append(X[order[place, columns], columns])
    return ends


def inside(X, limits):
    """Which rows have no value beyond the limits, bool (n,)."""
    found = np.empty(len(X), bool)
    for start, rows in row_blocks(X):
        found[start : start + len(rows)] = ((rows >= limits[0]) & (rows <= limits[1])).all(axis=1)
    return found


def location_and_scale(X, share, limits=None):
    """Mean and standard deviation of each column, in units whose squares are within float64.

    Of values clipped to limits (low, high), arrays of shape (d,), if there are any.
    """

    def parts(*arrays):
        for _, rows, *others in row_blocks(X, *arrays):
            yield rows if limits is None else np.clip(rows, *limits), *others

    largest = np.max([np.abs(rows).max(axis=0) for (rows,) in parts()], axis=0)
    # A power of two scales exactly, so that units of 2^k change nothing but the units.
    exponents = 1 - np.frexp(largest)[1]
    location = sum(part @ np.ldexp(rows, exponents) for rows, part in parts(share))
    # The mean of equal numbers is not always that number.
    first = next(parts())[0][0]
    equal = np.all([(first == rows).all(axis=0) for (rows,) in parts()], axis=0)
    location = np.where(equal, np.ldexp(first, exponents), location)
    variance = sum(
        part @ (np.ldexp(rows, exponents) - location) ** 2 for rows, part in parts(share)
    )
    return np.ldexp(location, -exponents), np.ldexp(np.sqrt(variance), -exponents)


def row_blocks(*arrays):
    """The place of each block of rows, and the block of every array in float64."""
    for start in range(0, len(arrays[0]), BLOCK):
        yield start, *(a[start : start + BLOCK].astype(np.float64, copy=False) for a in arrays)
