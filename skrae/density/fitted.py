"""A fitted model in the units of the data: NumPy rows in, NumPy arrays out, in bounded memory."""

import weakref
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.registry import DECODERS, make_decoder
from skrae.density.bias_correction import (
    corrected_score,
    corrected_slopes,
    jacobian_by_differences,
)
from skrae.density.columns.margins import ARRAYS, Chain, Margins
from skrae.density.columns.working_space import numeric_map
from skrae.density.radial_average import RadialEnergy
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.affine import AffineMap
from skrae.preprocessing.beside import Beside
from skrae.preprocessing.blocks import (
    BLOCK_DRAWS,
    BLOCK_ROWS,
    NETWORK_ROWS,
    by_blocks,
    n_matrices,
)
from skrae.preprocessing.transform import Transform
from skrae.sampling.mcmc.kernels import State
from skrae.sampling.mcmc.tempered_smc import N_PARTICLES, log_normalizer
from skrae.sampling.targets import VANISHED, Target

BASE_ATTRIBUTES = tuple(
    f"base_{part}_" for part in ("weights", "means", "factors", "dofs", "blocks", "levels")
)
# Options that an answer depends on: those of the fit hold, whatever the parameters say later.
FITTED_OPTIONS = (
    "decoder",
    "activation",
    "noise_covariance",
    "contraction_weight",
    "bias_correction",
)
# Rows at a time where derivatives are taken: on a processor, as many as leave the layers of a
# network, all of which are kept, in its cache.
DERIVATIVE_ROWS = {"cpu": NETWORK_ROWS, "cuda": BLOCK_ROWS}
# Step, in sqrt(tau), of the differences that differentiate a corrected score.
HESSIAN_STEP = 1e-3
# Step of the differences that differentiate what a curved map adds at another temperature.
BEND_STEP = 1e-5
# Farther rows, in spreads of the data, overflow the powers of a distance in float64.
MAX_DISTANCE = 1e100


class Fitted(NamedTuple):
    """All that defines a fitted density, as NumPy arrays and scalars."""

    transform: Transform
    base: tuple  # weights, means, factors, dofs, blocks and levels of a `MixtureDensity`
    coefs: list
    intercepts: list
    decoder: str
    activation: str
    noise_covariance: str
    noise_level: float
    contraction_weight: float
    bias_correction: bool
    log_z: float
    energy: RadialEnergy | None = None

    def field(self, device, dtype=torch.float32):
        """The score field in working space, its network in `dtype`."""
        base = MixtureDensity(*self.base, device=device)
        if DECODERS[self.decoder].has_closed_form:
            dtype = torch.float64  # its large weights of either sign cancel
        coefs, intercepts = (
            [torch.tensor(a, dtype=dtype, device=device) for a in arrays]
            for arrays in (self.coefs, self.intercepts)
        )
        tau = self.noise_level**2 + self.contraction_weight
        decoder = make_decoder(self.decoder, self.activation, tau, base.mean)
        metric = NoiseMetric(base, self.noise_covariance)
        field = ScoreField(base, decoder, decoder.parameters(coefs, intercepts), metric)
        return field if self.energy is None else field.averaged(self.energy)

    def sampling_target(self, device, dtype, temperature=1.0):
        """The target of chains that draw from this density; its network in float32."""
        # Whatever noise the network was trained with, local moves follow the components of q.
        field = self._replace(noise_covariance="local").field(device)
        return FieldTarget(field, self.transform, self.log_z, dtype, temperature)

    def parts(self):
        """Every array and scalar that it is made of."""
        scalars = self[Fitted._fields.index("decoder") : Fitted._fields.index("energy")]
        arrays = *self.transform.parts(), *self.base, *self.coefs, *self.intercepts
        energy = [] if self.energy is None else self.energy.parts()
        return [*arrays, *scalars, *energy]


def fitted_of(model):
    """The `Fitted` of an estimator's attributes."""
    options = {name: value for name, value in model._fitted_as.items() if name != "dtype"}
    affine = AffineMap(model.location_, model.whitening_, model._unwhitening, model._log_det)
    transform = affine if model.margins_ is None else Chain(Margins(**model.margins_), affine)
    n_others = int(model.base_levels_.sum())
    return Fitted(
        transform=Beside(transform, n_others) if n_others else transform,
        base=tuple(getattr(model, name) for name in BASE_ATTRIBUTES),
        coefs=model.coefs_,
        intercepts=model.intercepts_,
        noise_level=model.noise_level_,
        log_z=model.log_normalizer_,
        energy=model.radial_units_ and RadialEnergy(**model.radial_units_),
        **options,
    )


