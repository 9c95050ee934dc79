"""The score without the first-order bias of a finite noise level or contraction weight.

With D(z) = (r(z) - z) / tau, J = dr/dz and Lap r the Laplacian of each coordinate, the optimal
r obeys

    contraction   r - z = lambda (Lap r + J g)               so  J g = D - Lap r
    denoising     D = grad log p_sigma
                    = g + sigma^2/2 (Lap g + 2 (dg/dz) g)    so  J g = D - Lap r / 2

with g = grad log p: the first exactly (Euler-Lagrange equation of the criterion of Alain & Bengio
2014, equation 10), the second to the order sigma^2, where sigma^2 dg/dz = J - I and sigma^2 Lap g =
Lap r; both are exact for Gaussian data. For sigma and lambda together the two terms of the
criterion are means over different rows, corrupted and clean ones, so that the second enters with
the ratio of their densities, w = p / p_sigma = exp(-sigma^2/2 (tr dg/dz + |g|^2)) to first order:

    [sigma^2 (I + sigma^2/tau (J - I)) + lambda w J] g = tau D - (lambda w + sigma^4/(2 tau)) Lap r

with tr(J - I) / tau and D in w for what they tend to.
"""

from typing import NamedTuple

import torch

# Central differences, where there is no closed form, of this step in sqrt(tau): fine beside the
# detail of r, coarse beside the kinks of relu units, at which a finer one finds a huge curvature.
# Where the matrix on the left, over tau, has a singular value below SMALLEST, a row keeps D.
STEP, SMALLEST = 0.1, 0.05
# |log w| beyond which its first order says nothing.
MAX_LOG_RATIO = 1.0
# Neighbours of rows that are evaluated at once.
NEIGHBOURS = 32


class Corrected(NamedTuple):
    """The corrected score at rows, and what it is the solution of: matrix @ score = right side."""

    score: torch.Tensor  # (n, d)
    singular: torch.Tensor  # (n,), the rows that keep the plain D
    matrix: torch.Tensor  # (n, d, d)
    weight: torch.Tensor  # (n, 1), lambda w
    plain: torch.Tensor  # (n, d), D
    slopes: torch.Tensor  # (n, d, d), of D
    laplacian: torch.Tensor  # (n, d), of D


def corrected_score(field, z, noise_level, contraction_weight):
    """The corrected score (n, d), and which rows kept the plain D (n,), for isotropic noise.

    Parameters
    ----------
    field : ScoreField, its network in float64
    z : tensor of shape (n, d)
    noise_level, contraction_weight : float, sigma and lambda
    """
    return _corrected(field, z, noise_level, contraction_weight)[:2]


def _corrected(field, z, noise_level, contraction_weight):
    tau, variance = field.tau, noise_level**2
    plain = field.corrupted.vector_field(z)
    identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    slopes, laplacian = _derivatives(field, z, plain)
    jacobian = identity + tau * slopes
    weight = contraction_weight * _clean_to_corrupted(slopes, plain, variance)[:, None]
    matrix = variance * (identity + variance * slopes) + weight[:, :, None] * jacobian
    pull = weight + 0.5 * variance**2 / tau
    singular = torch.linalg.svdvals(matrix / tau)[:, -1] < SMALLEST
    matrix = torch.where(singular[:, None, None], tau * identity, matrix)
    corrected = torch.linalg.solve(matrix, tau * plain - pull * tau * laplacian)
    score = torch.where(singular[:, None], plain, corrected)
    return Corrected(score, singular, matrix, weight, plain, slopes, laplacian)


