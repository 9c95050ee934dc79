"""Scores of a fitted density that need no normaliser: Hyvarinen's score and its scorer."""

import numpy as np

from skrae.preprocessing.rows import check_weights

METHODS = ("log_density_gradient", "log_density_hessian")
# Numbers of Hessians at a time: 4 MiB of float64, and what the estimator computes them of.
CHUNK_NUMBERS = 2**19


def hyvarinen_score(estimator, X, sample_weight=None):
    r"""Hyvarinen's score of a density, which needs no normaliser; lower is better.

    Up to a constant of the data it estimates half the Fisher divergence of the density from that
    of the data, without knowing either's constant.

    Parameters
    ----------
    estimator : fitted object
        With methods `log_density_gradient` (n, d) and `log_density_hessian` (n, d, d).
    X : array-like of shape (n_samples, n_features)
        Rows that the estimator was not fitted to.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative; a weight of 2 counts as the row twice. None weighs all rows equally.

    Returns
    -------
    score : float
        In nats per squared unit of X: a column counts the more the narrower it is, so put columns
        of different units on one scale before.

    Raises
    ------
    TypeError
        If the estimator lacks one of the two methods, as a Pipeline does.
    ValueError
        If a weight is negative or not finite, all are 0, or they are not one for each row.

    See Also
    --------
    hyvarinen_scorer : Its negative, for a search over options.

    Notes
    -----
    With p the density of the estimator, the score is

    .. math::

        \frac{1}{n} \sum_{i=1}^{n} \left[ \tfrac12 |\nabla \log p(x_i)|^2
        + \operatorname{tr} \nabla^2 \log p(x_i) \right].

    By partial integration, its expectation over rows from a density q is
    E |grad log p - grad log q|^2 / 2 - E |grad log q|^2 / 2, whose second term is the same for
    all p.

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
    terms = _terms(estimator, X)
    if sample_weight is None:
        return float(terms.mean())
    return float(np.average(terms, weights=check_weights(sample_weight, terms)))


def _terms(estimator, X):
    """|grad log p|^2 / 2 + tr Hess log p of each row, (n,); of Hessians a few rows at a time."""
    gradient = np.asarray(estimator.log_density_gradient(X), np.float64)
    terms, size = 0.5 * np.einsum("ij,ij->i", gradient, gradient), gradient.shape[1]
    del gradient
    n_rows = max(1, CHUNK_NUMBERS // size**2)
    rows = getattr(X, "iloc", X)  # where slices of a pandas frame are of rows
    for start in range(0, len(terms), n_rows):
        part = slice(start, start + n_rows)
        hessian = np.asarray(estimator.log_density_hessian(rows[part]), np.float64)
        terms[part] += np.einsum("ijj->i", hessian)
    return terms


def hyvarinen_scorer(estimator, X, y=None, sample_weight=None):
    """Minus `hyvarinen_score`, for `GridSearchCV(scoring=hyvarinen_scorer)`; greater is better.

    Parameters
    ----------
    estimator : fitted object
        With methods `log_density_gradient` (n, d) and `log_density_hessian` (n, d, d).
    X : array-like of shape (n_samples, n_features)
        Rows that the estimator was not fitted to, as a search passes them.
    y : object, default=None
        Ignored; for the convention of scorers.
    sample_weight : array-like of shape (n_samples,), default=None
        Non-negative; a weight of 2 counts as the row twice. None weighs all rows equally.

    Returns
    -------
    score : float
        In nats per squared unit of X.

    See Also
    --------
    hyvarinen_score : The score itself, with its formula and its limits.

    Examples
    --------
    Of Gaussians of three scales, the search finds that of the rows.

    >>> import numpy as np
    >>> from sklearn.base import BaseEstimator
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skrae.metrics import hyvarinen_scorer
    >>> class Gaussian(BaseEstimator):
    ...     def __init__(self, scale=1.0):
    ...         self.scale = scale
    ...     def fit(self, X, y=None):
    ...         return self
    ...     def log_density_gradient(self, X):
    ...         return -X / self.scale**2
    ...     def log_density_hessian(self, X):
    ...         return np.tile(-np.eye(X.shape[1]) / self.scale**2, (len(X), 1, 1))
    >>> X = 2.0 * np.random.default_rng(0).standard_normal((1000, 2))
    >>> search = GridSearchCV(Gaussian(), {"scale": [1.0, 2.0, 4.0]}, scoring=hyvarinen_scorer)
    >>> search.fit(X).best_params_
    {'scale': 2.0}
    """
    return -hyvarinen_score(estimator, X, sample_weight)
