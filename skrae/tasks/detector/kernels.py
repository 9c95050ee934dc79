r"""Geometric means of kernel densities on small subsamples, and what each column adds to them.

    log g(x) = 1/B sum_b log( sum_i f_bi K(d^2(x, c_bi)) / sum_i f_bi )

No small subsample holds a cluster of outliers, and one that by chance does is outvoted: a mean of
logarithms forgives no subsample in which nothing is near x. K is a Gaussian or a Student-t kernel
of the squared distance over what both rows have observed; f_bi = 1 but for a draw that equals x,
which counts (w - 1)/w for w copies of it in the table: a row is no evidence for itself.
"""

from typing import NamedTuple

import numpy as np

# Rows that a block is padded to, as libraries sum in an order that depends on the size, and numbers
# of a block that stay in the cache.
PADDED, BLOCK_NUMBERS = 64, 2**17
# Nodes of the integrals over the share of the distance.
N_NODES = 16
# Less than this share of one row is the rounding of a sum.
ROUNDING = 1e-9
# Sums of less may have lost terms that float64 does not hold.
VANISHING = 1e-280


class Kernel(NamedTuple):
    """What stands on the rows of a subsample, and how many rows and subsamples there are."""

    bandwidth: float
    dof: float  # of a Student-t kernel; inf is a Gaussian
    size: int
    n_subsamples: int
    of_scores: bool = False  # whether distances are of normal scores, not of scaled columns
    weight: float = 1.0  # of its log density among others

    @property
    def n_draws(self):
        """Rows of all subsamples."""
        return self.size * self.n_subsamples

    def log_value(self, square, n_seen):
        """log K in the place of squared distances (k, n) over n_seen (n,) columns."""
        if np.isinf(self.dof):
            return np.multiply(square, -0.5 / self.bandwidth**2, out=square)
        np.multiply(square, 1.0 / (self.dof * self.bandwidth**2), out=square)
        np.log1p(square, out=square)
        return np.multiply(square, -0.5 * (self.dof + n_seen), out=square)

    def slope(self, square, n_seen):
        """d log K / d square."""
        if np.isinf(self.dof):
            return np.full_like(square, -0.5 / self.bandwidth**2)
        return -0.5 * (self.dof + n_seen) / (self.dof * self.bandwidth**2 + square)


