"""Annealing: train along a falling noise schedule, keep what the held-out rows prefer."""

from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders import training as loop
from skrae.autoencoders.decoders.registry import make_decoder
from skrae.autoencoders.layers import scale_head
from skrae.autoencoders.training import MIN_RISE, Best
from skrae.density.fit.criterion import HEAD_FACTORS, ScoreCriterion
from skrae.mixtures.growth.nearest import likely_components
from skrae.preprocessing.blocks import NETWORK_ROWS, by_blocks
from skrae.preprocessing.contract.work import current_journal, ended_early, interruptible

LOCAL_LEVELS = (0.35, 0.25, 0.18, 0.125, 0.09, 0.06)
ISOTROPIC_LEVELS = (0.5, 0.3, 0.18, 0.1, 0.06, 0.03, 0.015, 0.008)
# A network replaces the base where its gain exceeds this many nats and standard errors: the best
# of dozens of checks gains a little by chance alone.
MIN_GAIN, MIN_STANDARD_ERRORS = 0.005, 2.0
# Of incomplete rows, which tell less of a gain than the complete ones that it is of.
MIN_ERRORS_OF_INCOMPLETE = 0.5
# The gain may stay this far below the best and the annealing go on.
TOLERANCE = 0.01
# The learning rate falls by this factor from one noise level to the next.
LEVEL_DECAY = 0.85


def is_clear(gain, standard_error, n_errors=MIN_STANDARD_ERRORS):
    """Whether held-out rows gain so much, in nats and standard errors, that a network is taken.

    >>> is_clear(0.02, 0.005), is_clear(0.02, 0.02), is_clear(0.001, 0.0)
    (True, False, False)
    """
    return gain >= max(MIN_GAIN, n_errors * standard_error)


class Schedule(NamedTuple):
    """Noise levels in the order of their visits; the last `n_candidates` may be chosen."""

    levels: list
    n_candidates: int

    @property
    def first_candidate(self):
        return self.levels[-self.n_candidates]


class Outcome(NamedTuple):
    """What annealing decided: the parameters (the zero head if the base won) and the record."""

    parameters: list
    noise_level: float
    interrupted: bool
    noise_levels: tuple = ()
    gains: tuple = ()
    gain: float = 0.0
    kept: bool = False  # the parameters are those that a fit was continued from


def schedule_for(noise_level, noise_covariance):
    """The `Schedule` of the option: annealing, or what prepares the level that is asked for."""
    every = LOCAL_LEVELS if noise_covariance == "local" else ISOTROPIC_LEVELS
    if noise_level == "auto":
        return Schedule(list(every), len(every))
    if noise_level == 0.0:
        return Schedule([0.0], 1)
    return Schedule([s for s in every if s > 1.2 * noise_level] + [float(noise_level)], 1)


class LevelTrainer:
    """One network's training at successive noise levels.

    Parameters
    ----------
    training : Training
    rows : Rows
    base : MixtureDensity
    metric : NoiseMetric
    held_out_gain : HeldOutGain
    weights : TermWeights, of the terms of the criterion
    decoder_name, activation : str
    decoder : Decoder of the network that is continued, or None
    """

    def __init__(
        self,
        *,
        training,
        rows,
        base,
        metric,
        held_out_gain,
        weights,
        decoder_name,
        activation,
        decoder=None,
    ):
        self.training, self.rows, self.base, self.metric = training, rows, base, metric
        self.held_out_gain, self.weights = held_out_gain, weights
        self.decoder_name, self.activation, self.decoder = decoder_name, activation, decoder
        self.criterion, self.n_levels = None, 0

    def state(self):
        """All that the levels to come depend on, of tensors and numbers."""
        tau = None if self.decoder is None else self.decoder.tau
        return self.training.state(), self.n_levels, tau, self.rows.generator.get_state()

    def restore(self, state):
        """Go on where `state` was taken."""
        training, self.n_levels, tau, generator_state = state
        self.training.restore(training)
        self.decoder = make_decoder(self.decoder_name, self.activation, tau, self.base.mean)
        self.rows.generator.set_state(generator_state)

    @property
    def noise_level(self):
        return self.criterion.noise_level

    @cached_property
    def _likely(self):
        """The components that the rows are likely of, where these are few.

        Local noise leaves a row with them; noise of the same size everywhere need not.
        """
        is_local = self.metric.kind == "local"
        return likely_components(self.base, self.rows.z) if is_local else None

    @property
    def min_standard_errors(self):
        """Of its gain, what a network must bring."""
        return MIN_STANDARD_ERRORS if self.rows.n_copies == 1 else MIN_ERRORS_OF_INCOMPLETE

    def start_level(self, noise_level):
        """Set sigma: another criterion, and for some decoders other parameters."""
        self.training.forget_best()
        self.n_levels += 1
        tau, before = noise_level**2 + self.weights.contraction, self.decoder
        self.decoder = make_decoder(self.decoder_name, self.activation, tau, self.base.mean)
        self._share_out()
        about = self.rows, self.base, self.metric, self.decoder, self.weights
        self.criterion = ScoreCriterion(*about, noise_level, self._likely)
        changed = self.decoder.start_level(
            self.training.parameters,
            self.rows.draw,
            self.base.log_density,
            self.rows.generator,
            renew=before is None or before.tau != tau,
        )
        if changed:
            self.training.renewed()

    def _share_out(self):
        """Complete rows of which entries are missing by draws of the model, not of its base."""
        if self.rows.n_copies == 1:
            return

        def tilt(z):
            log_q = self.base.log_density
            return self.decoder.log_tilt(z, self.training.average, lambda: log_q(z))

        with torch.no_grad():
            self.rows.share_out(by_blocks(tilt, self.rows.z, size=NETWORK_ROWS))

    def run(self, max_steps, on_check=None):
        """Train at this level; `on_check` is called with this object."""
        factors = (1.0,) if self.criterion.ignores_validation else HEAD_FACTORS

        def validate(average):
            self._share_out()
            return self.held_out_gain.validation(average, self.decoder, factors)

        loop.run(
            self.training,
            self.criterion,
            validate,
            max_steps,
            LEVEL_DECAY ** (self.n_levels - 1),
            on_check and (lambda training: on_check(self)),
        )


