"""Metrics of codes for a search over options; greater is better."""

from functools import lru_cache
from numbers import Integral

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.utils import check_array

from skrae.metrics.embedding import stress, trustworthiness
from skrae.metrics.information import checked_rows, entropy_of
from skrae.preprocessing.contract.options import check_number
from skrae.preprocessing.rows import plain_array

NORMAL_ENTROPY = 0.5 * np.log(2.0 * np.pi * np.e)  # of deviation 1
# Normal tables whose mean estimate stands for that of independent normal codes.
N_NORMAL_TABLES = 4
# By how much rows outnumber components: in a few, two components have the same ranks by chance.
LEAST_MORE = 10


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


def code_entropy_scorer(estimator, X, y=None, *, n_neighbors=3):
    r"""Entropy of the rows' standardised code, less that of a normal one, in nats per component.

    0 says that components are independent and normal, which at mean 0 and deviation 1 is the
    greatest entropy there is, log(2 pi e) / 2 = 1.42 for each. Below is what is missing.

    Parameters
    ----------
    estimator : fitted object
        With a method ``transform``, from rows to codes; a Pipeline too.
    X : array-like of shape (n_samples, n_features)
        Rows that the estimator was not fitted to, as a search passes them: at least ten more than
        components or neighbours.
    y : object, default=None
        Ignored; for the convention of scorers.
    n_neighbors : int, default=3
        The neighbour that `knn_entropy` measures the distance to. In a search it is
        ``functools.partial(code_entropy_scorer, n_neighbors=5)``.

    Returns
    -------
    score : float
        At most 0, but for the spread of the estimate; greater is better.

    Raises
    ------
    TypeError
        If the estimator has no ``transform``, or ``n_neighbors`` is no integer.
    ValueError
        If rows are too few, or if the code has no density: a component that is constant, a sum of
        others or a monotone function of one, or that has more than ``n_neighbors`` equal values,
        as sparse codes have zeros. A search counts that as worse than any score.

    See Also
    --------
    knn_entropy : The estimate, and its bias.
    trustworthiness_scorer : Why not by the estimator's own score.

    Notes
    -----
    With u the code at mean 0 and deviation 1 over the rows given, each component by itself, and d
    their number, the score estimates

    .. math::

        \frac1d \Bigl( h(u) - \frac d2 \log 2 \pi e \Bigr)
        = - \frac1d \Bigl( \sum_{a=1}^{d} J(u_a) + I(u_1; \dots; u_d) \Bigr) ,

    with J how far a component is from normal (its negentropy), and I what the components tell of
    each other (their total correlation), in nats. Unit and place of a component are no merit.

    The entropy itself grows with d, and so does the bias of its estimate. Here codes of 2 and of 20
    components can be compared: the score is divided by d, and its parts are estimated where they
    are least biased. J is had of each component alone. I is the same after components are replaced
    by their normal scores, and is then what the estimate of their entropy lacks of that of as many
    rows of N(0, I), treated in the same way, which are the same at each call. Of independent
    uniform components, whose score is -0.18, 1000 rows say -0.17 to -0.19 in 1 to 20 components.
    Dependence without correlation is seen less in many.

    **A search by it alone takes the most entropic code there is**, whatever the code still says of
    the row, just as R^2 takes a weight of 0. Score by both, and pass ``refit`` a function that
    takes, say, the best R^2 among those whose entropy is above -0.1.

    References
    ----------
    Comon (1994), "Independent component analysis, a new concept?", Signal Processing 36, 287-314,
    for the two parts.

    Examples
    --------
    Two components of a table with clusters, as they are and each bent to a normal law.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import QuantileTransformer
    >>> from skrae.metrics import code_entropy_scorer
    >>> X = load_iris().data
    >>> normal = QuantileTransformer(n_quantiles=50, output_distribution="normal")
    >>> bent = make_pipeline(PCA(2), normal).fit(X)
    >>> round(code_entropy_scorer(PCA(2).fit(X), X), 2), round(code_entropy_scorer(bent, X), 2)
    (-0.34, 0.02)
    """
    check_number("n_neighbors", n_neighbors, 1, kind=Integral)
    codes = check_array(plain_array(_codes(estimator, X)), dtype=np.float64, input_name="codes")
    n, d = codes.shape
    least = max(d, n_neighbors) + LEAST_MORE
    if n < least:
        raise ValueError(
            f"Got {n} rows to score by {n_neighbors} neighbours of codes of {d} components,"
            f" expected at least {least}: search with fewer and larger folds (cv)."
        )
    u = checked_rows("codes", codes, n_neighbors).Z
    alone = [entropy_of(f"codes, component {a},", u[:, a], n_neighbors) for a in range(d)]
    together = _normal_scores_entropy(u, n_neighbors) - _normal_entropy(n, d, n_neighbors)
    return float(np.mean(alone) - NORMAL_ENTROPY + together / d)


def _normal_scores_entropy(Z, n_neighbors):
    """Entropy of rows (n, d) whose columns are replaced by their normal scores."""
    levels = (rankdata(Z, axis=0) - 0.5) / len(Z)
    return entropy_of("normal scores of codes", ndtri(levels), n_neighbors)


@lru_cache(maxsize=128)
def _normal_entropy(n, d, n_neighbors):
    """The same of n rows of N(0, I) in d dimensions, the mean of some tables."""
    rng = np.random.default_rng(0)
    tables = (rng.standard_normal((n, d)) for _ in range(N_NORMAL_TABLES))
    return np.mean([_normal_scores_entropy(Z, n_neighbors) for Z in tables])


def _codes(estimator, X):
    if not hasattr(estimator, "transform"):
        raise TypeError(
            f"Got {type(estimator).__name__} without transform, expected a fitted object that maps"
            " rows to codes."
        )
    return estimator.transform(X)
