"""Level probabilities of growing mixtures: frequencies shrunk towards the parent's.

    pi_kl = (N_kl + strength * pi_parent,l) / (N_k + strength)

the mode under a Dirichlet prior, as covariances are shrunk (`em`): a component with few rows keeps
the levels of the place it came from. No level ever has probability zero: the first of all parents
has the frequencies of all rows, and half a row more of each level (Krichevsky & Trofimov 1981).
"""

import torch

from skrae.mixtures.categories import log_levels, normalised

PSEUDO_ROWS = 0.5
# Standard deviation of what a split adds to log probabilities of one child and takes of the other.
TILT = 0.5


def frequencies(onehots, weights, levels):
    """Smoothed weighted frequencies of one-hots (n, D), in each group of `levels`, (D,).

    >>> rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    >>> frequencies(rows, torch.ones(3), (2,))
    tensor([0.8750, 0.1250])
    """
    return normalised(weights @ onehots + PSEUDO_ROWS, levels)


def shrunk(counts, priors, strength, levels):
    """Level probabilities (K, D) of the rows in each level (K, D), with their priors (K, D)."""
    return normalised(counts + strength * priors, levels)


def tilted(probabilities, levels, generator):
    """Two of each (K, D): some levels likelier in one, less likely in the other, at random."""
    noise = torch.randn(probabilities.shape, generator=generator, dtype=probabilities.dtype)
    tilt = torch.exp(TILT * noise)
    return normalised(probabilities * tilt, levels), normalised(probabilities / tilt, levels)


def divergence(one, other):
    """The Kullback-Leibler divergence sum_l p_l log p_l / q_l of all groups, (..., D) to (...)."""
    return (one * (log_levels(one) - log_levels(other))).sum(-1)
