"""Steps of expectation-maximisation by the few components that each row is likely of.

Of many columns a row has next to all its shares in a few components. A step of all components says
which these are, and the steps after it ask them alone: shares that are restricted to some
components raise a bound of the likelihood as well (Neal & Hinton 1998), and take a small part of
the distances.
"""

import math
from typing import NamedTuple

import torch

from skrae.mixtures.categories import log_levels
from skrae.mixtures.components import inverse_of_triangles, log_volume, shares_of
from skrae.mixtures.quadratics import NEGLIGIBLE, places_of
from skrae.preprocessing.blocks import block_rows, is_wide, shared_by_blocks
from skrae.preprocessing.contract.work import check_time

# Components that a row keeps, of few and of many, and the share in others, of all rows in the mean,
# for which all components are asked again.
FEW, MORE, MAX_LEFT_OUT = 8, 16, 0.01
# Rows whose components are kept, at most: two bytes for each component.
MAX_KNOWN = 2**21
# Components for which it is worth while, and those that are many.
MIN_COMPONENTS, MANY = 32, 128
# Rows, of which fewer take little time.
MIN_ROWS_OF_FEW = 10_000


def joint_parts(mixture):
    """Of each component of a `Mixture` the constant, factor and logarithms of levels, or None."""
    factors, d = torch.linalg.cholesky(mixture.covariances), mixture.means.shape[1]
    constants = mixture.weights.log() - log_volume(factors) - 0.5 * d * math.log(2 * math.pi)
    return constants, factors, None if mixture.levels is None else log_levels(mixture.levels)


class Kernels(NamedTuple):
    """Of each component k the constant, whitener and whitened mean, and logarithms of levels."""

    constants: torch.Tensor  # (K,)
    whiteners: torch.Tensor  # (K, d, d)
    origins: torch.Tensor  # (K, d)
    levels: torch.Tensor | None  # (K, D)

    @classmethod
    def of(cls, mixture):
        """Those of a `Mixture`."""
        constants, factors, levels = joint_parts(mixture)
        whiteners = inverse_of_triangles(factors)
        origins = torch.einsum("kij,kj->ki", whiteners, mixture.means)
        return cls(constants, whiteners, origins, levels)

    def __call__(self, k, rows):
        """log w_k N(z; mu_k, C_k) pi_k(u) of rows (m, d + D)."""
        d = self.origins.shape[1]
        whitened = rows[:, :d] @ self.whiteners[k].T - self.origins[k]
        logits = self.constants[k] - 0.5 * whitened.square().sum(1)
        return logits if self.levels is None else logits + rows[:, d:] @ self.levels[k]


class Nearest:
    """The few components of each row, of rows that are asked for in the same parts every time."""

    def __init__(self):
        self._components = {}

    def forget(self):
        """Ask all components the next time."""
        self._components = {}

    def knows(self, part):
        """Whether the components of this part of the rows are few and known."""
        return part in self._components

    def keep(self, part, shares):
        """Take note of the components of a part, of the `FewShares` of its blocks."""
        components, kept, whole = zip(*shares, strict=True)
        n_known = sum(len(known) for known in self._components.values())
        if n_known <= MAX_KNOWN and sum(kept) >= (1.0 - MAX_LEFT_OUT) * sum(whole):
            self._components[part] = torch.cat(components)

    def moments(self, part, kernels, rows, weights):
        """The `weighted_moments` of the rows (n, d + D) of a known part."""
        return moments_of_few(kernels, rows, weights, self._components[part].long())


class FewShares(NamedTuple):
    """The likeliest components of each row of a block, their shares, and those of all, in sum."""

    components: torch.Tensor  # (n, FEW) or (n, MORE), int16
    kept: float
    whole: float

    @classmethod
    def of(cls, shares):
        """Those of shares (K, n)."""
        n_kept = min(FEW if len(shares) < MANY else MORE, len(shares))
        highest, components = shares.topk(n_kept, dim=0)
        return cls(components.T.short(), float(highest.sum()), float(shares.sum()))


class Likely(NamedTuple):
    """The likeliest components of each row, and its shares in them."""

    components: torch.Tensor  # (n, MORE)
    shares: torch.Tensor  # (n, MORE)


def likely_components(density, z):
    """`Likely` of many rows (n, d), of a density of many components in many numeric columns.

    None for others, and where the rows have more than MAX_LEFT_OUT of their shares elsewhere.
    """
    n_components = len(density.means)
    is_large = n_components >= MIN_COMPONENTS and len(z) >= MIN_ROWS_OF_FEW
    if not (is_large and is_wide(density.n_numeric)):
        return None

    def likeliest(rows):
        shares, components = density.responsibilities(rows).topk(MORE, dim=1)
        return torch.cat([shares, components], dim=1).float()

    shares, components = shared_by_blocks(likeliest, z, size=block_rows(n_components)).chunk(2, 1)
    if shares.sum() < (1.0 - MAX_LEFT_OUT) * len(z):
        return None
    return Likely(components.int(), shares)


def moments_of_few(kernels, rows, weights, components):
    """`weighted_moments` where each row has shares in some `components` (n, m) alone.

    Parameters
    ----------
    kernels : Kernels
    rows : tensor of shape (n, d + D)
    weights : tensor of shape (n,)
    components : tensor of shape (n, m), whole numbers

    Returns
    -------
    tensor of shape (K, 1 + d, 1 + d + D)
    """
    (n_components, d), n_each = kernels.origins.shape, components.shape[1]
    places = places_of(components, n_components)
    logits = rows.new_empty(components.numel())
    for k, own in enumerate(places):
        logits[own] = kernels(k, rows[own // n_each])
    check_time()
    shares = shares_of(logits.view(-1, n_each).T.contiguous(), weights).T.flatten()
    full = torch.cat([torch.ones_like(rows[:, :1]), rows], dim=1)
    moments = rows.new_zeros(n_components, 1 + d, full.shape[1])
    for k, own in enumerate(places):
        share = shares[own]
        some = share > NEGLIGIBLE
        own, share = full[own[some] // n_each], share[some]
        torch.mm((share[:, None] * own[:, : 1 + d]).T, own, out=moments[k])
    check_time()
    return moments
