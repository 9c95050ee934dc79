"""The training loop at one noise level: batches, optimiser, averaged weights, early stopping."""

from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.gradient import make_decoder
from skrae.autoencoders.layers import scale_head
from skrae.autoencoders.objectives import (
    EXACT_CONTRACTION_FEATURES,
    balancing_shift,
    calibration_loss,
    contraction_estimate,
    contraction_penalty,
    corrupt,
    denoising_loss,
)
from skrae.density.score_field import ScoreField
from skrae.mixtures.components import draw_index

COMPONENT_DRAWS = 4
# Rows at which a decoder is prepared for a noise level.
START_ROWS, CENTRE_ROWS = 16384, 1024
# Share of a batch's own best offset by which that of a free or tied decoder moves in a step.
SHIFT_RATE = 0.1
# Shrinkage of the head offered to the held-out rows at every check, against overfitting.
HEAD_FACTORS = (1.0, 0.85, 0.7, 0.5, 0.3)
# The learning rate falls by this factor from one noise level to the next.
LEVEL_DECAY = 0.85
MIN_EFFECTIVE_DRAWS = 100
# Rows at a time where every row, or every held-out row, is asked something.
CHUNK = 4096


class Settings(NamedTuple):
    """Hyper-parameters of training that stay the same at every noise level."""

    contraction_weight: float
    calibration_weight: float
    decoder: str
    activation: str
    batch_size: int
    learning_rate: float
    averaging: float
    check_every: int
    patience: int


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


class Judge:
    """Held-out gain over the base, in nats: mean f over held-out rows - log E_q exp f.

    The expectation is over fixed draws of q (common random numbers), so that two parameter
    vectors are compared without Monte-Carlo noise between them.
    """

    def __init__(self, z, weights, base, n_draws, generator):
        self.weights = weights / weights.sum()
        rows = z.double(), base.sample(n_draws, generator)
        self._log_q = [base.log_density(part) for part in rows]
        self.z, self.draws = (part.float() for part in rows)

    def gain(self, parameters, decoder):
        """Weighted mean of f - log Z over the held-out rows, and its standard error.

        Minus infinity where too few draws of q carry the normaliser's weight.
        """
        held_out, drawn = self.head_inputs(parameters, decoder)
        return self._gain(decoder.bound(held_out), decoder.bound(drawn))

    def best_factor(self, held_out, drawn, bound, factors=HEAD_FACTORS):
        """The best gain with u, of held-out rows and draws, scaled; its error and the factor."""
        return max((*self._gain(bound(held_out * c), bound(drawn * c)), c) for c in factors)

    def head_inputs(self, parameters, decoder):
        """u of the held-out rows and of the draws of q."""
        with torch.no_grad():
            rows = zip((self.z, self.draws), self._log_q, strict=True)
            return [_head_inputs(decoder, parameters, *part) for part in rows]

    def _gain(self, held_out, drawn):
        log_sum = torch.logsumexp(drawn, 0)
        effective = torch.exp(2.0 * log_sum - torch.logsumexp(2.0 * drawn, 0))
        rows = held_out - log_sum + np.log(len(drawn))
        mean = float(self.weights @ rows)
        if effective < min(MIN_EFFECTIVE_DRAWS, len(drawn) / 10) or not np.isfinite(mean):
            return -np.inf, 0.0
        return mean, float((self.weights.square() @ (rows - mean).square()).sqrt())


def _head_inputs(decoder, parameters, z, log_q):
    """u of rows, in chunks, as the layers take hundreds of numbers a row."""
    parts = zip(z.split(CHUNK), log_q.split(CHUNK), strict=True)
    return torch.cat([decoder.head_input(rows, parameters, q).double() for rows, q in parts])


