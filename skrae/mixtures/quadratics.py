"""Squared distances from components, their gradients and moments: by monomials or by whitening.

Few columns: |L_k^-1 (z - mu_k)|^2 is a polynomial of the monomials (1, z, z z^T), so that all
distances are one matrix product, and so are the moments that a maximisation step takes. Many: a
row has d^2 / 2 monomials, more than fit in the cache or, of all rows, in memory; there the
deviations w_k = L_k^-1 (z - mu_k), linear in (1, z), are had for all components in one product, and

    distance_k = |w_k|^2,      gradient of -sum_k r_k distance_k / 2 = -sum_k r_k L_k^-T w_k.

Either costs of the order of K d^2 for each row; moments and gradients of many columns only for the
components that a row has a share in. One-hots of categories beside the numbers are as many more
columns of the products, whose coefficients are the logarithms of level probabilities.
"""

import torch

from skrae.mixtures.components import (
    distance_coefficients,
    inverse_of_triangles,
    n_monomials,
    quadratic_columns,
    unpack_symmetric,
)
from skrae.preprocessing.blocks import BLOCK_NUMBERS, block_rows, is_wide

# Of many columns: numbers of the rows of a block, the rows at a time that distances are computed
# for, and a share that is nothing.
ROW_NUMBERS, DISTANCE_ROWS, NEGLIGIBLE = 2**21, 1024, 1e-16
# Of few columns: components up to which their moments are had faster as the transposed product.
FEW_SHARES = 64


