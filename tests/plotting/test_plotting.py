"""Displays of chains: what is drawn is what was drawn from, errors, no global state."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import KernelDensity

from skrae.plotting import PairDisplay, TraceDisplay
from skrae.plotting.panels import bin_edges, count_outside, histogram, limits
from skrae.sampling.mcmc import diagnostics

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")
Figure, to_hex = matplotlib.figure.Figure, matplotlib.colors.to_hex

BLACK, WARNING = "#000000", "#d55e00"


class Autoregressive:
    """The interface of `Chains`, with draws of x_t = phi x_{t-1} + sqrt(1 - phi^2) e_t."""

    def __init__(self, seed, d, n_chains=6, n_draws=400, phi=0.3, feature_names=None):
        noise = np.random.default_rng(seed).standard_normal((n_chains, n_draws, d))
        self.draws = noise.copy()
        for t in range(1, n_draws):
            self.draws[:, t] = phi * self.draws[:, t - 1] + np.sqrt(1 - phi**2) * noise[:, t]
        self.log_density = -0.5 * (self.draws**2).sum(axis=2)
        self.feature_names = feature_names

    def ess(self):
        return diagnostics.ess(self.draws)

    def rhat(self):
        return diagnostics.rhat(self.draws)


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


@pytest.fixture
def chains(random_seed):
    return Autoregressive(random_seed, d=3, feature_names=["height", "width", "cost ($/$)"])


def title(panel, loc):
    return panel.get_title(loc=loc)


def texts(panel):
    """The titles and labels of a panel that are not empty."""
    found = [panel.xaxis.label, panel.yaxis.label, *panel.get_children()]
    return [t for t in found if isinstance(t, matplotlib.text.Text) and t.get_text()]


def marks(panel):
    """The crosses on the edges of a panel: the only points that it does not clip."""
    scatters = [
        c for c in panel.collections if isinstance(c, matplotlib.collections.PathCollection)
    ]
    return [scatter for scatter in scatters if not scatter.get_clip_on()]


def min_to_max(values):
    """The limits that leave nothing outside."""
    margin = 0.04 * np.ptp(values)
    return values.min() - margin, values.max() + margin


# Traces


def test_traces_are_the_draws(chains):
    display = TraceDisplay.from_chains(chains, max_chains=4)
    rows = [chains.log_density, *np.moveaxis(chains.draws, 2, 0)]
    assert display.lines_.shape == display.chains_.shape == (4, 4)
    for lines, indices, values in zip(display.lines_, display.chains_, rows, strict=True):
        assert len(set(indices)) == 4
        for line, chain in zip(lines, indices, strict=True):
            np.testing.assert_array_equal(line.get_xdata(), np.arange(400))
            np.testing.assert_array_equal(line.get_ydata(), values[chain])


def test_trace_axes_and_labels(chains):
    display = TraceDisplay.from_chains(chains)
    assert display.axes_.shape == (4, 2)
    assert display.figure_ is display.axes_[0, 0].figure
    assert len(display.figure_.axes) == 8
    names = [title(panel, "left") for panel in display.axes_[:, 0]]
    assert names == ["log density (nats)", *chains.feature_names]
    assert [panel.get_xlabel() for panel in display.axes_[:, 0]] == ["", "", "", "draw"]


def test_trace_and_marginal_have_one_range_on_axes_that_share_none(chains):
    axes = TraceDisplay.from_chains(chains, axes=Figure().subplots(4, 2)).axes_
    rows = [chains.log_density, *np.moveaxis(chains.draws, 2, 0)]
    for (trace, marginal), values in zip(axes, rows, strict=True):
        assert trace.get_ylim() == marginal.get_ylim() == limits(*values)


def test_trace_titles_have_the_diagnostics(chains):
    display = TraceDisplay.from_chains(chains)
    for panel, ess, rhat in zip(display.axes_[1:, 0], chains.ess(), chains.rhat(), strict=True):
        assert title(panel, "right").startswith(f"ESS {ess:,.0f}   R-hat {rhat:.3f}")
    rhat = diagnostics.rhat(chains.log_density[:, :, None])[0]
    assert f"R-hat {rhat:.3f}" in title(display.axes_[0, 0], "right")


@pytest.mark.parametrize(
    ("rhat", "text", "color"),
    [
        (1.0099, "R-hat 1.010", BLACK),
        (1.0101, "R-hat 1.010 > 1.01", WARNING),
        (np.inf, "R-hat inf > 1.01", WARNING),
        (np.nan, "R-hat nan", WARNING),
    ],
)
def test_bad_rhat_is_marked(chains, rhat, text, color):
    display = TraceDisplay(draws=chains.draws[:, :, :1], ess=[1234.5], rhat=[rhat], names=["a"])
    (panel, _), *_ = display.plot().axes_
    assert title(panel, "right") == f"ESS 1,234   {text}"
    (marked,) = [t for t in texts(panel) if t.get_text().startswith("ESS")]
    assert to_hex(marked.get_color()) == color


def test_chain_stuck_apart_is_shown_in_its_row(random_seed):
    chains = Autoregressive(random_seed, d=2, n_chains=50)
    chains.draws[17, :, 0] += 5.0
    chains.draws[30:, :, 1] += 3.0
    display = TraceDisplay.from_chains(chains, max_chains=3)
    assert display.chains_[1][-1] == 17
    low, _, high = display.chains_[2]
    assert low < 30 <= high


def test_chain_that_hardly_moves_is_shown(random_seed):
    chains = Autoregressive(random_seed, d=1, n_chains=50)
    chains.draws[17] *= 0.05
    display = TraceDisplay.from_chains(chains, max_chains=3)
    assert display.chains_[1][0] == 17


def test_few_chains_are_all_shown(chains):
    display = TraceDisplay.from_chains(chains, max_chains=100)
    np.testing.assert_array_equal(np.sort(display.chains_, axis=1), np.tile(np.arange(6), (4, 1)))


def test_of_many_features_those_of_the_largest_rhat_are_shown(random_seed):
    chains = Autoregressive(random_seed, d=11)
    chains.draws[0, :, 3] += 2.0
    chains.draws[0, :, 8] += 4.0
    chains.draws[:, :, 5] = 1.0  # never moved: R-hat is NaN
    display = TraceDisplay.from_chains(chains)
    assert display.names[:4] == ["log density (nats)", "x5", "x8", "x3"]
    assert len(display.axes_) == 7


def test_marginals_have_the_mass_of_all_chains_and_of_each(chains):
    display = TraceDisplay.from_chains(chains, features="width", max_chains=2)
    pooled, *each = [patch.get_data() for patch in display.histograms_[1]]
    np.testing.assert_allclose(pooled.values, histogram(chains.draws[:, :, 1], pooled.edges))
    for data, chain in zip(each, display.chains_[1], strict=True):
        assert np.sum(data.values * np.diff(data.edges)) == pytest.approx(1.0)
        np.testing.assert_allclose(data.values, histogram(chains.draws[chain, :, 1], data.edges))


def test_options_go_to_the_traces(chains):
    display = TraceDisplay.from_chains(chains, color="black", linewidth=2.0)
    assert {to_hex(line.get_color()) for line in display.lines_.flat} == {BLACK}
    assert {line.get_linewidth() for line in display.lines_.flat} == {2.0}


def test_infinite_log_density_is_left_out_of_limits_and_histogram(chains):
    draws = chains.log_density[:, :, None].copy()
    draws[0, :3] = -np.inf
    display = TraceDisplay(draws=draws, ess=[np.nan], rhat=[np.nan], names=["log density"]).plot()
    assert np.isfinite(display.axes_[0, 0].get_ylim()).all()
    data = display.histograms_[0, 0].get_data()
    assert np.sum(data.values * np.diff(data.edges)) == pytest.approx(1.0)


def test_stuck_chain_stays_on_the_axis_and_wild_draws_leave_it(chains):
    chains.draws[4, :, 0] += 1e4  # a whole chain
    chains.draws[2, 50, 1] = 1e6  # one draw
    chains.draws[:, :5, 2] -= np.geomspace(1e5, 1e3, 5)  # the way in of all
    display = TraceDisplay.from_chains(chains)
    assert display.n_outside_.tolist()[1:] == [0, 1, 30]
    stuck, single, start = (panel.get_ylim() for panel in display.axes_[1:, 0])
    assert stuck[0] < -2.0
    assert 1e4 < stuck[1] < 1.1e4
    assert -6.0 < single[0] < single[1] < 6.0
    assert -6.0 < start[0] < start[1] < 6.0
    written = [title(panel, "right") for panel in display.axes_[:, 1]]
    assert written[1:] == ["", "outside: draws 1", "outside: draws 30"]
    (mark,) = marks(display.axes_[2, 0])
    assert mark.get_offsets().tolist() == [[50.0, single[1]]]


def test_infinite_draws_are_counted_and_marked_and_nan_is_nowhere(chains):
    draws = chains.draws[:, :, :1].copy()
    draws[0, :3], draws[1, :5] = -np.inf, np.nan
    display = TraceDisplay(draws=draws, ess=[np.nan], rhat=[np.nan], names=["a"]).plot()
    assert display.n_outside_.tolist() == [3]
    (mark,) = marks(display.axes_[0, 0])
    low = display.axes_[0, 0].get_ylim()[0]
    assert mark.get_offsets().tolist() == [[0.0, low], [1.0, low], [2.0, low]]


# Pairs


def test_one_wild_value_does_not_rule_a_pair_plot(chains, random_seed):
    X = np.random.default_rng(random_seed).standard_normal((70, 3))
    tame = PairDisplay.from_chains(chains, X=X)
    X[69, 0], X[0, 1] = 1e6, -1e6
    display = PairDisplay.from_chains(chains, X=X)
    for panel, before in zip(display.axes_.diagonal(), tame.axes_.diagonal(), strict=True):
        assert panel.get_xlim() == pytest.approx(before.get_xlim(), abs=0.5)
    assert display.n_outside_.tolist() == [0, 0, 0]
    assert display.n_data_outside_.tolist() == [1, 1, 0]
    written = [title(panel, "right") for panel in display.axes_.diagonal()]
    assert written == ["outside: data 1", "outside: data 1", ""]
    right, bottom = display.axes_[1, 0].get_xlim()[1], display.axes_[1, 0].get_ylim()[0]
    (mark,) = marks(display.axes_[1, 0])
    assert mark.get_offsets().tolist() == [[X[0, 0], bottom], [right, X[69, 1]]]
    assert {to_hex(color) for color in mark.get_facecolor()} == {"#e69f00"}
    assert marks(tame.axes_[1, 0]) == []


@pytest.mark.parametrize("look", [{}, {"color": "red"}, {"facecolors": "none", "edgecolors": "r"}])
def test_marks_have_the_colour_of_the_points(chains, look):
    chains.draws[0, 0, 0] = 1e6
    display = PairDisplay.from_chains(chains, n_points=10_000, **look)
    (mark,) = marks(display.axes_[1, 0])
    point = display.scatters_[1, 0]
    colors = point.get_facecolor() if "facecolors" not in look else point.get_edgecolor()
    assert to_hex(mark.get_facecolor()[0]) == to_hex(colors[0])


def test_all_draws_are_within_where_few_are_shown(random_seed):
    draws = np.random.default_rng(random_seed).standard_normal((20_000, 2))
    display = PairDisplay.from_chains(draws, n_points=20)
    assert display.n_outside_.tolist() == [0, 0]
    for panel, values in zip(display.axes_.diagonal(), draws.T, strict=True):
        data = display.histograms_[0].get_data()
        assert np.sum(data.values * np.diff(data.edges)) == pytest.approx(1.0)
        assert panel.get_xlim() == pytest.approx(min_to_max(values))


def test_pairs_show_evenly_spaced_draws_and_data(chains, random_seed):
    X = np.random.default_rng(random_seed).standard_normal((70, 3))
    display = PairDisplay.from_chains(chains, X=X, n_points=50)
    rows = chains.draws.reshape(-1, 3)[np.linspace(0, 2399, 50).round().astype(int)]
    data = X[np.linspace(0, 69, 50).round().astype(int)]
    for i in range(3):
        for j in range(3):
            if j >= i:
                assert display.scatters_[i, j] is None
                assert display.data_scatters_[i, j] is None
                continue
            offsets = display.scatters_[i, j].get_offsets()
            np.testing.assert_array_equal(offsets, rows[:, [j, i]])
            offsets = display.data_scatters_[i, j].get_offsets()
            np.testing.assert_array_equal(offsets, data[:, [j, i]])


def test_pair_histograms_count_all_draws(chains):
    display = PairDisplay.from_chains(chains, n_points=10)
    assert display.data_histograms_ == []
    for feature, patch in enumerate(display.histograms_):
        data = patch.get_data()
        np.testing.assert_allclose(data.values, histogram(chains.draws[:, :, feature], data.edges))


def test_pair_axes_labels_and_legend(chains):
    display = PairDisplay.from_chains(chains, X=chains.draws[0])
    names = chains.feature_names
    assert display.axes_.shape == (3, 3)
    assert [panel.get_xlabel() for panel in display.axes_[-1]] == names
    assert [panel.get_ylabel() for panel in display.axes_[:, 0]] == ["", *names[1:]]
    assert [panel.axison for panel in display.axes_[0]] == [True, False, False]
    legend = display.axes_[0, -1].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["draws", "data"]
    colors = {
        to_hex(s[1, 0].get_facecolor()[0]) for s in (display.scatters_, display.data_scatters_)
    }
    assert len(colors) == 2


def test_a_feature_has_one_range(chains):
    axes = PairDisplay.from_chains(chains).axes_
    for feature in range(3):
        ranges = {panel.get_xlim() for panel in axes[feature:, feature]}
        ranges |= {panel.get_ylim() for panel in axes[feature, :feature]}
        assert len(ranges) == 1


def test_array_of_draws_gives_the_same_picture(chains):
    rows = chains.draws.reshape(-1, 3)
    displays = [PairDisplay.from_chains(draws, features=[2, 0]) for draws in (chains, rows)]
    first, second = (display.scatters_[1, 0].get_offsets() for display in displays)
    np.testing.assert_array_equal(first, second)
    assert displays[0].feature_names == ["cost ($/$)", "height"]
    assert displays[1].feature_names == ["x2", "x0"]


@pytest.mark.parametrize(
    ("given", "of_chains", "of_draws", "of_X", "expected"),
    [
        ("abc", "def", None, "jkl", "abc"),
        (None, "def", None, "jkl", "def"),
        (None, None, "ghi", "jkl", "ghi"),
        (None, None, None, "jkl", "jkl"),
        (None, None, [0, 1, 2], "jkl", "jkl"),
        (None, None, ["a", "b", 2], ["j", "k", 2], ["x0", "x1", "x2"]),
        (None, None, None, None, ["x0", "x1", "x2"]),
        # Names that chains have for attributes.
        (None, None, ["draws", "feature_names", "z"], None, ["draws", "feature_names", "z"]),
    ],
)
def test_names_come_from_the_first_that_has_them(given, of_chains, of_draws, of_X, expected):
    pd = pytest.importorskip("pandas")
    chains = Autoregressive(0, d=3, n_draws=20, feature_names=of_chains and list(of_chains))
    rows = chains.draws[0]
    draws = chains if of_draws is None else pd.DataFrame(rows, columns=list(of_draws))
    X = rows if of_X is None else pd.DataFrame(rows, columns=list(of_X))
    display = PairDisplay.from_chains(draws, X=X, feature_names=given and list(given))
    assert display.feature_names == list(expected)
    assert display.draws.shape[1] == 3
    np.testing.assert_array_equal(display.X, rows)


def test_features_are_chosen_by_the_names_of_a_frame(chains):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(chains.draws[0], columns=["a", "b", "c"])
    display = PairDisplay.from_chains(frame, features=["c", "a"])
    np.testing.assert_array_equal(display.draws, chains.draws[0][:, [2, 0]])


def test_data_with_the_columns_of_the_draws_in_another_order_is_refused(chains):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(chains.draws[0], columns=["width", "height", "cost ($/$)"])
    with pytest.raises(ValueError, match=r"Got X with columns \['width', .*, expected the draws'"):
        PairDisplay.from_chains(chains, X=X)
    assert PairDisplay.from_chains(chains, X=X[chains.feature_names]).X.shape == X.shape


def test_first_five_of_many_features(random_seed):
    display = PairDisplay.from_chains(Autoregressive(random_seed, d=7))
    assert display.feature_names == ["x0", "x1", "x2", "x3", "x4"]


def test_more_points_are_paler_and_rasterized(chains):
    few, many = (PairDisplay.from_chains(chains, n_points=n).scatters_[1, 0] for n in (50, 2000))
    assert many.get_alpha() < few.get_alpha()
    assert many.get_rasterized()


def test_data_with_missing_values_and_a_single_feature(chains):
    X = chains.draws[0].copy()
    X[::2, 0] = np.nan
    display = PairDisplay.from_chains(chains, X=X, features="height")
    data = display.data_histograms_[0].get_data()
    assert np.sum(data.values * np.diff(data.edges)) == pytest.approx(1.0)
    assert display.axes_[0, 0].get_legend() is not None


# Both


@pytest.mark.parametrize("display", [TraceDisplay, PairDisplay])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"features": "depth"}, ValueError, "Got features with 'depth', expected names among"),
        ({"features": [0, 3]}, ValueError, "Got features with 3, expected indices from 0 to 2"),
        ({"features": [-1]}, ValueError, "Got features with -1, expected indices from 0 to 2"),
        ({"features": []}, ValueError, r"Got features=\[\], expected at least one"),
        ({"features": [0.5]}, TypeError, "Got features with 0.5, expected names or indices"),
        ({"features": [True]}, TypeError, "Got features with True, expected names or indices"),
        ({"feature_names": ["a"]}, ValueError, "Got 1 feature_names, expected 3"),
    ],
)
def test_bad_features_raise(chains, display, options, error, message):
    with pytest.raises(error, match=message):
        display.from_chains(chains, **options)
    assert plt.get_fignums() == []


@pytest.mark.parametrize(
    ("display", "message"),
    [
        (TraceDisplay, "Got 6 axes, expected 4 rows of 2, 8 in all"),
        (PairDisplay, "Got 6 axes, expected 3 rows of 3, 9 in all"),
    ],
)
def test_wrong_number_of_axes_raises(chains, display, message):
    with pytest.raises(ValueError, match=message):
        display.from_chains(chains, axes=Figure().subplots(3, 2))


def test_other_bad_arguments_raise(chains):
    with pytest.raises(ValueError, match="Got X of 2 columns, expected 3"):
        PairDisplay.from_chains(chains, X=np.zeros((5, 2)))
    with pytest.raises(ValueError, match="Got n_points=0, expected an integer >= 1"):
        PairDisplay.from_chains(chains, n_points=0)
    with pytest.raises(TypeError, match=r"Got n_points=2\.5, expected an integer"):
        PairDisplay.from_chains(chains, n_points=2.5)
    with pytest.raises(ValueError, match="dim 3"):
        PairDisplay.from_chains(chains.draws)
    with pytest.raises(ValueError, match="Got max_chains=0, expected an integer >= 1"):
        TraceDisplay.from_chains(chains, max_chains=0)
    with pytest.raises(TypeError, match="Got chains of type ndarray, expected Chains"):
        TraceDisplay.from_chains(chains.draws)


def test_an_estimator_is_not_what_was_drawn():
    with pytest.raises(TypeError, match="Got chains as a KernelDensity, expected Chains or rows"):
        PairDisplay.from_chains(KernelDensity())


@pytest.mark.parametrize("name", ["TraceDisplay", "PairDisplay"])
def test_missing_matplotlib_names_the_extra(chains, monkeypatch, name):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    display = {"TraceDisplay": TraceDisplay, "PairDisplay": PairDisplay}[name]
    with pytest.raises(ImportError, match=rf"{name}.from_chains needs .* pip install matplotlib"):
        display.from_chains(chains)


@pytest.mark.parametrize("name", ["panels", "pairs", "traces"])
def test_matplotlib_is_imported_only_where_it_is_needed(name):
    path = Path(sys.modules[f"skrae.plotting.{name}"].__file__)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [getattr(node, "module", None) or node.names[0].name for node in top]
    assert not any(name.startswith("matplotlib") for name in names)


@pytest.mark.parametrize(("display", "shape"), [(TraceDisplay, (4, 2)), (PairDisplay, (3, 3))])
def test_given_axes_are_used_and_global_state_is_left(chains, display, shape):
    settings = dict(matplotlib.rcParams)
    random_state = np.random.get_state()[1].tolist()  # noqa: NPY002
    current = plt.figure()
    axes = Figure().subplots(*shape)
    drawn = display.from_chains(chains, axes=axes.ravel())
    np.testing.assert_array_equal(drawn.axes_, axes)
    assert drawn.figure_ is axes[0, 0].figure
    assert plt.get_fignums() == [current.number]
    assert not current.axes
    assert dict(matplotlib.rcParams) == settings
    assert np.random.get_state()[1].tolist() == random_state  # noqa: NPY002
    assert drawn.plot() is drawn
    assert dict(matplotlib.rcParams) == settings
    assert drawn.figure_ is plt.gcf()


@pytest.mark.parametrize("display", [TraceDisplay, PairDisplay])
def test_labels_do_not_overlap(random_seed, display):
    # Names that matplotlib would read as formulas, or that are wider than a panel.
    names = ["a $\\frac{$ name", "snake_case_" * 3, "many words " * 3, "m", "n"]
    chains = Autoregressive(random_seed, d=5, feature_names=names)
    chains.draws[0] += 3.0
    chains.draws[1, ::50] = 1e7  # outside, so that their number is written
    figure = display.from_chains(chains).figure_
    assert any(title(panel, "right").startswith("outside: draws 8") for panel in figure.axes)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for panel in figure.axes for text in texts(panel)]
    overlaps = [
        (i, j) for i, a in enumerate(boxes) for j, b in enumerate(boxes[:i]) if a.overlaps(b)
    ]
    assert overlaps == []


# Histograms and limits


def test_limits_hold_all_finite_values():
    assert limits(np.array([0.0, 1.0, np.nan, np.inf])) == pytest.approx((-0.04, 1.04))
    assert limits(np.full(3, 1000.0)) == pytest.approx((950.0, 1050.0))
    assert limits(np.zeros(3)) == (-0.5, 0.5)
    assert limits(np.full(3, np.nan)) == (-0.5, 0.5)


LAWS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "uniform": lambda rng, n: rng.uniform(size=n),
    "logistic": lambda rng, n: rng.logistic(size=n),
    "skewed": lambda rng, n: rng.exponential(size=n),
    "counts": lambda rng, n: rng.poisson(3.0, n).astype(float),
    "rare": lambda rng, n: (np.arange(n) % 100 == 0).astype(float),
    "small mode": lambda rng, n: rng.standard_normal(n) + 30.0 * (np.arange(n) % 20 == 0),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("n", [60, 2000])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (-3e5, 1e-3), (7.0, 1e8)])
def test_limits_of_ordinary_values_hold_all(law, n, shift, scale, random_seed):
    values = shift + scale * LAWS[law](np.random.default_rng(random_seed), n)
    assert limits(values) == pytest.approx(min_to_max(values), rel=1e-12)


@pytest.mark.parametrize("wild", [1e6, -1e6, 1e300])
@pytest.mark.parametrize("n", [20, 2000])
def test_limits_of_the_rest_where_one_value_is_wild(wild, n, random_seed):
    rest = np.random.default_rng(random_seed).standard_normal(n)
    assert limits(np.append(rest, wild)) == pytest.approx(min_to_max(rest), rel=1e-12)


@pytest.mark.parametrize(("df", "most"), [(1, 0.05), (2, 0.02), (5, 0.001)])
def test_limits_of_heavy_tails_show_the_bulk(df, most, random_seed):
    values = np.random.default_rng(random_seed).standard_t(df, 20_000)
    low, high = limits(values)
    share = np.ptp(np.percentile(values, [25, 75])) / (high - low)
    assert share > 0.04
    assert count_outside(values, low, high) <= most * len(values)


def test_limits_of_parts_hold_the_bulk_of_each(random_seed):
    parts = np.random.default_rng(random_seed).standard_normal((50, 100))
    parts[7] += 1e4
    assert limits(*parts) == pytest.approx(min_to_max(parts))
    low, high = limits(parts)
    assert -8.0 < low < high < 8.0
    assert count_outside(parts, low, high) == 100


def test_one_value_beside_a_constant_is_shown():
    values = np.append(np.full(99, 3.0), 1e6)
    assert limits(values) == pytest.approx(min_to_max(values))


def test_bins_have_the_width_of_freedman_and_diaconis():
    values = np.linspace(0.0, 1.0, 1001)
    edges = bin_edges(values, 0.0, 1.0, 1001)
    assert len(edges) == 1 + int(1001 ** (1 / 3))
    assert len(bin_edges(values**9, 0.0, 1.0, 10**9)) == 61
    assert len(bin_edges(np.full(5, 0.5), 0.0, 1.0, 5)) == 61


def test_histogram_is_a_density_of_all_values():
    values = np.array([0.5, 1.5, 1.5, 9.0, np.nan])
    np.testing.assert_allclose(histogram(values, np.array([0.0, 1.0, 2.0])), [0.25, 0.5])
