"""A fit to incomplete rows: full rows are drawn for them, from ever better laws.

1. One Gaussian, by exact expectation-maximisation of the rows with holes, and uniform noise in the
   cells of rounded values, completes the rows for the first time.
2. A quick mixture of these completes them again: working space is fitted to them.
3. The final mixture grows there by what is observed of the rows, and draws the full rows that the
   network learns from.
"""

from itertools import pairwise

import numpy as np
import torch

from skrae.density.columns.working_space import fit_space
from skrae.mixtures.growth.holes.holed import HoledRows
from skrae.mixtures.growth.holes.incomplete import (
    complete_from,
    fit_gaussian_with_holes,
)
from skrae.mixtures.growth.holes.patterns import IncompleteRows
from skrae.mixtures.growth.selection import quick_base
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import is_wide
from skrae.preprocessing.contract.work import breakable, ended_early
from skrae.preprocessing.rows import WeightedRows
from skrae.preprocessing.scales import observed_scales
from skrae.preprocessing.split import split_rows

# Components of the quick mixture.
MAX_COMPONENTS = 32
# Full rows behind a row: for the network to learn from, and to judge it by.
TRAINING_DRAWS, JUDGING_DRAWS = 8, 32


def completed(raw, weights, options, rng, names):
    """Full rows (n, d) for incomplete ones, of a law without a network; of the first at an end.

    And the `RowLaw` that drew them, None where none was needed or there was no time.
    """
    X = _first_rows(raw, weights, rng)
    if raw.are_complete or ended_early():
        return X, None
    with breakable():
        law = _quick_law(raw, X, weights, options, rng, names)
        return law.drawn(raw.X, 1, rng)[:, 0], law
    return X, None


def _quick_law(raw, X, weights, options, rng, names):
    """The `RowLaw` of a quick mixture of the full rows that were completed before."""
    train, held_out = split_rows(standardised(raw, weights), options.validation_fraction, rng)
    working = fit_space(X, weights, train, options, names, levels=raw.levels)
    generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
    parts = (working.rows(X, weights, part, k) for k, part in enumerate((train, held_out)))
    base = quick_base(*parts, generator, MAX_COMPONENTS, working.space)
    return raw.law(working.transform, base)


def standardised(raw, weights):
    """The rows as they are, NaN where an entry is missing, numbers in units of their spread.

    By these near-duplicates are told: what is drawn for a row would hide them.
    """
    n = len(raw.cells)
    location, scale, _ = observed_scales(raw.X[:, :n], weights)
    found = np.concatenate([(raw.X[:, :n] - location) / scale, raw.X[:, n:]], axis=1)
    return found[:, ~np.isnan(found).all(axis=0)]


def completed_by(raw, previous, rng):
    """The same of the base density of a `Fitted` that is continued."""
    law = raw.law(previous.transform, MixtureDensity(*previous.base))
    return law.drawn(raw.X, 1, rng)[:, 0]


def _first_rows(raw, weights, rng):
    """Noise within cells, and draws of one Gaussian, and of the levels' frequencies, elsewhere."""
    X, n = raw.X.copy(), len(raw.cells)
    X[:, :n] = raw.cells.drawn(X[:, :n], rng)
    if not np.isnan(X).any():
        return X
    with breakable():
        return _by_gaussian(raw, X, weights, rng)
    return _by_other_rows(raw, X, rng)


def _by_gaussian(raw, X, weights, rng):
    n = len(raw.cells)
    location, scale, _ = observed_scales(X[:, :n], weights)
    rows = IncompleteRows(
        torch.from_numpy((X[:, :n] - location) / scale),
        torch.from_numpy(np.nan_to_num(X[:, n:])),
        torch.from_numpy(weights),
    )
    generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
    law = fit_gaussian_with_holes(rows, level_sizes=raw.levels)
    full = complete_from(*law, rows, generator, raw.levels).numpy()
    full[:, :n] = full[:, :n] * scale + location
    return np.where(np.isnan(X), full, X)


def _by_other_rows(raw, X, rng):
    """What is missing of a column, or a category, is that of another row, at random."""
    X, place = X.copy(), len(raw.cells)
    ends = [*range(1, place + 1), *(place + np.cumsum(raw.levels, dtype=int)).tolist()]
    for start, stop in pairwise([0, *ends]):
        missing = np.isnan(X[:, start])
        others = np.flatnonzero(~missing)
        X[missing, start:stop] = X[rng.choice(others, missing.sum()), start:stop]
    return X


def growing_rows(raw, working, X, weights, index, seed):
    """`WeightedRows` of the index that mixtures grow from: with their holes, where there are some.

    Parameters
    ----------
    raw : RawRows, or None for complete rows
    working : WorkingSpace
    X : array of shape (n, d), full rows; their places within cells hold
    """
    rows = working.rows(X, weights, index, seed)
    if raw is None or is_wide(len(raw.cells)) or not np.isnan(raw.X).any():
        return rows
    own = working.kept_of(index)
    return holed_rows(rows, X[own], np.isnan(raw.X[own]), working)


def holed_rows(rows, X, missing, working):
    """`WeightedRows` with the holes of full rows X (n, d), of which `rows` are those in z."""
    columns, matrix, _ = working.transform.by_columns()
    levels = working.space.levels
    y, n = columns.forward(X), X.shape[1] - sum(levels)
    y[missing] = np.nan
    parts = torch.from_numpy(y[:, :n].copy()), torch.from_numpy(np.nan_to_num(y[:, n:]))
    holed = IncompleteRows(*parts, rows.weights)
    return rows._replace(z=HoledRows(rows.z, holed, torch.as_tensor(matrix), levels))


def network_rows(raw, weights, law, index, n_draws, rng):
    """`WeightedRows` of n_draws full rows behind each of the index, in turn, in working space."""
    draws = law.drawn(raw.X[index], n_draws, rng).reshape(-1, raw.X.shape[1])
    z = law.working(torch.from_numpy(law.columns.forward(draws)))
    return WeightedRows(z, torch.from_numpy(np.repeat(weights[index] / n_draws, n_draws)))
