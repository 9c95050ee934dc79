"""From rows in the units of the data to a fitted density: split, scale, base, network, log Z."""

from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.gradient import make_decoder
from skrae.autoencoders.layers import scale_head
from skrae.autoencoders.training import Judge, Settings, Trainer
from skrae.density.annealing import Outcome, anneal, levels_for
from skrae.density.fitted import Fitted, normalise
from skrae.density.score_field import NoiseMetric
from skrae.mixtures.components import draw_index
from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.selection import select_base
from skrae.preprocessing.affine import fit_scaling
from skrae.preprocessing.split import MIN_ROWS_TO_SPLIT, split_rows

N_INITIAL_ROWS = 1024
# A draw costs a free decoder a line integral.
MIN_JUDGE_DRAWS, MAX_JUDGE_DRAWS, MAX_JUDGE_LINES = 1024, 8192, 2048
AVERAGING, LONG_AVERAGING = 0.98, 0.995
# Below it, r - z of a network with an r of its own is too small beside its error.
FINEST_RECONSTRUCTION = 0.03
CHECKS_PER_LEVEL = 6
CURL_ROWS = 256


class Result(NamedTuple):
    """The fitted density and the record of how it was found."""

    fitted: Fitted
    outcome: Outcome
    base_score: float
    log_z_repeats: np.ndarray
    curl: float
    loss_curve: list
    validation_curve: list
    n_iter: int


