"""Many Gaussian and Student-t components at once: distances, tails, draws, packed matrices.

The squared distance |L_k^-1 (z - mu_k)|^2 is a polynomial in the monomials (1, z, z z^T): with the
coefficients of all K components in one matrix, all distances are one matrix product. At a squared
distance m in d dimensions a component of scale matrix I has the log density

    -d/2 log 2 pi - m/2  (nu = inf),     c(nu, d) - (nu + d)/2 log(1 + m/nu)  (nu finite)
    c(nu, d) = log Gamma((nu + d)/2) - log Gamma(nu/2) - d/2 log(nu pi)
"""

import math

import numpy as np
import torch

from skrae.mixtures.noise import normal_of_some, uniform

# Threads up to which NumPy, which has one, is asked in place of torch: its exponential takes half
# the time on some processors, and a product of a few thousand numbers less to begin.
FEW_THREADS = 2
# What is left of the highest term where others are lower: an exponential that underflows takes
# seven times as long, and beside 1 this is nothing.
LOWEST = -100.0


def log_sum(logits):
    """log sum_k exp(logits), (n,), of logits (K, n), which are overwritten."""
    _, total, highest = _terms(logits)
    return highest + total.log()


def shares_of(logits, weights=1.0):
    """weights (n,) times softmax(logits) over k, (K, n), of logits that are overwritten."""
    terms, total, _ = _terms(logits)
    scale = weights / total
    return terms * scale if terms.requires_grad else terms.mul_(scale)


def log_sum_and_shares(logits):
    """Both, of one exponential; logits that a gradient is asked of stay as they are."""
    terms, total, highest = _terms(logits)
    return highest + total.log(), terms / total


def _terms(logits):
    """exp(logits - highest), their sums, and the highest of each row."""
    highest = logits.detach().amax(0)
    finite = highest.clamp_min(torch.finfo(logits.dtype).min)
    if logits.requires_grad:
        terms = torch.exp((logits - finite).clamp_min(LOWEST))
    else:
        terms = _exponentiated(logits.sub_(finite).clamp_min_(LOWEST))
    return terms, terms.sum(0), highest


def _exponentiated(logits):
    """exp(logits), in place."""
    if not _is_for_numpy(logits):
        return logits.exp_()
    values = logits.numpy()
    np.exp(values, out=values)
    return logits


def _is_for_numpy(tensor):
    """Whether NumPy can compute with a tensor, and is asked."""
    on_cpu = tensor.device.type == "cpu" and not tensor.requires_grad
    return on_cpu and torch.get_num_threads() <= FEW_THREADS


def n_monomials(d):
    """How many monomials 1, z_i and z_i z_j (j <= i) rows of d numbers have."""
    return 1 + d + d * (d + 1) // 2


def quadratic_columns(z):
    """The monomials 1, z_i and z_i z_j (j <= i) of rows z (n, d), shape (1 + d + d(d+1)/2, n).

    A monomial of all rows lies together in memory.
    """
    if _is_for_numpy(z):
        return _monomials(z)
    columns = z.T.contiguous()
    products = [columns[: i + 1] * columns[i] for i in range(len(columns))]
    return torch.cat([torch.ones_like(columns[:1]), columns, *products])


def _monomials(z):
    """`quadratic_columns`, each product written to its place."""
    n, d = z.shape
    monomials = z.new_empty(n_monomials(d), n)
    values = monomials.numpy()
    values[0], columns, start = 1.0, values[1 : 1 + d], 1 + d
    columns[:] = z.numpy().T
    for i in range(d):
        np.multiply(columns[: i + 1], columns[i], out=values[start : start + i + 1])
        start += i + 1
    return monomials


def unpack_symmetric(packed, d):
    """Symmetric (n, d, d) matrices from their lower triangles, shape (n, d(d+1)/2)."""
    i = torch.arange(d, device=packed.device)
    high, low = torch.maximum(i[:, None], i), torch.minimum(i[:, None], i)
    index = high * (high + 1) // 2 + low
    return packed[:, index.reshape(-1)].reshape(-1, d, d)


def draw_index(probabilities, generator):
    """One index per row of probabilities (n, K), by inversion: multinomial is ten times slower."""
    return draw_indices(probabilities, 1, generator)[:, 0]


def draw_indices(probabilities, n_draws, generator):
    """Several indices per row of probabilities (n, K), independent, shape (n, n_draws)."""
    shares = uniform((len(probabilities), n_draws), generator, probabilities)
    return indices_at(shares, probabilities)


def indices_at(shares, probabilities):
    """Where the cumulative probabilities (n, K) exceed these shares of their sum, (n, m)."""
    cumulative = probabilities.cumsum(1)
    last = probabilities.shape[1] - 1
    heights = shares * cumulative[:, -1:]
    return torch.searchsorted(cumulative, heights, right=True).clamp_max(last)


def distance_coefficients(means, factors):
    """Coefficients (K, D) with coefficients @ quadratic_columns(z) = |L_k^-1 (z - mu_k)|^2."""
    d = means.shape[1]
    precisions = torch.cholesky_inverse(factors)
    linear = torch.einsum("kij,kj->ki", precisions, means)
    constant = (means * linear).sum(1, keepdim=True)
    rows, columns = torch.tril_indices(d, d, device=means.device)
    twice = torch.where(rows == columns, 1.0, 2.0).to(means)
    return torch.cat([constant, -2.0 * linear, twice * precisions[:, rows, columns]], dim=1)


def inverse_of_triangles(triangles):
    """The inverses of lower triangular matrices, (..., d, d)."""
    identity = torch.eye(triangles.shape[-1], dtype=triangles.dtype, device=triangles.device)
    return torch.linalg.solve_triangular(triangles, identity, upper=False)


def log_volume(factors):
    """log det L_k of lower triangular factors (K, d, d)."""
    return factors.diagonal(dim1=1, dim2=2).log().sum(1)


def log_radial_constant(dofs, dims):
    """The constant of a log density with scale matrix I: -d/2 log 2 pi for dof inf, else c(nu, d).

    Parameters
    ----------
    dofs : tensor; dims : int or tensor that broadcasts with it
    """
    heavy = torch.isfinite(dofs)
    nu = torch.where(heavy, dofs, 1.0)
    student = torch.lgamma(0.5 * (nu + dims)) - torch.lgamma(0.5 * nu)
    student = student - 0.5 * dims * torch.log(nu * math.pi)
    return torch.where(heavy, student, -0.5 * dims * math.log(2.0 * math.pi))


def student_log_kernel(distances, nu, dims):
    """-(nu + d)/2 log(1 + m/nu), the part of a Student-t's log density that falls with m."""
    return -0.5 * (nu + dims) * torch.log1p(distances / nu)


def student_scales(dofs, generator):
    """sqrt(nu / chi2_nu) for each whole number nu of dofs (n,), 1 for inf: which widen noise."""
    scales = torch.ones_like(dofs)
    heavy = torch.isfinite(dofs).nonzero()[:, 0]
    nu = dofs[heavy, None]
    count = torch.arange(int(nu.max()) if len(heavy) else 0, device=nu.device)
    squares = normal_of_some(heavy, (len(dofs), len(count)), generator, nu).square()
    scales[heavy] = torch.sqrt(nu[:, 0] / (squares * (count < nu)).sum(1))
    return scales
