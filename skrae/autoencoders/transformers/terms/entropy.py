"""The entropy of a code by its nearest neighbours, as a loss.

Kozachenko & Leonenko (1987): with eps_i the distance of u_i from its k-th neighbour among n,

    H = psi(n) - psi(k) + log V_d + d mean_i log eps_i,

V_d the volume of the unit ball. The entropy power N = exp(2 H / d) / (2 pi e) is the variance of
the independent normal units that have this entropy (Shannon 1948). Of all laws of unit deviations
N(0, I) alone has N = 1: a standardised code that lacks little of it is spread as normal draws are,
which is what Ghose, Rashwan & Poupart (2020) draw codes from.
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


def lacking_entropy_power(h):
    """1 - N(u), the share of the variance of the standardised code u = h that is no entropy power.

    Parameters
    ----------
    h : tensor of shape (n, d), of codes of rows that differ; 0 for a single one
    """
    if len(h) < 2:
        return 0.0 * h.sum()
    u = (h - h.mean(0)) / deviations(h)
    nats_a_unit = entropy(u) / h.shape[1]
    return 1.0 - (2.0 * nats_a_unit).exp() / (2.0 * math.pi * math.e)
