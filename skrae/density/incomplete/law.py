"""Incomplete rows under a base density: log q of what is observed, and full rows behind it.

    log q(row) = log 1/M sum_m q(observed entries at point m of its cells)

A rounded value stands for an interval of one step. Its points are those of a Kronecker lattice, the
same for every row: along one column they are equally spaced. What is missing is integrated out
exactly, and drawn given the rest where the network has to see a full row. The random numbers of a
row are a stream of its own, seeded by what is observed: an answer depends on its row alone.
"""

from typing import NamedTuple

import numpy as np
import torch

from skrae.density.incomplete.cells import Cells
from skrae.mixtures.components import draw_indices
from skrae.mixtures.marginal import MarginalDensity
from skrae.mixtures.noise import RowStreams
from skrae.sampling.completion import column_space, row_keys

# Points of a cell, and draws of what is missing.
N_POINTS = 64
# Rows at a time, and what a block is padded to: libraries sum in an order that depends on the size.
BLOCK, PADDED = 64, 8
# Numbers that whitened deviations (K, rows, d) may hold at once.
MAX_NUMBERS = 20_000_000
# Patterns whose triangles are kept.
MAX_PATTERNS = 64
SEED = 0


class Points(NamedTuple):
    """M points of each of n rows that miss the same entries."""

    X: np.ndarray  # (n M, d), in the units of the data; of no meaning where an entry is missing
    y: torch.Tensor  # (n M, d), in standardised columns
    log_q: torch.Tensor  # (n, M), of the observed entries, in the units of the data; weighted
    marginal: MarginalDensity
    seen: np.ndarray  # bool (d,)

    @property
    def log_mean(self):
        """log of the mean of q over the points of each row, (n,)."""
        return torch.logsumexp(self.log_q, 1) - np.log(self.log_q.shape[1])

    def repeated(self, n_points):
        """X of n_points of each row, in turn: each point as often as it takes, (n n_points, d)."""
        return np.repeat(self.X, n_points // self.log_q.shape[1], axis=0)


class RawRows(NamedTuple):
    """Incomplete rows of a fit.

    Parameters
    ----------
    X : array of shape (n, d), full rows with NaN where an entry or a category is missing
    cells : Cells, of the numeric columns
    levels : tuple of ints, sizes of the categories
    """

    X: np.ndarray
    cells: Cells
    levels: tuple

    @property
    def are_complete(self):
        """Whether every row is a full one."""
        return not self.cells.any and not np.isnan(self.X).any()

    def law(self, transform, base):
        """The `RowLaw` of a base density."""
        return RowLaw(transform, base, self.cells)


class RowLaw:
    """What a base density says of incomplete rows.

    Parameters
    ----------
    transform : Transform of full rows
    base : MixtureDensity in working space
    cells : Cells, of the numeric columns
    """

    def __init__(self, transform, base, cells):
        self.base, self.matrix, self.columns = column_space(transform, base)
        self.levels, self.n_numeric = base.levels, base.n_numeric
        self.cells = cells
        self._middle = self.columns.inverse(np.zeros((1, base.n_features)))[0]
        self._marginals = {}

    # --- rows and patterns ---------------------------------------------------------------------

    def blocks(self, X, size=BLOCK, seed=SEED, repeats=True):
        """(index, rows, keys) of rows that miss the same, a few at a time, the last repeated.

        Of rows that are equal the keys are equal with `repeats`, else they depend on their order.
        """
        missing = np.isnan(X)
        keys = row_keys(np.where(missing, 0.0, self._forward(X)), missing, seed, repeats)
        _, pattern = np.unique(missing, axis=0, return_inverse=True)
        order = np.argsort(pattern.ravel(), kind="stable")
        starts = np.flatnonzero(np.diff(pattern.ravel()[order], prepend=-1))
        for own in np.split(order, starts[1:]):
            for start in range(0, len(own), size):
                index = own[start : start + size]
                padded = np.append(index, np.repeat(index[-1:], -len(index) % PADDED))
                yield index, X[padded], keys[padded]

    def block_size(self, n_points):
        """Rows of a block whose every point has a number for each component and column."""
        each = n_points * self.base.means.numel()
        return max(PADDED, min(BLOCK, MAX_NUMBERS // each // PADDED * PADDED))

    def _forward(self, X):
        return self.columns.forward(np.where(np.isnan(X), self._middle, X))

    def marginal(self, missing):
        """The `MarginalDensity` of a pattern, bool (d,), of standardised columns."""
        key = missing.tobytes()
        if key not in self._marginals:
            if len(self._marginals) >= MAX_PATTERNS:
                self._marginals.clear()
            self._marginals[key] = MarginalDensity(self.base, torch.from_numpy(missing))
        return self._marginals[key]

    # --- points ----------------------------------------------------------------------------------

    def points(self, rows, n_points, shift=None, together=False):
        """`Points` of rows of one pattern: one each where no value stands for a cell.

        Parameters
        ----------
        rows : array of shape (n, d), NaN where missing
        n_points : int
        shift : array of shape (n, d_c) in [0, 1) that moves the lattice, or None
        together : bool, whether what is beside a row may change how sums of it round
        """
        missing = np.isnan(rows[0])
        cells = np.flatnonzero(self.cells.are_cells & ~missing[: self.n_numeric])
        n_points = n_points if len(cells) else 1
        middles, lengths, log_weights = self.cells.of(rows[:, : self.n_numeric])
        rows = np.concatenate([middles, rows[:, self.n_numeric :]], axis=1)
        X = np.repeat(np.where(missing, self._middle, rows), n_points, axis=0)
        if len(cells):
            offsets = np.tile(lattice(n_points, len(cells)), (len(rows), 1))
            if shift is not None:
                offsets = (offsets + np.repeat(shift[:, cells], n_points, axis=0)) % 1.0
            X[:, cells] += np.repeat(lengths[:, cells], n_points, axis=0) * (offsets - 0.5)
        y, log_det = self.columns.forward_and_log_det(X)
        y = torch.from_numpy(y)
        marginal = self.marginal(missing)
        density = self.base if together and not missing.any() else marginal
        log_q = density.log_density(y) + torch.from_numpy(log_det - self._log_slopes(missing))
        log_q = log_q.view(len(rows), n_points) + torch.from_numpy(log_weights)[:, None]
        return Points(X, y, log_q, marginal, ~missing)

    def _log_slopes(self, missing):
        """What missing entries, which stand at the middle, add to the log determinant."""
        hidden = missing[: self.n_numeric].nonzero()[0]
        if not len(hidden):
            return 0.0
        ones = np.ones((1, len(missing)))
        slopes = self.columns.pull_back(self._middle[None], ones)[0, hidden]
        return -np.log(slopes).sum()

    def completions(self, points, n_draws, keys):
        """Full rows in working space behind `Points`, (n M, d): n_draws of a row of one point.

        And the logarithms of their shares under q, (n, M), which add up to one.
        """
        n, n_points = points.log_q.shape
        streams = RowStreams(keys)
        if n_points == 1:
            y = points.marginal.draw(points.y, n_draws, streams).flatten(0, 1)
            return self.working(y), torch.full((n, n_draws), -np.log(n_draws), dtype=y.dtype)
        y = points.y
        if not points.seen.all():
            each = keys.repeat_interleave(n_points) + torch.arange(n_points).repeat(n)
            streams = RowStreams(each)
            y = points.marginal.draw(y, 1, streams)[:, 0]
        return self.working(y), torch.log_softmax(points.log_q, 1)

    def candidates(self, points, n_draws, keys):
        """Rows of standardised columns drawn by q behind `Points`, (n, n_draws, d), and streams."""
        streams = RowStreams(keys)
        n, n_points = points.log_q.shape
        if n_points == 1:
            return points.marginal.draw(points.y, n_draws, streams), streams
        place = draw_indices(torch.softmax(points.log_q, 1), n_draws, streams)
        y = points.y.view(n, n_points, -1)[torch.arange(n)[:, None], place].flatten(0, 1)
        each = keys.repeat_interleave(n_draws) + torch.arange(n_draws).repeat(n)
        return points.marginal.draw(y, 1, RowStreams(each)).view(n, n_draws, -1), streams

    def working(self, y):
        """Rows of standardised columns in working space."""
        n = self.n_numeric
        return torch.cat([y[:, :n] @ self.matrix, y[:, n:]], 1)

    def drawn(self, X, n_draws, rng, n_points=16):
        """Full rows drawn given incomplete ones (n, d), in the units of the data, (n, n_draws, d).

        Of a cell one of so many points, chosen by q.
        """
        found = np.empty((len(X), n_draws, X.shape[1]))
        generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
        for index, rows, _ in self.blocks(X, 8 * self.block_size(n_points)):
            shift = rng.random_sample((len(rows), self.n_numeric))
            points = self.points(rows, n_points, shift, together=True)
            y = self._chosen(points, n_draws, generator)
            draws = self.columns.inverse(y.numpy())
            is_point = np.append(~self.cells.are_cells, np.ones(sum(self.levels), bool))
            observed = points.seen & is_point
            draws[..., observed] = rows[:, None, observed]
            found[index] = draws[: len(index)]
        return found

    def _chosen(self, points, n_draws, generator):
        n, n_points = points.log_q.shape
        if n_points == 1:
            return points.marginal.draw(points.y, n_draws, generator)
        shares = torch.softmax(points.log_q, 1)
        place = torch.multinomial(shares, n_draws, replacement=True, generator=generator)
        y = points.y.view(n, n_points, -1)[torch.arange(n)[:, None], place]
        if points.seen.all():
            return y
        return points.marginal.draw(y.flatten(0, 1), 1, generator).view(n, n_draws, -1)

    def log_density(self, X, n_points=N_POINTS):
        """log q of incomplete rows (n, d), in the units of the data, (n,)."""
        found = np.empty(len(X))
        for index, rows, _ in self.blocks(X, self.block_size(n_points)):
            found[index] = self.points(rows, n_points).log_mean[: len(index)].numpy()
        return found


def full_rows(view, levels):
    """Rows (n, d) of a `View`: its numbers and one-hots, with NaN where an entry is missing."""
    parts = [view.numeric]
    for codes, size in zip(view.codes.T, levels, strict=True):
        one_hots = np.eye(size)[np.maximum(codes, 0)]
        one_hots[codes < 0] = np.nan
        parts.append(one_hots)
    return np.concatenate(parts, axis=1)


def lattice(n_points, d):
    """Points (n_points, d) in the unit cube: equally spaced along the first axis.

    Kronecker's sequence of the powers of the root of g^d = g + 1 along the others.

    >>> lattice(4, 1)[:, 0]
    array([0.125, 0.375, 0.625, 0.875])
    """
    place = np.arange(n_points)[:, None]
    root = 1.5
    for _ in range(50):
        root = (1.0 + root) ** (1.0 / d) if d > 1 else root
    rest = (0.5 + (place + 1) * root ** -np.arange(1.0, d)) % 1.0
    return np.concatenate([(place + 0.5) / n_points, rest], axis=1)
