"""The base density q: a mixture of Gaussians and Student-t components.

    log q(z) = log sum_k w_k c_k(z),   c_k = N(mu_k, C_k)  or  prod_b t_nu(mu_kb, C_kb)

A Student-t component is a product over blocks of axes: of a row that is far away along one block it
says nothing about the others, as a single t would, whose every axis widens with the distance.
All squared Mahalanobis distances are one matrix product and the gradient is another (`quadratics`).
Inside, a component of all rows lies together in memory: few components reduce fastest so.
Float64 throughout: narrow components cancel digits that float32 does not have.
"""

import math
from functools import cached_property

import numpy as np
import torch

from skrae.mixtures.components import (
    log_radial_constant,
    log_volume,
    student_log_kernel,
    student_scales,
)
from skrae.mixtures.quadratics import quadratics_of, rows_at_once
from skrae.preprocessing.blocks import by_blocks, is_wide, matrices_of_rows, row_products


class MixtureDensity:
    """Mixture of K Gaussian (dof = inf) or Student-t (finite dof) components in d dimensions.

    Parameters
    ----------
    weights : array of shape (K,), summing to one.
    means : array of shape (K, d).
    factors : array of shape (K, d, d), lower Cholesky factors of the scale matrices C_k.
    dofs : array of shape (K,), degrees of freedom, whole numbers; inf is a Gaussian.
    blocks : array of shape (d,), the number of the block of each axis; None is a single block.
        The factors of Student-t components must be zero between blocks.
    """

    def __init__(self, weights, means, factors, dofs, blocks=None, device="cpu"):
        to = {"dtype": torch.float64, "device": device}
        self.weights, self.means, self.factors, self.dofs = (
            torch.as_tensor(np.asarray(a), **to) for a in (weights, means, factors, dofs)
        )
        if (self.dofs != self.dofs.round()).any() or (self.dofs < 1.0).any():
            raise ValueError(f"Got dofs={self.dofs.tolist()}, expected whole numbers >= 1 or inf.")
        self.blocks = np.zeros(self.n_features, int) if blocks is None else np.asarray(blocks)
        self.block_axes = _one_hot(self.blocks).to(self.means)
        self._quadratics = quadratics_of(self.means, self.factors, self.dofs)
        radial = log_radial_constant(self.dofs[:, None], self.block_axes.sum(0)).sum(1)
        self._constants = self.weights.log() - log_volume(self.factors) + radial
        heavy = torch.isfinite(self.dofs).nonzero()[:, 0]
        whiteners = torch.linalg.inv(self.factors[heavy])
        self._heavy = dict(zip(heavy.tolist(), whiteners, strict=True))

    def arrays(self):
        """weights, means, factors, dofs and blocks as NumPy arrays."""
        own = (self.weights, self.means, self.factors, self.dofs)
        return *(a.numpy(force=True) for a in own), self.blocks

    def to(self, device):
        """The same density with its tensors on `device`."""
        return MixtureDensity(*self.arrays(), device=device)

    def _with(self, weights, means, factors, dofs):
        """Another density on the device of this one."""
        parts = (a.numpy(force=True) for a in (weights, means, factors, dofs))
        return MixtureDensity(*parts, self.blocks, device=self.means.device)

    def blurred(self, variance, local):
        """The density of rows of q with noise: of covariance variance C_k (local) or variance I.

        Exact for Gaussian components; Student-t components get the scale matrix likewise.
        """
        if local:
            factors = math.sqrt(1.0 + variance) * self.factors
        else:
            identity = torch.eye(self.n_features, dtype=torch.float64, device=self.factors.device)
            factors = torch.linalg.cholesky(self.factors @ self.factors.mT + variance * identity)
        return self._with(self.weights, self.means, factors, self.dofs)

    def affine(self, matrix, origin=0.0):
        """The density of rows (z - origin) @ matrix, for z drawn from this one.

        Parameters
        ----------
        matrix : tensor of shape (d, d), invertible; it must not mix blocks
        origin : tensor of shape (d,)
        """
        # The triangle of a QR decomposition: a covariance would lose half the digits.
        factors = torch.linalg.qr((matrix.mT @ self.factors).mT, mode="r").R.mT
        factors = factors * factors.diagonal(dim1=1, dim2=2).sign()[:, None, :]
        return self._with(self.weights, (self.means - origin) @ matrix, factors, self.dofs)

    def with_tail(self, weight, mean, factor, dof):
        """(1 - weight) q + weight prod_b t_dof(mean, factor factor^T), of which no row is far away.

        Parameters
        ----------
        weight : float in (0, 1)
        mean : tensor of shape (d,)
        factor : tensor of shape (d, d), lower triangular
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
        """sum_k w_k mu_k, shape (d,)."""
        return self.weights @ self.means

    def moments(self):
        """Mean (d,) and covariance (d, d), each component by its location and scale matrix."""
        mean = self.mean
        apart = self.means - mean
        within = torch.einsum("k,kij->ij", self.weights, self.factors @ self.factors.mT)
        return mean, within + apart.T @ (self.weights[:, None] * apart)

    @property
    def n_features(self):
        return self.means.shape[1]

    def _joint(self, z):
        """log w_k c_k(z), (K, n), what the gradient of Gaussians needs, and those of heavy ones."""
        distances, whitened = self._quadratics.distances(z)
        logits = distances.mul_(-0.5).add_(self._constants[:, None])
        gradients = {}
        for k in self._heavy:
            logits[k], gradients[k] = self._heavy_component(k, z)
        return logits, whitened, gradients

    def _heavy_component(self, k, z):
        """log w_k c_k(z), (n,), and its gradient (n, d)."""
        nu, dims = self.dofs[k], self.block_axes.sum(0)
        whitener = self._heavy[k]
        whitened = (z - self.means[k]) @ whitener.T
        distances = whitened.square() @ self.block_axes
        log_density = self._constants[k] + student_log_kernel(distances, nu, dims).sum(1)
        damping = ((nu + dims) / (nu + distances)) @ self.block_axes.T
        return log_density, -damping * (whitened @ whitener)

    def log_density(self, z):
        """log q(z), shape (n,)."""
        size = rows_at_once(*self.means.shape)
        return by_blocks(lambda x: torch.logsumexp(self._joint(x.double())[0], 0), z, size=size)

    def responsibilities(self, z):
        """r_k(z) = w_k c_k(z) / q(z), shape (n, K)."""
        return self._by_blocks(lambda x: torch.softmax(self._joint(x)[0], dim=0).T, z.double())

    def evaluate(self, z):
        """log q (n,), its gradient (n, d) and the responsibilities (n, K)."""
        return self._by_blocks(self._evaluate, z.double())

    def _by_blocks(self, function, z):
        """function(z): of few columns, rows in bounded number are what callers hand over."""
        n_components, d = self.means.shape
        size = rows_at_once(n_components, d) if is_wide(d) else len(z)
        return by_blocks(function, z, size=size)

    def _evaluate(self, z):
        logits, whitened, heavy = self._joint(z)
        log_density, responsibilities = _normalised(logits)
        gradient = self._quadratics.gradient(z, responsibilities, whitened)
        for k, own in heavy.items():
            gradient = torch.addcmul(gradient, responsibilities[k][:, None], own)
        return log_density, gradient, responsibilities.T

    def hessian(self, z):
        """Second derivatives of log q, (n, d, d): sum_k r_k (g_k g_k^T + H_k) - g g^T.

        g_k and H_k are the derivatives of log c_k, and g = sum_k r_k g_k.
        """
        z = z.double()
        logits, _, heavy = self._joint(z)
        shares = torch.softmax(logits, dim=0).T
        slopes = torch.einsum("kij,nkj->nki", self._precisions, self.means - z[:, None])
        gaussian = shares.clone()
        for k, own in heavy.items():
            slopes[:, k], gaussian[:, k] = own, 0.0
        pulled = shares[:, :, None] * slopes
        mean = pulled.sum(1)
        hessian = pulled.mT @ slopes - mean[:, :, None] * mean[:, None, :]
        hessian -= torch.einsum("nk,kij->nij", gaussian, self._precisions)
        for k, own in heavy.items():
            hessian += shares[:, k, None, None] * self._heavy_hessian(k, z, own)
        return hessian

    @cached_property
    def _precisions(self):
        """C_k^-1, (K, d, d)."""
        return torch.cholesky_inverse(self.factors)

    def _heavy_hessian(self, k, z, gradient):
        """Second derivatives of log c_k, (n, d, d), of which the gradient is known."""
        nu, axes = self.dofs[k], self.block_axes
        dims, distances = axes.sum(0), ((z - self.means[k]) @ self._heavy[k].T).square() @ axes
        damping = ((nu + dims) / (nu + distances)) @ axes.T
        within = (2.0 * axes / (nu + dims)) @ axes.T  # 2 / (nu + d_b) where axes share a block
        outer = within * gradient[:, :, None] * gradient[:, None, :]
        return outer - damping[:, :, None] * self._precisions[k]

    def sample(self, n_samples, generator):
        """Independent draws, shape (n_samples, d)."""
        k = self._draw_components(n_samples, generator)
        to = {"dtype": torch.float64, "device": self.means.device}
        noise = torch.randn(n_samples, self.n_features, generator=generator, **to)
        noise = row_products(matrices_of_rows(self.factors, k), noise)
        if self._heavy:
            n_blocks = self.block_axes.shape[1]
            dofs = self.dofs[k].repeat_interleave(n_blocks)
            scales = student_scales(dofs, generator).unflatten(0, (-1, n_blocks))
            noise = noise * (scales @ self.block_axes.T)
        return self.means[k] + noise

    def _draw_components(self, n_samples, generator):
        to = {"dtype": torch.float64, "device": self.means.device}
        uniform = torch.rand(n_samples, generator=generator, **to)
        return torch.searchsorted(self.weights.cumsum(0)[:-1].contiguous(), uniform)


def _normalised(logits):
    """log sum_k exp(logits), (n,), and softmax(logits), both of (K, n): one exponential for two."""
    highest = logits.detach().amax(0)
    terms = torch.exp(logits - highest)
    total = terms.sum(0)
    return highest + total.log(), terms / total


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
