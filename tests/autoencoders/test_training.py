"""The training loop, with criteria and validations of known results."""

import math

import pytest
import torch

from skrae.autoencoders.training import (
    RISING_STEPS,
    Adam,
    Criterion,
    Training,
    TrainingOptions,
    Validation,
    run,
)
from tests.mixtures.random_mixtures import generator

OPTIONS = TrainingOptions(learning_rate=0.05, averaging=0.9, check_every=10, patience=1000)


class Distance(Criterion):
    """|p - target|^2 / 2, whose gradient is p - target; counts what it is asked."""

    def __init__(self, target, rate=1.0, ignores_validation=False):
        self.target, self.rate, self.ignores_validation = target, rate, ignores_validation
        self.n_losses, self.n_confined = 0, 0

    def loss(self, parameters):
        self.n_losses += 1
        return 0.5 * (parameters[0] - self.target).square().sum()

    def confine(self, parameters):
        self.n_confined += 1


class Scripted:
    """Values from a list, one a validation, halved parameters, and what was validated."""

    def __init__(self, values):
        self.values, self.seen = list(values), []

    def __call__(self, parameters):
        self.seen.append([p.clone() for p in parameters])
        return Validation(self.values[len(self.seen) - 1], 0.25, [0.5 * p for p in parameters])


def started(**changes):
    return Training([torch.zeros(3)], OPTIONS._replace(**changes))


TARGET = torch.tensor([1.0, -2.0, 0.5])


def test_any_criterion_is_minimised_by_its_loss_alone():
    training, criterion = started(learning_rate=0.02), Distance(TARGET)
    run(training, criterion, lambda p: Validation(-float(p[0].norm()), 0.0, p), 2000)
    torch.testing.assert_close(training.average[0], TARGET, rtol=0, atol=1e-3)
    assert criterion.n_losses == criterion.n_confined == training.n_steps == 2000
    assert training.loss_curve[0] > 1.0
    assert training.loss_curve[-1] < 1e-6


def test_first_steps_rise_to_the_rate():
    """Adam's first step has the size of the rate: that of the rise, the criterion and the run."""
    for factor, rate in ((1.0, 1.0), (0.5, 0.2)):
        training = started()
        run(training, Distance(TARGET, rate), Scripted([0.0]), 1, rate_factor=factor)
        expected = 0.05 * factor * rate / RISING_STEPS * TARGET.sign()
        torch.testing.assert_close(training.parameters[0].detach(), expected, rtol=1e-5, atol=0)


def test_average_is_the_mean_of_first_steps_then_exponential():
    training, criterion, positions = started(averaging=0.5), Distance(TARGET), []
    for _ in range(4):
        run(training, criterion, Scripted([0.0]), 1)
        positions.append(training.parameters[0].detach().clone())
    expected = positions[0]
    for step, position in enumerate(positions[1:], 2):
        expected = torch.lerp(expected, position, max(0.5, 1 / step))
    torch.testing.assert_close(training.average[0], expected)


def test_best_is_the_average_at_the_best_validation():
    training, scripted = started(), Scripted([0.1, 0.4, 0.3, 0.2])
    run(training, Distance(TARGET), scripted, 40)
    assert training.validation_curve == [0.1, 0.4, 0.3, 0.2]
    assert (training.best.value, training.best.standard_error) == (0.4, 0.25)
    assert torch.equal(training.best.average[0], scripted.seen[1][0])
    assert torch.equal(training.best.parameters[0], 0.5 * scripted.seen[1][0])
    assert not torch.equal(training.best.average[0], training.average[0])


def test_a_best_that_is_forgotten_is_sought_anew():
    training, scripted = started(), Scripted([0.4, 0.1])
    run(training, Distance(TARGET), scripted, 10)
    training.forget_best()
    run(training, Distance(TARGET), scripted, 10)
    assert training.best.value == 0.1


def test_training_stops_when_patience_ends():
    values = [0.1, 0.3, 0.2, 0.3, 0.1, 0.9]
    training = started(patience=3)
    run(training, Distance(TARGET), Scripted(values), 1000)
    assert training.validation_curve == values[:5]
    assert training.n_steps == 50
    assert not training.stopped