def attributes_of(fitted):
    """The attributes of an estimator, by name, that `fitted_of` reads; `_fitted_as` lacks dtype."""
    margins, affine = None, numeric_map(fitted.transform)
    if isinstance(affine, Chain):
        margins = dict(zip(ARRAYS, affine.margins.parts(), strict=True))
        affine = affine.affine
    location, whitening, unwhitening, log_det = affine.parts()
    return {
        **dict(zip(BASE_ATTRIBUTES, fitted.base, strict=True)),
        "margins_": margins,
        "location_": location,
        "whitening_": whitening,
        "_unwhitening": unwhitening,
        "_log_det": log_det,
        "coefs_": fitted.coefs,
        "intercepts_": fitted.intercepts,
        "noise_level_": fitted.noise_level,
        "radial_units_": fitted.energy and fitted.energy._asdict(),
        "_fitted_as": {name: getattr(fitted, name) for name in FITTED_OPTIONS},
    }


def log_z_attributes(repeats):
    """The attributes that tell of log Z, by its repeats (n,)."""
    error = float(repeats.std(ddof=1) / np.sqrt(len(repeats)))
    return {
        "log_normalizer_": float(repeats.mean()),
        "log_normalizer_repeats_": repeats,
        "log_normalizer_stderr_": error,
    }


# By estimator, outside of its own attributes: what is built is neither pickled nor compared.
_BUILT = weakref.WeakKeyDictionary()


def evaluator_of(owner, fitted, device, dtype):
    """The `Evaluator` of what is fitted to `owner`, built once for each device and dtype."""
    parts = fitted.parts()
    before, evaluators = _BUILT.get(owner, ([], {}))
    if not _are_same(parts, before):
        evaluators = {}
        _BUILT[owner] = parts, evaluators
    key = device, np.dtype(dtype).name
    if key not in evaluators:
        evaluators[key] = Evaluator(fitted, device, dtype)
    return evaluators[key]


def _are_same(parts, others):
    """Whether these are the same arrays, not just equal ones, and equal scalars."""
    return len(parts) == len(others) and all(
        a is b or (not isinstance(a, np.ndarray) and a == b)
        for a, b in zip(parts, others, strict=True)
    )


