"""What the chains run on: densities as targets z -> State, in working space, with a temperature.

A target of temperature T has the log density log p(z) / T. All have the methods

    target(z) -> State        density, gradient, log q and responsibilities
    target.densities(z)       log density (n,) and log q (n,) alone
    target.gradient(z)        (n, d)
    target.hessian(z)         (n, d, d)

and the attributes `scaling`, from working space to the units of the data, and `offset`:
T * log density + offset is the log density of the untempered p in those units.
"""

import numpy as np
import torch

from skrae.sampling.mcmc.kernels import State

CHUNK = 8192
# Rows at a time of which the network's layers stay in the cache.
NETWORK_CHUNK = 1024
# Spreads from the data beyond which no estimator is asked, and the log density of such rows: paths
# that diverge end there, and a density vanishes there.
FAR, VANISHED = 1e12, -1e300


class FieldTarget:
    """The density of a fitted `ScoreField`, all in torch.

    Parameters
    ----------
    field : ScoreField
    scaling : Scaling
    offset : float, log |det dz/dx| - log Z
    temperature : float
    """

    # f is bounded, and with it the time for which a state can refuse to be left by jumps.
    has_gradient, min_local = True, 1

    def __init__(self, field, scaling, offset, temperature=1.0):
        self.field, self.base, self.scaling = field, field.base, scaling
        self.offset, self.beta = offset, 1.0 / temperature
        self.is_base = field.is_base

    @property
    def factors(self):
        """The factors (K, d, d) of the components that shape local moves."""
        return self.base.factors

    def __call__(self, z):
        parts = [self._evaluate(rows) for rows in z.split(CHUNK)]
        return State(z, *(torch.cat(values) for values in zip(*parts, strict=True)))

    def _evaluate(self, z):
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        if self.is_base:
            log_density = self.beta * log_q.nan_to_num(VANISHED)
            return log_density, self.beta * base_gradient, log_q, responsibilities
        f, gradient = self.field.terms(z, log_q, base_gradient)
        log_density = self.beta * (log_q + f.double()).nan_to_num(VANISHED)
        return log_density, self.beta * (base_gradient + gradient), log_q, responsibilities

    def densities(self, z):
        """log p / T and log q, each of shape (n,)."""
        log_q = torch.cat([self.base.log_density(rows) for rows in z.split(CHUNK)])
        if self.is_base:
            return self.beta * log_q, log_q
        parts = zip(z.split(NETWORK_CHUNK), log_q.split(NETWORK_CHUNK), strict=True)
        f = torch.cat([self.field.log_ratio(*rows) for rows in parts])
        return self.beta * (log_q + f), log_q

    def gradient(self, z):
        """grad log p / T, shape (n, d)."""
        return self(z).gradient

    def hessian(self, z):
        """Hessian of log p / T, shape (n, d, d)."""
        return self.beta * self.field.hessian(z)


class PublicTarget:
    """Any fitted object by its public methods `score_samples` and `log_density_gradient`.

    Rows that are not finite, or 1e12 spreads away, have density 0, without a call; +inf counts as
    NaN. A log density of NaN or -inf is never entered.

    Parameters
    ----------
    estimator : fitted object
    scaling : Scaling, from the units of the data to working space
    base : MixtureDensity in working space, or None
    temperature : float
    """

    offset, is_base, min_local = 0.0, False, 8

    def __init__(self, estimator, scaling, base=None, temperature=1.0):
        self.estimator, self.scaling, self.base = estimator, scaling, base
        self.beta, self._inverse = 1.0 / temperature, torch.as_tensor(scaling.inverse)
        self.has_gradient = hasattr(estimator, "log_density_gradient")
        self._names = getattr(estimator, "feature_names_in_", None)

    @property
    def factors(self):
        """The factors (K, d, d) of the components of q."""
        return self.base.factors

    def with_base(self, base):
        """The same target with another base density."""
        return PublicTarget(self.estimator, self.scaling, base, 1.0 / self.beta)

    def __call__(self, z):
        log_q, responsibilities = self._base_terms(z)
        gradient = self.gradient(z) if self.has_gradient else z[:, :0]
        return State(z, self._log_density(z), gradient, log_q, responsibilities)

    def _base_terms(self, z):
        if self.base is None:
            return torch.zeros_like(z[:, 0]), torch.ones_like(z[:, :1])
        log_q, _, responsibilities = self.base.evaluate(z)
        return log_q, responsibilities

    def densities(self, z):
        """log p / T and log q, each of shape (n,)."""
        return self._log_density(z), self.base.log_density(z)

    def _log_density(self, z):
        values = torch.as_tensor(self._ask("score_samples", z, (), VANISHED))
        return self.beta * torch.where(torch.isposinf(values), torch.nan, values)

    def gradient(self, z):
        """grad log p / T, shape (n, d)."""
        values = torch.as_tensor(self._ask("log_density_gradient", z, (z.shape[1],)))
        return self.beta * values @ self._inverse.T

    def hessian(self, z):
        """Hessian of log p / T, shape (n, d, d)."""
        values = torch.as_tensor(self._ask("log_density_hessian", z, (z.shape[1], z.shape[1])))
        return self.beta * self._inverse @ values @ self._inverse.T

    def _ask(self, method, z, shape, elsewhere=np.nan):
        """The method's answer for rows z, float64 (n, *shape); `elsewhere` for rows too far."""
        # Leapfrog steps that diverge overflow, here or in the estimator; their rows are rejected.
        with np.errstate(all="ignore"):
            X = self.scaling.backward(z.numpy(force=True))
            finite = np.isfinite(X).all(axis=1) & (z.abs() < FAR).all(dim=1).numpy(force=True)
            answer = np.full((len(X), *shape), elsewhere)
            if not finite.any():
                return answer
            got = np.asarray(getattr(self.estimator, method)(self._named(X[finite])), np.float64)
        if got.shape != (finite.sum(), *shape):
            raise ValueError(
                f"{type(self.estimator).__name__}.{method} gave shape {got.shape} for"
                f" {finite.sum()} rows; expected {(int(finite.sum()), *shape)}."
            )
        answer[finite] = got
        return answer

    def _named(self, X):
        """X with the column names that the estimator was fitted with, so that it need not warn."""
        if self._names is None:
            return X
        try:
            import pandas as pd
        except ImportError:
            return X
        return pd.DataFrame(X, columns=self._names)


class AffineTarget:
    """A target seen in coordinates y with z = y @ matrix; the Jacobian is left out.

    Parameters
    ----------
    target : target
    matrix : tensor of shape (d, d)
    scaling : Scaling, from the units of the data to y
    """

    def __init__(self, target, matrix, scaling):
        self.target, self.matrix, self.scaling = target, matrix, scaling
        self.has_gradient, self.is_base = target.has_gradient, target.is_base
        self.offset, self.beta, self.min_local = target.offset, target.beta, target.min_local

    def __call__(self, y):
        state = self.target(y @ self.matrix)
        return state._replace(position=y, gradient=self._back(state.gradient))

    def _back(self, gradient):
        return gradient @ self.matrix.T if self.has_gradient else gradient

    def densities(self, y):
        """log p / T and log q, each of shape (n,)."""
        return self.target.densities(y @ self.matrix)

    def gradient(self, y):
        """(n, d)"""
        return self._back(self.target.gradient(y @ self.matrix))

    def hessian(self, y):
        """(n, d, d)"""
        return self.matrix @ self.target.hessian(y @ self.matrix) @ self.matrix.T
