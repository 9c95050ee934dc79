"""The mutual information of two views of a row, by telling rows apart.

A critic gives each pair of views a score s_ij, large where both are of one row. The bound of van
den Oord, Li & Vinyals (2018), InfoNCE, is the log probability with which a view finds its partner
among n, above that of chance:

    I >= log n + mean_i (s_ii - log sum_j exp s_ij).

It is tight for s the log density ratio log p(u, v) / p(u) p(v), and never above log n.
"""

import math

import torch
from torch.nn.functional import cross_entropy, normalize

from skrae.autoencoders.transformers.terms.corruption import CORRUPTIONS
from skrae.autoencoders.transformers.terms.penalties import deviations

# The views that an auto-encoder's own term compares.
KEEP, TEMPERATURE = 0.5, 0.5
VIEWS = {"masked": CORRUPTIONS["masking"].corrupt, "swapped": CORRUPTIONS["swap"].corrupt}


def info_nce(scores):
    """The bound in nats, the mean of those from each side.

    Parameters
    ----------
    scores : tensor of shape (n, n), s_ij of one view of row i and the other of row j

    Returns
    -------
    bound : tensor of one number, at most log n

    Examples
    --------
    >>> info_nce(torch.zeros(8, 8))  # all pairs alike
    tensor(0.)
    """
    own = torch.arange(len(scores), device=scores.device)
    lost = 0.5 * (cross_entropy(scores, own) + cross_entropy(scores.T, own))
    return math.log(len(scores)) - lost


def cosine_scores(u, v, temperature):
    """s_ij = cos(u_i, v_j) / temperature, (n, n)."""
    return normalize(u, dim=1) @ normalize(v, dim=1).T / temperature


class Views:
    """Two views of each row, and what their codes tell of each other.

    Parameters
    ----------
    kind : str, of `VIEWS`
    keep : float in (0, 1), the share of the entries that a view keeps
    temperature : float > 0
    """

    def __init__(self, kind="masked", keep=KEEP, temperature=TEMPERATURE):
        self.view, self.level, self.temperature = VIEWS[kind], 1.0 - keep, temperature

    def pair(self, x, generator):
        """Two views of rows (n, d), corrupted independently."""
        return self.view(x, self.level, generator), self.view(x, self.level, generator)

    def bound(self, encode, x, generator):
        """InfoNCE in nats of the codes of two views of each row.

        Parameters
        ----------
        encode : callable from rows (n, d) to codes (n, k), on any scale: both views are
            standardised together
        x : tensor of shape (n, d), of rows that differ
        generator : torch.Generator
        """
        h = encode(torch.cat(self.pair(x, generator)))
        u, v = ((h - h.mean(0)) / deviations(h)).tensor_split(2)
        return info_nce(cosine_scores(u, v, self.temperature))

    def missing_information(self, encode, x, generator):
        """log n less the bound: the nats by which a code fails to tell rows apart by views."""
        return math.log(len(x)) - self.bound(encode, x, generator)