def corrected_slopes(field, z, noise_level, contraction_weight):
    """Derivatives (n, d, d) of the corrected score g, and which rows kept the plain D (n,).

    None where the slopes of D have no closed form. With A g = b the equation that g solves,

        A dg/dz_j = db/dz_j - (dA/dz_j) g,

    and (dS/dz_j) g is the change of S, the slopes of D, along g: they are wanted at the
    neighbours that the Laplacian of D is a sum over, and nowhere else.
    """
    tau, variance, field_of = field.tau, noise_level**2, field.corrupted.slopes
    if field.derivatives(z) is not None or (own := field_of(z)) is None:
        return None
    found = _corrected(field, z, noise_level, contraction_weight)
    along, of_laplacian, of_trace = _sums_over_neighbours(field_of, z, found.score, own, tau)
    change = _log_ratio(found.slopes, found.plain, variance)
    inside = (change.abs() < MAX_LOG_RATIO)[:, None]
    of_change = of_trace + 2.0 * (found.plain[:, None] @ own)[:, 0]
    of_weight = torch.where(inside, -0.5 * variance * found.weight * of_change, 0.0)
    pull = found.weight + 0.5 * variance**2 / tau
    moved = found.score + tau * (found.slopes @ found.score[:, :, None])[:, :, 0]
    right = tau * own - (pull * tau)[:, :, None] * of_laplacian
    right = right - (tau * found.laplacian + moved)[:, :, None] * of_weight[:, None]
    right = right - (variance**2 + found.weight * tau)[:, :, None] * along
    return torch.linalg.solve(found.matrix, right), found.singular


def _sums_over_neighbours(slopes, z, score, own, tau):
    """Derivatives of S along g and of the Laplacian, (n, d, d), and of the trace of S, (n, d)."""
    step = STEP * tau**0.5
    along, of_laplacian = torch.zeros_like(own), -2.0 * len(own[0]) * own
    of_trace = torch.zeros_like(z)
    shifts = step * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None]
    for axes in torch.arange(z.shape[1]).split(max(1, NEIGHBOURS // len(z))):
        pair = (slopes((z + sign * shifts[axes]).flatten(0, 1)) for sign in (1.0, -1.0))
        above, below = (part.unflatten(0, (len(axes), len(z))) for part in pair)
        of_laplacian += (above + below).sum(0)
        along += torch.einsum("knij,nk->nij", above - below, score[:, axes])
        of_trace += (above - below)[torch.arange(len(axes)), :, axes].sum(0)
    return along / (2.0 * step), of_laplacian / step**2, of_trace / (2.0 * step)


def _clean_to_corrupted(slopes, plain, variance):
    """w = p / p_sigma at the rows, to first order, (n,)."""
    return torch.exp(_log_ratio(slopes, plain, variance).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))


def _log_ratio(slopes, plain, variance):
    """log w before it is bounded, (n,)."""
    change = slopes.diagonal(dim1=1, dim2=2).sum(1) + plain.square().sum(1)
    return -0.5 * variance * change


def _derivatives(field, z, plain):
    """Jacobian (n, d, d) and Laplacian (n, d) of D = (r - z) / tau."""
    closed = field.derivatives(z)
    if closed is None:
        return _differences(field.corrupted.vector_field, z, plain, STEP * field.tau**0.5)
    jacobian, laplacian = closed
    identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return (jacobian - identity) / field.tau, laplacian / field.tau


def _differences(function, z, middle, step):
    """Jacobian (n, d, d) and Laplacian (n, d) of a function (n, d) -> (n, d)."""
    pairs = _neighbours(function, z, step)
    laplacian = sum(above + below - 2.0 * middle for above, below in pairs) / step**2
    return _jacobian(pairs, step), laplacian


def jacobian_by_differences(function, z, step):
    """Central differences of a function (n, d) -> (n, d), shape (n, d, d)."""
    return _jacobian(_neighbours(function, z, step), step)


def _neighbours(function, z, step):
    """The function one step above and below z, for each coordinate."""
    steps = step * torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    return [(function(z + one), function(z - one)) for one in steps]


def _jacobian(pairs, step):
    return torch.stack([above - below for above, below in pairs], dim=2) / (2.0 * step)
