"""All rows of a table that is larger than memory, for the last steps of the mixtures of a sample.

A step of expectation-maximisation asks for sums over rows: they are taken block by block, in
working space, of what is observed. Left out are rows with wild values; levels that the sample has
not seen are taken for holes. Values stand at places of their cells that the law of the sample's
completion draws, the same at every step. Of many columns holes are drawn likewise.
"""

import zlib
from typing import NamedTuple

import numpy as np
import torch

from skrae.density.columns.working_space import WorkingSpace
from skrae.density.incomplete.completing import holed_rows
from skrae.density.incomplete.law import RowLaw
from skrae.mixtures.growth.expectation import PartMoments, moments_of
from skrae.preprocessing.blocks import is_wide
from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.contract.work import check_time
from skrae.preprocessing.sources.source import Source
from skrae.preprocessing.table.table import Table

# By how much of the sum of their sizes the sum of the same numbers may differ, read in other order.
ROUNDING = 1e-9


class ColumnSums:
    """Sums of the columns of a table, which are those of every pass before.

    Parameters
    ----------
    names : sequence of str, of the columns of full rows, or None
    """

    def __init__(self, names=None):
        self._names, self._before = names, None

    def check(self, found, sizes):
        """Raise ValueError where sums (d,) are not as before; `sizes` are of absolute values."""
        before = found if self._before is None else self._before
        self._before = before
        with np.errstate(invalid="ignore"):  # of sums that overflow
            changed = np.abs(found - before) > ROUNDING * sizes
        if changed.any():
            j = int(changed.argmax())
            name = j if self._names is None else repr(str(self._names[j]))
            raise ValueError(
                f"Got a table whose column {name} has the sum {found[j]:.10g}, expected"
                f" {before[j]:.10g} as when it was read before: it must not change while it is"
                " fitted to, and an iterable must give the same rows each time it begins."
            )


class AllRows(NamedTuple):
    """The rows of a source.

    Parameters
    ----------
    source : Source, counted
    weights : array of shape (n,), of mean 1 where they are positive, or None
    read : callable from a block of the source to its `AskedRows`
    table : Table, or None where all columns are plain numbers
    sums : ColumnSums
    """

    source: Source
    weights: np.ndarray | None
    read: object
    table: Table | None
    sums: ColumnSums

    def within(self, working, law):
        """The same in a `WorkingSpace`; `law` is the `RowLaw` of the sample's holes, or None."""
        return RowsWithin(self, working, law)

    def blocks(self):
        """Full rows (m, d) of positive weight, NaN where missing, float64, and weights (m,).

        Raises
        ------
        ValueError
            Where the rows are not those of the pass before.
        """
        start, sums, sizes = 0, 0.0, 0.0
        for number, block in enumerate(self.source.blocks()):
            X = np.ascontiguousarray(self.read(block).X, np.float64)
            if self.table and not len(self.table.steps):  # the column of noise of the sample
                X[:, 0] = np.random.default_rng(number).standard_normal(len(X))
            with np.errstate(over="ignore"):
                sums, sizes = sums + np.nansum(X, axis=0), sizes + np.nansum(np.abs(X), axis=0)
            own = np.ones(len(X))
            if self.weights is not None:
                own = self.weights[start : start + len(X)]
            start += len(X)
            if own.any():
                yield X[own > 0.0], own[own > 0.0]
        self.sums.check(sums, sizes)


class RowsWithin(NamedTuple):
    """All rows in working space: what `expectation.moments_of` asks for their moments."""

    rows: AllRows
    working: WorkingSpace
    law: RowLaw | None

    def moments(self, mixture, nearest=None):
        """The `weighted_moments` of a `Mixture`, of the rows of all processes.

        `Nearest` may know the few components of the rows of a block, and is told of others.
        """
        width = mixture.means.shape[1] + sum(self.rows.table.levels if self.rows.table else ())
        none = torch.zeros(0, width, dtype=torch.float64)
        found, sums = moments_of(mixture, none, none.sum(1)), PartMoments(mixture, nearest)
        for number, (X, weights) in enumerate(self.rows.blocks()):
            check_time()
            for part in self._parts(X, weights, number):
                name = nearest and (number, _fingerprint(part.z))
                found = found + sums(*part, name)
        return current().total(found)

    def _parts(self, X, weights, number):
        """`WeightedRows` of the complete rows of a block, and of those with holes."""
        X, missing = self._full(X, number)
        kept, holed, every = self.working.holds(X), missing.any(axis=1), np.arange(len(X))
        whole = kept & ~holed
        if whole.any():
            yield self.working._replace(kept=whole).rows(X, weights, every, number)
        holed &= kept
        if holed.any() and not self._is_wide:
            part = self.working._replace(kept=holed).rows(X, weights, every, number)
            yield holed_rows(part, X[holed], missing[holed], self.working)

    def _full(self, X, number):
        """Full rows of a block, and which of their entries are filled in without a meaning."""
        missing = np.isnan(X)
        if self.law is not None and (self.law.cells.any or self._is_wide):
            X = self.law.drawn(X, 1, np.random.RandomState(number))[:, 0]
            missing &= not self._is_wide
        middle = self.working.transform.inverse(np.zeros((1, X.shape[1])))
        return np.where(missing, middle, X), missing

    @property
    def _is_wide(self):
        """Whether rows are completed rather than taken with their holes, or left out."""
        return is_wide(len(self.working.limits[0]))


def _fingerprint(z):
    """A number that is another one where rows have changed or changed places."""
    return zlib.crc32(np.ascontiguousarray(z))
