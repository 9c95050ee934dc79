"""The kernel decoder: r = z + tau grad log p~, whose tilt is a sum of radial units.

    u(z) = sum_j a_j k(z, c_j),    f = t - softplus(4 (t - u)) / 4

with t a nat above the largest u of the rows: f is u where the rows are, and nowhere claims more
than there. What is learned of it, a, is the solution of a linear system.
"""

import torch
import torch.nn.functional as F

from skrae.autoencoders import layers
from skrae.autoencoders.decoders.tilt import TiltDecoder
from skrae.autoencoders.radial import RadialUnits

# How sharply the bound sets in, and how far above the largest u of the rows.
SHARPNESS, MARGIN = 4.0, 1.0


class KernelDecoder(layers.Layers, TiltDecoder):
    """f = bounded sum of Gaussian kernels; parameters are centres (d, m), widths (m,), a and t."""

    name = "kernel"
    activations = ("gaussian",)
    noise_covariances = ("isotropic",)
    hidden_layer_sizes = (200,)
    max_hidden_layers = 1
    calibration_weight = 0.0
    has_closed_form = True

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """Units of width 1 at random places, with constant f."""
        to = {"dtype": torch.float64, "device": device}
        centres = torch.randn(n_features, sizes[0], generator=generator, **to)
        return self.of_units(RadialUnits(centres.T, 1.0), centres.new_zeros(sizes[0]), -MARGIN)

    def localise(self, parameters, rows, whiteners, generator):
        """The parameters as they are: the fit puts units at rows."""
        return parameters

    @staticmethod
    def of_units(units, coefficients, largest):
        """The parameters of radial units whose largest u at the rows is `largest`."""
        width = torch.full_like(coefficients, units.width)
        top = coefficients.new_full((1,), largest + MARGIN)
        return [units.centres.T.contiguous(), width, coefficients[:, None], top]

    @classmethod
    def encoder_depth(cls, n_layers):
        """The layer of units."""
        return n_layers - 1

    def _units(self, parameters):
        return RadialUnits(parameters[0].T, float(parameters[1][0]))

    def _bound(self, u, parameters):
        """f and its slope in u."""
        apart = SHARPNESS * (parameters[3] - u)
        return parameters[3] - F.softplus(apart) / SHARPNESS, torch.sigmoid(apart)

    def head_input(self, z, parameters, log_q):
        """f(z), shape (n,)."""
        return self._bound((self.code(z, parameters) @ parameters[2])[:, 0], parameters)[0]

    def bound(self, u):
        """f, which `head_input` is already."""
        return u

    def evaluate(self, z, parameters, log_q, base_gradient, create_graph=False):
        """f (n,) and grad f (n, d)."""
        units, weights = self._units(parameters), parameters[2][:, 0]
        u, gradient = units.value_and_gradient(z.to(weights), weights)
        f, slope = self._bound(u, parameters)
        return f, slope[:, None] * gradient

    def code(self, z, parameters):
        """The units k(z, c_j), shape (n, m)."""
        return self._units(parameters)(z.to(parameters[0]))
