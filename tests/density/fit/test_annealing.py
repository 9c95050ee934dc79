"""Annealing: which level is kept, when it stops, and that the base wins where nothing is gained."""

import numpy as np
import pytest
import torch

from skrae.autoencoders.training import Best
from skrae.density.fit.annealing import (
    ISOTROPIC_LEVELS,
    LOCAL_LEVELS,
    MIN_GAIN,
    MIN_STANDARD_ERRORS,
    TOLERANCE,
    Schedule,
    anneal,
    schedule_for,
)

ENCODER = 7.0


class ScriptedTraining:
    """What annealing sees of a training."""

    def __init__(self):
        self.average = [torch.tensor([ENCODER]), torch.tensor([[0.0]]), torch.tensor([0.0])]
        self.best, self.stopped = None, False

    def restart_from(self, parameters):
        self.average = [p.clone() for p in parameters]


class ScriptedTrainer:
    """Reaches the scripted gain at each level; its parameters tell the level and where it began.

    parameters: encoder weight, head weight (the level of the last training), head bias (its start).
    """

    min_standard_errors = MIN_STANDARD_ERRORS

    def __init__(self, gains, error=0.0, interrupt_at=None, stop_at=None, before_check=False):
        self.gains, self.error, self.training = list(gains), error, ScriptedTraining()
        self.interrupt_at, self.stop_at, self.before_check = interrupt_at, stop_at, before_check
        self.levels, self.steps, self.starts = [], [], []

    def start_level(self, level):
        self.levels.append(level)
        self.training.best = None

    def run(self, max_steps, on_check=None):
        i, level, training = len(self.levels) - 1, self.levels[-1], self.training
        self.steps.append(max_steps)
        start = float(training.average[1])
        self.starts.append(start)
        if i == self.interrupt_at and self.before_check:
            raise KeyboardInterrupt
        best = [training.average[0], torch.tensor([[level]]), torch.tensor([start])]
        training.best = Best(self.gains[i], self.error, best, best)
        # The weights move on from the best before training ends.
        training.average = [p + 100.0 for p in best]
        if i == self.interrupt_at:
            raise KeyboardInterrupt
        training.stopped = i == self.stop_at or (on_check is not None and bool(on_check(self)))


def head_of(outcome):
    return [float(p) for p in outcome.parameters[-2:]]


# Levels


@pytest.mark.parametrize(
    ("kind", "every"), [("local", LOCAL_LEVELS), ("isotropic", ISOTROPIC_LEVELS)]
)
def test_auto_visits_the_whole_schedule_and_may_choose_any(kind, every):
    levels, n_candidates = schedule_for("auto", kind)
    assert levels == list(every)
    assert levels == sorted(levels, reverse=True)
    assert n_candidates == len(every)


@pytest.mark.parametrize("kind", ["local", "isotropic"])
@pytest.mark.parametrize("noise_level", [0.004, 0.1, 0.31, 0.5, 2])
def test_a_fixed_level_comes_last_and_alone_may_be_chosen(kind, noise_level):
    levels, n_candidates = schedule_for(noise_level, kind)
    assert n_candidates == 1
    assert levels[-1] == noise_level
    assert isinstance(levels[-1], float)
    every = LOCAL_LEVELS if kind == "local" else ISOTROPIC_LEVELS
    assert levels[:-1] == [level for level in every if level / noise_level > 1.2]


@pytest.mark.parametrize("kind", ["local", "isotropic"])
def test_no_noise_is_not_annealed(kind):
    assert schedule_for(0.0, kind) == ([0.0], 1)


# Choice


def test_the_best_level_is_kept():
    trainer = ScriptedTrainer([0.1, 0.3, 0.2, 0.1])
    outcome = anneal(trainer, Schedule([0.5, 0.3, 0.2, 0.1], 4), 100)
    assert outcome.noise_level == 0.3
    assert outcome.gain == 0.3
    assert head_of(outcome) == pytest.approx([0.3, 0.5])
    assert float(outcome.parameters[0]) == ENCODER


def test_annealing_stops_once_the_gain_has_fallen():
    trainer = ScriptedTrainer([0.1, 0.3, 0.2, 9.0])
    outcome = anneal(trainer, Schedule([0.5, 0.3, 0.2, 0.1], 4), 100)
    assert list(outcome.noise_levels) == trainer.levels == [0.5, 0.3, 0.2]
    assert outcome.gains == (0.1, 0.3, 0.2)
    assert not outcome.interrupted


def test_annealing_goes_on_where_the_gain_fell_less_than_the_tolerance():
    gains = [0.3, 0.3 - 0.9 * TOLERANCE, 0.4]
    outcome = anneal(ScriptedTrainer(gains), Schedule([0.5, 0.3, 0.2], 3), 100)
    assert outcome.noise_level == 0.2
    assert outcome.gains == tuple(gains)


def test_each_level_starts_from_the_best_of_the_last():
    trainer = ScriptedTrainer([0.1, 0.2, 0.3])
    anneal(trainer, Schedule([0.5, 0.3, 0.2], 3), 100)
    assert trainer.starts == pytest.approx([0.0, 0.5, 0.3])


def test_only_candidates_are_chosen_and_other_levels_take_half_the_steps():
    trainer = ScriptedTrainer([9.0, 8.0, 0.1])
    outcome = anneal(trainer, Schedule([0.5, 0.3, 0.2], 1), 101)
    assert trainer.levels == [0.5, 0.3, 0.2]
    assert trainer.steps == [51, 51, 101]
    assert trainer.starts == pytest.approx([0.0, 0.5, 0.3])
    assert (outcome.noise_level, outcome.gain) == (0.2, 0.1)
    assert outcome.noise_levels == (0.2,)


