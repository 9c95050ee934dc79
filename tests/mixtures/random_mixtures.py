"""Random mixtures, and the generators that tests draw with."""

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
    weights, means, factors, dofs, _ = density.arrays()
    apart = np.not_equal.outer(blocks, blocks)
    factors = np.where(np.isfinite(dofs)[:, None, None] & apart, 0.0, factors)
    return MixtureDensity(weights, means, factors, dofs, blocks)
