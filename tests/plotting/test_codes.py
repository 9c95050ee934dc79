"""Displays of codes: what is drawn is what was computed, errors, no global state."""

import ast
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import AutoEncoder
from skrae.metrics import shepard_correlation, stress
from skrae.plotting import AtomDisplay, CodeDisplay, ShepardDisplay
from skrae.plotting.atoms import mosaic

matplotlib = pytest.importorskip("matplotlib")
plt = pytest.importorskip("matplotlib.pyplot")
Figure, to_hex = matplotlib.figure.Figure, matplotlib.colors.to_hex

X, Y = load_iris(return_X_y=True)
FRAME = load_iris(as_frame=True).data
DISPLAYS = [
    (AtomDisplay, lambda **options: AtomDisplay.from_estimator(PCA(3).fit(X), **options)),
    (CodeDisplay, lambda **options: CodeDisplay.from_estimator(PCA(3).fit(X), X, **options)),
    (ShepardDisplay, lambda **options: ShepardDisplay.from_estimator(PCA(3).fit(X), X, **options)),
]
IDS = [display.__name__ for display, _ in DISPLAYS]


class Fitted:
    """Components, and codes that are the first columns."""

    def __init__(self, components):
        self.components_ = np.asarray(components)

    def transform(self, X):
        return np.asarray(X)[:, : len(self.components_)]


@pytest.fixture(autouse=True)
def _closed_figures():
    yield
    plt.close("all")


# Atoms


def test_mosaic_has_the_atoms_row_by_row_and_nan_between_them(random_seed):
    atoms = np.random.default_rng(random_seed).standard_normal((5, 6))
    tiles = mosaic(atoms, (2, 3))
    assert tiles.shape == (2 + 1 + 2, 3 * 3 + 2)
    for number, atom in enumerate(atoms):
        row, column = divmod(number, 3)
        part = tiles[3 * row : 3 * row + 2, 4 * column : 4 * column + 3]
        np.testing.assert_array_equal(part, atom.reshape(2, 3))
    assert np.isnan(tiles).sum() == tiles.size - atoms.size


def test_pictures_are_in_units_of_the_data_and_tables_are_not():
    rows = np.random.default_rng(0).standard_normal((200, 4)) * [1.0, 2.0, 4.0, 100.0]
    model = AutoEncoder(2, hidden_layer_sizes=(), activation="identity", random_state=0).fit(rows)
    picture = AtomDisplay.from_estimator(model, image_shape=(2, 2))
    np.testing.assert_allclose(picture.atoms, model.components_ * model.scale_)
    shown = picture.image_.get_array()
    np.testing.assert_allclose(shown[:2, :2], picture.atoms[0].reshape(2, 2))
    assert shown.mask.sum() == 2
    table = AtomDisplay.from_estimator(model)
    np.testing.assert_array_equal(table.image_.get_array(), model.components_.T)


def test_colours_diverge_from_zero():
    display = AtomDisplay.from_estimator(Fitted([[0.5, -2.0], [1.0, 0.0]]))
    assert display.image_.get_clim() == (-2.0, 2.0)
    assert display.plot(vmax=3.0).image_.get_clim() == (-3.0, 3.0)
    assert AtomDisplay.from_estimator(Fitted(np.zeros((2, 2)))).image_.get_clim() == (-1.0, 1.0)


def test_atoms_are_ordered_by_what_they_move():
    estimator = Fitted([[1.0, 0.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, 2.0]])
    rows = np.random.default_rng(0).standard_normal((100, 3)) * [3.0, 1.0, 0.5]
    display = AtomDisplay.from_estimator(estimator, rows, n_atoms=2)
    assert display.names == ["code1", "code0"]
    np.testing.assert_array_equal(display.atoms, estimator.components_[[1, 0]])
    assert AtomDisplay.from_estimator(estimator, n_atoms=2).names == ["code0", "code1"]


@pytest.mark.parametrize("estimator", [PCA(3), MiniBatchDictionaryLearning(3, random_state=0)])
def test_atoms_of_other_estimators_and_names_of_frames(estimator):
    estimator.set_output(transform="pandas").fit(FRAME)
    display = AtomDisplay.from_estimator(estimator, FRAME)
    assert display.feature_names == list(FRAME)
    assert set(display.names) == set(estimator.get_feature_names_out())
    ticks = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert ticks == list(FRAME)
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert ticks == display.names


