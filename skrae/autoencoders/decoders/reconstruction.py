"""A decoder with an r of its own: f from the density of that reconstruction, the score from r - z.

The density p_r of a reconstruction is believed where the base density q is not far below it:

    f = B(s (log p_r - log q) + o),    B(u) = u up to a rounded bound

so that p~ = q e^f is p_r where data are, but never above q e^B and hence always a density. The
scale s and the offset o are the head.
"""

import math
from abc import abstractmethod

import torch
import torch.nn.functional as F

from skrae.autoencoders import one_layer
from skrae.autoencoders.decoders.decoder import Decoder
from skrae.autoencoders.layers import head_of
from skrae.autoencoders.objectives import balancing_shift

# The bound on f of the free and tied decoders, and how sharply it sets in: B'(u) is 0.98 one nat
# below it, so that up to there the model's score is (r - z)/tau.
BOUND, SHARPNESS = 5.0, 4.0
_BOUND_OFFSET = math.log1p(math.exp(SHARPNESS * BOUND)) / SHARPNESS
# Rows at which a noise level is prepared, and at which its tilt is centred.
START_ROWS, CENTRE_ROWS = 16384, 1024
# Share of a batch's own best offset by which that of the parameters moves in a step.
SHIFT_RATE = 0.1


class ReconstructionDecoder(Decoder):
    """What the free and the tied decoder share: f from log p_r, the score from r."""

    noise_covariances = ("isotropic",)
    hidden_layer_sizes = (128,)
    # Below it, r - z is too small beside its error.
    finest_noise_level = 0.03
    averaging = 0.995
    learns_without_tilt = True
    # Rows that calibration takes of a batch, all of them where None.
    max_rows = None

    @classmethod
    def encoder_depth(cls, n_layers):
        """Half of the layers but the head; the others decode."""
        return (n_layers - 1) // 2

    @abstractmethod
    def log_potential(self, z, parameters, generator=None):
        """log p_r up to a constant, shape (n,); a generator draws quadrature nodes, if any."""

    @abstractmethod
    def renew(self, parameters, z, noisy, generator):
        """Fit the parameters to give back rows z from noisy ones, as well as is quick, in place."""

    @abstractmethod
    def one_layer(self, z, parameters):
        """The `OneLayer` form at rows z; None where there are more hidden layers."""

    def head_input(self, z, parameters, log_q, generator=None):
        """u = s (log p_r - log q) + o, shape (n,), float64."""
        head = head_of(parameters)
        potential = self.log_potential(z, parameters, generator).double()
        return head.scale.double()[0] * (potential - log_q()) + head.offset.double()

    def bound(self, u):
        """f = B(u): 0 at 0, slope 1 up to the bound, never above it."""
        return _BOUND_OFFSET - F.softplus(SHARPNESS * (BOUND - u)) / SHARPNESS

    def evaluate(self, z, parameters, log_q, base_gradient, create_graph=False):
        """f (n,) and its gradient (n, d), where (r - z)/tau stands for grad log p_r."""
        u = self.head_input(z, parameters, lambda: log_q)
        slope = head_of(parameters).scale.double()[0] * torch.sigmoid(SHARPNESS * (BOUND - u))
        return self.bound(u), slope[:, None] * (self.vector_field(z, parameters) - base_gradient)

    def reconstruct(self, z, parameters):
        """r(z), shape (n, d)."""
        return self.decode(self.code(z, parameters), parameters)

    def vector_field(self, z, parameters):
        """(r(z) - z) / tau, shape (n, d), float64."""
        return (self.reconstruct(z, parameters).double() - z) / self.tau

    def derivatives(self, z, parameters):
        """dr/dz (n, d, d) and the Laplacian of r (n, d), exact, or None."""
        form = self.one_layer(z, parameters)
        if form is None:
            return None
        layer = form.y, form.weight, form.bias, form.decoder, self.activation
        return one_layer.jacobian(*layer), form.unit * one_layer.laplacian(*layer)

    @torch.no_grad()
    def start_level(self, parameters, draw_rows, log_density, generator, renew):
        """Renew the parameters where tau changed, give f a scale and the median 0 at rows."""
        rows = draw_rows(START_ROWS)
        noise = torch.randn(rows.shape, generator=generator, device=rows.device, dtype=rows.dtype)
        noisy = rows + self.tau**0.5 * noise
        if renew:
            self.renew(parameters, rows, noisy, generator)
        head = head_of(parameters)
        if not head.scale.any():  # the head of a fit that left the base as it was
            head.scale.fill_(1.0)
        rows = rows[:CENTRE_ROWS]
        u = self.head_input(rows, parameters, lambda: log_density(rows))
        head.offset.sub_(u.median().to(head.offset))
        return True

    def recentre(self, parameters, inputs):
        """The inputs with the offset that balances them, which the parameters get, in place.

        Of the offset a running average has the mean only; this one suits its own energy.
        """
        shift = balancing_shift(*inputs, self.bound)
        head_of(parameters).offset.add_(shift)
        return [u + shift for u in inputs]

    def training_score(self, z, parameters, base_gradient):
        """The score (n, d) that denoising fits; f is left to `training_tilts`."""
        return None, (self.reconstruct(z, parameters) - z) / self.tau

    def training_tilts(self, f, rows, draws, parameters, generator):
        """f at as many rows and draws as calibration takes, balanced by an offset of the batch."""
        inputs = [self._training_input(*part, parameters, generator) for part in (rows, draws)]
        with torch.no_grad():
            shift = balancing_shift(*inputs, self.bound)
            head_of(parameters).offset.add_(SHIFT_RATE * shift)
        return [self.bound(u + shift) for u in inputs]

    def _training_input(self, z, log_q, parameters, generator):
        rows = slice(self.max_rows)
        return self.head_input(z[rows], parameters, lambda: log_q()[rows], generator)

    def score_and_contraction(self, z, parameters):
        """That score and the mean of |dr/dz|_F^2 at the same rows, exact and in one pass."""
        form = self.one_layer(z, parameters)
        if form is None:
            return None
        moved, penalty = one_layer.reconstruction_and_contraction(
            form.y, form.weight, form.bias, form.decoder, form.offset, self.activation
        )
        return (moved - form.y) / (form.unit * self.tau), penalty

    def contraction(self, z, parameters):
        """The mean of |dr/dz|_F^2 alone, or None."""
        form = self.one_layer(z, parameters)
        if form is None:
            return None
        layer = form.y, form.weight, form.bias, form.decoder
        return one_layer.contraction(*layer, self.activation)