def rows_at_once(n_components, d):
    """Rows of a block: each has d numbers, and one for every component.

    >>> rows_at_once(1024, 10), rows_at_once(1024, 300), rows_at_once(1, 4000)
    (512, 512, 524)
    """
    return min(block_rows(n_components), max(1, ROW_NUMBERS // d))


# --- expectation and maximisation -----------------------------------------------------------------


def row_columns(rows, d):
    """What distances and moments are made of, a row in each column: monomials, or (1, z).

    Of d numbers z in each row; below are the one-hots that it has besides.
    """
    z, onehots = rows[:, :d], rows[:, d:].T
    if is_wide(d):
        columns = torch.cat([torch.ones_like(z[:, :1]), z], dim=1).T.contiguous()
    else:
        columns = quadratic_columns(z)
    return torch.cat([columns, onehots]) if len(onehots) else columns


def log_kernels(constants, means, factors, log_levels=None):
    """A function of `row_columns` -> constants_k - distance_k / 2 + log pi_k, shape (K, n)."""
    d = means.shape[1]
    if not is_wide(d):
        coefficients = -0.5 * distance_coefficients(means, factors)
        coefficients[:, 0] += constants
        if log_levels is not None:
            coefficients = torch.cat([coefficients, log_levels], dim=1)
        return lambda columns: coefficients @ columns
    distances = _distances_by_columns(means, inverse_of_triangles(factors))

    def kernels(columns):
        kernels = distances(columns[: 1 + d]).mul_(-0.5).add_(constants[:, None])
        return kernels if log_levels is None else kernels.addmm_(log_levels, columns[1 + d :])

    return kernels


def _distances_by_columns(means, whiteners):
    """A function of columns (1, z), (1 + d, n) -> squared distances (K, n)."""
    d = means.shape[1]
    origins = -torch.einsum("kij,kj->ki", whiteners, means)
    forms = torch.cat([origins[:, :, None], whiteners], dim=2).flatten(0, 1)
    parts = forms.split(d * max(1, BLOCK_NUMBERS // (d * DISTANCE_ROWS)))

    def of_some(columns):
        return torch.cat([_squared(part @ columns, d) for part in parts])

    return lambda columns: torch.cat(
        [of_some(some) for some in columns.split(DISTANCE_ROWS, dim=1)], dim=1
    )


def _squared(whitened, d):
    """Squared lengths (K, n) of whitened deviations (K d, n), which are overwritten."""
    squares = whitened.square() if whitened.requires_grad else whitened.square_()
    return squares.view(len(whitened) // d, d, whitened.shape[1]).sum(1)


def weighted_moments(shares, columns, d):
    """Sums over rows of shares (K, n) times `row_columns`, or times their products with (1, z).

    Shape (K, 1 + d + d(d+1)/2 + D), or (K, 1 + d, 1 + d + D), for D one-hots.
    """
    if not is_wide(d):
        if len(shares) > FEW_SHARES:
            return shares @ columns.T
        return (columns @ shares.T).T.contiguous()
    return torch.stack([_products(share, columns, d) for share in shares])


def _products(share, columns, d):
    """The same of one component, of the rows that it has a share in where these are few."""
    own = _shared_in(share)
    if 2 * len(own) < len(share):
        share, columns = share[own], columns[:, own]
    return (share * columns[: 1 + d]) @ columns.T


def _shared_in(share):
    """The rows whose share (n,) is more than rounding."""
    return (share > NEGLIGIBLE).nonzero()[:, 0]


def unpacked_moments(moments, d):
    """Sums of shares (K, 1), weighted means (K, d) and weighted means of z z^T (K, d, d)."""
    if not is_wide(d):
        counts = moments[:, :1]
        second = unpack_symmetric(moments[:, d + 1 : n_monomials(d)] / counts, d)
        return counts, moments[:, 1 : d + 1] / counts, second
    counts, own = moments[:, 0, :1], slice(1, d + 1)
    return counts, moments[:, 0, own] / counts, moments[:, own, own] / counts[:, :, None]


def packed_moments(counts, means, second):
    """`weighted_moments` of sums of shares (K,), means (K, d) and means of z z^T (K, d, d)."""
    d = means.shape[1]
    if is_wide(d):
        ones = torch.ones_like(counts)[:, None, None]
        first = torch.cat([ones, means[:, None, :]], dim=2)
        return counts[:, None, None] * torch.cat(
            [first, torch.cat([means[:, :, None], second], dim=2)], dim=1
        )
    rows, columns = torch.tril_indices(d, d, device=means.device)
    parts = torch.ones_like(counts)[:, None], means, second[:, rows, columns]
    return counts[:, None] * torch.cat(parts, dim=1)


def level_counts(moments, d):
    """Sums of shares in each level, (K, D)."""
    return moments[:, 0, 1 + d :] if is_wide(d) else moments[:, n_monomials(d) :]


def places_of(components, n_components):
    """Of each component k where it stands in components.flatten(), in order.

    >>> [own.tolist() for own in places_of(torch.tensor([[0, 2], [2, 0]]), 3)]
    [[0, 3], [], [1, 2]]
    """
    flat = components.flatten()
    counts = torch.bincount(flat, minlength=n_components).tolist()
    return flat.argsort(stable=True).split(counts)


# --- the density and its gradient -----------------------------------------------------------------


def quadratics_of(means, factors, dofs):
    """`Monomials` of few columns, `Whiteners` of many; those of a finite dof have no gradient."""
    return (Whiteners if is_wide(means.shape[1]) else Monomials)(means, factors, dofs)


class Monomials:
    """Distances and gradients of Gaussians by two products with fixed coefficients.

    Parameters
    ----------
    means : tensor of shape (K, d)
    factors : tensor of shape (K, d, d)
    dofs : tensor of shape (K,); those that are finite are left out of the gradient, which is no
        linear function of the row
    """

    def __init__(self, means, factors, dofs):
        self._coefficients = distance_coefficients(means, factors)
        precisions = torch.cholesky_inverse(factors)
        centres = torch.einsum("kij,kj->ki", precisions, means)
        self._pulls = torch.cat([centres, precisions.flatten(1)], dim=1)
        self._pulls[torch.isfinite(dofs)] = 0.0

    def distances(self, z):
        """|L_k^-1 (z - mu_k)|^2, (K, n)."""
        return torch.mm(self._coefficients, quadratic_columns(z)).clamp_min_(0.0)

    def gradient(self, z, responsibilities):
        """sum_k r_k grad log c_k, (n, d), for responsibilities (K, n)."""
        d = z.shape[1]
        pulls = responsibilities.T @ self._pulls
        precisions = pulls[:, d:].unflatten(1, (d, d))
        return torch.baddbmm(pulls[:, :d, None], precisions, z[:, :, None], alpha=-1.0)[:, :, 0]


class Whiteners:
    """The same by the whitened deviations of all Gaussians: no row has d^2 numbers.

    Parameters
    ----------
    means, factors, dofs : as of `Monomials`; a distance from a component of finite dof is 0
    """

    def __init__(self, means, factors, dofs):
        self._gaussian = torch.isinf(dofs).nonzero()[:, 0]
        self._size, self._whiteners = len(dofs), inverse_of_triangles(factors[self._gaussian])
        self._means = means[self._gaussian]
        self._places = {k: place for place, k in enumerate(self._gaussian.tolist())}
        self._distances = _distances_by_columns(self._means, self._whiteners)

    def component(self, k, z):
        """The squared distance (n,) from Gaussian k, and -1/2 of its gradient (n, d)."""
        place = self._places[k]
        whitener = self._whiteners[place]
        whitened = (z - self._means[place]) @ whitener.T
        return whitened.square().sum(1), -(whitened @ whitener)

    def distances(self, z):
        """|L_k^-1 (z - mu_k)|^2, (K, n)."""
        distances = z.new_zeros(self._size, len(z))
        distances[self._gaussian] = self._distances(row_columns(z, z.shape[1]))
        return distances

    def gradient(self, z, responsibilities):
        """sum_k r_k grad log c_k, (n, d), for responsibilities (K, n)."""
        gradient = torch.zeros_like(z)
        for k, mean, whitener in zip(self._gaussian, self._means, self._whiteners, strict=True):
            own = _shared_in(responsibilities[k])
            whitened = (z[own] - mean) @ whitener.T
            pull = (responsibilities[k, own, None] * whitened) @ whitener
            gradient.index_add_(0, own, pull, alpha=-1.0)
        return gradient
