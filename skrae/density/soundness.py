"""Whether a fitted density is one that a fit may give: shapes, signs, sums, known names."""

import math
from numbers import Real

import numpy as np

from skrae.autoencoders.decoders.registry import DECODERS
from skrae.density.columns.margins import Chain
from skrae.density.columns.working_space import numeric_map
from skrae.preprocessing.contract.seal import require, require_array
from skrae.preprocessing.table.options import KINDS
from skrae.preprocessing.table.table import Table

# Of a base density.
PARTS = "weights", "means", "factors", "dofs", "blocks", "levels"
# How far a sum of weights, or an inverse times its matrix, may be from what it should be.
SUM_TOLERANCE, INVERSE_TOLERANCE = 1e-9, 1e-6


def check_sound(fitted, n_numeric):
    """Raise ValueError for the first part of a `Fitted` that no fit gives.

    Parameters
    ----------
    fitted : Fitted
    n_numeric : int, the numeric columns it was fitted to

    Raises
    ------
    ValueError
        What was got, by the name of its attribute, and what is expected.
    """
    _check_options(fitted)
    affine, n_levels = numeric_map(fitted.transform), int(np.sum(fitted.base[-1]))
    if isinstance(affine, Chain):
        _check_margins(affine.margins, n_numeric)
        affine = affine.affine
    _check_affine(affine, n_numeric)
    _check_base("base_{}_", fitted.base, n_numeric)
    _check_network(fitted, n_numeric + n_levels)
    if fitted.energy is not None:
        _check_energy(fitted.energy, n_numeric)


def check_sound_table(state, n_features, levels):
    """Raise ValueError unless a fit of so many columns may have given this state of a table.

    Parameters
    ----------
    state : what `Table.state` gives, or None
    n_features : int
    levels : array of the sizes of the categories of full rows
    """
    try:
        table = None if state is None else Table.from_state(state)
        kinds, own = () if table is None else table.kinds, () if table is None else table.levels
        known = set(kinds) <= set(KINDS)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            "Got a fitted state with a damaged table_, expected one of a fit."
        ) from error
    require(known, f"table_ of the kinds {kinds}", f"those of {KINDS}")
    require(
        table is None or len(kinds) == n_features,
        f"table_ of {len(kinds)} columns",
        f"{n_features}, those of the fit",
    )
    is_same = isinstance(levels, np.ndarray) and tuple(levels.tolist()) == own
    require(is_same, f"base_levels_={levels!r}", f"{own}, the levels of table_")


def with_tables(state):
    """The stored attributes of a fit from before there were raw tables as those of one of now."""
    levels, units = np.zeros(0, int), state.get("radial_units_")
    if units and len(units["smooth"]) < len(PARTS):
        units = {**units, "smooth": (*units["smooth"], levels)}
    return {**state, "table_": None, "base_levels_": levels, "radial_units_": units}


def _check_options(fitted):
    require(fitted.decoder in DECODERS, f"decoder={fitted.decoder!r}", f"one of {list(DECODERS)}")
    decoder = DECODERS[fitted.decoder]
    for name, known in (
        ("activation", decoder.activations),
        ("noise_covariance", decoder.noise_covariances),
    ):
        option = getattr(fitted, name)
        require(option in known, f"{name}={option!r}", f"one of {list(known)}")
    for name in ("noise_level", "contraction_weight"):
        level = getattr(fitted, name)
        require(_is_finite(level) and level >= 0.0, f"{name}={level!r}", "a number >= 0")
    tau = fitted.noise_level**2 + fitted.contraction_weight
    require(tau > 0.0, "noise_level and contraction_weight both 0", "one of them > 0")
    corrects, log_z = fitted.bias_correction, fitted.log_z
    require(isinstance(corrects, bool), f"bias_correction={corrects!r}", "a bool")
    require(_is_finite(log_z), f"log_normalizer_={log_z!r}", "a finite number")


def _is_finite(value):
    return isinstance(value, Real) and math.isfinite(value)


def _length(array, axis=0):
    """Of an array, or 1 where it has no such axis."""
    return (*np.shape(array), 1, 1)[axis]


def _check_affine(affine, d):
    location, matrix, inverse, log_det = affine.parts()
    require_array("location_", location, (d,))
    require_array("whitening_", matrix, (d, d))
    require_array("_unwhitening", inverse, (d, d))
    require(_is_finite(log_det), f"_log_det={log_det!r}", "a finite number")
    # In this order units cancel: the other product has their ratios.
    gap = np.abs(inverse @ matrix - np.eye(d)).max()
    require(gap < INVERSE_TOLERANCE, "_unwhitening other than the inverse of whitening_", "that")
    units = np.abs(matrix).max(axis=1)
    expected = np.log(units).sum() + np.linalg.slogdet(matrix / units[:, None])[1]
    gap = abs(log_det - expected) / (d + abs(expected))
    require(gap < INVERSE_TOLERANCE, f"_log_det={log_det!r}", f"{expected:g}, that of whitening_")


