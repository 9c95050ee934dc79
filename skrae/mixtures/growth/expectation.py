"""Expectation: densities of mixtures at rows, and the moments of the rows of each component.

Distances and moments are in `quadratics`. Processes that fit together share out what is asked of
many rows.
"""

from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch

from skrae.mixtures.components import log_sum, shares_of
from skrae.mixtures.growth.nearest import FewShares, Kernels, joint_parts
from skrae.mixtures.quadratics import log_kernels, row_columns, rows_at_once, weighted_moments
from skrae.preprocessing.blocks import shared_by_blocks
from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.contract.work import check_time
from skrae.preprocessing.rows import weighted_mean

# Of a step: the most parts that processes share out, and the products that it takes to do so.
MAX_PARTS, MIN_SHARED = 16, 2**23


class Mixture(NamedTuple):
    """Weights (K,), means (K, d), covariances (K, d, d) and the prior covariances (K, d, d).

    Of tables with categories besides: level probabilities (K, D), and what they are shrunk to.
    """

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor
    priors: torch.Tensor
    levels: torch.Tensor | None = None
    level_priors: torch.Tensor | None = None


class HeldOut(NamedTuple):
    """Held-out rows z (n, d + D), their weights (n,) and log densities (n,) below which none falls.

    The floor is what a tail will give them: no one row decides how a mixture grows.
    """

    z: torch.Tensor
    weights: torch.Tensor
    floor: torch.Tensor | None = None


def log_joint(mixture):
    """A function of `row_columns` -> log w_k N(z; mu_k, C_k) pi_k(u), shape (K, n)."""
    constants, factors, levels = joint_parts(mixture)
    return log_kernels(constants, mixture.means, factors, levels)


def log_density(mixture, z):
    """log density at each row of z, shape (n,); of what is observed of `HoledRows`."""
    if not isinstance(z, torch.Tensor):
        return z.log_likelihoods(mixture)
    joint, d = log_joint(mixture), mixture.means.shape[1]
    size = rows_at_once(*mixture.means.shape)
    return shared_by_blocks(lambda rows: log_sum(joint(row_columns(rows, d))), z, size=size)


def mean_log_density(mixture, held_out):
    """Mean log density of `HeldOut` rows, by which mixtures are validated."""
    z, weights, floor = HeldOut(*held_out)
    values = log_density(mixture, z)
    return weighted_mean(values if floor is None else torch.logaddexp(values, floor), weights)


def shared_moments(mixture, z, weights, nearest=None):
    """What `moments_of` gives: of many rows each process takes some.

    The parts are the same of any number of processes, and are added in the same order: so the sums
    are equal, bit for bit. `Nearest` tells of the parts whose rows have few components, and is told
    of others.
    """
    processes, (n_components, d) = current(), mixture.means.shape
    if not isinstance(z, torch.Tensor):
        return z.moments(mixture) if nearest is None else z.moments(mixture, nearest)
    n, is_long = len(z), len(z) * n_components * d**2 >= MIN_SHARED
    n_parts = min(-(-n // rows_at_once(n_components, d)), MAX_PARTS)
    if is_long:  # as many for each of two or four processes
        n_parts = -(-n_parts // 4) * 4
    bounds = [n * part // n_parts for part in range(n_parts + 1)]
    is_shared = is_long and processes.size > 1
    own = processes.share(n_parts) if is_shared else slice(0, n_parts)
    sums = PartMoments(mixture, nearest)
    parts = list(pairwise(bounds))[own]
    moments = [sums(z[a:b], weights[a:b], (a, b)) for a, b in parts]
    if is_shared:
        none = moments_of(mixture, z[:0], weights[:0])
        moments = processes.joined(torch.stack([none, *moments])[1:], n_parts)
    return sum(moments)


def moments_of(mixture, z, weights):
    """The `weighted_moments` of the rows of each component: what z says where it is no tensor."""
    return PartMoments(mixture)(z, weights)


class PartMoments:
    """`weighted_moments` of parts of the rows, by few components of each row where these are known.

    Parameters
    ----------
    mixture : Mixture
    nearest : Nearest, which is told of the parts that it does not know, or None
    """

    def __init__(self, mixture, nearest=None):
        self.mixture, self.nearest = mixture, nearest

    @cached_property
    def _joint(self):
        return log_joint(self.mixture)

    @cached_property
    def _kernels(self):
        return Kernels.of(self.mixture)

    def __call__(self, z, weights, part=None):
        """Those of rows z (n, d + D) and their weights (n,); `part` is their name."""
        shape = self.mixture.means.shape
        if not isinstance(z, torch.Tensor):
            return z.moments(self.mixture)
        if self.nearest is None:
            return _moments(self._joint, z, weights, *shape)
        if self.nearest.knows(part):
            return self.nearest.moments(part, self._kernels, z, weights)
        shares = []
        found = _moments(self._joint, z, weights, *shape, shares)
        self.nearest.keep(part, shares)
        return found


def _moments(joint, z, weights, n_components, d, few=None):
    """The same by the `log_joint` of so many components in d dimensions.

    The `FewShares` of blocks of rows are added to the list `few`.
    """
    moments, size = 0.0, rows_at_once(n_components, d)
    for rows, w in zip(z.split(size), weights.split(size), strict=True):
        check_time()
        columns = row_columns(rows, d)
        shares = shares_of(joint(columns), w)
        if few is not None:
            few.append(FewShares.of(shares))
        moments = moments + weighted_moments(shares, columns, d)
    return moments
