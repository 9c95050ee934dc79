"""Rows with holes, sorted by which entries they lack, so that alike ones share their matrices."""

from typing import NamedTuple

import torch

from skrae.mixtures.quadratics import rows_at_once
from skrae.preprocessing.blocks import BLOCK_NUMBERS

# An integer has a bit for each of so many columns.
N_BITS = 62


class IncompleteRows(NamedTuple):
    """Rows y (n, d_c), NaN where missing, the one-hots (n, D) of their categories, weights (n,).

    A category that is missing has zeros for a one-hot. D may be 0.
    """

    y: torch.Tensor
    onehots: torch.Tensor
    weights: torch.Tensor


class _Part(NamedTuple):
    """A block of rows that lack m entries each: y (d_c, b) is 0 in holes, observed is 0.0 there.

    Row i lacks the axes missing[pattern[i]], missing of shape (G, m); rows of a pattern are
    neighbours.
    """

    rows: slice
    y: torch.Tensor
    observed: torch.Tensor
    missing: torch.Tensor
    pattern: torch.Tensor


class Patterns:
    """Incomplete rows sorted by the pattern of their numeric holes: once for many steps.

    Complete rows come first, then those that lack one entry, and so on; among these patterns of
    many rows come first.

    Parameters
    ----------
    rows : IncompleteRows
    level_sizes : tuple of int
        The numbers of levels of the categorical columns; their sum is D.

    Attributes
    ----------
    order : tensor of shape (n,), places among the rows given of the sorted ones.
    y, onehots, weights : the sorted rows; y is 0 in holes.
    observed : tensor of shape (n, d_c), 0.0 in holes.
    absent : tensor of shape (n, D), 1.0 at the levels of missing categories.
    n_complete : int, the rows without numeric holes.

    Raises
    ------
    ValueError
        If shapes do not match, an observed number is infinite, or one-hots are none.

    Examples
    --------
    >>> y = torch.tensor([[0.0, torch.nan], [1.0, 2.0], [3.0, torch.nan]], dtype=torch.float64)
    >>> patterns = Patterns(IncompleteRows(y, y[:, :0], torch.ones(3, dtype=torch.float64)))
    >>> patterns.order, patterns.n_complete
    (tensor([1, 0, 2]), 1)
    """

    def __init__(self, rows, level_sizes=()):
        self.level_sizes = tuple(level_sizes)
        _check(rows, self.level_sizes)
        missing = rows.y.isnan()
        of_row, counts, first = _numbered(missing)
        missing = missing[first]  # (U, d_c)
        n_missing = missing.sum(1)
        ranked = _sorted_by(n_missing, -counts)
        rank = torch.empty_like(ranked).scatter_(0, ranked, torch.arange(len(ranked)))
        self.order = rank[of_row].argsort(stable=True)
        self._of_row = rank[of_row][self.order]
        self._missing, self._n_missing = missing[ranked], n_missing[ranked]
        self._starts = torch.cat([counts.new_zeros(1), counts[ranked].cumsum(0)])
        self.y = rows.y[self.order]
        self.observed = (~self.y.isnan()).to(self.y)
        self.y.nan_to_num_(0.0)
        self.onehots, self.weights = rows.onehots[self.order], rows.weights[self.order]
        self.absent = 1.0 - self.level_sums(self.onehots)
        self.n_complete = int(counts[n_missing == 0].sum())

    def level_sums(self, onehots):
        """Sums of one-hots (n, D) over the levels of each column, at every level of it."""
        if not self.level_sizes:
            return onehots
        groups = onehots.split(self.level_sizes, dim=1)
        return torch.cat([g.sum(1, keepdim=True).expand_as(g) for g in groups], dim=1)

    def restored(self, values):
        """Values (n, ...) of the sorted rows in the order of the rows given."""
        return torch.empty_like(values).index_copy_(0, self.order, values)

    def complete_parts(self, n_components):
        """Slices of the complete rows."""
        size = rows_at_once(n_components, self.y.shape[1])
        for start in range(0, self.n_complete, size):
            yield slice(start, min(start + size, self.n_complete))

    def parts(self, n_components):
        """The rows with holes as blocks, small enough for n_components matrices of each pattern."""
        n, d = self.y.shape
        n_rows = max(1, BLOCK_NUMBERS // (n_components * d))
        start = self.n_complete
        while start < n:
            first = int(self._of_row[start])
            m = int(self._n_missing[first])
            n_patterns = max(1, BLOCK_NUMBERS // (n_components * m**2))
            # Those that lack as many entries, and no more than there is room for.
            last = min(int(torch.searchsorted(self._n_missing, m, right=True)), first + n_patterns)
            end = min(start + n_rows, int(self._starts[last]))
            yield self._part(slice(start, end), first, m)
            start = end

    def _part(self, rows, first, m):
        pattern = self._of_row[rows] - first
        axes = self._missing[first : first + int(pattern[-1]) + 1].nonzero()[:, 1].view(-1, m)
        return _Part(rows, self.y[rows].T, self.observed[rows].T, axes, pattern)


def _check(rows, level_sizes):
    """Raise unless these are rows with holes and one-hots of so many levels."""
    y, onehots, weights = rows
    n, n_levels = len(y), sum(level_sizes)
    if y.ndim != 2 or onehots.shape != (n, n_levels) or weights.shape != (n,):
        shapes = ", ".join(str(tuple(part.shape)) for part in rows)
        raise ValueError(
            f"Got y, onehots, weights of shapes {shapes}, expected (n, d), (n, {n_levels}), (n,)."
        )
    if y.isinf().any():
        raise ValueError("Got an infinite number among y, expected finite ones, or NaN for a hole.")
    groups = onehots.split(level_sizes, dim=1) if level_sizes else ()
    flags = ((onehots == 0) | (onehots == 1)).all()
    if not flags or any((group.sum(1) > 1).any() for group in groups):
        raise ValueError("Got onehots that are none, expected one 1 for a category, or zeros.")


def _numbered(missing):
    """Of bool rows: the pattern of each, and of each pattern its number of rows and one of them."""
    n, d = missing.shape
    keys = missing
    if d <= N_BITS:
        keys = missing.long() @ 2 ** torch.arange(d)
    _, of_row, counts = keys.unique(dim=0, return_inverse=True, return_counts=True)
    first = torch.empty_like(counts).scatter_(0, of_row, torch.arange(n))
    return of_row, counts, first


def _sorted_by(major, minor):
    """The places of items from the least major, and minor among equals, on."""
    by_minor = minor.argsort(stable=True)
    return by_minor[major[by_minor].argsort(stable=True)]
