"""A kernel exponential family fitted by score matching, from statistics that folds can share.

The loss J of `tests.benchmarks.score_peers` is a quadratic of the coefficients: those of a union of
folds, or of all folds but one, follow from each fold's own, computed once.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

BASES = ("gaussian", "flat")
FOLDS = 5
JITTER = 1e-10


@dataclass(frozen=True)
class Statistics:
    """J as a quadratic of the coefficients: alpha^T gram alpha / 2 + alpha^T linear + constant.

    ``linear`` and ``constant`` are those of each base, by its name.
    """

    gram: np.ndarray
    linear: dict
    constant: dict

    def loss(self, alpha, base):
        """J of the coefficients ``alpha`` over a base."""
        return float(
            0.5 * alpha @ self.gram @ alpha + alpha @ self.linear[base] + self.constant[base]
        )


class KernelFamily:
    """log p(z) = log q_0(z) + sum_m alpha_m k(z, c_m) + constant, k Gaussian of bandwidth h.

    The centres are a random subset of the rows: the lite family of Strathmann et al. (2015),
    "Gradient-free Hamiltonian Monte Carlo with efficient kernel exponential families", with centres
    as in Sutherland et al. (2018), "Efficient and principled score estimation with Nystrom kernel
    exponential families". The base q_0 is the Gaussian of the rows, or flat.
    """

    def __init__(self, centres, bandwidth, mean, precision):
        self.centres, self.bandwidth = centres, bandwidth
        self.mean, self.precision = mean, precision
        self.alpha, self.base = None, None

    def kernel(self, Z):
        """k(z, c_m) = exp(-|z - c_m|^2 / 2 h^2), shape (n, M)."""
        squares = (Z**2).sum(1)[:, None] + (self.centres**2).sum(1) - 2.0 * Z @ self.centres.T
        return np.exp(-0.5 * np.maximum(squares, 0.0) / self.bandwidth**2)

    def base_score(self, Z, base):
        """grad log q_0, shape (n, d)."""
        return (self.mean - Z) @ self.precision if base == "gaussian" else np.zeros_like(Z)

    def gradient(self, Z):
        """grad log q_0 + sum_m alpha_m k(z, c_m) (c_m - z) / h^2."""
        K = self.kernel(Z) * self.alpha
        pull = (K @ self.centres - K.sum(1)[:, None] * Z) / self.bandwidth**2
        return pull + self.base_score(Z, self.base)

    def statistics(self, Z, weights):
        """`Statistics` of rows Z; every sum over coordinates is weighted by ``weights`` (d,).

        The Gram matrix needs no (n, d, M) array of derivatives: with d_j k = k (c_j - z_j) / h^2,
        sum_j w_j d_j k d_j k' = k k' [ c.c' - z.c - z.c' + z.z ] / h^4, products of matrices.
        """
        K, n, h = self.kernel(Z), len(Z), self.bandwidth
        inner = (self.centres * weights) @ self.centres.T
        cross = (Z * weights) @ self.centres.T
        squares = (Z**2 @ weights)[:, None]
        half = K * (0.5 * squares - cross)
        gram = ((K.T @ K) * inner + half.T @ K + K.T @ half) / (n * h**4)
        distances = squares + np.diag(inner) - 2.0 * cross
        laplacian = (K * (distances / h**2 - weights.sum())).mean(0) / h**2
        linear, constant = {}, {}
        for base in BASES:
            slope = self.base_score(Z, base) * weights
            along = slope @ self.centres.T - (slope * Z).sum(1)[:, None]
            linear[base] = laplacian + (K * along).mean(0) / h**2
            constant[base] = self._base_loss(Z, base, weights)
        return Statistics(gram, linear, constant)

    def _base_loss(self, Z, base, weights):
        if base == "flat":
            return 0.0
        squares = (self.base_score(Z, base) ** 2 @ weights).mean()
        return float(0.5 * squares - np.diag(self.precision) @ weights)

    def solved(self, statistics, penalty):
        """The minimiser of J + penalty trace(gram) / M |f|^2 / 2 by base, |f| the RKHS norm."""
        size = np.trace(statistics.gram) / len(self.centres)
        system = statistics.gram + penalty * size * self.kernel(self.centres)
        system[np.diag_indices_from(system)] += JITTER * size
        factor = cho_factor(system)
        return {base: -cho_solve(factor, linear) for base, linear in statistics.linear.items()}

    def with_coefficients(self, alpha, base):
        self.alpha, self.base = alpha, base
        return self


def mean_statistics(parts):
    """Statistics of the union of parts of equal size."""
    bases = parts[0].linear
    return Statistics(
        np.mean([part.gram for part in parts], axis=0),
        {base: np.mean([part.linear[base] for part in parts], axis=0) for base in bases},
        {base: np.mean([part.constant[base] for part in parts]) for base in bases},
    )


def without(whole, part):
    """Statistics of all folds but one, from their mean and that one."""

    def other(mean, own):
        return (FOLDS * mean - own) / (FOLDS - 1)

    linear = {base: other(whole.linear[base], part.linear[base]) for base in whole.linear}
    return Statistics(other(whole.gram, part.gram), linear, whole.constant)
