"""From a fitted object to what the chains run on: a target, and a base density to jump from."""

import copy
import inspect

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skrae.density.device import available_device
from skrae.density.fitted import sampling_target
from skrae.density.queries import DensityQueries
from skrae.mixtures.mixture import MixtureDensity
from skrae.mixtures.selection import select_base
from skrae.preprocessing.affine import Scaling, fit_scaling
from skrae.preprocessing.split import split_rows
from skrae.sampling.targets import PublicTarget

MIXTURE_ATTRIBUTES = "weights_", "means_", "covariances_", "covariance_type"
# A Student-t component for proposals: beyond the mixture's tails the weights p / q stay bounded.
TAIL_WEIGHT, TAIL_DOF = 0.02, 3.0
N_OWN_ROWS = 4000


def check_source(estimator):
    """Raise where an object is unfitted or cannot tell a log density."""
    if hasattr(estimator, "fit"):
        check_is_fitted(estimator)
    if not hasattr(estimator, "score_samples"):
        raise TypeError(
            f"{type(estimator).__name__} has no method score_samples; expected a fitted object that"
            " gives the log density of rows."
        )


def check_names(estimator, X):
    """Raise scikit-learn's error where X has columns of other names than those of the fit."""
    named = hasattr(X, "columns") and hasattr(estimator, "feature_names_in_")
    if named and isinstance(estimator, BaseEstimator):
        validate_data(estimator, X, reset=False, skip_check_array=True)


def n_features_of(estimator):
    """Number of columns the estimator was fitted to, or None where it does not say."""
    n = getattr(estimator, "n_features_in_", None)
    return None if n is None else int(n)


def field_target(estimator, temperature):
    """The target of a fitted `RegularizedAutoEncoderScore`."""
    return sampling_target(estimator._fitted(), available_device(estimator.device), temperature)


def has_field(estimator, base_density):
    """Whether chains can stay in torch and jump from the estimator's own base density."""
    own = isinstance(base_density, str) and base_density == "auto"
    return own and isinstance(estimator, DensityQueries)


def public_target(estimator, base_density, temperature, rng, starts=None):
    """The target of any other fitted object, with the base density that the option asks for.

    Working space is whitened by the base density, or scaled by the starts where there is none.
    """
    density = base_density
    if isinstance(density, str):
        if density != "auto":
            raise ValueError(
                f"base_density is {density!r}; expected 'auto', None, rows or a fitted mixture."
            )
        density = _own_base(estimator, rng)
    if density is None:
        return PublicTarget(estimator, _scaling_of(starts, estimator), None, temperature)
    if all(hasattr(density, name) for name in MIXTURE_ATTRIBUTES):
        scaling, base = _from_mixture(density)
    elif hasattr(density, "fit"):
        check_is_fitted(density)
        raise TypeError(
            f"base_density is a {type(density).__name__}; expected a fitted Gaussian mixture, or"
            " rows to fit one to."
        )
    else:
        check_names(estimator, density)
        scaling, base = _from_rows(density, rng)
    n_features = n_features_of(estimator)
    if n_features not in (None, base.n_features):
        raise ValueError(
            f"base_density has {base.n_features} features; expected {n_features}, those of"
            f" {type(estimator).__name__}."
        )
    return PublicTarget(estimator, scaling, base, temperature)


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
    if "random_state" in inspect.signature(estimator.sample).parameters:
        rows = estimator.sample(n, random_state=seed)
    elif hasattr(estimator, "get_params") and "random_state" in estimator.get_params():
        rows = copy.copy(estimator).set_params(random_state=seed).sample(n)
    else:
        raise TypeError(
            f"{type(estimator).__name__}.sample takes no random_state; expected it to, or"
            " base_density as rows or a fitted mixture, or base_density=None and an init."
        )
    return np.asarray(rows[0] if isinstance(rows, tuple) else rows, np.float64)


def _from_mixture(mixture):
    """Scaling and base of a fitted Gaussian mixture of any covariance type."""
    weights, means = (np.asarray(a, np.float64) for a in (mixture.weights_, mixture.means_))
    covariances = _full_covariances(mixture, *means.shape)
    location = weights @ means
    between = (means - location).T @ (weights[:, None] * (means - location))
    total = np.einsum("k,kij->ij", weights, covariances) + between
    lower = np.linalg.cholesky(total)
    matrix = np.linalg.inv(lower).T
    scaling = Scaling(location, matrix, lower.T, -np.log(np.diag(lower)).sum())
    factors = np.linalg.cholesky(matrix.T @ covariances @ matrix)
    d = means.shape[1]
    base = MixtureDensity(
        np.append((1.0 - TAIL_WEIGHT) * weights, TAIL_WEIGHT),
        np.vstack([scaling.forward(means), np.zeros(d)]),
        np.concatenate([factors, np.eye(d)[None]]),
        np.append(np.full(len(weights), np.inf), TAIL_DOF),
    )
    return scaling, base


def _full_covariances(mixture, n_components, d):
    """(K, d, d) whatever the covariance type."""
    c = np.asarray(mixture.covariances_, np.float64)
    if mixture.covariance_type == "full":
        return c
    if mixture.covariance_type == "tied":
        return np.broadcast_to(c, (n_components, d, d))
    diagonals = c if mixture.covariance_type == "diag" else np.repeat(c[:, None], d, axis=1)
    return diagonals[:, :, None] * np.eye(d)


def _from_rows(rows, rng):
    """Scaling and base fitted to rows, as a fit of the estimator would choose them."""
    X = check_array(rows, dtype=np.float64, ensure_min_samples=2, input_name="base_density")
    weights = np.ones(len(X))
    scaling = fit_scaling(X, weights, "whiten")
    z = scaling.forward(X)
    generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
    train, held_out = split_rows(z, 0.1, rng)
    parts = [(torch.as_tensor(z[i]), torch.as_tensor(weights[i])) for i in (train, held_out)]
    return scaling, select_base(*parts, generator)


def _scaling_of(starts, estimator):
    if starts is None:
        raise ValueError(
            f"{type(estimator).__name__} has no base density and no `sample` to start from;"
            " expected init (or X_init) as an array of starts, or base_density as rows or a fitted"
            " mixture."
        )
    location, spread = starts.mean(axis=0), starts.std(axis=0)
    spread = np.where(spread > 0.0, spread, 1.0)
    return Scaling(location, np.diag(1.0 / spread), np.diag(spread), -np.log(spread).sum())
