"""PairDisplay: scatter plots of all pairs of features, beside the data."""

from numbers import Integral

import numpy as np
from sklearn.utils import check_array

from skrae.plotting.panels import (
    DATA_COLOR,
    DRAWS_COLOR,
    FONT_SIZE,
    bin_edges,
    chosen_columns,
    column_names,
    count_outside,
    evenly_spaced,
    frame_names,
    histogram,
    limits,
    mark_outside,
    panels,
    require_matplotlib,
    small_ticks,
    transparency,
    wrapped,
    write_outside,
)
from skrae.preprocessing.contract.options import check_number

MAX_FEATURES = 5


def _rows_and_names(chains):
    """All draws as rows, and the names that chains or a data frame gives their columns, or None."""
    if hasattr(chains, "fit"):
        name = type(chains).__name__
        raise TypeError(
            f"Got chains as a {name}, expected Chains or rows, such as its sample(500)."
        )
    names = frame_names(chains)
    # A frame may have a column called "draws".
    if not hasattr(chains, "columns") and hasattr(chains, "draws"):
        names = getattr(chains, "feature_names", None)
        chains = np.reshape(chains.draws, (-1, np.shape(chains.draws)[-1]))
    return check_array(chains, dtype=np.float64, input_name="draws"), names


def _data_and_names(X, d, draws_names):
    """The data, checked to have the d columns of the draws in their order, and their names."""
    if X is None:
        return None, None
    names = frame_names(X)
    X = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan", input_name="X")
    if X.shape[1] != d:
        raise ValueError(f"Got X of {X.shape[1]} columns, expected {d}, as the draws have.")
    if names and draws_names and names != draws_names and set(names) == set(draws_names):
        raise ValueError(f"Got X with columns {names}, expected the draws' order, {draws_names}.")
    return X, names


def _colors(artist):
    """RGBA of points: of their faces, or of the edges of hollow ones."""
    faces = artist.get_facecolor()
    return faces if len(faces) else artist.get_edgecolor()


