"""Decoders with an r of their own, tied and free: f from log p_r, the score from r - z.

The density p_r of such a reconstruction is believed where the base density q is not far below it:

    f = B(s (log p_r - log q) + o),    B(u) = u up to a rounded bound

so that p~ = q e^f is p_r where data are, but never above q e^B and hence always a density. The
scale s and the offset o are the last two parameters.
"""

import math

import torch
import torch.nn.functional as F

from skrae import _networks, _one_layer
from skrae._hidden_units import HIDDEN_UNITS
from skrae._log_ratios import gauss_legendre

# Gauss-Legendre nodes of the line integral; training draws one node in each of N_STRATA equal
# parts of the line instead, for as many rows.
N_NODES, N_STRATA, MAX_LINES = 24, 8, 128
# Lines at a time, so that the layers at their nodes stay in the cache.
LINES = 128
# The bound on f of the free and tied decoders, and how sharply it sets in: B'(u) is 0.98 one nat
# below it, so that up to there the model's score is (r - z)/tau.
BOUND, SHARPNESS = 5.0, 4.0
_BOUND_OFFSET = math.log1p(math.exp(SHARPNESS * BOUND)) / SHARPNESS
RIDGE = 1e-6
ONE_HIDDEN_LAYER = 6  # parameters, the head included
MAX_RATE, RATE = 0.3, 30.0
# Variance of the widest direction that the energy of a tied decoder with relu may have.
WIDEST_VARIANCE = 25.0
# Hidden units of a tied decoder begin with slopes between these, at this pre-activation.
NARROWEST_SLOPE, WIDEST_SLOPE = 0.05, 1.0
MIDDLE = {"sigmoid": 0.0, "tanh": 0.0, "relu": 1.0}
BALANCING_ROUNDS, SMALLEST_VARIANCE = 3, 1e-3


class _EnergyDecoder:
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

    def reconstruct(self, z, parameters):
        """r(z), shape (n, d)."""
        return self.decode(self.code(z, parameters), parameters)


class TiedDecoder(_EnergyDecoder):
    """r = sqrt(tau) (h(y W + b) W^T + c) with y = z / sqrt(tau): tied in units of the noise.

    A hidden unit that moves y by |w| does so over a width of 4 / |w|, so that with weights of order
    one r has detail of the size of the noise, whatever the noise level.

    Parameters: W (d, k), b (k,), c (d,), s (1, 1), o (1,).
    """

    is_conservative, max_rows, rate = True, None, 2.0

    def __init__(self, activation, tau):
        super().__init__(activation, tau)
        self.unit = tau**-0.5

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """Zeros of the right shapes, to be renewed, and a head of one."""
        (k,) = sizes
        shapes = (n_features, k), (k,), (n_features,), (1, 1), (1,)
        parameters = [torch.zeros(shape, device=device) for shape in shapes]
        parameters[3] += 1.0
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
        unit = HIDDEN_UNITS[self.activation]
        return unit.value_and_slope(torch.addmm(bias, y, weight))

    def log_potential(self, z, parameters, generator=None):
        """log p_r = -E(y), shape (n,)."""
        return _one_layer.tied_log_density(self.unit * z, *parameters[:3], self.activation)

    def code(self, z, parameters):
        """h(y W + b), shape (n, k)."""
        return self._unit(self.unit * z, *parameters[:2])[0]

    def decode(self, code, parameters):
        """sqrt(tau) (code W^T + c), shape (n, d)."""
        return torch.addmm(parameters[2], code, parameters[0].T) / self.unit

    def contraction(self, z, parameters):
        """Mean over rows of |dr/dz|_F^2, exact."""
        weight, bias = parameters[:2]
        return _one_layer.contraction(self.unit * z, weight, bias, None, self.activation)

    def derivatives(self, z, parameters):
        """dr/dz (n, d, d) and the Laplacian of r (n, d), exact."""
        layer = self.unit * z, *parameters[:2], None, self.activation
        return _one_layer.jacobian(*layer), self.unit * _one_layer.laplacian(*layer)

    def confine(self, parameters):
        """Bound the spectral norm of W for relu, in place, so that E grows in all directions."""
        if self.activation == "relu":
            limit = 1.0 - self.tau / WIDEST_VARIANCE
            with torch.no_grad():
                parameters[0].copy_(_one_layer.confine(parameters[0], limit))

    def arrays(self, parameters):
        """coefs and intercepts of encoder, decoder and head."""
        weight, bias, offset, scale, constant = parameters
        coefs = [self.unit * weight, weight.T / self.unit, scale]
        return coefs, [bias, offset / self.unit, constant]

    def parameters(self, coefs, intercepts):
        """The inverse of `arrays`."""
        offset = intercepts[1] * self.unit
        return [coefs[0] / self.unit, intercepts[0], offset, coefs[2], intercepts[2]]


