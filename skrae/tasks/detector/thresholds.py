"""What scores of rows tell of others: quantiles, a fence, conformal p-values; all weighted."""

import numpy as np

# Tukey's: beyond the quartile by so many times the distance between quartiles.
FENCE = 1.5


def quantile(values, weights, share):
    """The value below which a share of the weight lies, as `numpy.quantile` of copies has it.

    >>> quantile(np.array([3.0, 1.0, 2.0]), np.array([2.0, 1.0, 1.0]), 0.5)
    2.5
    >>> float(np.quantile([1.0, 2.0, 3.0, 3.0], 0.5))
    2.5
    """
    order = np.argsort(values, kind="stable")
    values, ends = values[order], np.cumsum(weights[order])
    place = share * max(ends[-1] - 1.0, 0.0)
    low, high = np.searchsorted(ends, [np.floor(place), np.floor(place) + 1.0], side="right")
    low, high = values[np.minimum([low, high], len(values) - 1)]
    part = place - np.floor(place)
    return float(low if part == 0.0 else low + part * (high - low))


def fence(values, weights):
    """The value under which one is far out: first quartile - 1.5 (third - first) (Tukey 1977)."""
    first, third = (quantile(values, weights, share) for share in (0.25, 0.75))
    return first - FENCE * (third - first)


def p_values(scores, calibration, weights):
    """(1 + weight of calibration scores up to each) / (1 + weight of all), (n,).

    Parameters
    ----------
    scores : array of shape (n,)
    calibration : array of shape (m,), sorted
    weights : array of shape (m,)
    """
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    below = sums[np.searchsorted(calibration, scores, side="right")]
    return (1.0 + below) / (1.0 + sums[-1])
