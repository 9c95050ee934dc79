"""The estimator's options: checked, and resolved to what "auto" stands for."""

import os
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

import numpy as np

from skrae.autoencoders.decoders.registry import DECODERS
from skrae.preprocessing.contract.options import (
    COUNT,
    POSITIVE,
    available_device,
    check_number,
    check_options_of,
    layer_sizes,
)

CHOICES = {
    "noise_covariance": ("auto", "local", "isotropic"),
    "activation": ("auto", *dict.fromkeys(a for d in DECODERS.values() for a in d.activations)),
    "decoder": DECODERS,
    "base_density": ("mixture", "gaussian"),
    "margins": ("auto", "identity"),
    "scaling": ("whiten", "standardize", None),
    "select": ("likelihood", "score", None),
    "device": ("auto", "cpu", "cuda"),
}
INTERVALS = {
    "contraction_weight": (0.0, None, {}),
    "learning_rate": (0.0, None, POSITIVE),
    "validation_fraction": (0.0, 1.0, POSITIVE),
    "batch_size": (1, None, COUNT),
}
COUNTS_OR_AUTO = ("max_components", "max_mixtures", "max_iter", "n_iter_no_change")
FLAGS = ("warm_start", "distributed", "bias_correction", "verbose")
# Options that choose among networks, as a search does; they change nothing where the base wins.
NETWORK_OPTIONS = {
    "noise_level": "auto",
    "contraction_weight": 0.0,
    "noise_covariance": "auto",
    "hidden_layer_sizes": "auto",
    "activation": "auto",
    "decoder": "gradient",
    "calibration_weight": "auto",
    "learning_rate": 0.01,
}


# Matrices (d, d) of float64 that a fit of 2000 x 1000 held at its peak, and the bytes that all may.
N_MATRICES, MAX_BYTES = 100, 4e9


class Options(NamedTuple):
    """The options that a fit depends on, "auto" where the rows decide."""

    noise_level: str | float
    contraction_weight: float
    noise_covariance: str
    hidden_layer_sizes: tuple
    activation: str
    decoder: str
    bias_correction: bool
    base_density: str
    margins: str
    scaling: str | None
    max_components: int | str
    max_mixtures: int | str
    calibration_weight: float
    learning_rate: float
    batch_size: int
    max_iter: int | str
    n_iter_no_change: int | str
    validation_fraction: float
    select: str | None


def check_options(estimator):
    """Raise TypeError or ValueError for the first option outside what is expected."""
    check_options_of(estimator, CHOICES, INTERVALS, FLAGS)
    _check_checkpoint(estimator.checkpoint)
    if estimator.distributed:
        _check_distributed(estimator)
    _check_noise_level(estimator.noise_level, estimator.contraction_weight)
    if not isinstance(estimator.calibration_weight, str):
        check_number("calibration_weight", estimator.calibration_weight, 0.0)
    elif estimator.calibration_weight != "auto":
        raise ValueError(
            f"Got calibration_weight={estimator.calibration_weight!r}, expected 'auto' or a number"
            " >= 0."
        )
    for name in COUNTS_OR_AUTO:
        if not _is_auto(getattr(estimator, name)):
            check_number(name, getattr(estimator, name), 1, kind=Integral)
    _check_hidden_layers(estimator.hidden_layer_sizes)
    _check_architecture(estimator)
    available_device(estimator.device)


def _check_checkpoint(path):
    if path is None:
        return
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"Got checkpoint={path!r}, expected a path or None.")
    if Path(path).is_dir() or not Path(path).parent.is_dir():
        raise ValueError(
            f"Got checkpoint={str(path)!r}, expected the path of a file in a folder that there is."
        )


def _check_distributed(estimator):
    """Raise where processes could not all do the same."""
    if not isinstance(estimator.random_state, Integral):
        raise ValueError(
            f"Got random_state={estimator.random_state!r} with distributed=True, expected an"
            " integer: all processes must draw the same numbers."
        )
    if estimator.time_limit is not None:
        raise ValueError(
            f"Got time_limit={estimator.time_limit!r} with distributed=True, expected None: the"
            " time of one process may be up where that of another is not."
        )


def check_columns(X):
    """Raise ValueError where the covariances of so many columns take too much memory."""
    n_bytes = 8.0 * N_MATRICES * X.shape[1] ** 2
    if n_bytes > MAX_BYTES:
        raise ValueError(
            f"Got X with {X.shape[1]} columns, whose covariances take about {n_bytes / 1e9:.0f} GB"
            f" of memory, expected at most {int((MAX_BYTES / 8.0 / N_MATRICES) ** 0.5)} columns:"
            " reduce them first, as sklearn.decomposition.PCA does."
        )


