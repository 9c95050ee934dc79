"""CodeDisplay: two units of the codes of rows, coloured by what is known of them."""

import numpy as np
from sklearn.utils import column_or_1d

from skrae.plotting.panels import (
    DRAWS_COLOR,
    FONT_SIZE,
    chosen_columns,
    code_names,
    codes_of,
    colour_bar,
    count_outside,
    limits,
    mark_outside,
    one_panel,
    require_matplotlib,
    small_ticks,
    transparency,
    write_outside,
)

# Whole numbers of no more values than this are labels; each has a colour that can be told apart.
MAX_LABELS = 20


def are_labels(y):
    """Whether values are labels, with a legend, not numbers on a scale.

    >>> are_labels(np.array(["a", "b"])), are_labels(np.array([0, 2, 2])), are_labels(np.arange(99))
    (True, True, False)
    >>> are_labels(np.array([0.5, 1.5]))
    False
    """
    return y.dtype.kind not in "iuf" or (y.dtype.kind in "iu" and len(np.unique(y)) <= MAX_LABELS)


def _checked_values(y, n):
    """y as an array (n,); None where there is none."""
    if y is None:
        return None
    y = column_or_1d(y)
    if len(y) != n:
        raise ValueError(f"Got y of {len(y)} values, expected {n}, one for each row of X.")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("Got y with NaN or infinity, expected finite numbers or labels.")
    return y.astype(str) if y.dtype.kind == "O" else y


class CodeDisplay:
    """Scatter plot of two units of the code, coloured by labels or by numbers.

    A few codes far from all others do not rule the axes: they are left outside. Crosses on the
    edges mark them, and their number is written above.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, 2)
    names : list of 2 str
        To label the axes.
    y : ndarray of shape (n_samples,), default=None
        Strings, or whole numbers of at most 20 values, are labels, with a legend; other numbers
        have a colour bar.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
        That of the axes.
    scatters_ : list of matplotlib PathCollection
        One for each label, in their order, or one for all rows.
    legend_ : matplotlib Legend, or None without labels
    colorbar_ : matplotlib Colorbar, or None without numbers
    n_outside_ : int
        How many codes lie outside of the axes.

    See Also
    --------
    ShepardDisplay : Whether distances between codes are those between rows.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.decomposition import PCA
    >>> from skrae.plotting import CodeDisplay
    >>> iris = load_iris()
    >>> display = CodeDisplay.from_estimator(
    ...     PCA(2).fit(iris.data), iris.data, y=iris.target_names[iris.target],
    ...     ax=Figure().subplots()
    ... )
    >>> [text.get_text() for text in display.legend_.get_texts()]
    ['setosa', 'versicolor', 'virginica']
    >>> display.ax_.get_xlabel(), display.n_outside_
    ('pca0', 0)
    """

    def __init__(self, *, codes, names, y=None):
        self.codes = codes
        self.names = names
        self.y = y

    @classmethod
    def from_estimator(cls, estimator, X, *, y=None, components=(0, 1), ax=None, **kwargs):
        """Draw two units of the codes of X.

        Parameters
        ----------
        estimator : fitted object
            With a method ``transform``, from rows to codes; a Pipeline too.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Labels or numbers, to colour the codes.
        components : pair of int or str, default=(0, 1)
            Which units, by index or by name (that of ``get_feature_names_out``, or else code0,
            code1, ...), along the horizontal and the vertical axis.
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.scatter`.

        Returns
        -------
        display : CodeDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``transform``, or a component is neither a name nor an index.
        ValueError
            If `components` are not two of those there are, or `y` does not fit the rows.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        codes = codes_of(estimator, X, cls.__name__)
        names = code_names(estimator, codes.shape[1])
        if codes.shape[1] < 2:
            raise ValueError("Got codes of 1 unit, expected at least 2 to draw against each other.")
        pair = chosen_columns(components, names, "components")
        if len(pair) != 2:
            raise ValueError(f"Got components={components!r}, expected two.")
        display = cls(
            codes=codes[:, pair],
            names=[names[unit] for unit in pair],
            y=_checked_values(y, len(codes)),
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.scatter`.

        Returns
        -------
        display : CodeDisplay
            Itself.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        codes = np.asarray(self.codes)
        self.ax_ = one_panel(ax, (6.0, 5.0))
        self.figure_ = self.ax_.figure
        ends = [limits(values) for values in codes.T]
        self.ax_.set(xlim=ends[0], ylim=ends[1])
        look = {"s": 9, "linewidths": 0, "alpha": max(0.5, transparency(len(codes))), **kwargs}
        self.legend_ = self.colorbar_ = None
        if self.y is None:
            self._scatter([codes], [{"color": DRAWS_COLOR, **look}])
        elif are_labels(np.asarray(self.y)):
            self._scatter_labels(codes, np.asarray(self.y), look)
        else:
            self._scatter([codes], [{"c": np.asarray(self.y, np.float64), **look}])
            self.colorbar_ = colour_bar(self.ax_, self.scatters_[0])
            self.colorbar_.solids.set_alpha(1.0)
        outside = [count_outside(values, *end) for values, end in zip(codes.T, ends, strict=True)]
        self.n_outside_ = sum(outside)
        write_outside(self.ax_, codes=self.n_outside_)
        self._label_axes()
        return self

    def _scatter(self, parts, looks):
        """Draw parts of the codes, and mark those beyond the axes."""
        self.scatters_ = []
        for part, look in zip(parts, looks, strict=True):
            self.scatters_.append(self.ax_.scatter(*part.T, **look))
            self.scatters_[-1].update_scalarmappable()
            mark_outside(self.ax_, *part.T, self.scatters_[-1].get_facecolor())

    def _scatter_labels(self, codes, y, look):
        from matplotlib import colormaps

        labels = np.unique(y)
        if len(labels) <= 10:
            colors = colormaps["tab10"](np.arange(len(labels)))
        else:
            colors = colormaps["turbo"](np.linspace(0.03, 0.97, len(labels)))
        self._scatter(
            [codes[y == label] for label in labels],
            [
                {"color": color, "label": str(label), **look}
                for label, color in zip(labels, colors, strict=True)
            ],
        )
        n_columns = 1 + (len(labels) - 1) // 20
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "borderaxespad": 0.0}
        self.legend_ = self.ax_.legend(
            fontsize=FONT_SIZE, frameon=False, markerscale=1.8, ncols=n_columns, **place
        )
        for handle in self.legend_.legend_handles:
            handle.set_alpha(1.0)

    def _label_axes(self):
        small_ticks(self.ax_, n_x=5, n_y=5)
        style = {"size": FONT_SIZE, "parse_math": False}
        self.ax_.set_xlabel(self.names[0], **style)
        self.ax_.set_ylabel(self.names[1], **style)
