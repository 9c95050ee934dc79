"""The normaliser log Z = log E_q exp f, by tempered sequential Monte Carlo from q to p~.

Particles travel through p_beta ~ q exp(beta f), beta from 0 to 1 (Del Moral, Doucet & Jasra 2006):
each temperature is the largest that keeps the effective sample size of the incremental weights, the
weights' mean multiplies Z, and Metropolis moves spread the resampled particles again. The first
step costs draws of q and values of f alone, so it takes the larger population.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from skrae.preprocessing.blocks import BLOCK_DRAWS, block_sizes, by_blocks
from skrae.sampling.mcmc.kernels import State, independence_step, langevin_step

# Draws of q a repeat: as many as a standard error of 0.008 nat takes, within these limits.
MIN_DRAWS, MAX_DRAWS = 4096, 131072
# Of all draws of all repeats: 256 MB.
MAX_NUMBERS = 2**25
STANDARD_ERROR = 0.008
N_PARTICLES = 8192
FIRST_EFFECTIVE_SHARE, EFFECTIVE_SHARE = 0.04, 0.5
TARGET_ACCEPTANCE = 0.57
MAX_TEMPERATURES = 200
ADVICE = "take scaling='whiten', a larger noise_level or calibration_weight, or select=None"


class Normalizer(NamedTuple):
    """log Z of each repeat (R,), and equally weighted draws of p, shape (R, n_particles, d)."""

    log_z: torch.Tensor
    particles: torch.Tensor


def tempered_target(field, beta):
    """The target z -> State of p_beta = q exp(beta f)."""

    def target(z):
        return State(z, *by_blocks(lambda rows: field.evaluate(rows, beta), z, size=BLOCK_DRAWS))

    return target


def log_normalizer(field, generator, n_repeats=4, n_particles=N_PARTICLES):
    """Repeated tempered SMC of the field's unnormalised density; returns `Normalizer`."""
    most = max(MIN_DRAWS, MAX_NUMBERS // (n_repeats * field.base.n_features))
    n_particles = min(n_particles, most)
    n_draws = min(max(_draws_needed(field, generator), n_particles), most)
    z, f = _draw_base(field, n_repeats * n_draws, generator)
    z, f = z.reshape(n_repeats, n_draws, -1), f.reshape(n_repeats, n_draws)
    log_z, beta, step, share = torch.zeros_like(f[:, 0]), 0.0, 0.5, FIRST_EFFECTIVE_SHARE
    for _ in range(MAX_TEMPERATURES):
        increment = _next_increment(f, 1.0 - beta, share)
        beta, share = beta + increment, EFFECTIVE_SHARE
        log_z = log_z + torch.logsumexp(increment * f, 1) - np.log(f.shape[1])
        z = _resample(z, torch.softmax(increment * f, 1), n_particles, generator)
        if beta > 1.0 - 1e-9:
            return Normalizer(log_z, z)
        state, step = move(field, beta, z.flatten(0, 1), generator, 2, step)
        z = state.position.reshape(z.shape)
        f = ((state.log_density - state.log_base) / beta).reshape(n_repeats, -1)
    raise ValueError(
        f"Got a log Z that {MAX_TEMPERATURES} temperatures from the base density to the model did"
        f" not reach, expected fewer: {ADVICE}."
    )


def _draw_base(field, n, generator):
    """Draws of q and f there, in chunks."""
    draws = torch.cat([field.base.sample(size, generator) for size in block_sizes(n, BLOCK_DRAWS)])
    return draws, by_blocks(field.log_tilt, draws, size=BLOCK_DRAWS)


def _draws_needed(field, generator):
    f = _draw_base(field, MIN_DRAWS, generator)[1]
    if not torch.isfinite(f).all():
        raise ValueError(
            "Got a log density that is not finite at draws of the base density, expected numbers"
            f" that log Z can be had of: {ADVICE}."
        )
    relative_variance = 1.0 / _effective_share(f[None]) - 1.0
    return int(min(max(relative_variance / STANDARD_ERROR**2, MIN_DRAWS), MAX_DRAWS))


def _effective_share(log_weights):
    """Smallest effective sample size of the repeats, as a share of the particles."""
    twice = 2.0 * torch.logsumexp(log_weights, 1) - torch.logsumexp(2.0 * log_weights, 1)
    return float(torch.exp(twice).min()) / log_weights.shape[1]


def _next_increment(f, remaining, share):
    """The largest step in beta, up to `remaining`, that keeps this effective sample share."""
    if _effective_share(remaining * f) >= share:
        return remaining
    low, high = 0.0, remaining
    for _ in range(40):
        middle = 0.5 * (low + high)
        if _effective_share(middle * f) >= share:
            low = middle
        else:
            high = middle
    return max(low, 1e-4 * remaining)


def _resample(z, weights, n_particles, generator):
    """Systematic resampling of each repeat to n_particles."""
    n_repeats, n, d = z.shape
    to = {"dtype": weights.dtype, "device": weights.device}
    start = torch.rand(n_repeats, 1, generator=generator, **to)
    points = (torch.arange(n_particles, **to) + start) / n_particles
    index = torch.searchsorted(weights.cumsum(1), points).clamp_max(n - 1)
    return z.gather(1, index[:, :, None].expand(-1, -1, d))


def move(field, beta, z, generator, n_moves, step=0.5):
    """Independence proposals and Langevin moves at one temperature; the step size follows."""
    target = tempered_target(field, beta)
    state = target(z)
    for _ in range(n_moves):
        state, _ = independence_step(state, target, field.base, generator)
        state, info = langevin_step(state, target, field.metric.factors, step, generator)
        rate = float(info.accepted.double().mean())
        step = min(2.0, max(1e-3, step * math.exp(rate - TARGET_ACCEPTANCE)))
    return state, step
