"""What an unbiased contraction penalty adds to a training step of a deep network.

A step of skrae's trainer without a penalty, and the same step with one: Hutchinson's estimate along
one direction a row, from a difference of the vector field (skrae's) or from differentiating it
twice.
"""

import time
from functools import partial
from statistics import median
from unittest.mock import patch

import numpy as np
import torch

from skrae.autoencoders.batches import Rows
from skrae.autoencoders.decoders.registry import make_decoder
from skrae.autoencoders.objectives import contraction_penalty
from skrae.autoencoders.training import Training, TrainingOptions
from skrae.density.fit import criterion
from skrae.density.fit.annealing import LevelTrainer
from skrae.density.fit.criterion import TermWeights
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.rows import WeightedRows
from tests.benchmarks.records import table

BATCH, LAYERS, COMPONENTS, NOISE_LEVEL, CONTRACTION_WEIGHT = 256, (128, 128), 16, 0.2, 0.1
WIDTHS = 10, 50
# Decoder, noise covariance and weight of calibration.
CASES = (
    ("gradient", "local", 4.0),
    ("gradient", "local", 0.0),
    ("gradient", "isotropic", 4.0),
    ("gradient", "isotropic", 0.0),
    ("free", "isotropic", 4.0),
    ("free", "isotropic", 0.0),
)
N_DIRECTIONS = 200
DEEP_NOTE = (
    f"Layers of {LAYERS} silu units (the free decoder mirrors them), batches of {BATCH} rows over a"
    f" base of {COMPONENTS} components, noise level {NOISE_LEVEL}. `calibration` is the weight of"
    " the noise-contrastive term, 0 the paper's criterion alone, whose step is the shorter. Every"
    " penalised step follows a plain one, processor time, medians. `bias` is the mean estimate of a"
    f" batch over {N_DIRECTIONS} draws, less the exact penalty, in units of it, and its standard"
    " error."
)


def twice(vector_field, z, factors, inverses, tau, generator):
    """Hutchinson's estimate |K^T (dr/dz)^T K^-T v|^2 by a backward pass differentiated again."""
    z = z.detach().requires_grad_()
    v = torch.randn(z.shape, generator=generator, dtype=z.dtype)
    left = torch.einsum("nji,nj->ni", inverses, v)
    (product,) = torch.autograd.grad(vector_field(z), z, left, create_graph=True)
    return torch.einsum("nij,ni->nj", factors, left + tau * product).square().sum(1).mean()


def make_trainer(d, decoder, covariance, calibration_weight, contraction_weight):
    """A trainer after a few steps on draws of a random mixture in d dimensions."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    factors = np.tril(0.3 / d**0.5 * rng.standard_normal((COMPONENTS, d, d)), -1) + np.eye(d)
    weights, dofs = np.full(COMPONENTS, 1.0 / COMPONENTS), np.full(COMPONENTS, np.inf)
    base = MixtureDensity(weights, rng.standard_normal((COMPONENTS, d)), factors, dofs)
    z = base.sample(4000, generator)
    parameters = make_decoder(decoder, "silu", 1.0, base.mean).initial_parameters(
        d, LAYERS, generator
    )
    options = TrainingOptions(learning_rate=0.01, averaging=0.98, check_every=1000, patience=1)
    trainer = LevelTrainer(
        training=Training(parameters, options),
        rows=Rows(WeightedRows(z, torch.ones_like(z[:, 0])), BATCH, generator),
        base=base,
        metric=NoiseMetric(base, covariance),
        held_out_gain=None,
        weights=TermWeights(contraction_weight, calibration_weight),
        decoder_name=decoder,
        activation="silu",
    )
    trainer.start_level(NOISE_LEVEL)
    for _ in range(3):
        _step(trainer)
    return trainer


def _step(trainer):
    trainer.training.step(trainer.criterion, 0.01)


def deep_records(options):
    """One record for each case and number of features."""
    cases = CASES[::3] if options.quick else CASES
    n_steps = 5 if options.quick else 40
    found = []
    for d in WIDTHS[:1] if options.quick else WIDTHS:
        for case in cases:
            record = dict(zip(("decoder", "covariance", "calibration"), case, strict=True))
            found.append({**record, "d": d, **_ratios(d, case, n_steps), **_bias(d, case)})
    return found


def _ratios(d, case, n_steps):
    plain, ours, other = (make_trainer(d, *case, w) for w in (0.0, *2 * [CONTRACTION_WEIGHT]))
    rows = []
    for _ in range(n_steps + 1):
        seconds = [_seconds(plain), _seconds(ours)]
        with _differentiated_twice():
            seconds.append(_seconds(other))
        rows.append(seconds)
    rows = rows[1:]
    return {
        "plain_seconds": median(row[0] for row in rows),
        "ratio": median(row[1] / row[0] for row in rows),
        "ratio_twice": median(row[2] / row[0] for row in rows),
    }


def _seconds(trainer):
    start = time.process_time()
    _step(trainer)
    return time.process_time() - start


def _differentiated_twice():
    return patch.multiple(
        criterion, contraction_estimate=twice, ScoreField=_field_differentiated_twice
    )


def _field_differentiated_twice(*arguments):
    field = ScoreField(*arguments)
    field.vector_field = partial(field.vector_field, create_graph=True)
    return field


def _bias(d, case):
    """Mean over directions of the estimate less the exact value, and its error, relative to it."""
    trainer = make_trainer(d, *case, CONTRACTION_WEIGHT)
    z, k = trainer.criterion.corruption.batch()[:2]
    parameters = trainer.training.parameters
    field = ScoreField(trainer.base, trainer.decoder, parameters, trainer.metric)
    where = z.double(), trainer.metric.factors[k], trainer.metric.inverse_transposes[k].mT
    vector_field = partial(field.vector_field, create_graph=True)
    exact = contraction_penalty(vector_field, *where, field.tau).item()
    with torch.no_grad():
        estimates = [trainer.criterion._contraction(parameters, z, k) for _ in range(N_DIRECTIONS)]
    values = [float(estimate) / exact for estimate in estimates]
    return {
        "bias": float(np.mean(values)) - 1.0,
        "bias_error": float(np.std(values, ddof=1)) / len(values) ** 0.5,
    }


def deep_report(found):
    """The table: one row a case."""
    rows = [
        [
            *(str(r[key]) for key in ("decoder", "covariance", "calibration", "d")),
            f"{1e3 * r['plain_seconds']:.1f}",
            f"{r['ratio']:.2f}",
            f"{r['ratio_twice']:.2f}",
            f"{r['bias']:+.4f} ± {r['bias_error']:.4f}",
        ]
        for r in found
    ]
    head = ["decoder", "noise covariance", "calibration", "d", "plain ms", "difference, ratio"]
    return table([*head, "differentiated twice, ratio", "bias"], rows)
