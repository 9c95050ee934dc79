"""What particles start from: a fitted density, or one that stands in for Lebesgue measure."""

import numpy as np
from scipy.stats import expon, t, uniform
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skrae.sampling.targets import named, own_rows

# Degrees of freedom of columns open on both sides: few draws of a normal density are lost, and the
# weights stay bounded for tails that are heavier.
DOF = 5.0


def fitted_base(density):
    """The object that `base_density` names, without the wrapper that freezes it.

    Raises
    ------
    TypeError, ValueError
        Where it has no `score_samples`, or is not fitted.
    """
    if not hasattr(density, "score_samples"):
        raise TypeError(
            f"Got a {type(density).__name__} as base_density, expected a fitted density with"
            " score_samples, and with sample beyond one column, or None."
        )
    try:
        if hasattr(density, "fit"):
            check_is_fitted(density)
    except NotFittedError as error:
        raise ValueError(
            f"Got a {type(density).__name__} as base_density that is not fitted, expected a fitted"
            " density. A clone, as searches make it, loses its fit: wrap the fitted one in"
            " sklearn.frozen.FrozenEstimator."
        ) from error
    return density.estimator if type(density).__name__ == "FrozenEstimator" else density


class FittedBase:
    """A fitted density by its public methods.

    Parameters
    ----------
    density : fitted object
    """

    is_flat = False

    def __init__(self, density):
        self.density = density
        self._names = getattr(density, "feature_names_in_", None)

    def log_density(self, X):
        """log q of rows; -inf where it gives no finite number, as far out in a tail."""
        with np.errstate(all="ignore"):
            found = np.asarray(self.density.score_samples(named(X, self._names)), np.float64)
        if found.shape != (len(X),) or np.isposinf(found).any():
            raise ValueError(
                f"Got score_samples of {type(self.density).__name__} with shape {found.shape} or"
                f" with +inf, expected {len(X)} finite numbers."
            )
        return np.where(np.isfinite(found), found, -np.inf)

    def draw(self, n, rng):
        """Rows (n, d) of q."""
        rows = own_rows(self.density, n, rng)
        if rows is None:
            raise TypeError(
                f"Got a {type(self.density).__name__} as base_density, expected one with a sample"
                " method: of more than one column integrals are means over its draws."
            )
        # Scikit-learn's mixtures give the draws of one component after those of another, and moves
        # meet proposals by their places.
        return rows[rng.permutation(len(rows))]


class Reference:
    """Student's t, exponential or uniform in each column, as its bounds are.

    Parameters
    ----------
    bounds : array of shape (d, 2)
    location, scale : arrays of shape (d,), about where a column is and how wide
    """

    is_flat = True

    def __init__(self, bounds, location, scale):
        self._laws = [
            _column(*own, middle, unit)
            for own, middle, unit in zip(bounds, location, scale, strict=True)
        ]

    def log_density(self, X):
        """Log density (n,)."""
        return sum(
            sign_law.logpdf(sign * x) for x, (sign, sign_law) in zip(X.T, self._laws, strict=True)
        )

    def draw(self, n, rng):
        """Rows (n, d)."""
        return np.column_stack([sign * law.rvs(n, random_state=rng) for sign, law in self._laws])


def _column(low, high, middle, unit):
    """A sign, and the law of the column times it."""
    if np.isfinite(low) and np.isfinite(high):
        return 1.0, uniform(low, high - low)
    if np.isfinite(low):
        return 1.0, expon(low, unit)
    if np.isfinite(high):
        return -1.0, expon(-high, unit)
    return 1.0, t(DOF, middle, unit)
