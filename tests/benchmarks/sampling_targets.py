"""The densities of the sampling benchmark as functions of one point, written in jax.

A target is `log_density(z) -> scalar` in the coordinates the peers move in, with the affine map
x = z A + m back to the units of the rows. A learned density is rebuilt from the fitted NumPy
attributes of the estimator; `check_port` compares each function with the density it stands for.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from scipy.special import gammaln

MAX_PORT_ERROR = 1e-4
HEAD_BOUND = 4.0
MISSING = "{name} is not installed; the sampling benchmark needs it: pip install 'skrae[bench]'."


def use_one_core():
    """Keep this process, and jax once it is imported, to one core and one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()


def bench_module(name):
    """An optional package, or an ImportError that names the extra it comes with."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(MISSING.format(name=name)) from error


@dataclass(frozen=True)
class Target:
    """A log density of one point z in jax; rows are x = z @ matrix + location."""

    log_density: Callable
    matrix: np.ndarray
    location: np.ndarray

    def coordinates(self, X):
        """The z of rows X."""
        return np.linalg.solve(self.matrix.T, (X - self.location).T).T

    def rows(self, z):
        """The rows of any array (..., d) of z."""
        return np.asarray(z, dtype=np.float64) @ self.matrix + self.location


def check_port(target, log_density, X):
    """Largest difference of the target from `log_density` over rows X, constants aside.

    Raises
    ------
    ValueError
        If it is more than MAX_PORT_ERROR: the benchmark would compare different densities.
    """
    jax = bench_module("jax")
    z = jax.numpy.asarray(target.coordinates(X))
    ported = np.asarray(jax.jit(jax.vmap(target.log_density))(z), dtype=np.float64)
    difference = ported - log_density(X)
    error = float(np.abs(difference - np.median(difference)).max())
    if not error <= MAX_PORT_ERROR:
        raise ValueError(f"the jax port differs by {error:.2g}, expected at most {MAX_PORT_ERROR}")
    return error


# --- learned --------------------------------------------------------------------------------------


def learned(model):
    """log q(z) + f(z) - log Z of a fitted RegularizedAutoEncoderScore without margins, in z."""
    jnp = bench_module("jax").numpy
    log_q, f = _mixture(model), _head(model)
    log_det = float(np.linalg.slogdet(model.whitening_)[1])
    constant = jnp.asarray(log_det - model.log_normalizer_)
    matrix = np.linalg.inv(model.whitening_)
    return Target(lambda z: log_q(z) + f(z) + constant, matrix, model.location_)


def _mixture(model):
    """log sum_k w_k c_k(z); the whitened deviations of all components are one matrix product."""
    jax = bench_module("jax")
    jnp = jax.numpy
    whiteners = np.linalg.inv(model.base_factors_).swapaxes(1, 2)
    n, d, _ = whiteners.shape
    flat = jnp.asarray(whiteners.swapaxes(0, 1).reshape(d, n * d))
    shifts = jnp.asarray(np.einsum("kd,kde->ke", model.base_means_, whiteners))
    heavy = jnp.asarray(np.isfinite(model.base_dofs_))
    dofs = jnp.asarray(np.where(np.isfinite(model.base_dofs_), model.base_dofs_, 1.0))
    constants = jnp.asarray(_log_heights(model))

    axes = jnp.asarray(_block_axes(model))

    def log_density(z):
        squares = jnp.square((z @ flat).reshape(n, d) - shifts) @ axes
        falling = (dofs[:, None] + axes.sum(0)) * jnp.log1p(squares / dofs[:, None])
        tails = jnp.where(heavy[:, None], falling, squares).sum(1)
        return jax.nn.logsumexp(constants - 0.5 * tails)

    return log_density


def _block_axes(model):
    """1 where an axis is of a block, shape (d, B)."""
    return np.equal.outer(model.base_blocks_, np.unique(model.base_blocks_)).astype(float)


def _log_heights(model):
    """log w_k c_k(mu_k), shape (K,)."""
    d, nu = _block_axes(model).sum(0), model.base_dofs_[:, None]
    heavy = np.isfinite(nu)
    nu = np.where(heavy, nu, 1.0)
    student = gammaln(0.5 * (nu + d)) - gammaln(0.5 * nu) - 0.5 * d * np.log(nu * np.pi)
    heights = np.where(heavy, student, -0.5 * d * np.log(2 * np.pi))
    volumes = np.log(np.diagonal(model.base_factors_, axis1=1, axis2=2)).sum(1)
    return np.log(model.base_weights_) + heights.sum(1) - volumes


def _head(model):
    """f(z): the encoder, then softplus(c) - softplus(c - u)."""
    jax = bench_module("jax")
    activation = {"silu": jax.nn.silu, "tanh": jax.numpy.tanh, "softplus": jax.nn.softplus}
    function = activation[model.activation]
    layers = [
        (jax.numpy.asarray(weight), jax.numpy.asarray(bias))
        for weight, bias in zip(model.coefs_, model.intercepts_, strict=True)
    ]

    def f(z):
        for weight, bias in layers[:-1]:
            z = function(z @ weight + bias)
        u = (z @ layers[-1][0] + layers[-1][1])[0]
        return jax.nn.softplus(HEAD_BOUND) - jax.nn.softplus(HEAD_BOUND - u)

    return f


# --- known ----------------------------------------------------------------------------------------


def known(density):
    """The density of `skrae.datasets` in its own coordinates."""
    d = density.n_features
    return Target(_KNOWN[type(density).__name__](density), np.eye(d), np.zeros(d))


def in_axes_of(target, X):
    """The target in coordinates in which rows X have covariance I."""
    jnp = bench_module("jax").numpy
    factor = np.linalg.cholesky(np.cov(X.T)).T
    matrix, location = jnp.asarray(factor), jnp.asarray(X.mean(0))
    moved = lambda z: target.log_density(z @ matrix + location)  # noqa: E731
    return Target(moved, factor, X.mean(0))


def _gaussian(density):
    jnp = bench_module("jax").numpy
    whitener = jnp.asarray(np.linalg.inv(np.linalg.cholesky(density.covariances[0])).T)
    mean = jnp.asarray(density.means[0])
    return lambda x: -0.5 * jnp.square((x - mean) @ whitener).sum()


def _banana(density):
    jnp = bench_module("jax").numpy
    scale, bend = density.scale, density.bend

    def log_density(x):
        second = x[1] - bend * (scale**2 - x[0] ** 2)
        return -0.5 * ((x[0] / scale) ** 2 + second**2 + jnp.square(x[2:]).sum())

    return log_density


def _funnel(density):
    jnp = bench_module("jax").numpy

    def log_density(x):
        squares = (x[0] / density.scale) ** 2 + jnp.square(x[1:]).sum() * jnp.exp(-x[0])
        return -0.5 * (squares + (density.n_features - 1) * x[0])

    return log_density


def _log_gamma(density):
    jnp = bench_module("jax").numpy
    return lambda x: (density.shape * x - jnp.exp(x)).sum()


_KNOWN = {"Gaussian": _gaussian, "Banana": _banana, "Funnel": _funnel, "LogGamma": _log_gamma}
