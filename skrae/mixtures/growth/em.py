"""Weighted expectation-maximisation for Gaussian mixtures that grow by splitting.

Every component is split along its longest axis, refined by EM, and split again. A child's
covariance is shrunk towards its parent's (an inverse-Wishart prior with that mode):

    C_k = (N_k S_k + strength * C_parent) / (N_k + strength) + ridge * I

so that a component with few rows stays as wide as the place it came from, whatever the scale. Rows
may have one-hots of categories beside their numbers: a component has level probabilities besides,
shrunk likewise (`levels`).
At the end components are merged, and the prior is relaxed, as long as the held-out rows gain;
`pool` is for the mixture that is chosen. Densities and moments are in `expectation`.
"""

import math
from typing import NamedTuple

import torch

from skrae.mixtures.components import log_volume
from skrae.mixtures.growth.expectation import Mixture, mean_log_density, shared_moments
from skrae.mixtures.growth.levels import divergence, frequencies, shrunk, tilted
from skrae.mixtures.growth.nearest import MIN_COMPONENTS, MIN_ROWS_OF_FEW, Nearest
from skrae.mixtures.quadratics import level_counts, unpacked_moments
from skrae.preprocessing.blocks import block_rows, by_blocks, is_wide, n_matrices
from skrae.preprocessing.contract.work import breakable, ended_early

MIN_ROWS = 2.0
# EM steps after which a stronger prior is validated.
POOLED_STEPS = 15
# EM steps after a merger, and where one takes long, of many columns.
MERGE_STEPS, FEW_MERGE_STEPS = 15, 5
# Nats that a mixture of few columns may be below the best and be merged further: the loss of a
# cluster is no overfitting, and no further merger makes up for it.
HOPELESS = 0.5
# EM steps after which another shape of the covariances is, and the nats that it must bring.
RESHAPE_STEPS, RESHAPE_GAIN = 5, 0.02
# The rows that a growth begins with, and those that a component is worth: at least, and for each
# column.
STAGE_ROWS, ROWS_PER_COMPONENT, ROWS_PER_COLUMN = 20_000, 128, 16
# More components are neither merged, one by one, nor relaxed: many steps for little; of few columns
# and of many.
LARGE, LARGE_WIDE = 128, 64


class Settings(NamedTuple):
    """Regularisation of one growth: ridge on the diagonal, prior strength in rows, and a shape."""

    ridge: float
    strength: float
    shape: object = None  # of many columns: `FactorShape`, what covariances become
    levels: tuple = ()  # the number of levels of each categorical column
    level_share: float = 1.0  # of the strength: that of the prior of levels

    @property
    def level_strength(self):
        """Prior strength of level probabilities, in rows."""
        return self.level_share * self.strength

    @property
    def found(self):
        """What a growth may change of its settings: strength, rank and share."""
        shape = self.shape
        return self.strength, *((None, None) if shape is None else (shape.rank, shape.share))

    def changed(self, strength, rank, share):
        """The settings with what was `found`."""
        shape = self.shape and self.shape._replace(rank=rank, share=share)
        return self._replace(strength=strength, shape=shape)

    def stronger(self, factor):
        """The settings with that much of the prior of covariances, and the same of levels."""
        return self._replace(strength=factor * self.strength, level_share=self.level_share / factor)


def single_gaussian(rows, weights, ridge, levels=()):
    """The one-component mixture of weighted rows (n, d + D), completed where they have holes."""
    rows = rows if isinstance(rows, torch.Tensor) else rows.full
    d = rows.shape[1] - sum(levels)
    z, share = rows[:, :d], weights / weights.sum()
    mean = share @ z
    covariance = (z - mean).T @ (share[:, None] * (z - mean))
    covariance += ridge * torch.eye(d, dtype=z.dtype)
    own = 2 * [frequencies(rows[:, d:], weights, levels)[None]] if levels else ()
    return Mixture(torch.ones_like(mean[:1]), mean[None], covariance[None], covariance[None], *own)


def first_gaussian(rows, settings, prior=None):
    """The one-component mixture of a maximisation step with this prior covariance (d, d)."""
    mixture = single_gaussian(*rows, settings.ridge, settings.levels)
    if settings.shape is not None:
        covariances = settings.shape(mixture.covariances)
        return mixture._replace(covariances=covariances, priors=covariances)
    if prior is None:
        return mixture
    n = float(rows[1].sum())
    share = n / (n + settings.strength)
    # The prior itself may be singular: that of collinear columns is.
    ridge = settings.ridge * torch.eye(len(prior), dtype=prior.dtype)
    covariance = share * mixture.covariances + (1.0 - share) * (prior + ridge)
    return mixture._replace(covariances=covariance, priors=prior[None])


def em_step(mixture, z, weights, settings, nearest=None):
    """One step of expectation-maximisation; components left with few rows are dropped.

    With `Nearest` rows may have shares in a few components alone.
    """
    moments = shared_moments(mixture, z, weights, nearest)
    counts = moments.flatten(1)[:, 0]
    keep = counts >= min(MIN_ROWS, float(counts.max()))
    if nearest and not keep.all():
        nearest.forget()
    level_priors = None if mixture.levels is None else mixture.level_priors[keep]
    return maximise(moments[keep], mixture.priors[keep], settings, level_priors)


