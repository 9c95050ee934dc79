"""One of two processes that fit together, run as a script: FOLDER RANK TASK [TASK ...].

What they fit is kept in FOLDER/TASK-RANK.npz, what they raise in FOLDER/TASK-RANK.txt.
"""

import os
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from skrae import RegularizedAutoEncoderScore
from skrae.autoencoders import training
from skrae.density.fit import criterion
from skrae.mixtures.growth import expectation
from skrae.preprocessing import blocks
from skrae.preprocessing.sources import pieces
from skrae.preprocessing.sources import source as sources

N_ROWS, N_BLOCK, N_SAMPLE = 2400, 400, 1200
ARRAYS = (
    "base_weights_",
    "base_means_",
    "base_factors_",
    "location_",
    "whitening_",
    "base_score_",
    "log_normalizer_repeats_",
)
# Of which a network learns much in few steps.
GAUSSIAN = {"base_density": "gaussian", "noise_level": 0.3, "max_iter": 80}


def share_all():
    """Let processes share out work however small, and hold few rows in memory."""
    expectation.MIN_SHARED, blocks.MIN_SHARED, criterion.MIN_SHARED = 0, 1, 0
    blocks.BLOCK_NUMBERS = 4096
    pieces.BLOCK_ROWS, sources.ROWS_IN_MEMORY = N_BLOCK, N_SAMPLE


def numbers(n_rows=N_ROWS):
    """Rows of a ring, of which a network learns something."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0.0, 6.0, n_rows)
    ring = np.column_stack([np.cos(angle), np.sin(angle)]) * 3.0
    return ring + 0.2 * rng.normal(size=ring.shape)


def raw_table():
    """A frame with a category and holes, and weights of which some are 0."""
    rng, X = np.random.default_rng(1), numbers()
    name = np.where(X[:, 0] > 0.0, "right", "left")
    frame = pd.DataFrame({"x": X[:, 0], "y": X[:, 1], "side": pd.Categorical(name)})
    frame.loc[rng.random(len(X)) < 0.1, "x"] = np.nan
    return frame, rng.integers(0, 4, len(X)).astype(float)


def rising_weights(n_rows):
    """Of the second half larger ones."""
    return np.random.default_rng(2).random(n_rows) * np.linspace(1.0, 9.0, n_rows)


def estimator(**options):
    defaults = {"max_iter": 20, "hidden_layer_sizes": (16, 16), "max_mixtures": 2}
    defaults |= {"batch_size": 50, "noise_level": 0.1, "column_kinds": "continuous"}
    return RegularizedAutoEncoderScore(**{**defaults, "random_state": 0, **options})


def part(rank, rows):
    """Those rows of a table that a process has."""
    return rows[rank * len(rows) // 2 : (rank + 1) * len(rows) // 2]


def sample(rank, folder):
    return estimator(distributed=True).fit(part(rank, numbers()))


def in_memory(rank, folder):
    return estimator(distributed=True, **GAUSSIAN).fit(part(rank, numbers(1000)))


def frame(rank, folder):
    rows, weights = raw_table()
    own = part(rank, np.arange(len(rows)))
    return estimator(distributed=True, max_mixtures=1).fit(
        rows.iloc[own], sample_weight=weights[own]
    )


def uneven(rank, folder):
    X = numbers(1000)
    return estimator(distributed=True, max_components=1).fit(X[:1] if rank else X[1:])


def infinite(rank, folder):
    X = part(rank, numbers())
    X[5, 1] = np.inf if rank else 0.0
    return estimator(distributed=True).fit(X)


def other_seeds(rank, folder):
    return estimator(distributed=True, random_state=rank).fit(part(rank, numbers()))


def other_columns(rank, folder):
    return estimator(distributed=True).fit(part(rank, numbers())[:, : 1 + rank])


def other_options(rank, folder):
    options = {"max_components": 2} if rank else {"max_components": -1}
    return estimator(distributed=True, **options).fit(part(rank, numbers()))


def other_sizes(rank, folder):
    return estimator(distributed=True, max_components=2 + rank).fit(part(rank, numbers()))


def no_table(rank, folder):
    return estimator(distributed=True).fit(iter([]) if rank else numbers())


def stream(rank, folder):
    return estimator(distributed=True).partial_fit(part(rank, numbers()))


def weighted(rank, folder):
    X, weights = (part(rank, rows) for rows in (numbers(1000), rising_weights(1000)))
    return estimator(distributed=True, max_components=1).fit(X, sample_weight=weights)


def weights_in_one(rank, folder):
    X = part(rank, numbers())
    return estimator(distributed=True).fit(X, sample_weight=np.ones(len(X)) if rank else None)


def dies(rank, folder):
    """The second process ends in the middle of a noise level."""
    validate, n_calls = training.Training.validate, []

    def checked(*args):
        n_calls.append(None)
        if rank and len(n_calls) == 2:
            os._exit(3)
        return validate(*args)

    training.Training.validate = checked
    return goes_on(rank, folder)


def goes_on(rank, folder):
    options = {"checkpoint": folder / "fit.part", "noise_level": "auto", "max_components": 1}
    return estimator(distributed=True, **options).fit(part(rank, numbers(1000)))


def main(folder, rank, *tasks):
    folder, rank = Path(folder), int(rank)
    torch.set_num_threads(1)
    share_all()
    store = f"file://{folder / f'{tasks[0]}.store'}"
    torch.distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=300)
    )
    for task in tasks:
        keep(folder, rank, task)


def keep(folder, rank, task):
    """Write what a task gives."""
    try:
        model = globals()[task](rank, folder)
    except (ValueError, ConnectionError) as error:
        found = f"{type(error).__name__}: {error}"
        (folder / f"{task}-{rank}.txt").write_text(found, encoding="utf-8")
    else:
        arrays = {name: getattr(model, name) for name in ARRAYS}
        np.savez(folder / f"{task}-{rank}.npz", last=model.coefs_[-1], **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
