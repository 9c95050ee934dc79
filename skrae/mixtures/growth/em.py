"""Weighted expectation-maximisation for Gaussian mixtures that grow by splitting.

Every component is split along its longest axis, refined by EM, and split again. A child's
covariance is shrunk towards its parent's (an inverse-Wishart prior with that mode):

    C_k = (N_k S_k + strength * C_parent) / (N_k + strength) + ridge * I

so that a component with few rows stays as wide as the place it came from, whatever the scale.
At the end components are merged, and the prior is relaxed, as long as the held-out rows gain;
`pool` is for the mixture that is chosen. Distances and moments are in `quadratics`.
"""

import math
from typing import NamedTuple

import torch

from skrae.mixtures.components import log_volume
from skrae.mixtures.quadratics import (
    log_kernels,
    row_columns,
    rows_at_once,
    unpacked_moments,
    weighted_moments,
)
from skrae.preprocessing.blocks import by_blocks, is_wide, n_matrices
from skrae.preprocessing.contract.work import breakable, check_time, ended_early
from skrae.preprocessing.rows import weighted_mean

MIN_ROWS = 2.0
# EM steps after which a stronger prior is validated.
POOLED_STEPS = 15
# EM steps after which another shape of the covariances is, and the nats that it must bring.
RESHAPE_STEPS, RESHAPE_GAIN = 5, 0.02
# The rows that a growth begins with, and those that each component is worth.
STAGE_ROWS, ROWS_PER_COMPONENT = 20_000, 128
# More components are neither merged, one by one, nor relaxed: many steps for little.
LARGE = 128


class Mixture(NamedTuple):
    """Weights (K,), means (K, d), covariances (K, d, d) and the prior covariances (K, d, d)."""

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor
    priors: torch.Tensor


class HeldOut(NamedTuple):
    """Held-out rows z (n, d), their weights (n,) and log densities (n,) below which none falls.

    The floor is what a tail will give them: no one row decides how a mixture grows.
    """

    z: torch.Tensor
    weights: torch.Tensor
    floor: torch.Tensor | None = None


class Settings(NamedTuple):
    """Regularisation of one growth: ridge on the diagonal, prior strength in rows, and a shape."""

    ridge: float
    strength: float
    shape: object = None  # of many columns: `FactorShape`, what covariances become

    @property
    def found(self):
        """What a growth may change of its settings: strength, rank and share."""
        shape = self.shape
        return self.strength, *((None, None) if shape is None else (shape.rank, shape.share))

    def changed(self, strength, rank, share):
        """The settings with what was `found`."""
        shape = self.shape and self.shape._replace(rank=rank, share=share)
        return self._replace(strength=strength, shape=shape)


def log_joint(mixture):
    """A function of `row_columns` of z -> log w_k N(z; mu_k, C_k), shape (K, n)."""
    factors = torch.linalg.cholesky(mixture.covariances)
    d = mixture.means.shape[1]
    constants = mixture.weights.log() - log_volume(factors) - 0.5 * d * math.log(2 * math.pi)
    return log_kernels(constants, mixture.means, factors)


def log_density(mixture, z):
    """log density of the mixture at each row of z, shape (n,)."""
    joint = log_joint(mixture)
    size = rows_at_once(*mixture.means.shape)
    return by_blocks(lambda rows: torch.logsumexp(joint(row_columns(rows)), 0), z, size=size)


def mean_log_density(mixture, held_out):
    """Mean log density of `HeldOut` rows, by which mixtures are validated."""
    z, weights, floor = HeldOut(*held_out)
    values = log_density(mixture, z)
    return weighted_mean(values if floor is None else torch.logaddexp(values, floor), weights)


def single_gaussian(z, weights, ridge):
    """The one-component mixture of weighted rows z (n, d)."""
    share = weights / weights.sum()
    mean = share @ z
    covariance = (z - mean).T @ (share[:, None] * (z - mean))
    covariance += ridge * torch.eye(z.shape[1], dtype=z.dtype)
    return Mixture(torch.ones_like(mean[:1]), mean[None], covariance[None], covariance[None])


def first_gaussian(rows, settings, prior=None):
    """The one-component mixture of a maximisation step with this prior covariance (d, d)."""
    if settings.shape is not None:
        mixture = single_gaussian(*rows, settings.ridge)
        covariances = settings.shape(mixture.covariances)
        return mixture._replace(covariances=covariances, priors=covariances)
    if prior is None:
        return single_gaussian(*rows, settings.ridge)
    mixture, n = single_gaussian(*rows, settings.ridge), float(rows[1].sum())
    share = n / (n + settings.strength)
    # The prior itself may be singular: that of collinear columns is.
    ridge = settings.ridge * torch.eye(len(prior), dtype=prior.dtype)
    covariance = share * mixture.covariances + (1.0 - share) * (prior + ridge)
    return mixture._replace(covariances=covariance, priors=prior[None])


