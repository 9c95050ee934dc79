"""Which rows an ensemble draws, and which are left to calibrate it.

Rows are drawn as places on a line on which each is as long as its weight, in an order of their own:
the draws depend on neither the order of the rows nor on whether copies are counted by weights.
"""

from typing import NamedTuple

import numpy as np

# So much weight has to be left undrawn for it to calibrate.
LEAST_LEFT = 100.0


class Line(NamedTuple):
    """Distinct rows in an order of their own."""

    index: np.ndarray  # (n,) where each was first in the table
    weights: np.ndarray  # (n,) how many copies there are of each

    def take(self, places):
        """Some of the rows."""
        return Line(self.index[places], self.weights[places])


def line_of(rows, weights):
    """The `Line` of rows (n, d), NaN where missing, without those of weight zero."""
    kept = np.flatnonzero(weights > 0.0)
    rows = np.ascontiguousarray(rows[kept]) + 0.0  # -0.0 is 0.0
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Line(kept[first], np.bincount(inverse.ravel(), weights[kept]))


def draw_copies(line, kernel, random_state):
    """Places on the line, whole numbers (m B,): at random, or of a single subsample evenly."""
    length = line.weights.sum()
    u = random_state.random_sample(kernel.n_draws)
    if kernel.n_subsamples == 1:
        u = (np.arange(kernel.size) + u[0]) / kernel.size
    return np.floor(u * length)


def rows_of_copies(line, copies):
    """The row at each place, int (k,), and the weight left undrawn of all rows, (n,).

    A place is a copy of a row: what is drawn of a row is as many of its copies as have places.
    """
    ends = np.cumsum(line.weights)
    rows = np.minimum(np.searchsorted(ends, copies, side="right"), len(ends) - 1)
    _, first = np.unique(copies, return_index=True)
    used = np.bincount(rows[first], minlength=len(ends))
    return rows, np.maximum(line.weights - used, 0.0)


def some_of(line, most, random_state):
    """The line, or `most` of its rows at random where there are more."""
    if len(line.index) <= most:
        return line
    return line.take(np.sort(random_state.permutation(len(line.index))[:most]))
