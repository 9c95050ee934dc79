"""Encoder and decoder: networks on top of the linear path.

    h = x E + c_u f(x / x_u),    r = h D + x_u g(h / c_u)          with a linear path (E, D)
    h = s(c_u f(x / x_u)),       r = x_u g(h / c_u)                without one

f and g are networks of weights and biases in turn, trained in the units x_u of the rows and c_u of
the code, in which all is of order one. With no hidden layers f and g are linear: they hold the
linear path themselves from the start. With a linear path the last layers of both start at zero.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from skrae.autoencoders.activations import ACTIVATIONS

# The unit of a code whose spread is smaller, as a share of that of the rows.
LEAST_UNIT = 1e-3


class Architecture(NamedTuple):
    """What the shapes of the parameters depend on, and the functions between them."""

    n_features: int
    n_components: int
    hidden_layer_sizes: tuple
    activation: str
    code_activation: str
    decodes: bool = True  # whether there is a decoder

    @property
    def n_encoder_layers(self):
        return len(self.hidden_layer_sizes) + 1

    @property
    def has_linear_path(self):
        """Whether the code is on the line, so that a linear map can give it."""
        return self.code_activation == "identity"

    @property
    def is_linear_at_best(self):
        """Whether no network reconstructs clean rows better than the linear path does."""
        is_linear = not self.hidden_layer_sizes or self.activation == "identity"
        return self.has_linear_path and (is_linear or self.n_components >= self.n_features)


class Units(NamedTuple):
    """Units in which rows and codes are of order one."""

    rows: float  # x_u
    code: torch.Tensor  # c_u (k,)
    atoms: float = 1.0  # the norm that atoms are kept at, in working space


class Network:
    """The map of parameters to codes and reconstructions.

    Parameters
    ----------
    architecture : Architecture
    units : Units
    path : pair of tensors (d, k) and (k, d), E and D, or None
        None where the parameters hold the linear path, or there is none.
    """

    def __init__(self, architecture, units, path):
        self.architecture, self.units, self.path = architecture, units, path
        self.n_encoder = 2 * architecture.n_encoder_layers
        self.hidden = ACTIVATIONS[architecture.activation]
        self.code_unit = ACTIVATIONS[architecture.code_activation]

    def to(self, reference):
        """The same in the dtype and on the device of a tensor."""
        units = self.units._replace(code=self.units.code.to(reference))
        path = self.path and tuple(part.to(reference) for part in self.path)
        return Network(self.architecture, units, path)

    def encode(self, x, parameters):
        """The code h, (n, k)."""
        found = _sweep(x / self.units.rows, parameters[: self.n_encoder], self.hidden)
        return self.code_unit.value(self._pre_code(x, found))

    def _pre_code(self, x, found):
        a = self.units.code * found
        return a if self.path is None else torch.addmm(a, x, self.path[0])

    def decode(self, h, parameters):
        """The reconstruction r, (n, d)."""
        r = self.units.rows * _sweep(h / self.units.code, parameters[self.n_encoder :], self.hidden)
        return r if self.path is None else torch.addmm(r, h, self.path[1])

    def decoder_jacobian(self, h, parameters):
        """dr/dh at one code h (1, k), shape (k, d)."""
        z, jacobian = h / self.units.code, torch.diag(self.units.rows / self.units.code)
        *weights, last = parameters[self.n_encoder :: 2]
        for weight, bias in zip(weights, parameters[self.n_encoder + 1 : -2 : 2], strict=True):
            z, slope = self.hidden.value_and_slope(torch.addmm(bias, z, weight))
            jacobian = (jacobian @ weight) * slope
        jacobian = jacobian @ last
        return jacobian if self.path is None else jacobian + self.path[1]

    def encode_with_slopes(self, x, parameters):
        """The code, and the slopes of all units from the first layer to the code."""
        weights, biases = parameters[: self.n_encoder : 2], parameters[1 : self.n_encoder : 2]
        z, slopes = x / self.units.rows, []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            z, slope = self.hidden.value_and_slope(torch.addmm(bias, z, weight))
            slopes.append(slope)
        a = self._pre_code(x, torch.addmm(biases[-1], z, weights[-1]))
        h, slope = self.code_unit.value_and_slope(a)
        return h, [*slopes, slope]

    def pull_back(self, v, slopes, parameters):
        """v^T dh/dx of each row, (n, d), for v (n, k)."""
        above = v * slopes[-1]
        delta = above * self.units.code
        weights = parameters[: self.n_encoder : 2]
        for weight, slope in zip(reversed(weights[1:]), reversed(slopes[:-1]), strict=True):
            delta = (delta @ weight.T) * slope
        delta = (delta @ weights[0].T) / self.units.rows
        return delta if self.path is None else torch.addmm(delta, above, self.path[0].T)

    def first_weight(self, parameters):
        """W of h = s(x W + b), where there are no hidden layers."""
        return parameters[0] * (self.units.code / self.units.rows)

    def confine_atoms(self, parameters):
        """Give the weights from each unit of the code one norm, in place."""
        weight, lengths = parameters[self.n_encoder], torch.ones_like(self.units.code)
        if not self.architecture.hidden_layer_sizes:
            lengths = self.units.atoms * self.units.code / self.units.rows
        with torch.no_grad():
            norms = weight.norm(dim=1).clamp_min(torch.finfo(weight.dtype).tiny)
            weight.mul_((lengths.to(weight) / norms)[:, None])

    def arrays(self, parameters):
        """coefs and intercepts of f and g in the units of working space."""
        scaled = self._rescaled(parameters, 1.0)
        return scaled[0::2], scaled[1::2]

    def parameters(self, coefs, intercepts):
        """The inverse of `arrays`."""
        flat = [p for pair in zip(coefs, intercepts, strict=True) for p in pair]
        return self._rescaled(flat, -1.0)

    def _rescaled(self, parameters, sign):
        rows, code = self.units.rows**sign, self.units.code**sign
        out = list(parameters)
        last = self.n_encoder - 2
        out[0] = out[0] / rows
        out[last], out[last + 1] = out[last] * code, out[last + 1] * code
        if self.architecture.decodes:
            out[self.n_encoder] = out[self.n_encoder] / code[:, None]
            out[-2], out[-1] = out[-2] * rows, out[-1] * rows
        return out


def _sweep(z, parameters, activation):
    """The output of a network: activations between its layers, none after the last."""
    *weights, last = parameters[0::2]
    *biases, offset = parameters[1::2]
    for weight, bias in zip(weights, biases, strict=True):
        z = activation.value(torch.addmm(bias, z, weight))
    return torch.addmm(offset, z, last)


def started(architecture, path, variance, varies, generator):
    """The network and the parameters that a fit begins with.

    Parameters
    ----------
    architecture : Architecture
    path : LinearPath or None
    variance : float, the total variance of the rows
    varies : bool tensor of shape (d,); nothing is read from other columns, nor written to them
    generator : torch.Generator

    Returns
    -------
    network : Network
    parameters : list of tensors, float32, or float64 where all is linear
    """
    rows = math.sqrt(variance / int(varies.sum()))
    network = Network(architecture, _units(architecture, path, rows, variance), None)
    if path is None:
        return network, _random(architecture, varies, generator)
    if architecture.hidden_layer_sizes:
        network.path = torch.from_numpy(path.encoder), torch.from_numpy(path.decoder)
        return network, _random(architecture, varies, generator, last=0.0)
    return network, _linear(network, path, varies, generator)


def _units(architecture, path, rows, variance):
    if path is not None:
        is_used = np.any(path.decoder, axis=1)
        deviations = np.maximum(path.deviations, LEAST_UNIT * rows)
        return Units(rows, torch.from_numpy(np.where(is_used, deviations, rows)))
    ones = torch.ones(architecture.n_components, dtype=torch.float64)
    if architecture.code_activation == "sigmoid":  # a few units, each at most 1, make up a row
        return Units(rows, ones, 0.5 * math.sqrt(variance))
    return Units(rows, rows * ones)


def _random(architecture, varies, generator, last=1.0):
    """Weights N(0, 1 / n_in), those of either last layer times `last`; biases zero."""
    sizes = [architecture.n_features, *architecture.hidden_layer_sizes, architecture.n_components]
    parameters, float32 = [], {"dtype": torch.float32}
    for layers in (sizes, sizes[::-1]) if architecture.decodes else (sizes,):
        for n_in, n_out in pairwise(layers):
            weight = torch.randn(n_in, n_out, generator=generator, **float32) / math.sqrt(n_in)
            parameters += [weight, torch.zeros(n_out, **float32)]
        parameters[-2] *= last
    if not architecture.hidden_layer_sizes and architecture.decodes:
        # Each unit adds back what it read, as in a tied auto-encoder.
        parameters[2] = parameters[0].T / parameters[0].norm(dim=0)[:, None]
    parameters[0][~varies] = 0.0
    if architecture.decodes:
        parameters[-2][:, ~varies] = 0.0
    return parameters


def _linear(network, path, varies, generator):
    """The linear path itself as parameters; units beyond its rank begin at random."""
    encoder, decoder = torch.from_numpy(path.encoder), torch.from_numpy(path.decoder)
    d, k = encoder.shape
    coefs = [encoder.clone(), decoder.clone()]
    empty = decoder.norm(dim=1) == 0.0
    axes = torch.randn(int(empty.sum()), d, generator=generator, dtype=torch.float64) * varies
    coefs[1][empty] = axes / axes.norm(dim=1, keepdim=True).clamp_min(LEAST_UNIT)
    coefs[0][:, empty] = 0.1 * coefs[1][empty].T
    intercepts = [torch.zeros(k).double(), torch.zeros(d).double()]
    n_networks = 2 if network.architecture.decodes else 1
    return network.parameters(coefs[:n_networks], intercepts[:n_networks])
