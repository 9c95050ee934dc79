"""The options of the encoders: checked, and what their fits depend on."""

from typing import NamedTuple

from skrae.autoencoders.activations import ACTIVATIONS
from skrae.autoencoders.transformers.fit import code_density
from skrae.autoencoders.transformers.fit.criterion import Objective
from skrae.autoencoders.transformers.maps.network import Architecture
from skrae.autoencoders.transformers.terms.corruption import CORRUPTIONS
from skrae.autoencoders.transformers.terms.information import VIEWS, Views
from skrae.preprocessing.contract.options import (
    COUNT,
    POSITIVE,
    available_device,
    check_options_of,
    layer_sizes,
)

# Of all encoders.
CHOICES = {
    "activation": tuple(ACTIVATIONS),
    "scaling": ("auto", "standardize", None),
    "device": ("auto", "cpu", "cuda"),
}
INTERVALS = {
    "n_components": (1, None, COUNT),
    "entropy_weight": (0.0, None, {}),
    "weight_decay": (0.0, None, {}),
    "learning_rate": (0.0, None, POSITIVE),
    "batch_size": (1, None, COUNT),
    "max_iter": (1, None, COUNT),
    "n_iter_no_change": (1, None, COUNT),
    "validation_fraction": (0.0, 1.0, POSITIVE),
}
AUTO_ENCODER_CHOICES = {
    **CHOICES,
    "code_activation": ("identity", "relu", "sigmoid"),
    "noise": tuple(CORRUPTIONS),
    "sparsity": ("l1", "kl"),
    "distance": ("euclidean", "geodesic"),
    "code_scaling": ("auto", "standardize", None),
}
# What keeps the code from being a copy of the row.
WEIGHTS = (
    "noise_level",
    "sparsity_weight",
    "encoder_contraction_weight",
    "distance_weight",
    "entropy_weight",
    "information_weight",
)
AUTO_ENCODER_INTERVALS = {
    **INTERVALS,
    **dict.fromkeys(WEIGHTS, (0.0, None, {})),
    "sparsity_target": (0.0, 1.0, POSITIVE),
    "n_neighbors": (1, None, COUNT),
}
INFO_MAX_CHOICES = {**CHOICES, "views": tuple(VIEWS)}
INFO_MAX_INTERVALS = {
    **INTERVALS,
    "keep": (0.0, 1.0, POSITIVE),
    "temperature": (0.0, None, POSITIVE),
}
# Those of an auto-encoder that act on the standardised code.
OF_STANDARDISED_CODE = "encoder_contraction_weight", "entropy_weight", "information_weight"
# A batch that compares rows holds so many for each unit of the code.
ROWS_A_UNIT = 4


class Options(NamedTuple):
    """The options that a fit depends on."""

    architecture: Architecture
    objective: Objective
    scaling: str | None
    learning_rate: float
    batch_size: int
    max_iter: int
    n_iter_no_change: int
    validation_fraction: float
    n_neighbors: int = 1
    code_density: object = None


def check_auto_encoder(estimator):
    """Raise TypeError or ValueError for the first option of an `AutoEncoder` not as expected."""
    check_options_of(
        estimator, AUTO_ENCODER_CHOICES, AUTO_ENCODER_INTERVALS, ("warm_start", "verbose")
    )
    _check_layers_and_device(estimator)
    _check_terms(estimator)
    _check_batch(estimator, estimator.entropy_weight, estimator.information_weight)
    _check_code_density(estimator.code_density)


def check_info_max(estimator):
    """The same of an `InfoMaxEncoder`."""
    check_options_of(estimator, INFO_MAX_CHOICES, INFO_MAX_INTERVALS, ("warm_start", "verbose"))
    _check_layers_and_device(estimator)
    _check_batch(estimator, estimator.entropy_weight, 1.0)


def _check_layers_and_device(estimator):
    if layer_sizes(estimator.hidden_layer_sizes) is None:
        raise ValueError(
            f"Got hidden_layer_sizes={estimator.hidden_layer_sizes!r}, expected an integer or a"
            " sequence of integers >= 1; an empty one for a single layer from rows to code."
        )
    available_device(estimator.device)


