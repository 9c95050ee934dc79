"""Densities of full rows made by hand, curved and turned, and integrals of them by quadrature."""

from itertools import pairwise, product

import numpy as np
from scipy.special import logsumexp

from skrae.density.columns.margins import Chain, Margins
from skrae.density.fitted import Evaluator, Fitted
from skrae.preprocessing.affine import AffineMap
from skrae.preprocessing.beside import Beside
from tests.autoencoders.random_networks import random_parameters
from tests.mixtures.random_mixtures import generator, random_mixture, with_levels

INF = np.inf
UNITS = np.array([1.0, 20.0, 0.1, 1.0, 5.0, 1.0, 1.0, 1.0, 2.0])


def curved(d, seed):
    """A map of d columns in unlike units: t = arcsinh(a s) / a of each, then a turn."""
    rng = np.random.default_rng(seed)
    s, a = np.linspace(-6.0, 6.0, 49), np.linspace(0.3, 0.8, d)[:, None]
    root = np.sqrt(1.0 + (a * s) ** 2)
    parts = np.arcsinh(a * s) / a, 1.0 / root, -(a**2) * s / root**3
    margins = Margins(rng.standard_normal(d), UNITS[:d], np.tile(s, (d, 1)), *parts)
    matrix = np.linalg.qr(rng.standard_normal((d, d)))[0] @ np.diag(np.linspace(0.7, 1.4, d))
    log_det = np.linalg.slogdet(matrix)[1]
    return Chain(margins, AffineMap(rng.normal(0, 0.2, d), matrix, np.linalg.inv(matrix), log_det))


def fitted_law(d, levels, seed, head=0.0, dofs=None, n_components=3):
    """A `Fitted` of d numeric columns and categories, its network random, zero without a head."""
    base = random_mixture(d, n_components, seed, dofs)
    transform = curved(d, seed)
    if levels:
        base, transform = with_levels(base, levels, seed + 1), Beside(transform, sum(levels))
    parameters = [p.numpy() for p in random_parameters(d + sum(levels), (8, 6), seed, head)]
    if not head:
        parameters[-2:] = (np.zeros_like(part) for part in parameters[-2:])
    return Fitted(
        transform=transform,
        base=base.arrays(),
        coefs=parameters[::2],
        intercepts=parameters[1::2],
        decoder="gradient",
        activation="silu",
        noise_covariance="local",
        noise_level=0.3,
        contraction_weight=0.0,
        bias_correction=False,
        log_z=0.25 if head else 0.0,
    )


def evaluator_of_full_rows(fitted):
    """The `Evaluator` in float64."""
    return Evaluator(fitted, "cpu", np.float64)


def draws(fitted, n, seed):
    """n full rows drawn by the base density, in the units of the data."""
    base = evaluator_of_full_rows(fitted).field.base
    return fitted.transform.inverse(base.sample(n, generator(seed)).numpy())


def groups(d, levels):
    """The slice of each entry of a row: numbers, then categories."""
    ends = np.cumsum([d, *levels])
    own = [slice(start, stop) for start, stop in pairwise(ends)]
    return [slice(j, j + 1) for j in range(d)] + own


def punched(rows, d, levels, holes):
    """Rows of which the entries (numbers, then categories) in `holes` are missing."""
    rows, places = rows.copy(), groups(d, levels)
    for hole in holes:
        rows[:, places[hole]] = np.nan
    return rows


def every_hole(d, levels):
    """All patterns of missing entries, tuples."""
    flags = product([False, True], repeat=d + len(levels))
    return [tuple(np.flatnonzero(row).tolist()) for row in flags]


def fillings(fitted, row, n=None, reach=9.0):
    """Full rows on a grid over what a row misses, and the log weights of their sum.

    Of numbers x = m + s sinh(u), so that heavy tails are reached by few points.
    """
    levels = tuple(fitted.base[-1])
    d = len(row) - sum(levels)
    n = n or (2001 if np.isnan(row[:d]).sum() < 2 else 161)
    centre = fitted.transform.inverse(np.zeros((1, len(row))))[0]
    rows, weights = np.zeros((1, 0)), np.zeros(1)
    for j, place in enumerate(groups(d, levels)):
        values, own = row[None, place], np.zeros(1)
        if np.isnan(values).any() and j >= d:
            values = np.eye(place.stop - place.start)
        elif np.isnan(values).any():
            u = np.linspace(-reach, reach, n)
            values = (centre[j] + UNITS[j] * np.sinh(u))[:, None]
            own = np.log(UNITS[j] * np.cosh(u) * (u[1] - u[0]))
        rows = np.hstack([np.repeat(rows, len(values), 0), np.tile(values, (len(rows), 1))])
        weights = np.add.outer(weights, np.broadcast_to(own, len(values))).ravel()
    return rows, weights


def log_integral(fitted, log_density, row, n=None):
    """log of the integral of exp(log_density) over what a row misses."""
    rows, weights = fillings(fitted, row, n)
    return logsumexp(log_density(rows) + weights)
