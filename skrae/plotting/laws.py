"""Laws as pictures: quantiles of a target along a column, and the marginals of columns in pairs."""

from numbers import Integral

import numpy as np

from skrae.plotting.panels import (
    DATA_COLOR,
    DRAWS_COLOR,
    FONT_SIZE,
    bin_edges,
    chosen_columns,
    column_names,
    evenly_spaced,
    frame_names,
    histogram,
    limits,
    one_panel,
    panels,
    require_matplotlib,
    small_ticks,
    transparency,
    wrapped,
)
from skrae.preprocessing.contract.options import check_number

MAX_FEATURES = 4
QUANTILES = 0.05, 0.25, 0.5, 0.75, 0.95


class ConditionalDisplay:
    """A fan of quantiles of a target along one column, over the rows.

    At each place of the column stands the law of the target given that column: the others are
    integrated out, or held at a row of one's own. Between the outermost quantiles the paler, the
    farther out; the middle one is a line where their number is odd.

    Parameters
    ----------
    places : ndarray of shape (n_places,)
        Of the column, increasing.
    quantiles : ndarray of shape (n_places, n_quantiles)
        Of the target there, increasing.
    levels : sequence of n_quantiles floats
    names : pair of str
        Of the column and the target, to label the axes.
    rows : ndarray of shape (n_samples, 2), default=None
        Values of both in rows, to show beside the law.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
        That of the axes.
    bands_ : list of PolyCollection
        From the widest to the narrowest.
    line_ : matplotlib Line2D, or None without a middle quantile
    scatter_ : PathCollection, or None without rows

    See Also
    --------
    DensityDisplay : The marginals of columns in pairs.
    skrae.RegularizedAutoEncoderScore.conditional : The laws that are drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from skrae import DensityRegressor, RegularizedAutoEncoderScore
    >>> from skrae.plotting import ConditionalDisplay
    >>> X = np.random.default_rng(0).uniform(1.0, 3.0, (500, 1))
    >>> y = X[:, 0] * (1.0 + np.random.default_rng(1).standard_normal(500))
    >>> density = RegularizedAutoEncoderScore(base_density="gaussian", random_state=0)
    >>> model = DensityRegressor(density).fit(X, y)
    >>> display = ConditionalDisplay.from_estimator(model, X, y, feature=0, ax=Figure().subplots())
    >>> len(display.bands_), display.quantiles.shape, display.ax_.get_ylabel()
    (2, (80, 5), 'y')
    """

    def __init__(self, *, places, quantiles, levels, names, rows=None):
        self.places = places
        self.quantiles = quantiles
        self.levels = levels
        self.names = names
        self.rows = rows

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        y=None,
        *,
        feature,
        target=None,
        given=None,
        levels=QUANTILES,
        n_places=80,
        n_points=1000,
        ax=None,
        **kwargs,
    ):
        """Draw the law of a target along a column of numbers.

        Parameters
        ----------
        estimator : fitted RegularizedAutoEncoderScore or DensityRegressor
        X : array-like or data frame of shape (n_samples, n_features)
            Rows of the columns of the fit: between the ends of the column, a few rows far out left
            aside, the law is drawn.
        y : array-like of shape (n_samples,), default=None
            Targets of a `DensityRegressor`, to show beside their law.
        feature : str or int
            The column along which.
        target : str or int, default=None
            The column whose law; None for a `DensityRegressor`, which has one.
        given : array-like or data frame of shape (1, n_features), default=None
            A row at which the other columns are held. None integrates them out.
        levels : sequence of floats in (0, 1), default=(0.05, 0.25, 0.5, 0.75, 0.95)
            Increasing, of quantiles.
        n_places : int, default=80
        n_points : int, default=1000
            The most rows to show: evenly spaced ones.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.scatter`, of the rows.

        Returns
        -------
        display : ConditionalDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``conditional``.
        ValueError
            If a column is unknown, the target is missing or superfluous, or `given` is not a row.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_number("n_places", n_places, 2, kind=Integral)
        _require(estimator, "conditional", cls.__name__)
        has_target = _has_target(estimator, target)
        names = column_names(None, frame_names(X), np.shape(X)[1])
        (column,) = chosen_columns(feature, names, "feature")
        values = _numbers(X, column)
        places = np.linspace(*_ends(values), n_places)
        rows = _rows_along(X, column, places, given)
        if has_target:
            own, name = (None if y is None else np.asarray(y, np.float64)), "y"
            law = estimator.conditional(rows)
        else:
            (place,) = chosen_columns(target, names, "target")
            own, name = _numbers(X, place), names[place]
            law = estimator.conditional(place, rows)
        shown = evenly_spaced(len(values), n_points)
        display = cls(
            places=places,
            quantiles=law.quantile(np.asarray(levels, np.float64)),
            levels=tuple(levels),
            names=(names[column], name),
            rows=None if own is None else np.stack([values[shown], own[shown]], axis=1),
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.scatter`, of the rows.

        Returns
        -------
        display : ConditionalDisplay
            Itself.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        self.ax_ = one_panel(ax, (6.0, 4.0))
        self.figure_ = self.ax_.figure
        n = len(self.levels)
        self.bands_ = []
        for i in range(n // 2):
            share = f"{100.0 * (self.levels[n - 1 - i] - self.levels[i]):.3g} %"
            # Opaque, so that the legend has the shades of the picture.
            look = {"color": _shade(0.5 * (i + 1) / (n // 2)), "linewidth": 0, "label": share}
            ends = self.quantiles[:, i], self.quantiles[:, n - 1 - i]
            self.bands_.append(self.ax_.fill_between(self.places, *ends, **look))
        self.line_ = None
        if n % 2:
            label = "median" if self.levels[n // 2] == 0.5 else f"{self.levels[n // 2]:g}"
            look = {"color": DRAWS_COLOR, "linewidth": 1.5, "label": label}
            (self.line_,) = self.ax_.plot(self.places, self.quantiles[:, n // 2], **look)
        self.scatter_ = None if self.rows is None else self._scatter(kwargs)
        self._finish()
        return self

    def _scatter(self, options):
        look = {"s": 8, "linewidths": 0, "color": DATA_COLOR, "zorder": 1.5, "label": "rows"}
        look["alpha"] = max(0.5, transparency(len(self.rows)))
        return self.ax_.scatter(*np.transpose(self.rows), **look | options)

    def _finish(self):
        parts = [self.quantiles.ravel()] + ([] if self.rows is None else [self.rows[:, 1]])
        self.ax_.set(xlim=(self.places[0], self.places[-1]), ylim=limits(*parts))
        small_ticks(self.ax_, n_x=5, n_y=5)
        style = {"size": FONT_SIZE, "parse_math": False}
        self.ax_.set_xlabel(self.names[0], **style)
        self.ax_.set_ylabel(self.names[1], **style)
        self.ax_.legend(fontsize=FONT_SIZE, frameon=False, loc="best")


class DensityDisplay:
    """The marginal densities of columns, one by one and in pairs, over the rows.

    On the diagonal the density of a column beside a histogram of the rows; below it contours of
    that of two columns, of the smallest regions of a probability of 10, 50 and 90 %, over the rows.

    Parameters
    ----------
    grids : list of d ndarray of shape (n_places,)
        Values of each column.
    lines : list of d ndarray of shape (n_places,)
        The density of each column there.
    planes : dict of (i, j), i > j, to ndarray (m, m)
        The density of columns i (down) and j (across) at every (n_places / m)-th value.
    names : list of d str
    X : ndarray of shape (n_samples, d), default=None
        Rows to show, NaN where unknown.

    Attributes
    ----------
    axes_ : ndarray of shape (d, d) of matplotlib Axes
        Those above the diagonal are empty.
    figure_ : matplotlib Figure
    lines_ : list of d matplotlib Line2D
    contours_ : dict of (i, j) to matplotlib QuadContourSet
    histograms_ : list of d matplotlib StepPatch; without X empty
    scatters_ : dict of (i, j) to matplotlib PathCollection; without X empty

    See Also
    --------
    PairDisplay : Draws in pairs, beside the data.
    ConditionalDisplay : The law of a target along a column.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from skrae import RegularizedAutoEncoderScore
    >>> from skrae.plotting import DensityDisplay
    >>> X = np.random.default_rng(0).standard_normal((500, 3))
    >>> model = RegularizedAutoEncoderScore(base_density="gaussian", random_state=0).fit(X)
    >>> display = DensityDisplay.from_estimator(
    ...     model, X, features=[0, 2], axes=Figure().subplots(2, 2)
    ... )
    >>> display.axes_.shape, sorted(display.contours_)
    ((2, 2), [(1, 0)])
    """

    def __init__(self, *, grids, lines, planes, names, X=None):
        self.grids = grids
        self.lines = lines
        self.planes = planes
        self.names = names
        self.X = X

    @classmethod
    def from_estimator(cls, estimator, X, *, features=None, n_places=160, axes=None, **kwargs):
        """Draw the marginals of a fitted density over rows.

        Parameters
        ----------
        estimator : fitted RegularizedAutoEncoderScore
        X : array-like or data frame of shape (n_samples, n_features)
            Rows of the columns of the fit.
        features : str, int or list of them, default=None
            Columns of numbers; None takes the first 4 columns.
        n_places : int, default=160
            Of each column; every fourth of them in pairs.
        axes : array of d^2 matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.scatter`, of the rows.

        Returns
        -------
        display : DensityDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``marginal``.
        ValueError
            If a feature is unknown or no number, or `axes` are not of the right number.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_number("n_places", n_places, 8, kind=Integral)
        _require(estimator, "marginal", cls.__name__)
        names = column_names(None, frame_names(X), np.shape(X)[1])
        first = range(min(len(names), MAX_FEATURES))
        columns = chosen_columns(first if features is None else features, names)
        rows = np.stack([_numbers(X, column) for column in columns], axis=1)
        grids = [np.linspace(*limits(values), n_places) for values in rows.T]
        lines = [
            np.exp(estimator.marginal(column).score_samples(grid))
            for column, grid in zip(columns, grids, strict=True)
        ]
        planes = {
            (i, j): _plane(estimator, X, (columns[j], columns[i]), grids[j][::4], grids[i][::4])
            for i in range(len(columns))
            for j in range(i)
        }
        names = [names[column] for column in columns]
        display = cls(grids=grids, lines=lines, planes=planes, names=names, X=rows)
        return display.plot(axes, **kwargs)

    def plot(self, axes=None, **kwargs):
        """Draw on `axes`, or on a new figure.

        Parameters
        ----------
        axes : array of d^2 matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.scatter`, of the rows.

        Returns
        -------
        display : DensityDisplay
            Itself.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        d = len(self.names)
        side = max(0.6 + 1.5 * d, 4.0)
        self.axes_ = panels(axes, d, d, (side, side), sharex="col")
        self.figure_ = self.axes_[0, 0].figure
        self.lines_, self.histograms_, self.contours_, self.scatters_ = [], [], {}, {}
        for i in range(d):
            self._plot_line(i)
            for j in range(i):
                self._plot_plane(i, j, kwargs)
            for panel in self.axes_[i, i + 1 :]:
                panel.set_axis_off()
        return self

    def _plot_line(self, i):
        panel, grid = self.axes_[i, i], self.grids[i]
        if self.X is not None:
            values = self.X[:, i]
            edges = bin_edges(values, grid[0], grid[-1], len(values))
            look = {"fill": True, "color": DATA_COLOR, "alpha": 0.4}
            self.histograms_.append(panel.stairs(histogram(values, edges), edges, **look))
        self.lines_ += panel.plot(grid, self.lines[i], color=DRAWS_COLOR, linewidth=1.5)
        panel.set(xlim=(grid[0], grid[-1]), ylim=(0.0, None))
        self._label(panel, i, i)

    def _plot_plane(self, i, j, options):
        panel, density = self.axes_[i, j], self.planes[i, j]
        if self.X is not None:
            look = {"s": 5, "linewidths": 0, "color": DATA_COLOR, "rasterized": True}
            look["alpha"] = transparency(len(self.X))
            self.scatters_[i, j] = panel.scatter(self.X[:, j], self.X[:, i], **look | options)
        across, down = self.grids[j][::4], self.grids[i][::4]
        look = {"colors": DRAWS_COLOR, "linewidths": (0.8, 1.1, 1.4)}
        heights = _heights(density, (0.9, 0.5, 0.1))
        self.contours_[i, j] = panel.contour(across, down, density, heights, **look)
        panel.set(xlim=(across[0], across[-1]), ylim=(down[0], down[-1]))
        self._label(panel, i, j)

    def _label(self, panel, i, j):
        last, style = len(self.names) - 1, {"size": FONT_SIZE, "parse_math": False}
        small_ticks(panel, labelbottom=i == last, labelleft=j < i and j == 0, left=j < i)
        if i == last:
            panel.set_xlabel(wrapped(self.names[j]), **style)
        if j == 0 and i > 0:
            panel.set_ylabel(wrapped(self.names[i]), **style)


