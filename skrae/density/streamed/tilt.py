"""What stands over the base density of a stream, after the base has taken a step.

Network and radial units are kept, and log Z is computed anew. The network is trained for a few
steps on the block; what came of it is taken where held-out rows, recent ones that nothing has
learned from, clearly prefer it. Where they clearly prefer the base density alone, it is the model.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.registry import make_decoder
from skrae.autoencoders.layers import scale_head
from skrae.density.fit.annealing import is_clear
from skrae.density.fit.finite import require_finite
from skrae.density.fit.fitting import LearningRows, level_trainer
from skrae.density.fitted import Fitted, normalise
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.rows import mean_and_error

# Steps of training for a block, and held-out rows without which nothing is decided.
N_STEPS, MIN_HELD_OUT = 50, 200


class Tilted(NamedTuple):
    """A density, repeats of its log Z, and what it adds to log q of held-out rows, (n,)."""

    fitted: Fitted
    log_z_repeats: np.ndarray
    gains: torch.Tensor


def tilted_anew(fitted, rows, held_out, options, seed, device):
    """The `Tilted` density of a base that has changed, and the `Training` or None.

    Nothing is trained where little is held out, or radial units stand.

    Parameters
    ----------
    fitted : Fitted, of the new base and the tilt as it was
    rows, held_out : WeightedRows in working space
    options : Options
    seed : int
    device : {"cpu", "cuda"}

    Raises
    ------
    ValueError
        Where log Z is not finite.
    """
    judged = partial(_judged, held_out=held_out, seed=seed, device=device)
    best, training = judged(fitted), None
    if len(held_out.z) < MIN_HELD_OUT:
        return best, training
    if fitted.energy is None:
        coefs, intercepts, training = _trained(fitted, rows, held_out, options, seed, device)
        other = judged(fitted._replace(coefs=coefs, intercepts=intercepts))
        if _is_better(other.gains, best.gains, held_out.weights):
            best = other
    if _is_better(0.0 * best.gains, best.gains, held_out.weights):
        best = judged(_base_alone(fitted))
    return best, training


def _judged(fitted, held_out, seed, device):
    """The `Tilted` of a density; its log Z that of the seed."""
    field = fitted.field(device)
    repeats = normalise(field, torch.Generator(device).manual_seed(seed))
    require_finite("log Z", repeats)
    gains = torch.zeros(0, dtype=torch.float64)
    if len(held_out.z):
        z = held_out.z.to(device)
        with torch.no_grad():
            gains = (field.log_density(z) - field.base.log_density(z)).cpu() - repeats.mean()
    return Tilted(fitted._replace(log_z=float(repeats.mean())), repeats, gains)


def _is_better(gains, others, weights):
    gain, error = mean_and_error(gains - others, weights)
    return is_clear(gain, error)


def _trained(fitted, rows, held_out, options, seed, device):
    """The coefs and intercepts of the best check, and the `Training`."""
    base, generator = MixtureDensity(*fitted.base, device=device), torch.Generator(device)
    learning, generator = LearningRows(rows, held_out), generator.manual_seed(seed)
    trainer = level_trainer(learning, base, options, generator, device, fitted)
    trainer.start_level(fitted.noise_level)
    trainer.run(N_STEPS)
    found, training = trainer.training.best, trainer.training
    parameters = training.average if found is None else found.parameters
    return *trainer.decoder.arrays([p.numpy(force=True) for p in parameters]), training


def _base_alone(fitted):
    """The density without a tilt."""
    field = fitted.field("cpu")
    parameters = [p.numpy(force=True) for p in scale_head(field.parameters, 0.0)]
    decoder = make_decoder(fitted.decoder, fitted.activation, field.tau, field.base.mean)
    coefs, intercepts = decoder.arrays(parameters)
    return fitted._replace(coefs=coefs, intercepts=intercepts, energy=None)
