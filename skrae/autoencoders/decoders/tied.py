"""The tied decoder: one hidden layer, whose energy has a closed form."""

import math

import torch
import torch.nn.functional as F

from skrae.autoencoders import one_layer
from skrae.autoencoders.activations import ACTIVATIONS
from skrae.autoencoders.decoders.reconstruction import ReconstructionDecoder
from skrae.autoencoders.layers import head_of
from skrae.autoencoders.one_layer import OneLayer

# Variance of the widest direction that the energy may have with relu.
WIDEST_VARIANCE = 25.0
MAX_UNIT, RATE = 10.0, 2.0
# Hidden units begin with slopes between these, at this pre-activation.
NARROWEST_SLOPE, WIDEST_SLOPE = 0.05, 1.0
MIDDLE = {"sigmoid": 0.0, "tanh": 0.0, "relu": 1.0}
BALANCING_ROUNDS, SMALLEST_VARIANCE = 3, 1e-3


class TiedDecoder(ReconstructionDecoder):
    """r = (h(y W + b) W^T + c) / t with y = t z, t = 1 / sqrt(tau): tied in units of the noise.

    A hidden unit that moves y by |w| does so over a width of 4 / |w|, so that with weights of order
    one r has detail of the size of the noise. t ends at MAX_UNIT: finer units would be too narrow
    to cover the data together.

    Parameters: W (d, k), b (k,), c (d,), s (1, 1), o (1,).
    """

    activations = ("sigmoid", "tanh", "relu")
    # Its energy is steep beside its denoising error: a larger weight would rule it.
    calibration_weight = 0.3
    max_hidden_layers, starts_from_last_level = 1, False

    def __init__(self, activation, tau, origin):
        super().__init__(activation, tau, origin)
        self.unit = min(tau**-0.5, MAX_UNIT)
        self.rate = RATE * math.sqrt(self.unit) * tau**0.25

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """Zeros of the right shapes, to be renewed, and a head of one."""
        (k,) = sizes
        shapes = (n_features, k), (k,), (n_features,), (1, 1), (1,)
        to = {"dtype": torch.float32, "device": device}
        parameters = [torch.zeros(shape, **to) for shape in shapes]
        head_of(parameters).scale.fill_(1.0)
        return parameters

    def localise(self, parameters, rows, whiteners, generator):
        """The parameters as they are: renewal places the units."""
        return parameters

    def renew(self, parameters, z, noisy, generator):
        """Units of many widths that change at the rows, dr/dz being I on average, in place.

        A new noise level begins anew, because its units have another width.
        """
        rows = self.unit * z
        d, k = parameters[0].shape
        to = {"generator": generator, "device": rows.device, "dtype": rows.dtype}
        low, high = math.log(NARROWEST_SLOPE), math.log(WIDEST_SLOPE)
        slopes = torch.exp(low + (high - low) * torch.rand(k, **to))
        weight = F.normalize(torch.randn(d, k, **to), dim=0) * slopes
        centres = rows[torch.randint(len(rows), (k,), generator=generator, device=rows.device)]
        for _ in range(BALANCING_ROUNDS):
            bias = MIDDLE[self.activation] - (weight * centres.T).sum(0)
            mean_slope = self._unit(rows, weight, bias)[1].mean(0)
            variances, axes = torch.linalg.eigh((weight * mean_slope) @ weight.T)
            weight = axes * variances.clamp_min(SMALLEST_VARIANCE).rsqrt() @ axes.T @ weight
        bias = MIDDLE[self.activation] - (weight * centres.T).sum(0)
        offset = (rows - self._unit(rows, weight, bias)[0] @ weight.T).mean(0)
        torch._foreach_copy_(parameters[:3], [weight, bias, offset])

    def _unit(self, y, weight, bias):
        """h and h' at the pre-activations y W + b."""
        unit = ACTIVATIONS[self.activation]
        return unit.value_and_slope(torch.addmm(bias, y, weight))

    def log_potential(self, z, parameters, generator=None):
        """log p_r = -E(y) / (t^2 tau), shape (n,)."""
        layer = self.unit * z, *parameters[:3], self.activation
        return one_layer.tied_log_density(*layer) / (self.unit**2 * self.tau)

    def code(self, z, parameters):
        """h(y W + b), shape (n, k)."""
        return one_layer.encode(self.unit * z, *parameters[:2], self.activation)

    def decode(self, code, parameters):
        """(code W^T + c) / t, shape (n, d)."""
        return torch.addmm(parameters[2], code, parameters[0].T) / self.unit

    def one_layer(self, z, parameters):
        """The closed form, with y = t z."""
        weight, bias, offset = parameters[:3]
        return OneLayer(self.unit * z, weight, bias, None, offset, self.unit)

    def confine(self, parameters):
        """Bound the spectral norm of W for relu, in place, so that E grows in all directions."""
        if self.activation == "relu":
            limit = 1.0 - self.tau / WIDEST_VARIANCE
            with torch.no_grad():
                parameters[0].copy_(one_layer.confine(parameters[0], limit))

    def arrays(self, parameters):
        """coefs and intercepts of encoder, decoder and head."""
        weight, bias, offset, scale, constant = parameters
        coefs = [self.unit * weight, weight.T / self.unit, scale]
        return coefs, [bias, offset / self.unit, constant]

    def parameters(self, coefs, intercepts):
        """The inverse of `arrays`."""
        offset = intercepts[1] * self.unit
        return [coefs[0] / self.unit, intercepts[0], offset, coefs[2], intercepts[2]]
