"""Differential entropy and mutual information of rows, from distances to nearest neighbours."""

from numbers import Integral
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import digamma, gammaln
from sklearn.neighbors import KDTree, NearestNeighbors
from sklearn.utils import check_array

from skrae.preprocessing.contract.caller import warn
from skrae.preprocessing.contract.options import check_flag, check_number
from skrae.preprocessing.rows import merged, plain_array, refuse_missing

# In more columns a tree looks at nearly every row, and all rows by blocks are faster.
TREE_COLUMNS = 10
# A sum of columns is off by about this many last digits of the largest number in it.
ROUNDINGS = 4.0
# Of the size of a row: distances below are had by differences. Products err by 1e-8 of it.
ROUNDED_DISTANCE = 1e-5
FILL = "leave those rows out, or fill them before"
# The share of rows that may have an equal one without a word.
TOLERATED = 0.05


def knn_entropy(X, n_neighbors=3, whiten=True):
    r"""Differential entropy -E log p(x) in nats, by distances to the k-th nearest neighbours.

    psi(n) - psi(k) + log V + d mean log r, with r the Euclidean distance of a row to its k-th
    neighbour and V the volume of the unit ball in d dimensions.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        Rows of a continuous law, more than columns, finite. They are computed with in float64.
    n_neighbors : int, default=3
        The number k of the neighbour, less than n_samples. A greater one lowers the spread and
        raises the bias.
    whiten : bool, default=True
        Whether distances are taken between whitened rows; the log determinant of the whitening is
        added again. Without it, columns of small spread vanish beside those of large spread. In
        columns of one unit and little correlation it changes little.

    Returns
    -------
    entropy : float
        In nats, of a density in the units of X: it may be negative, and it grows by log c for each
        column that is multiplied by c.

    Raises
    ------
    TypeError
        If ``n_neighbors`` is no integer.
    ValueError
        If rows are too few, hold NaN, or lie in fewer dimensions than they have columns, as with a
        constant column (the entropy is minus infinity), or if more than k of them are equal, as
        rounded ones are.

    See Also
    --------
    knn_mutual_information : What two tables tell of each other.
    code_entropy_scorer : Entropy of codes for a search.

    Notes
    -----
    With :math:`\psi` the digamma function and :math:`r_k(i)` the distance of row i to its k-th
    neighbour among the n - 1 others,

    .. math::

        \hat h = \psi(n) - \psi(k) + \log V_d + \frac d n \sum_{i=1}^{n} \log r_k(i) ,
        \qquad V_d = \frac{\pi^{d/2}}{\Gamma(d/2 + 1)} .

    Whitened rows are :math:`z = S^{-1/2} (x - \bar x)`, with S the covariance of the rows, and
    :math:`\tfrac12 \log \det S` is added. The Euclidean distance between them does not depend on
    the choice of the square root, so that the estimate obeys
    :math:`h(A x + b) = h(x) + \log |\det A|` to rounding.

    The estimate takes the density to be constant as far as the k-th neighbour. In many dimensions
    that is far: of 1000 rows of N(0, I) it errs by -0.00, -0.01, -0.05, +0.11 and +1.15 nats in 1,
    2, 5, 10 and 20 dimensions, with a standard deviation of 0.03, 0.03, 0.05, 0.06 and 0.10
    (``python -m tests.benchmarks.information``). The maximum norm errs more in many dimensions.
    Rows with edges and long tails err sooner: five independent exponential columns by +0.54. A
    difference of two estimates errs less, where the tables have one shape and similar laws.

    References
    ----------
    Kozachenko & Leonenko (1987), "Sample estimate of the entropy of a random vector", Problems of
    Information Transmission 23, 95-101; for k > 1 and with the digamma function Kraskov, Stoegbauer
    & Grassberger (2004), "Estimating mutual information", Physical Review E 69, 066138, eq. 20.

    Examples
    --------
    >>> import numpy as np
    >>> from skrae.metrics import knn_entropy
    >>> X = np.random.default_rng(0).standard_normal((1000, 2))
    >>> round(knn_entropy(X), 1), round(float(np.log(2 * np.pi * np.e)), 1)
    (2.8, 2.8)

    In other units the entropy is another.

    >>> bool(np.isclose(knn_entropy(X * [1.0, 1000.0]), knn_entropy(X) + np.log(1000.0)))
    True
    """
    check_flag("whiten", whiten)
    return entropy_of("X", X, n_neighbors, whiten)


