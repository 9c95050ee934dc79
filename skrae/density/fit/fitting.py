"""From rows in the units of the data to a fitted density: map, split, base, network, log Z."""

from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.batches import Rows
from skrae.autoencoders.decoders.registry import DECODERS, make_decoder
from skrae.autoencoders.layers import scale_head
from skrae.autoencoders.training import Training, TrainingOptions
from skrae.density.columns.report import column_report
from skrae.density.columns.working_space import MAX_FOLDS, WorkingSpace, choose_space, fit_space
from skrae.density.fit.annealing import (
    MIN_GAIN,
    MIN_STANDARD_ERRORS,
    LevelTrainer,
    Outcome,
    Schedule,
    anneal,
    schedule_for,
)
from skrae.density.fit.criterion import HeldOutGain, TermWeights
from skrae.density.fit.finite import base_parts, require_finite, require_reach
from skrae.density.fit.members import Members, choose_member
from skrae.density.fit.radial_fit import fit_kernel
from skrae.density.fitted import Fitted, normalise
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.components import draw_index
from skrae.mixtures.growth.selection import Choice, select_base
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.affine import Remarks, fit_affine
from skrae.preprocessing.blocks import is_wide, matrices_of_rows
from skrae.preprocessing.contract.work import breakable, ended_early, interruptible
from skrae.preprocessing.rows import weighted_mean
from skrae.preprocessing.split import MIN_ROWS_TO_SPLIT, split_folds, split_rows

N_INITIAL_ROWS = 1024
MIN_VALIDATION_DRAWS = 1024
# Held-out checks of a noise level: of few steps, and of more.
CHECKS_OF_FEW, CHECKS_PER_LEVEL = 6, 12
CURL_ROWS = 256
# Repeats of log Z, and their particles, where there is no time for more.
FEW_REPEATS, FEW_PARTICLES = 2, 2048
# The most steps of a noise level: of few rows; one more for every so many rows; of any.
FEW_STEPS, ROWS_PER_STEP, MOST_STEPS = 300, 6, 3000
# Checks without a gain that end a level, and those where the base has more components than that:
# what an average of mixtures of few has at most, and a tail.
PATIENCE, LITTLE_PATIENCE, LARGE_BASE = 3, 1, 513
# Above this, one held-out part says enough.
MAX_ROWS_TO_FOLD = 4000
# The numbers of mixtures, of few rows and of many.
FOLDED_MIXTURES, MAX_MIXTURES = 8, 4
# The largest number of components of few rows; of more, one for so many of them, up to a number.
MAX_COMPONENTS, ROWS_PER_COMPONENT, MOST_COMPONENTS = 64, 16, 2048


class Result(NamedTuple):
    """The fitted density and the record of how it was found."""

    fitted: Fitted
    outcome: Outcome
    remarks: Remarks
    columns: dict | None  # None where a fit is continued
    members: Members | None  # None where there was nothing to choose among
    base_score: float
    log_z_repeats: np.ndarray
    curl: float
    loss_curve: list
    validation_curve: list
    n_iter: int


