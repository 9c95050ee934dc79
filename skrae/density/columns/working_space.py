"""The way from raw columns to working space, chosen on held-out rows.

All that is fitted sees the training rows alone; each candidate is judged by one growth of a mixture
on rows that it has not seen.
"""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skrae.density.columns.margin_fit import fit_columns, margins_of
from skrae.density.columns.margins import Chain
from skrae.mixtures.growth.selection import Space, quick_base
from skrae.preprocessing.affine import Remarks, fit_affine, is_few
from skrae.preprocessing.beside import Beside
from skrae.preprocessing.blocks import is_wide
from skrae.preprocessing.contract.processes import Alone, current
from skrae.preprocessing.contract.work import current_journal
from skrae.preprocessing.rows import WeightedRows, mean_and_error
from skrae.preprocessing.scales import inside
from skrae.preprocessing.transform import Transform

# Of the held-out gain: what margins must bring, and what needs no further folds to be clear.
MIN_STANDARD_ERRORS, CLEAR_STANDARD_ERRORS = 2.0, 3.0
# Nats by which the rows that choose the size of a column's law flatter it, in all of a fold and for
# each column of more than one Gaussian.
OPTIMISM = 0.35
# Of the mixtures that judge, and of the folds that are asked: few where those see only a loss.
MAX_COMPONENTS, MAX_FOLDS, FEW_FOLDS = 64, 4, 2


class WorkingSpace(NamedTuple):
    """A map, and the rows in it.

    Parameters
    ----------
    transform : Transform
    remarks : Remarks
    kept : bool array of shape (n,), rows without a wild value
    space : Space
    dither : array of shape (d,), deviations of the noise that constant columns are given
    limits : pair of arrays of shape (d_c,), of the columns after margins, of what is wild
    columns : list of Column that the margins are of, or None

    Of full rows, categories stand beside the d_c numeric columns as one-hots.
    """

    transform: Transform
    remarks: Remarks
    kept: np.ndarray
    space: Space
    dither: np.ndarray
    limits: tuple
    columns: list | None = None

    @property
    def margins(self):
        """The map before the affine one, None for none."""
        inner = numeric_map(self.transform)
        return inner.margins if isinstance(inner, Chain) else None

    def holds(self, X):
        """Whether no value of full rows is wild, bool (n,)."""
        numeric = numeric_part(X, self.space.levels)
        t = numeric if self.margins is None else self.margins.forward(numeric)
        return inside(t, self.limits)

    def kept_of(self, index):
        """Those of the index that are kept, or all where none is."""
        own = index[self.kept[index]]
        return own if len(own) else index

    def rows(self, X, weights, index, seed=0):
        """`WeightedRows` of those of the index that are kept, of constant columns with noise.

        Without it what is narrowest there would be the likeliest, whatever the other columns say.
        """
        index = self.kept_of(index)
        z = self.transform.forward(X[index])
        if self.dither.any():
            noise = np.random.default_rng(seed).standard_normal(z.shape)
            z = z + self.dither * noise
        return WeightedRows(torch.as_tensor(z), torch.as_tensor(weights[index]))


def numeric_map(transform):
    """The map of the numeric columns."""
    return transform.inner if isinstance(transform, Beside) else transform


def numeric_part(X, levels):
    """The numeric columns of full rows, beside categories of so many levels."""
    return X[:, : X.shape[1] - sum(levels)]


def fit_space(X, weights, train, options, names=None, columns=None, levels=()):
    """The `WorkingSpace` of the training rows, an index, after margins or none.

    `columns` is location and scale (d_c,) and a list of `Column`, or None; `levels` the sizes of
    the categories whose one-hots stand last.
    """
    X = numeric_part(X, levels)
    margins = None if columns is None else margins_of(*columns)
    t = X if margins is None else margins.forward(X)
    # What varies among the held-out rows alone has no scale without them.
    same = (t[train] == t[train[0]]).all(axis=0) & (t != t[0]).any(axis=0)
    seen = np.arange(len(X)) if same.any() else train
    fit = fit_affine(t[seen], weights[seen], options.scaling, names)
    kept, remarks = fit.holds(t), fit.remarks
    if not kept.all():
        remarks = replace(remarks, wild=(int((~kept).sum()), *_wildest(t, X, fit.limits, names)))
    transform = fit.map if margins is None else Chain(margins, fit.map)
    if levels:
        transform = Beside(transform, sum(levels))
    covariances = [fit.covariance]
    if is_few(len(train), X.shape[1]):
        every = fit_affine(t, weights, options.scaling)
        back = every.map.inverse_matrix @ fit.map.matrix
        covariances.append(back.T @ every.covariance @ back)
    wild = 1.0 - weights[kept].sum() / weights.sum()
    space = Space(fit.blocks, wild, *map(torch.as_tensor, covariances))._replace(levels=levels)
    if is_wide(X.shape[1]):
        axes = fit.map.inverse_matrix, fit.map.matrix
        space = space._replace(axes=tuple(map(torch.as_tensor, axes)))
    dither = np.append(np.sqrt(np.diag(fit.covariance)) * fit.constant, np.zeros(sum(levels)))
    own = None if columns is None else columns[2]
    return WorkingSpace(transform, remarks, kept, space, dither, fit.limits, own)