class KernelEnsemble:
    """Kernels on subsamples of one size.

    Parameters
    ----------
    kernel : Kernel of B subsamples of m rows
    z : array of shape (m * B, D), the rows drawn, NaN where missing; draw i of subsample b is at
        place i * B + b
    copies : array of shape (m * B,), the weight of each in the table
    owners : int array of shape (D,), the column of each axis
    """

    def __init__(self, kernel, z, copies, owners):
        self.kernel = kernel
        self.first_axes = np.flatnonzero(np.diff(owners, prepend=-1))
        missing = np.isnan(z)
        # Of what a drawn row misses, the distance is that to a row at random.
        self.values = np.where(missing, _mean(z), z)
        self.squares = np.where(missing, _mean(z**2), z**2)
        # Squared distances are one product: of these and (x, |x|^2, seen), or (x, |x|^2, 1) of rows
        # without a hole.
        parts = -2.0 * self.values, np.ones((len(z), 1))
        self.factors = np.concatenate([*parts, self.squares], axis=1)
        self.whole_factors = np.column_stack([*parts, self.squares.sum(axis=1)])
        with np.errstate(divide="ignore"):
            self.log_kept = np.log(np.maximum(0.0, 1.0 - 1.0 / copies))
        self.places = {}
        for place, key in enumerate(row_keys(z)):
            self.places.setdefault(key, []).append(place)

    def _parts(self, z):
        """Of a block: values, what is seen, squared distances (k, n), columns seen, equal draws."""
        seen = (~np.isnan(z)).astype(np.float64)
        values = np.nan_to_num(z, nan=0.0)
        own, factors = seen, self.factors
        if seen.all():
            own, factors = seen[:, 0], self.whole_factors
        square = factors @ np.column_stack([values, (values**2).sum(axis=1), own]).T
        np.maximum(square, 0.0, out=square)
        return values, seen, square, seen[:, self.first_axes].sum(axis=1), self._equal(z)

    def _equal(self, z):
        """Place and row of each draw that equals a row, int (2, k)."""
        found = [
            (place, row)
            for row, key in enumerate(row_keys(z))
            for place in self.places.get(key, ())
        ]
        return np.array(found, dtype=np.int64).reshape(-1, 2).T

    def _logs(self, square, n_seen, equal):
        """log f K of each draw, (m, B, n): sums over the rows of a subsample run along memory."""
        logs = self.kernel.log_value(square, n_seen)
        logs[tuple(equal)] += self.log_kept[equal[0]]
        return logs.reshape(self.kernel.size, -1, logs.shape[1])

    def _log_kept(self, n, equal):
        """log sum f of each subsample, (B, n)."""
        kept = np.full((self.kernel.n_subsamples, n), float(self.kernel.size))
        subsample = equal[0] % self.kernel.n_subsamples
        np.add.at(kept, (subsample, equal[1]), np.expm1(self.log_kept[equal[0]]))
        with np.errstate(divide="ignore"):
            return np.log(np.where(kept > ROUNDING, kept, 0.0))

    def log_density(self, z):
        """log g of a block of rows (n, D), (n,); a subsample of copies of x alone has no voice."""
        _, _, square, n_seen, equal = self._parts(z)
        log_sums = _log_sum(self._logs(square, n_seen, equal))
        log_kept = self._log_kept(len(z), equal)
        has_voice = np.isfinite(log_kept)
        logs = np.subtract(log_sums, log_kept, out=np.zeros_like(log_sums), where=has_voice)
        return logs.sum(axis=0) / np.maximum(has_voice.sum(axis=0), 1)

    def contributions(self, z):
        r"""What each axis adds to log g of a block of rows (n, D), (n, D); the sum is log g.

        Of log g as a function of shares t of the squared distances along the axes,
        :math:`\int_0^1 \partial_j \log g(t, ..., t) dt` (Aumann & Shapley 1974).
        """
        values, seen, square, n_seen, equal = self._parts(z)
        total = np.zeros_like(square)
        for share, weight in zip(*_nodes(), strict=True):
            logs = self._logs(share * square, n_seen, equal)
            np.subtract(logs, _log_sum(logs), out=logs)
            weights = np.exp(logs, out=logs).reshape(-1, len(z))
            total += weight * weights * self.kernel.slope(share * square, n_seen)
        total = total.T / self.kernel.n_subsamples
        found = values**2 * total.sum(axis=1)[:, None] - 2.0 * values * (total @ self.values)
        return found + seen * (total @ self.squares)

    def by_blocks(self, function, z):
        """function(block) of rows (n, D), a padded block at a time: each row by itself.

        Rows with holes are asked apart, so that others do not depend on them.
        """
        size = PADDED * max(1, BLOCK_NUMBERS // self.kernel.n_draws // PADDED)
        has_holes = np.isnan(z).any(axis=1)
        order, n_whole = np.argsort(has_holes, kind="stable"), int((~has_holes).sum())
        parts = []
        for start, stop in ((0, n_whole), (n_whole, len(z))):
            for first in range(start, stop, size):
                block = z[order[first : min(first + size, stop)]]
                padding = np.repeat(block[-1:], -len(block) % PADDED, axis=0)
                parts.append(function(np.concatenate([block, padding]))[: len(block)])
        found = np.concatenate(parts)
        restored = np.empty_like(found)
        restored[order] = found
        return restored


def _mean(z):
    """Mean of what is observed along each axis, (D,); 0 where nothing is."""
    seen = ~np.isnan(z)
    return np.where(seen, z, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)


def _log_sum(logs):
    """log sum exp over the first of three axes."""
    sums = np.exp(logs).sum(axis=0)
    with np.errstate(divide="ignore"):
        found = np.log(sums)
    # Only of rows far from a whole subsample terms vanish; others need no largest one.
    lost = np.flatnonzero((sums < VANISHING).any(axis=0))
    if len(lost):
        found[:, lost] = _log_sum_of_least(logs[:, :, lost])
    return found


def _log_sum_of_least(logs):
    highest = logs.max(axis=0)
    highest[np.isneginf(highest)] = 0.0
    with np.errstate(divide="ignore"):
        return np.log(np.exp(logs - highest).sum(axis=0)) + highest


def _nodes():
    """Gauss-Legendre nodes and weights of the integral over t in [0, 1], t = u^3.

    Far rows make up their minds at small t.
    """
    u, weights = np.polynomial.legendre.leggauss(N_NODES)
    u = 0.5 * (u + 1.0)
    return u**3, 1.5 * u**2 * weights


def row_keys(z):
    """The bytes of each row, equal where the rows are."""
    content = (np.ascontiguousarray(z) + 0.0).tobytes()  # -0.0 is 0.0
    width = 8 * z.shape[1]
    return [content[start : start + width] for start in range(0, len(content), width)]
