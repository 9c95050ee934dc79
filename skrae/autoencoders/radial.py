"""One hidden layer of radial units: an energy that is linear in its weights, fitted in closed form.

    f(z) = sum_j a_j k(z, c_j),    k(z, c) = exp(-|z - c|^2 / 2 h^2)

The auto-encoder r(z) = z + tau psi(z), psi = grad log q_0 + grad f, tau = sigma^2 + lambda, has the
criterion of denoising and contraction (Alain & Bengio 2014, equations 7 and 10)

    [ E |r(y) - z|^2 + lambda E |dr/dz|^2 ] / tau,    y = z + sigma e,

which is, up to a constant and twice tau, by Stein's identity

    E [ |psi|^2 / 2 + sigma^2/tau div psi ](y)
    + lambda E [ div psi / tau + |dpsi/dz|^2 / 2 ](z)

and hence a quadratic a^T G a / 2 + b^T a of the weights: no descent, but one linear system. At
sigma = lambda = 0 it is score matching (Hyvarinen 2005) in an exponential family with kernels for
statistics (Sriperumbudur et al. 2017), the units a random subset of the rows (Rudi et al. 2015).
"""

from typing import NamedTuple

import torch

from skrae.preprocessing.blocks import block_sizes

# Rows of one column at a time: all derivatives by all units are held at once.
TERM_ROWS = 8192
# Of the mean of the diagonal: what the penalty's matrix lacks to be positive definite in floats.
JITTER = 1e-10


class RadialUnits:
    """Gaussian kernels of one width.

    Parameters
    ----------
    centres : tensor of shape (m, d), float64
    width : float, h
    """

    def __init__(self, centres, width):
        self.centres, self.width = centres, float(width)
        self._squares = centres.square().sum(1)

    def __call__(self, z):
        """k(z, c_j), shape (n, m)."""
        return torch.exp(self.distances(z) / (-2.0 * self.width**2))

    def distances(self, z):
        """|z - c_j|^2, shape (n, m)."""
        squares = z.square().sum(1, keepdim=True) + self._squares
        return torch.addmm(squares, z, self.centres.T, alpha=-2.0).clamp_min(0.0)

    def value(self, z, weights):
        """f, shape (n,)."""
        return self(z) @ weights

    def value_and_gradient(self, z, weights):
        """f (n,) and grad f (n, d)."""
        terms = self(z) * weights
        value = terms.sum(1)
        return value, (terms @ self.centres - value[:, None] * z) / self.width**2

    def laplacians(self, z):
        """sum_i d^2 k(z, c_j) / d z_i^2, shape (n, m)."""
        return self(z) * (self.distances(z) / self.width**2 - z.shape[1]) / self.width**2

    def slopes(self, z):
        """d k(z, c_j) / d z_i, shape (d, n, m)."""
        apart = self.centres.T[:, None, :] - z.T[:, :, None]
        return apart * (self(z) / self.width**2)

    def curvatures(self, z):
        """d^2 k(z, c_j) / d z_i d z_l, shape (d, d, n, m)."""
        apart = (self.centres.T[:, None, :] - z.T[:, :, None]) / self.width
        identity = torch.eye(z.shape[1]).to(z)[:, :, None, None]
        return (apart[:, None] * apart[None] - identity) * (self(z) / self.width**2)

    def penalty(self):
        """k(c_j, c_l), of which a^T K a is the squared norm of f in the space of the kernel."""
        return self(self.centres)


class Terms(NamedTuple):
    """The criterion as a quadratic of the weights, of rows of this total weight."""

    gram: torch.Tensor  # (m, m), a sum over rows
    linear: torch.Tensor  # (m,)
    weight: float

    def __add__(self, other):
        return Terms(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other):
        return Terms(*(a - b for a, b in zip(self, other, strict=True)))

    def mean(self, coefficients):
        """a^T G a / 2 + b^T a in the mean over the rows."""
        value = 0.5 * coefficients @ self.gram @ coefficients + self.linear @ coefficients
        return float(value) / self.weight

    def solved(self, penalty, strength):
        """The a that minimises the mean plus strength tr(G) / m a^T K a / 2, shape (m,).

        Raises
        ------
        torch.linalg.LinAlgError
            Where the system is singular in floats.
        """
        size = self.gram.trace() / len(penalty)
        system = self.gram + strength * size * penalty
        system.diagonal().add_(JITTER * size)
        return -torch.cholesky_solve(self.linear[:, None], torch.linalg.cholesky(system))[:, 0]


def score_matching_terms(units, z, weights, base_gradient, share=1.0):
    """`Terms` of sum_i w_i [ |psi|^2 / 2 + share div psi ](z_i), of rows that may be corrupted.

    Parameters
    ----------
    units : RadialUnits
    z : tensor of shape (n, d)
    weights : tensor of shape (n,)
    base_gradient : tensor of shape (n, d), grad log q_0
    share : float, sigma^2 / tau
    """
    gram, linear = _zeros(units)
    sizes = block_sizes(len(z), max(1, TERM_ROWS // z.shape[1]))
    parts = (part.split(sizes) for part in (z, weights, base_gradient))
    for rows, w, pull in zip(*parts, strict=True):
        slopes = units.slopes(rows)
        weighted = slopes * w[:, None]
        gram += torch.einsum("dnj,dnk->jk", weighted, slopes)
        linear += torch.einsum("dnj,nd->j", weighted, pull)
        linear += share * (w @ units.laplacians(rows))
    return Terms(gram, linear, float(weights.sum()))


def contraction_terms(units, z, weights, base_hessian, contraction_weight, tau):
    """`Terms` of sum_i w_i lambda [ div psi / tau + |dpsi/dz|^2 / 2 ](z_i).

    Parameters
    ----------
    units, z, weights : as for `score_matching_terms`
    base_hessian : tensor of shape (n, d, d), of log q_0
    contraction_weight : float, lambda
    tau : float, sigma^2 + lambda
    """
    gram, linear = _zeros(units)
    sizes = block_sizes(len(z), max(1, TERM_ROWS // z.shape[1] ** 2))
    parts = (part.split(sizes) for part in (z, weights, base_hessian))
    for rows, w, bends in zip(*parts, strict=True):
        curvatures = units.curvatures(rows)
        weighted = curvatures * w[:, None]
        gram += torch.einsum("cdnj,cdnk->jk", weighted, curvatures)
        linear += torch.einsum("cdnj,ncd->j", weighted, bends)
        linear += w @ units.laplacians(rows) / tau
    weight = float(contraction_weight)
    return Terms(weight * gram, weight * linear, 0.0)


def _zeros(units):
    m = len(units.centres)
    return units.centres.new_zeros(m, m), units.centres.new_zeros(m)
