"""Rows with holes as growth takes them: in the place of a tensor of rows in working space.

Moments and likelihoods are those of the observed entries.
"""

from functools import cached_property

import torch

from skrae.mixtures.growth.holes.incomplete import complete_from, products_in, working_moments
from skrae.mixtures.growth.holes.patterns import IncompleteRows, Patterns
from skrae.mixtures.marginal import MarginalDensity
from skrae.preprocessing.rows import WeightedRows


def completed(rows, mixture, generator):
    """`WeightedRows` without holes, by draws from a `Mixture`; the rows where there are none."""
    if isinstance(rows.z, torch.Tensor):
        return rows
    return WeightedRows(rows.z.drawn(mixture, generator), rows.weights)


class HoledRows:
    """n rows of which entries are missing, in a working space z = y @ matrix.

    Parameters
    ----------
    full : tensor of shape (n, d), completed rows in working space
    rows : IncompleteRows of y
    matrix : tensor of shape (d_c, d_c)
    levels : tuple of int, the number of levels of each categorical column
    """

    def __init__(self, full, rows, matrix, levels):
        self.full, self.rows, self.matrix, self.levels = full, rows, matrix, tuple(levels)

    @property
    def shape(self):
        """That of the completed rows."""
        return self.full.shape

    def __len__(self):
        return len(self.full)

    def __getitem__(self, index):
        """Some of the rows, by whatever indexes a tensor's first axis."""
        rows = IncompleteRows(*(part[index] for part in self.rows))
        return HoledRows(self.full[index], rows, self.matrix, self.levels)

    def joined(self, other):
        """These rows and others."""
        pairs = zip(self.rows, other.rows, strict=True)
        rows = IncompleteRows(*(torch.cat(pair) for pair in pairs))
        return HoledRows(torch.cat([self.full, other.full]), rows, self.matrix, self.levels)

    @cached_property
    def _patterns(self):
        return Patterns(self.rows, self.levels)

    @cached_property
    def _inverse(self):
        return torch.linalg.inv(self.matrix)

    def drawn(self, mixture, generator):
        """Full rows in working space, with draws from a `Mixture` where there are holes."""
        covariances = self._inverse.T @ mixture.covariances @ self._inverse
        law = mixture.weights, mixture.means @ self._inverse, covariances, mixture.levels
        y, n = complete_from(*law, self._patterns, generator), len(self.matrix)
        return torch.cat([y[:, :n] @ self.matrix, y[:, n:]], dim=1)

    def moments(self, mixture):
        """The `weighted_moments` that a step of EM takes, in working space."""
        return working_moments(mixture, self._patterns, self.matrix, self._inverse)[0]

    def log_likelihoods(self, mixture):
        """log densities of the observed entries, (n,), in the space of y."""
        return products_in(mixture, self._patterns, self._inverse)[1]

    def log_density(self, density):
        """The same of a `MixtureDensity` in working space, pattern by pattern."""
        base, found = density.affine(self._inverse), self.full.new_empty(len(self))
        absent = self._patterns.restored(self._patterns.absent) > 0.5
        missing = torch.cat([self.rows.y.isnan(), absent], dim=1)
        rows = torch.cat([self.rows.y.nan_to_num(0.0), self.rows.onehots], dim=1)
        patterns, of_row = missing.unique(dim=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            own = (of_row == number).nonzero()[:, 0]
            found[own] = MarginalDensity(base, pattern).log_density(rows[own])
        return found