def test_names_of_columns_are_given_or_made():
    assert AtomDisplay.from_estimator(PCA(2).fit(X)).feature_names == ["x0", "x1", "x2", "x3"]
    named = AtomDisplay.from_estimator(PCA(2).fit(X), feature_names=list("abcd"))
    assert named.feature_names == list("abcd")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"image_shape": (3, 2)}, ValueError, r"Got image_shape=\(3, 2\), .* of 4 pixels in all"),
        ({"image_shape": 4}, ValueError, "Got image_shape=4, expected"),
        ({"image_shape": (-2, -2)}, ValueError, r"Got image_shape=\(-2, -2\), expected"),
        ({"n_atoms": 0}, ValueError, "Got n_atoms=0, expected an integer >= 1"),
        ({"n_atoms": 1.5}, TypeError, r"Got n_atoms=1\.5, expected an integer"),
        ({"feature_names": ["a"]}, ValueError, "Got 1 feature_names, expected 4"),
    ],
)
def test_bad_options_of_atoms_raise(options, error, message):
    with pytest.raises(error, match=message):
        AtomDisplay.from_estimator(PCA(2).fit(X), **options)
    assert plt.get_fignums() == []


def test_atoms_need_components():
    with pytest.raises(TypeError, match="Got AtomDisplay of StandardScaler without components_"):
        AtomDisplay.from_estimator(StandardScaler().fit(X))


# Codes


def test_each_label_has_its_codes_a_colour_and_a_line_in_the_legend():
    pca = PCA(3).fit(X)
    display = CodeDisplay.from_estimator(pca, X, y=Y, components=(2, 0))
    codes = pca.transform(X)[:, [2, 0]]
    for label, scatter in enumerate(display.scatters_):
        np.testing.assert_array_equal(scatter.get_offsets(), codes[label == Y])
    assert len({to_hex(s.get_facecolor()[0]) for s in display.scatters_}) == 3
    assert [t.get_text() for t in display.legend_.get_texts()] == ["0", "1", "2"]
    assert display.colorbar_ is None
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("pca2", "pca0")


def test_numbers_have_a_colour_bar():
    display = CodeDisplay.from_estimator(PCA(3).fit(X), X, y=X[:, 0])
    (scatter,) = display.scatters_
    np.testing.assert_array_equal(scatter.get_array(), X[:, 0])
    assert display.legend_ is None
    assert display.colorbar_.mappable is scatter


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        (np.array([True, False] * 75), ["False", "True"]),
        (["b", "a", "c"] * 50, ["a", "b", "c"]),
        (np.array(["b", 1, "c"] * 50, object), ["1", "b", "c"]),
        (np.arange(150) % 21, None),
        (np.arange(150) % 2 * 1.0, None),
        (None, None),
    ],
)
def test_what_is_a_label(y, labels):
    legend = CodeDisplay.from_estimator(PCA(2).fit(X), X, y=y).legend_
    found = None if legend is None else [text.get_text() for text in legend.get_texts()]
    assert found == labels


def test_components_are_chosen_by_name_of_pipelines_too():
    model = make_pipeline(StandardScaler(), PCA(3)).fit(X)
    display = CodeDisplay.from_estimator(model, X, components=["pca1", "pca2"])
    np.testing.assert_array_equal(display.codes, model.transform(X)[:, 1:])


def test_an_auto_encoder_names_its_codes(random_seed):
    model = AutoEncoder(2, hidden_layer_sizes=(), max_iter=50, random_state=random_seed).fit(X)
    assert CodeDisplay.from_estimator(model, X).names == ["autoencoder0", "autoencoder1"]


@pytest.mark.parametrize("y", [None, np.r_[np.ones(149), 2.0], np.r_[np.ones(149, int), 2]])
def test_a_wild_code_does_not_rule_the_axes(y):
    rows = X.copy()
    rows[-1, :2] = 1e6, 3.0
    display = CodeDisplay.from_estimator(Fitted(np.eye(4)), rows, y=y)
    right = display.ax_.get_xlim()[1]
    assert right < 20.0
    assert display.n_outside_ == 1
    assert display.ax_.get_title(loc="right") == "outside: codes 1"
    marks = [s for s in display.ax_.collections if s not in display.scatters_]
    (mark,) = [s for s in marks if not s.get_clip_on()]
    assert mark.get_offsets().tolist() == [[right, 3.0]]
    color = display.scatters_[-1].get_facecolor()[-1]
    assert to_hex(mark.get_facecolor()[0]) == to_hex(color)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y": [1, 2]}, ValueError, "Got y of 2 values, expected 150"),
        ({"y": np.full(150, np.nan)}, ValueError, "Got y with NaN or infinity"),
        ({"components": [0, 3]}, ValueError, "Got components with 3, expected indices from 0 to 2"),
        ({"components": ["a", 0]}, ValueError, "Got components with 'a', expected names among"),
        ({"components": 0}, ValueError, "Got components=0, expected two"),
        ({"components": [0, 1, 2]}, ValueError, "expected two"),
        ({"components": [0.5, 1]}, TypeError, "Got components with 0.5, expected names or indices"),
    ],
)
def test_bad_options_of_codes_raise(options, error, message):
    with pytest.raises(error, match=message):
        CodeDisplay.from_estimator(PCA(3).fit(X), X, **options)
    assert plt.get_fignums() == []


def test_one_unit_is_not_drawn():
    with pytest.raises(ValueError, match="Got codes of 1 unit, expected at least 2"):
        CodeDisplay.from_estimator(PCA(1).fit(X), X)


# Distances


