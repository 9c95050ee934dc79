"""A fitted model in the units of the data: NumPy rows in, NumPy arrays out, in bounded memory."""

import weakref
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.registry import make_decoder
from skrae.density.bias_correction import corrected_score, jacobian_by_differences
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import BLOCK_DRAWS, BLOCK_ROWS, NETWORK_ROWS, by_blocks
from skrae.preprocessing.transform import Transform
from skrae.sampling.mcmc.kernels import State
from skrae.sampling.mcmc.tempered_smc import log_normalizer
from skrae.sampling.targets import VANISHED, Target

# Rows at a time where derivatives are taken: on a processor, as many as leave the layers of a
# network, all of which are kept, in its cache.
DERIVATIVE_ROWS = {"cpu": NETWORK_ROWS, "cuda": BLOCK_ROWS}
# Step, in sqrt(tau), of the differences that differentiate a corrected score.
HESSIAN_STEP = 1e-3
# Farther rows, in spreads of the data, overflow the network or a squared distance.
MAX_DISTANCE = {"float32": 1e15, "float64": 1e100}


class Fitted(NamedTuple):
    """All that defines a fitted density, as NumPy arrays and scalars."""

    transform: Transform
    base: tuple  # weights (K,), means (K, d), factors (K, d, d), dofs (K,)
    coefs: list
    intercepts: list
    decoder: str
    activation: str
    noise_covariance: str
    noise_level: float
    contraction_weight: float
    bias_correction: bool
    log_z: float

    def field(self, device, dtype=torch.float32):
        """The score field in working space, its network in `dtype`."""
        base = MixtureDensity(*self.base, device=device)
        coefs, intercepts = (
            [torch.tensor(a, dtype=dtype, device=device) for a in arrays]
            for arrays in (self.coefs, self.intercepts)
        )
        tau = self.noise_level**2 + self.contraction_weight
        decoder = make_decoder(self.decoder, self.activation, tau, base.mean)
        metric = NoiseMetric(base, self.noise_covariance)
        return ScoreField(base, decoder, decoder.parameters(coefs, intercepts), metric)

    def sampling_target(self, device, dtype, temperature=1.0):
        """The target of chains that draw from this density; its network in float32."""
        # Whatever noise the network was trained with, local moves follow the components of q.
        field = self._replace(noise_covariance="local").field(device)
        return FieldTarget(field, self.transform, self.log_z, dtype, temperature)

    def parts(self):
        """Every array and scalar that it is made of."""
        scalars = self[Fitted._fields.index("decoder") :]
        arrays = *vars(self.transform).values(), *self.base, *self.coefs, *self.intercepts
        return [*arrays, *scalars]


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
        """finish(z, function(z)) of each block z of working-space rows, joined.

        `function` is from and to tensors, `finish` from and to float64 arrays.
        """
        answer, size = None, size or DERIVATIVE_ROWS[self.device]
        for start in range(0, len(X), size):
            z = self.transform.forward(X[start : start + size])
            self._check_distance(z, start)
            values = self._narrow(finish(z, self._array(function, z)))
            if answer is None:
                answer = np.empty((len(X), *values.shape[1:]), self.dtype)
            answer[start : start + size] = values
        return answer

    def _array(self, function, z):
        """function(z) of an array z as a float64 array."""
        with torch.no_grad():
            return function(torch.from_numpy(z).to(self.device)).double().cpu().numpy()

    def _check_distance(self, z, start):
        limit = MAX_DISTANCE[self.dtype.name]
        if np.abs(z).max() < limit:
            return
        # What is not below the limit includes NaN, from an overflow in the map itself.
        row = np.flatnonzero(~(np.abs(z) < limit).all(axis=1))[0]
        raise ValueError(
            f"Got row {start + row} at {np.abs(z[row]).max():.1g} spreads from the data the model"
            f" was fitted to, expected less than {limit:g} for {self.dtype.name}."
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

        def finish(z, values):
            return values + (self.transform.log_abs_det(z) - self.log_z)

        return self._map(self.field.log_density, X, finish, BLOCK_ROWS)

    def base_log_density(self, X):
        """(n,), of q alone."""

        def finish(z, values):
            return values + self.transform.log_abs_det(z)

        return self._map(self.field.base.log_density, X, finish, BLOCK_ROWS)

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

        def finish(z, values):
            def gradient():
                return self._array(lambda rows: self._score(rows)[0], z)

            return self.transform.hessian(z, gradient, values)

        hessian = self._corrected_hessian if self._corrects else self.field.hessian
        return self._map(hessian, X, finish)

    def _corrected_hessian(self, z):
        step = HESSIAN_STEP * self.field.tau**0.5
        return jacobian_by_differences(lambda rows: self._score(rows)[0], z, step)

    def reconstruct(self, X):
        """(n, d)"""
        return self._map(self.field.reconstruct, X, lambda z, r: self.transform.inverse(r))

    def code(self, X):
        """(n, k)"""
        return self._map(self.field.code, X, lambda z, values: values, BLOCK_ROWS)

    def decode(self, codes):
        """(n, d) from codes (n, k)."""
        rows = torch.tensor(codes, dtype=torch.float64, device=self.device)
        with torch.no_grad():
            z = by_blocks(self.field.decode, rows)
        return self._narrow(self.transform.inverse(z.double().numpy(force=True)))

    def local_covariance(self, X):
        """(n, d, d), positive semi-definite."""
        return self._map(self.field.local_covariance, X, self.transform.covariance)


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

    @property
    def temperature_limit(self):
        """1 + nu / d: the power 1 / T of Student-t tails has a finite integral below it alone."""
        return 1.0 + float(self.base.dofs.min()) / self.base.n_features

    def in_units(self, z, log_density):
        """The log density of the untempered p in the units of the data."""
        shift = self.transform.log_abs_det(z.reshape(-1, z.shape[-1])) - self.log_z
        return log_density / self.beta + shift.reshape(log_density.shape)

    def __call__(self, z):
        return State(z, *by_blocks(self._evaluate, z, size=BLOCK_DRAWS))

    def _evaluate(self, z):
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        if self.is_base:
            log_density = self.beta * log_q.nan_to_num(VANISHED)
            return log_density, self.beta * base_gradient, log_q, responsibilities
        f, gradient = self.field.tilt_and_gradient(z, log_q, base_gradient)
        log_density = self.beta * (log_q + f.double()).nan_to_num(VANISHED)
        return log_density, self.beta * (base_gradient + gradient), log_q, responsibilities

    def densities(self, z):
        """log p / T and log q, each of shape (n,)."""
        log_q = by_blocks(self.base.log_density, z, size=BLOCK_DRAWS)
        if self.is_base:
            return self.beta * log_q, log_q
        f = by_blocks(self.field.log_tilt, z, log_q, size=NETWORK_ROWS)
        return self.beta * (log_q + f), log_q

    def hessian(self, z):
        """Hessian of log p / T, shape (n, d, d)."""
        return self.beta * self.field.hessian(z)


def normalise(field, generator, n_repeats=4):
    """log Z of each repeat, (n_repeats,) NumPy; exactly 0 where f = 0."""
    if field.is_base:
        return np.zeros(n_repeats)
    with torch.no_grad():
        return log_normalizer(field, generator, n_repeats).log_z.cpu().numpy()