class Evaluator:
    """Everything that can be asked of a `Fitted` density, for rows X of one dtype.

    Parameters
    ----------
    fitted : Fitted
    device : {"cpu", "cuda"}
    dtype : numpy dtype of X and of the answers, float32 or float64
    """

    def __init__(self, fitted, device, dtype):
        self.transform, self.log_z = fitted.transform, fitted.log_z
        self.device, self.dtype = device, np.dtype(dtype)
        network = torch.float32 if self.dtype == np.float32 else torch.float64
        if fitted.bias_correction:
            network = torch.float64
        self.field = fitted.field(device, network)
        self._levels = fitted.noise_level, fitted.contraction_weight
        self._corrects = fitted.bias_correction and self.field.reconstruction_is_learned

    def _map(self, function, X, finish, size=None):
        """finish(rows, function(z)) of each block of rows, at z in working space, joined.

        `function` is from and to tensors, `finish` from and to float64 arrays.
        """
        answer, size = None, size or DERIVATIVE_ROWS[self.device]
        for start in range(0, len(X), size):
            rows = X[start : start + size]
            z = self.transform.forward(rows)
            self.check_distance(z, start)
            values = self._narrow(finish(rows, self._array(function, z)))
            if answer is None:
                answer = np.empty((len(X), *values.shape[1:]), self.dtype)
            answer[start : start + size] = values
        return answer

    def _array(self, function, z):
        """function(z) of an array z as a float64 array."""
        with torch.no_grad():
            return function(torch.from_numpy(z).to(self.device)).double().cpu().numpy()

    def check_distance(self, z, start):
        """Raise ValueError where a row in working space is too far; `start` is the first one."""
        if np.abs(z).max() < MAX_DISTANCE:
            return
        # What is not below the limit includes NaN, from an overflow in the map itself.
        row = np.flatnonzero(~(np.abs(z) < MAX_DISTANCE).all(axis=1))[0]
        raise ValueError(
            f"Got row {start + row} at {np.abs(z[row]).max():.1g} spreads from the data the model"
            f" was fitted to, expected less than {MAX_DISTANCE:g}."
        )

    def _narrow(self, values):
        if self.dtype == np.float32 and np.abs(values).max() > np.finfo(np.float32).max:
            raise ValueError(
                f"Got an answer of {np.abs(values).max():.2g}, which overflows float32, expected X"
                " as float64, or other units."
            )
        return values.astype(self.dtype, copy=False)

    def log_density(self, X):
        """(n,)"""
        return self._density(self.field.log_density, X, self.log_z)

    def base_log_density(self, X, blur=0.0):
        """(n,), of q alone, or of q with noise."""
        base = self.field.base.blurred(blur**2, local=False) if blur else self.field.base
        return self._density(base.log_density, X, 0.0)

    def _density(self, function, X, log_z):
        """A log density of rows from one of z: what the map adds comes with z itself."""
        answer = np.empty(len(X), self.dtype)
        for start in range(0, len(X), BLOCK_ROWS):
            place = slice(start, start + BLOCK_ROWS)
            z, log_det = self.transform.forward_and_log_det(X[place])
            self.check_distance(z, start)
            answer[place] = self._narrow(self._array(function, z) + (log_det - log_z))
        return answer

    def gradient(self, X):
        """(n, d), corrected for its bias where the model was fitted for that.

        And the number of rows whose reconstruction is too flat to be corrected, which get the
        gradient of the density.
        """
        n_kept = 0

        def score(z):
            nonlocal n_kept
            values, kept = self._score(z)
            n_kept += kept
            return values

        return self._map(score, X, self.transform.gradient), n_kept

    def _score(self, z):
        """The score (n, d), and for how many rows it is that of the density in spite of all."""
        if not self._corrects:
            return self.field.evaluate(z)[1], 0
        corrected, singular = corrected_score(self.field, z, *self._levels)
        if singular.any():
            own = self.field.evaluate(z)[1]
            corrected = torch.where(singular[:, None], own, corrected)
        return corrected, int(singular.sum())

    def hessian(self, X):
        """(n, d, d), the derivatives of `gradient`."""

        def finish(rows, values):
            def gradient():
                z = self.transform.forward(rows)
                return self._array(lambda part: self._score(part)[0], z)

            return self.transform.hessian(rows, gradient, values)

        hessian = self._corrected_hessian if self._corrects else self.field.hessian
        return self._map(hessian, X, finish, self._matrix_rows)

    def _corrected_hessian(self, z):
        found = corrected_slopes(self.field, z, *self._levels)
        if found is None:
            return self._corrected_differences(z)
        slopes, singular = found
        if singular.any():
            slopes[singular] = self.field.hessian(z[singular])
        return slopes

    def _corrected_differences(self, z):
        step = HESSIAN_STEP * self.field.tau**0.5
        return jacobian_by_differences(lambda rows: self._score(rows)[0], z, step)

    def reconstruct(self, X):
        """(n, d)"""
        return self._map(self.field.reconstruct, X, lambda rows, r: self.transform.inverse(r))

    def code(self, X):
        """(n, k)"""
        return self._map(self.field.code, X, lambda rows, values: values, BLOCK_ROWS)

    @property
    def code_size(self):
        """k"""
        z = torch.zeros(1, self.field.base.n_features, dtype=torch.float64, device=self.device)
        return self.field.code(z).shape[1]

    def decode(self, codes):
        """(n, d) from codes (n, k)."""
        rows = torch.tensor(codes, dtype=torch.float64, device=self.device)
        with torch.no_grad():
            z = by_blocks(self.field.decode, rows)
        return self._narrow(self.transform.inverse(z.double().numpy(force=True)))

    def local_covariance(self, X):
        """(n, d, d), positive semi-definite."""
        return self._map(
            self.field.local_covariance, X, self.transform.covariance, self._matrix_rows
        )

    def local_moments(self, X):
        """(n, d) and (n, d, d): what `reconstruct` and `local_covariance` answer."""
        return self.reconstruct(X), self.local_covariance(X)

    @property
    def _matrix_rows(self):
        """Rows at a time where each has a matrix (d, d)."""
        return min(DERIVATIVE_ROWS[self.device], n_matrices(self.field.base.n_features))


