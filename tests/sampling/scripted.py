"""Chains whose draws are written down, so that their R-hat and autocorrelation time are known."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import torch
from scipy.signal import lfilter
from scipy.special import ndtri

from skrae.sampling.mcmc.runs import Draws


def autoregressive(rule, phi, shape):
    """Stationary chains x_t = phi x_{t-1} + noise along axis 1, of variance 1."""
    noise = rule.standard_normal(shape)
    noise[:, 1:] *= math.sqrt(1 - phi**2)
    return lfilter([1], [1, -phi], noise, axis=1)


def spread_chains(excess, n_chains, n_draws, rule):
    """Chains (n_chains, n_draws, 1) of which R-hat^2 is 1 + excess, to a hundredth of excess.

    Both halves of every chain, h draws each, hold the same normal quantiles, of variance s^2, about
    the chain's own mean. Where these means have variance b, R-hat^2 = (1 - 1/h) (1 + b / s^2);
    ranks change little in that, because all draws together are nearly normal.
    """
    h = n_draws // 2
    within = ndtri((np.arange(h) + 0.5) / h)
    between = ndtri((np.arange(n_chains) + 0.5) / n_chains)
    between /= between.repeat(2).std(ddof=1)
    b = within.var() * ((1.0 + excess) * h / (h - 1) - 1.0)
    halves = rule.permuted(np.tile(within, (n_chains, 2, 1)), axis=2)
    return (math.sqrt(b) * between[:, None] + halves.reshape(n_chains, n_draws))[..., None]


class ScriptedRun:
    """A `Run` whose transitions are known positions (n_chains, n_transitions, d)."""

    kernel, checkpoint, broken_off = SimpleNamespace(step_size=1.0), None, False
    target = SimpleNamespace(base=None, transform=None)

    def __init__(self, positions, acceptance=1.0):
        self.positions, self.acceptance = positions, acceptance
        self.generator, self.n_done, self.thins = torch.Generator(), 0, []

    def draw(self, n_draws, thin=1, report=None):
        start, self.n_done = self.n_done, self.n_done + n_draws * thin
        assert self.n_done <= self.positions.shape[1], "the script is too short"
        self.thins.append(thin)
        kept = self.positions[:, start : self.n_done][:, thin - 1 :: thin]
        return Draws(
            positions=kept,
            log_density=kept.sum(axis=2),
            n_transitions=n_draws * thin,
            n_accepted=np.full(len(kept), self.acceptance * n_draws * thin),
            n_nonfinite=np.zeros(len(kept), int),
            n_undefined=np.zeros(len(kept), int),
            interrupted=False,
        )


def seen_in(call):
    """The result of a call and the warnings it gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = call()
    return result, caught
