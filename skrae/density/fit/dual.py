r"""The dual problem: minimise log Z(theta) + alpha/2 |theta|^2 by damped Newton steps.

Of nodes with log weights a_i and centred functions g_i = (f_i - t) / b,

    log Z = log sum_i exp(a_i + theta . g_i),  gradient = E g + alpha theta,
    Hessian = Cov g + alpha,

which is convex: where a minimum exists, its gradient says that the moments meet their targets.
"""

from typing import NamedTuple

import numpy as np

# Of the correlations of the functions: directions of less are dependent, and have no step.
RANK = 1e-13
# Backtracking, and what rounding may raise the value by.
SUFFICIENT, MAX_HALVINGS, ROUNDING = 1e-4, 12, 1e-13
# Steps that change no exponent: what is left of the gradient, no step can take away.
STANDSTILL = 1e-15


class Statistics(NamedTuple):
    """What nodes say at theta."""

    value: float  # log Z + alpha/2 |theta|^2
    log_z: float
    probabilities: np.ndarray  # (n,)
    mean: np.ndarray  # (m,), of g
    gradient: np.ndarray  # (m,)
    hessian: np.ndarray  # (m, m)

    @property
    def spread(self):
        """Standard deviation of each function, 1 where it is constant."""
        deviation = np.sqrt(np.maximum(np.diag(self.hessian), 0.0))
        return np.where(deviation > 0.0, deviation, 1.0)

    @property
    def error(self):
        """The largest gradient, in standard deviations of its function."""
        return float(np.max(np.abs(self.gradient) / self.spread))


class Solution(NamedTuple):
    """Multipliers of the centred functions, and whether the gradient vanished."""

    theta: np.ndarray
    statistics: Statistics
    n_iter: int
    converged: bool


def statistics_at(theta, log_weights, functions, alpha=0.0):
    """`Statistics` of nodes (n,), (n, m) at theta (m,)."""
    exponents = log_weights + functions @ theta
    top = exponents.max()
    weights = np.exp(exponents - top)
    total = weights.sum()
    log_z, p = top + np.log(total), weights / total
    mean = p @ functions
    centred = functions - mean
    hessian = centred.T @ (p[:, None] * centred)
    value = log_z + 0.5 * alpha * theta @ theta
    hessian.flat[:: len(hessian) + 1] += alpha
    return Statistics(value, log_z, p, mean, mean + alpha * theta, hessian)


def newton_step(statistics):
    """-H^+ gradient: the shortest step, in standard deviations, that solves what can be solved."""
    spread = statistics.spread
    correlations = statistics.hessian / np.outer(spread, spread)
    variances, axes = np.linalg.eigh(correlations)
    kept = variances > RANK * len(spread) * max(variances[-1], 1e-300)
    axes = axes[:, kept]
    return -(axes @ ((axes.T @ (statistics.gradient / spread)) / variances[kept])) / spread


def minimise(log_weights, functions, theta, alpha, tol, max_iter, is_bad=None):
    """Damped Newton steps until each gradient is below tol standard deviations, and one more.

    Parameters
    ----------
    log_weights : array of shape (n,)
    functions : array of shape (n, m)
    theta : array of shape (m,), where to start
    alpha, tol : float
    max_iter : int
    is_bad : function of `Statistics`, or None
        No step goes where it is true: there the nodes do not carry the density.

    Returns
    -------
    Solution
    """
    found = statistics_at(theta, log_weights, functions, alpha)
    for n_iter in range(max_iter):
        step, is_last = newton_step(found), found.error <= tol
        if np.max(np.abs(step * found.spread)) < STANDSTILL:
            return Solution(theta, found, n_iter, is_last)
        size, after = _searched(theta, step, found, log_weights, functions, alpha, is_bad)
        if after is None:
            return Solution(theta, found, n_iter, is_last)
        theta, found = theta + size * step, after
        if is_last:
            return Solution(theta, found, n_iter + 1, True)
    return Solution(theta, found, max_iter, found.error <= tol)


def _searched(theta, step, before, log_weights, functions, alpha, is_bad):
    """The largest of the halved steps that lowers the value enough, and what is there; or None."""
    slope, size = before.gradient @ step, 1.0
    slack = ROUNDING * (1.0 + abs(before.value))
    for _ in range(MAX_HALVINGS):
        after = statistics_at(theta + size * step, log_weights, functions, alpha)
        is_lower = after.value <= before.value + SUFFICIENT * size * slope + slack
        if is_lower and not (is_bad and is_bad(after)):
            return size, after
        size *= 0.5
    return 0.0, None