@pytest.mark.parametrize(("worth", "n_validated"), [(-math.inf, 6), (0.002, 6), (0.0021, 3)])
def test_training_stops_where_a_worthless_best_hardly_rises(worth, n_validated):
    """The rises are .0015, .0005, -.001, .003 and .001."""
    values = Scripted([0.0, 0.0015, 0.002, 0.001, 0.005, 0.006])
    training = started(worth=worth)
    run(training, Distance(TARGET), values, 60)
    assert len(values.seen) == n_validated


def test_a_criterion_that_ignores_validation_is_minimised_to_the_end():
    training, scripted = started(patience=1), Scripted([0.4, 0.3, 0.2, 0.1])
    run(training, Distance(TARGET, ignores_validation=True), scripted, 40)
    assert training.n_steps == 40
    assert training.best.value == 0.1
    assert torch.equal(training.best.average[0], training.average[0])


def test_last_steps_are_validated_though_they_fill_no_interval():
    training = started()
    run(training, Distance(TARGET), Scripted([0.1, 0.2, 0.3]), 23)
    assert training.n_steps == 23
    assert len(training.validation_curve) == len(training.loss_curve) == 3


def test_callback_stops_training():
    training = started()
    stop = Scripted([0.1, 0.2, 0.3])
    run(training, Distance(TARGET), stop, 1000, on_check=lambda t: len(t.validation_curve) == 2)
    assert training.stopped
    assert training.n_steps == 20


def test_interrupt_leaves_the_best_so_far():
    training, scripted = started(), Scripted([0.1, 0.4, 0.3])

    def interrupt(training):
        if len(training.validation_curve) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(training, Distance(TARGET), scripted, 100, on_check=interrupt)
    assert training.best.value == 0.4
    assert torch.equal(training.best.average[0], scripted.seen[1][0])


def test_restart_sets_both_the_parameters_and_their_average():
    training = started()
    run(training, Distance(TARGET), Scripted([0.0]), 10)
    training.restart_from([torch.full((3,), 7.0)])
    for own in (training.parameters, training.average):
        assert torch.equal(own[0].detach(), torch.full((3,), 7.0))
    assert training.parameters[0].requires_grad


def test_renewed_parameters_have_no_past():
    """The average follows at once, and the next step has the size of a first one."""
    training = started()
    run(training, Distance(TARGET), Scripted([0.0]), 10)
    with torch.no_grad():
        training.parameters[0].fill_(3.0)
    training.renewed()
    assert torch.equal(training.average[0], torch.full((3,), 3.0))
    run(training, Distance(TARGET), Scripted([0.0]), 1)
    moved = training.parameters[0].detach() - 3.0
    expected = 0.05 * 11 / RISING_STEPS * (TARGET - 3.0).sign()
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=0)


def test_given_parameters_are_left_alone():
    given = [torch.zeros(3)]
    run(Training(given, OPTIONS), Distance(TARGET), Scripted([0.0]), 10)
    assert torch.equal(given[0], torch.zeros(3))
    assert not given[0].requires_grad


def test_adam_is_that_of_torch(random_seed):
    rule = generator(random_seed)
    shapes = [(4, 3), (3,)]
    own = [torch.randn(shape, generator=rule) for shape in shapes]
    other = [torch.nn.Parameter(p.clone()) for p in own]
    adam, reference = Adam(own), torch.optim.Adam(other, betas=(0.9, 0.99))
    for rate in (0.1, 0.1, 0.03, 0.01):
        gradients = [torch.randn(shape, generator=rule) for shape in shapes]
        adam.step(gradients, rate)
        reference.param_groups[0]["lr"] = rate
        for parameter, gradient in zip(other, gradients, strict=True):
            parameter.grad = gradient
        reference.step()
    for mine, theirs in zip(own, other, strict=True):
        torch.testing.assert_close(mine, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_loss_curve_is_the_mean_since_the_last_validation():
    training, criterion, losses = started(), Distance(TARGET), []
    own = criterion.loss

    def recorded(parameters):
        losses.append(own(parameters))
        return losses[-1]

    criterion.loss = recorded
    run(training, criterion, Scripted([0.0, 0.0]), 20)
    for i, value in enumerate(training.loss_curve):
        mean = torch.stack(losses[10 * i : 10 * (i + 1)]).mean().item()
        assert math.isclose(value, mean, rel_tol=1e-6)
