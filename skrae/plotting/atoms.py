"""AtomDisplay: what the units of a code stand for, as pictures or as a table of colours."""

import math
from numbers import Integral

import numpy as np
from sklearn.utils import check_array

from skrae.plotting.panels import (
    FONT_SIZE,
    code_names,
    codes_of,
    colour_bar,
    column_names,
    frame_names,
    one_panel,
    require_matplotlib,
    small_ticks,
)
from skrae.preprocessing.contract.options import check_number, layer_sizes

MAX_ATOMS = 100
# Of a table, so many features have their names beside them.
MAX_NAMES = 60


def _atoms(estimator, caller):
    """Finite rows (n_components, n_features)."""
    if not hasattr(estimator, "components_"):
        raise TypeError(
            f"Got {caller} of {type(estimator).__name__} without components_, expected a fitted"
            " AutoEncoder, PCA, MiniBatchDictionaryLearning or the like."
        )
    return check_array(estimator.components_, dtype=np.float64, input_name="components_")


def _scale(estimator, d):
    """The unit of each column in working space, (d,), or 1 where an estimator has none."""
    scale = getattr(estimator, "scale_", None)
    return scale if np.shape(scale) == (d,) else 1.0


def _feature_names(estimator, X, given, d):
    found = getattr(estimator, "feature_names_in_", None)
    return column_names(given, frame_names(X) if found is None else list(found), d)


def _most_used(estimator, atoms, X):
    """Order of the atoms, first the one whose part of the rows of X varies most."""
    spread = np.std(codes_of(estimator, X, "AtomDisplay"), axis=0)
    return np.argsort(-spread * np.linalg.norm(atoms, axis=1), kind="stable")


def _checked_shape(image_shape, d):
    shape = layer_sizes(image_shape)
    if shape is None or len(shape) != 2 or math.prod(shape) != d:
        raise ValueError(
            f"Got image_shape={image_shape!r}, expected (height, width) of {d} pixels in all."
        )
    return shape


def mosaic(atoms, image_shape):
    """Atoms (n, d) as pictures side by side, row by row, with NaN between them."""
    height, width = image_shape
    n_columns = math.ceil(math.sqrt(len(atoms)))
    n_rows = math.ceil(len(atoms) / n_columns)
    tiles = np.full((n_rows * n_columns, height + 1, width + 1), np.nan)
    tiles[: len(atoms), :-1, :-1] = np.reshape(atoms, (-1, height, width))
    tiles = tiles.reshape(n_rows, n_columns, height + 1, width + 1)
    return tiles.swapaxes(1, 2).reshape(n_rows * (height + 1), -1)[:-1, :-1]


