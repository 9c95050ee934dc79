"""The base density given the observed entries of a row: the exact law of the missing ones.

    q(z_m | z_o) = sum_k r_k(z_o) c_k(z_m | z_o),   r_k(z_o) proportional to w_k c_k(z_o)

Let C_k = T T^T with T a lower triangle once the observed entries come first (T_om = 0). Then

    y = T_oo^-1 (z_o - mu_o),   delta = |y|^2,   mean_m = mu_m + T_mo y,   F_m = s T_mm

where delta is the squared distance of the observed part, F F^T the conditional scale matrix, and
s = 1 for a Gaussian. The marginal of a t_nu is a t_nu, and given d_o entries it is a t of nu + d_o
with s^2 = (nu + delta) / (nu + d_o) (Ding 2016, arXiv 1604.00561). A product of them over blocks of
axes has a delta, a d_o and an s for each block. T is the triangle of a QR decomposition of the
permuted factor of C_k: no covariance is formed, inverted or subtracted.
"""

import torch

from skrae.mixtures.components import (
    draw_index,
    log_radial_constant,
    student_log_kernel,
    student_scales,
)
from skrae.mixtures.noise import normal


class ConditionalMixture:
    """q(missing | observed) of a mixture density, for n rows side by side.

    Memory is of order n K d^2 while it is built, and K d^2 for each different pattern of missing
    entries afterwards: hand over many rows in chunks.

    Parameters
    ----------
    base : MixtureDensity of K components in d dimensions.
    rows : tensor of shape (n, d); values at missing entries are ignored and may be NaN.
    missing : bool tensor of shape (n, d).

    Attributes
    ----------
    responsibilities : tensor of shape (n, K), the probability of each component given the observed
        entries; the prior weights where there are none.
    means : tensor of shape (n, K, d), conditional locations, and the values at observed entries.
    dofs : tensor of shape (n, K, B), conditional degrees of freedom nu + d_o of each block; inf is
        a Gaussian.

    Raises
    ------
    ValueError
        If shapes or types do not match, or an observed value is not finite.

    Examples
    --------
    >>> import torch
    >>> from skrae.mixtures.mixture import MixtureDensity
    >>> factor = [[1.0, 0.0], [0.6, 0.8]]  # unit variances, correlation 0.6
    >>> base = MixtureDensity([1.0], [[0.0, 0.0]], [factor], [float("inf")])
    >>> rows, missing = torch.tensor([[2.0, torch.nan]]), torch.tensor([[False, True]])
    >>> conditional = ConditionalMixture(base, rows, missing)
    >>> conditional.mean()
    tensor([[2.0000, 1.2000]], dtype=torch.float64)
    >>> conditional.factors[0, 0, 1]
    tensor([0.0000, 0.8000], dtype=torch.float64)
    """

    def __init__(self, base, rows, missing):
        _check(base, rows, missing)
        self.missing = missing.to(base.means.device)
        self.rows = rows.to(base.means).masked_fill(self.missing, 0.0)
        self._axes = base.block_axes  # (d, B)
        n_missing = self.missing.to(self._axes) @ self._axes
        n_observed = self._axes.sum(0) - n_missing  # (n, B)
        self._n_missing, nu = n_missing[:, None], base.dofs[:, None]
        self.dofs = nu + n_observed[:, None]

        patterns, self._pattern = self.missing.unique(dim=0, return_inverse=True)
        roots, inverses, log_diagonals, free, order = _ordered_roots(base.factors, patterns)
        self._axes_in_order = self._axes[order]  # (U, d, B), of the columns of the roots
        self._unscaled = roots * free[:, :, None]
        deviations = (self.rows[:, None] - base.means).masked_fill(self.missing[:, None], 0.0)
        whitened = _apply(inverses[self._pattern], deviations) * (1.0 - free)[self._pattern]
        shifted = base.means + _apply(roots[self._pattern], whitened)
        self.means = torch.where(self.missing[:, None], shifted, self.rows[:, None])

        distances = whitened.square() @ self._axes_in_order[self._pattern]  # (n, K, B)
        volumes = (log_diagonals * (1.0 - free)).sum(2)[self._pattern]
        radial = _log_radial(distances, nu, n_observed[:, None])
        logits = base.weights.log() - volumes + radial
        self._log_responsibilities = torch.log_softmax(logits, dim=1)
        self.responsibilities = self._log_responsibilities.exp()

        self._scales = _tail_scale(distances, nu, n_observed[:, None])
        volumes = (log_diagonals * free).sum(2)[self._pattern]
        self._log_volumes = volumes + (self._n_missing * self._scales.log()).sum(2)
        self._base_factors = base.factors

    @property
    def factors(self):
        """F with F F^T the conditional scale matrices, (n, K, d, d); zero at observed entries."""
        axes = self._axes_in_order[self._pattern]  # (n, d, B)
        return self._unscaled[self._pattern] * (self._scales @ axes.mT)[:, :, None, :]

    def mean(self):
        """The conditional mean sum_k r_k mean_k, or the observed value, shape (n, d).

        A Cauchy component (nu = 1) of a row without observed entries enters by its location.
        """
        mixed = torch.einsum("nk,nkd->nd", self.responsibilities, self.means)
        return torch.where(self.missing, mixed, self.rows)

    def log_density(self, x):
        """log q(x_m | x_o) of completed rows x (..., n, d), shape (..., n); 0 if none is missing.

        Observed entries of x are taken to be those of the rows.
        """
        deviations = torch.where(self.missing[:, None], x.to(self.rows)[..., None, :], self.means)
        whiteners = _inverse(self._base_factors)
        whitened = torch.einsum("kij,...kj->...ki", whiteners, deviations - self.means)
        distances = (whitened.square() @ self._axes) / self._scales.square()
        radial = _log_radial(distances, self.dofs, self._n_missing)
        return torch.logsumexp(self._log_responsibilities - self._log_volumes + radial, dim=-1)

    def sample(self, n_draws, generator):
        """Independent completions of each row, shape (n_draws, n, d); observed entries unchanged.

        Memory is of order n_draws n (K + d^2).
        """
        row = torch.arange(len(self.rows), device=self.rows.device).repeat(n_draws)
        k = draw_index(self.responsibilities[row], generator)
        noise = normal((len(row), self.rows.shape[1]), generator, self.rows)
        widths = [student_scales(dofs, generator) for dofs in self.dofs[row, k].T]
        widths = torch.stack(widths, dim=1)
        pattern = self._pattern[row]
        scales = _apply(self._axes_in_order[pattern], self._scales[row, k] * widths)
        noise = _apply(self._unscaled[pattern, k], scales * noise)
        return (self.means[row, k] + noise).reshape(n_draws, *self.rows.shape)


