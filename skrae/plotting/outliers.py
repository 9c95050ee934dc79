"""OutlierDisplay: the most outlying rows, and what each column adds."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_array

from skrae.plotting.panels import (
    FONT_SIZE,
    colour_bar,
    column_names,
    frame_names,
    one_panel,
    require_matplotlib,
    small_ticks,
)
from skrae.preprocessing.contract.options import check_number
from skrae.preprocessing.rows import frame_of, taken_rows

# Digits of the values that are written into cells.
DIGITS = 4
# Share of the way to the end of the colours from which on letters are white.
DARK = 0.65
# Nats up to which colours are linear; beyond they are logarithmic, as wild values add thousands.
LINEAR = 1.0


class OutlierDisplay:
    """The most outlying rows from the top, with what each column adds and the values they have.

    Colours diverge from 0, what a column adds to a row at random, beyond 1 nat logarithmically.

    Parameters
    ----------
    contributions : ndarray of shape (n_rows, n_columns)
        To show, in this order.
    row_names : list of n_rows str
    feature_names : list of n_columns str
    values : list of n_rows lists of n_columns str, default=None
        What is written into the cells.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
        That of the axes.
    image_ : matplotlib AxesImage
        The contributions.
    texts_ : list of matplotlib Text
        The values, row by row.
    colorbar_ : matplotlib Colorbar

    See Also
    --------
    skrae.DensityOutlierDetector : Scores and explains rows.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from sklearn.datasets import load_wine
    >>> from skrae import DensityOutlierDetector
    >>> from skrae.plotting import OutlierDisplay
    >>> X = load_wine(as_frame=True).data
    >>> detector = DensityOutlierDetector(random_state=0).fit(X)
    >>> display = OutlierDisplay.from_estimator(
    ...     detector, X, n_rows=5, n_columns=6, ax=Figure().subplots()
    ... )
    >>> display.contributions.shape
    (5, 6)
    >>> display.row_names[0]
    '121'
    """

    def __init__(self, *, contributions, row_names, feature_names, values=None):
        self.contributions = contributions
        self.row_names = row_names
        self.feature_names = feature_names
        self.values = values

    @classmethod
    def from_estimator(
        cls, estimator, X, *, n_rows=10, n_columns=10, feature_names=None, ax=None, **kwargs
    ):
        """Draw the most outlying rows of X by a fitted detector.

        Parameters
        ----------
        estimator : fitted object
            With `score_samples` and `explain`, as `DensityOutlierDetector` has them.
        X : array-like or data frame of shape (n_samples, n_features)
        n_rows : int >= 1, default=10
            The most rows to show, those of lowest score.
        n_columns : int >= 1, default=10
            The most columns to show, those that add most to one of these rows.
        feature_names : list of str, default=None
            None takes the columns of X, or else x0, x1, ...
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.imshow`.

        Returns
        -------
        display : OutlierDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator cannot explain rows.
        ValueError
            If `feature_names` do not fit the columns, or a number is below 1.
        """
        _check(cls, "from_estimator", n_rows, n_columns)
        for method in ("score_samples", "explain"):
            if not hasattr(estimator, method):
                raise TypeError(
                    f"Got {cls.__name__} of {type(estimator).__name__} without {method}, expected"
                    " a fitted DensityOutlierDetector or the like."
                )
        scores = np.asarray(estimator.score_samples(X))
        shown = np.argsort(scores, kind="stable")[:n_rows]
        return cls.from_values(
            estimator.explain(taken_rows(X, shown)),
            X=taken_rows(X, shown),
            row_names=_row_names(X, shown),
            n_columns=n_columns,
            feature_names=frame_names(X) if feature_names is None else feature_names,
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_values(
        cls,
        contributions,
        *,
        X=None,
        row_names=None,
        n_rows=10,
        n_columns=10,
        feature_names=None,
        ax=None,
        **kwargs,
    ):
        """Draw contributions that are known, the rows of largest sum first.

        Parameters
        ----------
        contributions : array-like of shape (n_samples, n_features)
        X : array-like or data frame of shape (n_samples, n_features), default=None
            The values to write into the cells; None writes none.
        row_names : list of str, default=None
            None takes the places of the rows.
        n_rows, n_columns, feature_names, ax, **kwargs
            As `from_estimator` has them.

        Returns
        -------
        display : OutlierDisplay
            Drawn.

        Raises
        ------
        ValueError
            If names do not fit the rows or columns, or a number is below 1.
        """
        _check(cls, "from_values", n_rows, n_columns)
        contributions = check_array(contributions, dtype=np.float64, input_name="contributions")
        n, d = contributions.shape
        row_names = [str(i) for i in range(n)] if row_names is None else row_names
        if len(row_names) != n:
            raise ValueError(f"Got {len(row_names)} row_names, expected {n}, one per row.")
        names = column_names(feature_names, None, d)
        rows = np.argsort(-contributions.sum(axis=1), kind="stable")[:n_rows]
        columns = _largest(contributions[rows], n_columns)
        display = cls(
            contributions=contributions[np.ix_(rows, columns)],
            row_names=[str(row_names[i]) for i in rows],
            feature_names=[names[j] for j in columns],
            values=None if X is None else _values(X, rows, columns),
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.imshow`; `vmax` sets both ends of the colours.

        Returns
        -------
        display : OutlierDisplay
            Itself.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        shown = np.asarray(self.contributions)
        n, d = shown.shape
        self.ax_ = one_panel(ax, (np.clip(0.75 * d + 2.0, 4.0, 12.0), 0.3 * n + 1.5))
        self.figure_ = self.ax_.figure
        look = {"cmap": "RdBu_r", "aspect": "auto", "interpolation": "nearest"}
        if "norm" not in kwargs:
            look["norm"] = _norm(kwargs.pop("vmax", np.abs(shown).max()))
        self.image_ = self.ax_.imshow(shown, **{**look, **kwargs})
        self.colorbar_ = colour_bar(self.ax_, self.image_, shrink=0.8)
        self.colorbar_.set_label("adds to outlyingness, nats", size=FONT_SIZE)
        style = {"fontsize": FONT_SIZE, "parse_math": False}
        small_ticks(self.ax_)
        self.ax_.set_xticks(range(d), self.feature_names, rotation=45, ha="right", **style)
        self.ax_.set_yticks(range(n), self.row_names, **style)
        self.texts_ = [] if self.values is None else self._write(style)
        return self

    def _write(self, style):
        way = np.abs(2.0 * np.asarray(self.image_.norm(self.image_.get_array())) - 1.0)
        return [
            self.ax_.text(
                j,
                i,
                text,
                ha="center",
                va="center",
                color="w" if way[i, j] > DARK else "k",
                **style,
            )
            for i, row in enumerate(self.values)
            for j, text in enumerate(row)
        ]