def steps_per_level(n_rows, base, options):
    """max_iter, or fewer for a table so small that they would be hundreds of epochs.

    Without calibration nothing but max_iter ends the training: "auto" is then few, and so it is
    where the base is large, which has learned by itself what rows can tell.
    """
    most, calibrated = options.max_iter, options.calibration_weight > 0.0
    if most == "auto":
        more = max(0, n_rows - MAX_ROWS_TO_FOLD) // ROWS_PER_STEP
        earns = calibrated and len(base.weights) <= LARGE_BASE
        most = min(FEW_STEPS + more, MOST_STEPS) if earns else FEW_STEPS
    return min(most, 30 + n_rows // ROWS_PER_STEP) if calibrated else most


def check_every(max_steps):
    """Steps from one held-out check to the next, of a noise level of so many."""
    return -(-max_steps // (CHECKS_OF_FEW if max_steps <= FEW_STEPS else CHECKS_PER_LEVEL))


def patience(options, base):
    """The held-out checks without a gain that end a noise level.

    Where the base is large or of many columns a step takes long, and it has learned by itself what
    rows can tell.
    """
    if options.n_iter_no_change != "auto":
        return options.n_iter_no_change
    few = len(base.weights) <= LARGE_BASE and not is_wide(base.n_features)
    return PATIENCE if few else LITTLE_PATIENCE


def n_checks(options):
    """The largest number of held-out checks a fit may take."""
    if DECODERS[options.decoder].has_closed_form:
        return 0
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
    if previous:
        choice, working, parts, seeds = _continue_base(X, options, rng, previous)
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is asserted below
            choice, working, parts, seeds = _choose_base(X, weights, options, rng, names)
    require_reach(working.transform, X)
    rows, validation = (working.rows(X, weights, part, k) for k, part in enumerate(parts))
    base_score = _mean_log_density(choice.judged, working.transform, X[parts[1]], weights[parts[1]])
    transform, base, remarks = working.transform, choice.density, working.remarks
    require_finite("the base density", base_score, *base_parts(base))
    columns = None if previous else column_report(X, weights, working, names)
    if on_base:
        on_base(len(base.weights), base_score)
    generator = torch.Generator(device).manual_seed(int(seeds[1]))
    trainer = _trainer(rows, validation, base.to(device), options, generator, device, previous)
    outcome = _train(trainer, rows, len(X), options, previous, on_check)
    members = None
    if choice.parts and _may_average(options) and not ended_early():
        every = working.rows(X, weights, np.arange(len(X)), len(parts))
        with breakable():
            members = _members(choice, every, options, outcome, int(seeds[0]))
    fitted = _fitted(transform, base, options, outcome, previous, members)
    require_finite("the network", *fitted.coefs, *fitted.intercepts)
    field = fitted.field(device)
    if not outcome.gain:  # whatever network has lost: the same model, the same log Z
        generator = torch.Generator(device).manual_seed(int(seeds[1]))
    repeats = _log_z(field, generator)
    require_finite("log Z", repeats)
    return Result(
        fitted=fitted._replace(log_z=float(repeats.mean())),
        outcome=outcome,
        remarks=remarks,
        columns=columns,
        members=members,
        base_score=base_score,
        log_z_repeats=repeats,
        curl=field.curl(rows.z[:CURL_ROWS].to(device)),
        loss_curve=trainer.training.loss_curve,
        validation_curve=trainer.training.validation_curve,
        n_iter=trainer.training.n_steps,
    )


def _continue_base(X, options, rng, previous):
    """What `previous` has, with the rows split anew."""
    transform, base = previous.transform, MixtureDensity(*previous.base)
    parts = split_rows(transform.forward(X), options.validation_fraction, rng)
    every, no_noise = np.ones(len(X), bool), np.zeros(X.shape[1])
    working = WorkingSpace(transform, Remarks(), every, None, no_noise, None)
    return Choice(base, base), working, parts, rng.randint(2**31 - 1, size=2)


def _choose_base(X, weights, options, rng, names):
    """Base density, working space, (training rows, held-out rows) and seeds."""
    # Whatever is near in all rows' units is on one side; nothing else is learned from all of them.
    z = fit_affine(X, weights, options.scaling, names).map.forward(X)
    n_components, n_mixtures, n_folds = _base_sizes(options, len(X))
    train, folds = split_folds(z, options.validation_fraction, rng, n_folds)
    seeds = rng.randint(2**31 - 1, size=2)
    held_out, *others = folds
    if len(X) < MIN_ROWS_TO_SPLIT:
        working = fit_space(X, weights, train, options, names)
    else:
        working = None
        with breakable():
            working = choose_space(X, weights, folds, options, names, int(seeds[0]))
        if working is None:
            working = fit_space(X, weights, train, options, names)
    rows, validation = (working.rows(X, weights, p, k) for k, p in enumerate((train, held_out)))
    kept = train[working.kept[train]]
    base = select_base(
        rows,
        validation,
        torch.Generator().manual_seed(int(seeds[0])),
        n_components,
        n_mixtures,
        working.space,
        [torch.as_tensor(np.flatnonzero(np.isin(kept, fold))) for fold in others],
    )
    return base, working, (train, held_out), seeds


def _base_sizes(options, n_rows):
    """The largest numbers of components and of mixtures, and the number of folds."""
    n_components, n_mixtures = options.max_components, options.max_mixtures
    small = n_rows <= MAX_ROWS_TO_FOLD
    if n_components == "auto":
        n_components = MAX_COMPONENTS
        if not small:
            n_components = min(max(n_components, n_rows // ROWS_PER_COMPONENT), MOST_COMPONENTS)
    if n_mixtures == "auto":
        n_mixtures = FOLDED_MIXTURES if small else MAX_MIXTURES
    if n_rows < MIN_ROWS_TO_SPLIT or options.base_density == "gaussian":
        n_components = 1
    return n_components, n_mixtures, max(n_mixtures, MAX_FOLDS) if small else 1


def _mean_log_density(base, transform, X, weights):
    """Weighted mean log density in the units of the data."""
    share, log_dets = weights / weights.sum(), transform.log_abs_det(X)
    # From the first on, so that the mean of equal numbers is that number.
    log_det = log_dets[0] + share @ (log_dets - log_dets[0])
    values = base.log_density(torch.as_tensor(transform.forward(X)))
    return weighted_mean(values, torch.as_tensor(weights)) + float(log_det)


def _may_average(options):
    """Whether radial units may have a share: not where the paper's criterion alone is asked for."""
    return (
        options.select is not None
        and DECODERS[options.decoder].may_be_averaged
        and options.base_density == "mixture"
        and options.calibration_weight > 0.0
        and not options.bias_correction
    )


def _members(choice, rows, options, outcome, seed):
    """The `Members` of the base density, of the network where it won, and of radial units."""
    parameters = [p.cpu() for p in outcome.parameters]

    def network(base):
        decoder = make_decoder(options.decoder, options.activation, 1.0, base.mean)
        return ScoreField(base, decoder, parameters, NoiseMetric(base, "isotropic"))

    network = network if outcome.gain else None
    generator = torch.Generator().manual_seed(seed)
    return choose_member(choice, rows, network, options.select, generator)


def _energy(options, previous, members):
    """The radial units that have a share, those of the fit that is continued among them."""
    if previous:
        return previous.energy if _may_average(options) else None
    return members and members.energy


def _fitted(transform, base, options, outcome, previous, members):
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
        energy=_energy(options, previous, members),
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
        check_every=check_every(steps_per_level(len(rows.z), base, options)),
        patience=patience(options, base),
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
    whiteners = matrices_of_rows(metric.inverse_transposes.float(), components)
    return decoder.localise(parameters, rows.float(), whiteners, generator)


def _log_z(field, generator):
    """log Z of each repeat; of fewer and shorter ones where they are broken off."""
    with breakable():
        return normalise(field, generator)
    return normalise(field, generator, FEW_REPEATS, FEW_PARTICLES)


def _train(trainer, rows, n_rows, options, previous, on_check):
    schedule = noise_schedule(options)
    if ended_early():
        return Outcome(scale_head(trainer.training.average, 0.0), schedule.levels[-1], True)
    if n_rows < MIN_ROWS_TO_SPLIT:
        # Nothing is held out to validate a network by: the base alone is the density.
        return _reconstruct_alone(trainer, schedule, options, on_check)
    if DECODERS[options.decoder].has_closed_form:
        return _solve(trainer, rows, options)
    if previous is None:
        max_steps = steps_per_level(len(trainer.rows.z), trainer.base, options)
        # Of many columns a step takes long, and a base of factors knows most.
        return anneal(trainer, schedule, max_steps, on_check, is_wide(trainer.base.n_features))
    return _continue(trainer, schedule.levels[-1], options, previous, on_check)


def _solve(trainer, rows, options):
    """The radial units that the criterion is lowest for; f = 0 where they do not beat the base."""
    device, generator = trainer.rows.z.device, trainer.rows.generator
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=device))
    base, generator = trainer.base.to("cpu"), torch.Generator().manual_seed(seed)
    found = None
    with interruptible() as interrupted:
        found = fit_kernel(rows, base, options, trainer.held_out_gain, generator)
    if found is None or found[2] < max(MIN_GAIN, MIN_STANDARD_ERRORS * found[3]):
        level = noise_schedule(options).levels[-1] if found is None else found[1]
        start = scale_head(trainer.training.average, 0.0)
        return Outcome(start, level, bool(interrupted))
    parameters, level, gain, _ = found
    return Outcome(parameters, level, bool(interrupted), (level,), (gain,), gain)


def _reconstruct_alone(trainer, schedule, options, on_check):
    """Train for the first candidate, where there is an r to learn without the tilt."""
    level, interrupted = schedule.levels[-1], False
    if DECODERS[options.decoder].learns_without_tilt:
        level = schedule.first_candidate
        with interruptible() as interrupted:
            trainer.start_level(level)
            trainer.run(steps_per_level(len(trainer.rows.z), trainer.base, options), on_check)
    return Outcome(scale_head(trainer.training.average, 0.0), level, bool(interrupted))


def _continue(trainer, level, options, previous, on_check):
    """Train at the last noise level; the network that was there stays unless it is beaten."""
    level = previous.noise_level if options.noise_level == "auto" else level
    start, decoder = [p.clone() for p in trainer.training.average], trainer.decoder
    max_steps = steps_per_level(len(trainer.rows.z), trainer.base, options)
    outcome = anneal(trainer, Schedule([level], 1), max_steps, on_check)
    gain, _ = trainer.held_out_gain(start, decoder)
    if gain > outcome.gain or not outcome.gains:
        level = previous.noise_level
        return outcome._replace(parameters=start, noise_level=level, gain=gain, kept=True)
    return outcome
