"""The base density of rows that all miss the same entries: their marginal, and draws of the rest.

    q(z_o, u_o) = sum_k w_k c_k(z_o) prod_j pi_kj(u_oj)        j over the categories that are there

Let C_k = T T^T with T a lower triangle once the observed entries come first. With the observed
block L = T_oo, y = L^-1 (z_o - mu_o) and delta = |y|^2 the marginal of a Gaussian is that of L, and
of a t_nu again a t_nu; given z_o the others are mu_m + T_mo y + s T_mm eps, s = 1 for a Gaussian
and s^2 = (nu + delta) / (nu + d_o) for a t, of nu + d_o degrees of freedom (Ding 2016). The levels
of a category that is missing add up to one, and given the component are drawn from pi_kj.
"""

import torch
import torch.nn.functional as F

from skrae.mixtures.categories import draw_levels, log_levels
from skrae.mixtures.components import (
    draw_indices,
    inverse_of_triangles,
    log_radial_constant,
    student_log_kernel,
    student_scales,
)
from skrae.mixtures.noise import normal

# A row is to be answered the same whatever is beside it. Of fewer columns than the latter torch
# multiplies many and few rows in two ways, which round differently, and of an odd number of them a
# row's place matters: zeros fill up. Of fewer than the former sums of columns are faster.
FEW_COLUMNS, FILLED_COLUMNS = 4, 8


