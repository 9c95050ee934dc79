"""A decoder with an r of its own: f from the density of that reconstruction, the score from r - z.

The density p_r of a reconstruction is believed where the base density q is not far below it:

    f = B(s (log p_r - log q) + o),    B(u) = u up to a rounded bound

so that p~ = q e^f is p_r where data are, but never above q e^B and hence always a density. The
scale s and the offset o are the last two parameters.
"""

import math

import torch
import torch.nn.functional as F

from skrae.autoencoders import one_layer

# The bound on f of the free and tied decoders, and how sharply it sets in: B'(u) is 0.98 one nat
# below it, so that up to there the model's score is (r - z)/tau.
BOUND, SHARPNESS = 5.0, 4.0
_BOUND_OFFSET = math.log1p(math.exp(SHARPNESS * BOUND)) / SHARPNESS


class EnergyDecoder:
    """What the free and the tied decoder share: f from log p_r, the score from r."""

    reconstructs = True

    def __init__(self, activation, tau):
        self.activation, self.tau = activation, tau

    def head_input(self, z, parameters, log_q, generator=None):
        """u = s (log p_r - log q) + o, shape (n,), float64."""
        scale, offset = parameters[-2].double(), parameters[-1].double()
        potential = self.log_potential(z, parameters, generator).double()
        return scale[0] * (potential - log_q) + offset

    def bound(self, u):
        """f = B(u): 0 at 0, slope 1 up to the bound, never above it."""
        return _BOUND_OFFSET - F.softplus(SHARPNESS * (BOUND - u)) / SHARPNESS

    def log_ratio(self, z, parameters, log_q):
        """f(z), shape (n,)."""
        return self.bound(self.head_input(z, parameters, log_q))

    def evaluate(self, z, parameters, log_q, base_gradient):
        """f (n,) and its gradient (n, d), where (r - z)/tau stands for grad log p_r."""
        u = self.head_input(z, parameters, log_q)
        slope = parameters[-2].double()[0] * torch.sigmoid(SHARPNESS * (BOUND - u))
        return self.bound(u), slope[:, None] * (self.field(z, parameters) - base_gradient)

    def field(self, z, parameters):
        """(r(z) - z) / tau, shape (n, d), float64."""
        return (self.reconstruct(z, parameters).double() - z) / self.tau

    def centre(self, parameters, z, log_q):
        """Give u the median 0 at the rows z, by its offset, in place."""
        parameters[-1] -= self.head_input(z, parameters, log_q).median().to(parameters[-1])

    def confine(self, parameters):
        """Keep the energy confining, in place: nothing to do."""

    def training_input(self, z, parameters, log_q, generator):
        """u of as many rows as calibration takes."""
        rows = slice(self.max_rows)
        return self.head_input(z[rows], parameters, log_q[rows], generator)

    def training_score(self, z, parameters, base_gradient):
        """The score (n, d) that denoising fits; f is left to `training_input`."""
        return None, (self.reconstruct(z, parameters) - z) / self.tau

    def score_and_contraction(self, z, parameters):
        """That score and the mean of |dr/dz|_F^2 at the same rows, exact and in one pass.

        None without a closed form.
        """
        layer = self.one_layer(z, parameters)
        if layer is None:
            return None
        y, weight, bias, back, offset, unit = layer
        moved, penalty = one_layer.reconstruction_and_contraction(
            y, weight, bias, back, offset, self.activation
        )
        return (moved - y) / (unit * self.tau), penalty

    def contraction(self, z, parameters):
        """The mean of |dr/dz|_F^2 alone, or None."""
        layer = self.one_layer(z, parameters)
        return None if layer is None else one_layer.contraction(*layer[:4], self.activation)

    def derivatives(self, z, parameters):
        """dr/dz (n, d, d) and the Laplacian of r (n, d), exact, or None."""
        layer = self.one_layer(z, parameters)
        if layer is None:
            return None
        unit, arguments = layer[5], (*layer[:4], self.activation)
        return one_layer.jacobian(*arguments), unit * one_layer.laplacian(*arguments)

    def reconstruct(self, z, parameters):
        """r(z), shape (n, d)."""
        return self.decode(self.code(z, parameters), parameters)