def _wildest(t, X, limits, names):
    """The name of the column whose limits a row is farthest from, and the entry of X there."""
    low, high = limits
    with np.errstate(invalid="ignore"):
        far = np.abs(t - 0.5 * (low + high)) / (high - low)
    row, column = np.unravel_index(np.nanargmax(far), far.shape)
    return f"column {column}" if names is None else repr(names[column]), X[row, column]


def choose_space(X, weights, folds, options, names, seed, levels=(), missing=None):
    """The likeliest of no margins and two kinds of them; margins where held-out rows prefer them.

    Further folds are asked, with maps and mixtures of their own, as long as the first ones leave
    it open.

    Parameters
    ----------
    X : array of shape (n, d); weights : array of shape (n,)
    folds : list of index arrays, what is held out; none is where there are too few rows
    options : Options, of which margins and scaling count
    names : feature names or None
    seed : int
    levels : tuple of ints, sizes of the categories whose one-hots stand last
    missing : bool array of shape (n, d), or None
        Entries that X has only drawn: they have no part in the maps of columns.

    Returns
    -------
    WorkingSpace, fitted without the first fold
    """
    first, rises = None, []
    for fold in folds[:MAX_FOLDS]:
        train = np.delete(np.arange(len(X)), fold)
        spaces = _candidates(X, weights, train, fold, options, names, levels, missing)
        first = first or spaces
        if len(first) == 1:
            return first[0]
        values = _log_densities(spaces, X, weights, train, fold, seed)
        before, *after = spaces
        rises.append(
            [values[id(s)] - values[id(before)] - _optimism(s, weights[fold]) for s in after]
        )
        share = weights[np.concatenate(folds[: len(rises)])]
        best, gain, error = _likeliest(
            [np.concatenate(rise) for rise in zip(*rises, strict=True)], share
        )
        if abs(gain) > CLEAR_STANDARD_ERRORS * error or (gain < 0.0 and len(rises) >= FEW_FOLDS):
            break
    return first[1 + best] if gain > MIN_STANDARD_ERRORS * error else first[0]


def _candidates(X, weights, train, fold, options, names, levels=(), missing=None):
    """The `WorkingSpace` without margins, and with each kind of them."""
    fit = partial(fit_space, X, weights, train, options, names, levels=levels)
    plain, numeric = fit(), numeric_part(X, levels)
    if missing is not None:
        numeric = np.where(numeric_part(missing, levels), np.nan, numeric)
    if options.margins == "identity":
        return [plain]
    parts = numeric[train], weights[train], numeric[fold], weights[fold]
    location, scale, straight, bent = fit_columns(*parts)
    first = fit(columns=(location, scale, straight))
    if all(a is b for a, b in zip(straight, bent, strict=True)):
        return [plain, first, first]
    return [plain, first, fit(columns=(location, scale, bent))]


def _optimism(working, held_out_weights):
    """Nats a row that margins owe to the choice of their sizes by the rows that judge them."""
    share = held_out_weights / held_out_weights.sum()
    n_chosen = sum(not column.mixture.is_single for column in working.columns if column)
    return OPTIMISM * n_chosen * float(share @ share)


def _likeliest(rises, weights):
    """Which of held-out gains (n,) is the largest, its mean and the standard error of that."""
    gains = [mean_and_error(rise, weights) for rise in rises]
    best = int(np.argmax([gain for gain, _ in gains]))
    return best, *gains[best]


def _log_densities(spaces, X, weights, train, held_out, seed):
    """Log densities of the held-out rows by each of the spaces, some of them the same: by id."""
    different = {id(space): space for space in spaces}

    def judged(space):
        return _log_density(space, X, weights, train, held_out, seed)(X[held_out])

    # A journal has what is computed in one order.
    processes = current() if current_journal() is None else Alone()
    return dict(zip(different, processes.each(judged, list(different.values())), strict=True))


def _log_density(working, X, weights, train, held_out, seed):
    """A function from rows to their log densities (n,), both in the units of the data."""
    rows = working.rows(X, weights, train)
    judge = working.rows(X, weights, held_out, 1)
    generator = torch.Generator().manual_seed(seed)
    base = quick_base(rows, judge, generator, MAX_COMPONENTS, working.space)

    def log_density(X):
        z = torch.as_tensor(working.transform.forward(X))
        return base.log_density(z).numpy() + working.transform.log_abs_det(X)

    return log_density