class MarginalDensity:
    """q of the entries that are observed in every row of a pattern.

    Parameters
    ----------
    base : MixtureDensity of K components in d_c numeric columns, and D levels of categories
    missing : bool tensor of shape (d,), d = d_c + D, of a category all levels or none
    """

    def __init__(self, base, missing):
        n, self.missing, self._levels = base.n_numeric, missing, base.levels
        numeric = missing[:n]
        self._seen, self._hidden = (~numeric).nonzero()[:, 0], numeric.nonzero()[:, 0]
        order, m = torch.cat([self._seen, self._hidden]), len(self._seen)
        roots = torch.linalg.qr(base.factors[:, order].mT, mode="r").R.mT
        roots = roots * roots.diagonal(dim1=1, dim2=2).sign()[:, None, :]
        own, self._across, self._within = roots[:, :m, :m], roots[:, m:, :m], roots[:, m:, m:]
        self._inverse = inverse_of_triangles(own)
        self._means = base.means[:, self._seen]
        self._hidden_means, self._probabilities = base.means[:, self._hidden], base.means[:, n:]
        self._axes, self._hidden_axes = base.block_axes[self._seen], base.block_axes[self._hidden]
        self._dofs, self._heavy = base.dofs, torch.isfinite(base.dofs).nonzero()[:, 0]
        dims = self._axes.sum(0)
        constants = log_radial_constant(base.dofs[:, None], dims).sum(1)
        volumes = own.diagonal(dim1=1, dim2=2).log().sum(1)
        self._constants = base.weights.log() - volumes + constants
        self._seen_levels = (~missing[n:]).nonzero()[:, 0]
        self._log_levels = log_levels(self._probabilities[:, self._seen_levels])
        self._n_numeric = n

    def _whitened(self, rows):
        """L_k^-1 (z_o - mu_k), (K, n, m)."""
        apart = rows[:, self._seen] - self._means[:, None]
        return _products(apart, self._inverse.mT)

    def _logits(self, rows, whitened):
        """log w_k c_k(z_o) prod pi, (n, K)."""
        logits = -0.5 * whitened.square().sum(2)
        for k in self._heavy.tolist():
            distances = whitened[k].square() @ self._axes
            falling = student_log_kernel(distances, self._dofs[k], self._axes.sum(0)).sum(1)
            logits = _with_row(logits, k, falling)
        levels = rows[:, self._n_numeric :][:, self._seen_levels]
        return logits.T + self._constants + levels @ self._log_levels.T

    def log_density(self, rows):
        """log q of the observed entries of rows (n, d), whose others may be anything, (n,)."""
        return torch.logsumexp(self._logits(rows, self._whitened(rows)), 1)

    def log_density_and_gradient(self, rows):
        """The same and its gradient, (n, d): 0 where nothing is observed, and along categories."""
        whitened = self._whitened(rows)
        logits = self._logits(rows, whitened)
        shares, pull = torch.softmax(logits, 1), whitened
        for k in self._heavy.tolist():
            dims, distances = self._axes.sum(0), whitened[k].square() @ self._axes
            damping = ((self._dofs[k] + dims) / (self._dofs[k] + distances)) @ self._axes.T
            pull = _with_row(pull, k, damping * whitened[k])
        own = -_products(shares.T[:, :, None] * pull, self._inverse).sum(0)
        gradient = torch.zeros_like(rows).index_copy(1, self._seen, own)
        return torch.logsumexp(logits, 1), gradient

    def along(self, rows, column):
        """The law of one missing number given what is observed of rows (n, d), a mixture.

        Parameters
        ----------
        rows : tensor of shape (n, d)
        column : int, the place of a numeric entry that is missing

        Returns
        -------
        log_shares, locations, scales : tensors of shape (n, K)
        dofs : tensor of shape (K,), inf for a Gaussian
        """
        whitened = self._whitened(rows)
        place = int((self._hidden == column).nonzero())
        moved = (whitened * self._across[:, None, place]).sum(2).T
        locations = self._hidden_means[:, place] + moved
        scales = self._within[:, place].norm(dim=1).expand_as(locations).clone()
        block = int(self._hidden_axes[place].argmax())
        axes = self._axes[:, block]
        for k in self._heavy.tolist():
            nu = self._dofs[k]
            distances = (whitened[k].square() * axes).sum(1)
            scales[:, k] *= torch.sqrt((nu + distances) / (nu + axes.sum()))
        log_shares = torch.log_softmax(self._logits(rows, whitened), 1)
        return log_shares, locations, scales, self._dofs + axes.sum()

    def draw(self, rows, n_draws, generator):
        """Completions of rows (n, d), with new entries where they miss some, (n, n_draws, d).

        Parameters
        ----------
        rows : tensor of shape (n, d)
        n_draws : int
        generator : torch.Generator or RowStreams of n rows
        """
        whitened = self._whitened(rows)
        shares = torch.softmax(self._logits(rows, whitened), 1)
        k = draw_indices(shares, n_draws, generator)
        found = rows[:, None].expand(-1, n_draws, -1).clone()
        if len(self._hidden):
            found[:, :, self._hidden] = self._hidden_numbers(whitened, k, generator)
        start = self._n_numeric
        if self.missing[start:].any():
            # One draw of each row after another, as streams of rows have them.
            drawn = draw_levels(self._probabilities[k.T.flatten()], self._levels, generator)
            drawn = drawn.view(n_draws, len(rows), -1).transpose(0, 1)
            found[:, :, start:] = torch.where(self.missing[start:], drawn, found[:, :, start:])
        return found

    def _hidden_numbers(self, whitened, k, generator):
        n, n_draws = k.shape
        own = whitened[k, torch.arange(n, device=k.device)[:, None]]  # (n, n_draws, m)
        noise = normal((n, n_draws, len(self._hidden)), generator, own)
        noise = noise * self._widths(own, k, generator)
        pairs = ((self._across, own), (self._within, noise))
        moved = sum(torch.einsum("nsij,nsj->nsi", roots[k], part) for roots, part in pairs)
        return self._hidden_means[k] + moved

    def _widths(self, own, k, generator):
        """sqrt of (nu + delta) / chi2 of nu + d_o degrees of freedom; 1 for a Gaussian."""
        dofs, dims = self._dofs[k], self._axes.sum(0)
        if not len(self._heavy):
            return 1.0
        widths, n_draws = [], k.shape[1]
        nu = torch.where(torch.isfinite(dofs), dofs, 1.0)
        for block, axes in enumerate(self._axes.T):
            delta, n_seen = own.square() @ axes, dims[block]
            wider = torch.sqrt((nu + delta) / (nu + n_seen))
            # One draw of each row after another, as streams of rows have them.
            each = student_scales(dofs.T.flatten() + n_seen, generator).view(n_draws, -1).T
            widths.append(torch.where(torch.isfinite(dofs), wider, 1.0) * each)
        return torch.stack(widths, 2) @ self._hidden_axes.T


def _with_row(values, k, row):
    """The values (K, ...) with another row k, differentiable in both."""
    return values.index_copy(0, torch.tensor([k], device=values.device), row[None])


def _products(vectors, matrices):
    """Vectors (K, n, m) times matrices (K, m, m), of whose rows none sees the others."""
    m = matrices.shape[1]
    if 0 < m < FEW_COLUMNS:
        found = vectors[:, :, :1] * matrices[:, None, 0]
        for i in range(1, m):
            found = found + vectors[:, :, i, None] * matrices[:, None, i]
        return found
    more = max(FILLED_COLUMNS - m, m % 2)
    return (F.pad(vectors, (0, more)) @ F.pad(matrices, (0, more, 0, more)))[:, :, :m]