class AtomDisplay:
    """Atoms: what a step of each unit of the code adds to a row.

    Columns that are pixels of a picture are shown as one, otherwise atoms are the columns of a
    table of colours. Colours diverge from 0, and all atoms share one scale.

    Parameters
    ----------
    atoms : ndarray of shape (n_atoms, n_features)
        To show, in this order.
    names : list of n_atoms str
    feature_names : list of n_features str
    image_shape : tuple (height, width), default=None
        None shows a table.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
        That of the axes.
    image_ : matplotlib AxesImage
        Pictures row by row, masked between them, or the table (n_features, n_atoms).
    colorbar_ : matplotlib Colorbar

    See Also
    --------
    CodeDisplay : The codes of rows.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skrae.plotting import AtomDisplay
    >>> pca = PCA(10).fit(load_digits().data)
    >>> display = AtomDisplay.from_estimator(
    ...     pca, image_shape=(8, 8), n_atoms=4, ax=Figure().subplots()
    ... )
    >>> display.names
    ['pca0', 'pca1', 'pca2', 'pca3']
    >>> display.image_.get_array().shape
    (17, 17)
    """

    def __init__(self, *, atoms, names, feature_names, image_shape=None):
        self.atoms = atoms
        self.names = names
        self.feature_names = feature_names
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        *,
        image_shape=None,
        n_atoms=None,
        feature_names=None,
        ax=None,
        **kwargs,
    ):
        """Draw the atoms of a fitted estimator.

        Parameters
        ----------
        estimator : fitted object
            With `components_` of shape (n_components, n_features). Of one that scales columns, as
            `AutoEncoder` does, pictures are in units of the data, `components_` times `scale_`; a
            table, whose columns may be in many units, is of `components_` itself.
        X : array-like of shape (n_samples, n_features), default=None
            Rows by which to order the atoms: first the one that moves reconstructions most, by the
            standard deviation of its codes times its norm. None keeps the order of `components_`.
        image_shape : tuple (height, width), default=None
            Of a row, where its columns are pixels.
        n_atoms : int, default=None
            The most atoms to show, the first ones; None shows up to 100.
        feature_names : list of str, default=None
            None takes those that the estimator saw, or the columns of X, or else x0, x1, ...
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.imshow`.

        Returns
        -------
        display : AtomDisplay
            Drawn.

        Raises
        ------
        TypeError
            If the estimator has no `components_`, or `n_atoms` is no integer.
        ValueError
            If `image_shape` or `feature_names` do not fit the columns, or `n_atoms` < 1.
        """
        require_matplotlib(f"{cls.__name__}.from_estimator")
        check_number("n_atoms", MAX_ATOMS if n_atoms is None else n_atoms, 1, kind=Integral)
        components = _atoms(estimator, cls.__name__)
        k, d = components.shape
        shape = None if image_shape is None else _checked_shape(image_shape, d)
        order = range(k) if X is None else _most_used(estimator, components, X)
        shown = list(order)[: MAX_ATOMS if n_atoms is None else n_atoms]
        names = code_names(estimator, k)
        display = cls(
            atoms=components[shown] * (1.0 if shape is None else _scale(estimator, d)),
            names=[names[unit] for unit in shown],
            feature_names=_feature_names(estimator, X, feature_names, d),
            image_shape=shape,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw on `ax`, or on a new figure.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None makes a new figure.
        **kwargs
            For `Axes.imshow`; `vmax` alone sets both ends of the colours.

        Returns
        -------
        display : AtomDisplay
            Itself.
        """
        require_matplotlib(f"{type(self).__name__}.plot")
        atoms = np.asarray(self.atoms)
        pictures = self.image_shape is not None
        shown = mosaic(atoms, self.image_shape) if pictures else atoms.T
        height, width = (6.0, 6.0) if pictures else (0.22 * atoms.shape[1], 0.35 * len(atoms))
        size = (np.clip(width + 2.0, 4.0, 9.0), np.clip(height + 1.0, 3.0, 9.0))
        self.ax_ = one_panel(ax, size)
        self.figure_ = self.ax_.figure
        largest = kwargs.get("vmax", np.abs(atoms).max() or 1.0)
        look = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "interpolation": "nearest"}
        look["aspect"] = "equal" if pictures else "auto"
        self.image_ = self.ax_.imshow(np.ma.masked_invalid(shown), **{**look, **kwargs})
        self.colorbar_ = colour_bar(self.ax_, self.image_, shrink=0.8)
        if pictures:
            self.ax_.set(xticks=[], yticks=[], facecolor="0.75")
            self.ax_.spines[:].set_visible(False)
        else:
            self._label_table()
        return self

    def _label_table(self):
        style = {"fontsize": FONT_SIZE, "parse_math": False}
        small_ticks(self.ax_)
        self.ax_.set_xticks(range(len(self.names)), self.names, rotation=90, **style)
        if len(self.feature_names) <= MAX_NAMES:
            self.ax_.set_yticks(range(len(self.feature_names)), self.feature_names, **style)
        else:
            self.ax_.set_ylabel("feature", size=FONT_SIZE)
