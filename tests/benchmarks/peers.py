"""Density estimators the project is compared with, each tuned on the validation rows.

Every peer works on scaled rows z = (x - m) A, so log p_x(x) = log p_z(z) + log|det A| and
grad_x = grad_z A^T. Both scalings (standardised, whitened) are tried and the one with the higher
validation likelihood is kept.
"""

import copy
import warnings
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from tests.benchmarks.peer_flows import tune_affine_flow, tune_spline_flow
from tests.benchmarks.records import Seconds, timed

COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
FIRST_RIDGE = 1e-4
WIDE_BANDWIDTHS = tuple(np.geomspace(0.01, 3.0, 15))
NARROW_FACTORS = tuple(np.geomspace(0.7, 1.4, 9))
BLOCK_ROWS = 1000


@dataclass(frozen=True)
class Scaling:
    """The map z = (x - mean) matrix, with log|det matrix|."""

    name: str
    mean: np.ndarray
    matrix: np.ndarray

    @property
    def log_determinant(self):
        return np.linalg.slogdet(self.matrix)[1]

    def forward(self, X):
        return (np.asarray(X, dtype=float) - self.mean) @ self.matrix

    def inverse(self, Z):
        return np.linalg.solve(self.matrix.T, Z.T).T + self.mean


def standardising(X):
    """Scaling of each column to mean 0 and variance 1."""
    return Scaling("standardise", X.mean(0), np.diag(1 / X.std(0)))


def whitening(X):
    """Scaling to covariance I, along the principal axes."""
    variances, axes = np.linalg.eigh(np.cov(X.T, bias=True).reshape(X.shape[1], -1))
    return Scaling("whiten", X.mean(0), axes / np.sqrt(variances))


@dataclass(frozen=True)
class Candidate:
    """A peer's density on one scaling, its settings and the likelihood that judges them.

    ``seconds`` is what the search on this scaling took; for a flow, one training to its early stop.
    """

    scaling: Scaling
    density: object
    settings: dict
    validation: float
    seconds: Seconds


@dataclass(frozen=True)
class FittedPeer:
    """A tuned peer, in the units of the rows it was given.

    Attributes
    ----------
    name : str
    settings : dict
        What was kept: scaling, hyperparameters, validation likelihood.
    fit_seconds : Seconds
        The one fit that gave the kept model: for a flow, its training to the early stop on the kept
        scaling; for ``kde`` and ``gmm``, the last fit on training and validation rows.
    search_seconds : Seconds
        Everything: both scalings, every setting tried, the last fit.
    """

    name: str
    scaling: Scaling
    density: object
    settings: dict
    fit_seconds: Seconds
    search_seconds: Seconds

    def score_samples(self, X):
        """Log density, shape (n,), in nats and in the units of ``X``."""
        return self.density.log_density(self.scaling.forward(X)) + self.scaling.log_determinant

    def log_density_gradient(self, X):
        """Gradient of the log density in ``x``, shape (n, d)."""
        return self.density.gradient(self.scaling.forward(X)) @ self.scaling.matrix.T

    def sample(self, n, rng):
        """``n`` rows drawn by the numpy Generator ``rng``."""
        return self.scaling.inverse(self.density.draw(n, rng))


def fit_peer(name, train, validation, seed):
    """Tune and fit the peer ``name``: one of ``kde``, ``gmm``, ``flow``, ``maf``.

    Parameters
    ----------
    name : str
    train, validation : ndarray of shape (n, d) and (m, d)
        ``kde`` and ``gmm`` are fitted once more on both after tuning; the flows use the validation
        rows for their early stop and see no more of them.
    seed : int

    Returns
    -------
    FittedPeer

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> peer = fit_peer("gmm", X[:200], X[200:], seed=0)
    >>> peer.settings["n_components"], peer.score_samples(X).shape
    (1, (300,))
    """
    if name not in _TUNERS:
        raise ValueError(f"peer {name!r} is unknown; expected one of {sorted(_TUNERS)}.")
    (kept, density, fit_seconds), search_seconds = timed(_search, name, train, validation, seed)
    settings = {"scaling": kept.scaling.name, **kept.settings, "validation": kept.validation}
    return FittedPeer(name, kept.scaling, density, settings, fit_seconds, search_seconds)


def _search(name, train, validation, seed):
    """The better candidate of the two scalings, its final density and that fit's seconds."""
    scalings = standardising(train), whitening(train)
    candidates = [_candidate(name, scaling, train, validation, seed) for scaling in scalings]
    kept = max(candidates, key=lambda candidate: candidate.validation)
    if name not in _REFITS:
        return kept, kept.density, kept.seconds
    rows = kept.scaling.forward(np.vstack([train, validation]))
    return kept, *timed(_REFITS[name], rows, kept.settings, seed)


def _candidate(name, scaling, train, validation, seed):
    rows, held_out = scaling.forward(train), scaling.forward(validation)
    (density, settings), seconds = timed(_TUNERS[name], rows, held_out, seed)
    value = density.log_density(held_out).mean() + scaling.log_determinant
    return Candidate(scaling, density, settings, float(value), seconds)


# --- kernel density -------------------------------------------------------------------------------


