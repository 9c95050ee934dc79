"""Peers that learn a score and no density: a kernel exponential family and a denoising network.

Both work on scaled rows z = (x - m) A, and both are chosen by the score matching loss of held-out
rows in the units of x (Hyvarinen 2005),

    J(psi) = mean_i [ |psi(x_i)|^2 / 2 + div psi(x_i) ] = E |psi - grad log p|^2 / 2 + constant,

half of what the score benchmark measures. As A^T A is diagonal for both scalings, with entries w_j,
J is sum_j w_j (psi_j^2 / 2 + d psi_j / d z_j) in the scaled coordinates.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.linalg import LinAlgError
from torch import nn

from tests.benchmarks.kernel_family import BASES, FOLDS, KernelFamily, mean_statistics, without
from tests.benchmarks.models import Fit
from tests.benchmarks.peers import Scaling, standardising, whitening
from tests.benchmarks.records import timed

BANDWIDTHS = tuple(np.geomspace(0.1, 6.4, 13))
# In one column narrower kernels follow single rows, and no fold tells.
MIN_BANDWIDTH = {1: 0.4}
PENALTIES = tuple(float(f"1e{k}") for k in range(-9, 2))
ALL_CENTRES, SOME_CENTRES = 1000, 500
NOISE_LEVELS = (0.3, 0.15, 0.07, 0.035)
HIDDEN = (128, 128, 128)
STEPS, BATCH_SIZE, LEARNING_RATE, AVERAGING = 1200, 256, 2e-3, 0.99


@dataclass(frozen=True)
class ScoreModel:
    """A score psi of scaled rows, in the units of the rows: grad_x = grad_z A^T."""

    scaling: Scaling
    score: object

    def log_density_gradient(self, X):
        """Gradient of the log density in ``x``, shape (n, d)."""
        return self.score.gradient(self.scaling.forward(X)) @ self.scaling.matrix.T


def fit_score_peer(name, train, validation, seed):
    """Tune and fit ``kef`` or ``denoiser``.

    Parameters
    ----------
    name : str
    train, validation : ndarray of shape (n, d) and (m, d)
        ``kef`` is fitted once more on both after tuning; the network sees no more of the
        validation rows than what chooses its noise level.
    seed : int

    Returns
    -------
    Fit

    Examples
    --------
    >>> X = np.random.default_rng(0).normal(size=(300, 2))
    >>> fit = fit_score_peer("kef", X[:200], X[200:], seed=0)
    >>> fit.model.log_density_gradient(X).shape
    (300, 2)
    """
    if name not in _TUNERS:
        raise ValueError(f"peer {name!r} is unknown; expected one of {sorted(_TUNERS)}.")
    tune, refit = _TUNERS[name]
    (loss, settings, model), search_seconds = timed(tune, train, validation, seed)
    fit_seconds = search_seconds
    if refit is not None:
        rows = np.vstack([train, validation])
        model, fit_seconds = timed(refit, rows, model.scaling, settings, seed)
    details = {"scaling": model.scaling.name, **settings, "validation": loss}
    return Fit(model, fit_seconds, search_seconds, details)


def unit_weights(scaling):
    """The diagonal w of A^T A, shape (d,): |grad_x|^2 = sum_j w_j (grad_z)_j^2."""
    return (scaling.matrix**2).sum(axis=0)


# --- kernel exponential family --------------------------------------------------------------------


def _family(Z, bandwidth, n_centres, seed):
    centres = Z[np.random.default_rng(seed).permutation(len(Z))[:n_centres]]
    precision = np.linalg.inv(np.atleast_2d(np.cov(Z.T)))
    return KernelFamily(centres, bandwidth, Z.mean(0), precision)


def _tune_kernel(train, validation, seed):
    """(loss, settings, model) of the best scaling, bandwidth, base and penalty."""
    rows = np.vstack([train, validation])
    tried = [
        candidate
        for scaling in (standardising(rows), whitening(rows))
        for candidate in _kernel_candidates(rows, scaling, seed)
    ]
    loss, settings, scaling = min(tried, key=lambda candidate: candidate[0])
    return loss, settings, _refit_kernel(rows, scaling, settings, seed)


def _kernel_candidates(rows, scaling, seed):
    """(loss, settings, scaling) of a grid, by cross-validation: J of a tenth is too noisy."""
    Z, weights = scaling.forward(rows), unit_weights(scaling)
    order = np.random.default_rng(seed).permutation(len(Z))
    folds = [Z[part] for part in np.array_split(order, FOLDS)]
    least = MIN_BANDWIDTH.get(Z.shape[1], 0.0)
    for bandwidth in (h for h in BANDWIDTHS if h >= 0.99 * least):
        family = _family(Z, bandwidth, SOME_CENTRES, seed)
        parts = [family.statistics(fold, weights) for fold in folds]
        whole = mean_statistics(parts)
        for penalty in PENALTIES:
            losses = [_fold_losses(family, whole, part, penalty) for part in parts]
            for base, loss in zip(BASES, np.mean(losses, axis=0), strict=True):
                settings = {"bandwidth": float(bandwidth), "penalty": penalty, "base": base}
                yield loss, settings, scaling


def _fold_losses(family, whole, held_out, penalty):
    """J on a fold, for each base, of the coefficients that all other folds give.

    Where the bandwidth is so small that no kernel reaches another row, the system is singular.
    """
    try:
        alphas = family.solved(without(whole, held_out), penalty)
    except LinAlgError:
        return [np.inf for _ in BASES]
    return [held_out.loss(alphas[base], base) for base in BASES]


def _refit_kernel(rows, scaling, settings, seed):
    Z = scaling.forward(rows)
    n_centres = ALL_CENTRES if len(Z) <= ALL_CENTRES else SOME_CENTRES
    family, base = _family(Z, settings["bandwidth"], n_centres, seed), settings["base"]
    alphas = family.solved(family.statistics(Z, unit_weights(scaling)), settings["penalty"])
    return ScoreModel(scaling, family.with_coefficients(alphas[base], base))


# --- denoising network ----------------------------------------------------------------------------


class DenoisingNetwork:
    """psi(z) by a network of silu units, for rows corrupted with N(0, sigma^2 I)."""

    def __init__(self, n_features):
        sizes = (n_features, *HIDDEN)
        layers = [nn.Sequential(nn.Linear(*pair), nn.SiLU()) for pair in pairwise(sizes)]
        self.network = nn.Sequential(*layers, nn.Linear(HIDDEN[-1], n_features))
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(AVERAGING)
        )

    def gradient(self, Z):
        with torch.no_grad():
            return self.average(_float32(Z)).double().numpy()

    def train(self, rows, sigma, generator):
        """Denoising score matching (Vincent 2011): E |sigma psi(z + sigma eps) + eps|^2."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=LEARNING_RATE)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, STEPS)
        for _ in range(STEPS):
            index = torch.randint(len(rows), (BATCH_SIZE,), generator=generator)
            noise = torch.randn(BATCH_SIZE, rows.shape[1], generator=generator)
            noisy = rows[index] + sigma * noise
            loss = (sigma * self.network(noisy) + noise).square().sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            decay.step()
            self.average.update_parameters(self.network)

    def loss(self, Z, weights):
        """J on clean rows, the divergence exact."""
        rows = _float32(Z).requires_grad_()
        psi = self.average(rows)
        total = 0.5 * psi.detach().double().square().numpy() @ weights
        for j, weight in enumerate(weights):
            (slope,) = torch.autograd.grad(psi[:, j].sum(), rows, retain_graph=True)
            total += weight * slope[:, j].double().numpy()
        return float(total.mean())


