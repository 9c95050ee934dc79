"""Values of a grid that many rows prefer, as round sums, and the intervals they stand for.

The line is cut into intervals C. A row in C has, whatever else is known of it, one of the preferred
values v of C with the probability g_v, and with the rest b_C = 1 - sum_v g_v any value of C:

    P(v) = g_v P(C)                        of a preferred value
    P(x) = b_C P(the cell of x) / f_C      of any other, f_C the share of their cells in C

So a smooth density of C gives the mass of each value. Where it is even within C all masses add up
to one; as b_C < f_C where values are preferred, none is raised by narrowing. C is a quarter of a
standard deviation or more: of sums told in tens and in thousands the density has not to follow the
thousands, only their shares do.
"""

from typing import NamedTuple

import numpy as np

# The fewest rows at a value by which preferred ones are found, as a number and a share; and at any
# that then counts as one, whose share is that of so many rows fewer: those of chance return less.
MIN_COUNT, MIN_SHARE, MIN_OWN, DISCOUNT = 10, 1.0 / 1000.0, 3, 0.5
# The fewest rows of a column, and of an interval.
MIN_ROWS, ROWS_AN_INTERVAL = 500, 25
# The least share of rows at preferred values, and nats a row that these must gain.
MIN_PREFERRED, MIN_GAIN = 0.1, 1.0
# The least length of an interval, and how far from a value it reaches, in standard deviations.
LENGTH, REACH = 1.0 / 4.0, 1.0 / 4.0
# How far from a preferred value a number is that one, in steps.
NEAR = 0.25


class Heaps(NamedTuple):
    """Preferred values and their intervals; plain data.

    Parameters
    ----------
    edges : tuple of m + 1 floats, increasing
    log_others : tuple of m floats, log b of each interval
    values : tuple of k floats, increasing: the preferred values
    log_shares : tuple of k floats, log g of each
    """

    edges: tuple
    log_others: tuple
    values: tuple
    log_shares: tuple

    def intervals(self, x, step):
        """Of values x (n,) on a grid of that step, NaN where missing, what each stands for.

        Returns
        -------
        middles, lengths : arrays of shape (n,), of intervals
        log_weights : array of shape (n,): log P(x) / step less the log of the mean density over
            its interval

        Examples
        --------
        >>> heaps = Heaps((0.0, 10.0), (np.log(0.2),), (5.0,), (np.log(0.8),))
        >>> middles, lengths, log_weights = heaps.intervals(np.array([5.0, 7.0]), 1.0)
        >>> middles.tolist(), lengths.tolist(), np.exp(log_weights).round(2).tolist()
        ([5.0, 7.0], [10.0, 1.0], [8.0, 0.22])
        """
        edges, place = np.array(self.edges), self._interval_of(x)
        own = place.clip(0, len(self.log_others) - 1)
        is_inside = place == own
        nearest = self._nearest(x)
        is_preferred = is_inside & (np.abs(x - np.array(self.values)[nearest]) <= NEAR * step)
        low, high = edges[own], edges[own + 1]
        log_others = np.where(is_inside, self._log_others_of_cells(step)[own], 0.0)
        log_gains = np.array(self.log_shares)[nearest] + np.log((high - low) / step)
        return (
            np.where(is_preferred, 0.5 * (low + high), x),
            np.where(is_preferred, high - low, step),
            np.where(is_preferred, log_gains, np.where(np.isnan(x), 0.0, log_others)),
        )

    def below(self, x):
        """What is at most x (n,) of its interval, as the others were spread evenly.

        Returns
        -------
        low, high : arrays of shape (n,), the ends of the interval; x itself outside of all
        shares : array of shape (n,)

        Examples
        --------
        >>> heaps = Heaps((0.0, 10.0), (np.log(0.2),), (5.0,), (np.log(0.8),))
        >>> heaps.below(np.array([2.5, 5.0]))[2].round(2).tolist()
        [0.05, 0.9]
        """
        edges, place = np.array(self.edges), self._interval_of(x)
        own = place.clip(0, len(self.log_others) - 1)
        is_inside = place == own
        low, high = edges[own], edges[own + 1]
        values, shares = np.array(self.values), np.exp(self.log_shares)
        sums = np.append(0.0, np.cumsum(shares))
        passed = sums[np.searchsorted(values, x, side="right")]
        passed = passed - sums[np.searchsorted(values, low, side="left")]
        found = passed + np.exp(np.array(self.log_others)[own]) * (x - low) / (high - low)
        ends = (np.where(is_inside, end, x) for end in (low, high))
        return *ends, np.where(is_inside, found, 0.0)

    def quantiles(self, x):
        """Numbers (n,) of a smooth density as values of the column.

        Within an interval, what is uniform there becomes distributed as the column's values are:
        by the inverse of their distribution function, which jumps at preferred values.

        >>> heaps = Heaps((0.0, 10.0), (np.log(0.2),), (5.0,), (np.log(0.8),))
        >>> heaps.quantiles(np.array([0.5, 2.0, 8.0, 9.5])).tolist()
        [2.5, 5.0, 5.0, 7.5]
        """
        edges, place = np.array(self.edges), self._interval_of(x)
        own = place.clip(0, len(self.log_others) - 1)
        lengths, others = np.diff(edges), np.exp(self.log_others)
        values, shares = np.array(self.values), np.exp(self.log_shares)
        of = self._interval_of(values)
        below = _sums_before(shares, of)
        starts = of + below + others[of] * (values - edges[of]) / lengths[of]
        position = own + ((x - edges[own]) / lengths[own]).clip(0.0, 1.0)
        last = np.searchsorted(starts, position, side="right") - 1
        mine = (last >= 0) & (of[last] == own)
        is_at = mine & (position <= starts[last] + shares[last])
        passed = np.where(mine, below[last] + shares[last], 0.0)
        rest = (position - own - passed) / others[own]
        found = np.where(is_at, values[last], edges[own] + rest.clip(0.0, 1.0) * lengths[own])
        return np.where(place == own, found, x)

    def _log_others_of_cells(self, step):
        """log b / f of each interval."""
        of = self._interval_of(np.array(self.values))
        n_preferred = np.bincount(of, minlength=len(self.log_others))
        free = 1.0 - n_preferred * step / np.diff(self.edges)
        # Where every cell is a preferred value's, the others lie between cells.
        return np.array(self.log_others) - np.log(np.where(free > 1e-6, free, 1.0))

    def _interval_of(self, x):
        return np.searchsorted(np.array(self.edges), x, side="right") - 1

    def _nearest(self, x):
        values = np.array(self.values)
        above = np.searchsorted(values, x).clip(0, len(values) - 1)
        below = np.maximum(above - 1, 0)
        return np.where(x - values[below] < values[above] - x, below, above)


