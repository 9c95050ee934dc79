"""Whether a fitted auto-encoder is one that a fit may give: shapes, finite numbers, known names."""

import math

import numpy as np

from skrae.autoencoders.activations import ACTIVATIONS
from skrae.preprocessing.contract.seal import require, require_array


def check_sound(fitted, n_features):
    """Raise ValueError for the first part of a `FittedAutoEncoder` that no fit gives.

    Parameters
    ----------
    fitted : FittedAutoEncoder
    n_features : int, the columns it was fitted to
    """
    architecture = fitted.architecture
    k, sizes = architecture.n_components, architecture.hidden_layer_sizes
    for name in ("activation", "code_activation"):
        option = getattr(architecture, name)
        require(option in ACTIVATIONS, f"{name}={option!r}", f"one of {list(ACTIVATIONS)}")
    columns, codes = (n_features,), (k,)
    arrays = {
        "location_": (fitted.location, columns),
        "scale_": (fitted.scale, columns),
        "code_mean_": (fitted.code_mean, codes),
        "code_scale_": (fitted.code_scale, codes),
        "units of the code": (fitted.code_unit, codes),
    }
    widths = [n_features, *sizes, k]
    if architecture.decodes:
        widths += [*sizes[::-1], n_features]
    n_layers = len(widths) - 1
    n_coefs, n_intercepts = len(fitted.coefs), len(fitted.intercepts)
    require(
        n_coefs == n_intercepts == n_layers,
        f"{n_coefs} coefs_ and {n_intercepts} intercepts_",
        f"{n_layers} of each",
    )
    for place, (coef, intercept) in enumerate(zip(fitted.coefs, fitted.intercepts, strict=True)):
        n_in, n_out = widths[place : place + 2]
        arrays[f"coefs_[{place}]"] = coef, (n_in, n_out)
        arrays[f"intercepts_[{place}]"] = intercept, (n_out,)
    has_path = architecture.has_linear_path and len(sizes) > 0
    require(
        (fitted.path is not None) == has_path,
        "no linear path" if has_path else "a linear path",
        "one" if has_path else "none",
    )
    if has_path:
        encoder, decoder = fitted.path
        arrays["encoder of the linear path"] = encoder, (n_features, k)
        arrays["decoder of the linear path"] = decoder, (k, n_features)
    for name, (array, shape) in arrays.items():
        require_array(name, array, shape)
    positive = {name: arrays[name][0] for name in ("scale_", "code_scale_", "units of the code")}
    for name, array in positive.items():
        require((array > 0.0).all(), f"{name} not above 0", "positive numbers")
    for name, number in (
        ("a unit of rows of", fitted.row_unit),
        ("atoms of length", fitted.atom_norm),
    ):
        require(0.0 < number < math.inf, f"{name} {number}", "a positive number")
    require(np.shape(fitted.varies) == columns, "another number of columns that vary", "as many")
