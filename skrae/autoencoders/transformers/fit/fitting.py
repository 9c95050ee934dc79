"""The fit of an auto-encoder, from rows to what is stored of it."""

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.batches import Rows
from skrae.autoencoders.training import Adam, Training, TrainingOptions, run
from skrae.autoencoders.transformers.fit.code_density import with_code_density
from skrae.autoencoders.transformers.fit.criterion import (
    AutoEncoderCriterion,
    Geodesics,
    HeldOutObjective,
    Terms,
)
from skrae.autoencoders.transformers.maps.fitted import FittedAutoEncoder, Space
from skrae.autoencoders.transformers.maps.linear import linear_path
from skrae.autoencoders.transformers.maps.network import started
from skrae.autoencoders.transformers.terms.corruption import CORRUPTIONS
from skrae.autoencoders.transformers.terms.geodesics import MAX_LANDMARKS, geodesic_distances
from skrae.preprocessing.contract.work import check_time, ended_early, interruptible
from skrae.preprocessing.rows import WeightedRows
from skrae.preprocessing.scales import ROUNDING, location_and_scale
from skrae.preprocessing.split import split_rows

# Steps from one validation to the next, fewer for few rows, on which all happens sooner; and the
# share of the running average that a step keeps.
CHECK_EVERY, LEAST_CHECK_EVERY, ROWS_A_STEP, AVERAGING = 25, 10, 40, 0.99
# The learning rate falls by these factors where held-out rows gain no more, or these shares of
# the steps are done. The last steps, this share of those before, take all rows.
RATES = (1.0, 0.5), (0.3, 0.7), (0.1, 0.84)
ALL_ROWS_RATE, ALL_ROWS_SHARE = 0.3, 0.19
# That of networks without hidden layers is so many times as large.
SHALLOW_RATE = 2.0
# What stands for the error of a linear path where there is none, in the decay of weights.
ERROR_WITHOUT_PATH = 0.3
# Held-out rows are repeated up to so many, for noise to average over and weights to tell.
MIN_DRAWS, MAX_DRAWS = 256, 8192
# Held-out landmarks, whose pairs are all compared at each validation.
MAX_HELD_OUT_LANDMARKS = 1024
# Columns are in one unit where no range is more than so many times the median one.
MAX_RANGE = 2.5
# Ranges whose squares, of columns as they are, networks hold in float32, and others in float64.
UNSCALED_RANGES, SCALED_RANGES = (1e-15, 1e15), (0.0, 1e140)