def _norm(largest):
    """Colours to either side of 0, linear in its neighbourhood."""
    from matplotlib.colors import SymLogNorm

    end = max(largest, LINEAR)
    return SymLogNorm(LINEAR, vmin=-end, vmax=end)


def _check(cls, method, n_rows, n_columns):
    require_matplotlib(f"{cls.__name__}.{method}")
    check_number("n_rows", n_rows, 1, kind=Integral)
    check_number("n_columns", n_columns, 1, kind=Integral)


def _largest(contributions, n_columns):
    """The columns with the largest contributions to a row, in the order of the table."""
    return np.sort(np.argsort(-contributions.max(axis=0), kind="stable")[:n_columns])


def _row_names(X, index):
    """The index of a data frame of pandas, else the places of the rows."""
    if hasattr(X, "iloc"):
        return [str(name) for name in X.index[index]]
    return [str(i) for i in index]


def _values(X, rows, columns):
    """The entries of some rows and columns as short texts."""
    chosen, frame = taken_rows(X, rows), frame_of(X)
    if frame is None:
        cells = [list(row) for row in chosen]
    else:
        parts = [chosen[name].to_list() for name in frame["columns"]]
        cells = list(zip(*parts, strict=True))
    return [[_text(row[j]) for j in columns] for row in cells]


def _text(value):
    if isinstance(value, Real) and not isinstance(value, bool):
        return f"{float(f'{value:.{DIGITS}g}'):g}"
    return str(value)