class Trainer:
    """Trains one network on weighted rows at successive noise levels.

    `best_average` holds the averaged parameters with the highest held-out gain at any check since
    the last `start_level`, and `best` the same with the head shrunk as the held-out rows prefer.
    Both are current even where a KeyboardInterrupt leaves `run`.
    """

    def __init__(self, rows, base, metric, judge, parameters, settings, generator, decoder=None):
        z, weights = rows
        self.z, self.cumulative = z.float(), weights.cumsum(0)
        self.base, self.metric, self.judge, self.settings = base, metric, judge, settings
        self.generator = generator
        self.factors = metric.factors.float()
        self.inverse_transposes = metric.inverse_transposes.float()
        self.parameters = [p.clone().requires_grad_() for p in parameters]
        self.average = [p.clone() for p in parameters]
        self.optimizer = Adam(self.parameters)
        self.n_steps, self.n_levels = 0, 0
        self.loss_curve, self.validation_curve = [], []
        self.best, self.best_gain, self.best_error, self.stopped = None, -np.inf, 0.0, False
        self.decoder = decoder

    def start_level(self, noise_level):
        """Set sigma; draw for every row the components its noise may come from."""
        self.n_levels += 1
        self.noise_level = noise_level
        self.tau = noise_level**2 + self.settings.contraction_weight
        before, settings = self.decoder, self.settings
        self.decoder = make_decoder(settings.decoder, settings.activation, self.tau, self.base)
        self.components = torch.cat([self._draw_components(rows) for rows in self.z.split(CHUNK)])
        if self.decoder.reconstructs:
            self._prepare_decoder(renew=before is None or before.tau != self.tau)
        self.best, self.best_gain, self.best_error = None, -np.inf, 0.0

    @torch.no_grad()
    def _prepare_decoder(self, renew):
        rows = self.z[self._draw_rows(START_ROWS)]
        noise = torch.randn(rows.shape, generator=self.generator, device=rows.device)
        noisy = rows + self.tau**0.5 * noise
        self.optimizer = Adam(self.parameters)
        if renew:
            self.decoder.renew(self.parameters, rows, noisy, self.generator)
        if not self.parameters[-2].any():  # the head of a fit that left the base as it was
            self.parameters[-2].fill_(1.0)
        rows = rows[:CENTRE_ROWS]
        self.decoder.centre(self.parameters, rows, self.base.log_density(rows))
        torch._foreach_copy_(self.average, self.parameters)

    def _draw_components(self, rows):
        responsibilities = self.metric.responsibilities(rows)
        repeated = responsibilities.repeat_interleave(COMPONENT_DRAWS, dim=0)
        return draw_index(repeated, self.generator).to(torch.int32).reshape(-1, COMPONENT_DRAWS)

    def run(self, max_steps, on_check=None):
        """Train until max_steps, or until the held-out gain has not risen for `patience` checks.

        on_check(trainer) is called at every check; a true answer stops the training for good.
        """
        settings, stale, recorded = self.settings, 0, []
        for step in range(1, max_steps + 1):
            recorded.append(self._step())
            if step % settings.check_every and step < max_steps:
                continue
            self.loss_curve.append(float(torch.stack(recorded).mean()))
            recorded = []
            gain, error, factor = self._judge()
            self.validation_curve.append(gain)
            better = gain > self.best_gain or self.best is None or self._is_uncalibrated
            stale = 0 if better else stale + 1
            if better:
                self.best_average = [p.clone() for p in self.average]
                self.best = scale_head(self.best_average, factor)
                self.best_gain, self.best_error = gain, error
            self.stopped = on_check is not None and bool(on_check(self))
            if self.stopped or stale >= settings.patience:
                break

    @property
    def _is_uncalibrated(self):
        """The criterion of the paper is minimised to the end, whatever the held-out density."""
        return self.settings.calibration_weight == 0.0

    @torch.no_grad()
    def _judge(self):
        """Held-out gain of the average, its standard error and the factor for its head."""
        factors = (1.0,) if self._is_uncalibrated else HEAD_FACTORS
        inputs, bound = self.judge.head_inputs(self.average, self.decoder), self.decoder.bound
        if self.decoder.reconstructs:
            # Of the offset the average has the mean only; this one suits its own energy.
            shift = balancing_shift(*inputs, bound)
            self.average[-1] += shift
            inputs = [u + shift for u in inputs]
        return self.judge.best_factor(*inputs, bound, factors)

    def restart_from(self, parameters):
        """Continue from these parameters (the best of the last level)."""
        with torch.no_grad():
            for target in (self.parameters, self.average):
                torch._foreach_copy_(target, parameters)

    def _step(self):
        self.n_steps += 1
        decay = LEVEL_DECAY ** (self.n_levels - 1)
        rate = self.settings.learning_rate * decay * min(1.0, self.n_steps / 20) * self.decoder.rate
        loss = self._loss(*self._batch())
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        self.optimizer.step(gradients, rate)
        self.decoder.confine(self.parameters)
        weight = max(1.0 - self.settings.averaging, 1.0 / self.n_steps)
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], weight)
        return loss.detach()

    def _draw_rows(self, size):
        """Indices of rows, drawn by weight."""
        to = {"generator": self.generator, "device": self.z.device}
        uniform = torch.rand(size, dtype=torch.float64, **to) * self.cumulative[-1]
        return torch.searchsorted(self.cumulative, uniform).clamp_max(len(self.z) - 1)

    def _batch(self):
        to = {"generator": self.generator, "device": self.z.device}
        size = self.settings.batch_size
        index = self._draw_rows(size)
        which = torch.randint(COMPONENT_DRAWS, (size,), **to)
        return self.z[index], self.components[index, which].long()

    def _loss(self, z, k):
        settings, sigma, tau = self.settings, self.noise_level, self.tau
        if sigma > 0.0:
            corrupted, whitened = corrupt(
                z, self.factors[k], self.inverse_transposes[k], sigma, self.generator
            )
        else:
            corrupted, whitened = z, torch.zeros_like(z)
        log_q, base_gradient, shares = self.base.evaluate(corrupted)
        shares = self.metric.responsibilities(corrupted, shares)
        shared = sigma == 0.0 and self.decoder.score_and_contraction(z, self.parameters)
        if shared:
            f, (psi, penalty) = None, shared
        else:
            f, psi = self.decoder.training_score(corrupted, self.parameters, base_gradient.float())
        drawn, weights = self.metric.draw(shares, self.generator)
        loss = denoising_loss(psi, whitened, self.factors[drawn], weights.float(), sigma, tau)
        if settings.contraction_weight > 0.0:
            penalty = penalty if shared else self._contraction(z, k)
            loss = loss + settings.contraction_weight / tau * penalty
        if settings.calibration_weight > 0.0:
            ratios = self._log_ratios(f, corrupted, log_q)
            loss = loss + settings.calibration_weight * calibration_loss(*ratios)
        return loss

    def _log_ratios(self, f, rows, log_q):
        """f at the corrupted rows and at draws of q."""
        draws = self.base.sample(self.settings.batch_size, self.generator)
        if f is not None:
            return f, self.decoder.log_ratio(draws.float(), self.parameters, None)
        inputs = [
            self.decoder.training_input(z.float(), self.parameters, value, self.generator)
            for z, value in ((rows, log_q), (draws, self.base.log_density(draws)))
        ]
        with torch.no_grad():
            shift = balancing_shift(*inputs, self.decoder.bound)
            self.parameters[-1] += SHIFT_RATE * shift
        return [self.decoder.bound(u + shift) for u in inputs]

    def _contraction(self, z, k):
        closed = self.decoder.contraction(z, self.parameters)
        if closed is not None:
            return closed
        field = ScoreField(self.base, self.decoder, self.parameters, self.metric)
        where = z.double(), self.metric.factors[k], self.metric.inverse_transposes[k].mT, self.tau
        if z.shape[1] <= EXACT_CONTRACTION_FEATURES:
            return contraction_penalty(field.displacement, *where).float()
        return contraction_estimate(field.displacement_once, *where, self.generator).float()
