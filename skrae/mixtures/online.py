"""Online expectation-maximisation of a base density: each block of a stream takes one step.

The sufficient statistics of the Gaussian components, sums of shares times (1, z, z z^T), are

    s <- forgetting * s + s(block),

and the parameters what maximises them (Cappe & Moulines 2009, "On-line expectation-maximization
algorithm for latent data models", JRSS B 71). They begin as those of the rows of the fit would be
if these were the model itself, so that the model stays where it is until a block says otherwise. An
average of mixtures is one mixture here. A covariance is shrunk towards that of the fit, which
counts two rows for each column: a component that few rows are left to stays as wide as it was.

The Student-t component keeps its place and its shape. Rows that it has are lost to the Gaussians:
when the law moves away that would be all of them, for ever. So it has at most a tenth of a block:
the shares closest to those of the model that keep to this have its odds divided by a constant
(Ganchev et al. 2010, "Posterior regularization for structured latent variable models").
"""

import math
from typing import NamedTuple

import torch

from skrae.mixtures.growth.em import Settings, maximise
from skrae.mixtures.growth.expectation import Mixture, moments_of
from skrae.mixtures.growth.tails import TAIL_WEIGHTS
from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.quadratics import packed_moments

# The share of all rows below which a component is dropped.
LEAST_SHARE = 1e-6
# The tail's weight and its share of the rows of a block: the limits of those that a fit chooses.
LEAST_TAIL, MOST_TAIL = TAIL_WEIGHTS[0], TAIL_WEIGHTS[-1]
# Times that a block finds its shares anew, by what it has changed.
N_STEPS = 3
# Halvings of an interval of logarithms of odds.
N_HALVINGS = 60


class Statistics(NamedTuple):
    """What is known of all rows so far, of K Gaussian components and one that is heavy."""

    moments: torch.Tensor  # `weighted_moments`, K of them
    priors: torch.Tensor  # (K, d, d), what covariances are shrunk to
    tail: float  # rows of the heavy component


def statistics_of(base, n_rows):
    """The `Statistics` of so many rows from a `MixtureDensity` without categories.

    Parameters
    ----------
    base : MixtureDensity, all of whose components but the last are Gaussian
    n_rows : float, the sum of their weights

    Returns
    -------
    Statistics
    """
    gaussians, _, weight = _parted(base)
    covariances = gaussians.factors @ gaussians.factors.mT
    counts = (1.0 - weight) * n_rows * gaussians.weights
    second = covariances + gaussians.means[:, :, None] * gaussians.means[:, None, :]
    moments = packed_moments(counts, gaussians.means, second)
    return Statistics(moments, covariances, weight * n_rows)


def online_step(base, statistics, rows, forgetting=1.0):
    """The density after one step, and its `Statistics`.

    Parameters
    ----------
    base : MixtureDensity, as of `statistics_of`
    statistics : Statistics
    rows : WeightedRows, tensors (n, d) and (n,)
    forgetting : float in (0, 1], what earlier rows count

    Returns
    -------
    base : MixtureDensity
    statistics : Statistics, without the components that hardly any row is left to
    """
    before = statistics
    for _ in range(N_STEPS):
        moments, tail = _moments_of(base, rows)
        moments = forgetting * before.moments + moments
        statistics = Statistics(moments, before.priors, forgetting * before.tail + tail)
        base = _maximised(base, statistics)
    counts = statistics.moments.flatten(1)[:, 0]
    keep = counts >= LEAST_SHARE * counts.sum()
    statistics = Statistics(statistics.moments[keep], statistics.priors[keep], statistics.tail)
    return _maximised(base, statistics), statistics


def _maximised(base, statistics):
    """The density of largest likelihood, by `Statistics`; its tail but for the weight that of q."""
    moments, priors, tail = statistics
    mixture = maximise(moments, priors, Settings(0.0, 2.0 * base.n_features))
    n_rows = float(moments.flatten(1)[:, 0].sum()) + tail
    factors = torch.linalg.cholesky(mixture.covariances)
    dofs = torch.full_like(mixture.weights, math.inf)
    gaussians = MixtureDensity(mixture.weights, mixture.means, factors, dofs, base.blocks)
    weight = min(max(tail / n_rows, LEAST_TAIL), MOST_TAIL)
    return gaussians.with_tail(weight, base.means[-1], base.factors[-1], float(base.dofs[-1]))


def _parted(base):
    """The Gaussians, the heavy component, each a density, and the weight of the latter."""
    weights, means, factors, dofs, blocks, _ = base.arrays()
    own = weights[:-1] / weights[:-1].sum()
    gaussians = MixtureDensity(own, means[:-1], factors[:-1], dofs[:-1], blocks)
    tail = MixtureDensity([1.0], means[-1:], factors[-1:], dofs[-1:], blocks)
    return gaussians, tail, float(weights[-1])


def _moments_of(base, rows):
    """`weighted_moments` of the Gaussians, and the rows of the tail."""
    z, weights = rows
    gaussians, tail, weight = _parted(base)
    odds = tail.log_density(z) - gaussians.log_density(z)
    far = _limited(odds + math.log(weight / (1.0 - weight)), weights)
    covariances = gaussians.factors @ gaussians.factors.mT
    mixture = Mixture(gaussians.weights, gaussians.means, covariances, covariances)
    return moments_of(mixture, z, weights * (1.0 - far)), float(weights @ far)


def _limited(log_odds, weights):
    """Shares (n,) of the tail by log odds, lowered until their mean is `MOST_TAIL` at most."""
    share = weights / weights.sum()
    if share @ torch.sigmoid(log_odds) <= MOST_TAIL:
        return torch.sigmoid(log_odds)
    low, high = 0.0, max(0.0, float(log_odds.max())) - math.log(MOST_TAIL)
    for _ in range(N_HALVINGS):
        middle = 0.5 * (low + high)
        if share @ torch.sigmoid(log_odds - middle) > MOST_TAIL:
            low = middle
        else:
            high = middle
    return torch.sigmoid(log_odds - high)