def _float32(X):
    return torch.tensor(X, dtype=torch.float32)


def _tune_network(train, validation, seed):
    """(loss, settings, model): the scaling is chosen at the largest noise, then sigma falls.

    Every level starts from the weights of the one before, and the annealing ends where the held-out
    loss has risen twice in a row.
    """
    scalings = standardising(train), whitening(train)
    starts = [_Annealing(scaling, train, validation, seed) for scaling in scalings]
    kept = min(starts, key=lambda annealing: annealing.best[0])
    for sigma in NOISE_LEVELS[1:]:
        if kept.worse == 2:
            break
        kept.level(sigma)
    loss, sigma, weights = kept.best
    kept.network.average.load_state_dict(weights)
    return loss, {"noise_level": sigma}, ScoreModel(kept.scaling, kept.network)


class _Annealing:
    """One network on one scaling, trained at falling noise; ``best`` is (loss, sigma, weights)."""

    def __init__(self, scaling, train, validation, seed):
        self.scaling, self.rows = scaling, _float32(scaling.forward(train))
        self.held_out, self.weights = scaling.forward(validation), unit_weights(scaling)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = DenoisingNetwork(train.shape[1])
        self.generator = torch.Generator().manual_seed(seed)
        self.best, self.worse = (np.inf, None, None), 0
        self.level(NOISE_LEVELS[0])

    def level(self, sigma):
        self.network.train(self.rows, sigma, self.generator)
        loss = self.network.loss(self.held_out, self.weights)
        self.worse += 1
        if loss < self.best[0]:
            state = {k: v.clone() for k, v in self.network.average.state_dict().items()}
            self.best, self.worse = (loss, sigma, state), 0


_TUNERS = {"kef": (_tune_kernel, _refit_kernel), "denoiser": (_tune_network, None)}
SCORE_PEERS = tuple(_TUNERS)
