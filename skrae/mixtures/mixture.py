"""The base density q: a mixture of Gaussians and Student-t components.

    log q(z) = log sum_k w_k c_k(z),   c_k = N(mu_k, C_k)  or  prod_b t_nu(mu_kb, C_kb)

A Student-t component is a product over blocks of axes: of a row that is far away along one block it
says nothing about the others, as a single t would, whose every axis widens with the distance.
Rows may have categories beside their numeric columns, as one-hots (`categories`):

    log q(z, u) = log sum_k w_k c_k(z) prod_j pi_kj(u_j)

All squared Mahalanobis distances are one matrix product and the gradient is another (`quadratics`).
Inside, a component of all rows lies together in memory: few components reduce fastest so.
Float64 throughout: narrow components cancel digits that float32 does not have.
"""

import math
from functools import cached_property

import numpy as np
import torch
from torch.nn.functional import pad

from skrae.mixtures.categories import Categories
from skrae.mixtures.components import (
    log_radial_constant,
    log_sum,
    log_sum_and_shares,
    log_volume,
    shares_of,
    student_log_kernel,
    student_scales,
)
from skrae.mixtures.quadratics import places_of, quadratics_of, rows_at_once
from skrae.preprocessing.blocks import (
    by_blocks,
    is_wide,
    matrices_of_rows,
    row_products,
)


