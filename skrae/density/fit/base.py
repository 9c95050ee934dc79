"""The base density of a fit: the split of the rows, working space, and the mixture there."""

import numpy as np
import torch

from skrae.density.columns.working_space import (
    MAX_FOLDS,
    WorkingSpace,
    choose_space,
    fit_space,
    numeric_part,
)
from skrae.density.incomplete.completing import growing_rows, standardised
from skrae.mixtures.growth.selection import Choice, select_base
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.affine import Remarks, fit_affine
from skrae.preprocessing.contract.work import breakable
from skrae.preprocessing.rows import weighted_mean
from skrae.preprocessing.split import MIN_ROWS_TO_SPLIT, split_folds, split_rows

# Above this, one held-out part says enough.
MAX_ROWS_TO_FOLD = 4000
# The numbers of mixtures, of few rows and of many.
FOLDED_MIXTURES, MAX_MIXTURES = 8, 4
# The largest number of components of few rows; of more, one for so many of them, up to a number.
MAX_COMPONENTS, ROWS_PER_COMPONENT, MOST_COMPONENTS = 64, 16, 2048


def choose_base(X, weights, options, rng, names, raw, every=None):
    """Base density, working space, (training rows, held-out rows) and seeds.

    `every` gives, for the `WorkingSpace`, the rows that the last steps take instead of these.
    """
    levels = () if raw is None else raw.levels
    numeric = numeric_part(X, levels)
    # Whatever is near in all rows' units is on one side; nothing else is learned from all of them.
    if raw is None:
        z = fit_affine(numeric, weights, options.scaling, names).map.forward(numeric)
    else:
        z = standardised(raw, weights)
    n_components, n_mixtures, n_folds = base_sizes(options, len(X))
    train, folds = split_folds(z, options.validation_fraction, rng, n_folds)
    seeds = rng.randint(2**31 - 1, size=2)
    held_out, *others = folds
    if len(X) < MIN_ROWS_TO_SPLIT:
        working = fit_space(X, weights, train, options, names, levels=levels)
    else:
        working = None
        with breakable():
            missing = None if raw is None else np.isnan(raw.X)
            asked = options, names, int(seeds[0]), levels, missing
            working = choose_space(X, weights, folds, *asked)
        if working is None:
            working = fit_space(X, weights, train, options, names, levels=levels)
    parts = enumerate((train, held_out))
    rows, validation = (growing_rows(raw, working, X, weights, p, k) for k, p in parts)
    kept = train[working.kept[train]]
    base = select_base(
        rows,
        validation,
        torch.Generator().manual_seed(int(seeds[0])),
        n_components,
        n_mixtures,
        working.space,
        [torch.as_tensor(np.flatnonzero(np.isin(kept, fold))) for fold in others],
        every and every(working),
    )
    return base, working, (train, held_out), seeds


def continue_base(X, options, rng, previous):
    """What `previous` has, with the rows split anew."""
    transform, base = previous.transform, MixtureDensity(*previous.base)
    parts = split_rows(transform.forward(X), options.validation_fraction, rng)
    every, no_noise = np.ones(len(X), bool), np.zeros(X.shape[1])
    working = WorkingSpace(transform, Remarks(), every, None, no_noise, None)
    return Choice(base, base), working, parts, rng.randint(2**31 - 1, size=2)


def base_sizes(options, n_rows):
    """The largest numbers of components and of mixtures, and the number of folds."""
    n_components, n_mixtures = options.max_components, options.max_mixtures
    small = n_rows <= MAX_ROWS_TO_FOLD
    if n_components == "auto":
        n_components = MAX_COMPONENTS
        if not small:
            n_components = min(max(n_components, n_rows // ROWS_PER_COMPONENT), MOST_COMPONENTS)
    if n_mixtures == "auto":
        n_mixtures = FOLDED_MIXTURES if small else MAX_MIXTURES
    if n_rows < MIN_ROWS_TO_SPLIT or options.base_density == "gaussian":
        n_components = 1
    return n_components, n_mixtures, max(n_mixtures, MAX_FOLDS) if small else 1


def held_out_score(base, transform, X, weights, index, raw):
    """Mean log density of held-out rows under the base density, as they are."""
    if raw is None or raw.are_complete:
        return mean_log_density(base, transform, X[index], weights[index])
    values = raw.law(transform, base).log_density(raw.X[index])
    return weighted_mean(torch.from_numpy(values), torch.from_numpy(weights[index]))


def mean_log_density(base, transform, X, weights):
    """Weighted mean log density in the units of the data."""
    share, log_dets = weights / weights.sum(), transform.log_abs_det(X)
    # From the first on, so that the mean of equal numbers is that number.
    log_det = log_dets[0] + share @ (log_dets - log_dets[0])
    values = base.log_density(torch.as_tensor(transform.forward(X)))
    return weighted_mean(values, torch.as_tensor(weights)) + float(log_det)
