"""From rows in the units of the data to a fitted density: map, split, base, network, log Z."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.batches import Rows
from skrae.autoencoders.decoders.registry import DECODERS, make_decoder
from skrae.autoencoders.layers import scale_head
from skrae.autoencoders.training import Training, TrainingOptions
from skrae.density.columns.report import column_report
from skrae.density.columns.working_space import numeric_part
from skrae.density.fit.annealing import (
    MIN_GAIN,
    LevelTrainer,
    Outcome,
    Schedule,
    anneal,
    is_clear,
    schedule_for,
)
from skrae.density.fit.base import MAX_ROWS_TO_FOLD, choose_base, continue_base, held_out_score
from skrae.density.fit.criterion import HeldOutGain, TermWeights
from skrae.density.fit.exponential_tilt import may_be_tilted, with_means_of_rows
from skrae.density.fit.finite import base_parts, require_finite, require_reach
from skrae.density.fit.radial.closed_form import fit_kernel
from skrae.density.fit.radial.members import Members, choose_member
from skrae.density.fitted import Fitted, normalise
from skrae.density.incomplete.completing import (
    JUDGING_DRAWS,
    TRAINING_DRAWS,
    completed,
    completed_by,
    network_rows,
)
from skrae.density.incomplete.law import RawRows
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.components import draw_index
from skrae.preprocessing.affine import Remarks
from skrae.preprocessing.blocks import is_wide, matrices_of_rows
from skrae.preprocessing.contract.work import breakable, ended_early, interruptible
from skrae.preprocessing.rows import WeightedRows
from skrae.preprocessing.split import MIN_ROWS_TO_SPLIT

N_INITIAL_ROWS = 1024
MIN_VALIDATION_DRAWS = 1024
# Held-out checks of a noise level: of few steps, and of more.
CHECKS_OF_FEW, CHECKS_PER_LEVEL = 6, 12
CURL_ROWS = 256
# Repeats of log Z, and their particles, where there is no time for more.
FEW_REPEATS, FEW_PARTICLES = 2, 2048
# The most steps of a noise level: of few rows; one more for every so many rows; of any.
FEW_STEPS, ROWS_PER_STEP, MOST_STEPS = 300, 6, 3000
# Of so many rows to learn from the first checks of a network tell whether there is a gain.
MANY_ROWS = 50_000
# Checks without a gain that end a level, and those where the base has more components than that:
# what an average of mixtures of few has at most, and a tail.
PATIENCE, LITTLE_PATIENCE, LARGE_BASE = 3, 1, 513


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


def worth(options, n_rows):
    """The gain without which a noise level ends with the first check that hardly raises it."""
    decides = options.n_iter_no_change == "auto" and options.calibration_weight > 0.0
    return MIN_GAIN if decides and n_rows >= MANY_ROWS else -np.inf


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
    X,
    weights,
    options,
    rng,
    device,
    names=None,
    previous=None,
    every=None,
    on_base=None,
    on_check=None,
):
    """Fit the model of `RegularizedAutoEncoderScore` to weighted rows.

    Parameters
    ----------
    X : array of shape (n, d), or RawRows; weights : array of shape (n,), positive, mean 1
    options : Options
    rng : numpy.random.RandomState
    device : {"cpu", "cuda"}
    names : feature names for warnings, or None
    previous : Fitted to continue from, or None
    every : AllRows, of which X is a sample; None where X is all
    on_base : callable(n_components, base_score), told of the base density, or None
    on_check : callable(LevelTrainer) -> bool, told of every held-out check; true stops

    Returns
    -------
    Result
    """
    raw = X if isinstance(X, RawRows) else None
    if previous:
        X = X if raw is None else completed_by(raw, previous, rng)
        choice, working, parts, seeds = continue_base(X, options, rng, previous)
    else:
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is asserted below
            X, law = (X, None) if raw is None else completed(raw, weights, options, rng, names)
            within = every and partial(every.within, law=law)
            choice, working, parts, seeds = choose_base(
                X, weights, options, rng, names, raw, within
            )
    require_reach(working.transform, X)
    transform, base, remarks = working.transform, choice.density, working.remarks
    base_score = held_out_score(choice.judged, transform, X, weights, parts[1], raw)
    require_finite("the base density", base_score, *base_parts(base))
    columns = None
    if previous is None:
        columns = column_report(numeric_part(X, base.levels), weights, working, names)
    if on_base:
        on_base(len(base.weights), base_score)
    learning = _learning_rows(X, weights, working, base, parts, raw, rng)
    generator = torch.Generator(device).manual_seed(int(seeds[1]))
    trainer = level_trainer(learning, base.to(device), options, generator, device, previous)
    rows = learning.rows
    max_steps = steps_per_level(learning.n_rows, trainer.base, options)
    outcome = _train(trainer, rows, len(X), max_steps, options, previous, on_check)
    if outcome.gain and may_be_tilted(options, previous):
        with breakable():
            base, outcome = with_means_of_rows(trainer, outcome)
            choice = choice._replace(density=base.to("cpu"))
    members = None
    if choice.parts and _may_average(options, raw) and not ended_early():
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


class LearningRows(NamedTuple):
    """What a network learns from and is judged by, in working space."""

    rows: WeightedRows
    validation: WeightedRows
    n_copies: int = 1  # full rows in turn behind each of `rows` that is incomplete
    n_judging: int = 1  # and of `validation`

    @property
    def n_rows(self):
        """The number of rows to learn from."""
        return len(self.rows.z) // self.n_copies


def _learning_rows(X, weights, working, base, parts, raw, rng):
    """The `LearningRows`: of incomplete rows several full ones each, drawn by the base density."""
    if not (raw is None or raw.are_complete or ended_early()):
        with breakable():
            return _drawn_rows(weights, working, base, parts, raw, rng)
    return LearningRows(*(working.rows(X, weights, p, k) for k, p in enumerate(parts)))


def _drawn_rows(weights, working, base, parts, raw, rng):
    law = raw.law(working.transform, base)
    train, held_out = map(working.kept_of, parts)
    judging = network_rows(raw, weights, law, held_out, JUDGING_DRAWS, rng)
    learning = network_rows(raw, weights, law, train, TRAINING_DRAWS, rng)
    return LearningRows(learning, judging, TRAINING_DRAWS, JUDGING_DRAWS)


def _may_average(options, raw=None):
    """Whether radial units may have a share: not where the paper's criterion alone is asked for.

    Nor of incomplete rows, whose full ones say nothing new of a density's ripples.
    """
    return (
        raw is None
        and options.select is not None
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


def level_trainer(learning, base, options, generator, device, previous):
    """The `LevelTrainer` of `LearningRows`; of the network of `previous`, where there is one."""
    rows, held_out = learning.rows.to(device), learning.validation.to(device)
    n_rows = learning.n_rows
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
        check_every=check_every(steps_per_level(n_rows, base, options)),
        patience=patience(options, base),
        worth=worth(options, n_rows),
    )
    n_draws = min(max(8 * n_rows, MIN_VALIDATION_DRAWS), kind.max_validation_draws)
    return LevelTrainer(
        training=Training(parameters, training),
        rows=Rows(rows, min(options.batch_size, n_rows), generator, learning.n_copies),
        base=base,
        metric=metric,
        held_out_gain=HeldOutGain(held_out, base, n_draws, generator, learning.n_judging),
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


def _train(trainer, rows, n_rows, max_steps, options, previous, on_check):
    schedule = noise_schedule(options)
    if ended_early():
        return Outcome(scale_head(trainer.training.average, 0.0), schedule.levels[-1], True)
    if n_rows < MIN_ROWS_TO_SPLIT:
        # Nothing is held out to validate a network by: the base alone is the density.
        return _reconstruct_alone(trainer, schedule, max_steps, on_check)
    if DECODERS[options.decoder].has_closed_form:
        return _solve(trainer, rows, options)
    if previous is None:
        # Of many columns a step takes long, and a base of factors knows most.
        return anneal(trainer, schedule, max_steps, on_check, is_wide(trainer.base.n_features))
    return _continue(trainer, schedule.levels[-1], max_steps, options, previous, on_check)


def _solve(trainer, rows, options):
    """The radial units that the criterion is lowest for; f = 0 where they do not beat the base."""
    device, generator = trainer.rows.z.device, trainer.rows.generator
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=device))
    base, generator = trainer.base.to("cpu"), torch.Generator().manual_seed(seed)
    found = None
    with interruptible() as interrupted:
        found = fit_kernel(rows, base, options, trainer.held_out_gain, generator)
    if found is None or not is_clear(found[2], found[3]):
        level = noise_schedule(options).levels[-1] if found is None else found[1]
        start = scale_head(trainer.training.average, 0.0)
        return Outcome(start, level, bool(interrupted))
    parameters, level, gain, _ = found
    return Outcome(parameters, level, bool(interrupted), (level,), (gain,), gain)


def _reconstruct_alone(trainer, schedule, max_steps, on_check):
    """Train for the first candidate, where there is an r to learn without the tilt."""
    level, interrupted = schedule.levels[-1], False
    if DECODERS[trainer.decoder_name].learns_without_tilt:
        level = schedule.first_candidate
        with interruptible() as interrupted:
            trainer.start_level(level)
            trainer.run(max_steps, on_check)
    return Outcome(scale_head(trainer.training.average, 0.0), level, bool(interrupted))


def _continue(trainer, level, max_steps, options, previous, on_check):
    """Train at the last noise level; the network that was there stays unless it is beaten."""
    level = previous.noise_level if options.noise_level == "auto" else level
    start, decoder = [p.clone() for p in trainer.training.average], trainer.decoder
    outcome = anneal(trainer, Schedule([level], 1), max_steps, on_check)
    gain, _ = trainer.held_out_gain(start, decoder)
    if gain > outcome.gain or not outcome.gains:
        level = previous.noise_level
        return outcome._replace(parameters=start, noise_level=level, gain=gain, kept=True)
    return outcome