def _check_terms(estimator):
    if estimator.noise != "gaussian" and estimator.noise_level >= 1.0:
        raise ValueError(
            f"Got noise_level={estimator.noise_level!r} with noise={estimator.noise!r}, expected"
            " less than 1: it is the share of the entries that are corrupted."
        )
    is_kl = estimator.sparsity == "kl" and estimator.sparsity_weight > 0.0
    if is_kl and estimator.code_activation != "sigmoid":
        raise ValueError(
            f"Got sparsity='kl' with code_activation={estimator.code_activation!r}, expected"
            " 'sigmoid': the mean activation of a unit is compared with sparsity_target as a"
            " probability is."
        )
    if estimator.distance_weight > 0.0 and _scales_code(estimator):
        cause = "code_scaling='standardize'"
        if estimator.code_scaling == "auto":
            names = [name for name in OF_STANDARDISED_CODE if getattr(estimator, name) > 0.0]
            cause = f"{names[0]} > 0, which standardises the code"
        raise ValueError(
            f"Got distance_weight={estimator.distance_weight!r} with {cause}, expected"
            " code_scaling=None: a code of unit deviations cannot keep distances."
        )


def _check_batch(estimator, *weights):
    least = ROWS_A_UNIT * estimator.n_components
    if any(weights) and estimator.batch_size < least:
        raise ValueError(
            f"Got batch_size={estimator.batch_size} for n_components={estimator.n_components},"
            f" expected at least {least}: entropy and information are told by neighbours in a"
            " batch."
        )


def _check_code_density(density):
    is_known = density is None or (isinstance(density, str) and density in code_density.NAMES)
    has_methods = all(hasattr(density, method) for method in ("fit", "sample"))
    if not is_known and (isinstance(density, type) or not has_methods):
        raise ValueError(
            f"Got code_density={density!r}, expected one of {[*code_density.NAMES, None]} or an"
            " object with the methods fit and sample."
        )


def check_size(estimator, n_features):
    """Raise ValueError where nothing keeps the code from being a copy of the row.

    The default of two units passes on two columns, as those of `sklearn.decomposition.PCA` do.
    """
    is_on = any(getattr(estimator, name) for name in WEIGHTS)
    k = estimator.n_components
    if k >= n_features and not k == n_features == 2 and not is_on:
        raise ValueError(
            f"Got n_components={k} for {n_features} feature(s), with {', '.join(WEIGHTS)} all 0,"
            " expected fewer components than features, or one of these > 0: nothing keeps the code"
            " from being a copy of the row."
        )


def check_neighbors(options, n_rows):
    """Raise ValueError where a graph of neighbours needs more rows."""
    objective = options.objective
    is_geodesic = objective.distance_weight > 0.0 and objective.distance == "geodesic"
    if is_geodesic and options.n_neighbors >= n_rows:
        raise ValueError(
            f"Got n_neighbors={options.n_neighbors} for {n_rows} distinct rows, expected fewer"
            " neighbours than rows."
        )


def _scales_code(estimator):
    if estimator.code_scaling == "auto":
        return any(getattr(estimator, name) > 0.0 for name in OF_STANDARDISED_CODE)
    return estimator.code_scaling == "standardize"


def options_of_auto_encoder(estimator, n_features):
    """The options of an `AutoEncoder` as `Options`, for rows of so many features."""
    numbers = (*WEIGHTS, "sparsity_target", "weight_decay")
    objective = Objective(
        **{name: getattr(estimator, name) for name in ("noise", "sparsity", "distance")},
        **{name: float(getattr(estimator, name)) for name in numbers},
        scales_code=_scales_code(estimator),
    )
    architecture = _architecture(estimator, n_features, estimator.code_activation)
    return _options(estimator, architecture, objective, ("n_neighbors", "code_density"))


def options_of_info_max(estimator, n_features):
    """The same of an `InfoMaxEncoder`, whose objective is the information alone."""
    objective = Objective(
        reconstruction_weight=0.0,
        information_weight=1.0,
        entropy_weight=float(estimator.entropy_weight),
        views=Views(estimator.views, float(estimator.keep), float(estimator.temperature)),
        weight_decay=float(estimator.weight_decay),
        scales_code=True,
    )
    architecture = _architecture(estimator, n_features, "identity", decodes=False)
    return _options(estimator, architecture, objective)


def _architecture(estimator, n_features, code_activation, decodes=True):
    return Architecture(
        n_features=int(n_features),
        n_components=int(estimator.n_components),
        hidden_layer_sizes=layer_sizes(estimator.hidden_layer_sizes),
        activation=estimator.activation,
        code_activation=code_activation,
        decodes=decodes,
    )


def _options(estimator, architecture, objective, further=()):
    common = "scaling", "learning_rate", "batch_size", "max_iter", "n_iter_no_change"
    names = (*common, "validation_fraction", *further)
    return Options(architecture, objective, **{name: getattr(estimator, name) for name in names})


def check_continuation(architecture, previous):
    """Raise ValueError where the networks of a fit are not those that the options ask for."""
    for name, asked in architecture._asdict().items():
        fitted = getattr(previous, name)
        if asked != fitted:
            raise ValueError(
                f"Got {name}={asked!r}, expected {fitted!r}, that of the networks which"
                " warm_start=True continues."
            )
