"""A fitted model in the units of the data: NumPy rows in, NumPy arrays out, in bounded memory."""

import warnings
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.decoders.gradient import make_decoder
from skrae.density.bias_correction import corrected_score, jacobian_by_differences
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.affine import Scaling
from skrae.sampling.mcmc.tempered_smc import log_normalizer
from skrae.sampling.targets import FieldTarget

# Rows at a time: where derivatives are taken on a processor, as many as leave the layers of a
# network, all of which are kept, in its cache.
CHUNK = 4096
DERIVATIVE_CHUNK = {"cpu": 1024, "cuda": 4096}
# Step, in sqrt(tau), of the differences that differentiate a corrected score.
HESSIAN_STEP = 1e-3
# Farther rows, in spreads of the data, overflow the network or a squared distance.
MAX_DISTANCE = {"float32": 1e15, "float64": 1e100}


class Fitted(NamedTuple):
    """All that defines a fitted density, as NumPy arrays and scalars."""

    scaling: Scaling
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
        decoder = make_decoder(self.decoder, self.activation, tau, base)
        metric = NoiseMetric(base, self.noise_covariance)
        return ScoreField(base, decoder, decoder.parameters(coefs, intercepts), metric)


class Evaluator:
    """Everything that can be asked of a `Fitted` density, for rows X of one dtype.

    Parameters
    ----------
    fitted : Fitted
    device : {"cpu", "cuda"}
    dtype : numpy dtype of X and of the answers, float32 or float64
    """

    def __init__(self, fitted, device, dtype):
        self.scaling, self.log_z = fitted.scaling, fitted.log_z
        self.device, self.dtype = device, np.dtype(dtype)
        network = torch.float32 if self.dtype == np.float32 else torch.float64
        if fitted.bias_correction:
            network = torch.float64
        self.field = fitted.field(device, network)
        self._levels = fitted.noise_level, fitted.contraction_weight
        self._corrects = fitted.bias_correction and (
            fitted.decoder != "gradient" or not self.field.is_base
        )

    def _map(self, function, X, finish, size=None):
        """finish(function(z)) of each chunk z of working-space rows, joined.

        `function` is from and to tensors, `finish` from and to float64 arrays.
        """
        answer, size = None, size or DERIVATIVE_CHUNK[self.device]
        for start in range(0, len(X), size):
            z = self.scaling.forward(X[start : start + size])
            self._check_distance(z, start)
            with torch.no_grad():
                values = function(torch.from_numpy(z).to(self.device)).double().cpu().numpy()
            values = self._narrow(finish(values))
            if answer is None:
                answer = np.empty((len(X), *values.shape[1:]), self.dtype)
            answer[start : start + size] = values
        return answer

    def _check_distance(self, z, start):
        limit = MAX_DISTANCE[self.dtype.name]
        if np.abs(z).max() < limit:
            return
        # What is not below the limit includes NaN, from an overflow in the scaling itself.
        row = np.flatnonzero(~(np.abs(z) < limit).all(axis=1))[0]
        raise ValueError(
            f"Row {start + row} is {np.abs(z[row]).max():.1g} spreads away from the"
            f" data the model was fitted to; expected less than {limit:g} for {self.dtype.name}."
        )

    def _narrow(self, values):
        if self.dtype == np.float32 and np.abs(values).max() > np.finfo(np.float32).max:
            raise ValueError(
                f"The answer overflows float32: it has the value {np.abs(values).max():.2g};"
                " expected X as float64, or other units."
            )
        return values.astype(self.dtype, copy=False)

    def log_density(self, X):
        """(n,)"""
        shift = self.scaling.log_det - self.log_z
        return self._map(self.field.log_density, X, lambda values: values + shift, CHUNK)

    def base_log_density(self, X):
        """(n,), of q alone."""
        shift = self.scaling.log_det
        return self._map(self.field.base.log_density, X, lambda values: values + shift, CHUNK)

    def gradient(self, X):
        """(n, d), corrected for its bias where the model was fitted for that."""
        return self._corrected_gradient(X) if self._corrects else self._gradient(X)

    def _gradient(self, X):
        return self._map(lambda z: self.field.evaluate(z)[1], X, self.scaling.gradient)

    def _corrected_gradient(self, X):
        n_kept = 0

        def score(z):
            nonlocal n_kept
            corrected, kept = self._corrected_score(z)
            n_kept += int(kept.sum())
            return corrected

        values = self._map(score, X, self.scaling.gradient)
        if n_kept:
            warnings.warn(
                f"{n_kept} of {len(X)} rows get the gradient of score_samples: there the"
                " reconstruction is too flat (its Jacobian nearly singular) for its bias to be"
                " corrected. A smaller noise_level or contraction_weight leaves fewer such rows.",
                stacklevel=5,
            )
        return values

    def _corrected_score(self, z):
        """The corrected score (n, d), and which rows have that of the density instead (n,)."""
        corrected, singular = corrected_score(self.field, z, *self._levels)
        if singular.any():
            own = self.field.evaluate(z)[1]
            corrected = torch.where(singular[:, None], own, corrected)
        return corrected, singular

    def hessian(self, X):
        """(n, d, d), the derivatives of `gradient`."""
        hessian = self._corrected_hessian if self._corrects else self.field.hessian
        return self._map(hessian, X, self.scaling.hessian)

    def _corrected_hessian(self, z):
        return jacobian_by_differences(
            lambda z: self._corrected_score(z)[0], z, HESSIAN_STEP * self.field.tau**0.5
        )

    def reconstruct(self, X):
        """(n, d)"""
        return self._map(self.field.reconstruct, X, self.scaling.backward)

    def code(self, X):
        """(n, k)"""
        return self._map(self.field.code, X, lambda values: values, CHUNK)

    def decode(self, codes):
        """(n, d) from codes (n, k)."""
        rows = torch.tensor(codes, dtype=torch.float64, device=self.device)
        with torch.no_grad():
            z = torch.cat([self.field.decode(part) for part in rows.split(CHUNK)])
        return self._narrow(self.scaling.backward(z.double().numpy(force=True)))

    def local_covariance(self, X):
        """(n, d, d), positive semi-definite."""
        return self._map(self.field.local_covariance, X, self.scaling.covariance)


def sampling_target(fitted, device, temperature=1.0):
    """The target of chains that draw from a `Fitted` density; its network in float32."""
    # Whatever noise the network was trained with, local moves follow the components of q.
    field = fitted._replace(noise_covariance="local").field(device)
    offset = fitted.scaling.log_det - fitted.log_z
    return FieldTarget(field, fitted.scaling, offset, temperature)


def normalise(field, generator, n_repeats=4):
    """log Z of each repeat, (n_repeats,) NumPy; exactly 0 where f = 0."""
    if field.is_base:
        return np.zeros(n_repeats)
    with torch.no_grad():
        return log_normalizer(field, generator, n_repeats).log_z.cpu().numpy()
