"""Margins from rows: a mixture F of Gaussians for each column, and its map as a spline.

    t = (1 - a) s + a u,   u = Phi^-1(F(s)),   a the strength: half way to a normal column

Full Gaussianisation, a = 1, would make the joint law harder than the margins were. F is fitted by
expectation-maximisation on quantiles; its size is the smallest within half a standard error of the
best on held-out rows. With f = F' and h = f'/f, u' = f / phi(u) and u'' = u' (h + u u').
"""

import numpy as np
from scipy.special import log_ndtr, logsumexp, ndtri_exp

from skrae.preprocessing.margins import Margins

LOG_2PI = np.log(2.0 * np.pi)
SIZES = (1, 2, 3, 5, 8, 12, 18)
N_BINS, N_STEPS = 800, 100
# Rows that the prior of a variance is worth, at (1 / K)^2; and the least width, in deviations.
PRIOR_ROWS, MIN_WIDTH = 2.0, 0.005
# A wide component, so that tails are linear.
TAIL_WEIGHT, TAIL_WIDTH = 0.01, 2.0
STRENGTH = 0.35
# Knots of the spline for each component, and how many of its widths they reach.
KNOTS, KNOT_REACH = 25, 6.0
# Of a column that is constant up to rounding: the identity.
ROUNDING = 10 * np.finfo(np.float64).eps
STRAIGHT = np.array([-1.0, 1.0]), np.array([-1.0, 1.0]), np.ones(2), np.zeros(2)


def fit_margins(X, weights, held_out, held_out_weights, strength=STRENGTH):
    """`Margins` of weighted rows, their sizes chosen on held-out ones.

    Parameters
    ----------
    X, held_out : arrays of shape (n, d) and (m, d)
    weights, held_out_weights : arrays of shape (n,) and (m,)
    strength : float in [0, 1)
    """
    share = weights / weights.sum()
    location = share @ X
    scale = np.sqrt(share @ (X - location) ** 2)
    constant = scale <= ROUNDING * np.abs(location)
    scale = np.where(constant, 1.0, scale)
    splines = []
    for j in range(X.shape[1]):
        s, out = ((rows[:, j] - location[j]) / scale[j] for rows in (X, held_out))
        mixture = None if constant[j] else _fit_column(s, share, out, held_out_weights)
        splines.append(STRAIGHT if constant[j] else _spline(mixture, strength))
    size = max(len(knots) for knots, *_ in splines)
    arrays = zip(*(_extended(spline, size) for spline in splines), strict=True)
    return Margins(location, scale, *(np.array(parts) for parts in arrays))


def _spline(mixture, strength):
    """Knots, and t, t' and t'' there."""
    weights, means, widths = mixture
    offsets = np.linspace(-KNOT_REACH, KNOT_REACH, KNOTS)
    s = np.unique((means[:, None] + widths[:, None] * offsets).ravel().round(9))
    s = s[np.concatenate([[True], np.diff(s) > 1e-7])]
    y = (s[:, None] - means) / widths
    below, above = (logsumexp(log_ndtr(sign * y), axis=1, b=weights) for sign in (1.0, -1.0))
    u = np.where(below < above, ndtri_exp(np.minimum(below, -1e-300)), -ndtri_exp(above))
    log_joint = _log_joint(s, weights, means, widths)
    log_f = logsumexp(log_joint, axis=1)
    h = (np.exp(log_joint - log_f[:, None]) * -y / widths).sum(1)
    first = np.exp(log_f + 0.5 * u**2)
    bends = strength * first * (h + u * first)
    bends[[0, -1]] = 0.0  # the map is linear beyond
    return s, (1.0 - strength) * s + strength * u, 1.0 - strength + strength * first, bends


def _extended(spline, size):
    """The spline with knots on its linear continuation, up to this number."""
    s, t, slope, bend = spline
    more = np.arange(1.0, size - len(s) + 1.0)
    return (
        np.append(s, s[-1] + more),
        np.append(t, t[-1] + slope[-1] * more),
        np.append(slope, np.full(len(more), slope[-1])),
        np.append(bend, np.zeros(len(more))),
    )


def _fit_column(s, share, held_out, held_out_weights):
    """(weights, means, widths) of the mixture of one standardised column."""
    points, counts = _quantiles(s, share)
    # Narrower than the grid of rounded values, a component would be a peak on one of them.
    steps = np.diff(np.unique(s))
    least = max(MIN_WIDTH, float(np.median(steps)) if len(steps) < len(s) / 4 else 0.0)
    n_rows = 1.0 / np.sum(share**2)
    fits = [_grow(points, counts, size, least, n_rows) for size in SIZES if 4 * size <= n_rows]
    values = [_log_density(held_out, *fit) for fit in fits]
    means = [np.average(value, weights=held_out_weights) for value in values]
    best = values[int(np.argmax(means))]
    part = held_out_weights / held_out_weights.sum()
    for fit, value in zip(fits, values, strict=True):
        loss = part @ (best - value)
        if loss <= 0.5 * np.sqrt(part**2 @ (best - value - loss) ** 2):
            return fit
    return fits[0]


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


def _grow(points, counts, size, least, n_rows):
    """EM from components at the quantiles, each as wide as its share of the line."""
    cumulative = np.cumsum(counts)
    places = np.interp((np.arange(size) + 0.5) / size, cumulative, points)
    weights, means = np.full(size, 1.0 / size), places
    widths = np.full(size, 1.0 / size)
    for _ in range(N_STEPS):
        joint = _log_joint(points, weights, means, widths)
        part = np.exp(joint - logsumexp(joint, axis=1, keepdims=True)) * counts[:, None]
        mass = part.sum(0) + 1e-12
        means = part.T @ points / mass
        spread = (part * (points[:, None] - means) ** 2).sum(0)
        rows = mass * n_rows
        variance = (spread * n_rows + PRIOR_ROWS / size**2) / (rows + PRIOR_ROWS)
        weights, widths = mass / mass.sum(), np.maximum(np.sqrt(variance), least)
    return (
        np.append((1.0 - TAIL_WEIGHT) * weights, TAIL_WEIGHT),
        np.append(means, 0.0),
        np.append(widths, TAIL_WIDTH),
    )


def _log_joint(points, weights, means, widths):
    y = (points[:, None] - means) / widths
    return np.log(weights) - np.log(widths) - 0.5 * y**2


def _log_density(s, weights, means, widths):
    return logsumexp(_log_joint(s, weights, means, widths), axis=1) - 0.5 * LOG_2PI
