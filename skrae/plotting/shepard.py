"""ShepardDisplay: distances between rows against those between their codes."""

from numbers import Integral

import numpy as np
from sklearn.metrics import pairwise_distances
from sklearn.utils import check_array, check_consistent_length, check_random_state

from skrae.metrics import shepard_correlation, stress
from skrae.plotting.panels import (
    FONT_SIZE,
    WARNING_COLOR,
    codes_of,
    colour_bar,
    one_panel,
    require_matplotlib,
    small_ticks,
)
from skrae.preprocessing.contract.options import check_number

N_BINS = 80


def _some_rows(n, most, random_state):
    """Indices of at most so many of n rows, drawn without replacement, in their order."""
    check_number("max_samples", most, 2, kind=Integral)
    if n <= most:
        return np.arange(n)
    return np.sort(check_random_state(random_state).permutation(n)[:most])


class ShepardDisplay:
    """Shepard diagram: a histogram of pairs by their distance before and after a map.

    Where a map keeps distances, pairs lie on the diagonal, which is drawn. The number of pairs is
    coloured on a logarithmic scale.

    Parameters
    ----------
    before, after : ndarray of shape (n_pairs,)
        Distances between rows, and between their codes, of the same pairs.
    stress, correlation : float
        To write above: `skrae.metrics.stress` and `skrae.metrics.shepard_correlation` of the pairs.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
        That of the axes.
    histogram_ : matplotlib QuadMesh
        Bins without a pair are masked.
    line_ : matplotlib Line2D
        The diagonal.
    colorbar_ : matplotlib Colorbar

    See Also
    --------
    skrae.metrics.stress : Its formula.
    CodeDisplay : The codes themselves.

    References
    ----------
    Shepard (1962), "The analysis of proximities: multidimensional scaling with an unknown distance
    function", Psychometrika 27, 125-140.

    Examples
    --------
    A projection shortens distances: all pairs lie below the diagonal.

    >>> from matplotlib.figure import Figure
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skrae.plotting import ShepardDisplay
    >>> X = load_iris().data
    >>> display = ShepardDisplay.from_estimator(PCA(1).fit(X), X, ax=Figure().subplots())
    >>> bool((display.after <= display.before + 1e-9).all())
    True
    >>> display.ax_.get_title(loc="left")
    'stress 0.109   correlation 0.992'
    """

    def __init__(self, *, before, after, stress, correlation):
        self.before = before
        self.after = after
        self.stress = stress
        self.correlation = correlation

    @classmethod
    def from_estimator(cls, estimator, X, *, ax=None, **options):
        """Draw the distances between rows of X against those between their codes.

        Parameters
        ----------
        estimator : fitted object
            With a method ``transform``, from rows to codes; a Pipeline too.
        X : array-like of shape (n_samples, n_features)
            Distances are in their units: where the estimator scales columns, those before that.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **options
            As of `from_codes`.

        Returns
        -------
        display : ShepardDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``transform``.
        """
        codes = codes_of(estimator, X, cls.__name__)
        return cls.from_codes(X, codes, ax=ax, **options)

    @classmethod
    def from_codes(
        cls,
        X,
        Z,
        *,
        metric="euclidean",
        max_samples=1000,
        random_state=None,
        ax=None,
        **kwargs,
    ):
        """Draw the distances between rows of X against those between their codes Z.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            For ``metric="precomputed"`` their distances, (n_samples, n_samples).
        Z : array-like of shape (n_samples, n_components)
            Their distances are Euclidean.
        metric : str or callable, default="euclidean"
            The distance in X, as in :func:`sklearn.metrics.pairwise_distances`.
        max_samples : int >= 2, default=1000
            Of more rows, so many are drawn, and all their pairs are shown; stress and correlation
            are of them, too.
        random_state : int, RandomState instance or None, default=None
            Of that draw.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.hist2d`.

        Returns
        -------
        display : ShepardDisplay
            Drawn.

        Raises
        ------
        TypeError
            If `max_samples` is no integer.
        ValueError
            If X and Z do not fit each other, or for what `skrae.metrics.stress` refuses.
        """
        require_matplotlib(f"{cls.__name__}.from_codes")
        X, Z = (
            check_array(table, dtype=np.float64, ensure_min_samples=2, input_name=name)
            for name, table in (("X", X), ("Z", Z))
        )
        check_consistent_length(X, Z)
        rows = _some_rows(len(X), max_samples, random_state)
        X, Z = X[np.ix_(rows, rows)] if metric == "precomputed" else X[rows], Z[rows]
        pairs = np.triu_indices(len(rows), 1)
        display = cls(
            stress=stress(X, Z, metric=metric),
            correlation=shepard_correlation(X, Z, metric=metric),
            before=pairwise_distances(X, metric=metric)[pairs],
            after=pairwise_distances(Z)[pairs],
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.hist2d`.

        Returns
        -------
        display : ShepardDisplay
            Itself.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        self.ax_ = one_panel(ax, (5.5, 5.0))
        self.figure_ = self.ax_.figure
        ends = [(0.0, np.max(values) or 1.0) for values in (self.before, self.after)]
        look = {"bins": N_BINS, "range": ends, "cmap": "viridis_r", "norm": "log", "cmin": 1}
        *_, self.histogram_ = self.ax_.hist2d(self.before, self.after, **{**look, **kwargs})
        end = max(ends)[1]
        self.line_ = self.ax_.axline((0.0, 0.0), (end, end), color=WARNING_COLOR, linewidth=1.0)
        self.ax_.set(xlim=ends[0], ylim=ends[1])
        self.colorbar_ = colour_bar(self.ax_, self.histogram_)
        self.colorbar_.set_label("pairs", size=FONT_SIZE)
        title = f"stress {self.stress:.3f}   correlation {self.correlation:.3f}"
        self.ax_.set_title(title, loc="left", size=FONT_SIZE)
        small_ticks(self.ax_, n_x=5, n_y=5)
        self.ax_.set_xlabel("distance between rows", size=FONT_SIZE)
        self.ax_.set_ylabel("distance between codes", size=FONT_SIZE)
        return self