def check_every(n_rows):
    """Steps from one validation to the next.

    >>> check_every(30), check_every(500), check_every(100_000)
    (10, 12, 25)
    """
    return min(CHECK_EVERY, max(LEAST_CHECK_EVERY, n_rows // ROWS_A_STEP))


def n_checks(max_iter, n_rows):
    """The most validations of a fit of so many steps, that of its start left out."""
    return math.ceil(max_iter / check_every(n_rows)) + len(RATES)


class AutoEncoderFit(NamedTuple):
    """A fitted auto-encoder, and the record of its fit."""

    fitted: FittedAutoEncoder
    residual_variance: np.ndarray | None  # (d,), of held-out rows, in the units of the data
    terms: dict  # of str: the value of each term on held-out rows
    loss_curve: list
    validation_curve: list
    n_iter: int
    code_density: object = None
    noise_variance: np.ndarray | None = None  # (d,), that of decoded codes lacks, likewise


def working_space(X, weights, scaling):
    """The `Space` of weighted rows.

    "auto" is "standardize" but where all columns are in one unit: then only the mean is taken.
    """
    location, scale = location_and_scale(X, weights / weights.sum())
    with np.errstate(over="ignore"):
        ranges = X.max(axis=0).astype(np.float64) - X.min(axis=0).astype(np.float64)
    rounding = ROUNDING * np.abs(location)
    varies = (scale > rounding) & (ranges > rounding)
    if not varies.any():
        raise ValueError(
            "Got columns that are all constant up to rounding, expected at least one that varies."
        )
    widest, (low, high) = float(ranges.max()), UNSCALED_RANGES
    if scaling == "auto" and widest <= MAX_RANGE * np.median(ranges[varies]):
        scaling = None if low <= widest <= high else "standardize"
    if scaling is not None:
        low, high = SCALED_RANGES
    if not low <= widest <= high:
        raise ValueError(
            f"Got a column with a range of {widest:.2g} and scaling={scaling!r}, expected units in"
            f" which the widest one is between {low:g} and {high:g}."
        )
    standardizes = varies & (scaling is not None)
    return Space(location, np.where(standardizes, scale, 1.0), varies)


class _Fit:
    """One fit: rows in working space, split, and the objective on them."""

    def __init__(self, X, weights, options, rng, device, previous):
        self.options, self.device, self.previous = options, device, previous
        seeds = rng.randint(2**31 - 1, size=3).tolist()
        self.start_seed, self.batch_seed, self.held_out_seed = seeds
        self.space = (
            working_space(X, weights, options.scaling) if previous is None else previous.space
        )
        z = self.space.forward(X)
        self.all = WeightedRows(torch.from_numpy(z), torch.from_numpy(weights))
        # Near-duplicates are told by distances in units of order one.
        indices = split_rows(z / np.sqrt(np.square(z).mean()), options.validation_fraction, rng)
        self.train, self.held_out = (
            WeightedRows(self.all.z[index], self.all.weights[index]) for index in indices
        )
        self.geodesics = None, None
        if options.objective.distance_weight > 0.0 and options.objective.distance == "geodesic":
            self.geodesics = _geodesics(z, indices, options.n_neighbors, rng, device)
        self.variance = float(np.trace(_covariance(self.train)))

    @property
    def is_linear_at_best(self):
        """Whether nothing better than the linear path can be found, or be told from it."""
        architecture = self.options.architecture
        nothing_held_out = len(self.train.z) == len(self.all.z)
        return architecture.is_linear_at_best or (architecture.has_linear_path and nothing_held_out)

    def start(self):
        """The network and the parameters to begin with."""
        if self.previous is not None:
            return self.previous.network(), self.previous.parameters()
        return self._started(self.train)

    def closed_form(self):
        """The same from all rows, where the linear path is all there is."""
        return self._started(self.all)

    def _started(self, rows):
        """With atoms as they are kept, and units as active as is asked for."""
        generator = torch.Generator().manual_seed(self.start_seed)
        varies, objective = torch.from_numpy(self.space.varies), self.options.objective
        network, parameters = started(
            self.options.architecture, self._path(rows), self.variance, varies, generator
        )
        if objective.sparsity_weight > 0.0:
            network.confine_atoms(parameters)
            if objective.sparsity == "kl":
                target = objective.sparsity_target
                parameters[network.n_encoder - 1] += math.log(target / (1.0 - target))
        return network, parameters

    def _path(self, rows):
        architecture, objective = self.options.architecture, self.options.objective
        if not architecture.has_linear_path:
            return None
        varies, kept, added = self.space.varies, 1.0, 0.0
        covariance = _covariance(rows)[np.ix_(varies, varies)]
        if objective.noise_level > 0.0:
            corruption = CORRUPTIONS[objective.noise]
            kept = corruption.kept(objective.noise_level)
            added = corruption.added(objective.noise_level, np.diag(covariance))
        return linear_path(covariance, architecture.n_components, kept, added).among(varies)

    def terms(self, network):
        """The terms of the objective, on the device."""
        varies = torch.from_numpy(self.space.varies).to(self.device)
        reference = torch.zeros(1, dtype=torch.float32, device=self.device)
        return Terms(network.to(reference), self.options.objective, self.variance, varies)

    def criterion(self, terms, error):
        """The objective of batches; weights decay in proportion to the error there is to mend."""
        architecture = self.options.architecture
        generator = torch.Generator(device=self.device).manual_seed(self.batch_seed)
        size = min(self.options.batch_size, len(self.train.z))
        rows = Rows(self.train.to(self.device), size, generator)
        error = min(1.0, error) if architecture.has_linear_path else ERROR_WITHOUT_PATH
        decay = error * self.options.objective.weight_decay
        criterion = AutoEncoderCriterion(terms, rows, self.geodesics[0], decay)
        if not architecture.hidden_layer_sizes:
            criterion.rate = SHALLOW_RATE
        return criterion

    def take_all_rows(self, criterion):
        """Let the batches be of all rows from now on."""
        before = criterion.rows
        criterion.rows = Rows(self.all.to(self.device), before.batch_size, before.generator)

    def validation(self, terms):
        """The objective of the rows held out."""
        rows = _repeated(self.held_out, terms.objective.noise_level > 0.0)
        return HeldOutObjective(
            terms, rows.float().to(self.device), self.geodesics[1], self.held_out_seed
        )


def fit_auto_encoder(X, weights, options, rng, device, previous=None, on_check=None):
    """Fit the linear path, then the networks to what it leaves.

    Parameters
    ----------
    X : array of shape (n, d), distinct rows
    weights : array of shape (n,), of mean 1
    options : Options
    rng : numpy.random.RandomState
    device : str
    previous : FittedAutoEncoder or None
        Whose scaling is kept, and whose networks go on.
    on_check : callable(training) or None

    Returns
    -------
    AutoEncoderFit
    """
    fit = _Fit(X, weights, options, rng, device, previous)
    network, start = fit.start()
    terms = fit.terms(network)
    validate = fit.validation(terms)
    settings = options.learning_rate, AVERAGING, check_every(len(X)), options.n_iter_no_change
    training = Training([p.float().to(device) for p in start], TrainingOptions(*settings))
    is_solved = options.objective.is_plain and fit.is_linear_at_best
    first_error = validate.terms_of(training.average).get("reconstruction", ERROR_WITHOUT_PATH)
    criterion = fit.criterion(terms, first_error)
    with interruptible():
        training.validate(criterion, validate)
        if not is_solved:
            _train(training, criterion, validate, options.max_iter, on_check)
    best = training.best.parameters if training.best else training.average
    parameters = best
    if _are_equal(best, start):
        best = parameters = start  # in full precision
        if previous is None and network.architecture.has_linear_path:
            network, parameters = fit.closed_form()
            best, validate = parameters, fit.validation(fit.terms(network))
    elif not (ended_early() or training.stopped):
        fit.take_all_rows(criterion)
        with interruptible():
            parameters = _finished(training, criterion, validate, options.max_iter)
    result = _result(fit, network, parameters, best, validate, training)
    if options.code_density is None:
        return result
    return with_code_density(result, fit.all, options.code_density, rng, device)


def _train(training, criterion, validate, max_iter, on_check):
    """Train at falling rates, each from the best of those before."""
    for factor, share in RATES:
        _go_on_from_best(training)
        n_steps = math.ceil(share * max_iter) - training.n_steps
        if not training.stopped:
            run(training, criterion, validate, n_steps, factor, on_check)


def _go_on_from_best(training):
    """Where a rate was too large, the moments of its gradients may not be finite either."""
    if not all(bool(p.isfinite().all()) for p in training.parameters):
        training.optimizer = Adam(training.parameters)
    training.restart_from(training.best.average)


def _finished(training, criterion, validate, max_iter):
    """The best after some more steps, in which the rows held out so far have a part too.

    They are to be reconstructed the better for it: else the rate was too large.
    """
    _go_on_from_best(training)
    n_steps = min(int(ALL_ROWS_SHARE * training.n_steps), max_iter - training.n_steps)
    for _ in range(n_steps):
        check_time()
        training.step(criterion, ALL_ROWS_RATE * training.options.learning_rate)
    with torch.no_grad():
        found = validate(training.average)
    return found.parameters if found.value >= training.best.value else training.best.parameters


def _are_equal(parameters, start):
    return all(torch.equal(p.cpu(), q.float()) for p, q in zip(parameters, start, strict=True))


def _result(fit, network, parameters, best, validate, training):
    """What is stored: the parameters, and what the best of the validated ones made of its rows."""
    fitted = _fitted(fit, network, parameters)
    residual_variance = None
    if fitted.architecture.decodes:
        judged = fitted if best is parameters else _fitted(fit, network, best)
        residual_variance = _residual_variance(fit, judged)
    if fit.options.objective.scales_code:
        codes = fitted.on(fit.device).encode(fit.all.z.numpy())
        fitted = _standardised(fitted, codes, fit.all.weights.numpy())
    return AutoEncoderFit(
        fitted=fitted,
        residual_variance=residual_variance,
        terms=validate.terms_of([p.float().to(fit.device) for p in best]),
        loss_curve=training.loss_curve,
        validation_curve=[-value for value in training.validation_curve],
        n_iter=training.n_steps,
    )


def _residual_variance(fit, fitted):
    """Mean squared error of each column of the rows held out, in the units of the data."""
    held_out = fit.held_out.z.numpy()
    squares = (fitted.on(fit.device).reconstruct(held_out) - held_out) ** 2
    mean = np.average(squares, axis=0, weights=fit.held_out.weights.numpy())
    return mean * fit.space.scale**2


def _fitted(fit, network, parameters):
    coefs, intercepts = network.arrays([p.cpu().to(network.units.code) for p in parameters])
    k = fit.options.architecture.n_components
    return FittedAutoEncoder(
        architecture=fit.options.architecture,
        **fit.space._asdict(),
        row_unit=network.units.rows,
        code_unit=network.units.code.numpy(),
        atom_norm=network.units.atoms,
        path=network.path and tuple(part.numpy() for part in network.path),
        coefs=[c.numpy() for c in coefs],
        intercepts=[b.numpy() for b in intercepts],
        code_mean=np.zeros(k),
        code_scale=np.ones(k),
    )


def _standardised(fitted, codes, weights):
    """The same, giving codes of mean 0 and deviation 1 over the rows; a constant unit stays so."""
    mean, scale = location_and_scale(codes, weights / weights.sum())
    scale = np.where(scale > ROUNDING * np.abs(mean), scale, 1.0)
    return replace(fitted, code_mean=mean, code_scale=scale)


def _covariance(rows):
    """Second moments about the mean of all rows, (d, d)."""
    z, weights = rows.z.numpy(), rows.weights.numpy()
    return z.T @ (weights[:, None] * z) / weights.sum()


def _repeated(rows, has_noise):
    """Rows, each as often as it weighs, and all several times where there are few to corrupt."""
    n, weights = len(rows.z), rows.weights
    size = n if bool((weights == weights[0]).all()) else min(max(4 * n, MIN_DRAWS), MAX_DRAWS)
    if has_noise:
        size *= max(1, math.ceil(MIN_DRAWS / size))
    places = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    index = torch.searchsorted(weights.cumsum(0) / weights.sum(), places)
    return rows.z[index.clamp_max(n - 1)]


def _geodesics(z, indices, n_neighbors, rng, device):
    """`Geodesics` among the rows to train on and among those held out."""
    landmarks = np.arange(len(z))
    if len(z) > MAX_LANDMARKS:
        landmarks = np.sort(rng.choice(len(z), MAX_LANDMARKS, replace=False))
    distances = torch.from_numpy(geodesic_distances(z, n_neighbors, landmarks)).to(device)
    rows = torch.from_numpy(z[landmarks]).float().to(device)
    found = []
    for index, most in zip(indices, (None, MAX_HELD_OUT_LANDMARKS), strict=True):
        own = torch.from_numpy(np.flatnonzero(np.isin(landmarks, index))[:most]).to(device)
        found.append(Geodesics(rows[own], distances[own][:, own]))
    return found
