"""Random mixtures, and the generators that tests draw with."""

from itertools import product

import numpy as np
import torch

from skrae.mixtures.mixture import MixtureDensity


def generator(seed):
    """A torch generator of its own."""
    return torch.Generator().manual_seed(seed)


def random_mixture(d, n_components, seed, dofs=None):
    """Components of very different widths, correlated, near the origin."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_components, 5.0))
    widths = np.geomspace(0.25, 1.5, n_components)[:, None, None]
    factors = np.tril(0.4 * rng.standard_normal((n_components, d, d)), -1)
    factors = widths * (factors + np.eye(d) * rng.uniform(0.7, 1.3, (n_components, d, 1)))
    dofs = [np.inf] * n_components if dofs is None else dofs
    return MixtureDensity(weights, rng.standard_normal((n_components, d)), factors, dofs)


def in_blocks(density, blocks):
    """The density with Student-t components that are products over blocks of axes."""
    weights, means, factors, dofs, _, levels = density.arrays()
    apart = np.not_equal.outer(blocks, blocks)
    factors = np.where(np.isfinite(dofs)[:, None, None] & apart, 0.0, factors)
    return MixtureDensity(weights, means, factors, dofs, blocks, levels)


def with_levels(density, levels, seed):
    """The density with categorical columns of random level probabilities."""
    rng = np.random.default_rng(seed)
    weights, means, factors, dofs, blocks, _ = density.arrays()
    groups = [rng.dirichlet(np.ones(size), len(weights)) for size in levels]
    return MixtureDensity(weights, np.hstack([means, *groups]), factors, dofs, blocks, levels)


def every_onehot(levels):
    """The one-hots of all combinations of levels, float64 (prod L_j, D)."""
    identities = [np.eye(size) for size in levels]
    rows = [np.concatenate(parts) for parts in product(*identities)]
    return torch.as_tensor(np.array(rows))