def _shade(share):
    """White with a share of the colour of draws."""
    from matplotlib.colors import to_rgb

    return tuple(1.0 - share * (1.0 - part) for part in to_rgb(DRAWS_COLOR))


def _require(estimator, method, caller):
    if not hasattr(estimator, method):
        raise TypeError(
            f"Got {caller} of {type(estimator).__name__} without {method}, expected a fitted"
            " RegularizedAutoEncoderScore or what is made of one."
        )


def _has_target(estimator, target):
    """Whether the estimator has a target of its own; ValueError for one more, or none at all."""
    own = hasattr(estimator, "predict")
    if own and target is not None:
        raise ValueError(f"Got target={target!r} for a regressor, expected None: it has its own.")
    if not own and target is None:
        raise ValueError("Got target=None, expected the column whose law is to be drawn.")
    return own


def _column_of(X, column):
    if hasattr(X, "iloc"):
        return np.asarray(X.iloc[:, column])
    return X[:, column].to_numpy() if hasattr(X, "get_columns") else np.asarray(X)[:, column]


def _numbers(X, column):
    """A column as float64, NaN where missing; ValueError where it is no number."""
    values = _column_of(X, column)
    try:
        return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"Got column {column} with {values[0]!r}, expected a column of numbers."
        ) from None