def maximise(moments, priors, settings, level_priors=None):
    """Mixture from its `weighted_moments`."""
    d = priors.shape[1]
    counts, means, second = unpacked_moments(moments, d)
    scatter = second - means[:, :, None] * means[:, None, :]
    shrink = (counts / (counts + settings.strength))[:, :, None]
    covariances = shrink * scatter + (1.0 - shrink) * priors
    if settings.shape is not None:
        covariances = settings.shape(covariances)
    covariances += settings.ridge * torch.eye(d, dtype=means.dtype)
    mixture = Mixture(counts[:, 0] / counts.sum(), means, covariances, priors)
    if level_priors is None:
        return mixture
    own = level_counts(moments, d), level_priors, settings.level_strength, settings.levels
    return mixture._replace(levels=shrunk(*own), level_priors=level_priors)


def split(mixture, generator, levels=()):
    """Every component in two, moved apart along its longest axis and a little at random.

    So are the level probabilities of `levels`: a table may be clustered by categories alone.
    """
    lengths, axes = torch.linalg.eigh(mixture.covariances)
    longest = axes[:, :, -1] * lengths[:, -1:].sqrt()
    noise = torch.randn(mixture.means.shape, generator=generator, dtype=longest.dtype)
    factors = axes * lengths.clamp_min(0.0).sqrt()[:, None, :]
    offset = 0.5 * longest + 0.3 * torch.einsum("kij,kj->ki", factors, noise)
    narrowed = mixture.covariances - 0.49 * longest[:, :, None] * longest[:, None, :]
    means = torch.cat([mixture.means + offset, mixture.means - offset])
    twice = torch.cat([narrowed, narrowed])
    own = ()
    if levels:
        children = tilted(mixture.levels, levels, generator)
        own = torch.cat(children), torch.cat([mixture.levels, mixture.levels])
    return Mixture(torch.cat([mixture.weights, mixture.weights]) / 2, means, twice, twice, *own)


def refine(mixture, rows, held_out, settings, max_steps=15, every=5):
    """EM until the held-out log density falls; the best on the way, its value and the last."""
    best_value, best = -math.inf, mixture
    nearest = _nearest(mixture, rows, settings)
    for step in range(max_steps + 1):
        if step % every == 0:
            if nearest:
                nearest.forget()
            value = mean_log_density(mixture, held_out)
            if value < best_value - 0.02:
                break
            if value > best_value:
                best_value, best = value, mixture
        if step < max_steps:
            mixture = em_step(mixture, *rows, settings, nearest)
    return best_value, best, mixture


def _nearest(mixture, rows, settings):
    """`Nearest` of many components in many columns, and of many rows; None for others.

    Rows that are no tensor are more than are held in memory.
    """
    has_many = not isinstance(rows[0], torch.Tensor) or len(rows[0]) >= MIN_ROWS_OF_FEW
    is_large = settings.shape is not None and len(mixture.weights) >= MIN_COMPONENTS
    return Nearest() if has_many and is_large else None


def merge_closest(mixture):
    """The mixture with one component less: the two that lose least by one Gaussian's moments.

    The loss is Runnalls' (2007) bound on the Kullback-Leibler divergence,
    [ (w_i + w_j) log|C_ij| - w_i log|C_i| - w_j log|C_j| ] / 2,
    and w_i KL(pi_i | pi_ij) + w_j KL(pi_j | pi_ij) of levels, which it adds to exactly.
    """
    i, j = torch.triu_indices(len(mixture.weights), len(mixture.weights), offset=1)
    own = mixture.weights * log_volume(torch.linalg.cholesky(mixture.covariances))

    def loss(i, j):
        merged = _merged(mixture, i, j)
        volume = log_volume(torch.linalg.cholesky(merged.covariances))
        lost = merged.weights * volume - own[i] - own[j]
        return lost if mixture.levels is None else lost + _lost_levels(mixture, merged, i, j)

    best = int(by_blocks(loss, i, j, size=_pairs_at_once(mixture)).argmin())
    i, j = i[best : best + 1], j[best : best + 1]
    keep = torch.ones(len(mixture.weights), dtype=torch.bool)
    keep[i] = keep[j] = False
    pairs = zip(mixture, _merged(mixture, i, j), strict=True)
    joined = (None if old is None else torch.cat([old[keep], new]) for old, new in pairs)
    return Mixture(*joined)


def _lost_levels(mixture, merged, i, j):
    """What a merger loses of the level probabilities of the pairs, (m,)."""
    parts = (mixture.weights[k] * divergence(mixture.levels[k], merged.levels) for k in (i, j))
    return sum(parts)


