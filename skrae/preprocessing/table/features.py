"""One column as the fit knows it: codes and numbers of its values, and its values back."""

from typing import NamedTuple

import numpy as np

from skrae.preprocessing.table.grids.heaps import Heaps
from skrae.preprocessing.table.grids.lattice import Lattice
from skrae.preprocessing.table.options import ATOMS, CATEGORICAL, CONSTANT
from skrae.preprocessing.table.reading import TEXT, TRUTH, ColumnType


class Feature(NamedTuple):
    """A column of the table of a fit; plain data."""

    name: object
    kind: str
    type: ColumnType
    n_observed: int
    share_missing: float
    points: tuple  # atoms, or levels, or the one value of a constant
    lattice: Lattice | None
    heaps: Heaps | None = None

    @property
    def has_numbers(self):
        """Whether it has a numeric column in a view."""
        return self.kind not in (CATEGORICAL, CONSTANT)

    @property
    def n_codes(self):
        """The size of its code column, 0 where it has none."""
        if self.kind == CATEGORICAL:
            return len(self.points)
        return 1 + len(self.points) if self.kind == ATOMS else 0

    @property
    def step(self):
        """h of a grid, 0.0 where there is none."""
        return self.lattice.step if self.lattice else 0.0

    def place(self, column):
        """The index among `points` of each value of a column, int (n,), -1 where it is none."""
        if self.type.sort == TEXT:
            known = {point: i for i, point in enumerate(self.points)}
            return np.array([known.get(value, -1) for value in column.values], dtype=np.int64)
        finest, coarsest = sorted((self.type.precision, column.type.precision))
        points = np.array(self.points, dtype=np.float64)
        # The same number in float32 and float64 differs by the rounding of the former.
        return _nearest(column.values, points, 0.0 if finest == coarsest else coarsest)

    def values(self, n, numbers, codes):
        """n values, of the feature's numbers and codes (n,), each None where it has none."""
        if self.kind == CATEGORICAL:
            return self._levels()[codes]
        if self.kind == CONSTANT:
            return np.repeat(self._levels(), n)
        if self.kind == ATOMS:
            atoms = np.array([0.0, *self.points])
            numbers = np.where(codes > 0, atoms[codes], numbers)
        if self.heaps:
            numbers = self.heaps.quantiles(numbers)
        if self.lattice:
            numbers = self.lattice.snap(numbers)
        if self.type.sort == TRUTH:
            return numbers > 0.5
        return np.rint(numbers) if self.type.is_whole else numbers

    def _levels(self):
        return np.array(self.points, dtype=object if self.type.sort == TEXT else None)


def _nearest(values, points, tolerance):
    """The index of the point at each value, or within a relative tolerance of it; -1 for none."""
    order = np.argsort(points)
    above = np.clip(np.searchsorted(points[order], values), 0, len(points) - 1)
    found = np.full(len(values), -1, dtype=np.int64)
    for candidate in (np.maximum(above - 1, 0), above):
        index = order[candidate]
        is_at = np.abs(values - points[index]) <= tolerance * np.abs(points[index])
        found[is_at] = index[is_at]
    return found
