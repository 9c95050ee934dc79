"""Edited states are refused for what was edited, each by the name of its attribute."""

import pickle

import numpy as np
import pytest

from skrae import datasets
from skrae.density.columns.margins import ARRAYS, Chain, Margins
from skrae.density.fitted import Fitted
from skrae.density.radial_average import RadialEnergy
from skrae.density.soundness import check_sound
from skrae.preprocessing.affine import AffineMap
from tests.density.estimators import quick_estimator

KNOTS = np.tile([-1.0, 0.0, 1.0], (2, 1))
MARGINS = dict(
    zip(
        ARRAYS,
        (np.zeros(2), np.ones(2), KNOTS, KNOTS, np.ones((2, 3)), np.zeros((2, 3))),
        strict=True,
    )
)
AFFINE = AffineMap.diagonal(np.array([1.0, -1.0]), np.array([1e-3, 1e3])).parts()
BASE = {
    "weights": np.array([0.75, 0.25]),
    "means": np.zeros((2, 2)),
    "factors": np.stack([np.array([[1.0, 0.0], [0.5, 1.0]]), np.eye(2)]),
    "dofs": np.array([np.inf, 4.0]),
    "blocks": np.array([0, 1]),
    "levels": np.zeros(0, int),
}
ENERGY = RadialEnergy(0.5, 0.1, tuple(BASE.values()), np.zeros((5, 2)), 0.7, np.zeros(5))
# The shapes of coefs_ of each decoder.
SHAPES = {
    "gradient": [(2, 4), (4, 3), (3, 1)],
    "free": [(2, 4), (4, 3), (3, 4), (4, 2), (1, 1)],
    "tied": [(2, 4), (4, 2), (1, 1)],
    "kernel": [(2, 4), (4, 1)],
}
ACTIVATIONS = {"gradient": "silu", "free": "relu", "tied": "sigmoid", "kernel": "gaussian"}
NAN = np.full(2, np.nan)


def state(decoder="gradient", margins=MARGINS, affine=AFFINE, base=BASE, **parts):
    """A sound `Fitted`, some of its parts replaced."""
    shapes = SHAPES[decoder]
    units = [4, 4] if decoder == "kernel" else []
    coefs = [np.ones(shape, np.float32) for shape in shapes]
    intercepts = [np.ones(shape[1:], np.float32) for shape in shapes]
    if units:  # the widths, and where the bound sets in
        intercepts[0], intercepts[1] = np.ones(4), np.ones(1)
    sound = Fitted(
        transform=Chain(Margins(**margins), AffineMap(*affine)),
        base=tuple(base.values()),
        coefs=coefs,
        intercepts=intercepts,
        decoder=decoder,
        activation=ACTIVATIONS[decoder],
        noise_covariance="isotropic",
        noise_level=0.3,
        contraction_weight=0.0,
        bias_correction=False,
        log_z=0.2,
        energy=ENERGY,
    )
    return sound._replace(**parts)


@pytest.mark.parametrize("decoder", SHAPES)
def test_what_a_fit_gives_is_sound(decoder):
    check_sound(state(decoder), 2)
    plain = state(decoder, transform=AffineMap(*AFFINE), energy=None)
    check_sound(plain, 2)


def layers(decoder, place, coef=None, intercept=None):
    """coefs or intercepts, one of them replaced."""
    sound = state(decoder)
    arrays = list(sound.coefs if intercept is None else sound.intercepts)
    arrays[place] = coef if intercept is None else intercept
    return {"decoder": decoder, ("coefs" if intercept is None else "intercepts"): arrays}


def energy(**parts):
    return {"energy": ENERGY._replace(**parts)}


def smooth(**parts):
    return energy(smooth=tuple({**BASE, **parts}.values()))


