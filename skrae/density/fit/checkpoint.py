"""A fit within limits: of its time, and of what it loses when its process is killed."""

import sys
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state

from skrae.density.fit.fitting import fit_density
from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.contract.seal import checksum
from skrae.preprocessing.contract.work import TIME_LIMIT, Journal, as_work

# What parts a fit has and in which order: raised where older ones would be taken for others.
PARTS = 2


class Limits(NamedTuple):
    """The options of the same names."""

    time_limit: float | None = None  # seconds
    checkpoint: object = None  # str, path-like or None


def fit_within(limits, X, weights, options, random_state, device, previous=None, **told):
    """The `Result` of `fit_density`, and what ended it early: None, "interrupt" or "time limit".

    Parameters
    ----------
    limits : Limits
    random_state : the option of the same name
    others : as those of `fit_density`

    Raises
    ------
    ValueError
        Where the file at limits.checkpoint is that of another fit, or damaged; where processes
        that fit together fit other things.
    """
    rng, journal, processes = check_random_state(random_state), None, current()
    if limits.checkpoint is not None or processes.size > 1:
        identity = _identity(X, weights, options, random_state, device, previous)
        if limits.checkpoint is not None:
            journal = processes.agreed(partial(Journal, limits.checkpoint, identity))
        n_parts = 0 if journal is None else len(journal.parts)
        processes.check_same({**identity, "finished parts of the checkpoint": n_parts})
    if journal is not None:
        rng = _rng_of(journal, rng)
    fit = X, weights, options, rng, device
    told = {"previous": previous, **told}
    found = as_work(fit_density, *fit, **told, time_limit=limits.time_limit, journal=journal)
    _check_equal(processes, found[0].fitted)
    if journal and not found[1]:
        journal.remove()
    return found


def _check_equal(processes, fitted):
    """Raise ValueError where another process has ended with another model."""
    if processes.size > 1 and len(set(processes.gathered(checksum(fitted.parts())))) > 1:
        raise ValueError(
            "Got models that differ from process to process, expected the same in all: machines of"
            " other processors or versions may round otherwise; let those of one kind fit together."
        )


def early_end(ended_by, time_limit):
    """What the user hears of a fit that ended early."""
    if ended_by == TIME_LIMIT:
        return (
            f"The fit reached its time_limit of {time_limit:g} seconds; the best density so far is"
            " kept and usable. A larger limit, or a checkpoint to go on from, may do better."
        )
    return "The fit was interrupted; the best density so far is kept and usable."


def _identity(X, weights, options, random_state, device, previous):
    """All that decides what the parts of a fit are."""
    # The package itself may not be imported from below; it is there where this is called.
    version = sys.modules[__name__.partition(".")[0]].__version__
    before = [] if previous is None else previous.parts()
    return {
        "rows": checksum([X, weights]),
        "options": checksum([options, device]),
        "random_state": checksum(random_state),
        "previous fit": checksum(before),
        "versions": (
            f"skrae {version}, parts {PARTS}, torch {torch.__version__}, numpy {np.__version__}"
        ),
    }


def _rng_of(journal, rng):
    """The generator as the fit began with it, which random_state=None does not tell."""
    if "random_state" not in journal.state:
        kind, keys, *rest = rng.get_state()
        journal.remember(random_state=(kind, torch.from_numpy(keys.astype(np.int64)), *rest))
    kind, keys, *rest = journal.state["random_state"]
    fresh = np.random.RandomState()
    fresh.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    return fresh
