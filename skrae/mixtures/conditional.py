"""The base density given the observed entries of a row: the exact law of the missing ones.

    q(z_m | z_o) = sum_k r_k(z_o) c_k(z_m | z_o),   r_k(z_o) proportional to w_k c_k(z_o)

Let C_k = T T^T with T a lower triangle once the observed entries come first (T_om = 0). Then

    y = T_oo^-1 (z_o - mu_o),   delta = |y|^2,   mean_m = mu_m + T_mo y,   F_m = s T_mm

where delta is the squared distance of the observed part, F F^T the conditional scale matrix, and
s = 1 for a Gaussian. The marginal of a t_nu is a t_nu, and given d_o entries it is a t of nu + d_o
with s^2 = (nu + delta) / (nu + d_o) (Ding 2016, arXiv 1604.00561). A product of them over blocks of
axes has a delta, a d_o and an s for each block. Given the component, categories are independent of
the rest: an observed level is a factor pi_k(u_j) of r_k, a missing one has the probabilities pi_kj.
T is the triangle of a QR decomposition of the
permuted factor of C_k: no covariance is formed, inverted or subtracted.
"""

import torch
from torch.nn.functional import pad

from skrae.mixtures.categories import draw_levels, group_sums
from skrae.mixtures.components import (
    draw_index,
    inverse_of_triangles,
    log_radial_constant,
    student_log_kernel,
    student_scales,
)
from skrae.mixtures.noise import normal


