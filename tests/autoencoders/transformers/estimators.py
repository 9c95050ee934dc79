"""Small, quickly fitted auto-encoders that several tests share."""

from contextlib import contextmanager

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skrae import AutoEncoder
from skrae.autoencoders.transformers.fit import fitting
from skrae.autoencoders.transformers.fit.fitting import working_space
from skrae.preprocessing.rows import canonical_order, distinct_rows
from skrae.preprocessing.split import split_rows

# All that is asked of rows and answered row by row.
ROW_QUESTIONS = ("transform", "reconstruct", "reconstruction_error")
# One of each member of the family, by options.
MEMBERS = {
    "plain": {},
    "linear": {"hidden_layer_sizes": ()},
    "noise": {"noise_level": 0.3},
    "masking": {"noise_level": 0.3, "noise": "masking"},
    "swap": {"noise_level": 0.3, "noise": "swap"},
    "l1": {
        "n_components": 6,
        "hidden_layer_sizes": (),
        "code_activation": "relu",
        "sparsity_weight": 0.1,
    },
    "kl": {
        "n_components": 6,
        "code_activation": "sigmoid",
        "sparsity": "kl",
        "sparsity_weight": 0.3,
        "sparsity_target": 0.2,
    },
    "contraction": {"n_components": 3, "encoder_contraction_weight": 0.1},
    "distance": {"distance_weight": 1.0},
    "entropy": {"entropy_weight": 1.0},
    "information": {"information_weight": 1.0},
}


# Values outside the range of options that all encoders have.
BAD_SHARED_VALUES = {
    "n_components": [0, -1, 2.5, None, "auto"],
    "entropy_weight": [-0.1, np.nan, np.inf, None],
    "weight_decay": [-0.1, np.nan, np.inf, None],
    "learning_rate": [0.0, -0.1, np.nan, np.inf, "fast"],
    "batch_size": [0, -1, 2.5, "auto"],
    "max_iter": [0, -1, 2.5, None],
    "n_iter_no_change": [0, -1, 2.5, None],
    "validation_fraction": [0.0, 1.0, -0.1, np.nan, None],
    "time_limit": [0.0, -1.0, np.nan, np.inf, "1 h"],
    "hidden_layer_sizes": [0, (8, 0), (8, -1), (8, 2.5), "8", None, 2.5],
    "warm_start": ["yes", None, 0.5],
    "verbose": ["yes", None, 0.5, -1],
    "random_state": ["seed", 0.5, -1],
}


def quick_auto_encoder(**options):
    """A small network and few steps; options override."""
    small = {"hidden_layer_sizes": (8,), "max_iter": 60, "random_state": 0}
    return AutoEncoder(**{**small, **options})


def member(name, **options):
    """A quick auto-encoder of one kind."""
    return quick_auto_encoder(**{**MEMBERS[name], **options})


def state_of(model):
    """All attributes, those of estimators among them too, as one compares them."""
    own = vars(model).items()
    return {name: state_of(v) if isinstance(v, BaseEstimator) else v for name, v in own}


def bent_sheet(n, seed, noise=0.05):
    """n rows near a curved sheet in five columns."""
    rng = np.random.default_rng(seed)
    u, v = rng.uniform(-1.5, 1.5, (2, n))
    X = np.column_stack([u, v, u * v, np.sin(2.0 * u), v**2])
    return X + noise * rng.standard_normal(X.shape)


@contextmanager
def without_last_steps():
    """Fits whose parameters are those that were best on the rows held out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "ALL_ROWS_SHARE", 0.0)
        yield


def held_out_rows(model, X):
    """The rows that a fit of `model` held out, by the seed it was given."""
    rows, weights = distinct_rows(X, None)
    rows = rows[canonical_order(rows)]
    rng = check_random_state(model.random_state)
    rng.randint(2**31 - 1, size=3)
    z = working_space(rows, weights, model.scaling).forward(rows)
    return rows[split_rows(z / np.sqrt(np.square(z).mean()), model.validation_fraction, rng)[1]]
