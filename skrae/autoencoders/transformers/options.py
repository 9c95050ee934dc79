"""The options of `AutoEncoder`: checked, and what the fit depends on."""

from typing import NamedTuple

from skrae.autoencoders.activations import ACTIVATIONS
from skrae.autoencoders.transformers.fit.criterion import Objective
from skrae.autoencoders.transformers.maps.network import Architecture
from skrae.autoencoders.transformers.terms.corruption import CORRUPTIONS
from skrae.preprocessing.contract.options import (
    COUNT,
    POSITIVE,
    available_device,
    check_options_of,
    layer_sizes,
)

CHOICES = {
    "activation": tuple(ACTIVATIONS),
    "code_activation": ("identity", "relu", "sigmoid"),
    "noise": tuple(CORRUPTIONS),
    "sparsity": ("l1", "kl"),
    "distance": ("euclidean", "geodesic"),
    "code_scaling": ("auto", "standardize", None),
    "scaling": ("auto", "standardize", None),
    "device": ("auto", "cpu", "cuda"),
}
INTERVALS = {
    "n_components": (1, None, COUNT),
    "noise_level": (0.0, None, {}),
    "sparsity_weight": (0.0, None, {}),
    "sparsity_target": (0.0, 1.0, POSITIVE),
    "encoder_contraction_weight": (0.0, None, {}),
    "distance_weight": (0.0, None, {}),
    "n_neighbors": (1, None, COUNT),
    "weight_decay": (0.0, None, {}),
    "learning_rate": (0.0, None, POSITIVE),
    "batch_size": (1, None, COUNT),
    "max_iter": (1, None, COUNT),
    "n_iter_no_change": (1, None, COUNT),
    "validation_fraction": (0.0, 1.0, POSITIVE),
}


class Options(NamedTuple):
    """The options that a fit depends on."""

    architecture: Architecture
    objective: Objective
    n_neighbors: int
    scaling: str | None
    learning_rate: float
    batch_size: int
    max_iter: int
    n_iter_no_change: int
    validation_fraction: float


def check_options(estimator):
    """Raise TypeError or ValueError for the first option outside what is expected."""
    check_options_of(estimator, CHOICES, INTERVALS, ("warm_start", "verbose"))
    if layer_sizes(estimator.hidden_layer_sizes) is None:
        raise ValueError(
            f"Got hidden_layer_sizes={estimator.hidden_layer_sizes!r}, expected an integer or a"
            " sequence of integers >= 1; an empty one for a single layer from rows to code."
        )
    _check_terms(estimator)
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
            cause = "encoder_contraction_weight > 0, which standardises the code"
        raise ValueError(
            f"Got distance_weight={estimator.distance_weight!r} with {cause}, expected"
            " code_scaling=None: a code of unit deviations cannot keep distances."
        )


def check_size(estimator, n_features):
    """Raise ValueError where nothing keeps the code from being a copy of the row.

    The default of two units passes on two columns, as those of `sklearn.decomposition.PCA` do.
    """
    weights = {
        "noise_level": estimator.noise_level,
        "sparsity_weight": estimator.sparsity_weight,
        "encoder_contraction_weight": estimator.encoder_contraction_weight,
        "distance_weight": estimator.distance_weight,
    }
    k = estimator.n_components
    if k >= n_features and not k == n_features == 2 and not any(weights.values()):
        raise ValueError(
            f"Got n_components={k} for {n_features} feature(s), with {', '.join(weights)} all 0,"
            " expected fewer components than features, or one of these > 0: nothing keeps the code"
            " from being a copy of the row."
        )


def check_neighbors(estimator, n_rows):
    """Raise ValueError where a graph of neighbours needs more rows."""
    is_geodesic = estimator.distance_weight > 0.0 and estimator.distance == "geodesic"
    if is_geodesic and estimator.n_neighbors >= n_rows:
        raise ValueError(
            f"Got n_neighbors={estimator.n_neighbors} for {n_rows} distinct rows, expected fewer"
            " neighbours than rows."
        )


def _scales_code(estimator):
    if estimator.code_scaling == "auto":
        return estimator.encoder_contraction_weight > 0.0
    return estimator.code_scaling == "standardize"


def resolved_options(estimator, n_features):
    """The estimator's options as `Options`, for rows of so many features."""
    numbers = ("noise_level", "sparsity_weight", "sparsity_target", "distance_weight")
    numbers += ("encoder_contraction_weight", "weight_decay")
    objective = Objective(
        **{name: getattr(estimator, name) for name in ("noise", "sparsity", "distance")},
        **{name: float(getattr(estimator, name)) for name in numbers},
        scales_code=_scales_code(estimator),
    )
    architecture = Architecture(
        n_features=int(n_features),
        n_components=int(estimator.n_components),
        hidden_layer_sizes=layer_sizes(estimator.hidden_layer_sizes),
        activation=estimator.activation,
        code_activation=estimator.code_activation,
    )
    rest = [name for name in Options._fields if name not in ("architecture", "objective")]
    return Options(architecture, objective, **{name: getattr(estimator, name) for name in rest})


def check_continuation(architecture, previous):
    """Raise ValueError where the networks of a fit are not those that the options ask for."""
    for name, asked in architecture._asdict().items():
        fitted = getattr(previous, name)
        if asked != fitted:
            raise ValueError(
                f"Got {name}={asked!r}, expected {fitted!r}, that of the networks which"
                " warm_start=True continues."
            )
