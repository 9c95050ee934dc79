"""Choice of the base density on held-out rows: ridge, size, number of mixtures, width, tail.

One growth per ridge finds the regularisation; its covariances are pooled as far as the held-out
density gains; more growths, split at random, are averaged with it where they differ, because what
one of them imagines the others do not; the average is inflated and given a wide Student-t
component, so that no row, however far, is infinitely surprising.
"""

import math

import torch

from skrae.mixtures.em import Settings, grow, log_density, pool, single_gaussian
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.rows import weighted_mean

FIRST_RIDGE, RIDGE_STEP, RIDGE_LIMITS = 1e-4, 100.0, (1e-6, 1.0)
INFLATIONS = (1.0, 1.05, 1.1, 1.2, 1.3)
TAIL_DOF = 3.0
TAIL_WEIGHTS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1)
# Nats below which growths have found the same mixture: an average of them is itself again.
MIN_DISAGREEMENT = 0.0005
MAX_ROWS = 20_000


def select_base(rows, held_out, generator, max_components=64, max_mixtures=4):
    """The base density chosen for weighted rows (z, w) by its held-out mean log density.

    Returns
    -------
    MixtureDensity
    """
    rows = _subsample(rows, generator)
    value, first, settings = _best_ridge(rows, held_out, generator, max_components)
    _, first = pool(first, value, rows, held_out, settings)
    mixtures = _average(first, settings, rows, held_out, generator, max_components, max_mixtures)
    return _finish(mixtures, single_gaussian(*rows, settings.ridge), held_out)


def quick_base(rows, held_out, generator, max_components):
    """The same from one growth at the first ridge: a proposal need not be the best density."""
    settings = Settings(FIRST_RIDGE, 2.0 * rows[0].shape[1])
    _, mixture = grow(rows, held_out, settings, generator, max_components)
    return _finish([mixture], single_gaussian(*rows, settings.ridge), held_out)


def _best_ridge(rows, held_out, generator, max_components):
    """(held-out value, mixture, settings) at the best ridge, climbing from the first both ways."""

    def candidate(ridge):
        settings = Settings(ridge, 2.0 * rows[0].shape[1])
        return *grow(rows, held_out, settings, generator, max_components), settings

    best = candidate(FIRST_RIDGE)
    for factor in (1.0 / RIDGE_STEP, RIDGE_STEP):
        ridge = best[2].ridge * factor
        while 0.99 * RIDGE_LIMITS[0] < ridge < 1.01 * RIDGE_LIMITS[1]:
            fresh = candidate(ridge)
            if fresh[0] <= best[0]:
                break
            best, ridge = fresh, ridge * factor
        if best[2].ridge != FIRST_RIDGE:
            break
    return best


def _subsample(rows, generator):
    z, weights = rows
    if len(z) <= MAX_ROWS:
        return rows
    index = torch.randperm(len(z), generator=generator)[:MAX_ROWS]
    return z[index], weights[index]


def _average(first, settings, rows, held_out, generator, max_components, max_mixtures):
    """As many mixtures as differ: their average errs less than one of them."""
    z_out, w_out = held_out
    mixtures, values = [first], [log_density(first, z_out)]
    while len(mixtures) < max_mixtures and len(first.weights) > 1:
        n_fresh = min(len(mixtures), max_mixtures - len(mixtures))
        fresh = [
            grow(rows, held_out, settings, generator, max_components)[1] for _ in range(n_fresh)
        ]
        more = [log_density(m, z_out) for m in fresh]
        if not _helps(values, more, w_out):
            break
        mixtures, values = mixtures + fresh, values + more
    return mixtures


def _helps(values, more, weights):
    """Whether the average of all mixtures is worth it, by their held-out log densities.

    log(mean p) - mean(log p) is the disagreement of the mixtures, which averaging removes from
    the expected error of each. Where there is some, the average is taken unless it is worse than
    fewer of them by more than the held-out rows' standard error.
    """
    every = values + more
    average = _log_mean(every)
    disagreement = weighted_mean(average - torch.stack(every).mean(0), weights)
    gain, error = _compared(average, _log_mean(values), weights)
    return disagreement > MIN_DISAGREEMENT and gain > -error


def _log_mean(values):
    return torch.logsumexp(torch.stack(values), dim=0) - math.log(len(values))


def _compared(first, second, weights):
    """Weighted mean of the differences of two held-out log densities, and its standard error."""
    share, difference = weights / weights.sum(), first - second
    mean = float(share @ difference)
    return mean, float((share.square() @ (difference - mean).square()).sqrt())


def _finish(mixtures, tail, held_out):
    """The average, inflated and with a tail, each the best of a few on the held-out rows."""
    z, w = held_out
    weights = torch.cat([m.weights for m in mixtures]) / len(mixtures)
    means = torch.cat([m.means for m in mixtures])
    factors = torch.linalg.cholesky(torch.cat([m.covariances for m in mixtures]))
    wide, gaussian = torch.linalg.cholesky(tail.covariances)[0], torch.full_like(weights, math.inf)

    def build(inflation, tail_weight):
        inner = MixtureDensity(weights, means, factors * math.sqrt(inflation), gaussian)
        return inner.with_tail(tail_weight, tail.means[0], wide, TAIL_DOF)

    def value(density):
        return weighted_mean(density.log_density(z), w)

    inflation = _inflation([build(s, TAIL_WEIGHTS[0]).log_density(z) for s in INFLATIONS], w)
    weight = max(TAIL_WEIGHTS, key=lambda t: value(build(inflation, t)))
    return build(inflation, weight)


def _inflation(values, weights):
    """The smallest inflation within half a standard error of the best on the held-out rows."""
    best = max(values, key=lambda value: weighted_mean(value, weights))
    losses = [_compared(best, value, weights) for value in values]
    return next(
        s for s, (loss, error) in zip(INFLATIONS, losses, strict=True) if loss <= 0.5 * error
    )