class MixtureDensity:
    """Mixture of K Gaussian (dof = inf) or Student-t (finite dof) components in d_c dimensions.

    A full row has d = d_c + D entries: d_c numbers, then the one-hots of J categorical columns, L_j
    of each and D in all. With zeros in place of a one-hot q is the marginal over that column. The
    gradient and the Hessian are zero in the axes of one-hots.

    Parameters
    ----------
    weights : array of shape (K,), summing to one.
    means : array of shape (K, d), in whose last D entries are the level probabilities.
    factors : array of shape (K, d_c, d_c), lower Cholesky factors of the scale matrices C_k.
    dofs : array of shape (K,), degrees of freedom, whole numbers; inf is a Gaussian.
    blocks : array of shape (d_c,), the number of the block of each axis; None is a single block.
        The factors of Student-t components must be zero between blocks.
    levels : sequence of J int, the number of levels L_j of each categorical column.

    Raises
    ------
    ValueError
        If a dof is no whole number, the shapes do not match, or the level probabilities of a column
        do not sum to one.

    Examples
    --------
    A number of which one in four rows is far, and two levels that tell where:

    >>> near_and_far = [[0.0, 0.9, 0.1], [10.0, 0.2, 0.8]]
    >>> factors = [[[1.0]], [[1.0]]]
    >>> q = MixtureDensity([0.75, 0.25], near_and_far, factors, 2 * [math.inf], levels=(2,))
    >>> rows = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    >>> (q.log_density(rows).exp() * math.sqrt(2 * math.pi)).round(decimals=3)
    tensor([0.6750, 0.0750, 0.7500], dtype=torch.float64)
    """

    def __init__(self, weights, means, factors, dofs, blocks=None, levels=(), device="cpu"):
        to = {"dtype": torch.float64, "device": device}
        self.weights, self.means, self.factors, self.dofs = (
            torch.as_tensor(np.asarray(a), **to) for a in (weights, means, factors, dofs)
        )
        if (self.dofs != self.dofs.round()).any() or (self.dofs < 1.0).any():
            raise ValueError(f"Got dofs={self.dofs.tolist()}, expected whole numbers >= 1 or inf.")
        self.levels = tuple(int(size) for size in levels)
        _check_width(self.means, self.factors, self.levels)
        self._centres = self.means[:, : self.n_numeric]
        self.categories = Categories(self.means[:, self.n_numeric :], self.levels)
        self.blocks = np.zeros(self.n_numeric, int) if blocks is None else np.asarray(blocks)
        self.block_axes = _one_hot(self.blocks).to(self.means)
        self._quadratics = quadratics_of(self._centres, self.factors, self.dofs)
        radial = log_radial_constant(self.dofs[:, None], self.block_axes.sum(0)).sum(1)
        self._constants = self.weights.log() - log_volume(self.factors) + radial
        heavy = torch.isfinite(self.dofs).nonzero()[:, 0]
        whiteners = torch.linalg.inv(self.factors[heavy])
        self._heavy = dict(zip(heavy.tolist(), whiteners, strict=True))

    def arrays(self):
        """weights, means, factors, dofs, blocks and levels as NumPy arrays."""
        own = (self.weights, self.means, self.factors, self.dofs)
        return *(a.numpy(force=True) for a in own), self.blocks, np.array(self.levels, int)

    def to(self, device):
        """The same density with its tensors on `device`."""
        return MixtureDensity(*self.arrays(), device=device)

    def _with(self, weights, means, factors, dofs):
        """Another density on the device of this one."""
        parts = (a.numpy(force=True) for a in (weights, means, factors, dofs))
        return MixtureDensity(*parts, self.blocks, self.levels, device=self.means.device)

    def blurred(self, variance, local):
        """The density of rows of q with noise: of covariance variance C_k (local) or variance I.

        Exact for Gaussian components; Student-t components get the scale matrix likewise.
        """
        if local:
            factors = math.sqrt(1.0 + variance) * self.factors
        else:
            identity = torch.eye(self.n_numeric, dtype=torch.float64, device=self.factors.device)
            factors = torch.linalg.cholesky(self.factors @ self.factors.mT + variance * identity)
        return self._with(self.weights, self.means, factors, self.dofs)

    def affine(self, matrix, origin=0.0):
        """The density of rows (z - origin) @ matrix, for z drawn from this one; levels stay.

        Parameters
        ----------
        matrix : tensor of shape (d_c, d_c), invertible; it must not mix blocks
        origin : tensor of shape (d_c,)
        """
        # The triangle of a QR decomposition: a covariance would lose half the digits.
        factors = torch.linalg.qr((matrix.mT @ self.factors).mT, mode="r").R.mT
        factors = factors * factors.diagonal(dim1=1, dim2=2).sign()[:, None, :]
        centres = (self._centres - origin) @ matrix
        means = torch.cat([centres, self.categories.probabilities], dim=1)
        return self._with(self.weights, means, factors, self.dofs)

    def with_tail(self, weight, mean, factor, dof):
        """(1 - weight) q + weight prod_b t_dof(mean, factor factor^T), of which no row is far away.

        Parameters
        ----------
        weight : float in (0, 1)
        mean : tensor of shape (d,), with level probabilities
        factor : tensor of shape (d_c, d_c), lower triangular
        dof : int, degrees of freedom
        """
        return self._with(
            torch.cat([(1.0 - weight) * self.weights, torch.full_like(self.weights[:1], weight)]),
            torch.cat([self.means, mean[None]]),
            torch.cat([self.factors, factor[None]]),
            torch.cat([self.dofs, torch.full_like(self.dofs[:1], dof)]),
        )

    @property
    def mean(self):
        """sum_k w_k mu_k, shape (d,); of one-hots the probabilities of the levels."""
        return self.weights @ self.means

    def moments(self):
        """Mean (d_c,) and covariance (d_c, d_c) of numbers, by locations and scale matrices."""
        mean = self.mean[: self.n_numeric]
        apart = self._centres - mean
        within = torch.einsum("k,kij->ij", self.weights, self.factors @ self.factors.mT)
        return mean, within + apart.T @ (self.weights[:, None] * apart)

    @property
    def n_features(self):
        """The width d of full rows."""
        return self.means.shape[1]

    @property
    def n_numeric(self):
        """The number d_c of their numeric entries."""
        return self.factors.shape[1]

    def _joint(self, rows):
        """log w_k c_k pi_k (K, n), and the gradients of heavy ones."""
        z = rows[:, : self.n_numeric]
        distances = self._quadratics.distances(z)
        logits = distances.mul_(-0.5).add_(self._constants[:, None])
        gradients = {}
        for k in self._heavy:
            logits[k], gradients[k] = self._heavy_component(k, z)
        if self.levels:
            # Levels have no direction: no gradient with respect to one-hots.
            logits = logits + self.categories.log_masses(rows[:, self.n_numeric :].detach())
        return logits, gradients

    def _heavy_component(self, k, z):
        """log w_k c_k(z), (n,), and its gradient (n, d_c)."""
        nu, dims = self.dofs[k], self.block_axes.sum(0)
        whitener = self._heavy[k]
        whitened = (z - self._centres[k]) @ whitener.T
        distances = whitened.square() @ self.block_axes
        log_density = self._constants[k] + student_log_kernel(distances, nu, dims).sum(1)
        damping = ((nu + dims) / (nu + distances)) @ self.block_axes.T
        return log_density, -damping * (whitened @ whitener)

    def log_density(self, z):
        """log q(z), shape (n,)."""
        size = rows_at_once(len(self.weights), self.n_numeric)
        return by_blocks(lambda x: log_sum(self._joint(x.double())[0]), z, size=size)

    def responsibilities(self, z):
        """r_k(z) = w_k c_k(z) / q(z), shape (n, K)."""
        return self._by_blocks(lambda x: shares_of(self._joint(x)[0]).T, z.double())

    def evaluate(self, z):
        """log q (n,), its gradient (n, d) and the responsibilities (n, K)."""
        return self._by_blocks(self._evaluate, z.double())

    def _by_blocks(self, function, z):
        """function(z): of few columns, rows in bounded number are what callers hand over."""
        n_components, d = len(self.weights), self.n_numeric
        size = rows_at_once(n_components, d) if is_wide(d) else len(z)
        return by_blocks(function, z, size=size)

    def _evaluate(self, rows):
        logits, heavy = self._joint(rows)
        log_density, responsibilities = log_sum_and_shares(logits)
        z = rows[:, : self.n_numeric]
        gradient = self._quadratics.gradient(z, responsibilities)
        for k, own in heavy.items():
            gradient = torch.addcmul(gradient, responsibilities[k][:, None], own)
        return log_density, self._padded(gradient, 1), responsibilities.T

    def evaluate_few(self, z, components):
        """`evaluate` where row i has shares in components[i] alone, (n, m); of many columns.

        log q (n,) is below that of all components, the responsibilities are (n, m).
        """
        rows, n_each = z.double(), components.shape[1]
        numbers = rows[:, : self.n_numeric]
        places = places_of(components, len(self.weights))
        logits, pulls = rows.new_empty(components.numel()), {}
        for k, own in enumerate(places):
            logits[own], pulls[k] = self._component(k, numbers[own // n_each])
        logits = logits.view(-1, n_each).T.contiguous()
        if self.levels:
            masses = self.categories.log_masses(rows[:, self.n_numeric :])
            logits += masses.gather(0, components.T.long())
        log_density, shares = log_sum_and_shares(logits)
        shares, gradient = shares.T.contiguous(), torch.zeros_like(numbers)
        for k, own in enumerate(places):
            gradient.index_add_(0, own // n_each, shares.view(-1, 1)[own] * pulls[k])
        return log_density, self._padded(gradient, 1), shares

    def _component(self, k, z):
        """log w_k c_k(z), (n,), and its gradient (n, d_c)."""
        if k in self._heavy:
            return self._heavy_component(k, z)
        distance, pull = self._quadratics.component(k, z)
        return self._constants[k] - 0.5 * distance, pull

    def _padded(self, derivatives, n_axes):
        """With zeros for the one-hots in the last axes."""
        n_onehots = self.n_features - self.n_numeric
        return pad(derivatives, n_axes * (0, n_onehots)) if n_onehots else derivatives

    def hessian(self, z):
        """Second derivatives of log q, (n, d, d): sum_k r_k (g_k g_k^T + H_k) - g g^T.

        g_k and H_k are the derivatives of log c_k, and g = sum_k r_k g_k.
        """
        logits, heavy = self._joint(z.double())
        z = z.double()[:, : self.n_numeric]
        shares = shares_of(logits).T
        slopes = torch.einsum("kij,nkj->nki", self._precisions, self._centres - z[:, None])
        gaussian = shares.clone()
        for k, own in heavy.items():
            slopes[:, k], gaussian[:, k] = own, 0.0
        pulled = shares[:, :, None] * slopes
        mean = pulled.sum(1)
        hessian = pulled.mT @ slopes - mean[:, :, None] * mean[:, None, :]
        hessian -= torch.einsum("nk,kij->nij", gaussian, self._precisions)
        for k, own in heavy.items():
            hessian += shares[:, k, None, None] * self._heavy_hessian(k, z, own)
        return self._padded(hessian, 2)

    @cached_property
    def _precisions(self):
        """C_k^-1, (K, d_c, d_c)."""
        return torch.cholesky_inverse(self.factors)

    def _heavy_hessian(self, k, z, gradient):
        """Second derivatives of log c_k, (n, d_c, d_c), of which the gradient is known."""
        nu, axes = self.dofs[k], self.block_axes
        dims, distances = axes.sum(0), ((z - self._centres[k]) @ self._heavy[k].T).square() @ axes
        damping = ((nu + dims) / (nu + distances)) @ axes.T
        within = (2.0 * axes / (nu + dims)) @ axes.T  # 2 / (nu + d_b) where axes share a block
        outer = within * gradient[:, :, None] * gradient[:, None, :]
        return outer - damping[:, :, None] * self._precisions[k]

    def sample(self, n_samples, generator):
        """Independent draws, shape (n_samples, d)."""
        k = self._draw_components(n_samples, generator)
        to = {"dtype": torch.float64, "device": self.means.device}
        noise = torch.randn(n_samples, self.n_numeric, generator=generator, **to)
        noise = row_products(matrices_of_rows(self.factors, k), noise)
        if self._heavy:
            n_blocks = self.block_axes.shape[1]
            dofs = self.dofs[k].repeat_interleave(n_blocks)
            scales = student_scales(dofs, generator).unflatten(0, (-1, n_blocks))
            noise = noise * (scales @ self.block_axes.T)
        z = self._centres[k] + noise
        return torch.cat([z, self.categories.sample(k, generator)], dim=1) if self.levels else z

    def _draw_components(self, n_samples, generator):
        to = {"dtype": torch.float64, "device": self.means.device}
        uniform = torch.rand(n_samples, generator=generator, **to)
        return torch.searchsorted(self.weights.cumsum(0)[:-1].contiguous(), uniform)


def _check_width(means, factors, levels):
    """Raise unless a mean has an entry for each axis of its factor and each level."""
    width = factors.shape[-1] + sum(levels)
    if means.shape[1] != width:
        raise ValueError(
            f"Got means of shape {tuple(means.shape)}, expected (K, {width}): {factors.shape[-1]}"
            f" numeric axes, those of the factors, and levels={levels}."
        )


def _one_hot(labels):
    """(d, B), 1 where an axis is of a block."""
    return torch.as_tensor(np.equal.outer(labels, np.unique(labels)))


def from_sklearn(mixture):
    """The density of a fitted Gaussian mixture of scikit-learn's, of any covariance type."""
    means = np.asarray(mixture.means_, np.float64)
    factors = np.linalg.cholesky(_full_covariances(mixture, *means.shape))
    return MixtureDensity(mixture.weights_, means, factors, np.full(len(means), np.inf))


def _full_covariances(mixture, n_components, d):
    """(K, d, d) whatever the covariance type."""
    c = np.asarray(mixture.covariances_, np.float64)
    if mixture.covariance_type == "full":
        return c
    if mixture.covariance_type == "tied":
        return np.broadcast_to(c, (n_components, d, d))
    diagonals = c if mixture.covariance_type == "diag" else np.repeat(c[:, None], d, axis=1)
    return diagonals[:, :, None] * np.eye(d)
