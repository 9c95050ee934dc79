"""What each stage of a fit owes to the next one: finite numbers, or an error with what to do.

A number that is not finite would be found only where an answer of the model is one, or never.
"""

import numpy as np

from skrae.density.fitted import MAX_DISTANCE
from skrae.preprocessing.blocks import BLOCK_ROWS

# What to do, by the stage that numbers came from.
ADVICE = {
    "the scaling": "bring the columns to units of a like size, or take scaling='whiten'",
    "the base density": "take scaling='whiten', or base_density='gaussian' with margins='identity'",
    "the network": "take a smaller learning_rate or contraction_weight, or a larger noise_level",
    "log Z": "take a larger noise_level or calibration_weight, or select=None",
}


def require_finite(stage, *values):
    """Raise ValueError unless all of the arrays and numbers are finite.

    Parameters
    ----------
    stage : key of ADVICE, where they come from
    *values : arrays or numbers

    Examples
    --------
    >>> require_finite("log Z", np.array([0.1, np.nan]))
    Traceback (most recent call last):
    ValueError: Got 1 number(s) that are not finite from log Z, expected none: take a larger ...
    """
    n_bad = sum(int((~np.isfinite(value)).sum()) for value in values)
    if n_bad:
        raise ValueError(
            f"Got {n_bad} number(s) that are not finite from {stage}, expected none:"
            f" {ADVICE[stage]}."
        )


def require_reach(transform, X):
    """Raise ValueError unless the map is finite, and no row is farther than can be answered.

    Parameters
    ----------
    transform : Transform
    X : array of shape (n, d), all rows of the fit, wild ones too
    """
    require_finite("the scaling", *transform.parts())
    for start in range(0, len(X), BLOCK_ROWS):
        rows = X[start : start + BLOCK_ROWS]
        with np.errstate(over="ignore", invalid="ignore"):
            distances = np.abs(transform.forward(rows)).max(axis=1)
        far = np.flatnonzero(~(distances < MAX_DISTANCE))  # NaN is far
        if len(far):
            value, distance = np.abs(rows[far[0]]).max(), distances[far[0]]
            raise ValueError(
                f"Got a row with {value:.3g} at {distance:.1g} spreads"
                f" from the others, expected less than {MAX_DISTANCE:g}: powers of its distance are"
                " no float64. Leave it out, or pass NaN where it stands for no value."
            )


def base_parts(base):
    """The arrays of a mixture that are to be finite: all but its degrees of freedom."""
    weights, means, factors, *_ = base.arrays()
    return weights, means, factors
