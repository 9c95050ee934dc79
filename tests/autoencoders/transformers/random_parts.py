"""Random networks and rows, and the Jacobian of an encoder by automatic differentiation."""

from itertools import pairwise

import torch

from skrae.autoencoders.transformers.maps.network import Architecture, Network, Units
from tests.mixtures.random_mixtures import generator

# Features, units, hidden layers, their activation, that of the code.
ARCHITECTURES = [
    Architecture(4, 2, (), "silu", "identity"),
    Architecture(4, 6, (), "silu", "relu"),
    Architecture(3, 5, (), "silu", "sigmoid"),
    Architecture(4, 2, (6,), "silu", "identity"),
    Architecture(4, 3, (6, 5), "tanh", "identity"),
    Architecture(4, 3, (6, 5), "softplus", "sigmoid"),
    Architecture(4, 3, (6,), "sigmoid", "relu"),
    Architecture(5, 1, (3,), "identity", "identity"),
]


def normal(*shape, seed):
    """Standard normal numbers, float64."""
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def assert_close(found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def random_network(architecture, seed):
    """A network in units of its own, with a linear path where it has one, all of it random."""
    d, k, sizes = (
        architecture.n_features,
        architecture.n_components,
        architecture.hidden_layer_sizes,
    )
    code_units = 0.5 + torch.rand(k, generator=generator(seed), dtype=torch.float64)
    path = None
    if architecture.has_linear_path and sizes:
        path = normal(d, k, seed=seed), normal(k, d, seed=seed + 1)
    parameters, widths = [], [d, *sizes, k, *sizes[::-1], d]
    for place, (n_in, n_out) in enumerate(pairwise(widths)):
        parameters.append(normal(n_in, n_out, seed=seed + 2 + place) / n_in**0.5)
        parameters.append(0.3 * normal(n_out, seed=seed + 50 + place))
    return Network(architecture, Units(1.7, code_units, 1.3), path), parameters


def encoder_jacobian(network, parameters, x):
    """dh/dx of each row, (n, k, d)."""

    def code(row):
        return network.encode(row[None], parameters)[0]

    return torch.func.vmap(torch.func.jacrev(code))(x)