# The base


@pytest.mark.parametrize(
    ("gain", "error"),
    [(-0.2, 0.0), (0.9 * MIN_GAIN, 0.0), (0.1, 0.11), (-np.inf, 0.0)],
    ids=["loss", "small", "uncertain", "degenerate"],
)
def test_the_base_wins_where_nothing_is_gained(gain, error):
    outcome = anneal(ScriptedTrainer([gain], error), Schedule([0.3], 1), 100)
    assert head_of(outcome) == [0.0, 0.0]
    assert float(outcome.parameters[0]) == ENCODER
    assert outcome.gain == 0.0
    assert outcome.gains == (gain,)


@pytest.mark.parametrize(("gain", "error"), [(1.1 * MIN_GAIN, 0.0), (0.1, 0.04)])
def test_a_gain_beyond_its_error_beats_the_base(gain, error):
    outcome = anneal(ScriptedTrainer([gain], error), Schedule([0.3], 1), 100)
    assert head_of(outcome) == pytest.approx([0.3, 0.0])
    assert outcome.gain == gain


# Interruption


def test_interruption_keeps_the_best_so_far():
    trainer = ScriptedTrainer([0.1, 0.3, 0.2], interrupt_at=1)
    outcome = anneal(trainer, Schedule([0.5, 0.3, 0.2], 3), 100)
    assert outcome.interrupted
    assert trainer.levels == [0.5, 0.3]
    assert (outcome.noise_level, outcome.gain) == (0.3, 0.3)


def test_interruption_at_a_worse_level_keeps_the_better_one():
    outcome = anneal(ScriptedTrainer([0.3, 0.1], interrupt_at=1), Schedule([0.5, 0.3], 2), 100)
    assert outcome.interrupted
    assert (outcome.noise_level, outcome.gain) == (0.5, 0.3)
    assert head_of(outcome) == pytest.approx([0.5, 0.0])


def test_interruption_before_the_first_check_of_a_level_keeps_the_last():
    trainer = ScriptedTrainer([0.3, 0.5], interrupt_at=1, before_check=True)
    outcome = anneal(trainer, Schedule([0.5, 0.3], 2), 100)
    assert outcome.interrupted
    assert (outcome.noise_level, outcome.gain) == (0.5, 0.3)


def test_interruption_before_any_check_leaves_the_base():
    trainer = ScriptedTrainer([0.3], interrupt_at=0, before_check=True)
    outcome = anneal(trainer, Schedule([0.5], 1), 100)
    assert outcome.interrupted
    assert head_of(outcome) == [0.0, 0.0]
    assert outcome.gains == ()


def test_interruption_of_a_preparing_level_keeps_its_parameters():
    outcome = anneal(ScriptedTrainer([0.3, 0.4], interrupt_at=0), Schedule([0.5, 0.2], 1), 100)
    assert outcome.interrupted
    assert (outcome.noise_level, outcome.gain) == (0.5, 0.3)


@pytest.mark.parametrize("by", ["trainer", "callback"])
def test_a_stop_asked_for_ends_the_annealing_without_interruption(by):
    stop_at = 1 if by == "trainer" else None
    trainer = ScriptedTrainer([0.1, 0.3, 0.5], stop_at=stop_at)
    on_check = None if by == "trainer" else lambda trainer: len(trainer.levels) == 2
    outcome = anneal(trainer, Schedule([0.5, 0.3, 0.2], 3), 100, on_check)
    assert not outcome.interrupted
    assert trainer.levels == [0.5, 0.3]
    assert (outcome.noise_level, outcome.gain) == (0.3, 0.3)


def test_weights_that_no_held_out_row_could_validate_are_still_the_trained_ones():
    """A density whose gain is -inf everywhere leaves the base, but the encoder is kept."""
    outcome = anneal(ScriptedTrainer([-np.inf, -np.inf]), Schedule([0.5, 0.3], 2), 100)
    assert outcome.gain == 0.0
    assert head_of(outcome) == [0.0, 0.0]
    assert outcome.noise_level == 0.5
    assert float(outcome.parameters[0]) == ENCODER


@pytest.mark.parametrize(
    ("gains", "n_visited"),
    [
        ([0.0, 0.0005, 0.3], 2),  # nothing to gain, and no rise
        ([-0.002, -0.003, 0.3], 2),
        ([0.001, 0.003, 0.3], 3),  # little, but rising
        ([-0.5, -0.6, 0.3], 3),  # far below the base: the network has not learnt it yet
    ],
)
def test_levels_that_gain_nothing_over_the_base_end_the_annealing(gains, n_visited):
    trainer = ScriptedTrainer(gains)
    anneal(trainer, Schedule([0.3, 0.2, 0.1], 3), 10)
    assert trainer.levels == [0.3, 0.2, 0.1][:n_visited]


@pytest.mark.parametrize(
    ("gains", "n_visited"), [([-0.5, 0.2, 0.3], 1), ([0.1, 0.2, 0.3], 3), ([0.1, -0.1, 0.3], 2)]
)
def test_the_first_level_decides_where_it_may(gains, n_visited):
    trainer = ScriptedTrainer(gains)
    anneal(trainer, Schedule([0.3, 0.2, 0.1], 3), 10, first_decides=True)
    assert trainer.levels == [0.3, 0.2, 0.1][:n_visited]
