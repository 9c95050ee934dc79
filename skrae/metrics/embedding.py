"""What a map X -> Z, of rows to codes, keeps of their neighbours and of their distances."""

import math
from functools import partial
from numbers import Integral

import numpy as np
from scipy.stats import rankdata

from skrae.metrics.spaces import checked_spaces, pairs_of_distances
from skrae.preprocessing.contract.options import check_number

# Ranks of all pairs are had at once, and with them what sorts them.
MAX_RANKED_PAIRS = 10**7
# Distances that differ by less of their mean differ by rounding alone.
LEAST_SPREAD = 1e-12


def trustworthiness(X, Z, *, n_neighbors=10, metric="euclidean", reference=None):
    r"""How near in X the neighbours in Z are: 1 minus the normalised sum of (rank in X - k)+.

    1 says that the k nearest rows in Z are the k nearest in X, 0 that they are the k farthest.
    What the map tears apart costs nothing here: see `continuity`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows before the map. For ``metric="precomputed"`` their distances: (n_samples, n_samples),
        or with a reference (n_samples, n_fitted).
    Z : array-like of shape (n_samples, n_components)
        The same rows after the map. Their distances are Euclidean.
    n_neighbors : int, default=10
        The number k of neighbours, less than half of n_samples; with a reference at most half of
        n_fitted.
    metric : str or callable, default="euclidean"
        The distance in X, as in :func:`sklearn.metrics.pairwise_distances`.
    reference : tuple (X_fit, Z_fit), default=None
        Other rows, (n_fitted, n_features), and their codes, (n_fitted, n_components), such as those
        that the map was fitted to: the neighbours of each row are sought among them. With
        ``metric="precomputed"`` it is ``(None, Z_fit)``. With None the neighbours of each row are
        sought among the other rows of X and Z.

    Returns
    -------
    trustworthiness : float
        Between 0 and 1; greater is better.

    Raises
    ------
    ValueError
        If tables do not fit each other or hold NaN, or for an option that is not allowed.
    TypeError
        If ``n_neighbors`` is no integer.

    See Also
    --------
    continuity : The same with X and Z exchanged.
    trustworthiness_scorer : For a search over options.

    Notes
    -----
    With :math:`\mathcal N_k(i)` the k nearest to row i in Z among N others, and r(i, j) the rank of
    j among the distances from i in X, 1 for the nearest,

    .. math::

        1 - \frac{2}{n k (2 N - 3 k + 1)} \sum_{i=1}^{n} \sum_{j \in \mathcal N_k(i)}
        \max(0, r(i, j) - k).

    N is n - 1, which gives scikit-learn's value, or n_fitted with a reference. A row's sum is
    largest where its neighbours in Z have the ranks N - k + 1 to N in X: then it is
    k (2 N - 3 k + 1) / 2, as long as 2 k <= N. Where distances are equal, ranks are arbitrary.

    References
    ----------
    Venna & Kaski (2001), "Neighborhood preservation in nonlinear projection methods: an
    experimental study", ICANN, 485-491.

    Examples
    --------
    Of a circle, one coordinate makes neighbours of rows that are none.

    >>> import numpy as np
    >>> from skrae.metrics import continuity, trustworthiness
    >>> angle = 2 * np.pi * np.random.default_rng(0).random(100)
    >>> circle = np.column_stack([np.cos(angle), np.sin(angle)])
    >>> round(trustworthiness(circle, circle[:, :1]), 2), trustworthiness(circle, circle)
    (0.77, 1.0)
    >>> round(continuity(circle, circle[:, :1]), 2)
    0.96

    The last rows are new to a map that was fitted to the first.

    >>> old, new = circle[:60], circle[60:]
    >>> round(trustworthiness(new, new[:, :1], reference=(old, old[:, :1])), 2)
    0.82
    """
    before, after = checked_spaces(X, Z, metric, reference)
    return _trustworthiness(before, after, n_neighbors)


