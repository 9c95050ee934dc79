"""What the chains run on: densities as targets z -> State, in working space, with a temperature.

A target of temperature T has the log density log p(z) / T up to a constant. A fitted object may
offer one by a method `_sampling_target(temperature)`; any other is asked by its public methods.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from sklearn.utils import check_array

from skrae.mixtures.growth.selection import select_base
from skrae.mixtures.mixture import from_sklearn
from skrae.preprocessing.affine import AffineMap, fit_affine
from skrae.preprocessing.draws import draws_of, takes_seed
from skrae.preprocessing.rows import WeightedRows, plain_array
from skrae.preprocessing.split import split_rows
from skrae.sampling.mcmc.kernels import State
from skrae.sampling.options import advice_on_steps, check_fitted, check_names, n_features_of

# Spreads from the data beyond which no estimator is asked, and the log density of such rows: paths
# that diverge end there, and a density vanishes there.
FAR, VANISHED = 1e12, -1e300
MIXTURE_ATTRIBUTES = "weights_", "means_", "covariances_", "covariance_type"
# A Student-t component for proposals: beyond the mixture's tails the weights p / q stay bounded.
TAIL_WEIGHT, TAIL_DOF = 0.02, 3.0
N_OWN_ROWS = 4000


class Target(ABC):
    """What the sampler may ask of a density.

    Attributes
    ----------
    transform : Transform, from the units of the data to working space
    base : mixture density q in working space, or None: what independence proposals are drawn from
    factors : tensor of shape (K, d, d), or (m, K, d, d), of the components that shape local moves
    beta : float, 1 / T
    dtype : numpy dtype of the rows that chains draw
    is_base : bool, whether p is q itself
    has_gradient : bool
    min_local : int, local moves of 64 where most independence proposals are accepted
    temperature_limit : float, below which p^(1 / T) has a finite integral
    has_categories : bool, whether one-hots stand beside numbers, which no local move changes
    """

    base = factors = None
    beta, dtype, is_base, min_local, temperature_limit = 1.0, np.dtype(np.float64), False, 8, np.inf
    has_categories = False

    @property
    def device(self):
        """Where the chains run."""
        return torch.device("cpu") if self.base is None else self.base.means.device

    @abstractmethod
    def __call__(self, z):
        """The `State` at rows z (n, d)."""

    @abstractmethod
    def densities(self, z):
        """log p / T and log q, each of shape (n,)."""

    def gradient(self, z):
        """grad log p / T, shape (n, d)."""
        return self(z).gradient

    @abstractmethod
    def hessian(self, z):
        """Hessian of log p / T, shape (n, d, d)."""

    def in_units(self, X, log_density):
        """The log density of the untempered p in the units of the data, from that of the target.

        Parameters
        ----------
        X : array of shape (..., d), rows in the units of the data
        log_density : array of shape (...)
        """
        return log_density / self.beta


class PublicTarget(Target):
    """Any fitted object by its public methods `score_samples` and `log_density_gradient`.

    Rows that are not finite, or 1e12 spreads away, have density 0, without a call; +inf counts as
    NaN. A log density of NaN or -inf is never entered.

    Parameters
    ----------
    estimator : fitted object
    transform : AffineMap, from the units of the data to working space
    base : MixtureDensity in working space, or None
    temperature : float
    """

    def __init__(self, estimator, transform, base=None, temperature=1.0):
        self.estimator, self.transform, self.base = estimator, transform, base
        self.factors = None if base is None else base.factors
        self.beta, self._inverse = 1.0 / temperature, torch.as_tensor(transform.inverse_matrix)
        self.has_gradient = hasattr(estimator, "log_density_gradient")
        self._names = getattr(estimator, "feature_names_in_", None)

    def with_base(self, base):
        """The same target with another base density."""
        return PublicTarget(self.estimator, self.transform, base, 1.0 / self.beta)

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
            X = self.transform.inverse(z.numpy(force=True))
            finite = np.isfinite(X).all(axis=1) & (z.abs() < FAR).all(dim=1).numpy(force=True)
            answer = np.full((len(X), *shape), elsewhere)
            if not finite.any():
                return answer
            got = np.asarray(
                getattr(self.estimator, method)(named(X[finite], self._names)), np.float64
            )
        if got.shape != (finite.sum(), *shape):
            raise ValueError(
                f"Got shape {got.shape} from {type(self.estimator).__name__}.{method} for"
                f" {finite.sum()} rows, expected {(int(finite.sum()), *shape)}."
            )
        answer[finite] = got
        return answer


class ConditionalTarget(Target):
    """A target of completed rows, seen in columns of which some are known.

    Its state y has z = y @ matrix, whose Jacobian is left out; its base density and its metric are
    those of what is missing given what is observed.

    Parameters
    ----------
    target : Target
    matrix : tensor of shape (d, d)
    transform : Transform, from the units of the data to y
    base : what independence proposals of the missing entries are drawn from
    factors : tensor of shape (m, K, d, d)
    """

    def __init__(self, target, matrix, transform, base, factors):
        self.target, self.matrix, self.transform = target, matrix, transform
        self.base, self.factors = base, factors
        self.has_gradient, self.is_base = target.has_gradient, target.is_base
        self.beta, self.min_local = target.beta, target.min_local

    @property
    def device(self):
        return self.target.device

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

    def in_units(self, X, log_density):
        """As the target itself."""
        return self.target.in_units(X, log_density)


def public_target(estimator, base_density, temperature, rng, starts=None):
    """The target of any fitted object, with the base density that the option asks for.

    Working space is whitened by the base density, or scaled by the starts where there is none.
    """
    density = base_density
    if isinstance(density, str):
        if density != "auto":
            raise ValueError(
                f"Got base_density={density!r}, expected 'auto', None, rows or a fitted mixture."
            )
        density = _own_base(estimator, rng)
    if density is None:
        return PublicTarget(estimator, _scale_of(starts, estimator), None, temperature)
    if all(hasattr(density, name) for name in MIXTURE_ATTRIBUTES):
        transform, base = _from_mixture(density)
    elif hasattr(density, "fit"):
        check_fitted(density)
        raise TypeError(
            f"Got a {type(density).__name__} as base_density, expected a fitted Gaussian mixture,"
            " or rows to fit one to."
        )
    else:
        check_names(estimator, density)
        transform, base = _from_rows(density, rng)
    n_features = n_features_of(estimator)
    if n_features not in (None, base.n_features):
        raise ValueError(
            f"Got a base_density of {base.n_features} features, expected {n_features}, those of"
            f" {type(estimator).__name__}."
        )
    return PublicTarget(estimator, transform, base, temperature)


def named(X, names):
    """X with the column names that an estimator was fitted with, so that it need not warn."""
    if names is None:
        return X
    try:
        import pandas as pd
    except ImportError:
        return X
    return pd.DataFrame(X, columns=names)


def own_rows(estimator, n, rng):
    """Rows (n, d) of the estimator's own `sample`, or None where it has none."""
    if not hasattr(estimator, "sample"):
        return None
    try:
        return _drawn(estimator, n, int(rng.randint(2**31 - 1)))
    except NotImplementedError:  # as KernelDensity does for some kernels
        return None


