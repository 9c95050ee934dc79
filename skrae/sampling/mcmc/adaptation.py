"""What warm-up tunes: step sizes by dual averaging, and the metric from pooled draws."""

import math

import torch

# The acceptance at which each kernel is most efficient in the limit of many dimensions: Roberts,
# Gelman & Gilks (1997), Roberts & Rosenthal (1998); for leapfrog paths the upper end of the range
# .6 to .9 of Betancourt, Byrne & Girolami (2014): steps that are stable in curved places too.
TARGET_ACCEPTANCE = {"random_walk": 0.234, "langevin": 0.574, "hamiltonian": 0.8}
# Optimal step size at the metric of the target, and the power of d by which it falls; for paths two
# thirds of it, because they are unstable where the density is steeper than a Gaussian.
SCALING_LAW = {"random_walk": (2.38, 1 / 2), "langevin": (1.65, 1 / 6), "hamiltonian": (1.4, 1 / 4)}
MAX_LEAPFROG = 32
# A Hamiltonian step is shortened by up to this share, for each chain anew: where the density is
# steep, paths of the common step size are never accepted.
STEP_JITTER = 0.6


def first_step_size(kernel, n_features):
    """The step size to begin with: near the best for a Gaussian whose covariance the metric is."""
    constant, power = SCALING_LAW[kernel]
    return constant / n_features**power


def acceptance_probability(log_acceptance_ratio):
    """min(1, exp log_acceptance_ratio), 0 for NaN."""
    return torch.exp(log_acceptance_ratio.clamp_max(0.0)).nan_to_num(0.0)


class DualAveraging:
    """Step size whose mean acceptance tends to a target (Hoffman & Gelman 2014, section 3.2.1).

    Parameters
    ----------
    step_size : float
    acceptance : float, the target
    """

    SHRINKAGE, DELAY, DECAY = 0.05, 10.0, 0.75

    def __init__(self, step_size, acceptance):
        self.acceptance = acceptance
        self.centre = math.log(2.0 * step_size)
        self.t, self.error, self.log_average = 0, 0.0, math.log(step_size)
        self.step_size = step_size

    def update(self, acceptance):
        """Take account of the mean acceptance of one step."""
        self.t += 1
        share = 1.0 / (self.t + self.DELAY)
        self.error += share * (self.acceptance - acceptance - self.error)
        log_step = self.centre - math.sqrt(self.t) / self.SHRINKAGE * self.error
        weight = self.t**-self.DECAY
        self.log_average += weight * (log_step - self.log_average)
        self.step_size = math.exp(log_step)

    @property
    def averaged(self):
        """The step size to keep."""
        return math.exp(self.log_average)


class SeparateSteps:
    """A step size for each chain, following its own acceptance: for chains far from the target.

    A chain in a steep place takes small steps while others take large ones; this keeps no law
    invariant, so it belongs to the first part of warm-up alone.
    """

    def __init__(self, step_size, acceptance, n_chains):
        self.acceptance = acceptance
        self.log_steps = torch.full((n_chains, 1), math.log(step_size), dtype=torch.float64)

    @property
    def step_size(self):
        return self.log_steps.exp()

    def update(self, acceptance):
        """Take account of each chain's acceptance probability, shape (n,)."""
        self.log_steps = self.log_steps + (acceptance[:, None] - self.acceptance).to(self.log_steps)


def pooled_factor(positions, kind):
    """Lower factor (1, d, d) of the covariance of draws (n_draws, n_chains, d) of all chains.

    "dense": shrunk towards its diagonal as if d draws in 10 steps of a chain were independent;
    "diagonal": variances alone.
    """
    z = positions.flatten(0, 1)
    d = z.shape[1]
    deviations = z - z.mean(0)
    covariance = deviations.T @ deviations / len(z)
    diagonal = torch.diag(covariance.diagonal().clamp_min(torch.finfo(z.dtype).tiny))
    if kind == "diagonal":
        return diagonal.sqrt()[None]
    shrinkage = min(1.0, d / (d + len(z) / 10))
    return torch.linalg.cholesky((1.0 - shrinkage) * covariance + shrinkage * diagonal)[None]


def leapfrog_limit(step_size):
    """Largest number of leapfrog steps: a path of length pi, half a period of a unit Gaussian."""
    mean_step = (1.0 - 0.5 * STEP_JITTER) * step_size
    return max(1, math.ceil(min(MAX_LEAPFROG, math.pi / max(mean_step, 1e-300))))
