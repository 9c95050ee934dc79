"""Expectation-maximisation of Gaussian mixtures on rows with holes (Ghahramani & Jordan 1994).

Entries are missing at random. Of a row with observed entries o and missing ones m the expectation
step takes, for each component N(mu, C) with precisions P = C^-1 (their eqs. 6 to 9),

    E z_m = mu_m - V P_mo (z_o - mu_o),     V = P_mm^-1,     E z_m z_m^T = E z_m E z_m^T + V,
    log N(z_o; mu_o, C_oo) = -(|L^-1 (E z - mu)|^2 + log|C| + log|P_mm| + d_o log 2 pi) / 2,

where C = L L^T, and E z has the observed entries in their places: given these, its missing ones
are those at the least distance from the component. V is the only thing that depends on which
entries are missing, it is as small as those are few, and rows of one pattern share it. All else
is a product of the matrices of a component with all rows.

A missing category has its level probabilities pi_k for an expectation; of an observed one the log
density takes log pi_k.
"""

import math
from typing import NamedTuple

import torch

from skrae.mixtures.components import inverse_of_triangles, log_volume, unpack_symmetric
from skrae.mixtures.growth.holes.patterns import Patterns
from skrae.mixtures.noise import normal, uniform
from skrae.mixtures.quadratics import log_kernels, row_columns, weighted_moments
from skrae.preprocessing.blocks import is_wide
from skrae.preprocessing.contract.work import check_time

# Numbers of a product of all components with the rows of a pattern from which it is worth a call of
# its own; a call for each row and component costs as much as OVERHEAD numbers.
COMMON, OVERHEAD = 8192, 16


class Gaussians(NamedTuple):
    """A mixture: weights (K,), means (K, d_c), covariances (K, d_c, d_c) and levels (K, D).

    Levels are the probabilities of the levels of each categorical column; D = 0 without such.
    """

    weights: torch.Tensor
    means: torch.Tensor
    covariances: torch.Tensor
    levels: torch.Tensor


# --- expectation ----------------------------------------------------------------------------------


class _Expected(NamedTuple):
    """Of a part: log w_k p_k(observed) (K, b), E z - mu_k (K, d_c, b), roots R of V = R^T R.

    The roots have the shape (K, G, m, m).
    """

    joint: torch.Tensor
    deviations: torch.Tensor
    roots: torch.Tensor


class _Expectation:
    """What the components give any rows.

    Parameters
    ----------
    gaussians : Gaussians
    """

    def __init__(self, gaussians):
        self.gaussians = gaussians
        self.factors = torch.linalg.cholesky(gaussians.covariances)
        self.whiteners = inverse_of_triangles(self.factors)
        self.precisions = self.whiteners.mT @ self.whiteners
        self.constants = gaussians.weights.log() - log_volume(self.factors)

    def level_joint(self, onehots):
        """log pi_k of the observed categories, (K, b)."""
        # Of a level that never occurs, too, 0 times the logarithm must be 0.
        tiny = torch.finfo(onehots.dtype).tiny
        return self.gaussians.levels.clamp_min(tiny).log() @ onehots.T

    def complete(self, columns, onehots):
        """log w_k p_k of complete rows, by their `row_columns`, (K, b)."""
        _, means, *_ = self.gaussians
        constants = self.constants - 0.5 * means.shape[1] * math.log(2.0 * math.pi)
        return log_kernels(constants, means, self.factors)(columns) + self.level_joint(onehots)

    def incomplete(self, part, onehots):
        """`_Expected` of a part."""
        deviations = (part.y - self.gaussians.means[:, :, None]).mul_(part.observed)
        i, j = part.missing[:, :, None], part.missing[:, None, :]
        triangles = torch.linalg.cholesky(self.precisions[:, i, j])
        roots = inverse_of_triangles(triangles)
        axes = part.missing[part.pattern].T.expand(len(deviations), -1, -1)
        pulls = (self.precisions @ deviations).gather(1, axes)
        deviations.scatter_(1, axes, _of_patterns(roots.mT @ roots, pulls, part.pattern).neg_())
        distances = (self.whiteners @ deviations).square_().sum(1)
        volumes = triangles.diagonal(dim1=2, dim2=3).log().sum(2)[:, part.pattern]
        n_observed = deviations.shape[1] - part.missing.shape[1]
        constants = self.constants[:, None] - 0.5 * n_observed * math.log(2.0 * math.pi)
        joint = constants - volumes - 0.5 * distances + self.level_joint(onehots)
        return _Expected(joint, deviations, roots)