class FieldTarget(Target):
    """The density of a fitted `ScoreField`, all in torch.

    Parameters
    ----------
    field : ScoreField
    transform : Transform
    log_z : float
    dtype : numpy dtype of the rows that chains draw
    temperature : float
    """

    # f is bounded, and with it the time for which a state can refuse every proposal of q.
    has_gradient, min_local = True, 1

    def __init__(self, field, transform, log_z, dtype, temperature=1.0):
        self.field, self.base, self.transform = field, field.base, transform
        self.log_z, self.dtype, self.beta = log_z, np.dtype(dtype), 1.0 / temperature
        self.is_base, self.factors = field.is_base, field.base.factors
        self.has_categories = bool(field.base.levels)
        # p(x)^(1 / T) is no power of p(z) where the map is curved.
        self._is_bent = self.beta != 1.0 and not transform.is_affine

    @property
    def temperature_limit(self):
        """1 + nu / d: the power 1 / T of Student-t tails has a finite integral below it alone.

        d is the size of the largest block.
        """
        return 1.0 + float(self.base.dofs.min() / self.base.block_axes.sum(0).max())

    def in_units(self, X, log_density):
        """The log density of the untempered p in the units of the data."""
        rows = X.reshape(-1, X.shape[-1])
        log_det = self.transform.log_abs_det(rows).reshape(log_density.shape)
        bent = (1.0 / self.beta - 1.0) * log_det if self._is_bent else 0.0
        return log_density / self.beta + bent + (log_det - self.log_z)

    def __call__(self, z):
        state = State(z, *by_blocks(self._evaluate, z, size=BLOCK_DRAWS))
        if not self._is_bent:
            return state
        log_density = state.log_density + self._bend(z)
        return state._replace(
            log_density=log_density, gradient=state.gradient + self._bend_gradient(z)
        )

    def _evaluate(self, z):
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        if self.is_base:
            log_density = self.beta * log_q.nan_to_num(VANISHED)
            return log_density, self.beta * base_gradient, log_q, responsibilities
        f, gradient = self.field.tilt_and_gradient(z, log_q, base_gradient)
        log_density = self.beta * (log_q + f.double()).nan_to_num(VANISHED)
        return log_density, self.beta * (base_gradient + gradient), log_q, responsibilities

    def _bend(self, z):
        """(1 / T - 1) log |det dz/dx|, (n,)."""
        X = self.transform.inverse(z.numpy(force=True))
        return (self.beta - 1.0) * torch.from_numpy(self.transform.log_abs_det(X)).to(z)

    def _bend_gradient(self, z):
        """Its gradient in z, (n, d)."""
        X = self.transform.inverse(z.numpy(force=True))
        own = self.transform.gradient(X, np.zeros_like(X))
        return (self.beta - 1.0) * torch.from_numpy(self.transform.pull_back(X, own)).to(z)

    def densities(self, z):
        """log p / T and log q, each of shape (n,)."""
        log_q = by_blocks(self.base.log_density, z, size=BLOCK_DRAWS)
        f = 0.0 if self.is_base else by_blocks(self.field.log_tilt, z, log_q, size=NETWORK_ROWS)
        log_density = self.beta * (log_q + f)
        return log_density + self._bend(z) if self._is_bent else log_density, log_q

    def hessian(self, z):
        """Hessian of log p / T, shape (n, d, d)."""
        hessian = self.beta * self.field.hessian(z)
        if self._is_bent:
            bend = jacobian_by_differences(self._bend_gradient, z, BEND_STEP)
            hessian = hessian + 0.5 * (bend + bend.mT)
        return hessian


def normalise(field, generator, n_repeats=4, n_particles=N_PARTICLES):
    """log Z of each repeat, (n_repeats,) NumPy; exactly 0 where f = 0."""
    if field.is_base:
        return np.zeros(n_repeats)
    with torch.no_grad():
        return log_normalizer(field, generator, n_repeats, n_particles).log_z.cpu().numpy()