def check_table(options, table):
    """Raise ValueError where the decoder reconstructs numbers alone and the table has others."""
    if table is None or not table.levels or options.decoder == "gradient":
        return
    raise ValueError(
        f"Got decoder={options.decoder!r} for a table with categories or atoms, expected"
        " decoder='gradient': this reconstruction is one of numbers alone."
    )


def _check_architecture(estimator):
    decoder = DECODERS[estimator.decoder]
    for name, known in (
        ("activation", decoder.activations),
        ("noise_covariance", decoder.noise_covariances),
    ):
        option = getattr(estimator, name)
        if option != "auto" and option not in known:
            raise ValueError(
                f"Got {name}={option!r}, expected 'auto' or one of {list(known)} with"
                f" decoder={estimator.decoder!r}."
            )
    most = decoder.max_hidden_layers
    if most is not None and len(hidden_layers(estimator)) > most:
        raise ValueError(
            f"Got hidden_layer_sizes={estimator.hidden_layer_sizes!r}, expected at most"
            f" {most} layer{'s' * (most > 1)}, as in {decoder.hidden_layer_sizes}, with"
            f" decoder={estimator.decoder!r}."
        )
    if estimator.bias_correction and estimator.activation == "relu":
        raise ValueError(
            "Got activation='relu', expected a smooth one with bias_correction=True, which takes"
            " the second derivatives of the reconstruction."
        )
    if estimator.bias_correction and estimator.noise_covariance == "local":
        raise ValueError(
            "Got noise_covariance='local', expected 'auto' or 'isotropic' with"
            " bias_correction=True, which holds for noise that is everywhere the same."
        )


def resolved_options(estimator):
    """The estimator's options as `Options`."""
    decoder, corrects = DECODERS[estimator.decoder], bool(estimator.bias_correction)
    own = {name: getattr(estimator, name) for name in Options._fields}
    auto = {
        "hidden_layer_sizes": hidden_layers(estimator),
        "activation": decoder.activations[0],
        "noise_covariance": "isotropic" if corrects else decoder.noise_covariances[0],
        "calibration_weight": 0.0 if corrects else decoder.calibration_weight,
    }
    resolved = {name: value for name, value in auto.items() if _is_auto(own[name])}
    options = Options(**{**own, **resolved, "hidden_layer_sizes": auto["hidden_layer_sizes"]})
    return options._replace(
        # A single Gaussian is asked for as such, not as that of other columns.
        margins="identity" if options.base_density == "gaussian" else options.margins,
        bias_correction=corrects,
        contraction_weight=float(options.contraction_weight),
        calibration_weight=float(options.calibration_weight),
        learning_rate=float(options.learning_rate),
    )


def _is_auto(option):
    return isinstance(option, str) and option == "auto"


def _check_noise_level(noise_level, contraction_weight):
    if _is_auto(noise_level):
        return
    if noise_level is None or isinstance(noise_level, str):
        raise ValueError(f"Got noise_level={noise_level!r}, expected 'auto' or a number >= 0.")
    check_number("noise_level", noise_level, 0.0)
    if noise_level == 0.0 and contraction_weight == 0.0:
        raise ValueError(
            "Got noise_level=0 and contraction_weight=0, expected at least one of them > 0: the"
            " identity reconstructs perfectly and knows no density."
        )


def _check_hidden_layers(sizes):
    if not _is_auto(sizes) and not layer_sizes(sizes):
        raise ValueError(
            f"Got hidden_layer_sizes={sizes!r}, expected 'auto' or a non-empty sequence of"
            " integers >= 1."
        )


def check_continuation(options, previous):
    """Raise ValueError where the network of a `Fitted` is not the one that the options ask for."""
    depth = DECODERS[previous.decoder].encoder_depth(len(previous.coefs))
    sizes = tuple(len(b) for b in previous.intercepts[:depth])
    asked_sizes = options.hidden_layer_sizes
    if DECODERS[previous.decoder].has_closed_form:
        asked_sizes = sizes  # nothing of it is continued, and few rows have fewer units
    for name, asked, fitted in (
        ("decoder", options.decoder, previous.decoder),
        ("hidden_layer_sizes", asked_sizes, sizes),
        ("activation", options.activation, previous.activation),
    ):
        if asked != fitted:
            raise ValueError(
                f"Got {name}={asked!r}, expected {fitted!r}, that of the network which"
                " warm_start=True, or partial_fit, continues."
            )


def hidden_layers(estimator):
    """The option as a tuple of ints; one integer is one layer, "auto" the decoder's own."""
    sizes = estimator.hidden_layer_sizes
    if _is_auto(sizes):
        return DECODERS[estimator.decoder].hidden_layer_sizes
    return layer_sizes(sizes)


def chosen_network_options(estimator):
    """The options of the network that are not at their defaults."""
    return [
        name
        for name, default in NETWORK_OPTIONS.items()
        # An array of layer sizes compares entry by entry.
        if np.ndim(getattr(estimator, name)) or getattr(estimator, name) != default
    ]