def _of_patterns(matrices, vectors, pattern):
    """matrices (K, G, m, m) of the rows' patterns (b,) times vectors (K, m, b)."""
    n_components, n_patterns, m, _ = matrices.shape
    if n_components * len(pattern) * (OVERHEAD + m**2) < COMMON * n_patterns:
        return (matrices[:, pattern] @ vectors.mT[..., None])[..., 0].mT.contiguous()
    columns = vectors.split(pattern.bincount().tolist(), dim=2)
    return torch.cat([matrices[:, g] @ own for g, own in enumerate(columns)], dim=2)


class _Sums:
    """Sums over rows of shares (K, b) times the products of (1, z), and one-hots."""

    def __init__(self, gaussians):
        n_components, d = gaussians.means.shape
        self.gaussians = gaussians
        self.whole = 0.0  # `weighted_moments` of complete rows
        self.centred = gaussians.means.new_zeros(n_components, 1 + d, 1 + d)  # of 1, z - mu_k
        self.levels = torch.zeros_like(gaussians.levels)

    def add_complete(self, shares, columns):
        """Complete rows, by their `row_columns`."""
        self.whole = self.whole + weighted_moments(shares, columns, self.gaussians.means.shape[1])

    def add_incomplete(self, shares, part, expected):
        """A part, with the covariances of its missing entries."""
        deviations = expected.deviations
        weighted = shares[:, None] * deviations
        self.centred[:, 0, 0] += shares.sum(1)
        self.centred[:, 0, 1:] += weighted.sum(2)
        self.centred[:, 1:, 1:] += weighted @ deviations.mT
        counts = torch.zeros_like(expected.roots[:, :, 0, 0]).index_add_(1, part.pattern, shares)
        within = expected.roots.mT @ (counts[:, :, None, None] * expected.roots)
        # Places among the products of (1, z), the first of which is 1.
        i, j = 1 + part.missing[:, :, None], 1 + part.missing[:, None, :]
        places = (self.centred.shape[1] * i + j).flatten()
        self.centred.view(len(self.centred), -1).index_add_(1, places, within.flatten(1))

    def add_levels(self, shares, onehots, absent):
        """Observed categories, and expectations of missing ones."""
        self.levels += shares @ onehots + (shares @ absent) * self.gaussians.levels

    def products(self):
        """Of (1, z), shape (K, 1 + d_c, 1 + d_c)."""
        means, d = self.gaussians.means, self.gaussians.means.shape[1]
        shift = torch.eye(1 + d, dtype=means.dtype).repeat(len(means), 1, 1)
        shift[:, 1:, 0] = means
        self.centred[:, 1:, 0] = self.centred[:, 0, 1:]
        return shift @ self.centred @ shift.mT + _unpacked(self.whole, d)


def _unpacked(moments, d):
    """Products of (1, z) from `weighted_moments`, in which 1 and z are the first monomials."""
    if is_wide(d) or isinstance(moments, float):
        return moments
    products = moments.new_zeros(len(moments), 1 + d, 1 + d)
    products[:, 0] = moments[:, : 1 + d]
    products[:, 1:, 0] = moments[:, 1 : 1 + d]
    products[:, 1:, 1:] = unpack_symmetric(moments[:, 1 + d :], d)
    return products


