"""Categories of a mixture: given its component, a row's levels are independent of each other.

    log pi_k(u) = sum_j sum_l u_jl log pi_kjl

u the one-hots of a row, a group of L_j entries for each categorical column, and pi_k the level
probabilities of component k, which sum to one in each group. A group of zeros stands for any level:
it adds nothing, and so does the sum over all levels, so that this is the marginal without it.
"""

import torch

from skrae.mixtures.components import indices_at
from skrae.mixtures.noise import uniform


class Categories:
    """The level probabilities of K components.

    Parameters
    ----------
    probabilities : tensor of shape (K, D), each group summing to one.
    levels : tuple of int, the size L_j of each group; D is their sum.

    Attributes
    ----------
    logarithms : tensor of shape (K, D); that of a level of probability 0 is finite, but below -700.
    """

    def __init__(self, probabilities, levels):
        _check(probabilities, levels)
        self.probabilities, self.levels = probabilities, levels
        self.logarithms = log_levels(probabilities)

    def log_masses(self, onehots):
        """log pi_k(u) of one-hots (n, D), shape (K, n)."""
        return self.logarithms @ onehots.T

    def sample(self, k, generator):
        """One-hots (n, D) of rows of the components k (n,)."""
        return draw_levels(self.probabilities[k], self.levels, generator)


def _check(probabilities, levels):
    """Raise unless they are probabilities of levels."""
    sums = group_sums(probabilities, levels)
    if (probabilities < 0.0).any() or ((sums - 1.0).abs() > 1e-6).any():
        raise ValueError(
            f"Got level probabilities {probabilities.tolist()}, expected none below 0 and a sum of"
            f" 1 for each group of levels={levels}."
        )


def log_levels(probabilities):
    """Their logarithms, finite: 0 times that of a level that never occurs must be 0."""
    return probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()


def group_sums(entries, levels):
    """Sums over the entries of each group, (..., D) to (..., J).

    >>> group_sums(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0]]), (2, 3))
    tensor([[ 3., 12.]])
    """
    parts = entries.split(list(levels), dim=-1) if levels else ()
    sums = [part.sum(-1) for part in parts]
    return torch.stack(sums, dim=-1) if sums else entries[..., :0]


def spread(values, levels):
    """A value of each group (..., J) for all its entries, (..., D)."""
    sizes = torch.tensor(levels, dtype=torch.long, device=values.device)
    return values.repeat_interleave(sizes, dim=-1)


def normalised(entries, levels):
    """The entries over the sum of their group."""
    return entries / spread(group_sums(entries, levels), levels)


def draw_levels(probabilities, levels, generator):
    """One-hots (n, D), a level of each group drawn by inversion, from probabilities (n, D)."""
    heights = uniform((len(probabilities), len(levels)), generator, probabilities)
    groups = probabilities.split(list(levels), dim=1), heights.split(1, dim=1)
    return torch.cat([_drawn(*group) for group in zip(*groups, strict=True)], dim=1)


def _drawn(probabilities, heights):
    index = indices_at(heights, probabilities)
    return torch.zeros_like(probabilities).scatter_(1, index, 1.0)
