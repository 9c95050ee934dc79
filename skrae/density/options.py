"""Checks of options, rows and weights: what was got, and what is expected."""

import math
from numbers import Integral, Real
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_array, check_scalar
from sklearn.utils.validation import validate_data

from skrae.density.device import available_device

CHOICES = {
    "noise_covariance": ("auto", "local", "isotropic"),
    "activation": ("auto", "silu", "tanh", "softplus", "sigmoid", "relu"),
    "decoder": ("gradient", "free", "tied"),
    "base_density": ("mixture", "gaussian"),
    "scaling": ("whiten", "standardize", None),
    "device": ("auto", "cpu", "cuda"),
}
INTERVALS = {
    "contraction_weight": (Real, 0.0, None, "left"),
    "learning_rate": (Real, 0.0, None, "neither"),
    "validation_fraction": (Real, 0.0, 1.0, "neither"),
    "max_components": (Integral, 1, None, "left"),
    "max_mixtures": (Integral, 1, None, "left"),
    "batch_size": (Integral, 1, None, "left"),
    "max_iter": (Integral, 1, None, "left"),
    "n_iter_no_change": (Integral, 1, None, "left"),
}
FLAGS = ("warm_start", "bias_correction", "verbose")


class Architecture(NamedTuple):
    """What a decoder takes, the first of which "auto" stands for."""

    hidden_layer_sizes: tuple
    activation: tuple
    noise_covariance: tuple
    calibration_weight: float


SMOOTH, WITH_ENERGY = ("silu", "tanh", "softplus"), ("sigmoid", "tanh", "relu")
ARCHITECTURES = {
    "gradient": Architecture((128, 128, 128), SMOOTH, ("local", "isotropic"), 4.0),
    "free": Architecture((128,), (*SMOOTH, "sigmoid", "relu"), ("isotropic",), 4.0),
    # Its energy is steep beside its denoising error: a larger weight would rule it.
    "tied": Architecture((128,), WITH_ENERGY, ("isotropic",), 0.3),
}


def check_options(estimator):
    """Raise TypeError or ValueError for the first option outside what is expected."""
    for name, choices in CHOICES.items():
        option = getattr(estimator, name)
        if not any(option is c or (isinstance(option, str) and option == c) for c in choices):
            raise ValueError(f"{name} is {option!r}; expected one of {list(choices)}.")
    for name, (kind, low, high, boundaries) in INTERVALS.items():
        _check_number(getattr(estimator, name), name, kind, low, high, boundaries)
    for name in FLAGS:
        check_scalar(getattr(estimator, name), name, (Integral, np.bool_), min_val=0)
    _check_noise_level(estimator.noise_level, estimator.contraction_weight)
    if not isinstance(estimator.calibration_weight, str):
        _check_number(estimator.calibration_weight, "calibration_weight", Real, 0.0)
    elif estimator.calibration_weight != "auto":
        raise ValueError(
            f"calibration_weight is {estimator.calibration_weight!r}; expected 'auto' or a number"
            " >= 0."
        )
    _check_hidden_layers(estimator.hidden_layer_sizes)
    _check_architecture(estimator)
    available_device(estimator.device)


def _check_architecture(estimator):
    decoder = estimator.decoder
    for name in ("activation", "noise_covariance"):
        option, known = getattr(estimator, name), getattr(ARCHITECTURES[decoder], name)
        if option != "auto" and option not in known:
            raise ValueError(
                f"{name} is {option!r}; expected 'auto' or one of {list(known)} with"
                f" decoder={decoder!r}."
            )
    if decoder == "tied" and len(hidden_layers(estimator)) != 1:
        raise ValueError(
            f"hidden_layer_sizes is {estimator.hidden_layer_sizes!r}; expected one layer, as in"
            " (128,), with decoder='tied'."
        )
    if estimator.bias_correction and estimator.activation == "relu":
        raise ValueError(
            "activation is 'relu'; expected a smooth one with bias_correction=True, which takes"
            " the second derivatives of the reconstruction."
        )
    if estimator.bias_correction and estimator.noise_covariance == "local":
        raise ValueError(
            "noise_covariance is 'local'; expected 'auto' or 'isotropic' with"
            " bias_correction=True, which holds for noise that is everywhere the same."
        )


