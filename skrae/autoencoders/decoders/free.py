"""The free decoder: any auto-encoder, whose density is a line integral of its field."""

from functools import cache

import numpy as np
import torch

from skrae.autoencoders import layers
from skrae.autoencoders.activations import ACTIVATIONS
from skrae.autoencoders.decoders.reconstruction import ReconstructionDecoder
from skrae.autoencoders.one_layer import OneLayer
from skrae.preprocessing.blocks import by_blocks

# Gauss-Legendre nodes of the line integral; training draws one node in each of N_STRATA equal
# parts of the line instead, for as many rows.
N_NODES, N_STRATA, MAX_LINES = 24, 8, 128
# Lines at a time, so that the layers at their nodes stay in the cache.
LINES = 128
RIDGE = 1e-6
MAX_RATE, RATE = 0.3, 30.0


@cache
def _gauss_legendre():
    """Nodes and weights on [0, 1]: exact for polynomials of degree 2 N_NODES - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(N_NODES)
    return 0.5 + 0.5 * nodes, 0.5 * weights


class FreeDecoder(layers.Layers, ReconstructionDecoder):
    """r = g(code(z)), g the mirror image of the encoder with weights of its own.

    Parameters: weights (in, out) and biases of the encoder's layers, of the decoder's, and s, o.
    log p_r is the line integral of (r - z)/tau from the mean of the base density, which defines one
    function whether or not the field is a gradient: density ratios are antisymmetric.
    """

    activations = ("silu", "tanh", "softplus", "sigmoid", "relu")
    calibration_weight = 4.0
    # A draw costs a line integral.
    max_validation_draws = 2048
    is_conservative, max_rows = False, MAX_LINES

    def __init__(self, activation, tau, origin):
        super().__init__(activation, tau, origin)
        # Steps must stay small beside tau, which r - z is divided by.
        self.rate = min(MAX_RATE, RATE * tau)

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """A random encoder, a random decoder, its mirror image, and a head of one."""
        encoder = layers.initial_parameters(n_features, sizes, generator, device)
        mirrored = [*sizes[-2::-1], n_features]
        decoder = layers.initial_parameters(sizes[-1], mirrored, generator, device)
        return [*encoder[:-2], *decoder[:-2], torch.ones_like(encoder[-2][:1]), encoder[-1]]

    @staticmethod
    def _halves(parameters):
        """The (weight, bias) pairs of the encoder and those, as many, of the decoder."""
        pairs = list(zip(parameters[0:-2:2], parameters[1:-2:2], strict=True))
        return pairs[: len(pairs) // 2], pairs[len(pairs) // 2 :]

    def code(self, z, parameters):
        """The encoder's output, shape (n, k)."""
        return self._apply(z, self._halves(parameters)[0])

    def _apply(self, h, pairs):
        for weight, bias in pairs:
            h = ACTIVATIONS[self.activation].value(torch.addmm(bias, h, weight))
        return h

    def decode(self, code, parameters):
        """g(code), shape (n, d): the last layer is linear."""
        *hidden, (weight, bias) = self._halves(parameters)[1]
        return torch.addmm(bias, self._apply(code, hidden), weight)

    def renew(self, parameters, z, noisy, generator):
        """Fit the last layer to give back rows z from noisy ones, by least squares, in place."""
        encoder, (*hidden, (weight, bias)) = self._halves(parameters)
        h = self._apply(noisy, [*encoder, *hidden]).double()
        h = torch.cat([h, torch.ones_like(h[:, :1])], dim=1)
        gram = h.T @ h / len(h)
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        solution = torch.linalg.solve(gram, h.T @ z.double() / len(h)).to(weight)
        weight.copy_(solution[:-1])
        bias.copy_(solution[-1])

    def one_layer(self, z, parameters):
        """z, W, b, V and c where there is one hidden layer, else None."""
        encoder, decoder = self._halves(parameters)
        return OneLayer(z, *encoder[0], *decoder[0]) if len(encoder) == 1 else None

    def log_potential(self, z, parameters, generator=None):
        """int_0^1 (r(y) - y) . (z - z_0) dt / tau at y = z_0 + t (z - z_0), shape (n,)."""
        return by_blocks(lambda rows: self._integral(rows, parameters, generator), z, size=LINES)

    def _integral(self, z, parameters, generator):
        origin = self.origin.to(z)
        line = z - origin
        nodes, weights = self._nodes(z, generator)
        points = origin + nodes[:, :, None] * line
        points = points.flatten(0, 1)
        moves = (self.reconstruct(points, parameters) - points).reshape(*nodes.shape, -1)
        return torch.einsum("tn,tnd,nd->n", weights, moves, line) / self.tau

    def _nodes(self, z, generator):
        """Where along the line, (n_nodes, n), and with what weight."""
        if generator is None:
            nodes, weights = (torch.tensor(a).to(z)[:, None] for a in _gauss_legendre())
            return nodes.expand(-1, len(z)), weights.expand(-1, len(z))
        to = {"generator": generator, "device": z.device, "dtype": z.dtype}
        starts = torch.arange(N_STRATA, device=z.device, dtype=z.dtype)[:, None]
        nodes = (starts + torch.rand(N_STRATA, len(z), **to)) / N_STRATA
        return nodes, torch.full_like(nodes, 1.0 / N_STRATA)