def em_step(mixture, z, weights, settings):
    """One step of expectation-maximisation; components left with few rows are dropped."""
    joint, moments, d = log_joint(mixture), 0.0, z.shape[1]
    size = rows_at_once(len(mixture.weights), d)
    for rows, w in zip(z.split(size), weights.split(size), strict=True):
        check_time()
        columns = row_columns(rows)
        shares = torch.softmax(joint(columns), dim=0).mul_(w)
        moments = moments + weighted_moments(shares, columns, d)
    counts = moments.flatten(1)[:, 0]
    keep = counts >= min(MIN_ROWS, float(counts.max()))
    return maximise(moments[keep], mixture.priors[keep], settings)


def maximise(moments, priors, settings):
    """Mixture from its `weighted_moments`."""
    d = priors.shape[1]
    counts, means, second = unpacked_moments(moments, d)
    scatter = second - means[:, :, None] * means[:, None, :]
    shrink = (counts / (counts + settings.strength))[:, :, None]
    covariances = shrink * scatter + (1.0 - shrink) * priors
    if settings.shape is not None:
        covariances = settings.shape(covariances)
    covariances += settings.ridge * torch.eye(d, dtype=means.dtype)
    return Mixture(counts[:, 0] / counts.sum(), means, covariances, priors)


def split(mixture, generator):
    """Every component in two, moved apart along its longest axis and a little at random."""
    lengths, axes = torch.linalg.eigh(mixture.covariances)
    longest = axes[:, :, -1] * lengths[:, -1:].sqrt()
    noise = torch.randn(mixture.means.shape, generator=generator, dtype=longest.dtype)
    factors = axes * lengths.clamp_min(0.0).sqrt()[:, None, :]
    offset = 0.5 * longest + 0.3 * torch.einsum("kij,kj->ki", factors, noise)
    shrunk = mixture.covariances - 0.49 * longest[:, :, None] * longest[:, None, :]
    means = torch.cat([mixture.means + offset, mixture.means - offset])
    twice = torch.cat([shrunk, shrunk])
    return Mixture(torch.cat([mixture.weights, mixture.weights]) / 2, means, twice, twice)


def refine(mixture, rows, held_out, settings, max_steps=15, every=5):
    """EM until the held-out log density falls; the best on the way, its value and the last."""
    best_value, best = -math.inf, mixture
    for step in range(max_steps + 1):
        if step % every == 0:
            value = mean_log_density(mixture, held_out)
            if value < best_value - 0.02:
                break
            if value > best_value:
                best_value, best = value, mixture
        if step < max_steps:
            mixture = em_step(mixture, *rows, settings)
    return best_value, best, mixture


def merge_closest(mixture):
    """The mixture with one component less: the two that lose least by one Gaussian's moments.

    The loss is Runnalls' (2007) bound on the Kullback-Leibler divergence,
    [ (w_i + w_j) log|C_ij| - w_i log|C_i| - w_j log|C_j| ] / 2.
    """
    i, j = torch.triu_indices(len(mixture.weights), len(mixture.weights), offset=1)
    own = mixture.weights * log_volume(torch.linalg.cholesky(mixture.covariances))

    def loss(i, j):
        merged = _merged(mixture, i, j)
        volume = log_volume(torch.linalg.cholesky(merged.covariances))
        return merged.weights * volume - own[i] - own[j]

    best = int(by_blocks(loss, i, j, size=_pairs_at_once(mixture)).argmin())
    i, j = i[best : best + 1], j[best : best + 1]
    keep = torch.ones(len(mixture.weights), dtype=torch.bool)
    keep[i] = keep[j] = False
    pairs = zip(mixture, _merged(mixture, i, j), strict=True)
    return Mixture(*(torch.cat([old[keep], new]) for old, new in pairs))


def _pairs_at_once(mixture):
    """All pairs of few columns; of many as many as memory has room for."""
    d = mixture.means.shape[1]
    return n_matrices(d) if is_wide(d) else len(mixture.weights) ** 2


def _merged(mixture, i, j):
    """The moment-preserving union of components i and j, for index vectors i and j."""
    weights = mixture.weights[i] + mixture.weights[j]
    share = (mixture.weights[i] / weights)[:, None]
    means = share * mixture.means[i] + (1.0 - share) * mixture.means[j]
    apart = mixture.means[i] - mixture.means[j]
    between = (share * (1.0 - share))[:, :, None] * apart[:, :, None] * apart[:, None, :]
    within = [
        share[:, :, None] * c[i] + (1.0 - share)[:, :, None] * c[j]
        for c in (mixture.covariances, mixture.priors)
    ]
    return Mixture(weights, means, within[0] + between, within[1] + between)


