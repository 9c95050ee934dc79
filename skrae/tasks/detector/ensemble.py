"""The density of an ensemble of subsamples: what is drawn for it, asked of it and kept of it."""

import numpy as np

from skrae.tasks.detector.axes import AxisMap, Entries, axis_map
from skrae.tasks.detector.drawn import draw_copies, rows_of_copies, some_of
from skrae.tasks.detector.kernels import Kernel, KernelEnsemble

# Rows that tell what each column adds to the log density of a row at random.
N_TYPICAL = 64
# Most rows that a kernel stands on where training rows are clean.
MAX_CLEAN = 2048


def kernels_of(training_rows, n_subsamples, n_copies):
    """The kernels of an ensemble: one for rows far from all others, one for those among them.

    Of clean rows all may be there at once, or as many as are soon asked.
    """
    if training_rows == "clean":
        size = int(min(MAX_CLEAN, np.ceil(n_copies)))
        return Kernel(0.3, np.inf, size, 1), Kernel(1.0, 1.0, size, 1)
    return Kernel(0.5, np.inf, 16, n_subsamples), Kernel(1.0, 1.0, 64, -(-n_subsamples // 2))


class Ensemble:
    """Mean of the log densities of ensembles of kernels, in the axes of an `AxisMap`.

    Parameters
    ----------
    axes : AxisMap
    kernels : sequence of Kernel
    rows : list of arrays (m_k B_k, D), the rows drawn for each kernel, in axes
    copies : list of arrays (m_k B_k,)
    typical : array of shape (n_columns,), what a column adds where it is missing; None before known
    """

    def __init__(self, axes, kernels, rows, copies, typical=None):
        self.axes, self.kernels, self.rows, self.copies = axes, kernels, rows, copies
        self.typical = typical
        parts = zip(kernels, rows, copies, strict=True)
        self._parts = [KernelEnsemble(*part, axes.owners) for part in parts]

    def log_density(self, entries):
        """log g of rows, (n,)."""
        z = self.axes.forward(entries)
        found = self._mean_of("log_density", z)
        missing = np.isnan(z)
        if missing.any():
            found = found + self._missing_columns(missing) @ self.typical
        return found

    def _mean_of(self, name, z):
        found = (part.by_blocks(getattr(part, name), z) for part in self._parts)
        return sum(found) / len(self._parts)

    def _missing_columns(self, missing):
        return self.axes.by_column(missing, len(self.typical)) > 0.0

    def contributions(self, entries):
        """What each column adds to log g, (n, n_columns); the rows sum to `log_density`."""
        z = self.axes.forward(entries)
        found = self._contributions(z, len(self.typical))
        # What the quadrature leaves is spread in proportion.
        sums, log_density = found.sum(axis=1), self._mean_of("log_density", z)
        found *= np.divide(log_density, sums, out=np.ones_like(sums), where=sums != 0.0)[:, None]
        return np.where(self._missing_columns(np.isnan(z)), self.typical, found)

    def _contributions(self, z, n_columns):
        return self.axes.by_column(self._mean_of("contributions", z), n_columns)

    def learn_typical(self, entries, n_columns):
        """Set `typical` to the means of the contributions of rows that have the column."""
        z = self.axes.forward(entries)
        found = self._contributions(z, n_columns)
        seen = self.axes.by_column(np.isnan(z), n_columns) == 0.0
        self.typical = (found * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)

    def state(self):
        """All of it in a dict of arrays and tuples, for `from_state`."""
        return {
            "axes": self.axes._asdict(),
            "kernels": [tuple(kernel) for kernel in self.kernels],
            "rows": self.rows,
            "copies": self.copies,
            "typical": self.typical,
        }

    @classmethod
    def from_state(cls, state):
        """The ensemble whose `state` this is."""
        kernels = [Kernel(*kernel) for kernel in state["kernels"]]
        parts = (state[name] for name in ("rows", "copies", "typical"))
        return cls(AxisMap(**state["axes"]), kernels, *parts)


def draw_ensemble(kernels, entries, line, n_columns, table, random_state):
    """An `Ensemble` of rows, and the weight of each row of the line that it has not drawn.

    Parameters
    ----------
    kernels : sequence of Kernel
    entries : Entries of all rows
    line : Line of them
    n_columns : int
    table : Table or None
    random_state : RandomState
    """
    n_draws = [kernel.n_draws for kernel in kernels]
    copies = np.concatenate([draw_copies(line, kernel, random_state) for kernel in kernels])
    places, left = rows_of_copies(line, copies)
    drawn = taken(entries, line.index[places])
    axes = axis_map(drawn, taken(entries, line.index), line.weights, table)
    ends = np.cumsum(n_draws)[:-1]
    rows, counts = np.split(axes.forward(drawn), ends), np.split(line.weights[places], ends)
    ensemble = Ensemble(axes, kernels, rows, counts)
    some = some_of(line, N_TYPICAL, random_state)
    ensemble.learn_typical(taken(entries, some.index), n_columns)
    return ensemble, left


def taken(entries, index):
    """The entries of some rows."""
    return Entries(*(part[index] for part in entries))