def _has_passed(gains, first_decides):
    """Whether finer noise is not worth a visit, by the gains of the levels visited so far.

    The gain has fallen from its best, or the base density has nothing to be gained over: no gain
    to speak of, which the last level has not raised by MIN_RISE. Below the base a falling gain is
    no reason, as finer noise may still rise above it, unless the first level decides.
    """
    if first_decides and gains[-1] <= 0.0:
        return True
    if len(gains) < 2:
        return False
    best = max(gains[:-1])
    fell = best > 0.0 and gains[-1] < best - TOLERANCE
    return fell or (abs(gains[-1]) < MIN_GAIN and gains[-1] < best + MIN_RISE)


class Record(NamedTuple):
    """How far an annealing is, and what it has found."""

    best_level: float
    best: Best | None = None
    visited: tuple = ()  # the levels that may be chosen
    gains: tuple = ()  # of those
    n_done: int = 0  # levels
    ended: bool = False
    interrupted: bool = False


def _with_level(record, training, level, candidate, interrupted, first_decides):
    """The `Record` with the level that the training has gone through; it goes on from its best."""
    found, ends = training.best, interrupted or training.stopped
    record = record._replace(n_done=record.n_done + 1, ended=found is None, interrupted=interrupted)
    if found is not None and (candidate or ends):
        gains = (*record.gains, found.value)
        ends = ends or _has_passed(gains, first_decides)
        record = record._replace(visited=(*record.visited, level), gains=gains, ended=ends)
        if record.best is None or found.value > record.best.value:
            record = record._replace(best=found, best_level=level)
    if not record.ended:
        training.restart_from(found.average)
    return record


def _keep(trainer, record):
    """Let a fit that is begun again go on after this level."""
    journal = current_journal()
    if journal and not ended_early():
        plain = record._replace(best=record.best and tuple(record.best))
        journal.remember(levels=(trainer.state(), tuple(plain)))


def _recalled(trainer):
    """The `Record` of a fit that is begun again, its trainer where it was; None without one."""
    journal = current_journal()
    if journal is None or "levels" not in journal.state:
        return None
    state, plain = journal.state["levels"]
    trainer.restore(state)
    record = Record(*plain)
    return record._replace(best=record.best and Best(*record.best))


def anneal(trainer, schedule, max_steps, on_check=None, first_decides=False):
    """Visit the levels until the held-out gain falls; `Outcome` of the best candidate.

    Levels that may not be chosen prepare the first that may, with half its steps. A
    KeyboardInterrupt ends the annealing with the best parameters so far.

    Parameters
    ----------
    trainer : LevelTrainer
    schedule : Schedule
    max_steps : int, at each level
    on_check : callable(trainer) or None; a true answer ends the annealing
    first_decides : bool, whether a level that is no better than the base ends it at once
    """
    levels, start = schedule.levels, [p.clone() for p in trainer.training.average]
    record = _recalled(trainer) or Record(levels[-1])
    while record.n_done < len(levels) and not record.ended:
        level = levels[record.n_done]
        candidate = record.n_done >= len(levels) - schedule.n_candidates
        with interruptible() as interrupted:
            trainer.start_level(level)
            trainer.run(max_steps if candidate else (max_steps + 1) // 2, on_check)
        found = trainer.training, level, candidate, bool(interrupted)
        record = _with_level(record, *found, first_decides)
        _keep(trainer, record)
    best, best_level = record.best, record.best_level
    parameters, gain = (start, -np.inf) if best is None else (best.parameters, best.value)
    if best is None or not is_clear(gain, best.standard_error, trainer.min_standard_errors):
        parameters, gain = scale_head(parameters, 0.0), 0.0
    return Outcome(
        parameters,
        best_level,
        record.interrupted,
        noise_levels=record.visited,
        gains=record.gains,
        gain=gain,
    )