def _ends(values):
    """Between which all but a few rows lie."""
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.01, 0.99])
    return (low, high) if low < high else limits(finite)


def _rows_along(X, column, places, given):
    """Rows of the container of X with these values of a column; the others missing, or as given."""
    n, d = len(places), np.shape(X)[1]
    if given is None:
        others = [None] * d
    elif np.shape(given) == (1, d):
        others = [_column_of(given, j)[0] for j in range(d)]
    else:
        raise ValueError(f"Got given of shape {np.shape(given)}, expected (1, {d}), a row.")
    columns = [places if j == column else [others[j]] * n for j in range(d)]
    if hasattr(X, "columns"):
        return type(X)(dict(zip(X.columns, columns, strict=True)))
    if np.asarray(X).dtype.kind in "biuf":
        return np.array(columns, dtype=np.float64).T
    rows = np.empty((n, d), dtype=object)
    for j, values in enumerate(columns):
        rows[:, j] = values
    return rows


def _plane(estimator, X, columns, across, down):
    """The density of two columns, (len(down), len(across)): p(a) p(b | a), of smooth laws each."""
    first, second = columns
    law = estimator.conditional(second, _rows_along(X, first, across, None))
    log_density = law.score_samples(np.tile(down, (len(across), 1))).T
    return np.exp(log_density + estimator.marginal(first).score_samples(across))


def _heights(density, shares):
    """Densities above which lie these shares of the probability on a grid, increasing."""
    ranked = np.sort(density.ravel())[::-1]
    below = np.cumsum(ranked) / ranked.sum()
    return np.unique([ranked[np.searchsorted(below, share)] for share in shares]).tolist()
