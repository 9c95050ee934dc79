"""From rows in the units of the data to a fitted density: map, split, base, network, log Z."""

from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.registry import DECODERS, make_decoder
from skrae.autoencoders.layers import scale_head
from skrae.autoencoders.training import Training, TrainingOptions
from skrae.density.annealing import LevelTrainer, Outcome, Schedule, anneal, schedule_for
from skrae.density.criterion import HeldOutGain, Rows, TermWeights
from skrae.density.fitted import Fitted, normalise
from skrae.density.score_field import NoiseMetric
from skrae.mixtures.components import draw_index
from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.selection import quick_base, select_base
from skrae.preprocessing.affine import Remarks, fit_affine
from skrae.preprocessing.caller import interruptible
from skrae.preprocessing.margin_fit import fit_margins
from skrae.preprocessing.margins import Chain
from skrae.preprocessing.rows import WeightedRows, weighted_mean
from skrae.preprocessing.split import MIN_ROWS_TO_SPLIT, split_rows

N_INITIAL_ROWS = 1024
MIN_VALIDATION_DRAWS = 1024
CHECKS_PER_LEVEL = 6
CURL_ROWS = 256
# Of the held-out gain that margins must bring.
MIN_STANDARD_ERRORS = 2.0


class Result(NamedTuple):
    """The fitted density and the record of how it was found."""

    fitted: Fitted
    outcome: Outcome
    remarks: Remarks
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


def n_checks(options):
    """The largest number of held-out checks a fit may take."""
    return len(noise_schedule(options).levels) * (CHECKS_PER_LEVEL + 1)


def noise_schedule(options):
    """The `Schedule` of the option, without levels that the decoder has no use for."""
    decoder = DECODERS[options.decoder]
    levels, n_candidates = schedule_for(options.noise_level, options.noise_covariance)
    if not decoder.starts_from_last_level:
        levels = levels[-n_candidates:]
    if n_candidates > 1:
        levels = [level for level in levels if level >= decoder.finest_noise_level]
    return Schedule(levels, min(n_candidates, len(levels)))


def fit_density(
    X, weights, options, rng, device, names=None, previous=None, on_base=None, on_check=None
):
    """Fit the model of `RegularizedAutoEncoderScore` to weighted rows.

    Parameters
    ----------
    X : array of shape (n, d); weights : array of shape (n,), positive, mean 1
    options : Options
    rng : numpy.random.RandomState
    device : {"cpu", "cuda"}
    names : feature names for warnings, or None
    previous : Fitted to continue from, or None
    on_base : callable(n_components, base_score), told of the base density, or None
    on_check : callable(LevelTrainer) -> bool, told of every held-out check; true stops

    Returns
    -------
    Result
    """
    transform, remarks = previous.transform if previous else None, Remarks()
    if previous is None:
        transform, remarks = fit_affine(X, weights, options.scaling, names)
    train, held_out = split_rows(transform.forward(X), options.validation_fraction, rng)
    seeds = rng.randint(2**31 - 1, size=2)
    if previous is None and options.margins == "auto" and len(X) >= MIN_ROWS_TO_SPLIT:
        transform = _with_margins(X, weights, (train, held_out), transform, options, int(seeds[0]))
    z, log_dets = transform.forward(X), transform.log_abs_det(X[held_out])
    z, weights = torch.as_tensor(z), torch.as_tensor(weights)
    rows, validation = (WeightedRows(z[part], weights[part]) for part in (train, held_out))
    del z  # the parts are copies; a large table is not held twice
    base = previous and MixtureDensity(*previous.base)
    if base is None:
        generator = torch.Generator().manual_seed(int(seeds[0]))
        base = _choose_base(rows, validation, options, generator)
    base_score = _mean_log_density(base, validation, log_dets)
    if on_base:
        on_base(len(base.weights), base_score)
    generator = torch.Generator(device).manual_seed(int(seeds[1]))
    trainer = _trainer(rows, validation, base.to(device), options, generator, device, previous)
    outcome = _train(trainer, len(X), options, previous, on_check)
    fitted = _fitted(transform, base, options, outcome, previous)
    field = fitted.field(device)
    repeats = normalise(field, generator)
    return Result(
        fitted=fitted._replace(log_z=float(repeats.mean())),
        outcome=outcome,
        remarks=remarks,
        base_score=base_score,
        log_z_repeats=repeats,
        curl=field.curl(rows.z[:CURL_ROWS].to(device)),
        loss_curve=trainer.training.loss_curve,
        validation_curve=trainer.training.validation_curve,
        n_iter=trainer.training.n_steps,
    )


def _with_margins(X, weights, parts, affine, options, seed):
    """The map with margins where held-out rows prefer it, else the affine one.

    Each is judged by one growth of a mixture; the difference must exceed two standard errors.
    """
    train, held_out = parts
    margins = fit_margins(X[train], weights[train], X[held_out], weights[held_out])
    chain = Chain(margins, fit_affine(margins.forward(X), weights, options.scaling)[0])
    densities = []
    for transform in (affine, chain):
        z = torch.as_tensor(transform.forward(X))
        rows, validation = (WeightedRows(z[p], torch.as_tensor(weights[p])) for p in parts)
        generator = torch.Generator().manual_seed(seed)
        base = quick_base(rows, validation, generator, options.max_components)
        log_det = torch.as_tensor(transform.log_abs_det(X[held_out]))
        densities.append(base.log_density(validation.z) + log_det)
    share = validation.weights / validation.weights.sum()
    rise = densities[1] - densities[0]
    gain = float(share @ rise)
    error = float((share.square() @ (rise - gain).square()).sqrt())
    return chain if gain > MIN_STANDARD_ERRORS * error else affine


