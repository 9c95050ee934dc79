"""The differential entropy of a code by its nearest neighbours, as a loss.

Kozachenko & Leonenko (1987): with eps_i the distance of u_i from its k-th neighbour among n,

    H = psi(n) - psi(k) + log V_d + d mean_i log eps_i,

V_d the volume of the unit ball. Of all laws with unit deviations N(0, I) has the largest entropy,
d / 2 log(2 pi e): a standardised code of little less is spread as normal draws are, which is what
Ghose, Rashwan & Poupart (2020) draw codes from.
"""

import math

import torch
from scipy.special import gammaln, psi

from skrae.autoencoders.transformers.terms.penalties import deviations

N_NEIGHBORS = 3
# Distances of standardised codes below which they are equal: what draws them apart stays finite.
MIN_DISTANCE = 1e-6
# Of codes nearly the same, distances by products are rounding.
EXACT = "donot_use_mm_for_euclid_dist"


def entropy(u, n_neighbors=N_NEIGHBORS):
    """The estimate of the entropy of rows, in nats.

    Parameters
    ----------
    u : tensor of shape (n, d), n >= 2, of rows that differ
    n_neighbors : int, at most n - 1 of them are taken

    Returns
    -------
    entropy : tensor of one number
    """
    n, d = u.shape
    k = min(n_neighbors, n - 1)
    with torch.no_grad():
        apart = torch.cdist(u, u, compute_mode=EXACT).fill_diagonal_(math.inf)
        neighbor = apart.topk(k, dim=1, largest=False).indices[:, -1]
    near = (u - u[neighbor]).norm(dim=1).clamp_min(MIN_DISTANCE)
    log_volume = 0.5 * d * math.log(math.pi) - gammaln(0.5 * d + 1.0)
    return psi(n) - psi(k) + log_volume + d * near.log().mean()


def entropy_deficit(h, n_neighbors=N_NEIGHBORS):
    """(d / 2 log(2 pi e) - H(u)) / d: the nats a unit that the standardised code u = h lacks.

    Parameters
    ----------
    h : tensor of shape (n, d), of codes of rows that differ; 0 for a single one
    n_neighbors : int
    """
    if len(h) < 2:
        return 0.0 * h.sum()
    u = (h - h.mean(0)) / deviations(h)
    return 0.5 * math.log(2.0 * math.pi * math.e) - entropy(u, n_neighbors) / h.shape[1]
