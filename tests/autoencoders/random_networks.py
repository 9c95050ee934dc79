"""Random networks."""

import torch

from skrae.autoencoders.layers import initial_parameters
from tests.mixtures.random_mixtures import generator


def random_parameters(d, hidden_layer_sizes, seed, head=1.0, dtype=torch.float64):
    """An initialised network whose head is random too, with weights of this size."""
    draws = generator(seed)
    parameters = initial_parameters(d, hidden_layer_sizes, draws)
    parameters[-2:] = [head * torch.randn(p.shape, generator=draws) for p in parameters[-2:]]
    return [p.to(dtype) for p in parameters]
