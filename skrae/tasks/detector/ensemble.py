"""The density of an ensemble of subsamples: what is drawn for it, asked of it and kept of it."""

import numpy as np

from skrae.tasks.detector.axes import AxisMap, Entries, axis_map
from skrae.tasks.detector.drawn import draw_copies, rows_of_copies
from skrae.tasks.detector.kernels import Kernel, KernelEnsemble

# Rows drawn that tell what each column adds to the log density of a row at random.
N_TYPICAL = 64
# Weight of -u^2/2 of normal scores u beside the kernel of such, and the share of the kernels of
# clean rows where nobody knows.
MARGIN_WEIGHT, CLEAN_SHARE = 0.4, 0.25
# Most rows that a kernel stands on where training rows are clean.
MAX_CLEAN = 2048


def kernels_of(training_rows, n_subsamples, n_copies):
    """The kernels of an ensemble: one for rows far from all others, one for those among them.

    Of clean rows all may be there at once, or as many as are soon asked.
    """
    mixed = (
        Kernel(0.5, np.inf, 16, n_subsamples),
        Kernel(1.0, 1.0, 64, -(-n_subsamples // 2), of_scores=True),
    )
    size = int(min(MAX_CLEAN, np.ceil(n_copies)))
    clean = Kernel(0.3, np.inf, size, 1), Kernel(1.0, 1.0, size, 1)
    weighted = {"mixed": [(mixed, 1.0)], "clean": [(clean, 1.0)]}
    weighted["auto"] = [(mixed, 1.0 - CLEAN_SHARE), (clean, CLEAN_SHARE)]
    return [
        kernel._replace(weight=weight / len(kernels))
        for kernels, weight in weighted[training_rows]
        for kernel in kernels
    ]


class Ensemble:
    """Mean of the log densities of ensembles of kernels, and of margins, in the axes of a map.

    Parameters
    ----------
    axes : AxisMap
    kernels : sequence of Kernel
    rows : list of arrays (m_k B_k, D), the rows drawn for each kernel, in its axes
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
        z = axes_of(self.axes, self.kernels, entries)
        found = self._margins(z).sum(axis=1) + self._sum_of("log_density", z)
        missing = self._missing_columns(z)
        return found + missing @ self.typical if missing.any() else found

    def _sum_of(self, name, z):
        """Sum over the kernels of a weighted answer to rows."""
        return sum(
            part.kernel.weight * part.by_blocks(getattr(part, name), own)
            for part, own in zip(self._parts, z, strict=True)
        )

    def _margins(self, z):
        """What single columns add beside the kernels of normal scores, (n, D)."""
        found, n_numbers = np.zeros_like(z[0]), len(self.axes.scale)
        for kernel, own in zip(self.kernels, z, strict=True):
            if kernel.of_scores:
                scores = np.nan_to_num(own[:, :n_numbers], nan=0.0)
                found[:, :n_numbers] -= 0.5 * MARGIN_WEIGHT * kernel.weight * scores**2
        return found

    def _missing_columns(self, z):
        return self.axes.by_column(np.isnan(z[0]), len(self.typical)) > 0.0

    def contributions(self, entries):
        """What each column adds to log g, (n, n_columns); the rows sum to `log_density`."""
        z = axes_of(self.axes, self.kernels, entries)
        found = self._contributions(z, len(self.typical))
        return np.where(self._missing_columns(z), self.typical, found)

    def _contributions(self, z, n_columns):
        """The same of what is observed."""
        found = self._sum_of("contributions", z)
        # What the quadrature leaves is spread in proportion.
        sums, log_density = found.sum(axis=1), self._sum_of("log_density", z)
        found *= np.divide(log_density, sums, out=np.ones_like(sums), where=sums != 0.0)[:, None]
        return self.axes.by_column(found + self._margins(z), n_columns)

    def learn_typical(self, entries, n_columns):
        """Set `typical` to the means of the contributions of rows that have the column."""
        self.typical = np.zeros(n_columns)
        z = axes_of(self.axes, self.kernels, entries)
        found, seen = self._contributions(z, n_columns), ~self._missing_columns(z)
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
    own = zip(kernels, np.split(places, ends), strict=True)
    rows = [axes_of(axes, [kernel], taken(entries, line.index[at]))[0] for kernel, at in own]
    ensemble = Ensemble(axes, kernels, rows, np.split(line.weights[places], ends))
    some = random_state.permutation(np.unique(places))[:N_TYPICAL]
    ensemble.learn_typical(taken(entries, line.index[some]), n_columns)
    return ensemble, left


def axes_of(axes, kernels, entries):
    """For each kernel the axes (n, D) that it has distances in, made once."""
    made = {
        of_scores: axes.scores(entries) if of_scores else axes.scaled(entries)
        for of_scores in {kernel.of_scores for kernel in kernels}
    }
    return [made[kernel.of_scores] for kernel in kernels]


def taken(entries, index):
    """The entries of some rows."""
    return Entries(*(part[index] for part in entries))