def _pairs_at_once(mixture):
    """All pairs of few columns; of many columns or levels as many as memory has room for."""
    d, most = mixture.means.shape[1], len(mixture.weights) ** 2
    if mixture.levels is not None:
        most = min(most, block_rows(mixture.levels.shape[1]))
    return min(most, n_matrices(d)) if is_wide(d) else most


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
    own = mixture.levels, mixture.level_priors
    own = (p if p is None else share * p[i] + (1.0 - share) * p[j] for p in own)
    return Mixture(weights, means, within[0] + between, within[1] + between, *own)


def merge(mixture, value, rows, held_out, settings, patience=4):
    """Merge components until the held-out density no longer gains; (value, mixture) of the best."""
    current, worse, few_columns = mixture, 0, settings.shape is None
    n_steps = MERGE_STEPS if few_columns else FEW_MERGE_STEPS
    with breakable():
        while worse < patience and len(current.weights) > 1 and not ended_early():
            merged = merge_closest(current)
            fresh_value, current, _ = refine(merged, rows, held_out, settings, n_steps)
            worse = worse + 1 if fresh_value < value else 0
            if fresh_value >= value:
                value, mixture = fresh_value, current
            elif few_columns and fresh_value < value - HOPELESS:
                break
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


def pool(mixture, value, rows, held_out, settings, factor=4.0):
    """Shrink the covariances towards their mean while the held-out density gains.

    The prior of every component becomes the pooled covariance sum_k w_k C_k, ever stronger, so
    that components of one shape learn it from the rows of all. A single component is shrunk
    towards the prior that it has. (value, mixture, settings) of the best.
    """
    single = len(mixture.weights) == 1
    limit = len(rows[0]) * (factor**4 if single else 1.0)

    def stronger(settings):
        settings = settings.stronger(factor)
        return settings if settings.strength < limit else None

    def pooled(mixture):
        own = torch.einsum("k,kij->ij", mixture.weights, mixture.covariances)
        return mixture._replace(priors=own.expand_as(mixture.covariances).clone())

    found = value, mixture, settings
    if single:
        return _shrunk_ever_more(found, rows, held_out, stronger, lambda mixture: mixture, 1)
    return _shrunk_ever_more(found, rows, held_out, stronger, pooled, POOLED_STEPS)


def pool_levels(mixture, value, rows, held_out, settings, factor=4.0):
    """The same of level probabilities: categories may be independent of the components."""

    def stronger(settings):
        settings = settings._replace(level_share=factor * settings.level_share)
        return settings if settings.level_strength < len(rows[0]) else None

    def pooled(mixture):
        own = mixture.weights @ mixture.levels
        return mixture._replace(level_priors=own.expand_as(mixture.levels).clone())

    found = value, mixture, settings
    if mixture.levels is None or len(mixture.weights) == 1:
        return found
    return _shrunk_ever_more(found, rows, held_out, stronger, pooled, POOLED_STEPS)


def _shrunk_ever_more(found, rows, held_out, stronger, pooled, n_steps, patience=2):
    """The best (value, mixture, settings) of stronger settings, until held-out rows like less.

    Parameters
    ----------
    found : value, mixture and settings to begin with
    stronger : callable from settings to the next ones, or None where there are none
    pooled : callable from a mixture to one of other priors
    """
    (value, current, settings), worse = found, 0
    settings = stronger(settings)
    with breakable():
        while worse < patience and settings is not None and not ended_early():
            current = pooled(current)
            for _ in range(n_steps):
                current = em_step(current, *rows, settings)
            fresh_value = mean_log_density(current, held_out)
            worse = worse + 1 if fresh_value <= value else 0
            if fresh_value > value:
                value, found = fresh_value, (fresh_value, current, settings)
            settings = stronger(settings)
    return found


def settle(mixture, rows, settings, n_steps=3):
    """A few steps of EM on more rows than the mixture was grown with."""
    nearest = _nearest(mixture, rows, settings)
    for _ in range(n_steps):
        mixture = em_step(mixture, *rows, settings, nearest)
    return mixture


def stage_rows(rows, mixture):
    """As many of the rows, first to last, as the components are worth."""
    n_components, d = mixture.means.shape
    n = max(STAGE_ROWS, n_components * max(ROWS_PER_COMPONENT, ROWS_PER_COLUMN * d))
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
            stage = stage_rows(rows, mixture)
            value, candidate, mixture = refine(mixture, stage, held_out, settings)
            # One that drops all its new components is as good as before, for ever.
            worse = 0 if value > best_value else worse + 1
            if value > best_value:
                best_value, best = value, candidate
            size = len(mixture.weights)
            if worse >= patience or 2 * size > max_components or 4 * size > len(rows[0]):
                break
            mixture = split(mixture, generator, settings.levels)
    return best_value, best


def polish(mixture, value, rows, held_out, settings):
    """An expanded mixture merged and relaxed; (value, mixture, settings of the last steps)."""
    if len(mixture.weights) > (LARGE if settings.shape is None else LARGE_WIDE):
        return value, mixture, settings
    rows = stage_rows(rows, mixture)
    value, mixture = merge(mixture, value, rows, held_out, settings)
    found = relax(mixture, value, rows, held_out, settings)
    return found if settings.shape is None else reshape(*found, rows, held_out)