def _packed(products, levels):
    """`weighted_moments` from products of (1, z), with sums of one-hots (K, D) at the end."""
    size = products.shape[1]
    if is_wide(size - 1):
        below = levels.new_zeros(len(levels), size - 1, levels.shape[1])
        return torch.cat([products, torch.cat([levels[:, None], below], dim=1)], dim=2)
    i, j = torch.tril_indices(size - 1, size - 1)
    return torch.cat([products[:, 0], products[:, 1:, 1:][:, i, j], levels], dim=1)


def _expectation_sums(gaussians, patterns):
    """`_Sums` of the rows, and the log likelihood of each (n,) in their sorted order."""
    _check_levels(gaussians, patterns)
    expectation, sums = _Expectation(gaussians), _Sums(gaussians)
    values = torch.empty_like(patterns.weights)

    def shared(joint, rows):
        values[rows] = torch.logsumexp(joint, 0)
        shares = (joint - values[rows]).exp_().mul_(patterns.weights[rows])
        sums.add_levels(shares, patterns.onehots[rows], patterns.absent[rows])
        return shares

    n_components = len(gaussians.weights)
    for rows in patterns.complete_parts(n_components):
        check_time()
        columns = row_columns(patterns.y[rows], gaussians.means.shape[1])
        joint = expectation.complete(columns, patterns.onehots[rows])
        sums.add_complete(shared(joint, rows), columns)
    for part in patterns.parts(n_components):
        check_time()
        expected = expectation.incomplete(part, patterns.onehots[part.rows])
        sums.add_incomplete(shared(expected.joint, part.rows), part, expected)
    return sums, values


def _check_levels(gaussians, patterns):
    """Raise unless the mixture has the columns and levels of the rows."""
    width = gaussians.means.shape[1]
    n_levels = gaussians.levels.shape[1]
    expected = patterns.y.shape[1], patterns.onehots.shape[1]
    if (width, n_levels) != expected:
        raise ValueError(
            f"Got a mixture of {width} columns and {n_levels} levels, expected {expected[0]} and"
            f" {expected[1]}, as of the rows."
        )


def incomplete_moments(weights, means, covariances, levels, rows, level_sizes=()):
    """The expectation step: what `em.maximise` takes, and each row's log likelihood.

    Parameters
    ----------
    weights, means, covariances, levels : tensors (K,), (K, d_c), (K, d_c, d_c), (K, D) or None
        The mixture, as `Gaussians`.
    rows : IncompleteRows of n rows, or the `Patterns` of them
        To be made once for several steps.
    level_sizes : tuple of int
        The numbers of levels of the categorical columns, where the rows are no `Patterns`.

    Returns
    -------
    moments : tensor of shape (K, 1 + d_c + d_c (d_c + 1) / 2 + D)
        Sums over rows of w r_k E (1, z, z z^T, one-hots) given the observed entries, in the order
        of `quadratics.weighted_moments`: w the row's weight, r_k the probability of component k.
        Of many columns (K, 1 + d_c, 1 + d_c + D): products of (1, z), and the one-hots' sums to the
        right of the first row, zeros to that of the others.
    log_likelihoods : tensor of shape (n,)
        log sum_k w_k N(z_o; mu_k,o, C_k,oo) prod_j pi_kj(u_j) of the observed entries; 0 where
        there are none.

    Raises
    ------
    ValueError
        If shapes do not match, an observed number is infinite, or one-hots are none.

    Notes
    -----
    Costs K d_c^2 for each row and K m^3 for each pattern of m missing entries.

    Examples
    --------
    >>> from skrae.mixtures.growth.holes.patterns import IncompleteRows
    >>> y = torch.tensor([[2.0, torch.nan]], dtype=torch.float64)
    >>> rows = IncompleteRows(y, y[:, :0], torch.ones_like(y[:, 0]))
    >>> correlated = torch.tensor([[[1.0, 0.6], [0.6, 1.0]]], dtype=torch.float64)
    >>> weights, means = y.new_ones(1), y.new_zeros(1, 2)
    >>> moments, values = incomplete_moments(weights, means, correlated, None, rows)
    >>> moments  # of 1, z_1, z_2, z_1^2, z_1 z_2, z_2^2 = 1.2^2 + 0.64
    tensor([[1.0000, 2.0000, 1.2000, 4.0000, 2.4000, 2.0800]], dtype=torch.float64)
    >>> values
    tensor([-2.9189], dtype=torch.float64)
    """
    patterns = _patterns_of(rows, level_sizes)
    sums, values = _expectation_sums(_gaussians(weights, means, covariances, levels), patterns)
    return _packed(sums.products(), sums.levels), patterns.restored(values)


