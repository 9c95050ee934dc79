"""Scores of a fitted density that need no normaliser: Hyvarinen's score and its scorer."""

import numpy as np

from skrae.density.options import check_weights

__all__ = ["hyvarinen_score", "hyvarinen_scorer"]

METHODS = ("log_density_gradient", "log_density_hessian")


def hyvarinen_score(estimator, X, sample_weight=None):
    """Hyvarinen's score, mean_i [ |grad log p(x_i)|^2 / 2 + tr Hess log p(x_i) ]; lower is better.

    Up to a constant of the data it estimates E |grad log p - grad log p_data|^2 / 2, half the
    Fisher divergence, without knowing p_data or the constant of p.

    Parameters
    ----------
    estimator : fitted object
        With methods `log_density_gradient` (n, d) and `log_density_hessian` (n, d, d).
    X : array-like of shape (n_samples, n_features)
        Rows that the estimator was not fitted to.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative; a weight of 2 counts as the row twice.

    Returns
    -------
    score : float
        In nats per squared unit of X: a column counts the more the narrower it is, so put columns
        of different units on one scale before.

    Raises
    ------
    TypeError
        If the estimator lacks one of the two methods, as a Pipeline does.

    Notes
    -----
    Where rows repeat, or columns are rounded to a grid, ever narrower peaks on the values lower the
    score without bound; the log-likelihood has the same fault, but milder.

    References
    ----------
    Hyvarinen (2005), "Estimation of non-normalized statistical models by score matching",
    JMLR 6, 695-709.

    Examples
    --------
    For the standard normal density in d dimensions the expected score is -d / 2.

    >>> import numpy as np
    >>> from skrae.metrics import hyvarinen_score
    >>> class StandardNormal:
    ...     def log_density_gradient(self, X):
    ...         return -X
    ...     def log_density_hessian(self, X):
    ...         return np.tile(-np.eye(X.shape[1]), (len(X), 1, 1))
    >>> X = np.random.default_rng(0).standard_normal((100_000, 2))
    >>> round(hyvarinen_score(StandardNormal(), X), 1)
    -1.0
    """
    missing = [name for name in METHODS if not hasattr(estimator, name)]
    if missing:
        raise TypeError(
            f"Got {type(estimator).__name__} without {' and '.join(missing)}, expected a"
            " fitted object with both methods. Of a Pipeline or a search, pass the fitted density"
            " itself, with rows in the units it was fitted to."
        )
    gradient, hessian = (np.asarray(getattr(estimator, name)(X), np.float64) for name in METHODS)
    terms = 0.5 * (gradient**2).sum(axis=1) + np.trace(hessian, axis1=1, axis2=2)
    if sample_weight is None:
        return float(terms.mean())
    return float(np.average(terms, weights=check_weights(sample_weight, terms)))


def hyvarinen_scorer(estimator, X, y=None, sample_weight=None):
    """Minus `hyvarinen_score`, for `GridSearchCV(scoring=hyvarinen_scorer)`; greater is better.

    Parameters
    ----------
    estimator : fitted object
    X : array-like of shape (n_samples, n_features)
    y : ignored
    sample_weight : array-like of shape (n_samples,), default=None

    Returns
    -------
    score : float
    """
    return -hyvarinen_score(estimator, X, sample_weight)