def continuity(X, Z, *, n_neighbors=10, metric="euclidean", reference=None):
    """How near in Z the neighbours in X are: `trustworthiness` with X and Z exchanged.

    1 says that the map tears no neighbours apart; what it folds together costs nothing here.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows before the map, or their distances, as in `trustworthiness`.
    Z : array-like of shape (n_samples, n_components)
        The same rows after the map.
    n_neighbors : int, default=10
        The number of neighbours, less than half of n_samples; with a reference at most half of
        n_fitted.
    metric : str or callable, default="euclidean"
        The distance in X; that in Z is Euclidean.
    reference : tuple (X_fit, Z_fit), default=None
        Rows and codes among which neighbours are sought, as in `trustworthiness`.

    Returns
    -------
    continuity : float
        Between 0 and 1; greater is better.

    Raises
    ------
    ValueError
        If tables do not fit each other or hold NaN, or for an option that is not allowed.
    TypeError
        If ``n_neighbors`` is no integer.

    See Also
    --------
    trustworthiness : Its formula, and an example of both.

    References
    ----------
    Venna & Kaski (2001), "Neighborhood preservation in nonlinear projection methods: an
    experimental study", ICANN, 485-491.

    Examples
    --------
    >>> import numpy as np
    >>> from skrae.metrics import continuity, trustworthiness
    >>> rng = np.random.default_rng(0)
    >>> X, Z = rng.standard_normal((50, 5)), rng.standard_normal((50, 2))
    >>> continuity(X, Z) == trustworthiness(Z, X)
    True
    """
    before, after = checked_spaces(X, Z, metric, reference)
    return _trustworthiness(after, before, n_neighbors)


