"""The law of one numeric column given the rest of each row, in the units of the column.

In the base density it is a mixture along a line (`line`), exact. A network tilts it at nodes of
that line. Where the rest of a row is complete, it is asked about the full rows there; where
entries are missing, or stand for cells, about full rows drawn from q given each node, by random
numbers of the row, and what is a mean of draws is smoothed along the nodes.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtri

from skrae.density.columns.margins import Chain, Margins
from skrae.density.conditional.line import LEAST, lines_of
from skrae.density.conditional.tilted import (
    FEW_NODES,
    N_NODES,
    N_PIECES,
    TiltedLine,
    between_nodes,
    smoothed,
)
from skrae.density.incomplete.law import BLOCK, N_POINTS, Points
from skrae.mixtures.noise import RowStreams
from skrae.preprocessing.affine import AffineMap
from skrae.preprocessing.beside import Beside

# Full rows behind a node: of a row with holes or cells, and of one of which nothing is known.
N_DRAWS, MANY_DRAWS = 32, 512
OFFSET = 1_000_003  # between the keys of the streams of nodes
# A heavy tail under a map that is bent, as a logarithm is, has no mean that rows could tell of: the
# law is drawn in at these distribution functions.
DRAWN_IN = 1e-5, 1.0 - 1e-5
# Numbers of whitened full rows (K, rows, d) at once.
MAX_NUMBERS = 16_000_000


class Axis:
    """A column of its own: places t along it and numbers x in the units of the data.

    Parameters
    ----------
    columns : Transform, that of each column by itself
    column : int
    """

    def __init__(self, columns, column):
        self._map = _map_of_one(columns, column)

    def places(self, x):
        """t of numbers of any shape, and log dt/dx."""
        t, log_det = self._map.forward_and_log_det(_padded(x))
        t, log_det = (part.ravel()[: x.size].reshape(x.shape) for part in (t, log_det))
        return torch.from_numpy(t), log_det

    def numbers(self, t):
        """x of places of any shape; infinite where they are."""
        t = t.numpy()
        inside = np.isfinite(t)
        x = self._map.inverse(_padded(np.where(inside, t, 0.0)))
        return np.where(inside, x.ravel()[: t.size].reshape(t.shape), t)

    @property
    def is_straight(self):
        """Whether places are linear in numbers."""
        return not isinstance(self._map, Chain)

    def slopes(self, t):
        """dx/dt at places (n, m)."""
        rows = self._map.inverse(_padded(t.numpy()))
        slopes = np.exp(-self._map.log_abs_det(rows))
        return torch.from_numpy(slopes[: t.numel()].reshape(t.shape))


def _padded(x):
    """Numbers as rows of one column, as many as are a multiple of LEAST."""
    rows = x.reshape(-1, 1)
    return np.concatenate([rows, np.repeat(rows[:1], -len(rows) % LEAST, axis=0)])


def _map_of_one(columns, column):
    place = slice(column, column + 1)
    if isinstance(columns, Beside):
        return _map_of_one(columns.inner, column)
    if isinstance(columns, Chain):
        margins = Margins(*(part[place] for part in columns.margins.parts()))
        return Chain(margins, _map_of_one(columns.affine, column))
    return AffineMap.diagonal(columns.location[place], np.diag(columns.inverse_matrix)[place])


class Laws(NamedTuple):
    """The laws of a block of rows: tilted lines along an axis.

    Parameters
    ----------
    index : int array of shape (n,), which rows they are of
    tilted : TiltedLine
    axis : Axis
    log_tilt : callable from places (n, m) to f there, (n, m)
    effective : array of shape (n,)
    """

    index: np.ndarray
    tilted: TiltedLine
    axis: Axis
    log_tilt: object
    effective: np.ndarray

    def log_density(self, x):
        """log p at numbers x (n, m), in their units."""
        m = x.shape[1]
        # Libraries round by the place of a number in a block: an answer is to be that of its row.
        x = np.concatenate([x, np.repeat(x[:, :1], -m % LEAST, axis=1)], axis=1)
        t, log_slope = self.axis.places(x)
        own = self.tilted.line.log_density(t) + self.log_tilt(t)
        return ((own - self.tilted.log_z[:, None]).numpy() + log_slope)[:, :m]

    def cdf(self, x):
        """P(X <= x) at numbers x (n, m)."""
        inside = np.isfinite(x)
        t, _ = self.axis.places(np.where(inside, x, 0.0))
        t = torch.where(torch.from_numpy(inside), t, torch.from_numpy(x))
        return self.tilted.cdf(t).numpy()

    def quantile(self, q):
        """Numbers of P(X <= x) = q (n, m)."""
        return self.axis.numbers(self.tilted.quantile(torch.from_numpy(q)))

    def mean(self, limits=None):
        """(n,), where the map is bent, or limits are given, of the law with its ends drawn in."""
        t, beyond = self.tilted.nodes, 1.0
        if not self.axis.is_straight:
            t, beyond = _drawn_in(t, self.quantile_places(DRAWN_IN)), 0.0
        if limits is not None:
            ends = self.axis.places(np.array(limits))[0]
            # The nodes hardly lie at the limits themselves.
            t = torch.cat([t, ends.expand(len(t), 2)], 1).sort(dim=1).values
            t, beyond = _drawn_in(t, ends[None]), 0.0
        values = torch.from_numpy(self.axis.numbers(t))
        return self.tilted.mean(t, values, self.axis.slopes(t), beyond).numpy()

    def quantile_places(self, q):
        """Places of the same q (m,) for each row, (n, m)."""
        return self.tilted.quantile(
            torch.tensor(q, dtype=torch.float64).expand(len(self.index), -1)
        )


def _drawn_in(t, ends):
    """Places (n, m) between ends (n, 2)."""
    return torch.minimum(torch.maximum(t, ends[:, :1]), ends[:, 1:])


class ColumnLaws:
    """The laws of a numeric column, given the rest of rows.

    Parameters
    ----------
    incomplete : IncompleteEvaluator
    column : int, its place in full rows
    """

    def __init__(self, incomplete, column):
        self._incomplete, self._law, self.column = incomplete, incomplete.law, column
        self.axis = Axis(self._law.columns, column)

    def each(self, X):
        """`Laws` of full rows X (n, d) of which the column is missing, a block at a time."""
        X = X.copy()
        X[:, self.column] = np.nan
        with torch.no_grad():
            for index, rows, keys in self._law.blocks(X, self._block_size()):
                *components, dofs = self._along(self._law.points(rows, N_POINTS))
                for part, line in lines_of(*(c[: len(index)] for c in components), dofs):
                    own = part.numpy()
                    yield self._tilted(index[own], line, rows[own], keys[part])

    def _block_size(self):
        return self._law.block_size(N_POINTS) if self._law.cells.any else BLOCK

    def _along(self, points):
        """The components along the line of each row, (n, M K), and their dofs."""
        n, n_points = points.log_q.shape
        shares, *others, dofs = points.marginal.along(points.y, self.column)
        shares = shares.view(n, n_points, -1) + torch.log_softmax(points.log_q, 1)[:, :, None]
        return *(part.reshape(n, -1) for part in (shares, *others)), dofs.repeat(n_points)

    def _tilted(self, index, line, rows, keys):
        """`Laws` of rows of one size of line."""
        missing = np.isnan(rows[0])
        others = np.delete(missing, self.column)
        if self._incomplete.field.is_base:
            nodes, ones = line.nodes(N_NODES), np.ones(len(rows))
            tilted = TiltedLine(line, nodes, torch.zeros_like(nodes))
            return Laws(index, tilted, self.axis, torch.zeros_like, ones)
        log_tilt = _Tilt(
            self._incomplete, self.column, rows, keys, MANY_DRAWS if others.all() else N_DRAWS
        )
        nodes = line.nodes(N_NODES if log_tilt.is_complete or others.all() else FEW_NODES)
        f, share = log_tilt(nodes)
        if others.any():
            u = line.cdf(nodes).clamp(1e-12, 1.0 - 1e-12)
            f = smoothed(torch.from_numpy(ndtri(u.numpy())), f)
        tilted = TiltedLine(line, *between_nodes(nodes, f))
        # Between the nodes of means of draws there are no other draws.
        of_others = tilted.between if others.any() else log_tilt.of_places
        effective = _mean_share(tilted.shares()[:, ::N_PIECES], share)
        return Laws(index, tilted, self.axis, of_others, effective)


def _mean_share(weights, share):
    return ((weights * share).sum(1) / weights.sum(1)).numpy()


class _Tilt:
    """log E exp f over full rows behind each place of rows of one pattern, under q."""

    def __init__(self, incomplete, column, rows, keys, n_draws):
        self._incomplete, self._law = incomplete, incomplete.law
        self._column, self._keys, self._n_draws = column, keys, n_draws
        missing = np.isnan(rows[0])
        missing[column] = False
        self._points = self._law.points(rows, n_draws)
        self._n_points = self._points.log_q.shape[1]
        self._missing, self.is_complete = missing, self._n_points == 1 and not missing.any()
        self._marginal = None if self.is_complete else self._law.marginal(missing)

    def __call__(self, t):
        each = 1 if self.is_complete else self._n_draws * self._law.base.means.numel()
        size = max(1, MAX_NUMBERS // (each * len(t) * LEAST)) * LEAST
        starts = range(0, t.shape[1], size)
        parts = [self._block(t[:, start : start + size], start) for start in starts]
        return tuple(torch.cat(part, 1) for part in zip(*parts, strict=True))

    def of_places(self, t):
        """The log tilt alone."""
        return self(t)[0]

    def _block(self, t, start):
        y = self._rows_at(t)
        if self.is_complete:
            f = self._incomplete._tilt(self._law.working(y)).view_as(t)
            return f, torch.ones_like(f)
        log_q = self._marginal.log_density(y).view(t.numel(), self._n_points)
        points = Points(None, y, log_q, self._marginal, ~self._missing)
        # At each node draws of their own: neighbours make up for each other's errors.
        offsets = OFFSET * (start + torch.arange(t.shape[1]))
        keys = (self._keys[:, None] + offsets).flatten()
        z, log_shares = self._law.completions(points, self._n_draws, keys)
        log_weights = log_shares + self._incomplete._tilt(z).view_as(log_shares)
        total = torch.logsumexp(log_weights, 1)
        # Of draws of unequal shares as many are worth as the shares have.
        worth = (2.0 * total - torch.logsumexp(2.0 * log_weights, 1)).exp()
        of_shares = torch.logsumexp(2.0 * log_shares, 1).neg().exp()
        share = (worth / of_shares).clamp_max(1.0)
        return total.view_as(t), share.view_as(t)

    def _rows_at(self, t):
        """Rows of standardised columns with places t (n, m), (n m M, d), M points in turn."""
        n, m = t.shape
        y = self._points.y.view(n, 1, self._n_points, -1).expand(-1, m, -1, -1).clone()
        y[..., self._column] = t[:, :, None]
        return y.flatten(0, 2)


def uniforms(incomplete, X, n_draws, seed):
    """Numbers (n, n_draws) in (0, 1) for rows, of streams of their own; equal rows get others."""
    found = np.empty((len(X), n_draws))
    for index, _, keys in incomplete.law.blocks(X, seed=seed, repeats=False):
        found[index] = RowStreams(keys).uniform(len(keys), n_draws)[: len(index)].numpy()
    return found
