"""Corruptions x~ of rows x in working space, where the mean of each column is 0.

    gaussian   x~ = x + level e,  e ~ N(0, I)
    masking    each entry is 0, the mean, with probability level
    swap       each entry is that of another row of the batch with probability level

(Vincent et al. 2010, section 4.2.) To second order a corruption is known by what it leaves of an
entry and what it adds to its variance; the best linear denoiser depends on no more.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch


def gaussian(x, level, generator):
    """x + level e."""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return x + level * noise


def _chosen(x, share, generator):
    return torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device) < share


def masking(x, level, generator):
    """Each entry 0 with probability level."""
    return x.masked_fill(_chosen(x, level, generator), 0.0)


def swap(x, level, generator):
    """Each entry that of a row drawn at random with probability level."""
    donors = torch.randint(len(x), x.shape, generator=generator, device=x.device)
    return torch.where(_chosen(x, level, generator), x.gather(0, donors), x)


class Corruption(NamedTuple):
    """A corruption, and its first two moments given the covariance C of the rows.

    corrupt: x, level, generator -> x~. kept: level -> a with E(x~ | x) = a x.
    added: level, variances (d,) -> what cov(x~) has more than a^2 C on its diagonal.
    """

    corrupt: Callable
    kept: Callable
    added: Callable


CORRUPTIONS = {
    "gaussian": Corruption(gaussian, lambda level: 1.0, lambda level, c: 0.0 * c + level**2),
    "masking": Corruption(
        masking, lambda level: 1.0 - level, lambda level, c: level * (1.0 - level) * c
    ),
    "swap": Corruption(
        swap, lambda level: 1.0 - level, lambda level, c: (1.0 - (1.0 - level) ** 2) * c
    ),
}
