"""Covariances of many columns: factors that several columns share, and noise of each column's own.

    C = a S + (1 - a) (A A^T + Psi),      A of shape (d, q), Psi diagonal,

S the sample covariance, A and Psi the likeliest by expectation-maximisation (Rubin & Thayer 1982),
q and a chosen on held-out rows. Of d (d + 1) / 2 numbers d (q + 1) are left: what a component of a
wide table can learn from its rows. A mixture of them is one of factor analysers (Ghahramani &
Hinton 1996).
"""

import math
from typing import NamedTuple

import torch

from skrae.mixtures.components import log_volume
from skrae.preprocessing.rows import weighted_mean

# a, and q, each about 1.4 times the one before, up to half the columns or rows; a climb ends after
# so many that held-out rows like less.
SHARES, PATIENCE = (0.0, 0.1, 0.2, 0.4, 0.6), 2
RANKS = (0, 1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 56, 80, 113, 160, 226, 320)
# Steps of expectation-maximisation, and the change of the noise below which they end; steps of the
# subspace iteration that they start from, and how many more axes than factors it takes.
MAX_STEPS, TOLERANCE, POWER_STEPS, MORE_AXES = 8, 1e-3, 3, 5
# Noise that a column has at least, of its variance: what factors explain wholly has no likelihood.
MIN_NOISE = 1e-6
# Variance that a column has at least, of the largest: rounding may leave less than none to one that
# is nearly constant.
MIN_VARIANCE = 1e-14


class FactorShape(NamedTuple):
    """What sample covariances in working space become: called with (K, d, d).

    Parameters
    ----------
    axes : tensor of shape (d, d), rows z @ axes have each column's noise along an axis
    inverse : tensor of shape (d, d)
    rank : int, the number of factors
    share : float, of the sample covariance
    """

    axes: torch.Tensor
    inverse: torch.Tensor
    rank: int = 0
    share: float = 0.0

    @classmethod
    def of_columns(cls, d):
        """Where working space itself has the columns for axes."""
        return cls(*(2 * [torch.eye(d, dtype=torch.float64)]))

    def __call__(self, covariances):
        """Of the same shape, (K, d, d)."""
        return self._mixed(covariances, self._of_factors(covariances))

    def _of_factors(self, covariances):
        columns = factor_covariances(self.axes.T @ covariances @ self.axes, self.rank)
        return self.inverse.T @ columns @ self.inverse

    def _mixed(self, covariances, factors):
        return self.share * covariances + (1.0 - self.share) * factors

    def moved(self, name, step, n_rows):
        """The shape of the next rank or share, up (1) or down (-1); None where there is none."""
        ranks = [rank for rank in RANKS if rank <= min(n_rows, len(self.axes)) // 2]
        values = {"rank": ranks, "share": SHARES}[name]
        place = values.index(getattr(self, name)) + step
        return self._replace(**{name: values[place]}) if 0 <= place < len(values) else None

    def chosen(self, rows, held_out):
        """The same with rank and share of the Gaussian that held-out rows like best."""
        mean, sample = _moments(*rows)
        most = min(len(mean), len(rows[0])) // 2
        best_value, best, worse = -math.inf, self, 0
        for rank in (rank for rank in RANKS if rank <= most):
            fresh_value, fresh = self._replace(rank=rank)._with_share(mean, sample, held_out)
            worse = worse + 1 if fresh_value <= best_value else 0
            if fresh_value > best_value:
                best_value, best = fresh_value, fresh
            if worse >= PATIENCE:
                break
        return best

    def _with_share(self, mean, sample, held_out):
        """Held-out log density and this shape, at the best share of the sample covariance."""
        factors, tried = self._of_factors(sample[None])[0], []
        for share in SHARES:
            shape = self._replace(share=share)
            tried.append((_log_density(mean, shape._mixed(sample, factors), *held_out), shape))
        return max(tried, key=lambda found: found[0])


def factor_covariances(covariances, rank):
    """The likeliest A A^T + Psi of `rank` factors for each sample covariance, (K, d, d)."""
    variances = covariances.diagonal(dim1=1, dim2=2)
    scales = variances.maximum(MIN_VARIANCE * variances.amax(1, keepdim=True)).sqrt()
    correlations = covariances / scales[:, :, None] / scales[:, None, :]
    loadings, noise = _principal(correlations, rank)
    for _ in range(MAX_STEPS if rank else 0):
        before = noise
        loadings, noise = _step(correlations, loadings, noise)
        if ((noise - before).abs() <= TOLERANCE * before).all():
            break
    loadings = scales[:, :, None] * loadings
    return loadings @ loadings.mT + torch.diag_embed(scales.square() * noise)


def _principal(correlations, rank):
    """Loadings and noise of the first principal axes: right where all noise is alike."""
    d, to = correlations.shape[1], {"dtype": correlations.dtype}
    size, generator = min(d, rank + MORE_AXES), torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(d, size, generator=generator, **to)).Q
    for _ in range(POWER_STEPS):
        axes = torch.linalg.qr(correlations @ axes).Q
    variances, turn = torch.linalg.eigh(axes.mT @ correlations @ axes)
    variances, axes = variances[:, size - rank :], (axes @ turn)[:, :, size - rank :]
    rest = (d - variances.sum(1, keepdim=True)) / (d - rank)
    loadings = axes * (variances - rest).clamp_min(0.0).sqrt()[:, None, :]
    return loadings, (1.0 - loadings.square().sum(2)).clamp_min(MIN_NOISE)


def _step(correlations, loadings, noise):
    """One step of expectation-maximisation for correlation matrices."""
    weighted = loadings / noise[:, :, None]
    precisions = torch.eye(loadings.shape[2], dtype=noise.dtype) + loadings.mT @ weighted
    # E[factors | row] = beta row.
    beta = torch.linalg.solve(precisions, weighted.mT)
    cross = correlations @ beta.mT
    second = torch.linalg.inv(precisions) + beta @ cross
    loadings = torch.linalg.solve(second, cross.mT).mT
    return loadings, (1.0 - (loadings * cross).sum(2)).clamp_min(MIN_NOISE)


def _moments(z, weights):
    """Weighted mean (d,) and covariance (d, d)."""
    share = weights / weights.sum()
    mean = share @ z
    apart = z - mean
    return mean, apart.T @ (share[:, None] * apart)


def _log_density(mean, covariance, z, weights):
    """Mean log density of weighted rows under a Gaussian; -inf where it is singular."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed:
        return -math.inf
    whitened = torch.linalg.solve_triangular(factor, (z - mean).T, upper=False)
    constant = log_volume(factor[None]) + 0.5 * len(mean) * math.log(2.0 * math.pi)
    return weighted_mean(-0.5 * whitened.square().sum(0) - constant, weights)
