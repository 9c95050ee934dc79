"""Choice of the base density on held-out rows: ridge, size, number of mixtures, width and tail.

One growth per ridge finds the regularisation; its covariances are pooled as far as the held-out
density gains; more growths, split at random, are averaged with it where they differ, because what
one of them imagines the others do not; the average is inflated and given a tail (`tails`).

Large tables bear large mixtures: one of hundreds of components is grown beside that of few, and it
is the first, averaged with others like it, where held-out rows clearly prefer it.

Small tables hang on what is held out. There each further growth holds out rows of its own, widths
and tails are judged by rows that the mixture in question has not seen, and at last every mixture
takes a few steps of EM on all rows.

Full rows have numbers and then the one-hots of categories (`Space.levels`). Of rows with holes
mixtures grow by what is observed; they are merged and pooled on rows completed by draws, whose
steps are ten times as fast, and take exact steps again at last.

Each growth is a part of the work that is done once. Where the work ends early, the choice is made
among the mixtures that are complete, or of the best size so far of the only one.
"""

import math
from copy import copy
from functools import partial
from typing import NamedTuple

import torch

from skrae.mixtures.growth import em
from skrae.mixtures.growth.em import LARGE, Settings, expand, polish, pool, pool_levels, stage_rows
from skrae.mixtures.growth.expectation import HeldOut, Mixture, log_density, mean_log_density
from skrae.mixtures.growth.factors import FactorShape
from skrae.mixtures.growth.holes.holed import completed
from skrae.mixtures.growth.tails import TAIL_WEIGHTS, compared, finish, log_density_at, tail_of
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import is_wide, n_matrices
from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.contract.seal import checksum
from skrae.preprocessing.contract.work import ended_early, recalled
from skrae.preprocessing.rows import WeightedRows, weighted_mean

FIRST_RIDGE, RIDGE_STEP, RIDGE_LIMITS = 1e-4, 100.0, (1e-6, 1.0)
# Of more rows wider ridges are not tried: they only take away what priors have left narrow.
RIDGE_ROWS = 4000
# Nats below which growths have found the same mixture: an average of them is itself again.
MIN_DISAGREEMENT = 0.0005
# Rows that are enough for a mixture that is a means to an end, and to be shown to one that is not.
QUICK_ROWS, MAX_ROWS = 10_000, 20_000
# Where growth may go on to more than `LARGE`: the components that choose the ridge, and the nats
# by which held-out rows must prefer more.
FEW_COMPONENTS, MIN_GAIN = 64, 0.1
# An average of large mixtures is for those to which the rows they were grown with are this many
# nats likelier than others, and all have no more components than that.
MIN_OPTIMISM, MAX_TOTAL = 0.1, 4096
# Of many columns: components for each multiple of the columns that the rows are, and the numbers in
# the covariances of all mixtures of an average.
COMPONENTS_PER_RATIO, MAX_WIDE = 2.0, 2**20
# What the strength of the prior, beside the usual, is tried at.
WEAKER = 1 / 8


class Space(NamedTuple):
    """What is known of working space, of d numbers, before there is a mixture."""

    blocks: object = None  # array (d,), the block of each axis
    wild: float = 0.0  # the share of the rows that are left to the tail
    covariance: torch.Tensor | None = None  # (d, d), that of the rows, shrunk where they are few
    final: torch.Tensor | None = None  # the same of the held-out rows too, where they are few
    axes: tuple | None = None  # of many columns: (d, d) from working space to them, and back
    levels: tuple = ()  # the number of levels of each categorical column


class Choice(NamedTuple):
    """The base density, one chosen likewise that has not seen the held-out rows, and all such."""

    density: MixtureDensity
    judged: MixtureDensity
    parts: tuple = ()  # of `Judged`: of each mixture that holds out rows of its own


class Growth(NamedTuple):
    """A grown mixture, its settings, and the rows it was grown with and judged by."""

    value: float
    mixture: Mixture
    settings: Settings
    rows: WeightedRows
    held_out: HeldOut

    def shrunk_to(self, prior):
        """The same with another prior, if it is a single Gaussian."""
        if len(self.mixture.weights) > 1:
            return self
        return self._replace(mixture=self.mixture._replace(priors=prior[None]))