def _sums_before(shares, groups):
    """Sums of the shares before each in its group; groups increase."""
    total = np.cumsum(shares) - shares
    first = np.searchsorted(groups, groups, side="left")
    return total - total[first]


def are_likely(counts):
    """Whether values that are there `counts` times may have preferred ones among them."""
    n = counts.sum()
    least = max(MIN_COUNT, MIN_SHARE * n)
    return n >= MIN_ROWS and counts[counts >= least].sum() >= MIN_PREFERRED * n


def find_heaps(points, counts, lattice, deviation, least_gain=MIN_GAIN, least_count=MIN_OWN):
    """The `Heaps` of a column, or None where they gain less than `least_gain` nats a row.

    Parameters
    ----------
    points : array of shape (m,), increasing: the distinct values
    counts : array of shape (m,), rows at each
    lattice : Lattice through them
    deviation : float, a standard deviation that no wild value hides
    least_count : int, rows that prefer a value

    Examples
    --------
    >>> from skrae.preprocessing.table.grids.lattice import find_lattice
    >>> points = np.arange(1000.0)
    >>> counts = np.where(points % 100 == 0, 100, 1)
    >>> heaps = find_heaps(points, counts, find_lattice(points), points.std())
    >>> heaps.values[:3]
    (0.0, 100.0, 200.0)
    """
    n, step = counts.sum(), lattice.step
    is_preferred = counts >= least_count
    if not is_preferred.any():
        return None
    edges = _edges(points, counts, points[is_preferred], lattice, deviation)
    of = np.searchsorted(edges, points, side="right")  # 0 and len(edges) are outside
    size = len(edges) + 1
    inside = np.bincount(of, counts, size)
    discounted = np.where(is_preferred, counts - DISCOUNT, 0.0)
    preferred = np.bincount(of, discounted, size)
    # Where none is preferred, all are others.
    others = np.ones(size)
    some = preferred > 0
    others[some] -= preferred[some] / inside[some]
    own = of[is_preferred]
    shares = discounted[is_preferred] / inside[own]
    gains = counts[is_preferred] @ np.log(shares * np.diff(edges)[own - 1] / step)
    gains += np.bincount(of, np.where(is_preferred, 0, counts), size) @ np.log(others)
    # Less what as many frequencies gain by chance in the rows that they are taken from.
    gains -= len(shares) + np.count_nonzero(preferred)
    if gains < least_gain * n:
        return None
    parts = edges, np.log(others[1:-1]), points[is_preferred], np.log(shares)
    return Heaps(*(tuple(part.tolist()) for part in parts))


def _edges(points, counts, values, lattice, deviation):
    """Ends of intervals, between cells: halfway between preferred values, but near them."""
    # Half a cell at least: of a column of nearly one value no rounding may leave that outside.
    step, reach = lattice.step, max(REACH * deviation, 0.5 * lattice.step)
    ends = np.minimum(0.5 * np.diff(values), reach)
    candidates = [values[0] - reach, *values[:-1] + ends, *values[1:] - ends, values[-1] + reach]
    cells = np.floor((np.sort(candidates) - lattice.offset) / step)
    candidates = lattice.offset + (np.unique(cells) + 0.5) * step
    rows = np.append(0, np.cumsum(counts))[np.searchsorted(points, candidates)]
    kept = [0]
    for i in range(1, len(candidates)):
        length, n_own = candidates[i] - candidates[kept[-1]], rows[i] - rows[kept[-1]]
        if length >= LENGTH * deviation and n_own >= ROWS_AN_INTERVAL:
            kept.append(i)
    # What is left at the end belongs to the last.
    return candidates[np.append(kept[:-1] or kept, len(candidates) - 1)]
