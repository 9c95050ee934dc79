"""Mass of a density by importance sampling: does it integrate to one, whatever it says of itself?

    mass = integral p(x) dx = E_g[p(x) / g(x)],  stderr = sd(p / g) / sqrt(n)

The proposal g is a mixture of Student distributions, so that its density and its draws are exact
and owe nothing to the model's own normaliser. Its components stand where the model's do: at the
kernels, the components of a mixture, skrae's base density; for a flow, which has none, at those of
a Gaussian mixture fitted to its draws. All are wider than the model's own, and a share of the draws
comes from one very wide component. (Owen & Zhou 2000, "Safe and effective importance sampling".)
Where skrae maps its columns, g is such a mixture in its working space; the Jacobian of the map,
which p and g then share, is checked by tests, and the mass of p on the line by quadrature.

Drawing from the model itself would be better spread and blind: p / g with g containing p, drawn
from p / mass, gives 1 whatever the mass is.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.linalg import cholesky
from scipy.special import gammaln, logsumexp
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from tests.benchmarks.peers import FittedPeer

N_DRAWS = 20_000
INFLATION = 1.1
DOF = 8.0
WIDE_DOF, WIDE_SCALE, WIDE_SHARE = 3.0, 2.0, 0.02
FLOW_DRAWS, FLOW_COMPONENTS, FLOW_STEPS = 20_000, 64, 20
# Below this many effective draws the estimate is noise, and so is its standard error.
FEWEST_EFFECTIVE = 200.0
BLOCK = 2_000


@dataclass(frozen=True)
class StudentMixture:
    """sum_k w_k t_nu(x; m_k, L_k L_k^T), multivariate Student densities.

    Attributes
    ----------
    weights, means, dofs : arrays of shape (K,), (K, d) and (K,)
    factors : array of shape (K, d, d) or (1, d, d)
        Lower Cholesky factors L_k, or one for all.
    """

    weights: np.ndarray
    means: np.ndarray
    factors: np.ndarray
    dofs: np.ndarray

    def sample(self, n, rng):
        """Draws m_k + L_k e sqrt(nu / chi^2_nu), shape (n, d)."""
        k = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, self.means.shape[1], 1))
        scale = np.sqrt(self.dofs[k] / rng.chisquare(self.dofs[k]))
        factors = self.factors if len(self.factors) == 1 else self.factors[k]
        return self.means[k] + scale[:, None] * (factors @ noise)[..., 0]

    def log_density(self, X):
        """log g(x), shape (n,)."""
        return np.concatenate(
            [self._log_density(X[i : i + BLOCK]) for i in range(0, len(X), BLOCK)]
        )

    def _log_density(self, X):
        d, nu = X.shape[1], self.dofs
        constant = gammaln((nu + d) / 2) - gammaln(nu / 2) - d / 2 * np.log(nu * np.pi)
        diagonals = np.diagonal(self.factors, axis1=1, axis2=2)
        constant = constant - np.log(diagonals).sum(axis=1) + np.log(self.weights)
        return logsumexp(constant - (nu + d) / 2 * np.log1p(self._squares(X) / nu), axis=1)

    def _squares(self, X):
        """|L_k^-1 (x - m_k)|^2, shape (n, K)."""
        inverses = np.linalg.inv(self.factors)
        if len(inverses) == 1:
            Z, M = X @ inverses[0].T, self.means @ inverses[0].T
            squares = (Z**2).sum(1)[:, None] - 2.0 * Z @ M.T + (M**2).sum(1)
            return np.maximum(squares, 0.0)
        pairs = zip(inverses, self.means, strict=True)
        return np.stack([(((X - mean) @ A.T) ** 2).sum(1) for A, mean in pairs], axis=1)


# --- where a model's components are ---------------------------------------------------------------


def components(model, rng):
    """Weights, means, Cholesky factors and degrees of freedom of a fitted model's components."""
    if not isinstance(model, FittedPeer):
        return _of_skrae(model)
    density, back = model.density, np.linalg.inv(model.scaling.matrix)
    if model.name == "kde":
        centres = model.scaling.inverse(density.rows)
        weights = np.full(len(centres), 1.0 / len(centres))
        return weights, centres, cholesky(density.bandwidth**2 * back.T @ back)[None], np.inf
    if model.name == "gmm":
        mixture = density.model
        factors = cholesky(back.T @ mixture.covariances_ @ back)
        return mixture.weights_, model.scaling.inverse(mixture.means_), factors, np.inf
    return _of_draws(model.sample(FLOW_DRAWS, rng), rng)


