"""TraceDisplay: traces and marginal densities of chains, with their ESS and R-hat."""

import textwrap
from numbers import Integral

import numpy as np
from scipy.stats import rankdata

from skrae.plotting.panels import (
    FONT_SIZE,
    WARNING_COLOR,
    bin_edges,
    chosen_columns,
    column_names,
    count_outside,
    evenly_spaced,
    histogram,
    limits,
    mark_outside,
    panels,
    require_matplotlib,
    small_ticks,
    transparency,
    write_outside,
)
from skrae.preprocessing.contract.options import check_number
from skrae.sampling.mcmc import diagnostics

POOLED_COLOR = "0.82"
RHAT_LIMIT = 1.01
MAX_FEATURES = 6


class TraceDisplay:
    """Traces and marginal densities of chains, with the ESS and R-hat of each row.

    One row for the log density and one for each feature. On the left some chains over their
    draws; on the right, on the same axis of values, their histograms over that of all chains
    pooled: where chains have mixed, all have its outline. An R-hat that is not at most 1.01, NaN
    among them, is marked.

    Each row shows chains evenly spaced from lowest to highest, and coloured in that order, so that
    one stuck apart is among them. Where chains differ more in spread than in place, as with one
    that hardly moves, the order is that of their spreads.

    The axis of values holds the bulk of every chain, of one stuck far away too. A chain's few
    values far from the rest of its own, as at its start, do not rule it: they are left outside.
    Crosses on the edges of the traces mark them, and their number is written above the histograms.

    Parameters
    ----------
    draws : ndarray of shape (n_chains, n_draws, n_rows)
        What to show, a row of panels each.
    ess, rhat : ndarray of shape (n_rows,)
        Effective sample size and potential scale reduction, to write above each row.
    names : list of n_rows str
        Titles of the rows.

    Attributes
    ----------
    axes_ : ndarray of shape (n_rows, 2) of matplotlib Axes
        Traces on the left, histograms on the right.
    figure_ : matplotlib Figure
        That of the axes.
    lines_ : ndarray of shape (n_rows, n_shown) of matplotlib Line2D
        The traces. `from_chains` puts the log density in the first row.
    histograms_ : ndarray of shape (n_rows, 1 + n_shown) of matplotlib StepPatch
        All chains pooled, then each chain shown.
    chains_ : ndarray of shape (n_rows, n_shown)
        The indices of the chains shown, in the order of `lines_`.
    n_outside_ : ndarray of shape (n_rows,)
        How many of the draws of all chains lie outside of the axis of values.

    See Also
    --------
    PairDisplay : The draws of all chains together, beside the data.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), "Rank-normalization, folding, and
    localization: an improved R-hat for assessing convergence of MCMC", Bayesian Analysis 16,
    667-718: the limit of 1.01.

    Examples
    --------
    >>> import numpy as np
    >>> from matplotlib.figure import Figure
    >>> from skrae.plotting import TraceDisplay
    >>> draws = np.random.default_rng(0).standard_normal((4, 100, 1))
    >>> display = TraceDisplay(draws=draws, ess=[400.0], rhat=[1.0], names=["height"])
    >>> display = display.plot(Figure().subplots(1, 2))
    >>> display.axes_[0, 0].get_title(loc="left"), display.axes_[0, 0].get_title(loc="right")
    ('height', 'ESS 400   R-hat 1.000')
    >>> display.n_outside_
    array([0])
    """

    def __init__(self, *, draws, ess, rhat, names):
        self.draws = draws
        self.ess = ess
        self.rhat = rhat
        self.names = names

    @classmethod
    def from_chains(
        cls, chains, *, features=None, feature_names=None, max_chains=8, axes=None, **kwargs
    ):
        """Draw the traces of `chains`.

        Parameters
        ----------
        chains : Chains
            What `RAESampler.sample_chains` returns.
        features : str, int or list of them, default=None
            Names or indices of columns. None shows all of up to 6 features; of more, the 6 with
            the largest R-hat, worst first.
        feature_names : list of str, default=None
            One for each column of the draws; None takes those of `chains`, or else x0, x1, ...
        max_chains : int, default=8
            The most chains to show in a row.
        axes : array of 2 (1 + n_features) matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.plot`, of the traces.

        Returns
        -------
        display : TraceDisplay
            Drawn.

        Raises
        ------
        TypeError
            If `chains` are no Chains, a feature is neither a name nor an index, or `max_chains` is
            no integer.
        ValueError
            If a feature is unknown, if `axes` or `feature_names` are not of the right number, or
            if `max_chains` < 1.
        """
        require_matplotlib(f"{cls.__name__}.from_chains")
        if not hasattr(chains, "draws"):
            raise TypeError(f"Got chains of type {type(chains).__name__}, expected Chains.")
        rhat = np.asarray(chains.rhat())
        names = column_names(feature_names, getattr(chains, "feature_names", None), len(rhat))
        columns = chosen_columns(_worst(rhat) if features is None else features, names)
        log_density = np.asarray(chains.log_density)[:, :, None]
        display = cls(
            draws=np.concatenate([log_density, np.asarray(chains.draws)[:, :, columns]], axis=2),
            ess=np.append(diagnostics.ess(log_density), np.asarray(chains.ess())[columns]),
            rhat=np.append(diagnostics.rhat(log_density), rhat[columns]),
            names=["log density (nats)", *(names[column] for column in columns)],
        )
        return display.plot(axes, max_chains=max_chains, **kwargs)

    def plot(self, axes=None, *, max_chains=8, **kwargs):
        """Draw on `axes`, or on a new figure.

        Parameters
        ----------
        axes : array of 2 n_rows matplotlib Axes, default=None
            None makes a new figure.
        max_chains : int, default=8
            The most chains to show in a row.
        **kwargs
            For `Axes.plot`, of the traces.

        Returns
        -------
        display : TraceDisplay
            Itself.

        Raises
        ------
        TypeError, ValueError
            If `max_chains` is no positive integer, or `axes` are not of the right number.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        check_number("max_chains", max_chains, 1, kind=Integral)
        rows = np.moveaxis(np.asarray(self.draws), 2, 0)
        size = (8.0, 0.5 + 1.2 * len(rows))
        self.axes_ = panels(axes, len(rows), 2, size, sharey="row", width_ratios=(3, 1))
        self.figure_ = self.axes_[0, 0].figure
        self.chains_ = np.array([_spread_out(values, max_chains) for values in rows])
        drawn = [
            _plot_row(*pair, values, chains, kwargs)
            for pair, values, chains in zip(self.axes_, rows, self.chains_, strict=True)
        ]
        self.lines_, self.histograms_ = (np.array(artists) for artists in zip(*drawn, strict=True))
        self._count_outside(rows)
        self._write_titles()
        self._label_axes()
        return self

    def _count_outside(self, rows):
        panels_of_rows = self.axes_[:, 1]
        self.n_outside_ = np.array(
            [
                count_outside(values, *panel.get_ylim())
                for values, panel in zip(rows, panels_of_rows, strict=True)
            ]
        )
        for panel, n_draws in zip(panels_of_rows, self.n_outside_, strict=True):
            write_outside(panel, draws=n_draws)

    def _write_titles(self):
        shown = zip(self.axes_[:, 0], self.names, self.ess, self.rhat, strict=True)
        for panel, name, ess, rhat in shown:
            title = textwrap.shorten(name, 50)
            panel.set_title(title, loc="left", size=FONT_SIZE, parse_math=False)
            text = f"ESS {ess:,.0f}   R-hat {rhat:.3f}"
            mark = f" > {RHAT_LIMIT}" if rhat > RHAT_LIMIT else ""
            # Not rhat > limit: NaN, as of a feature that never moved, is no better.
            bad = not rhat <= RHAT_LIMIT
            look = {"color": WARNING_COLOR, "weight": "bold"} if bad else {}
            panel.set_title(text + mark, loc="right", size=FONT_SIZE, **look)

    def _label_axes(self):
        for row, (trace, marginal) in enumerate(self.axes_):
            last = row == len(self.axes_) - 1
            marginal.set_xlim(left=0)
            small_ticks(trace, n_x=8, labelbottom=last)
            small_ticks(marginal, labelleft=False, labelbottom=False, bottom=False)
        self.axes_[-1, 0].set_xlabel("draw", size=FONT_SIZE)
        self.axes_[-1, 1].set_xlabel("density", size=FONT_SIZE)


def _worst(rhat):
    """All columns, or of many those of the largest R-hat, worst first; NaN is like infinity."""
    if len(rhat) <= MAX_FEATURES:
        return range(len(rhat))
    return np.argsort(np.where(np.isnan(rhat), -np.inf, -rhat), kind="stable")[:MAX_FEATURES]


def _spread_out(values, most):
    """Indices of chains, evenly spaced in the order of mean rank or of mean |rank - middle|.

    Of the two, as of R-hat and the folded R-hat, the one in which the chains differ more.
    """
    ranks = rankdata(values).reshape(values.shape) / values.size - 0.5
    means = np.array([ranks.mean(axis=1), 2.0 * np.abs(ranks).mean(axis=1)])
    order = np.argsort(means[means.var(axis=1).argmax()], kind="stable")
    return order[evenly_spaced(len(order), most)]


def _plot_row(trace, marginal, values, chains, kwargs):
    """Draw the traces and the histograms of one row; return both lists of artists."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    n_draws = values.shape[1]
    colors = colormaps["viridis"](np.linspace(0.0, 0.9, len(chains)))
    options = {
        "linewidth": 0.6,
        "alpha": max(0.3, transparency(n_draws)),
        "rasterized": n_draws > 1000,
    }
    lines = [
        trace.plot(np.arange(n_draws), values[chain], **{"color": color, **options, **kwargs})[0]
        for chain, color in zip(chains, colors, strict=True)
    ]
    low, high = limits(*values)
    marginal.set_ylim(low, high)
    trace.set(xlim=(0, max(n_draws - 1, 1)), ylim=(low, high))
    for line in lines:
        mark_outside(trace, *line.get_data(), to_rgba(line.get_color()))
    edges = bin_edges(values, low, high, n_draws)
    looks = [{"fill": True, "color": POOLED_COLOR}, *({"color": c, "lw": 0.8} for c in colors)]
    steps = [
        marginal.stairs(histogram(part, edges), edges, orientation="horizontal", **look)
        for part, look in zip([values, *values[chains]], looks, strict=True)
    ]
    return lines, steps
