"""The training loop, whatever the criterion: optimiser, running average, validation, early stop.

The loop knows a criterion by its `loss` alone, and what is best by a function that validates the
running average of the parameters (Polyak & Juditsky 1992).
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch

from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.contract.work import check_time

# Steps over which the learning rate rises to its value.
RISING_STEPS = 20
# A value that is not worth much is worth no more steps where it rises by less than this.
MIN_RISE = 0.001


class Criterion(ABC):
    """What is minimised."""

    # The factor by which it takes its steps smaller or larger than the learning rate.
    rate = 1.0
    # Whether it is minimised to the end, whatever validation says.
    ignores_validation = False
    # Whether its loss is a part, of which the sum over all processes is minimised.
    is_shared = False

    @abstractmethod
    def loss(self, parameters):
        """A tensor of one number, differentiable in the parameters, of a batch of its own."""

    def confine(self, parameters):
        """Bring the parameters back to where they are allowed, in place, after each step."""
        return None


class Validation(NamedTuple):
    """What held-out rows say of an average of the parameters."""

    value: float  # the larger the better
    standard_error: float
    parameters: list  # those to keep, should they be the best


class Best(NamedTuple):
    """The validation of the highest value so far, and the average to go on from."""

    value: float
    standard_error: float
    parameters: list
    average: list


class TrainingOptions(NamedTuple):
    """What stays the same in a training."""

    learning_rate: float
    averaging: float  # the share of the running average that a step keeps
    check_every: int  # steps from one validation to the next
    patience: int  # validations without a better value that end a run
    # A best value below that ends a run with the first validation that raises it by less than
    # MIN_RISE.
    worth: float = -math.inf


class Adam:
    """Adam (Kingma & Ba 2015) in place; torch.optim imports the compiler, 1.4 s of a first fit."""

    def __init__(self, parameters, betas=(0.9, 0.99), eps=1e-8):
        self.parameters, self.betas, self.eps, self.n_steps = parameters, betas, eps, 0
        self.mean = [torch.zeros_like(p) for p in parameters]
        self.square = [torch.zeros_like(p) for p in parameters]

    @torch.no_grad()
    def step(self, gradients, rate):
        """p <- p - rate m^ / (sqrt(v^) + eps), with bias-corrected moments m^ and v^."""
        self.n_steps += 1
        first, second = self.betas
        torch._foreach_lerp_(self.mean, gradients, 1.0 - first)
        torch._foreach_mul_(self.square, second)
        torch._foreach_addcmul_(self.square, gradients, gradients, 1.0 - second)
        scale = torch._foreach_sqrt(self.square)
        torch._foreach_div_(scale, (1.0 - second**self.n_steps) ** 0.5)
        torch._foreach_add_(scale, self.eps)
        size = -rate / (1.0 - first**self.n_steps)
        torch._foreach_addcdiv_(self.parameters, self.mean, scale, size)


class Training:
    """Parameters under training, their running average and the record of it.

    Parameters
    ----------
    parameters : list of tensors, which are copied
    options : TrainingOptions

    Attributes
    ----------
    parameters, average : lists of tensors
    best : Best or None
        Of the validations since the last `forget_best`; current wherever an interrupt ends a run.
    n_steps : int
    loss_curve, validation_curve : lists of float, at each validation
    stopped : bool, whether `on_check` ended the training for good
    """

    def __init__(self, parameters, options):
        self.options = options
        self.parameters = [p.clone().requires_grad_() for p in parameters]
        self.average = [p.clone() for p in parameters]
        self.optimizer = Adam(self.parameters)
        self.best, self.n_steps, self.stopped = None, 0, False
        self.loss_curve, self.validation_curve = [], []

    def state(self):
        """All that further steps depend on, of lists of tensors and of numbers, and the record."""
        optimizer, parameters = self.optimizer, [p.detach() for p in self.parameters]
        moments = optimizer.mean, optimizer.square, optimizer.n_steps
        curves = self.loss_curve, self.validation_curve
        return parameters, self.average, moments, self.n_steps, curves, self.stopped

    def restore(self, state):
        """Go on where `state` was taken."""
        parameters, average, moments, self.n_steps, curves, self.stopped = state
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, parameters)
            torch._foreach_copy_(self.average, average)
        self.optimizer.mean, self.optimizer.square, self.optimizer.n_steps = moments
        self.loss_curve, self.validation_curve = curves

    def forget_best(self):
        """Begin to look for the best anew, as the criterion is another one now."""
        self.best = None

    def renewed(self):
        """Take note that the parameters were set from outside: the past says nothing of them."""
        self.optimizer = Adam(self.parameters)
        with torch.no_grad():
            torch._foreach_copy_(self.average, self.parameters)

    def restart_from(self, parameters):
        """Go on from these parameters."""
        with torch.no_grad():
            for target in (self.parameters, self.average):
                torch._foreach_copy_(target, parameters)

    def step(self, criterion, rate):
        """One step at this learning rate; the loss before it, a tensor."""
        self.n_steps += 1
        rate = rate * min(1.0, self.n_steps / RISING_STEPS) * criterion.rate
        loss = criterion.loss(self.parameters)
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        loss = loss.detach()
        if criterion.is_shared:
            loss, *gradients = _totals([loss, *gradients])
        self.optimizer.step(gradients, rate)
        criterion.confine(self.parameters)
        weight = max(1.0 - self.options.averaging, 1.0 / self.n_steps)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], weight)
        return loss

    def validate(self, criterion, validate):
        """Validate the average; whether it is better than the best before."""
        with torch.no_grad():
            found = validate(self.average)
        self.validation_curve.append(found.value)
        better = self.best is None or found.value > self.best.value or criterion.ignores_validation
        if better:
            average = [p.clone() for p in self.average]
            self.best = Best(found.value, found.standard_error, found.parameters, average)
        return better


def _totals(parts):
    """The sums of tensors over all processes, of one exchange."""
    whole = current().total(torch.cat([part.reshape(-1) for part in parts]))
    pieces = whole.split([part.numel() for part in parts])
    return [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def run(training, criterion, validate, max_steps, rate_factor=1.0, on_check=None):
    """Train until max_steps, or until the validations have not risen for as long as patience.

    Parameters
    ----------
    training : Training
    criterion : Criterion
    validate : callable from the averaged parameters to a `Validation`
    max_steps : int
    rate_factor : float, of the learning rate in this run
    on_check : callable(training) or None
        Called at every validation; a true answer stops the training for good.
    """
    options, stale, recorded = training.options, 0, []
    rate = options.learning_rate * rate_factor
    for step in range(1, max_steps + 1):
        check_time()
        recorded.append(training.step(criterion, rate))
        if step % options.check_every and step < max_steps:
            continue
        training.loss_curve.append(float(torch.stack(recorded).mean()))
        recorded = []
        before = training.best
        stale = 0 if training.validate(criterion, validate) else stale + 1
        training.stopped = on_check is not None and bool(on_check(training))
        if training.stopped or stale >= options.patience or _is_idle(before, training):
            break


def _is_idle(before, training):
    """Whether the best is worth nothing yet and hardly better than the best before it."""
    value = training.best.value
    return before is not None and value < min(training.options.worth, before.value + MIN_RISE)