class PairDisplay:
    """Scatter plots of all pairs of features, below a diagonal of marginal histograms.

    Rows of data, if given, are overlaid in a second colour: draws of a density that fits the
    data lie where the data do. Histograms count all rows; the scatter plots show `n_points`.

    A few values far from all others do not rule an axis: they are left outside. Crosses on the
    edges of the scatter plots mark them, and their number is written above the histogram.

    Parameters
    ----------
    draws : ndarray of shape (n, n_features)
        Of the features to show only.
    feature_names : list of str
        One for each column of `draws`, to label the axes.
    X : ndarray of shape (n_samples, n_features), default=None
        Data to compare with, NaN where unknown.

    Attributes
    ----------
    axes_ : ndarray of shape (n_features, n_features) of matplotlib Axes
        Those above the diagonal are empty.
    figure_ : matplotlib Figure
        That of the axes.
    scatters_, data_scatters_ : ndarray of shape (n_features, n_features) of PathCollection
        Of the draws and of X, None on and above the diagonal.
    histograms_, data_histograms_ : list of n_features matplotlib StepPatch
        Without X, the second is empty.
    n_outside_, n_data_outside_ : ndarray of shape (n_features,)
        How many of all draws and of all rows of X lie outside of the axis of a feature.

    See Also
    --------
    TraceDisplay : The chains one by one, over their draws.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from skrae.plotting import PairDisplay
    >>> rng = np.random.default_rng(0)
    >>> draws, X = rng.standard_normal((5000, 2)), rng.standard_normal((300, 2))
    >>> X[0, 1] = 1e6
    >>> display = PairDisplay.from_chains(draws, X=X, axes=Figure().subplots(2, 2))

    The wild value of the second feature is counted, and does not rule its axis:

    >>> display.n_data_outside_
    array([0, 1])
    >>> np.round(display.axes_[1, 0].get_ylim(), 1)
    array([-4.1,  4.3])
    """

    def __init__(self, *, draws, feature_names, X=None):
        self.draws = draws
        self.feature_names = feature_names
        self.X = X

    @classmethod
    def from_chains(
        cls,
        chains,
        *,
        features=None,
        X=None,
        feature_names=None,
        n_points=2000,
        axes=None,
        **kwargs,
    ):
        """Draw the pairs of features of `chains`.

        Parameters
        ----------
        chains : Chains or array-like of shape (n, d)
            Draws, of all chains together; a data frame gives names too.
        features : str, int or list of them, default=None
            Names or indices of columns; None shows the first 5.
        X : array-like of shape (n_samples, d), default=None
            Data to compare with, in all columns of the draws and in their order; NaN where
            unknown.
        feature_names : list of str, default=None
            One for each of the d columns. None takes those of `chains`, or else the columns of
            `chains` or of `X` where that is a data frame, or else x0, x1, ...
        n_points : int, default=2000
            The most draws, and the most rows of X, in a scatter plot: evenly spaced ones.
        axes : array of n_features^2 matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.scatter`, of the draws.

        Returns
        -------
        display : PairDisplay
            Drawn.

        Raises
        ------
        TypeError
            If a feature is neither a name nor an index, or `n_points` is no integer.
        ValueError
            If a feature is unknown, if X has not d columns or has those of the draws in another
            order, if `axes` or `feature_names` are not of the right number, or if `n_points` < 1.
        """
        require_matplotlib(f"{cls.__name__}.from_chains")
        draws, draws_names = _rows_and_names(chains)
        X, X_names = _data_and_names(X, draws.shape[1], draws_names)
        found = X_names if draws_names is None else draws_names
        names = column_names(feature_names, found, draws.shape[1])
        columns = chosen_columns(
            range(min(len(names), MAX_FEATURES)) if features is None else features, names
        )
        display = cls(
            draws=draws[:, columns],
            feature_names=[names[column] for column in columns],
            X=None if X is None else X[:, columns],
        )
        return display.plot(axes, n_points=n_points, **kwargs)

    def plot(self, axes=None, *, n_points=2000, **kwargs):
        """Draw on `axes`, or on a new figure.

        Parameters
        ----------
        axes : array of n_features^2 matplotlib Axes, default=None
            None makes a new figure.
        n_points : int, default=2000
            The most draws, and the most rows of X, in a scatter plot: evenly spaced ones.
        **kwargs
            For `Axes.scatter`, of the draws.

        Returns
        -------
        display : PairDisplay
            Itself.

        Raises
        ------
        TypeError, ValueError
            If `n_points` is no positive integer, or `axes` are not of the right number.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        check_number("n_points", n_points, 1, kind=Integral)
        d = len(self.feature_names)
        side = max(0.6 + 1.5 * d, 4.0)
        self.axes_ = panels(axes, d, d, (side, side), sharex="col")
        self.figure_ = self.axes_[0, 0].figure
        draws = self.draws[evenly_spaced(len(self.draws), n_points)]
        X = None if self.X is None else self.X[evenly_spaced(len(self.X), n_points)]
        self._set_limits()
        self.scatters_ = self._scatter(draws, {"color": DRAWS_COLOR, **kwargs})
        self.data_scatters_ = self._scatter(X, {"color": DATA_COLOR})
        self._plot_histograms()
        self._count_outside()
        self._label_axes()
        return self

    def _set_limits(self):
        """Give a feature the same limits wherever it is an axis; empty the panels above."""
        parts = [self.draws] if self.X is None else [self.draws, self.X]
        for feature in range(len(self.axes_)):
            low, high = limits(*(part[:, feature] for part in parts))
            for panel in self.axes_[feature:, feature]:
                panel.set_xlim(low, high)
            for panel in self.axes_[feature, :feature]:
                panel.set_ylim(low, high)
            for panel in self.axes_[feature, feature + 1 :]:
                panel.set_axis_off()

    def _scatter(self, rows, options):
        """Draw rows in every panel below the diagonal; return the artists, None elsewhere."""
        artists = np.full(self.axes_.shape, None, dtype=object)
        if rows is None:
            return artists
        looks = {"s": 6, "linewidths": 0, "alpha": transparency(len(rows)), "rasterized": True}
        for i, j in zip(*np.tril_indices(len(artists), -1), strict=True):
            panel, x, y = self.axes_[i, j], rows[:, j], rows[:, i]
            artists[i, j] = panel.scatter(x, y, **looks | options)
            mark_outside(panel, x, y, _colors(artists[i, j]))
        return artists

    def _plot_histograms(self):
        self.histograms_, self.data_histograms_ = [], []
        for feature, panel in enumerate(self.axes_.diagonal()):
            low, high = panel.get_xlim()
            draws = self.draws[:, feature]
            edges = bin_edges(draws, low, high, len(draws))
            look = {"fill": True, "color": DRAWS_COLOR, "alpha": 0.5, "label": "draws"}
            self.histograms_.append(panel.stairs(histogram(draws, edges), edges, **look))
            if self.X is None:
                continue
            values = self.X[:, feature]
            edges = bin_edges(values, low, high, len(values))
            look = {"color": DATA_COLOR, "linewidth": 1.5, "label": "data"}
            self.data_histograms_.append(panel.stairs(histogram(values, edges), edges, **look))

    def _count_outside(self):
        """Count what lies outside of each feature's axis, and write it above the histogram."""
        panels_of_features = self.axes_.diagonal()
        no_rows = np.empty((0, len(panels_of_features)))
        self.n_outside_, self.n_data_outside_ = (
            np.array(
                [
                    count_outside(values, *panel.get_xlim())
                    for values, panel in zip(rows.T, panels_of_features, strict=True)
                ]
            )
            for rows in (self.draws, no_rows if self.X is None else self.X)
        )
        counts = zip(panels_of_features, self.n_outside_, self.n_data_outside_, strict=True)
        for panel, n_draws, n_data in counts:
            write_outside(panel, draws=n_draws, data=n_data)

    def _label_axes(self):
        d = len(self.axes_)
        names = [wrapped(name) for name in self.feature_names]
        style = {"size": FONT_SIZE, "parse_math": False}
        for i, j in zip(*np.tril_indices(d), strict=True):
            panel = self.axes_[i, j]
            small_ticks(panel, labelbottom=i == d - 1, labelleft=j < i and j == 0, left=j < i)
            if i == d - 1:
                panel.set_xlabel(names[j], **style)
            if j == 0 and i > 0:
                panel.set_ylabel(names[i], **style)
        if self.X is not None:
            handles = [self.histograms_[0], self.data_histograms_[0]]
            self.axes_[0, -1].legend(handles=handles, loc="upper right", fontsize=FONT_SIZE)
