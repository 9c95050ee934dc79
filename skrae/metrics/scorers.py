"""Metrics of embeddings for a search over options; greater is better."""

import numpy as np

from skrae.metrics.embedding import stress, trustworthiness


def trustworthiness_scorer(estimator, X, y=None, *, n_neighbors=10):
    """`trustworthiness` of the rows' codes, for ``GridSearchCV(scoring=trustworthiness_scorer)``.

    Parameters
    ----------
    estimator : fitted object
        With a method ``transform``, from rows to codes; a Pipeline too.
    X : array-like of shape (n_samples, n_features)
        Rows that the estimator was not fitted to, as a search passes them. Neighbours are sought
        among them, by distances in their units: those before any step of a Pipeline.
    y : object, default=None
        Ignored; for the convention of scorers.
    n_neighbors : int, default=10
        The number of neighbours, less than half of n_samples. In a search it is
        ``functools.partial(trustworthiness_scorer, n_neighbors=5)``.

    Returns
    -------
    score : float
        Between 0 and 1.

    Raises
    ------
    TypeError
        If the estimator has no ``transform``.
    ValueError
        If there are too few rows for so many neighbours, as in small folds.

    See Also
    --------
    stress_scorer : By distances, near and far.

    Notes
    -----
    An estimator's own score is no judge of its penalties: R^2 of reconstructions falls as any
    penalty on the codes grows, so a search of a penalty's weight by R^2 always takes 0.

    Examples
    --------
    Whether to scale the columns of a table before PCA is judged by neighbours in the table as it
    is.

    >>> from sklearn.datasets import load_wine
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import Pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skrae.metrics import trustworthiness_scorer
    >>> steps = Pipeline([("scale", None), ("code", PCA(2))])
    >>> grid = {"scale": ["passthrough", StandardScaler()]}
    >>> search = GridSearchCV(steps, grid, scoring=trustworthiness_scorer)
    >>> search.fit(load_wine().data).best_params_
    {'scale': 'passthrough'}
    """
    codes = _codes(estimator, X)
    n_rows = np.shape(codes)[0]
    if n_rows <= 2 * n_neighbors:
        raise ValueError(
            f"Got {n_rows} rows to score by {n_neighbors} neighbours each, expected at least"
            f" {2 * n_neighbors + 1}: search with fewer and larger folds (cv), or by"
            " functools.partial(trustworthiness_scorer, n_neighbors=...) with fewer neighbours."
        )
    return trustworthiness(X, codes, n_neighbors=n_neighbors)


def stress_scorer(estimator, X, y=None):
    """Minus the least `stress` of multiples of the rows' codes, for ``scoring=stress_scorer``.

    Parameters
    ----------
    estimator : fitted object
        With a method ``transform``, from rows to codes; a Pipeline too.
    X : array-like of shape (n_samples, n_features)
        At least two rows that the estimator was not fitted to, as a search passes them. Distances
        are in their units: those before any step of a Pipeline.
    y : object, default=None
        Ignored; for the convention of scorers.

    Returns
    -------
    score : float
        Between -1 and 0. The stress is that with ``scale=True``: candidates of a search may have
        codes of any unit, standardised ones among them, and a unit is no merit.

    Raises
    ------
    TypeError
        If the estimator has no ``transform``.

    See Also
    --------
    trustworthiness_scorer : By neighbours alone; why not by R^2.

    Examples
    --------
    Whitened codes have other distances than the rows.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skrae.metrics import stress_scorer
    >>> search = GridSearchCV(PCA(2), {"whiten": [True, False]}, scoring=stress_scorer)
    >>> search.fit(load_iris().data).best_params_
    {'whiten': False}
    """
    return -stress(X, _codes(estimator, X), scale=True)


def _codes(estimator, X):
    if not hasattr(estimator, "transform"):
        raise TypeError(
            f"Got {type(estimator).__name__} without transform, expected a fitted object that maps"
            " rows to codes."
        )
    return estimator.transform(X)