def _gaussians(weights, means, covariances, levels):
    return Gaussians(weights, means, covariances, means[:, :0] if levels is None else levels)


def _patterns_of(rows, level_sizes):
    return rows if isinstance(rows, Patterns) else Patterns(rows, level_sizes)


# --- estimates ------------------------------------------------------------------------------------


def products_in(mixture, patterns, inverse):
    """`_Sums` and log likelihoods (n,) of a `Mixture` that lives in z = y @ inverse^-1."""
    covariances = inverse.T @ mixture.covariances @ inverse
    own = _gaussians(mixture.weights, mixture.means @ inverse, covariances, mixture.levels)
    sums, values = _expectation_sums(own, patterns)
    return sums, patterns.restored(values)


def working_moments(mixture, patterns, matrix, inverse):
    """What `em.maximise` takes of a mixture in a working space z = y @ matrix, and likelihoods.

    Parameters
    ----------
    mixture : Mixture of z
    patterns : Patterns of y
        A hole is one entry of y, but many of z.
    matrix, inverse : tensors of shape (d_c, d_c)

    Returns
    -------
    moments : as of `incomplete_moments`, of z
    log_likelihoods : tensor of shape (n,), of the observed entries of y
    """
    sums, values = products_in(mixture, patterns, inverse)
    onto = torch.block_diag(torch.ones_like(matrix[:1, :1]), matrix)  # of (1, y)
    return _packed(onto.T @ sums.products() @ onto, sums.levels), values


def fit_gaussian_with_holes(rows, ridge=1.0, level_sizes=(), max_steps=200, tolerance=1e-10):
    """The likeliest Gaussian of incomplete rows, by EM, and the frequencies of levels.

    The covariance is shrunk to the diagonal of the observed variances v (an inverse-Wishart prior),

        C = (n S + ridge diag(v)) / (n + ridge),     n = sum of weights,

    so that a column observed in few rows keeps its variance and learns its correlations from
    them as far as they are worth. Frequencies are those of the observed categories, with half a row
    more of each level.

    Parameters
    ----------
    rows : IncompleteRows
    ridge : float, in rows
    level_sizes : tuple of int
        The numbers of levels of the categorical columns.
    max_steps : int
    tolerance : float
        The relative rise of the penalised log likelihood below which EM ends.

    Returns
    -------
    Gaussians of one component.

    Raises
    ------
    ValueError
        As of `Patterns`, or where a column has no observed number, or the ridge is negative.
    """
    if not ridge >= 0.0:
        raise ValueError(f"Got ridge={ridge}, expected a number of at least 0.")
    patterns = _patterns_of(rows, level_sizes)
    gaussian, variances = _apart(patterns)
    n, best = patterns.weights.sum(), -math.inf
    for _ in range(max_steps):
        sums, values = _expectation_sums(gaussian, patterns)
        value = float(patterns.weights @ values + _log_prior(gaussian, variances, ridge))
        if value - best <= tolerance * abs(value):
            break
        best, products = value, sums.products() / n
        mean = products[:, 0, 1:]
        scatter = products[:, 1:, 1:] - mean[:, :, None] * mean[:, None, :]
        covariances = (n * scatter + ridge * variances.diag()) / (n + ridge)
        gaussian = gaussian._replace(means=mean, covariances=covariances)
    return gaussian


