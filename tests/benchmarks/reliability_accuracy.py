"""How exact a log density is: the same arrays evaluated in extended precision, row by row."""

import warnings
from math import lgamma, log, pi

import numpy as np

from skrae import RegularizedAutoEncoderScore

OFFSETS = (0.0, 1e3, 1e6, 1e9, 1e12)  # of the columns, in their spreads
CONDITIONS = (1.0, 1e3, 1e6, 1e9)  # of the columns' correlation matrix


def oracle(model, X):
    """log q(x) of a fitted model without maps of columns, in extended precision, (n,)."""
    wide = np.longdouble
    z = (X.astype(wide) - model.location_.astype(wide)) @ model.whitening_.astype(wide)
    terms = []
    parts = model.base_weights_, model.base_means_, model.base_factors_, model.base_dofs_
    for weight, mean, factor, nu in zip(*parts, strict=True):
        whitened = _solved(factor.astype(wide), (z - mean.astype(wide)).T)
        terms.append(np.log(wide(weight)) + _log_radial(model, whitened, factor, nu))
    highest = np.max(terms, axis=0)
    return highest + np.log(np.exp(np.array(terms) - highest).sum(axis=0)) + wide(model._log_det)


def _solved(lower, vectors):
    """lower^-1 vectors, by forward substitution."""
    solved = np.zeros_like(vectors)
    for i in range(len(lower)):
        solved[i] = (vectors[i] - lower[i, :i] @ solved[:i]) / lower[i, i]
    return solved


def _log_radial(model, whitened, factor, nu):
    """log of N or of a product of t_nu over blocks of axes."""
    d = len(whitened)
    volume = np.log(np.diag(factor).astype(np.longdouble)).sum()
    if np.isinf(nu):
        return -0.5 * (whitened**2).sum(axis=0) - 0.5 * d * log(2 * pi) - volume
    value = -volume
    for block in np.unique(model.base_blocks_):
        part = whitened[model.base_blocks_ == block]
        k = len(part)
        constant = lgamma((nu + k) / 2) - lgamma(nu / 2) - 0.5 * k * log(nu * pi)
        value = value + constant - 0.5 * (nu + k) * np.log1p((part**2).sum(axis=0) / nu)
    return value


def rows(offset, condition, seed=0):
    """Normal rows of three columns at an offset, in spreads, two of them this nearly collinear."""
    z = np.random.default_rng(seed).standard_normal((500, 3))
    z[:, 1] = z[:, 0] + z[:, 1] * 2.0 / np.sqrt(condition)
    return z + offset


def largest_error(offset=0.0, condition=1.0):
    """The largest error of `base_log_density` at rows, and far from them, in nats."""
    X = rows(offset, condition)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = RegularizedAutoEncoderScore(
            margins="identity", max_components=4, max_mixtures=1, max_iter=1, random_state=0
        ).fit(X)
    return float(np.abs(model.base_log_density(X) - oracle(model, X)).max())


def errors():
    """The largest errors by offset and by condition."""
    return {
        **{f"offset {offset:g}": largest_error(offset=offset) for offset in OFFSETS},
        **{f"condition {c:g}": largest_error(condition=c) for c in CONDITIONS},
    }