def _of_skrae(model):
    """The base density, from working space z = (t(x) - location) W back to t(x)."""
    back = np.linalg.inv(model.whitening_)
    covariances = model.base_factors_ @ np.swapaxes(model.base_factors_, 1, 2)
    means = model.base_means_ @ back + model.location_
    return model.base_weights_, means, cholesky(back.T @ covariances @ back), model.base_dofs_


def _of_draws(draws, rng):
    """A few EM steps of a mixture: it needs to lie where the draws are, not to fit them best."""
    seed = int(rng.integers(2**31))
    mixture = GaussianMixture(
        FLOW_COMPONENTS, max_iter=FLOW_STEPS, tol=0.0, reg_covar=1e-6, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(draws)
    return mixture.weights_, mixture.means_, cholesky(mixture.covariances_), np.inf


def proposal(model, rows, rng):
    """The wide mixture g around the components of a fitted model; ``rows`` give the wide one."""
    weights, means, factors, dofs = components(model, rng)
    dofs = np.minimum(np.broadcast_to(dofs, weights.shape), DOF)
    inner = StudentMixture(weights / weights.sum(), means, INFLATION * factors, dofs)
    wide = WIDE_SCALE * cholesky(np.cov(rows.T))
    outer = StudentMixture(np.ones(1), rows.mean(0)[None], wide[None], np.full(1, WIDE_DOF))
    return inner, outer


def mass(model, rows, rng, n_draws=N_DRAWS):
    """Mass of a fitted model, its standard error and the effective number of draws.

    Parameters
    ----------
    model : object
        With ``score_samples``: a `FittedPeer` or a fitted estimator of skrae.
    rows : ndarray of shape (n, d)
        The training rows.
    rng : numpy Generator

    Returns
    -------
    dict
        ``mass`` and ``mass_stderr``, None where the effective draws are too few to say, and
        ``mass_ess``, (sum w)^2 / sum w^2.
    """
    margins = margins_of(model)
    parts = proposal(model, rows if margins is None else margins.forward(rows), rng)
    n_wide = round(WIDE_SHARE * n_draws)
    draws = [part.sample(n, rng) for part, n in zip(parts, (n_draws - n_wide, n_wide), strict=True)]
    t = np.concatenate(draws)
    shares = np.log([1.0 - WIDE_SHARE, WIDE_SHARE])
    log_g = np.logaddexp(*(s + g.log_density(t) for s, g in zip(shares, parts, strict=True)))
    X = t if margins is None else margins.inverse(t)
    log_det = 0.0 if margins is None else margins.log_abs_det(X)
    return summary(np.exp(model.score_samples(X) - log_g - log_det))


def margins_of(model):
    """The maps of the columns of a fit of skrae's, None for none."""
    if getattr(model, "margins_", None) is None:
        return None
    from skrae.density.columns.margins import Margins

    return Margins(**model.margins_)


def summary(weights):
    """Mean of p / g, its standard error and effective number; None where it cannot be told.

    >>> summary(np.array([1.0, 1.0]))
    {'mass': None, 'mass_stderr': None, 'mass_ess': 2.0}
    """
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    enough = effective >= FEWEST_EFFECTIVE
    error = float(weights.std(ddof=1) / np.sqrt(len(weights)))
    return {
        "mass": float(weights.mean()) if enough else None,
        "mass_stderr": error if enough else None,
        "mass_ess": effective,
    }