def checked_rows(name, X, n_neighbors):
    """A table of that name, `Standardised`, which has a density; ValueError where it has none."""
    X = _table(name, X)
    _check_neighbors(n_neighbors, len(X))
    _check_width(name, X)
    rows = _standardised(X)
    _check_full_rank(name, rows)
    _check_distinct(name, rows.Z, n_neighbors)
    return rows


def entropy_of(name, X, n_neighbors, whiten=True):
    """`knn_entropy` of a table of that name."""
    rows = checked_rows(name, X, n_neighbors)
    n, d = rows.Z.shape
    if whiten:
        Z, log_volume = rows.whitened(), np.log(rows.scales).sum() + np.log(rows.spreads).sum()
    else:
        largest = rows.scales.max()
        Z, log_volume = rows.Z * (rows.scales / largest), d * np.log(largest)
    radii = _radii(Z, n_neighbors, 2.0)
    if not radii.all():
        raise _repeated(name, (radii == 0.0).sum(), n_neighbors)
    unit_ball = d / 2.0 * np.log(np.pi) - gammaln(d / 2.0 + 1.0)
    constant = digamma(n) - digamma(n_neighbors) + unit_ball + log_volume
    return float(constant + d * np.log(radii).mean())


def knn_mutual_information(X, Y, n_neighbors=3, *, whiten=True):
    r"""Mutual information E log p(x, y) / (p(x) p(y)) of two tables in nats, by neighbours.

    psi(k) + psi(n) - mean of psi(n_x + 1) + psi(n_y + 1), where n_x rows are nearer in X, and n_y
    in Y, than the k-th neighbour in both.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features) or (n_samples,)
        Rows of a continuous law, finite.
    Y : array-like of shape (n_samples, n_targets) or (n_samples,)
        The rows that belong to them.
    n_neighbors : int, default=3
        The number k of neighbours, less than n_samples. A greater one lowers the spread, and raises
        the bias where much is known.
    whiten : bool, default=True
        Whether the columns within X, and those within Y, are decorrelated, for which there must be
        more rows than columns. Information stays the same, and the estimate errs less where columns
        of one table are correlated. Columns are always standardised.

    Returns
    -------
    information : float
        In nats. Not clipped: where X and Y are independent estimates scatter about 0, and half of
        them are negative. Clipped at 0 their mean would tell of information that is not there. A
        negative one says: none that so many rows can show.

    Raises
    ------
    TypeError
        If ``n_neighbors`` is no integer.
    ValueError
        If the tables have different lengths or too few rows, hold NaN, or if more than k rows of
        one of them are equal, as classes and rounded numbers are.

    See Also
    --------
    knn_entropy : Entropy of one table.
    sklearn.feature_selection.mutual_info_regression : The same of each column by itself, clipped at
        0.
    sklearn.feature_selection.mutual_info_classif : For classes.

    Notes
    -----
    With :math:`\epsilon(i)` the distance of row i to its k-th neighbour by the maximum norm over
    all columns of X and Y, and :math:`n_x(i)`, :math:`n_y(i)` the numbers of other rows that are
    nearer than that in X and in Y,

    .. math::

        \hat I = \psi(k) + \psi(n)
        - \frac1n \sum_{i=1}^{n} \bigl[ \psi(n_x(i) + 1) + \psi(n_y(i) + 1) \bigr] ,

    which is the same for X and Y exchanged. Rows are whitened by the symmetric square root of the
    correlations, z = C^{-1/2} s with s the standardised columns, so that shift, unit and order of
    the columns change nothing. What is the sum of other columns of its table adds nothing, and a
    constant column nothing either.

    **Much information is underestimated**, and the more so in many columns: to see it, rows must
    have neighbours as near as the noise is wide. Where the columns of X and Y are normal and
    correlate in pairs by 0.99, 1000 rows give 1.97 of the true 1.96 nats for one pair, and 4.6 of
    the true 9.8 for five pairs (``python -m tests.benchmarks.information``); fewer neighbours and
    more rows see a little more. Where Y is a function of X the information is infinite, and the
    estimate only says how many rows there are.

    Beyond five columns beside five, tens of thousands of rows take their time. Memory grows with
    the rows, not with their pairs.

    References
    ----------
    Kraskov, Stoegbauer & Grassberger (2004), "Estimating mutual information", Physical Review E 69,
    066138, eq. 8, their first estimator.

    Gao, Ver Steeg & Galstyan (2015), "Efficient estimation of mutual information for strongly
    dependent variables", AISTATS: why much information needs exponentially many rows.

    Examples
    --------
    A square is dependence without correlation; a normal pair has -log(1 - rho^2) / 2.

    >>> import numpy as np
    >>> from skrae.metrics import knn_mutual_information
    >>> rng = np.random.default_rng(0)
    >>> x, noise = rng.standard_normal((2, 1000))
    >>> round(knn_mutual_information(x, x**2 + 0.5 * noise), 1)
    0.7
    >>> round(knn_mutual_information(x, 0.6 * x + 0.8 * noise), 1), round(-float(np.log(0.8)), 1)
    (0.2, 0.2)
    >>> abs(knn_mutual_information(x, noise)) < 0.1
    True
    """
    check_flag("whiten", whiten)
    tables = {"X": _table("X", X), "Y": _table("Y", Y)}
    X, Y = tables.values()
    if len(X) != len(Y):
        raise ValueError(f"Got {len(X)} rows of X and {len(Y)} of Y, expected as many of both.")
    _check_neighbors(n_neighbors, len(X))
    spaces = [_space(name, own, n_neighbors, whiten) for name, own in tables.items()]
    # Nearer than the k-th neighbour, itself not included.
    radii = np.nextafter(_radii(np.hstack(spaces), n_neighbors, np.inf), 0.0)
    within = [_counts(space, radii) for space in spaces]
    known = sum(digamma(counts).mean() for counts in within)
    return float(digamma(n_neighbors) + digamma(len(X)) - known)