def steps_per_level(n_rows, options):
    """max_iter, or fewer for a table so small that they would be hundreds of epochs.

    Without calibration nothing but max_iter ends the training.
    """
    if options.calibration_weight == 0.0:
        return options.max_iter
    return min(options.max_iter, 30 + n_rows // 6)


class Part(NamedTuple):
    """Weighted rows in working space."""

    z: torch.Tensor
    weights: torch.Tensor


def n_checks(options):
    """The largest number of held-out checks a fit may take."""
    return len(_levels(options)[0]) * (CHECKS_PER_LEVEL + 1)


def _levels(options):
    """The noise levels to visit, and how many of them, from the last, may be chosen."""
    levels, n_judged = levels_for(options.noise_level, options.noise_covariance)
    if options.decoder == "tied":
        levels = levels[-n_judged:]  # a level prepares no other
    if options.decoder != "gradient" and n_judged > 1:
        levels = [level for level in levels if level >= FINEST_RECONSTRUCTION]
    return levels, min(n_judged, len(levels))


def fit_density(X, weights, options, rng, device, names=None, previous=None, on_check=None):
    """Fit the model of `RegularizedAutoEncoderScore` to weighted rows.

    Parameters
    ----------
    X : array of shape (n, d); weights : array of shape (n,), positive, mean 1
    options : object with the estimator's parameters as attributes, none of them "auto"
    rng : numpy.random.RandomState
    device : {"cpu", "cuda"}
    names : feature names for warnings, or None
    previous : Fitted to continue from, or None
    on_check : callable(trainer) -> bool, told of every held-out check; true stops

    Returns
    -------
    Result
    """
    scaling = previous.scaling if previous else fit_scaling(X, weights, options.scaling, names)
    z = scaling.forward(X)
    train, held_out = split_rows(z, options.validation_fraction, rng)
    seeds = rng.randint(2**31 - 1, size=2)
    z = torch.as_tensor(z)
    weights = torch.as_tensor(weights)
    rows, judged = (Part(z[part], weights[part]) for part in (train, held_out))
    del z  # the parts are copies; a large table is not held twice
    if previous:
        base = MixtureDensity(*previous.base)
    else:
        base = _choose_base(rows, judged, options, torch.Generator().manual_seed(int(seeds[0])))
    log_q = base.log_density(judged.z)
    base_score = float(judged.weights @ log_q / judged.weights.sum()) + scaling.log_det
    generator = torch.Generator(device).manual_seed(int(seeds[1]))
    trainer = _trainer(rows, judged, base.to(device), options, generator, device, previous)
    outcome = _train(trainer, len(X), options, previous, on_check)
    # What is kept was fitted with a contraction weight of its own.
    contraction_weight = (previous if outcome.kept else options).contraction_weight
    tau = outcome.noise_level**2 + contraction_weight
    decoder = make_decoder(options.decoder, options.activation, tau, base)
    fitted = Fitted(
        scaling,
        base.arrays(),
        *decoder.arrays([p.numpy(force=True) for p in outcome.parameters]),
        options.decoder,
        options.activation,
        options.noise_covariance,
        float(outcome.noise_level),
        float(contraction_weight),
        bool(options.bias_correction),
        0.0,
    )
    field = fitted.field(device)
    repeats = normalise(field, generator)
    fitted = fitted._replace(log_z=float(repeats.mean()))
    curves = trainer.loss_curve, trainer.validation_curve, trainer.n_steps
    curl = field.curl(rows.z[:CURL_ROWS].to(device))
    return Result(fitted, outcome, base_score, repeats, curl, *curves)


def _choose_base(rows, held_out, options, generator):
    few = len(rows.z) < MIN_ROWS_TO_SPLIT or options.base_density == "gaussian"
    components = 1 if few else options.max_components
    return select_base(rows, held_out, generator, components, options.max_mixtures)


def _trainer(rows, held_out, base, options, generator, device, previous):
    rows, held_out = (Part(p.z.to(device), p.weights.to(device)) for p in (rows, held_out))
    metric = NoiseMetric(base, options.noise_covariance)
    if previous:
        before = previous.field(device)
        parameters, decoder = before.parameters, before.decoder
    else:
        decoder = None
        parameters = _initial_parameters(rows.z, base, metric, options, generator)
    settings = Settings(
        contraction_weight=float(options.contraction_weight),
        calibration_weight=float(options.calibration_weight),
        decoder=options.decoder,
        activation=options.activation,
        batch_size=min(options.batch_size, len(rows.z)),
        learning_rate=float(options.learning_rate),
        averaging=AVERAGING if options.decoder == "gradient" else LONG_AVERAGING,
        check_every=-(-steps_per_level(len(rows.z), options) // CHECKS_PER_LEVEL),
        patience=options.n_iter_no_change,
    )
    most = MAX_JUDGE_DRAWS if options.decoder != "free" else MAX_JUDGE_LINES
    n_draws = min(max(8 * len(rows.z), MIN_JUDGE_DRAWS), most)
    judge = Judge(*held_out, base, n_draws, generator)
    return Trainer(rows, base, metric, judge, parameters, settings, generator, decoder)


def _initial_parameters(z, base, metric, options, generator):
    decoder = make_decoder(options.decoder, options.activation, 1.0, base)
    sizes = options.hidden_layer_sizes
    parameters = decoder.initial_parameters(z.shape[1], sizes, generator, z.device)
    index = torch.randint(len(z), (N_INITIAL_ROWS,), generator=generator, device=z.device)
    rows = z[index]
    components = draw_index(metric.responsibilities(rows), generator)
    whiteners = metric.inverse_transposes[components].float()
    return decoder.localise(parameters, rows.float(), whiteners, generator)


def _train(trainer, n_rows, options, previous, on_check):
    levels, n_judged = _levels(options)
    if n_rows < MIN_ROWS_TO_SPLIT:
        # Nothing is held out to judge a network by: the base alone is the density.
        return _reconstruct_alone(trainer, levels, n_judged, options, on_check)
    if previous is None:
        max_steps = steps_per_level(len(trainer.z), options)
        return anneal(trainer, levels, n_judged, max_steps, on_check)
    return _continue(trainer, levels[-1], options, previous, on_check)


def _reconstruct_alone(trainer, levels, n_judged, options, on_check):
    """A reconstruction, where the decoder has one of its own, for the first level that may be."""
    own, interrupted = options.decoder != "gradient", False
    level = levels[-n_judged] if own else levels[-1]
    if own:
        try:
            trainer.start_level(level)
            trainer.run(steps_per_level(len(trainer.z), options), on_check)
        except KeyboardInterrupt:
            interrupted = True
    return Outcome(scale_head(trainer.average, 0.0), level, [], [], 0.0, interrupted)


def _continue(trainer, level, options, previous, on_check):
    """Train at the last noise level; the network that was there stays unless it is beaten."""
    level = previous.noise_level if options.noise_level == "auto" else level
    start, decoder = [p.clone() for p in trainer.average], trainer.decoder
    max_steps = steps_per_level(len(trainer.z), options)
    outcome = anneal(trainer, [level], 1, max_steps, on_check)
    gain, _ = trainer.judge.gain(start, decoder)
    if gain > outcome.gain or not outcome.gains:
        level = previous.noise_level
        return outcome._replace(parameters=start, noise_level=level, gain=gain, kept=True)
    return outcome
