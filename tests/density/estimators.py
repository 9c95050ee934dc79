"""Small, quickly fitted estimators that several tests share."""

import numpy as np
from sklearn.utils import check_random_state

from skrae import RegularizedAutoEncoderScore
from skrae.autoencoders.training import Training
from skrae.preprocessing.affine import fit_affine
from skrae.preprocessing.split import split_rows

# All that is asked of rows and answered row by row.
ROW_QUESTIONS = (
    "score_samples",
    "base_log_density",
    "log_density_gradient",
    "log_density_hessian",
    "transform",
    "reconstruct",
    "local_moments",
)


def quick_estimator(**options):
    """A small network over one Gaussian, so that the network has work to do; options override."""
    small = {
        "noise_level": 0.3,
        "hidden_layer_sizes": (16, 16),
        "base_density": "gaussian",
        "max_iter": 60,
        "select": None,
        "random_state": 0,
    }
    return RegularizedAutoEncoderScore(**{**small, **options})


def held_out_rows(model, X):
    """The rows that a fit of `model` held out, by the seed it was given."""
    affine = fit_affine(X, np.ones(len(X)), model.scaling).map
    rng = check_random_state(model.random_state)
    return X[split_rows(affine.forward(X), model.validation_fraction, rng)[1]]


def interrupt_after(n_steps, monkeypatch):
    """Let training steps raise KeyboardInterrupt from this one on."""
    step = Training.step

    def interrupted(training, *arguments):
        if training.n_steps >= n_steps:
            raise KeyboardInterrupt
        return step(training, *arguments)

    monkeypatch.setattr(Training, "step", interrupted)