# --- rows -----------------------------------------------------------------------------------------


class Standardised(NamedTuple):
    """Columns of mean 0 and deviation 1, what they were divided by, and their principal axes."""

    Z: np.ndarray  # (n, d), 0 where a column is constant
    scales: np.ndarray  # (d,), the deviations, 0 of a constant column
    spreads: np.ndarray  # (min(n, d),), deviations along the axes, largest first
    axes: np.ndarray  # (min(n, d), d)
    least: float  # a spread that is not greater is rounding

    def whitened(self):
        """Z C^{-1/2} with C the correlations; directions without spread are left out."""
        kept = self.spreads > self.least
        axes = self.axes[kept]
        return self.Z @ (axes.T / self.spreads[kept]) @ axes


def _table(name, X):
    """Finite rows (n, d) of float64, or float32 where they are; one column of what has one axis."""
    X = plain_array(X)
    X = np.asarray(X)[:, None] if np.ndim(X) == 1 else X
    kinds = [np.float64, np.float32]
    X = check_array(X, dtype=kinds, order="C", ensure_all_finite="allow-nan", input_name=name)
    refuse_missing(X, FILL, name)
    return X


def _standardised(X):
    rounding = np.finfo(X.dtype).eps
    X = X.astype(np.float64)
    # Of the size of the largest, squares neither overflow nor vanish.
    largest = np.abs(X).max(axis=0)
    largest[largest == 0.0] = 1.0
    Z = X / largest
    Z -= Z.mean(axis=0)
    # The variance of a constant need not round to 0.
    scales = np.where(np.ptp(X, axis=0) > 0.0, Z.std(axis=0), 0.0)
    varies = scales > 0.0
    Z = np.divide(Z, scales, where=varies, out=np.zeros_like(Z))
    _, singular, axes = np.linalg.svd(Z, full_matrices=False)
    relative = 1.0 / scales[varies].min(initial=1.0)
    spreads = singular / np.sqrt(len(Z))
    least = ROUNDINGS * rounding * relative * spreads[0]
    return Standardised(Z, scales * largest, spreads, axes, least)