def _own_base(estimator, rng):
    """The mixture that the estimator is, or rows of its own `sample`, or None."""
    if all(hasattr(estimator, name) for name in MIXTURE_ATTRIBUTES):
        return estimator
    return own_rows(estimator, N_OWN_ROWS, rng)


def _drawn(estimator, n, seed):
    """Rows of the estimator's own `sample`, whatever its signature."""
    if not takes_seed(estimator):
        raise TypeError(
            f"Got {type(estimator).__name__}.sample without random_state, expected it to take one,"
            " or base_density as rows or a fitted mixture, or base_density=None and an init."
        )
    return draws_of(estimator, n, seed)


def _from_mixture(mixture):
    """The whitening map of a fitted Gaussian mixture, and the mixture there, with a tail."""
    density = from_sklearn(mixture)
    location, covariance = (a.numpy() for a in density.moments())
    lower = np.linalg.cholesky(covariance)
    matrix = np.linalg.inv(lower).T
    transform = AffineMap(location, matrix, lower.T, -np.log(np.diag(lower)).sum())
    base = density.affine(torch.as_tensor(matrix), torch.as_tensor(location))
    zero = torch.zeros_like(base.means[0])
    return transform, base.with_tail(TAIL_WEIGHT, zero, torch.eye(len(zero)).to(zero), TAIL_DOF)


def _from_rows(rows, rng):
    """Map and base fitted to rows, as a fit of the estimator would choose them."""
    X = check_array(
        plain_array(rows), dtype=np.float64, ensure_min_samples=2, input_name="base_density"
    )
    weights = np.ones(len(X))
    transform = fit_affine(X, weights, "whiten").map
    z = transform.forward(X)
    generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
    train, held_out = split_rows(z, 0.1, rng)
    parts = [
        WeightedRows(torch.as_tensor(z[i]), torch.as_tensor(weights[i])) for i in (train, held_out)
    ]
    return transform, select_base(*parts, generator).density


def _scale_of(starts, estimator):
    if starts is None:
        raise ValueError(
            f"Got a {type(estimator).__name__}, which has no base density and no `sample` to start"
            " from, expected init (or X_init) as an array of starts, or base_density as rows or a"
            " fitted mixture." + advice_on_steps(estimator)
        )
    location, spread = starts.mean(axis=0), starts.std(axis=0)
    return AffineMap.diagonal(location, np.where(spread > 0.0, spread, 1.0))