def _choose_base(rows, held_out, options, generator):
    few = len(rows.z) < MIN_ROWS_TO_SPLIT or options.base_density == "gaussian"
    components = 1 if few else options.max_components
    return select_base(rows, held_out, generator, components, options.max_mixtures)


def _mean_log_density(base, rows, log_dets):
    """Weighted mean log density in the units of the data."""
    share = rows.weights.numpy() / float(rows.weights.sum())
    # From the first on, so that the mean of equal numbers is that number.
    log_det = log_dets[0] + share @ (log_dets - log_dets[0])
    return weighted_mean(base.log_density(rows.z), rows.weights) + float(log_det)


def _fitted(transform, base, options, outcome, previous):
    # What is kept was fitted with a contraction weight of its own.
    contraction_weight = float((previous if outcome.kept else options).contraction_weight)
    tau = outcome.noise_level**2 + contraction_weight
    decoder = make_decoder(options.decoder, options.activation, tau, base.mean)
    coefs, intercepts = decoder.arrays([p.numpy(force=True) for p in outcome.parameters])
    return Fitted(
        transform=transform,
        base=base.arrays(),
        coefs=coefs,
        intercepts=intercepts,
        decoder=options.decoder,
        activation=options.activation,
        noise_covariance=options.noise_covariance,
        noise_level=float(outcome.noise_level),
        contraction_weight=contraction_weight,
        bias_correction=bool(options.bias_correction),
        log_z=0.0,
    )


def _trainer(rows, held_out, base, options, generator, device, previous):
    rows, held_out = rows.to(device), held_out.to(device)
    metric = NoiseMetric(base, options.noise_covariance)
    if previous:
        before = previous.field(device)
        parameters, decoder = before.parameters, before.decoder
    else:
        parameters = _initial_parameters(rows.z, base, metric, options, generator)
        decoder = None
    kind = DECODERS[options.decoder]
    training = TrainingOptions(
        learning_rate=options.learning_rate,
        averaging=kind.averaging,
        check_every=-(-steps_per_level(len(rows.z), options) // CHECKS_PER_LEVEL),
        patience=options.n_iter_no_change,
    )
    n_draws = min(max(8 * len(rows.z), MIN_VALIDATION_DRAWS), kind.max_validation_draws)
    return LevelTrainer(
        training=Training(parameters, training),
        rows=Rows(rows, min(options.batch_size, len(rows.z)), generator),
        base=base,
        metric=metric,
        held_out_gain=HeldOutGain(held_out, base, n_draws, generator),
        weights=TermWeights(options.contraction_weight, options.calibration_weight),
        decoder_name=options.decoder,
        activation=options.activation,
        decoder=decoder,
    )


def _initial_parameters(z, base, metric, options, generator):
    decoder = make_decoder(options.decoder, options.activation, 1.0, base.mean)
    sizes = options.hidden_layer_sizes
    parameters = decoder.initial_parameters(z.shape[1], sizes, generator, z.device)
    index = torch.randint(len(z), (N_INITIAL_ROWS,), generator=generator, device=z.device)
    rows = z[index]
    components = draw_index(metric.responsibilities(rows), generator)
    whiteners = metric.inverse_transposes[components].float()
    return decoder.localise(parameters, rows.float(), whiteners, generator)


def _train(trainer, n_rows, options, previous, on_check):
    schedule = noise_schedule(options)
    if n_rows < MIN_ROWS_TO_SPLIT:
        # Nothing is held out to validate a network by: the base alone is the density.
        return _reconstruct_alone(trainer, schedule, options, on_check)
    if previous is None:
        max_steps = steps_per_level(len(trainer.rows.z), options)
        return anneal(trainer, schedule, max_steps, on_check)
    return _continue(trainer, schedule.levels[-1], options, previous, on_check)


def _reconstruct_alone(trainer, schedule, options, on_check):
    """Train for the first candidate, where there is an r to learn without the tilt."""
    level, interrupted = schedule.levels[-1], False
    if DECODERS[options.decoder].learns_without_tilt:
        level = schedule.first_candidate
        with interruptible() as interrupted:
            trainer.start_level(level)
            trainer.run(steps_per_level(len(trainer.rows.z), options), on_check)
    return Outcome(scale_head(trainer.training.average, 0.0), level, bool(interrupted))


def _continue(trainer, level, options, previous, on_check):
    """Train at the last noise level; the network that was there stays unless it is beaten."""
    level = previous.noise_level if options.noise_level == "auto" else level
    start, decoder = [p.clone() for p in trainer.training.average], trainer.decoder
    max_steps = steps_per_level(len(trainer.rows.z), options)
    outcome = anneal(trainer, Schedule([level], 1), max_steps, on_check)
    gain, _ = trainer.held_out_gain(start, decoder)
    if gain > outcome.gain or not outcome.gains:
        level = previous.noise_level
        return outcome._replace(parameters=start, noise_level=level, gain=gain, kept=True)
    return outcome
