"""What pictures share: the columns and codes to show, panels, limits of axes and histograms.

Functions import matplotlib where they need it, and pyplot only for a new figure.
"""

import textwrap
from numbers import Integral

import numpy as np
from sklearn.utils import check_array

# Of the palette of Okabe and Ito, which the colour-blind tell apart.
DRAWS_COLOR, DATA_COLOR, WARNING_COLOR = "#0072B2", "#E69F00", "#D55E00"
FONT_SIZE = 8
MAX_BINS = 60


def require_matplotlib(caller):
    """Raise ImportError, naming the extra to install, where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{caller} needs matplotlib, which the extra examples brings, or python -m pip install"
            " matplotlib."
        ) from error


def frame_names(rows):
    """The columns of a data frame where all are called by strings, else None."""
    names = list(getattr(rows, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


def column_names(given, found, d):
    """Names of d columns: those given, or else found, or else x0, x1, ..."""
    names = found if given is None else given
    if names is None:
        return [f"x{column}" for column in range(d)]
    if len(names) != d:
        raise ValueError(f"Got {len(names)} feature_names, expected {d}, one per column.")
    return [str(name) for name in names]


def chosen_columns(chosen, names, option="features"):
    """Indices of the columns that an option, one or many names or indices, asks for."""
    single = isinstance(chosen, str | Integral)
    columns = [_column(column, names, option) for column in ([chosen] if single else chosen)]
    if not columns:
        raise ValueError(f"Got {option}=[], expected at least one.")
    return columns


def _column(column, names, option):
    if isinstance(column, str):
        if column not in names:
            raise ValueError(f"Got {option} with {column!r}, expected names among {names}.")
        return names.index(column)
    if isinstance(column, bool | np.bool_) or not isinstance(column, Integral):
        raise TypeError(f"Got {option} with {column!r}, expected names or indices of columns.")
    if not 0 <= column < len(names):
        last = len(names) - 1
        raise ValueError(f"Got {option} with {column}, expected indices from 0 to {last}.")
    return int(column)


def codes_of(estimator, X, caller):
    """Codes (n, k) of rows, by the estimator's `transform`."""
    if not hasattr(estimator, "transform"):
        raise TypeError(
            f"Got {caller} of {type(estimator).__name__} without transform, expected a fitted"
            " object that maps rows to codes."
        )
    return check_array(estimator.transform(X), dtype=np.float64, input_name="codes")


def code_names(estimator, k):
    """Names of k units of code, as `get_feature_names_out` has them, or else code0, code1, ..."""
    if hasattr(estimator, "get_feature_names_out"):
        return [str(name) for name in estimator.get_feature_names_out()]
    return [f"code{unit}" for unit in range(k)]


def evenly_spaced(n, most):
    """Indices of at most `most` of n items, first and last included."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)


def panels(axes, n_rows, n_columns, size, **options):
    """The axes given, as an array (n_rows, n_columns), or those of a new figure of pyplot's."""
    if axes is None:
        import matplotlib.pyplot as plt

        figure = plt.figure(figsize=size, layout="constrained")
        return figure.subplots(n_rows, n_columns, squeeze=False, **options)
    given = np.asarray(axes, dtype=object)
    if given.size != n_rows * n_columns:
        raise ValueError(
            f"Got {given.size} axes, expected {n_rows} rows of {n_columns},"
            f" {n_rows * n_columns} in all."
        )
    return given.reshape(n_rows, n_columns)


def one_panel(ax, size):
    """The axes given, or those of a new figure."""
    return panels(None if ax is None else [ax], 1, 1, size)[0, 0]


def colour_bar(ax, image, **options):
    """A colour bar beside axes, in small letters."""
    bar = ax.figure.colorbar(image, ax=ax, **options)
    bar.ax.tick_params(labelsize=FONT_SIZE)
    return bar