def merge(mixture, value, rows, held_out, settings, patience=4):
    """Merge components until the held-out density no longer gains; (value, mixture) of the best."""
    current, worse = mixture, 0
    with breakable():
        while worse < patience and len(current.weights) > 1 and not ended_early():
            merged = merge_closest(current)
            fresh_value, current, _ = refine(merged, rows, held_out, settings)
            worse = worse + 1 if fresh_value < value else 0
            if fresh_value >= value:
                value, mixture = fresh_value, current
    return value, mixture


def relax(mixture, value, rows, held_out, settings, factor=4.0):
    """Weaken the prior while the held-out density gains; (value, mixture, settings) of the best."""
    with breakable():
        while settings.strength > 0.1 and not ended_early():
            weaker = settings._replace(strength=settings.strength / factor)
            fresh_value, fresh, _ = refine(mixture, rows, held_out, weaker)
            if fresh_value <= value:
                break
            value, mixture, settings = fresh_value, fresh, weaker
    return value, mixture, settings


def reshape(value, mixture, settings, rows, held_out):
    """Climb to other ranks and shares while the held-out density gains; what `relax` returns."""
    found = value, mixture, settings
    for name in ("rank", "share"):
        lower = _climbed(found, name, -1, rows, held_out)
        found = lower if lower is not found else _climbed(found, name, 1, rows, held_out)
    return found


def _climbed(found, name, step, rows, held_out):
    """`reshape` one way."""
    while True:
        value, mixture, settings = found
        shape = settings.shape.moved(name, step, len(rows[0]))
        if shape is None:
            return found
        settings = settings._replace(shape=shape)
        fresh_value, fresh, _ = refine(mixture, rows, held_out, settings, RESHAPE_STEPS)
        if fresh_value <= value + RESHAPE_GAIN:
            return found
        found = fresh_value, fresh, settings


def pool(mixture, value, rows, held_out, settings, factor=4.0, patience=2):
    """Shrink the covariances towards their mean while the held-out density gains.

    The prior of every component becomes the pooled covariance sum_k w_k C_k, ever stronger, so
    that components of one shape learn it from the rows of all. A single component is shrunk
    towards the prior that it has. (value, mixture, settings) of the best.
    """
    current, worse, best = mixture, 0, settings
    stronger = settings._replace(strength=factor * settings.strength)
    single = len(mixture.weights) == 1
    limit = len(rows[0]) * (factor**4 if single else 1.0)
    with breakable():
        while worse < patience and stronger.strength < limit and not ended_early():
            if not single:
                pooled = torch.einsum("k,kij->ij", current.weights, current.covariances)
                current = current._replace(priors=pooled.expand_as(current.covariances).clone())
            for _ in range(1 if single else POOLED_STEPS):
                current = em_step(current, *rows, stronger)
            fresh_value = mean_log_density(current, held_out)
            worse = worse + 1 if fresh_value <= value else 0
            if fresh_value > value:
                value, mixture, best = fresh_value, current, stronger
            stronger = stronger._replace(strength=factor * stronger.strength)
    return value, mixture, best


def settle(mixture, rows, settings, n_steps=3):
    """A few steps of EM on more rows than the mixture was grown with."""
    for _ in range(n_steps):
        mixture = em_step(mixture, *rows, settings)
    return mixture


def stage_rows(rows, n_components):
    """As many of the rows, first to last, as so many components are worth."""
    n = max(STAGE_ROWS, ROWS_PER_COMPONENT * n_components)
    return rows if n >= len(rows[0]) else tuple(part[:n] for part in rows)


def expand(rows, held_out, settings, generator, max_components=64, prior=None, patience=2):
    """The best of mixtures of 1, 2, 4, ... components; (value, mixture).

    The value is the mean log density of the held-out rows. `prior` (d, d) is the covariance that
    the first Gaussian is shrunk to. Rows beyond `STAGE_ROWS` must lie in random order: few
    components see the first of them alone.
    """
    mixture = first_gaussian(rows, settings, prior)
    best_value, best, worse = -math.inf, mixture, 0
    with breakable():
        while True:
            stage = stage_rows(rows, len(mixture.weights))
            value, candidate, mixture = refine(mixture, stage, held_out, settings)
            # One that drops all its new components is as good as before, for ever.
            worse = 0 if value > best_value else worse + 1
            if value > best_value:
                best_value, best = value, candidate
            size = len(mixture.weights)
            if worse >= patience or 2 * size > max_components or 4 * size > len(rows[0]):
                break
            mixture = split(mixture, generator)
    return best_value, best


def polish(mixture, value, rows, held_out, settings):
    """An expanded mixture merged and relaxed; (value, mixture, settings of the last steps)."""
    if len(mixture.weights) > LARGE:
        return value, mixture, settings
    rows = stage_rows(rows, len(mixture.weights))
    value, mixture = merge(mixture, value, rows, held_out, settings)
    found = relax(mixture, value, rows, held_out, settings)
    return found if settings.shape is None else reshape(*found, rows, held_out)
