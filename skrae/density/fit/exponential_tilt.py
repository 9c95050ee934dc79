"""The last step of a fit: the means of the model are those of the rows.

A network that stops where held-out rows tell it leaves the means of p ~ q exp f a little off those
of the rows. So q is tilted by

    q_theta(z) ~ q(z) exp(theta . z)

with the theta of the largest likelihood of q_theta exp f: a convex problem, at whose solution the
means are the same (Efron & Tibshirani 1996, "Using specially designed exponential families for
density estimation", section 2). Of a Gaussian component it moves the mean by C theta and changes
the shares of levels and the weight, all in closed form: q_theta is a mixture again. Student-t
components, of which no exp(theta . z) has a mean, stay as they are.
"""

from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.registry import DECODERS
from skrae.density.fit.dual import minimise
from skrae.mixtures.categories import group_sums, normalised
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import NETWORK_ROWS, by_blocks, row_products
from skrae.preprocessing.contract.work import ended_early

# Draws of q that the means of the model are had from, and numbers in all of them.
MAX_DRAWS, MAX_NUMBERS = 2**16, 2**22
# In deviations of the rows: the penalty of theta, and where rows far away count for no more.
RIDGE, MAX_DEVIATIONS = 0.1, 4.0
# Newton steps, and what may be left of a mean, in deviations of the draws.
MAX_STEPS, TOLERANCE = 20, 1e-6
# Nats that held-out rows may lose: they cannot tell that little.
MAX_LOSS = 0.01


def exponentially_tilted(base, theta):
    """The density q_theta ~ q(z) exp(theta . z) but for Student-t components, which stay.

    Parameters
    ----------
    base : MixtureDensity
    theta : tensor of shape (d,), of full rows with their one-hots

    Returns
    -------
    MixtureDensity
    """
    numbers, others = theta[: base.n_numeric], theta[base.n_numeric :]
    pulled, centres = base.factors.mT @ numbers, base.means[:, : base.n_numeric]
    shares = base.categories.probabilities * others.exp()
    gains = centres @ numbers + 0.5 * pulled.square().sum(1)
    gains = gains + group_sums(shares, base.levels).log().sum(1)
    moved = centres + row_products(base.factors, pulled)
    moved = torch.cat([moved, normalised(shares, base.levels)], dim=1)
    gaussian = torch.isinf(base.dofs)
    # Heavy components keep their weight, and the others what they have together.
    logits = base.weights.log() + gains
    rest = base.weights[gaussian].sum()
    weights = torch.where(gaussian, 0.0, base.weights)
    weights[gaussian] = rest * torch.softmax(logits[gaussian], 0)
    means = torch.where(gaussian[:, None], moved, base.means)
    parts = (a.numpy(force=True) for a in (weights, means, base.factors, base.dofs))
    return MixtureDensity(*parts, base.blocks, base.levels, device=base.means.device)


class Tilt(NamedTuple):
    """theta (d,), the mean log likelihood it gains of the rows, and the parameters it is worth."""

    theta: torch.Tensor
    gain: float
    n_parameters: float


def likeliest_tilt(rows, weights, draws, shares, n_numeric):
    """The `Tilt` of the largest mean of theta . z - log E exp(theta . z), a penalty taken off.

    Parameters
    ----------
    rows : tensor of shape (n, d); weights : tensor of shape (n,), summing to one
    draws : tensor of shape (m, d); shares : tensor of shape (m,), of the density that is tilted
    n_numeric : int, the number of columns that are no one-hots
    """
    mean = weights @ rows
    scale = (weights @ (rows - mean).square()).sqrt()
    scale = torch.where(scale > 0.0, scale, torch.inf)
    scale[n_numeric:] = 1.0

    def standardised(z):
        return ((z - mean) / scale).clamp_(-MAX_DEVIATIONS, MAX_DEVIATIONS)

    functions = (standardised(draws) - weights @ standardised(rows)).numpy(force=True)
    log_shares = shares.log().numpy(force=True)
    found = minimise(log_shares, functions, np.zeros(len(mean)), RIDGE, TOLERANCE, MAX_STEPS)
    theta = torch.from_numpy(found.theta).to(scale) / scale
    shrunk = RIDGE / np.linalg.eigvalsh(found.statistics.hessian)
    return Tilt(theta, -float(found.statistics.log_z), float((1.0 - shrunk).sum()))


def may_be_tilted(options, previous):
    """Whether the base may be tilted at last: not one that is given, or that f depends on.

    Nor where the paper's criterion alone is asked for, which is no likelihood.
    """
    free = DECODERS[options.decoder].may_be_averaged and previous is None
    by_likelihood = options.select is not None and options.calibration_weight > 0.0
    return free and by_likelihood and not ended_early()


def with_means_of_rows(trainer, outcome):
    """(base density, `Outcome`): tilted where the rows gain more than the tilt's own optimism.

    That is the number of its parameters over that of the rows (Akaike 1974).

    Parameters
    ----------
    trainer : LevelTrainer, of a decoder whose f does not depend on q
    outcome : Outcome of its annealing
    """
    base, rows, decoder = trainer.base, trainer.rows, trainer.decoder
    n_draws = min(MAX_DRAWS, MAX_NUMBERS // base.n_features)
    draws = base.sample(n_draws, rows.generator)

    def tilt(z):
        return decoder.log_tilt(z.float(), outcome.parameters, None).double()

    shares = torch.softmax(by_blocks(tilt, draws, size=NETWORK_ROWS), 0)
    found = likeliest_tilt(rows.z.double(), rows.shares, draws, shares, base.n_numeric)
    if found.gain <= found.n_parameters / rows.effective_number:
        return base, outcome
    tilted = exponentially_tilted(base, found.theta)
    gain, _ = trainer.held_out_gain.on_base(tilted, outcome.parameters, decoder)
    if gain < outcome.gain - MAX_LOSS:
        return base, outcome
    return tilted, outcome._replace(gain=gain)
