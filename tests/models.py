"""Small random models that several tests share."""

import numpy as np
import torch

from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.autoencoders.layers import initial_parameters
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity


def generator(seed):
    """A torch generator of its own."""
    return torch.Generator().manual_seed(seed)


def random_mixture(d, n_components, seed, dofs=None):
    """Components of very different widths, correlated, near the origin."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n_components, 5.0))
    widths = np.geomspace(0.25, 1.5, n_components)[:, None, None]
    factors = np.tril(0.4 * rng.standard_normal((n_components, d, d)), -1)
    factors = widths * (factors + np.eye(d) * rng.uniform(0.7, 1.3, (n_components, d, 1)))
    dofs = [np.inf] * n_components if dofs is None else dofs
    return MixtureDensity(weights, rng.standard_normal((n_components, d)), factors, dofs)


def random_parameters(d, hidden_layer_sizes, seed, head=1.0, dtype=torch.float64):
    """An initialised network whose head is random too, with weights of this size."""
    draws = generator(seed)
    parameters = initial_parameters(d, hidden_layer_sizes, draws)
    parameters[-2:] = [head * torch.randn(p.shape, generator=draws) for p in parameters[-2:]]
    return [p.to(dtype) for p in parameters]


def random_field(d, seed, kind="local", n_components=3, head=1.0, tau=0.2, dofs=None):
    """A ScoreField in float64 with a random mixture and a random head."""
    base = random_mixture(d, n_components, seed, dofs)
    parameters = random_parameters(d, (8, 6), seed, head)
    return ScoreField(base, GradientDecoder("silu", tau, None), parameters, NoiseMetric(base, kind))


def finite_differences(function, z, step=1e-4):
    """Central differences of a function (n, d) -> (n, ...): derivatives on the last axis."""
    shifts = step * torch.eye(z.shape[1], dtype=z.dtype)
    return torch.stack([(function(z + s) - function(z - s)) / (2 * step) for s in shifts], dim=-1)