def select_base(
    rows,
    held_out,
    generator,
    max_components=64,
    max_mixtures=4,
    space=None,
    folds=(),
    every=None,
):
    """The base density chosen for weighted rows (z, w) by its held-out mean log density.

    Parameters
    ----------
    rows, held_out : WeightedRows, of tensors or of `HoledRows`
    generator : torch.Generator
    max_components, max_mixtures : int
    space : Space, or None
    folds : sequence of index tensors into `rows`: what further growths hold out instead
    every : what has the `moments` of more rows than these, for the last steps; None for these

    Returns
    -------
    Choice
    """
    rows, held_out = _shuffled(rows, generator, MAX_ROWS), WeightedRows(*held_out)
    grower = _Grower(rows, held_out, space, generator, max_components)
    first, grower = _first_growth(grower, rows, held_out)
    first = grower.exact(first, rows, held_out)
    if grower.is_wide:
        max_mixtures = max(1, min(max_mixtures, MAX_WIDE // first.mixture.covariances.numel()))
    if folds and max_mixtures > 1:
        parts = [_other_part(rows, held_out, fold) for fold in folds[: max_mixtures - 1]]
        more = _complete(partial(grower.as_first, first, *part) for part in parts)
        groups = [[growth] for growth in (first, *more)]
    else:
        growths = _average(grower, first, max_mixtures)
        groups = [growths]
    last = _joined(rows, held_out) if every is None else WeightedRows(every, None)
    return Choice(
        *finish(groups, grower, lambda mixture, settings: em.settle(mixture, last, settings))
    )


def quick_base(rows, held_out, generator, max_components, space=None):
    """The same from one growth at the first ridge: a proposal need not be the best density."""
    rows = _first_rows(_shuffled(rows, generator, QUICK_ROWS), QUICK_ROWS)
    held_out = WeightedRows(*held_out)
    grower = _Grower(rows, held_out, space, generator, max_components)
    grow = grower.expanded if grower.is_wide else grower
    return Choice(*finish([[grow(rows, held_out, FIRST_RIDGE)]], grower)).judged


class _Grower:
    """Grows mixtures in one space: grower(rows, held_out, ridge) -> Growth."""

    def __init__(self, rows, held_out, space, generator, max_components):
        self.space, self.generator = space or Space(), generator
        n_rows, d = len(rows.z), _n_numbers(rows, self.space.levels)
        self.max_components, shape = max_components, None
        if is_wide(d):
            axes = self.space.axes
            shape = FactorShape.of_columns(d) if axes is None else FactorShape(*axes)
            shape = shape.chosen(*(_numbers(part, self.space.levels) for part in (rows, held_out)))
            limits = n_matrices(d), int(COMPONENTS_PER_RATIO * n_rows / d)
            self.max_components = max(1, min(max_components, *limits))
        levels = self.space.levels
        self.settings = Settings(FIRST_RIDGE, _strength(d, levels), shape, levels)
        self.tail = tail_of(rows, self.space, self.settings)
        self.tail_weights = [max(weight, self.space.wild) for weight in TAIL_WEIGHTS]

    def tail_of(self, growth, tail):
        """The tail by which held-out rows of a growth are judged: of many columns, one new to them.

        It is little below a Gaussian there, and has as many numbers to have learned from rows.
        """
        if not self.is_wide:
            return tail
        return tail_of(growth.rows, self.space._replace(blocks=tail.blocks), self.settings)

    @property
    def is_wide(self):
        """Whether covariances are given a shape."""
        return self.settings.shape is not None

    def of_at_most(self, max_components):
        """One that grows fewer components."""
        fewer = copy(self)
        fewer.max_components = min(max_components, self.max_components)
        return fewer

    def __call__(self, rows, held_out, ridge):
        return self.polished(self.expanded(rows, held_out, ridge))

    def with_settings(self, settings):
        """One of other settings."""
        other = copy(self)
        other.settings = settings
        return other

    def as_first(self, first, rows, held_out):
        """The `Growth` of other rows at the ridge of the first, as that was made."""
        if self.is_wide:
            return self.expanded(rows, held_out, first.settings.ridge)
        growth = _pooled(self(rows, held_out, first.settings.ridge))
        return self.exact(growth, rows, held_out)

    def beside(self, first):
        """Another `Growth` of the rows of the first, at its ridge."""
        rows, held_out = first.rows, WeightedRows(*first.held_out[:2])
        growth = self(rows, held_out, first.settings.ridge)
        return self.exact(growth, rows, held_out)

    def exact(self, growth, rows, held_out):
        """The growth after exact steps on rows with their holes; itself where there are none."""
        if isinstance(rows.z, torch.Tensor):
            return growth
        held_out, settings = self._with_floor(held_out), growth.settings
        some = stage_rows(rows, growth.mixture)

        def steps():
            return em.refine(growth.mixture, some, held_out, settings)[:2]

        value, mixture = self._recalled(steps)
        return Growth(value, Mixture(*mixture), settings, rows, held_out)

    def _with_floor(self, held_out):
        floor = log_density_at(self.tail, held_out.z) + math.log(TAIL_WEIGHTS[0])
        return HeldOut(held_out.z, held_out.weights, floor)

    def expanded(self, rows, held_out, ridge, patience=2):
        """A `Growth` that is neither merged nor relaxed; `patience` is that of `expand`."""
        held_out, settings = self._with_floor(held_out), self.settings._replace(ridge=ridge)
        limits = self.max_components, self.space.covariance
        parts = rows, held_out, settings, self.generator, *limits, patience
        key = self._key("expanded", rows, held_out, settings, *limits, patience)
        value, mixture = self._recalled(partial(expand, *parts), key)
        return Growth(value, Mixture(*mixture), settings, rows, held_out)

    def polished(self, growth):
        """The growth merged and relaxed."""
        value, mixture, settings, rows, held_out = growth
        rows = completed(rows, mixture, self.generator)
        polishing = partial(polish, mixture, value, rows, held_out, settings)
        key = self._key("polished", rows, held_out, settings, mixture, value)
        value, mixture, found = self._recalled(polishing, key)
        return Growth(value, Mixture(*mixture), settings.changed(*found), rows, held_out)

    def _recalled(self, compute, key=None):
        """A value, a mixture and settings, if any, without classes, as a journal takes them."""

        def plain():
            value, mixture, *settings = compute()
            return value, tuple(mixture), *(own.found for own in settings)

        return recalled(plain, self.generator, key)

    def _key(self, name, rows, held_out, settings, *others):
        """A checksum of all that a first growth of few rows depends on, None for other growths.

        That which judges a space may be the first of the base density too; not of rows with holes,
        nor where processes grow it together, each of which must take part.
        """
        are_full = all(isinstance(z, torch.Tensor) for z in (rows.z, held_out.z))
        if not are_full or len(rows.z) > QUICK_ROWS or settings.ridge != FIRST_RIDGE:
            return None
        parts = name, rows, held_out, settings, others, self.generator.get_state()
        return checksum(_arrays(parts)) if current().size == 1 else None


def _arrays(value):
    """The value, with lists for tuples and arrays for tensors, at any depth."""
    if isinstance(value, tuple):
        return [_arrays(part) for part in value]
    return value.numpy() if isinstance(value, torch.Tensor) else value


def _complete(growths):
    """The growths, of functions, up to the one in which the work ends early."""
    for grow in growths:
        if ended_early():
            return
        growth = grow()
        if not ended_early():
            yield growth


def _first_growth(grower, rows, held_out):
    """The `Growth` at the best ridge, pooled, and the grower of further ones."""
    if grower.is_wide:
        return _first_of_wide(grower, rows, held_out)
    if grower.max_components <= LARGE:
        return _pooled(_best_ridge(grower, rows, held_out)), grower
    few = grower.of_at_most(FEW_COMPONENTS)
    growth = _best_ridge(few, rows, held_out)
    if ended_early():
        return growth, few
    state = grower.generator.get_state()
    large = grower.expanded(rows, held_out, growth.settings.ridge)
    if _is_clearly_likelier(large, growth):
        return grower.polished(large), grower
    # As if there had been no trial.
    grower.generator.set_state(state)
    return _pooled(growth), few


def _first_of_wide(grower, rows, held_out):
    """The same of many columns: further growths are about as large and of the same shape.

    Of many rows a few choose settings, and all grow the mixture.
    """
    some = rows if len(rows.z) <= MAX_ROWS else _first_rows(rows, QUICK_ROWS)
    best = grower.expanded(some, held_out, FIRST_RIDGE)
    weaker = {"strength": WEAKER * grower.settings.strength}
    for change in weaker, {"shape": grower.settings.shape._replace(rank=0)}:
        if ended_early():
            break
        fresh = grower.with_settings(best.settings._replace(**change))
        best = max(best, fresh.expanded(some, held_out, FIRST_RIDGE), key=lambda g: g.value)
    if some is not rows and not ended_early():
        settled = grower.with_settings(best.settings)
        whole = settled.expanded(rows, held_out, FIRST_RIDGE, patience=1)
        best = max(best, whole, key=lambda g: g.value)
    best = grower.polished(best)
    largest = 2 * len(best.mixture.weights) - 1
    return best, grower.with_settings(best.settings).of_at_most(largest)


def _strength(n_numbers, levels):
    """What priors count at first, in rows: two for each number and one for each category."""
    return 2.0 * n_numbers + len(levels)


def _is_clearly_likelier(growth, other):
    z, weights, _ = growth.held_out
    gain, error = compared(*(log_density(g.mixture, z) for g in (growth, other)), weights)
    return gain > max(MIN_GAIN, 2.0 * error)


def _is_large(growth):
    return len(growth.mixture.weights) > LARGE


def _best_ridge(grower, rows, held_out):
    """The `Growth` at the best ridge, climbing from the first both ways.

    The second way, to wider ones, is left out where the first one gained or rows are many; not of
    rows with holes, which say so little of a ridge that one may gain by chance.
    """
    best, is_full = grower(rows, held_out, FIRST_RIDGE), isinstance(rows.z, torch.Tensor)
    for factor in (1.0 / RIDGE_STEP, RIDGE_STEP):
        has_gained = best.settings.ridge != FIRST_RIDGE
        if factor > 1.0 and is_full and (has_gained or len(rows.z) > RIDGE_ROWS):
            break
        ridge = FIRST_RIDGE * factor
        while 0.99 * RIDGE_LIMITS[0] < ridge < 1.01 * RIDGE_LIMITS[1] and not ended_early():
            fresh = grower(rows, held_out, ridge)
            if fresh.value <= best.value:
                break
            best, ridge = fresh, ridge * factor
    return best


def _pooled(growth):
    """The growth with covariances, and level probabilities, pooled as held-out rows prefer."""
    before = growth.settings
    strength = _strength(growth.mixture.means.shape[1], before.levels)
    share = before.level_strength / strength
    settings = Settings(before.ridge, strength, levels=before.levels, level_share=share)
    rows, held_out = stage_rows(growth.rows, growth.mixture), growth.held_out
    value, mixture, settings = pool(growth.mixture, growth.value, rows, held_out, settings)
    value, mixture, settings = pool_levels(mixture, value, rows, held_out, settings)
    if mixture is growth.mixture:
        return growth
    return growth._replace(value=value, mixture=mixture, settings=settings)


def _other_part(rows, held_out, fold):
    """(rows, held out) where the rows of the fold are held out instead."""
    kept = torch.ones(len(rows.z), dtype=torch.bool)
    kept[fold] = False
    inside = WeightedRows(rows.z[kept], rows.weights[kept])
    return _joined(inside, held_out), WeightedRows(rows.z[fold], rows.weights[fold])


def _joined(rows, others):
    """Both, one after the other."""
    weights = torch.cat([rows.weights, others.weights])
    if isinstance(rows.z, torch.Tensor):
        return WeightedRows(torch.cat([rows.z, others.z]), weights)
    return WeightedRows(rows.z.joined(others.z), weights)


def _shuffled(rows, generator, n_first):
    """The rows in random order, where only the first of them are seen now and then."""
    z, weights = rows = WeightedRows(*rows)
    if len(z) <= n_first:
        return rows
    index = torch.randperm(len(z), generator=generator)
    return WeightedRows(z[index], weights[index])


def _n_numbers(rows, levels):
    return rows.z.shape[1] - sum(levels)


def _numbers(rows, levels):
    """The rows without their one-hots."""
    return WeightedRows(rows.z[:, : _n_numbers(rows, levels)], rows.weights)


def _first_rows(rows, n_first):
    return WeightedRows(*(part[:n_first] for part in rows))


def _average(grower, first, max_mixtures):
    """As many growths as differ: the average of their mixtures errs less than one of them."""
    z_out, w_out, _ = first.held_out
    growths, values = [first], [log_density(first.mixture, z_out)]
    if _is_large(first):
        max_mixtures = min(max_mixtures, MAX_TOTAL // len(first.mixture.weights))
        if _optimism(first) < MIN_OPTIMISM:
            return growths
    while len(growths) < max_mixtures and len(first.mixture.weights) > 1:
        n_fresh = min(len(growths), max_mixtures - len(growths))
        fresh = list(_complete(partial(grower.beside, first) for _ in range(n_fresh)))
        if ended_early():
            break
        more = [log_density(growth.mixture, z_out) for growth in fresh]
        if not _helps(values, more, w_out):
            break
        growths, values = growths + fresh, values + more
    return growths


def _optimism(growth):
    """By how much rows that it was grown with are more likely than the held-out ones."""
    seen = _first_rows(growth.rows, MAX_ROWS)
    return mean_log_density(growth.mixture, HeldOut(*seen)) - growth.value


def _helps(values, more, weights):
    """Whether the average of all mixtures is worth it, by their held-out log densities.

    log(mean p) - mean(log p) is the disagreement of the mixtures, which averaging removes from
    the expected error of each. Where there is some, the average is taken unless it is worse than
    fewer of them by more than the held-out rows' standard error.
    """
    every = values + more
    average = _log_mean(every)
    disagreement = weighted_mean(average - torch.stack(every).mean(0), weights)
    gain, error = compared(average, _log_mean(values), weights)
    return disagreement > MIN_DISAGREEMENT and gain > -error


def _log_mean(values):
    return torch.logsumexp(torch.stack(values), dim=0) - math.log(len(values))