def _space(name, X, n_neighbors, whiten):
    """The rows between which distances say how much is known, (n, d)."""
    if whiten:
        _check_width(name, X)
    rows = _standardised(X)
    _check_distinct(name, rows.Z, n_neighbors, classes=True)
    return rows.whitened() if whiten else rows.Z


def _check_neighbors(n_neighbors, n_rows):
    check_number("n_neighbors", n_neighbors, 1, kind=Integral)
    if n_neighbors >= n_rows:
        raise ValueError(
            f"Got n_neighbors={n_neighbors} of {n_rows} rows, expected at most {n_rows - 1}: a row"
            " is no neighbour of its own."
        )


def _check_width(name, X):
    n, d = X.shape
    if n <= d:
        raise ValueError(
            f"Got {name} of {n} rows and {d} columns, expected more rows than columns: so few rows"
            " lie in a plane. Pass fewer columns, such as a code of them."
        )


def _check_full_rank(name, rows):
    if not rows.scales.all():
        constant = np.flatnonzero(rows.scales == 0.0).tolist()
        raise ValueError(
            f"Got {name} with constant columns {constant}, expected columns that vary: the entropy"
            " is minus infinity. Leave them out."
        )
    if rows.spreads[-1] <= rows.least:
        rank, d = (rows.spreads > rows.least).sum(), rows.Z.shape[1]
        raise ValueError(
            f"Got {name} of {d} columns in {rank} dimensions, expected columns none of which is a"
            " sum of others: the entropy is minus infinity. Leave such columns out, or pass the"
            f" {rank} components of a PCA."
        )


def _check_distinct(name, X, n_neighbors, classes=False):
    counts = merged(X, np.ones(len(X)))[1]
    most, share = int(counts.max()), counts[counts > 1.0].sum() / len(X)
    if most > n_neighbors:
        raise _repeated(name, most, n_neighbors, classes)
    if share > TOLERATED:
        warn(
            f"Got {name} of which {share:.0%} of the rows have an equal one, expected rows of a"
            " density, which are all distinct: neighbours at distance 0 bias the estimate. Pass the"
            " distinct rows, or add uniform noise as wide as the step of rounding."
        )


def _repeated(name, n_equal, n_neighbors, classes=False):
    advice = (
        "Where numbers are rounded, add uniform noise as wide as the step of rounding; where rows"
        " are repeated, pass the distinct ones; or take a larger n_neighbors."
    )
    if classes:
        other = "sklearn.feature_selection.mutual_info_classif"
        advice = f"Where these are classes, {other} is the estimate to take. {advice}"
    return ValueError(
        f"Got {name} with {n_equal} equal rows, expected at most n_neighbors={n_neighbors}:"
        f" neighbours at distance 0 are not those of a density. {advice}"
    )


# --- neighbours -----------------------------------------------------------------------------------


def _radii(Z, k, p):
    """Distance of each row to its k-th neighbour, by the Euclidean (p=2) or maximum norm, (n,)."""
    if Z.shape[1] <= TREE_COLUMNS:
        return cKDTree(Z).query(Z, k=[k + 1], p=p)[0][:, 0]
    metric = "euclidean" if p == 2.0 else "chebyshev"
    search = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=metric).fit(Z)
    if metric == "chebyshev":
        return search.kneighbors()[0][:, -1]
    numbers = search.kneighbors(return_distance=False).T
    radii = np.max([np.linalg.norm(Z - Z[column], axis=1) for column in numbers], axis=0)
    # Blocks are had as |x|^2 - 2 x.y + |y|^2, where the nearest of near rows are lost in rounding.
    close = radii < ROUNDED_DISTANCE * np.linalg.norm(Z, axis=1)
    if close.any():
        radii[close] = cKDTree(Z).query(Z[close], k=[k + 1])[0][:, 0]
    return radii


def _counts(Z, radii):
    """How many rows, itself among them, are within each row's radius by the maximum norm, (n,)."""
    return KDTree(Z, metric="chebyshev").query_radius(Z, radii, count_only=True)