class FreeDecoder(_EnergyDecoder):
    """r = g(code(z)), g the mirror image of the encoder with weights of its own.

    Parameters: weights (in, out) and biases of the encoder's layers, of the decoder's, and s, o.
    log_p_r is the line integral of (r - z)/tau from a reference point, which defines one function
    whether or not the field is a gradient: log ratios are antisymmetric.
    """

    is_conservative, max_rows = False, MAX_LINES

    def __init__(self, activation, tau, reference):
        super().__init__(activation, tau)
        self.reference = reference
        # Steps must stay small beside tau, which r - z is divided by.
        self.rate = min(MAX_RATE, RATE * tau)

    def initial_parameters(self, n_features, sizes, generator, device="cpu"):
        """A random encoder, a random decoder, its mirror image, and a head of one."""
        encoder = _networks.initial_parameters(n_features, sizes, generator, device)
        mirrored = [*sizes[-2::-1], n_features]
        decoder = _networks.initial_parameters(sizes[-1], mirrored, generator, device)
        return [*encoder[:-2], *decoder[:-2], torch.ones_like(encoder[-2][:1]), encoder[-1]]

    def localise(self, parameters, rows, whiteners, generator):
        """The parameters with half the first layer turned to fine detail at these rows."""
        return _networks.localise_first_layer(
            parameters, rows, whiteners, self.activation, generator
        )

    def layers(self, parameters):
        """The (weight, bias) pairs of the encoder, then of the decoder, as many."""
        return list(zip(parameters[0:-2:2], parameters[1:-2:2], strict=True))

    def code(self, z, parameters):
        """The encoder's output, shape (n, k)."""
        layers = self.layers(parameters)
        return self._apply(z, layers[: len(layers) // 2])

    def _apply(self, h, layers):
        for weight, bias in layers:
            h = HIDDEN_UNITS[self.activation].value(torch.addmm(bias, h, weight))
        return h

    def decode(self, code, parameters):
        """g(code), shape (n, d): the last layer is linear."""
        layers = self.layers(parameters)
        *hidden, (weight, bias) = layers[len(layers) // 2 :]
        return torch.addmm(bias, self._apply(code, hidden), weight)

    def renew(self, parameters, z, noisy, generator):
        """Fit the last layer to give back rows z from noisy ones, by least squares, in place."""
        *hidden, (weight, bias) = self.layers(parameters)
        h = self._apply(noisy, hidden).double()
        h = torch.cat([h, torch.ones_like(h[:, :1])], dim=1)
        gram = h.T @ h / len(h)
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        solution = torch.linalg.solve(gram, h.T @ z.double() / len(h)).to(weight)
        weight.copy_(solution[:-1])
        bias.copy_(solution[-1])

    def contraction(self, z, parameters):
        """Mean over rows of |dr/dz|_F^2, exact for one hidden layer; None for more."""
        if len(parameters) > ONE_HIDDEN_LAYER:
            return None
        return _one_layer.contraction(z, *parameters[:3], self.activation)

    def derivatives(self, z, parameters):
        """dr/dz (n, d, d) and the Laplacian of r (n, d) likewise."""
        if len(parameters) > ONE_HIDDEN_LAYER:
            return None
        layer = z, *parameters[:3], self.activation
        return _one_layer.jacobian(*layer), _one_layer.laplacian(*layer)

    def log_potential(self, z, parameters, generator=None):
        """int_0^1 (r(y) - y) . (z - z_0) dt / tau at y = z_0 + t (z - z_0), shape (n,)."""
        parts = [self._line_integral(rows, parameters, generator) for rows in z.split(LINES)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _line_integral(self, z, parameters, generator):
        origin = self.reference.to(z)
        line = z - origin
        nodes, weights = self._nodes(z, generator)
        points = origin + nodes[:, :, None] * line
        points = points.flatten(0, 1)
        moves = (self.reconstruct(points, parameters) - points).reshape(*nodes.shape, -1)
        return torch.einsum("tn,tnd,nd->n", weights, moves, line) / self.tau

    def _nodes(self, z, generator):
        """Where along the line, (n_nodes, n), and with what weight."""
        if generator is None:
            nodes, weights = (torch.tensor(a).to(z)[:, None] for a in gauss_legendre(N_NODES))
            return nodes.expand(-1, len(z)), weights.expand(-1, len(z))
        to = {"generator": generator, "device": z.device, "dtype": z.dtype}
        starts = torch.arange(N_STRATA, device=z.device, dtype=z.dtype)[:, None]
        nodes = (starts + torch.rand(N_STRATA, len(z), **to)) / N_STRATA
        return nodes, torch.full_like(nodes, 1.0 / N_STRATA)

    @staticmethod
    def arrays(parameters):
        """coefs and intercepts of encoder, decoder and head."""
        return parameters[0::2], parameters[1::2]

    @staticmethod
    def parameters(coefs, intercepts):
        """The inverse of `arrays`."""
        return [p for pair in zip(coefs, intercepts, strict=True) for p in pair]