def _check(base, rows, missing):
    """Raise unless the rows fit the base and their mask, and are finite where observed."""
    if missing.dtype != torch.bool or missing.shape != rows.shape:
        raise ValueError(
            f"Got missing as a {missing.dtype} tensor of shape {tuple(missing.shape)}, expected a"
            f" bool tensor of the shape of rows, {tuple(rows.shape)}."
        )
    if rows.ndim != 2 or rows.shape[1] != base.n_features:
        raise ValueError(f"Got rows of shape {tuple(rows.shape)}, expected (n, {base.n_features}).")
    if not torch.isfinite(rows[~missing]).all():
        raise ValueError("rows has values that are not finite where missing is False.")


def _ordered_roots(factors, patterns):
    """Roots T of C_k = T T^T whose rows, with the observed entries first, are a lower triangle.

    So the last columns, as many as entries are missing, are zero in the rows of observed entries.

    Parameters
    ----------
    factors : tensor of shape (K, d, d)
    patterns : bool tensor of shape (U, d), True where missing

    Returns
    -------
    T and T^-1, of shape (U, K, d, d), the logarithms of the triangles' diagonals (U, K, d), 1.0 for
    each of those last columns, else 0.0 (U, 1, d), and the axes in their order (U, d)
    """
    free = patterns.sort(dim=1).values[:, None].to(factors)
    order = patterns.to(torch.uint8).argsort(dim=1, stable=True)
    swap = torch.eye(patterns.shape[1]).to(factors)[order][:, None]
    lower = torch.linalg.qr((swap @ factors).mT, mode="r").R.mT
    # QR leaves the signs of the columns open.
    lower = lower * lower.diagonal(dim1=2, dim2=3).sign()[:, :, None]
    log_diagonals = lower.diagonal(dim1=2, dim2=3).log()
    return swap.mT @ lower, _inverse(lower) @ swap, log_diagonals, free, order


def _inverse(triangles):
    identity = torch.eye(triangles.shape[-1]).to(triangles)
    return torch.linalg.solve_triangular(triangles, identity, upper=False)


def _log_radial(distances, dofs, dims):
    """log density of prod_b t_nu(0, I) at squared distances (..., B) in `dims` dimensions each.

    inf is a Gaussian.
    """
    heavy = torch.isfinite(dofs)
    nu = torch.where(heavy, dofs, 1.0)
    falling = torch.where(heavy, student_log_kernel(distances, nu, dims), -0.5 * distances)
    return (log_radial_constant(dofs, dims) + falling).sum(-1)


def _tail_scale(distances, dofs, n_observed):
    """s = sqrt((nu + delta) / (nu + d_o)): a t widens with the distance; 1 for a Gaussian."""
    heavy = torch.isfinite(dofs)
    nu = torch.where(heavy, dofs, 1.0)
    return torch.where(heavy, torch.sqrt((nu + distances) / (nu + n_observed)), 1.0)


def _apply(matrices, vectors):
    return torch.einsum("...ij,...j->...i", matrices, vectors)