class KernelPeer:
    """Gaussian kernel density: p(z) = mean_i N(z; z_i, h^2 I).

    Summed over all kernels, as scikit-learn's tree (``model``, 1.9) loses the tails: its density of
    far rows is too large by up to hundreds of nats, and no longer integrates to one.
    """

    def __init__(self, rows, bandwidth):
        self.rows, self.bandwidth = rows, bandwidth
        self.model = KernelDensity(bandwidth=bandwidth).fit(rows)

    def log_density(self, Z):
        n, d = self.rows.shape
        constant = np.log(n) + 0.5 * d * np.log(2.0 * np.pi * self.bandwidth**2)
        sums = [logsumexp(self._exponent(block), axis=1) for block in _blocks(Z)]
        return np.concatenate(sums) - 0.5 * (Z**2).sum(1) / self.bandwidth**2 - constant

    def gradient(self, Z):
        """(sum_i w_i z_i - z) / h^2, w the posterior weights of the kernels."""
        means = [softmax(self._exponent(block), axis=1) @ self.rows for block in _blocks(Z)]
        return (np.vstack(means) - Z) / self.bandwidth**2

    def _exponent(self, Z):
        """(z.z_i - |z_i|^2 / 2) / h^2, (n, n_kernels); -|z|^2 / 2 h^2 is the same for all."""
        return (Z @ self.rows.T - 0.5 * (self.rows**2).sum(1)) / self.bandwidth**2

    def draw(self, n, rng):
        centres = self.rows[rng.integers(len(self.rows), size=n)]
        return centres + self.bandwidth * rng.standard_normal(centres.shape)


def _blocks(Z):
    return np.array_split(Z, max(1, len(Z) // BLOCK_ROWS))


def _tune_kde(rows, held_out, seed):
    """Best bandwidth of a wide grid, then of a narrow one around it; nothing here is random."""

    def best(bandwidths):
        peers = [KernelPeer(rows, float(bandwidth)) for bandwidth in bandwidths]
        return max(peers, key=lambda peer: peer.log_density(held_out).mean())

    coarse = best(WIDE_BANDWIDTHS).bandwidth
    density = best(coarse * factor for factor in NARROW_FACTORS)
    return density, {"bandwidth": density.bandwidth}


def _refit_kde(rows, settings, seed):
    return KernelPeer(rows, settings["bandwidth"])


# --- Gaussian mixture -----------------------------------------------------------------------------


class MixturePeer:
    """Mixture of full Gaussians by EM: p(z) = sum_k w_k N(z; m_k, C_k + ridge I)."""

    def __init__(self, rows, n_components, ridge, seed):
        model = GaussianMixture(n_components, reg_covar=ridge, max_iter=300, random_state=seed)
        with warnings.catch_warnings():
            # A size whose EM has not settled in 300 steps is judged by its likelihood all the same.
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.model = model.fit(rows)

    def log_density(self, Z):
        return self.model.score_samples(Z)

    def gradient(self, Z):
        """sum_k r_k(z) C_k^-1 (m_k - z), r the responsibilities."""
        terms = zip(
            self.model.predict_proba(Z).T, self.model.means_, self.model.precisions_, strict=True
        )
        pulls = [share[:, None] * ((mean - Z) @ precision) for share, mean, precision in terms]
        return np.sum(pulls, axis=0)

    def draw(self, n, rng):
        seeded = copy.copy(self.model).set_params(random_state=int(rng.integers(2**31)))
        return rng.permutation(seeded.sample(n)[0])


class _MixtureGrid:
    """The grid of sizes and ridges, each cell fitted once, when first asked for."""

    def __init__(self, rows, held_out, seed):
        self.rows, self.held_out, self.seed = rows, held_out, seed
        self.fitted = {}

    def density(self, cell):
        if cell not in self.fitted:
            n_components, ridge = cell
            self.fitted[cell] = MixturePeer(self.rows, n_components, ridge, self.seed)
        return self.fitted[cell]

    def value(self, cell):
        if cell[0] > len(self.rows):
            return -np.inf
        return self.density(cell).log_density(self.held_out).mean()


def _ladder_start(grid):
    """Best size at the first ridge, going up until two sizes in a row have been worse."""
    best, worse = (COMPONENTS[0], FIRST_RIDGE), 0
    for n_components in COMPONENTS[1:]:
        cell = (n_components, FIRST_RIDGE)
        best, worse = (cell, 0) if grid.value(cell) > grid.value(best) else (best, worse + 1)
        if worse == 2:
            break
    return best


def _neighbours(values, value):
    place = values.index(value)
    return values[max(0, place - 1) : place + 2]


def _tune_gmm(rows, held_out, seed):
    """Climb the grid of sizes and ridges: all ridges at one size, then the sizes beside it."""
    grid = _MixtureGrid(rows, held_out, seed)
    best, previous = _ladder_start(grid), None
    while best != previous:
        previous = best
        best = max(((best[0], ridge) for ridge in RIDGES), key=grid.value)
        best = max(((size, best[1]) for size in _neighbours(COMPONENTS, best[0])), key=grid.value)
    settings = {"n_components": best[0], "ridge": best[1], "fits": len(grid.fitted)}
    return grid.density(best), settings


def _refit_gmm(rows, settings, seed):
    return MixturePeer(rows, settings["n_components"], settings["ridge"], seed)


_TUNERS = {"kde": _tune_kde, "gmm": _tune_gmm, "flow": tune_spline_flow, "maf": tune_affine_flow}
_REFITS = {"kde": _refit_kde, "gmm": _refit_gmm}
PEERS = tuple(_TUNERS)
