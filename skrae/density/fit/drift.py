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

import torch

from skrae.autoencoders.decoders.registry import DECODERS
from skrae.mixtures.categories import group_sums, normalised
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import NETWORK_ROWS, by_blocks
from skrae.preprocessing.contract.work import ended_early

# Draws of q that the means of the model are had from, and numbers in all of them.
MAX_DRAWS, MAX_NUMBERS = 2**16, 2**22
# In deviations of the rows: the penalty of theta, and where rows far away count for no more.
RIDGE, MAX_DEVIATIONS = 0.1, 4.0
MAX_STEPS, TOLERANCE, MIN_STEP = 20, 1e-6, 1e-3
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
    numbers, others = theta.split([base.n_numeric, base.n_features - base.n_numeric])
    pulled = base.factors.mT @ numbers
    centres, probabilities = base.means.split([len(numbers), len(others)], dim=1)
    shares = probabilities * others.exp()
    gains = centres @ numbers + 0.5 * pulled.square().sum(1)
    gains = gains + group_sums(shares, base.levels).log().sum(1)
    moved = centres + (base.factors @ pulled[:, :, None])[:, :, 0]
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

    target, draws = weights @ standardised(rows), standardised(draws)
    theta, log_shares = torch.zeros_like(mean), shares.log()

    def gain(theta):
        return float(target @ theta - torch.logsumexp(log_shares + draws @ theta, 0))

    def objective(theta):
        return gain(theta) - 0.5 * RIDGE * float(theta.square().sum())

    for _ in range(MAX_STEPS):
        step, slope, covariance = _newton_step(theta, target, draws, log_shares)
        size, value = 1.0, objective(theta)
        while size >= MIN_STEP and objective(theta + size * step) < value:
            size *= 0.5
        if size < MIN_STEP or slope < TOLERANCE:
            break
        theta = theta + size * step
    spreads = torch.linalg.eigvalsh(covariance)
    return Tilt(theta / scale, gain(theta), float((spreads / (spreads + RIDGE)).sum()))


def _newton_step(theta, target, draws, log_shares):
    """The step, the slope of the objective along it, and the covariance of the draws."""
    shares = torch.softmax(log_shares + draws @ theta, 0)
    mean = shares @ draws
    covariance = (draws * shares[:, None]).T @ draws - mean[:, None] * mean
    gradient = target - mean - RIDGE * theta
    ridge = RIDGE * torch.eye(len(theta), dtype=theta.dtype, device=theta.device)
    step = torch.linalg.solve(covariance + ridge, gradient)
    return step, float(gradient @ step), covariance


def may_drift(options, previous):
    """Whether the base may be tilted at last: not one that is given, or that f depends on.

    Nor where the paper's criterion alone is asked for, which is no likelihood.
    """
    free = DECODERS[options.decoder].may_be_averaged and previous is None
    by_likelihood = options.select is not None and options.calibration_weight > 0.0
    return free and by_likelihood and not ended_early()


def without_drift(trainer, outcome):
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
