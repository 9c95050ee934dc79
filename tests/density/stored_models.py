"""Models that were stored once and are loaded for ever: one small one of each kind.

``python -m tests.density.stored_models`` stores them in `stored/`, by pickle, joblib and skops, as
the present format has them, beside rows and the answers to expect. Files that are there stay: a new
format adds its own.
"""

import pickle
import zipfile
from pathlib import Path

import joblib
import numpy as np

from skrae import datasets
from skrae.preprocessing.contract.seal import FORMAT
from tests.density.estimators import quick_estimator

FOLDER = Path(__file__).parent / "stored"
QUESTIONS = (
    "score_samples",
    "log_density_gradient",
    "log_density_hessian",
    "base_log_density",
    "reconstruct",
    "transform",
)
TRUSTED = ["skrae.density.estimator.RegularizedAutoEncoderScore"]
# What each model is fitted with: the first has maps of columns and radial units, too.
KINDS = {
    "average": {
        "base_density": "mixture",
        "max_components": 4,
        "max_mixtures": 1,
        "select": "likelihood",
        "noise_level": 0.2,
        "hidden_layer_sizes": (4, 4),
        "max_iter": 30,
    },
    "gradient": {"hidden_layer_sizes": (8, 4), "max_iter": 200},
    "free": {"decoder": "free", "hidden_layer_sizes": [16], "max_iter": 300},
    "tied": {
        "decoder": "tied",
        "hidden_layer_sizes": 16,
        "bias_correction": True,
        "max_iter": 300,
    },
    "kernel": {"decoder": "kernel", "hidden_layer_sizes": 12},
}


def write_skops(models, path):
    """Store a model, or a dictionary of models, by skops."""
    import skops.io

    skops.io.dump(models, path, compression=zipfile.ZIP_DEFLATED)


def read_skops(path):
    """What `write_skops` stored, the class of the estimator the one type that is trusted."""
    import skops.io

    return skops.io.load(path, trusted=TRUSTED)


WRITERS = {
    "pickle": lambda models, path: path.write_bytes(pickle.dumps(models, protocol=4)),
    "joblib": joblib.dump,
    "skops": write_skops,
}
READERS = {
    "pickle": lambda path: pickle.loads(path.read_bytes()),
    "joblib": joblib.load,
    "skops": read_skops,
}


def rows_of(kind):
    """200 rows that a model of this kind is fitted to."""
    rows = datasets.Ring().sample(200, 0)
    return np.exp(rows) if kind == "average" else rows


def fitted_models(kinds=tuple(KINDS)):
    """A fitted model of each kind."""
    return {kind: quick_estimator(**KINDS[kind]).fit(rows_of(kind)) for kind in kinds}


def answers(models, rows):
    """What each model says of its rows, by "kind question"."""
    return {
        f"{kind} {question}": getattr(model, question)(rows[kind])
        for kind, model in models.items()
        for question in QUESTIONS
    }


def main():
    """Store the models in the present format, where they are not there."""
    models = fitted_models()
    rows = {kind: rows_of(kind)[:6] for kind in models}
    for form, write in WRITERS.items():
        path = FOLDER / f"format_{FORMAT}.{form}"
        if not path.exists():
            write(models, path)
    path = FOLDER / f"format_{FORMAT}.npz"
    if not path.exists():
        named = {f"{kind} rows": part for kind, part in rows.items()}
        np.savez_compressed(path, **named, **answers(models, rows))


if __name__ == "__main__":
    main()
