"""The intervals that values of numeric columns stand for."""

import numpy as np


class Cells:
    """Intervals of rounded values, and those of the values that many rows prefer.

    Parameters
    ----------
    steps : array of shape (d_c,), of the grid of each numeric column, 0 where it is continuous
    heaps : dict of int to `Heaps`, of columns whose values are preferred unequally
    """

    def __init__(self, steps, heaps=()):
        self.steps, self.heaps = np.asarray(steps, np.float64), dict(heaps)
        self.are_cells = self.steps > 0.0

    def __len__(self):
        return len(self.steps)

    @property
    def any(self):
        """Whether some value stands for an interval."""
        return bool(self.are_cells.any())

    def of(self, X):
        """Middles and lengths (n, d_c) of the intervals of rows X (n, d_c), and log weights (n,).

        The log weight of a row is log p less the log of the mean density over its intervals.
        """
        middles, lengths = X.copy(), np.tile(self.steps, (len(X), 1))
        log_weights = np.zeros(len(X))
        for j, heaps in self.heaps.items():
            middles[:, j], lengths[:, j], more = heaps.intervals(X[:, j], self.steps[j])
            log_weights += more
        return middles, lengths, log_weights

    def drawn(self, X, rng):
        """Rows X (n, d_c) at random places of their intervals."""
        middles, lengths, _ = self.of(X)
        return middles + lengths * (rng.random_sample(X.shape) - 0.5)