def _check_margins(margins, d):
    location, scale, knots, values, slopes, bends = margins.parts()
    require_array("location of margins_", location, (d,))
    require_array("scale of margins_", scale, (d,))
    require((scale > 0.0).all(), "scale of margins_ not above 0", "positive numbers")
    require_array("knots of margins_", knots, (d, _length(knots, 1)))
    for name, array in (("values", values), ("slopes", slopes), ("bends", bends)):
        require_array(f"{name} of margins_", array, knots.shape)
    for name, array in (("knots", knots), ("values", values)):
        is_sorted = (np.diff(array) >= 0.0).all()
        require(is_sorted, f"{name} of margins_ that fall", "sorted ones")
    require((slopes >= 0.0).all(), "slopes of margins_ below 0", "a map that rises")


def _check_base(form, base, d):
    """The mixture, of whose parts the attributes have names of this form."""
    weights, means, factors, dofs, blocks, levels = base
    names = (form.format(part) for part in PARTS)
    weights_name, means_name, factors_name, dofs_name, blocks_name, levels_name = names
    k = _length(weights)
    are_sizes = isinstance(levels, np.ndarray) and levels.dtype.kind == "i" and (levels > 0).all()
    require(are_sizes, f"{levels_name}={levels!r}", "an array of sizes")
    require_array(weights_name, weights, (k,))
    require_array(means_name, means, (k, d + int(levels.sum())))
    own = np.split(means[:, d:], np.cumsum(levels)[:-1], axis=1) if len(levels) else []
    are_shares = all((g >= 0.0).all() and np.allclose(g.sum(1), 1.0, 0.0, 1e-6) for g in own)
    require(are_shares, f"{means_name} of no level probabilities", "some of sum 1 of each category")
    require_array(factors_name, factors, (k, d, d))
    require_array(dofs_name, dofs, (k,), is_finite=False)
    require(np.shape(blocks) == (d,), f"{blocks_name} of shape {np.shape(blocks)}", f"({d},)")
    gap = abs(weights.sum() - 1.0)
    is_sum = (weights > 0.0).all() and gap < SUM_TOLERANCE
    require(is_sum, f"{weights_name} of sum {weights.sum():g}", "positive ones of sum 1")
    require(not np.triu(factors, 1).any(), f"{factors_name} above the diagonal", "zeros there")
    diagonals = np.diagonal(factors, axis1=1, axis2=2)
    require((diagonals > 0.0).all(), f"diagonals of {factors_name} not above 0", "positive ones")
    is_whole = (dofs == np.round(dofs)).all() and (dofs >= 1.0).all()
    require(is_whole, f"{dofs_name} of {dofs.tolist()}", "whole numbers >= 1 or inf")
    between = factors[np.isfinite(dofs)][:, np.not_equal.outer(blocks, blocks)]
    require(not between.any(), f"Student-t {factors_name} between blocks", "zeros there")


def _check_network(fitted, d):
    coefs, intercepts = fitted.coefs, fitted.intercepts
    n = len(coefs)
    require(n == len(intercepts) > 1, f"{n} coefs_, {len(intercepts)} intercepts_", "as many, > 1")
    *hidden, last = widths = [_length(intercept) for intercept in intercepts]
    n_in = hidden[-1]
    if DECODERS[fitted.decoder].encoder_depth(n) < n - 1:  # the head is behind a reconstruction
        require(hidden[-1] == d, f"reconstructions of {hidden[-1]} columns", f"{d}")
        n_in = 1
    shapes = zip([d, *hidden[:-1], n_in], widths, strict=True)
    require(last == 1, f"a head of {last} outputs", "1")
    for place, (coef, intercept, shape) in enumerate(zip(coefs, intercepts, shapes, strict=True)):
        require_array(f"coefs_[{place}]", coef, shape)
        require_array(f"intercepts_[{place}]", intercept, shape[1:])


def _check_energy(energy, d):
    require(0.0 < energy.share <= 1.0, f"a share of {energy.share!r}", "one in (0, 1]")
    require(_is_finite(energy.offset), f"an offset of {energy.offset!r}", "a finite number")
    require(
        _is_finite(energy.width) and energy.width > 0.0,
        f"radial units of width {energy.width!r}",
        "a positive number",
    )
    _check_base("{} below radial_units_", energy.smooth, d)
    m = _length(energy.coefficients)
    require_array("coefficients of radial_units_", energy.coefficients, (m,))
    require_array("centres of radial_units_", energy.centres, (m, d))