def resolved_options(estimator):
    """The estimator's options as attributes, with what "auto" stands for."""
    options = SimpleNamespace(**estimator.get_params(deep=False))
    architecture = ARCHITECTURES[options.decoder]
    options.hidden_layer_sizes = hidden_layers(estimator)
    if options.activation == "auto":
        options.activation = architecture.activation[0]
    if options.calibration_weight == "auto":
        weight = 0.0 if options.bias_correction else architecture.calibration_weight
        options.calibration_weight = weight
    if options.noise_covariance == "auto":
        noise = "isotropic" if options.bias_correction else architecture.noise_covariance[0]
        options.noise_covariance = noise
    return options


def _check_number(number, name, kind, low, high=None, boundaries="left"):
    check_scalar(number, name, kind, min_val=low, max_val=high, include_boundaries=boundaries)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}; expected a finite number.")


def _check_noise_level(noise_level, contraction_weight):
    if isinstance(noise_level, str):
        if noise_level != "auto":
            raise ValueError(f"noise_level is {noise_level!r}; expected 'auto' or a number >= 0.")
        return
    _check_number(noise_level, "noise_level", Real, 0.0)
    if noise_level == 0.0 and contraction_weight == 0.0:
        raise ValueError(
            "noise_level and contraction_weight are both 0; expected at least one of them > 0:"
            " the identity reconstructs perfectly and knows no density."
        )


def _check_hidden_layers(sizes):
    if isinstance(sizes, str) and sizes == "auto":
        return
    listed = [sizes] if isinstance(sizes, Integral) else list(sizes) if np.iterable(sizes) else []
    if not listed or not all(isinstance(s, Integral) and s >= 1 for s in listed):
        raise ValueError(
            f"hidden_layer_sizes is {sizes!r}; expected 'auto' or a non-empty sequence of"
            " integers >= 1."
        )


def check_continuation(options, previous):
    """Raise ValueError where the network of a `Fitted` is not the one that the options ask for."""
    sizes = tuple(len(b) for b in previous.intercepts[:-1])
    if options.decoder != "gradient":
        sizes = sizes[: len(sizes) // 2]
    for name, asked, fitted in (
        ("decoder", options.decoder, previous.decoder),
        ("hidden_layer_sizes", options.hidden_layer_sizes, sizes),
        ("activation", options.activation, previous.activation),
    ):
        if asked != fitted:
            raise ValueError(
                f"{name} is {asked!r}; expected {fitted!r}, that of the network which"
                " warm_start=True continues."
            )


def hidden_layers(estimator):
    """The option as a tuple of ints; one integer is one layer, "auto" the decoder's own."""
    sizes = estimator.hidden_layer_sizes
    if isinstance(sizes, str):
        return ARCHITECTURES[estimator.decoder].hidden_layer_sizes
    return (int(sizes),) if isinstance(sizes, Integral) else tuple(int(s) for s in sizes)


def check_rows(estimator, X, reset, ensure_min_samples=1):
    """X as finite float64 rows, or float32 where X is; features set on the estimator or checked."""
    # scikit-learn looks for NaN in the sum of all values, which is inf - inf near the limit.
    with np.errstate(invalid="ignore"):
        return validate_data(
            estimator,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_min_samples=ensure_min_samples,
        )


def check_weights(sample_weight, X):
    """Sample weights as float64 (n,), scaled to mean 1; ones where None.

    Raises
    ------
    ValueError
        For negative, non-finite or all-zero weights, or weights of the wrong length.
    """
    if sample_weight is None:
        return np.ones(len(X))
    weights = np.array(
        check_array(sample_weight, dtype=np.float64, ensure_2d=False, input_name="sample_weight")
    )
    if weights.shape != (len(X),):
        raise ValueError(f"sample_weight has shape {weights.shape}; expected ({len(X)},).")
    if (weights < 0.0).any():
        raise ValueError(f"sample_weight has the negative value {weights.min()}; expected >= 0.")
    if not weights.any():
        raise ValueError("sample_weight is all zeros; expected at least one positive weight.")
    weights /= weights.max()
    return weights / weights.mean()
