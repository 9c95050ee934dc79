"""Annealing: train at falling noise levels with warm start, keep what the held-out rows prefer."""

from typing import NamedTuple

import numpy as np

from skrae.autoencoders.layers import scale_head

LOCAL_LEVELS = (0.35, 0.25, 0.18, 0.125, 0.09, 0.06)
ISOTROPIC_LEVELS = (0.5, 0.3, 0.18, 0.1, 0.06, 0.03, 0.015, 0.008)
# A network replaces the base where its gain exceeds this many nats and standard errors: the best
# of dozens of checks gains a little by chance alone.
MIN_GAIN, MIN_STANDARD_ERRORS = 0.005, 2.0
# The gain may stay this far below the best and the annealing go on.
TOLERANCE = 0.01
# A gain below MIN_GAIN that a level raised by less than this is not worth finer noise.
MIN_RISE = 0.001


class Outcome(NamedTuple):
    """What annealing decided: the parameters (the zero head if the base won) and the record."""

    parameters: list
    noise_level: float
    noise_levels: list
    gains: list
    gain: float
    interrupted: bool
    kept: bool = False  # the parameters are those that a fit was continued from


def levels_for(noise_level, noise_covariance):
    """The noise levels to visit, and how many of them, from the last, may be chosen."""
    ladder = LOCAL_LEVELS if noise_covariance == "local" else ISOTROPIC_LEVELS
    if noise_level == "auto":
        return list(ladder), len(ladder)
    if noise_level == 0.0:
        return [0.0], 1
    return [level for level in ladder if level > 1.2 * noise_level] + [float(noise_level)], 1


def _has_passed(gains):
    """Whether finer noise is not worth a visit, by the gains of the levels visited so far.

    The gain has fallen from its best, or the base density has nothing to be gained over: no gain
    to speak of, which the last level has not raised. Below the base a falling gain is no reason,
    as finer noise may still rise above it.
    """
    if len(gains) < 2:
        return False
    best = max(gains[:-1])
    fell = best > 0.0 and gains[-1] < best - TOLERANCE
    return fell or (abs(gains[-1]) < MIN_GAIN and gains[-1] < best + MIN_RISE)


def anneal(trainer, levels, n_judged, max_steps, on_check=None):
    """Visit the levels until the held-out gain falls; `Outcome` of the best judged level.

    Levels that may not be chosen prepare the first that may, with half its steps. A
    KeyboardInterrupt ends the annealing with the best parameters so far.
    """
    start = [p.clone() for p in trainer.average]
    visited, gains, best = [], [], (-np.inf, 0.0, None, levels[-1])
    interrupted = False
    for i, level in enumerate(levels):
        judged = i >= len(levels) - n_judged
        try:
            trainer.start_level(level)
            trainer.run(max_steps if judged else (max_steps + 1) // 2, on_check)
        except KeyboardInterrupt:
            interrupted = True
        if trainer.best is None:
            break
        if judged or interrupted or trainer.stopped:
            visited.append(level)
            gains.append(trainer.best_gain)
            done = _has_passed(gains)
            if trainer.best_gain > best[0] or best[2] is None:
                best = (trainer.best_gain, trainer.best_error, trainer.best, level)
            if done or interrupted or trainer.stopped:
                break
        trainer.restart_from(trainer.best_average)
    gain, error, parameters, level = best
    if parameters is None or gain < max(MIN_GAIN, MIN_STANDARD_ERRORS * error):
        return Outcome(
            scale_head(parameters or start, 0.0), level, visited, gains, 0.0, interrupted
        )
    return Outcome(parameters, level, visited, gains, gain, interrupted)