def test_a_rotation_is_on_the_diagonal():
    display = ShepardDisplay.from_estimator(PCA(4).fit(X), X)
    np.testing.assert_allclose(display.after, display.before, atol=1e-6)
    assert display.stress < 1e-6
    assert display.correlation == pytest.approx(1.0)
    assert display.line_.get_xy1() == (0.0, 0.0)
    x, y = display.line_.get_xy2()
    assert x == y > 0.0


def test_pairs_and_what_is_written_are_those_of_all_rows():
    Z = X[:, :1]
    display = ShepardDisplay.from_codes(X, Z)
    assert len(display.before) == math.comb(150, 2)
    counts = display.histogram_.get_array()
    assert counts.sum() == math.comb(150, 2)
    assert counts.mask.any()
    first = np.linalg.norm(X[0] - X[1]), abs(Z[0, 0] - Z[1, 0])
    assert (display.before[0], display.after[0]) == pytest.approx(first)
    text = f"stress {stress(X, Z):.3f}   correlation {shepard_correlation(X, Z):.3f}"
    assert display.ax_.get_title(loc="left") == text


def test_of_many_rows_some_are_drawn():
    displays = [
        ShepardDisplay.from_codes(X, X[:, :1], max_samples=20, random_state=seed)
        for seed in (0, 0, 1)
    ]
    first, second, other = (display.before for display in displays)
    assert len(first) == math.comb(20, 2)
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_known_distances_and_other_metrics():
    known = np.abs(X[:, :1] - X[:, 0])
    for options in ({}, {"max_samples": 20, "random_state": 0}):
        display = ShepardDisplay.from_codes(known, X[:, :1], metric="precomputed", **options)
        np.testing.assert_allclose(display.before, display.after, atol=1e-9)
    city = ShepardDisplay.from_codes(X, X, metric="cityblock")
    assert (city.before >= city.after - 1e-9).all()
    assert city.stress == stress(X, X, metric="cityblock")


@pytest.mark.parametrize(
    ("X", "Z", "options", "error", "message"),
    [
        (X, X[:5], {}, ValueError, "inconsistent numbers of samples"),
        (X[:1], X[:1], {}, ValueError, "minimum of 2"),
        (X, X, {"max_samples": 1}, ValueError, "Got max_samples=1, expected an integer >= 2"),
        (X, X, {"max_samples": 2.5}, TypeError, r"Got max_samples=2\.5, expected an integer"),
        (X, X, {"metric": "far"}, ValueError, "Got metric='far', expected"),
        (np.ones((5, 2)), X[:5], {}, ValueError, "Got X of rows whose distances are all 0"),
    ],
)
def test_bad_input_of_distances_raises(X, Z, options, error, message):
    with pytest.raises(error, match=message):
        ShepardDisplay.from_codes(X, Z, **options)
    assert plt.get_fignums() == []


# All


@pytest.mark.parametrize("display", [CodeDisplay, ShepardDisplay])
def test_codes_need_a_transform(display):
    with pytest.raises(TypeError, match=f"Got {display.__name__} of int without transform"):
        display.from_estimator(1, X)


@pytest.mark.parametrize(("display", "draw"), DISPLAYS, ids=IDS)
def test_given_axes_are_used_and_global_state_is_left(display, draw):
    settings = dict(matplotlib.rcParams)
    random_state = np.random.get_state()[1].tolist()  # noqa: NPY002
    current = plt.figure()
    ax = Figure().subplots()
    drawn = draw(ax=ax)
    assert drawn.ax_ is ax
    assert drawn.figure_ is ax.figure
    assert plt.get_fignums() == [current.number]
    assert not current.axes
    assert drawn.plot() is drawn
    assert drawn.figure_ is plt.gcf()
    assert dict(matplotlib.rcParams) == settings
    assert np.random.get_state()[1].tolist() == random_state  # noqa: NPY002


@pytest.mark.parametrize(("display", "draw"), DISPLAYS, ids=IDS)
def test_options_go_to_matplotlib(display, draw):
    drawn = draw(cmap="magma") if display is not CodeDisplay else draw(y=X[:, 0], cmap="magma")
    artist = {
        AtomDisplay: lambda: drawn.image_,
        CodeDisplay: lambda: drawn.scatters_[0],
        ShepardDisplay: lambda: drawn.histogram_,
    }[display]()
    assert artist.get_cmap().name == "magma"


@pytest.mark.parametrize(("display", "draw"), DISPLAYS, ids=IDS)
def test_missing_matplotlib_names_the_extra(display, draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=rf"{display.__name__}.from_\w+ needs .* pip install"):
        draw()


@pytest.mark.parametrize("name", ["atoms", "codes", "shepard"])
def test_matplotlib_is_imported_only_where_it_is_needed(name):
    path = Path(sys.modules[f"skrae.plotting.{name}"].__file__)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [getattr(node, "module", None) or node.names[0].name for node in top]
    assert not any(name.startswith("matplotlib") for name in names)
