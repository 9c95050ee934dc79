"""A mixture as a base density: inflated and with a wide Student-t component.

As little of either as held-out rows let tell: no row, however far, is infinitely surprising.
"""

import math
from functools import cache, partial
from typing import NamedTuple

import torch

from skrae.mixtures.growth.em import first_gaussian
from skrae.mixtures.growth.expectation import log_density
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.contract.work import breakable, ended_early
from skrae.preprocessing.rows import WeightedRows, first_as_good, mean_and_error

INFLATIONS = (1.0, 1.05, 1.1, 1.2, 1.3)
# Of many columns, whose squared distances vary less: what a twentieth would be too much for is not
# left to the tail.
WIDE_INFLATIONS = (1.0, 1.01, 1.02, 1.035, *INFLATIONS[1:])
TAIL_DOF = 3.0
# Of the covariance of the rows: a t of three degrees of freedom has thrice its scale matrix.
TAIL_SCALE = 0.5
TAIL_WEIGHTS = (1e-3, 3e-3, 1e-2, 3e-2, 0.1)


class Judged(NamedTuple):
    """A density, the rows it was fitted to and rows that it has not seen but was chosen by."""

    density: MixtureDensity
    rows: WeightedRows
    held_out: WeightedRows


def tail_of(rows, space, settings):
    """The t component, as a density of its own: narrower than the rows, its tails are wider."""
    gaussian = first_gaussian(rows, settings, space.covariance)
    covariance = gaussian.covariances.clone()
    if space.blocks is not None:
        blocks = torch.as_tensor(space.blocks)
        covariance[0, blocks[:, None] != blocks] = 0.0
    factors = torch.linalg.cholesky(TAIL_SCALE * covariance)
    means = _with_levels(gaussian)
    return MixtureDensity([1.0], means, factors, [TAIL_DOF], space.blocks, space.levels)


def finish(groups, grower, settle=None):
    """The average, inflated and with a tail: as little of either as held-out rows let tell.

    Parameters
    ----------
    groups : list of lists of Growth; each group is judged by the held-out rows of its first
    grower : _Grower of what is known of the space, and of the tail
    settle : callable (mixture, settings) -> mixture, the steps that all take at last, or None

    Returns
    -------
    The parts of `skrae.mixtures.growth.selection.Choice`.
    """
    held_out = [group[0].held_out for group in groups]
    weights = torch.cat([part.weights for part in held_out])

    def inner(inflation):
        pairs = zip(groups, held_out, strict=True)
        return torch.cat([_inflated(own, part.z, grower, inflation) for own, part in pairs])

    @cache
    def far(tail):
        tails = [grower.tail_of(group[0], tail) for group in groups]
        pairs = zip(tails, held_out, strict=True)
        return torch.cat([log_density_at(own, part.z) for own, part in pairs])

    def with_tail(values, tail, weight):
        return torch.logaddexp(values + math.log1p(-weight), far(tail) + math.log(weight))

    least = grower.tail_weights[0]
    inflations = WIDE_INFLATIONS if grower.is_wide else INFLATIONS
    inflation, tail, weight = inflations[0], grower.tail, least
    with breakable():
        values = [inner(s) for s in inflations]
        place = first_as_good([with_tail(v, grower.tail, least) for v in values], weights)
        inflation = inflations[place]
        tail, weight = _best_tail(grower, partial(with_tail, values[place]), weights)

    def finished(growths):
        density = _mixed(growths, grower.space.levels, inflation, tail.blocks)
        return density.with_tail(weight, tail.means[0], tail.factors[0], TAIL_DOF)

    parts = tuple(
        Judged(finished(group), group[0].rows, WeightedRows(*group[0].held_out[:2]))
        for group in groups
    )
    judged, growths = parts[0].density, [growth for group in groups for growth in group]
    if settle is None:
        return judged, judged, parts
    if all(len(growth.mixture.weights) == 1 for growth in growths):
        growths = growths[:1]
    if grower.space.final is not None and not grower.is_wide:
        growths = [growth.shrunk_to(grower.space.final) for growth in growths]
    return finished([_settled(growth, settle) for growth in growths]), judged, parts


def log_density_at(density, z):
    """log q of a `MixtureDensity` at rows, (n,): of what is observed of `HoledRows`."""
    return density.log_density(z) if isinstance(z, torch.Tensor) else z.log_density(density)


def _inflated(growths, z, grower, inflation):
    """log densities (n,) of the average of mixtures, all covariances inflated."""
    if isinstance(z, torch.Tensor):
        return _mixed(growths, grower.space.levels, inflation).log_density(z)
    mixtures = (growth.mixture for growth in growths)
    wider = (m._replace(covariances=inflation * m.covariances) for m in mixtures)
    values = torch.stack([log_density(mixture, z) for mixture in wider])
    return torch.logsumexp(values, 0) - math.log(len(growths))


def _settled(growth, settle):
    """The growth after its last steps, if there is time."""
    with breakable():
        if not ended_early():
            return growth._replace(mixture=settle(growth.mixture, growth.settings))
    return growth


def _best_tail(grower, values, weights):
    """The tail and its weight: of one block where held-out rows are far along several at once.

    Parameters
    ----------
    grower : _Grower, whose tail is that by blocks
    values : callable(tail, weight) -> held-out log densities (n,)
    weights : tensor of shape (n,)
    """
    tail, found = grower.tail, []
    joint = MixtureDensity(*tail.arrays()[:4], levels=tail.levels)
    for candidate in (tail, joint) if tail.block_axes.shape[1] > 1 else (tail,):
        each = [values(candidate, weight) for weight in grower.tail_weights]
        place = first_as_good(each, weights)
        found.append((candidate, grower.tail_weights[place], each[place]))
    gain, error = compared(found[-1][2], found[0][2], weights)
    return found[-1 if gain > error else 0][:2]


def _mixed(growths, levels, inflation, blocks=None):
    """The average of mixtures, all covariances inflated."""
    mixtures = [growth.mixture for growth in growths]
    weights = torch.cat([m.weights for m in mixtures]) / len(mixtures)
    means = torch.cat([_with_levels(m) for m in mixtures])
    factors = torch.linalg.cholesky(inflation * torch.cat([m.covariances for m in mixtures]))
    dofs = torch.full_like(weights, math.inf)
    return MixtureDensity(weights, means, factors, dofs, blocks, levels)


def _with_levels(mixture):
    """Means with their level probabilities, (K, d + D)."""
    own = (mixture.means, mixture.levels)
    return torch.cat([part for part in own if part is not None], dim=1)


def compared(first, second, weights):
    """Weighted mean of the differences of two held-out log densities, and its standard error."""
    return mean_and_error(first - second, weights)