def _apart(patterns):
    """`Gaussians` of the observed entries of each column apart, and variances that none is 0."""
    observed = patterns.observed * patterns.weights[:, None]
    counts = observed.sum(0)
    if not (counts > 0).all():
        empty = (counts <= 0).nonzero()[:, 0].tolist()
        raise ValueError(f"Got no observed number in columns {empty}, expected some in each.")
    mean = (observed * patterns.y).sum(0) / counts
    variances = (observed * (patterns.y - mean).square()).sum(0) / counts
    variances = torch.where(variances > 0, variances, 1.0)
    level_counts = (patterns.weights @ patterns.onehots + 0.5)[None]
    levels = level_counts / patterns.level_sums(level_counts)
    gaussian = Gaussians(torch.ones_like(mean[:1]), mean[None], variances.diag()[None], levels)
    return gaussian, variances


def _log_prior(gaussian, variances, ridge):
    """-ridge (log|C| + tr C^-1 diag(v)) / 2, which with the log likelihood EM increases."""
    factor = torch.linalg.cholesky(gaussian.covariances[0])
    precision = torch.cholesky_inverse(factor)
    trace = precision.diagonal() @ variances
    return -ridge * (factor.diagonal().log().sum() + 0.5 * trace)


# --- draws ----------------------------------------------------------------------------------------


def complete_from(weights, means, covariances, levels, rows, generator, level_sizes=()):
    """Rows completed by draws from a mixture given their observed entries.

    A component is drawn by its probability given these, then numbers from its conditional and
    missing categories from its pi_k.

    Parameters
    ----------
    weights, means, covariances, levels, rows, level_sizes : as of `incomplete_moments`
    generator : torch.Generator or RowStreams

    Returns
    -------
    tensor of shape (n, d_c + D), full rows: numbers, and a one-hot of each category
    """
    patterns = _patterns_of(rows, level_sizes)
    gaussians = _gaussians(weights, means, covariances, levels)
    _check_levels(gaussians, patterns)
    n, d = patterns.y.shape
    heights = uniform((n, 1 + len(patterns.level_sizes)), generator, means)[patterns.order]
    noise = normal((n, d), generator, means)[patterns.order]
    expectation = _Expectation(gaussians)
    index, y = torch.zeros(n, dtype=torch.long), patterns.y.clone()
    for rows in patterns.complete_parts(len(weights)):
        joint = expectation.complete(row_columns(y[rows], d), patterns.onehots[rows])
        index[rows] = _inverted(torch.softmax(joint, 0).T, heights[rows, 0])
    for part in patterns.parts(len(weights)):
        expected, rows = expectation.incomplete(part, patterns.onehots[part.rows]), part.rows
        index[rows] = k = _inverted(torch.softmax(expected.joint, 0).T, heights[rows, 0])
        axes, row = part.missing[part.pattern], torch.arange(len(k))[:, None]
        m = axes.shape[1]
        spread = expected.roots[k, part.pattern].mT @ noise[rows, :m, None]
        found = means[k[:, None], axes] + expected.deviations[k[:, None], axes, row]
        y[rows] = y[rows].scatter(1, axes, found + spread[:, :, 0])
    onehots = _completed(patterns, gaussians.levels, index, heights[:, 1:])
    return patterns.restored(torch.cat([y, onehots], dim=1))


def _completed(patterns, levels, index, heights):
    """The sorted rows' one-hots, those of missing categories drawn by the rows' components."""
    onehots = patterns.onehots.clone()
    start = 0
    for j, size in enumerate(patterns.level_sizes):
        group = slice(start, start + size)
        absent = (patterns.absent[:, start] > 0).nonzero()[:, 0]
        drawn = _inverted(levels[index[absent], group], heights[absent, j])
        onehots[absent, start + drawn] = 1.0
        start += size
    return onehots


def _inverted(probabilities, heights):
    """The index of each row (n, K) at which probabilities have summed to a height in [0, 1)."""
    cumulative = probabilities.cumsum(1)
    heights = heights[:, None] * cumulative[:, -1:]
    last = probabilities.shape[1] - 1
    return torch.searchsorted(cumulative, heights, right=True)[:, 0].clamp_max(last)