def limits(*parts):
    """Ends of an axis that shows each part, with a margin; wide enough for a constant.

    Of a part, values far from its bulk are left out: see `_bulk`. What several parts have apart
    from each other, as chains that have not met, is within the axis.
    """
    finite = [part[np.isfinite(part)] for part in map(np.asarray, parts)]
    ends = [_bulk(values) for values in finite if values.size] or [(0.0, 0.0)]
    low, high = min(ends)[0], max(end for _, end in ends)
    largest = max(abs(low), abs(high))
    margin = 0.04 * (high - low) if high - low > 1e-9 * largest else max(0.5, 0.05 * largest)
    return float(low - margin), float(high + margin)


def _bulk(values):
    """The least and the greatest value within a window, or of all where that is little more.

    The window spans the middle 95 % and 5 IQR on either side of the quartiles, a Gaussian's 7.4
    standard deviations, but no more than the values. Up to twice its width all is shown.
    """
    low, high = values.min(), values.max()
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 5.0 * (third - first)
    # These methods never take the one value that may be wild, however few there are.
    left = max(low, min(np.quantile(values, 0.025, method="higher"), first - reach))
    right = min(high, max(np.quantile(values, 0.975, method="lower"), third + reach))
    # A window of no width: all but a few values are one, which no axis squeezes.
    if right <= left or high - low <= 2.0 * (right - left):
        return low, high
    within = values[(values >= left) & (values <= right)]
    return within.min(), within.max()


def count_outside(values, low, high):
    """How many values lie outside of an axis; NaN lies nowhere."""
    return int(np.count_nonzero((values < low) | (values > high)))


def mark_outside(panel, x, y, colors):
    """Mark points beyond the limits of a panel by crosses on its edge.

    `colors` is RGBA, one for all points or one for each.
    """
    ends = np.transpose([panel.get_xlim(), panel.get_ylim()])
    points = np.column_stack([x, y])
    outside = ((points < ends[0]) | (points > ends[1])).any(axis=1)
    if not outside.any():
        return
    x, y = np.clip(points[outside], *ends).T
    colors = np.broadcast_to(colors, (len(points), 4))[outside]
    look = {"s": 14, "linewidths": 1.0, "alpha": max(0.4, transparency(len(x)))}
    panel.scatter(x, y, marker="x", c=colors, clip_on=False, zorder=3, **look)


def write_outside(panel, **counts):
    """Write above a panel how many of what lies outside of its limits; nothing where all are 0."""
    found = [f"{what} {n:,}" for what, n in counts.items() if n]
    if found:
        text = "outside: " + ", ".join(found)
        panel.set_title(text, loc="right", size=FONT_SIZE - 1, color="0.3")


def bin_edges(values, low, high, n):
    """Edges of bins from low to high, 2 IQR / n^(1/3) wide: what n values bear.

    References
    ----------
    Freedman and Diaconis (1981), "On the histogram as a density estimator: L2 theory",
    Zeitschrift für Wahrscheinlichkeitstheorie und verwandte Gebiete 57, 453-476.
    """
    finite = values[np.isfinite(values)]
    quartiles = np.percentile(finite, [25, 75]) if finite.size else (0.0, 0.0)
    width = 2.0 * (quartiles[1] - quartiles[0]) / n ** (1 / 3)
    n_bins = (high - low) / max(width, (high - low) / MAX_BINS)
    return np.linspace(low, high, max(10, int(n_bins)) + 1)


def histogram(values, edges):
    """Density of the finite values in each bin; those outside all bins count in the total."""
    finite = values[np.isfinite(values)]
    return np.histogram(finite, edges)[0] / (max(finite.size, 1) * np.diff(edges))


def wrapped(name):
    """A name broken into lines that fit below a small panel."""
    return textwrap.fill(name, 20)


def transparency(n):
    """Alpha of n points on top of each other: the more, the paler."""
    return float(np.clip(15.0 / np.sqrt(n), 0.1, 0.8))


def small_ticks(panel, n_x=3, n_y=4, **options):
    """At most 1 + n_x and 1 + n_y ticks, small labels; `options` are of `Axes.tick_params`."""
    from matplotlib.ticker import MaxNLocator

    panel.tick_params(labelsize=FONT_SIZE, **options)
    for axis, n_ticks in ((panel.xaxis, n_x), (panel.yaxis, n_y)):
        axis.set_major_locator(MaxNLocator(n_ticks))
        axis.get_offset_text().set_size(FONT_SIZE)