def _trustworthiness(ranked, searched, n_neighbors):
    """1 - sum (rank - k)+ / its largest, of ranks in one space of neighbours in the other."""
    n_others, k = ranked.n_others, n_neighbors
    _check_neighbors(k, n_others, n_others // 2)
    excess = ranked.ranks(searched.neighbors(k)) - k
    weight = 2.0 / (len(excess) * k * (2.0 * n_others - 3.0 * k + 1.0))
    return float(1.0 - excess[excess > 0].sum() * weight)


def _check_neighbors(n_neighbors, n_others, most):
    check_number("n_neighbors", n_neighbors, 1, kind=Integral)
    if n_neighbors > most:
        raise ValueError(
            f"Got n_neighbors={n_neighbors} of {n_others} rows to seek neighbours among, expected"
            f" at most {most}."
        )


def neighbor_recall(X, Z, *, n_neighbors=10, metric="euclidean", reference=None):
    r"""Share of each row's k nearest neighbours in X that are among its k nearest in Z.

    Unlike `trustworthiness` it asks whether a neighbour is kept, not how far it went.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows before the map, or their distances, as in `trustworthiness`.
    Z : array-like of shape (n_samples, n_components)
        The same rows after the map.
    n_neighbors : int, default=10
        The number of neighbours, less than n_samples; with a reference at most n_fitted.
    metric : str or callable, default="euclidean"
        The distance in X; that in Z is Euclidean.
    reference : tuple (X_fit, Z_fit), default=None
        Rows and codes among which neighbours are sought, as in `trustworthiness`: those that a
        search by codes would look through.

    Returns
    -------
    recall : float
        Between 0 and 1, the mean over rows; greater is better. Codes that know nothing of X give
        ``n_neighbors`` over the number of other rows.

    Raises
    ------
    ValueError
        If tables do not fit each other or hold NaN, or for an option that is not allowed.
    TypeError
        If ``n_neighbors`` is no integer.

    Notes
    -----
    With :math:`\mathcal N^X_k(i)` and :math:`\mathcal N^Z_k(i)` the k nearest to row i in either
    space,

    .. math::

        \frac{1}{n k} \sum_{i=1}^{n} |\mathcal N^X_k(i) \cap \mathcal N^Z_k(i)|.

    References
    ----------
    Lee & Verleysen (2009), "Quality assessment of dimensionality reduction: rank-based criteria",
    Neurocomputing 72, 1431-1443.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skrae.metrics import neighbor_recall
    >>> X = load_digits().data[:500]
    >>> [round(neighbor_recall(X, PCA(k).fit_transform(X)), 2) for k in (2, 5, 20, 64)]
    [0.3, 0.61, 0.9, 1.0]
    """
    before, after = checked_spaces(X, Z, metric, reference)
    n_others = before.n_others
    _check_neighbors(n_neighbors, n_others, n_others)
    # One number for each row and neighbour, so that neighbours are shared where numbers are.
    first = (n_others + 1) * np.arange(len(before.rows))[:, None]
    found = [(first + space.neighbors(n_neighbors)).ravel() for space in (before, after)]
    return np.intersect1d(*found, assume_unique=True).size / found[0].size


def stress(X, Z, *, metric="euclidean", scale=False, reference=None):
    r"""Relative error of distances, sqrt(sum (d_X - d_Z)^2 / sum d_X^2) over all pairs of rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows before the map, or their distances, as in `trustworthiness`.
    Z : array-like of shape (n_samples, n_components)
        The same rows after the map.
    metric : str or callable, default="euclidean"
        The distance in X, symmetric; that in Z is Euclidean.
    scale : bool, default=False
        Whether distances in Z are first multiplied by the factor that makes the stress least.
        Codes whose unit means nothing, such as standardised ones, can be compared only so.
    reference : tuple (X_fit, Z_fit), default=None
        Rows and codes from which to measure, as in `trustworthiness`: pairs are then of one row of
        X and one of X_fit. With None they are of two rows of X.

    Returns
    -------
    stress : float
        At least 0, where all distances are kept; lower is better. With ``scale=True`` at most 1.

    Raises
    ------
    ValueError
        If tables do not fit each other or hold NaN, if all distances in X are 0, or for an unknown
        metric.

    See Also
    --------
    stress_scorer : For a search over options.
    shepard_correlation : Whether distances are proportional up to a constant.

    Notes
    -----
    The best factor is

    .. math::

        a = \frac{\sum_{i<j} d_X(i, j) \, d_Z(i, j)}{\sum_{i<j} d_Z(i, j)^2}.

    Kruskal's stress-1 divides by the distances in Z; where each is multiplied by its own best
    factor, both are equal. Distances are had a block at a time, never all at once.

    References
    ----------
    Kruskal (1964), "Multidimensional scaling by optimizing goodness of fit to a nonmetric
    hypothesis", Psychometrika 29, 1-27.

    Smelser, Miller & Kobourov (2024), "'Normalized stress' is not normalized: how to interpret
    stress correctly", BELIV: why a comparison of maps needs the factor.

    Examples
    --------
    >>> import numpy as np
    >>> from skrae.metrics import stress
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> round(stress(X, 3.0 * X), 6), round(stress(X, 3.0 * X, scale=True), 6)
    (2.0, 0.0)
    >>> round(stress(X, X[:, :2]), 2), round(stress(X, X[:, :2], scale=True), 2)
    (0.29, 0.25)
    """
    blocks = partial(pairs_of_distances, *checked_spaces(X, Z, metric, reference))
    total, cross, after = _sums(blocks(), lambda x, z: (x @ x, x @ z, z @ z))
    if total == 0.0:
        raise ValueError(
            "Got X of rows whose distances are all 0, expected at least two different rows."
        )
    # Where all codes are equal every factor gives the same.
    factor = cross / after if scale and after > 0.0 else 1.0
    # Not of the sums above: where distances agree, their difference would be rounding alone.
    (rest,) = _sums(blocks(), lambda x, z: (np.square(x - factor * z).sum(),))
    return math.sqrt(rest / total)


def shepard_correlation(X, Z, *, method="pearson", metric="euclidean", reference=None):
    r"""Correlation of the distances in X with those in Z, over all pairs of rows.

    It is that of the points of a Shepard diagram. The distance correlation of Székely, Rizzo &
    Bakirov is another statistic, which is 0 for independent tables alone.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Rows before the map, or their distances, as in `trustworthiness`.
    Z : array-like of shape (n_samples, n_components)
        The same rows after the map.
    method : {"pearson", "spearman"}, default="pearson"
        "spearman" correlates the ranks of the distances, which all monotone changes of distances
        leave as they are; it holds all pairs at once, 10 million at most (4472 rows).
    metric : str or callable, default="euclidean"
        The distance in X, symmetric; that in Z is Euclidean.
    reference : tuple (X_fit, Z_fit), default=None
        Rows and codes from which to measure, as in `stress`.

    Returns
    -------
    correlation : float
        Between -1 and 1; greater is better.

    Raises
    ------
    ValueError
        If tables do not fit each other or hold NaN, if all distances of X or of Z are equal, for
        an unknown method or metric, and for more pairs than are ranked.

    Notes
    -----
    For "pearson" it is

    .. math::

        \frac{\sum_{i<j} (d_X(i, j) - \bar d_X) (d_Z(i, j) - \bar d_Z)}{\sqrt{
        \sum_{i<j} (d_X(i, j) - \bar d_X)^2 \sum_{i<j} (d_Z(i, j) - \bar d_Z)^2}}.

    A constant added to all distances leaves it as it is, unlike `stress`.

    References
    ----------
    Shepard (1962), "The analysis of proximities: multidimensional scaling with an unknown distance
    function", Psychometrika 27, 125-140.

    Examples
    --------
    >>> import numpy as np
    >>> from skrae.metrics import shepard_correlation
    >>> X = np.random.default_rng(0).standard_normal((100, 3))
    >>> round(shepard_correlation(X, 3.0 * X), 6), round(shepard_correlation(X, X[:, :2]), 2)
    (1.0, 0.84)
    >>> round(shepard_correlation(X, X[:, :2], method="spearman"), 2)
    0.82
    """
    if method not in ("pearson", "spearman"):
        raise ValueError(f"Got method={method!r}, expected 'pearson' or 'spearman'.")
    spaces = checked_spaces(X, Z, metric, reference)
    if method == "spearman":
        _check_ranked(spaces[0])
    correlation = _correlation(partial(pairs_of_distances, *spaces))
    if method == "pearson":
        return correlation
    parts = zip(*pairs_of_distances(*spaces), strict=True)
    ranks = [tuple(rankdata(np.concatenate(part)) for part in parts)]
    return _correlation(lambda: ranks)


def _check_ranked(space):
    n_pairs = len(space.rows) * space.n_others // (1 + space.in_sample)
    if n_pairs > MAX_RANKED_PAIRS:
        raise ValueError(
            f"Got {n_pairs} pairs for method='spearman', which ranks all of them at once, expected"
            f" at most {MAX_RANKED_PAIRS}: pass fewer rows, or method='pearson'."
        )


def _sums(blocks, function):
    """Sums over blocks of the numbers that the function gives of one."""
    return np.sum([function(*block) for block in blocks], axis=0)


def _correlation(blocks):
    """Pearson's, of pairs that `blocks` gives some at a time, anew at each call."""
    count, *totals = _sums(blocks(), lambda x, z: (x.size, x.sum(), z.sum()))
    means = np.array(totals) / count

    def products(x, z):
        x, z = x - means[0], z - means[1]
        return x @ x, z @ z, x @ z

    *squares, cross = _sums(blocks(), products)
    deviations = np.sqrt(squares)
    for name, equal in zip("XZ", deviations <= LEAST_SPREAD * np.sqrt(count) * means, strict=True):
        if equal:
            raise ValueError(
                f"Got {name} of rows whose distances are all equal, expected at least two"
                " different ones: of a constant there is no correlation."
            )
    return float(np.clip(cross / deviations[0] / deviations[1], -1.0, 1.0))
