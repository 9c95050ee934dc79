"""A mixture F of Gaussians on the line, its size chosen on held-out rows.

Expectation-maximisation on quantiles. Each component starts as wide as the share of the rows
that it stands for, and is shrunk towards that: clusters far apart or spikes are found at their own
scale.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtri_exp

from skrae.preprocessing.rows import first_as_good

LOG_2PI = np.log(2.0 * np.pi)
SIZES = (1, 2, 3, 5, 8, 12, 18)
N_SIZES = len(SIZES)
N_BINS, N_STEPS = 800, 100
# Steps between looks at the likelihood, and the rise that ends them.
LOOK_EVERY, MIN_RISE = 10, 1e-4
# Rows that the prior of a variance is worth.
PRIOR_ROWS = 2.0
# The least width, in deviations, where values repeat, and where they do not; and the share of
# distinct values from which on they do not.
MIN_WIDTH, ROUNDING_WIDTH, DISTINCT_SHARE = 0.005, 1e-12, 0.9
# A wide component, so that tails are linear.
TAIL_WEIGHT, TAIL_WIDTH = 0.01, 2.0
# Knots for each component, how many of its widths they reach, and the least step, in widths.
KNOTS, KNOT_REACH, MIN_STEP = 25, 6.0, 1e-3


class LineMixture(NamedTuple):
    """Weights, means and widths, each of shape (K,), in units of the column's deviation."""

    weights: np.ndarray
    means: np.ndarray
    widths: np.ndarray

    @property
    def is_single(self):
        """Whether it is one Gaussian, and the wide one that keeps the tails linear."""
        return len(self.weights) == 2

    def log_joint(self, s):
        """log w_k N(s; m_k, w_k^2), (n, K)."""
        y = (s[:, None] - self.means) / self.widths
        return np.log(self.weights) - np.log(self.widths) - 0.5 * y**2 - 0.5 * LOG_2PI

    def log_density(self, s):
        """log F'(s), (n,)."""
        return logsumexp(self.log_joint(s), axis=1)

    def knots(self):
        """Increasing values (M,) between which everything is smooth."""
        offsets = np.linspace(-KNOT_REACH, KNOT_REACH, KNOTS)
        s = np.unique((self.means[:, None] + self.widths[:, None] * offsets).ravel())
        return s[np.concatenate([[True], np.diff(s) > MIN_STEP * self.widths.min()])]

    def normal_scores(self, s):
        """u = Phi^-1(F(s)), u' and u'': u' = F' / phi(u), u'' = u' (h + u u'), h = F'' / F'."""
        y = (s[:, None] - self.means) / self.widths
        sides = (logsumexp(log_ndtr(sign * y), axis=1, b=self.weights) for sign in (1.0, -1.0))
        below, above = (np.minimum(side, -1e-300) for side in sides)
        u = np.where(below < above, ndtri_exp(below), -ndtri_exp(above))
        log_joint = self.log_joint(s)
        log_f = logsumexp(log_joint, axis=1)
        h = (np.exp(log_joint - log_f[:, None]) * -y / self.widths).sum(axis=1)
        first = np.exp(log_f + 0.5 * u**2 + 0.5 * LOG_2PI)
        return u, first, first * (h + u * first)


def fit_line(s, share, held_out, held_out_weights, patience=N_SIZES):
    """The smallest `LineMixture` within half a standard error of the best on held-out rows.

    Parameters
    ----------
    s, held_out : arrays of shape (n,) and (m,), of a column of deviation near one
    share, held_out_weights : arrays of shape (n,), summing to one, and (m,)
    patience : int, sizes in a row that held-out rows like less than the best, after which no larger
        ones are tried
    """
    points, counts = _quantiles(s, share)
    least, n_rows = _least_width(s), 1.0 / np.sum(share**2)
    sizes = [size for size in SIZES if size == 1 or 4 * size <= n_rows]
    fits, values, scores = [], [], []
    for size in sizes if len(held_out) else sizes[:1]:
        fits.append(_expectation_maximisation(points, counts, size, least, n_rows))
        values.append(fits[-1].log_density(held_out))
        scores.append(held_out_weights @ values[-1])
        if len(scores) - 1 - np.argmax(scores) >= patience:
            break
    return fits[first_as_good(values, held_out_weights) if len(held_out) else 0]


def grid_step(s):
    """The step of rounded values, their median distance; 0 where values do not repeat."""
    steps = np.diff(np.unique(s))
    repeats = 0 < len(steps) < DISTINCT_SHARE * len(s) - 1
    return float(np.median(steps)) if repeats else 0.0


def _least_width(s):
    """Narrower than the step of rounded values, a component would be a peak on one of them."""
    step = grid_step(s)
    return max(MIN_WIDTH, step) if step > 0.0 else ROUNDING_WIDTH


def _quantiles(s, share):
    """At most N_BINS points that stand for the rows, and their shares."""
    order = np.argsort(s, kind="stable")
    s, share = s[order], share[order]
    edges = np.cumsum(share) - 0.5 * share
    place = np.minimum((edges * N_BINS).astype(int), N_BINS - 1)
    counts = np.bincount(place, share, N_BINS)
    sums = np.bincount(place, share * s, N_BINS)
    kept = counts > 0.0
    return sums[kept] / counts[kept], counts[kept]


def _expectation_maximisation(points, counts, size, least, n_rows):
    places = np.cumsum(counts) - 0.5 * counts
    ends = np.interp(np.linspace(0.0, 1.0, size + 1), places, points)
    means = np.interp((np.arange(size) + 0.5) / size, places, points)
    widths = np.maximum(0.5 * np.diff(ends), least)
    mixture, prior, before = LineMixture(np.full(size, 1.0 / size), means, widths), widths**2, 0.0
    for step in range(N_STEPS):
        # One exponential for density and shares; scipy's logsumexp takes thrice as long.
        joint = mixture.log_joint(points)
        highest = joint.max(axis=1, keepdims=True)
        part = np.exp(joint - highest)
        total = part.sum(axis=1, keepdims=True)
        if step % LOOK_EVERY == 0:
            value = counts @ (highest + np.log(total))[:, 0]
            if step and value - before < MIN_RISE:
                break
            before = value
        part *= counts[:, None] / total
        mass = part.sum(axis=0) + 1e-12
        means = part.T @ points / mass
        spread = (part * (points[:, None] - means) ** 2).sum(axis=0)
        variance = (spread * n_rows + PRIOR_ROWS * prior) / (mass * n_rows + PRIOR_ROWS)
        mixture = LineMixture(mass / mass.sum(), means, np.maximum(np.sqrt(variance), least))
    return LineMixture(
        np.append((1.0 - TAIL_WEIGHT) * mixture.weights, TAIL_WEIGHT),
        np.append(mixture.means, 0.0),
        np.append(mixture.widths, TAIL_WIDTH),
    )