class ConditionalMixture:
    """q(missing | observed) of a mixture density, for n rows side by side.

    Memory is of order n K d_c^2 while it is built, of rows of d_c numbers, and K d_c^2 for each
    different pattern of missing numbers afterwards: hand over many rows in chunks.

    Parameters
    ----------
    base : MixtureDensity of K components, of full rows of d entries.
    rows : tensor of shape (n, d); values at missing entries are ignored and may be NaN. The result
        can be differentiated with respect to the numbers.
    missing : bool tensor of shape (n, d), for all one-hots of a categorical column the same.

    Attributes
    ----------
    responsibilities : tensor of shape (n, K), the probability of each component given the observed
        entries; the prior weights where there are none.
    means : tensor of shape (n, K, d), conditional locations, level probabilities of missing levels,
        and the values at observed entries.
    log_marginal : tensor of shape (n,), log q(z_o), the log density of what is observed.
    dofs : tensor of shape (n, K, B), conditional degrees of freedom nu + d_o of each block; inf is
        a Gaussian.

    Raises
    ------
    ValueError
        If shapes or types do not match, a part of a one-hot is missing, or an observed value is not
        finite.

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
    >>> conditional.log_marginal  # log N(2; 0, 1)
    tensor([-2.9189], dtype=torch.float64)
    """

    def __init__(self, base, rows, missing):
        _check(base, rows, missing)
        d = base.n_numeric
        self.missing = missing.to(base.means.device)
        self.rows = rows.to(base.means).masked_fill(self.missing, 0.0)
        numbers, hidden = self.rows[:, :d], self.missing[:, :d]
        self._axes = base.block_axes  # (d_c, B)
        n_missing = hidden.to(self._axes) @ self._axes
        n_observed = self._axes.sum(0) - n_missing  # (n, B)
        self._n_missing, nu = n_missing[:, None], base.dofs[:, None]
        self.dofs = nu + n_observed[:, None]

        patterns, self._pattern = hidden.unique(dim=0, return_inverse=True)
        roots, inverses, log_diagonals, free, order = _ordered_roots(base.factors, patterns)
        self._axes_in_order = self._axes[order]  # (U, d_c, B), of the columns of the roots
        self._unscaled = roots * free[:, :, None]
        centres = base.means[:, :d]
        deviations = (numbers[:, None] - centres).masked_fill(hidden[:, None], 0.0)
        whitened = _apply(inverses[self._pattern], deviations) * (1.0 - free)[self._pattern]
        shifted = centres + _apply(roots[self._pattern], whitened)

        distances = whitened.square() @ self._axes_in_order[self._pattern]  # (n, K, B)
        volumes = (log_diagonals * (1.0 - free)).sum(2)[self._pattern]
        radial = _log_radial(distances, nu, n_observed[:, None])
        logits = base.weights.log() - volumes + radial

        self._categories = base.categories
        if base.levels:
            # A missing one-hot is zeros here, and tells nothing.
            logits = logits + self._log_masses(self.rows[:, d:])
            shifted = torch.cat([shifted, base.means[:, d:].expand(len(rows), -1, -1)], dim=2)
        self.means = torch.where(self.missing[:, None], shifted, self.rows[:, None])
        self.log_marginal = torch.logsumexp(logits, dim=1)
        self._log_responsibilities = torch.log_softmax(logits, dim=1)
        self.responsibilities = self._log_responsibilities.exp()

        self._scales = _tail_scale(distances, nu, n_observed[:, None])
        volumes = (log_diagonals * free).sum(2)[self._pattern]
        self._log_volumes = volumes + (self._n_missing * self._scales.log()).sum(2)
        self._base_factors = base.factors

    @property
    def factors(self):
        """F with F F^T the conditional scale matrices, (n, K, d, d).

        Zero at observed entries and at one-hots.
        """
        axes = self._axes_in_order[self._pattern]  # (n, d_c, B)
        factors = self._unscaled[self._pattern] * (self._scales @ axes.mT)[:, :, None, :]
        n_onehots = self.rows.shape[1] - len(self._axes)
        return pad(factors, 2 * (0, n_onehots)) if n_onehots else factors

    def _log_masses(self, onehots):
        """log pi_k of one-hots (..., D), shape (..., K)."""
        return onehots.detach() @ self._categories.logarithms.T

    def mean(self):
        """The conditional mean sum_k r_k mean_k, or the observed value, shape (n, d).

        Of a missing level's one-hot it is the conditional probabilities of the levels.
        A Cauchy component (nu = 1) of a row without observed entries enters by its location.
        """
        mixed = torch.einsum("nk,nkd->nd", self.responsibilities, self.means)
        return torch.where(self.missing, mixed, self.rows)

    def log_density(self, x):
        """log q(x_m | x_o) of completed rows x (..., n, d), shape (..., n); 0 if none is missing.

        Observed entries of x are taken to be those of the rows.
        """
        x, d = x.to(self.rows), len(self._axes)
        hidden, means = self.missing[:, None, :d], self.means[:, :, :d]
        deviations = torch.where(hidden, x[..., None, :d], means)
        whiteners = inverse_of_triangles(self._base_factors)
        whitened = torch.einsum("kij,...kj->...ki", whiteners, deviations - means)
        distances = (whitened.square() @ self._axes) / self._scales.square()
        radial = _log_radial(distances, self.dofs, self._n_missing)
        logits = self._log_responsibilities - self._log_volumes + radial
        if self._categories.levels:
            onehots = torch.where(self.missing[:, d:], x[..., d:], 0.0)
            logits = logits + self._log_masses(onehots)
        return torch.logsumexp(logits, dim=-1)

    def sample(self, n_draws, generator):
        """Independent completions of each row, shape (n_draws, n, d); observed entries unchanged.

        Memory is of order n_draws n (K + d_c^2).
        """
        row = torch.arange(len(self.rows), device=self.rows.device).repeat(n_draws)
        k = draw_index(self.responsibilities[row], generator)
        noise = normal((len(row), len(self._axes)), generator, self.rows)
        widths = [student_scales(dofs, generator) for dofs in self.dofs[row, k].T]
        widths = torch.stack(widths, dim=1)
        pattern = self._pattern[row]
        scales = _apply(self._axes_in_order[pattern], self._scales[row, k] * widths)
        noise = _apply(self._unscaled[pattern, k], scales * noise)
        draws, d = self.means[row, k], len(self._axes)
        draws = torch.cat([draws[:, :d] + noise, self._completed(draws[:, d:], row, generator)], 1)
        return draws.reshape(n_draws, *self.rows.shape)

    def _completed(self, levels, row, generator):
        """One-hots, drawn with these probabilities (m, D) where they are missing in the rows."""
        if not self._categories.levels:
            return levels
        drawn = draw_levels(levels, self._categories.levels, generator)
        return torch.where(self.missing[row, len(self._axes) :], drawn, levels)


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
    n_hidden = group_sums(missing[:, base.n_numeric :].to(torch.int64), base.levels)
    if ((n_hidden > 0) & (n_hidden < torch.tensor(base.levels, device=n_hidden.device))).any():
        raise ValueError(
            "Got missing with some entries of a one-hot True and some False, expected all or none"
            f" of each group of levels={base.levels}."
        )


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
    return swap.mT @ lower, inverse_of_triangles(lower) @ swap, log_diagonals, free, order


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