def test_columns_are_those_of_the_rows():
    with pytest.raises(ValueError, match=r"Got .* location of margins_ of shape \(2,\), expected"):
        check_sound(state(), 3)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"noise_level": -1.0}, "noise_level=-1.0, expected a number >= 0"),
        ({"noise_level": "auto"}, "noise_level='auto', expected a number"),
        ({"contraction_weight": np.inf}, "contraction_weight=inf"),
        ({"noise_level": 0.0}, "contraction_weight both 0, expected one of them > 0"),
        ({"log_z": np.nan}, "log_normalizer_=nan, expected a finite number"),
        ({"bias_correction": "no"}, "bias_correction='no', expected a bool"),
        ({"activation": "gelu"}, "activation='gelu', expected one of"),
        ({"activation": "relu"}, r"activation='relu', expected one of \['silu'"),
        ({"noise_covariance": "auto"}, "noise_covariance='auto', expected one of"),
        (layers("gradient", 1, np.ones((5, 3))), r"coefs_\[1\] of shape \(5, 3\), expected shape"),
        (layers("gradient", 0, [[1.0] * 4] * 2), r"coefs_\[0\] of type list, expected an array"),
        (layers("gradient", 0, np.full((2, 4), np.nan)), r"coefs_\[0\] that is not finite"),
        (layers("gradient", 0, np.ones((2, 4), int)), r"coefs_\[0\] of dtype int64"),
        (layers("gradient", 1, intercept=np.ones((3, 1))), r"intercepts_\[1\] of shape \(3, 1\)"),
        (layers("gradient", 2, intercept=np.ones(2)), "a head of 2 outputs, expected 1"),
        ({"intercepts": [np.ones(1)]}, "3 coefs_, 1 intercepts_, expected as many"),
        (layers("gradient", 2, np.ones((1, 1))), r"coefs_\[2\] of shape \(1, 1\)"),
        (layers("free", 4, np.ones((2, 1))), r"coefs_\[4\] of shape \(2, 1\)"),
        (layers("tied", 1, intercept=np.ones(3)), "reconstructions of 3 columns, expected 2"),
        (layers("kernel", 1, np.ones((3, 1))), r"coefs_\[1\] of shape \(3, 1\)"),
        (energy(share=1.5), r"a share of 1.5, expected one in \(0, 1\]"),
        (energy(share=0.0), "a share of 0.0"),
        (energy(offset=np.nan), "an offset of nan"),
        (energy(width=0.0), "radial units of width 0.0"),
        (energy(centres=np.zeros((4, 2))), r"centres of radial_units_ of shape \(4, 2\)"),
        (energy(coefficients=np.full(5, np.inf)), "coefficients of radial_units_ that is not"),
        (smooth(weights=np.ones(2)), "weights below radial_units_ of sum 2, expected positive"),
    ],
)
def test_an_edited_part_is_named(parts, message):
    with pytest.raises(ValueError, match=rf"Got a fitted state with .*{message}"):
        check_sound(state(**parts), 2)


def test_an_unknown_decoder_is_named():
    with pytest.raises(ValueError, match=r"decoder='deep', expected one of \['gradient', "):
        check_sound(state()._replace(decoder="deep"), 2)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("weights", np.array([0.75, 0.26]), "base_weights_ of sum 1.01, expected positive ones"),
        ("weights", np.array([1.25, -0.25]), "base_weights_ of sum 1, expected positive ones"),
        ("weights", np.float64(1.0), r"base_weights_ of type float64"),
        ("weights", NAN, "base_weights_ that is not finite"),
        ("means", np.zeros((2, 3)), r"base_means_ of shape \(2, 3\), expected shape \(2, 2\)"),
        ("factors", np.ones((2, 2, 2)), "base_factors_ above the diagonal, expected zeros"),
        ("factors", -BASE["factors"], "diagonals of base_factors_ not above 0"),
        ("factors", BASE["factors"][::-1], "Student-t base_factors_ between blocks"),
        ("dofs", np.array([np.inf, 0.0]), "base_dofs_ of .*, expected whole numbers >= 1 or inf"),
        ("dofs", np.array([np.inf, 1.5]), "base_dofs_ of "),
        ("dofs", NAN, "base_dofs_ of "),
        ("blocks", np.array([0]), r"base_blocks_ of shape \(1,\), expected \(2,\)"),
    ],
)
def test_an_edited_base_density_is_named(part, value, message):
    with pytest.raises(ValueError, match=message):
        check_sound(state(base={**BASE, part: value}), 2)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, NAN, "location_ that is not finite"),
        (1, np.eye(3), r"whitening_ of shape \(3, 3\)"),
        (1, np.eye(2), "_unwhitening other than the inverse of whitening_"),
        (2, np.eye(2), "_unwhitening other than the inverse of whitening_"),
        (3, 1.0, r"_log_det=1.0, expected .*e-1\d|_log_det=1.0, expected 0, that of whitening_"),
        (3, None, "_log_det=None, expected a finite number"),
    ],
)
def test_an_edited_affine_map_is_named(place, value, message):
    affine = [*AFFINE[:place], value, *AFFINE[place + 1 :]]
    with pytest.raises(ValueError, match=message):
        check_sound(state(affine=affine), 2)


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("scale", np.array([1.0, 0.0]), "scale of margins_ not above 0"),
        ("knots", KNOTS[:, ::-1], "knots of margins_ that fall, expected sorted"),
        ("knots", KNOTS[0], r"knots of margins_ of shape \(3,\), expected shape \(2, 1\)"),
        ("values", -KNOTS, "values of margins_ that fall"),
        ("values", KNOTS[:, 1:], r"values of margins_ of shape \(2, 2\), expected shape \(2, 3\)"),
        ("slopes", -np.ones((2, 3)), "slopes of margins_ below 0, expected a map that rises"),
        ("bends", np.full((2, 3), np.nan), "bends of margins_ that is not finite"),
    ],
)
def test_an_edited_map_of_columns_is_named(part, value, message):
    with pytest.raises(ValueError, match=message):
        check_sound(state(margins={**MARGINS, part: value}), 2)


def test_an_edited_model_is_refused_where_it_is_loaded():
    model = quick_estimator(max_iter=6).fit(datasets.Ring().sample(60, 0))
    model.base_weights_ = 2.0 * model.base_weights_
    stored = pickle.dumps(model)
    with pytest.raises(ValueError, match="base_weights_ of sum 2, expected positive ones of sum 1"):
        pickle.loads(stored)
