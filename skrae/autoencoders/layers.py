"""The encoder and its bounded head: a scalar f(z), with its gradient.

    h_0 = z,   h_l = s(h_{l-1} W_l + b_l),   u = h_L w + b
    f(z) = softplus(c) - softplus(c - u),    c = HEAD_BOUND

f(z) = 0 where u = 0 and f < softplus(c): a region to which the base density gives mass m never
holds more than m exp(softplus(c)) of the model's unnormalised mass. Value and gradient come out of
one forward and one backward sweep; their derivatives for training are written out by hand (forward
tangents along the incoming gradient, then one sweep back), because double autograd allocates more.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from skrae.autoencoders.activations import ACTIVATIONS
from skrae.preprocessing.blocks import row_products

HEAD_BOUND = 4.0
MAX_SLOPE = 20.0
_OFFSET = math.log1p(math.exp(HEAD_BOUND))


class Head(NamedTuple):
    """The last two parameters, in which u is linear: where they are zero, f = 0."""

    scale: torch.Tensor  # (k, 1)
    offset: torch.Tensor  # (1,)


def head_of(parameters):
    """The `Head` of a decoder's parameters."""
    return Head(*parameters[-2:])


def initial_parameters(n_features, hidden_layer_sizes, generator, device="cpu"):
    """Weights W_l (in, out) and biases b_l in turn; the last layer is zero, so that f = 0."""
    to = {"generator": generator, "device": device, "dtype": torch.float32}
    parameters, n_in = [], n_features
    for n_out in hidden_layer_sizes:
        weight = torch.randn(n_in, n_out, **to) / math.sqrt(n_in)
        bias = 0.5 * torch.randn(n_out, **to)
        parameters += [weight, bias]
        n_in = n_out
    del to["generator"]
    return [*parameters, torch.zeros(n_in, 1, **to), torch.zeros(1, **to)]


def localise_first_layer(parameters, rows, whiteners, activation, generator):
    """Turn half the first layer to fine detail: a unit changes at a row, at the local scale there.

    A unit's weights are w = K^-T xi / sqrt(d), xi ~ N(0, I), so that w.(x - z_i) is of order one
    over the local width at its row z_i; steeper than MAX_SLOPE they are shortened. The next
    layer's weights are divided by each unit's standard deviation over the rows.

    Parameters
    ----------
    parameters : list of tensors, as `initial_parameters` returns
    rows : tensor of shape (n, d), n at least the number of units turned
    whiteners : tensor of shape (n, d, d) or RowMatrices, K^-T of each row
    """
    weight, bias, after = parameters[0].clone(), parameters[1].clone(), parameters[2]
    n, d = min(weight.shape[1] // 2, len(rows)), weight.shape[0]
    to = {"generator": generator, "device": rows.device, "dtype": rows.dtype}
    slopes = row_products(whiteners[:n], torch.randn(n, d, **to)) / math.sqrt(d)
    slopes = slopes * (MAX_SLOPE / slopes.norm(dim=1, keepdim=True)).clamp_max(1.0)
    weight[:, :n] = slopes.T
    bias[:n] = 0.5 * torch.randn(n, **to) - (slopes * rows[:n]).sum(1)
    units = ACTIVATIONS[activation].value(torch.addmm(bias, rows, weight))
    deviations = units.std(dim=0).clamp_min(1e-3)
    after = after * (deviations[n:].mean() / deviations)[:, None]
    return [weight, bias, after, *parameters[3:]]


class Layers:
    """Parameters that are weights and biases in turn, for the decoders that have such."""

    def localise(self, parameters, rows, whiteners, generator):
        """The parameters with half the first layer turned to fine detail at these rows."""
        return localise_first_layer(parameters, rows, whiteners, self.activation, generator)

    @staticmethod
    def arrays(parameters):
        """coefs and intercepts: weights (n_in, n_out) and biases (n_out,) of each layer."""
        return parameters[0::2], parameters[1::2]

    @staticmethod
    def parameters(coefs, intercepts):
        """The inverse of `arrays`."""
        return [p for pair in zip(coefs, intercepts, strict=True) for p in pair]


def encode(z, parameters, activation):
    """The code h_L, shape (n, hidden_layer_sizes[-1])."""
    function = ACTIVATIONS[activation].value
    for weight, bias in zip(parameters[0:-2:2], parameters[1:-2:2], strict=True):
        z = function(torch.addmm(bias, z, weight))
    return z


def head_input(z, parameters, activation):
    """u(z), shape (n,)."""
    head = head_of(parameters)
    return torch.addmm(head.offset, encode(z, parameters, activation), head.scale)[:, 0]


def bounded_head(u):
    """f = softplus(c) - softplus(c - u): 0 at 0, slope below 1, never above softplus(c)."""
    return _OFFSET - F.softplus(HEAD_BOUND - u)


def value(z, parameters, activation):
    """f(z), shape (n,)."""
    return bounded_head(head_input(z, parameters, activation))


def scale_head(parameters, factor):
    """The parameters with u scaled by `factor`; 0 is the base density itself."""
    return [*parameters[:-2], *(part * factor for part in head_of(parameters))]


def value_and_gradient(z, parameters, activation):
    """f(z) and grad f(z), shapes (n,) and (n, d), differentiable once in the parameters and z."""
    if not torch.is_grad_enabled():
        return _sweeps(z, parameters, ACTIVATIONS[activation].value_and_slope)
    return _ValueAndGradient.apply(activation, z, *parameters)


def _sweeps(z, parameters, function):
    """The same where nothing is differentiated: one sweep forward and one back, keeping slopes."""
    *weights, last = parameters[0::2]
    *biases, last_bias = parameters[1::2]
    slopes = []
    for weight, bias in zip(weights, biases, strict=True):
        z, slope = function(torch.addmm(bias, z, weight))
        slopes.append(slope)
    u = torch.addmm(last_bias, z, last)
    delta = torch.sigmoid(HEAD_BOUND - u) * last.T
    for weight, slope in zip(reversed(weights), reversed(slopes), strict=True):
        delta = slope.mul_(delta) @ weight.T
    return bounded_head(u)[:, 0], delta


def differentiable_value_and_gradient(z, parameters, activation):
    """The same by autograd, differentiable any number of times (z must require gradients)."""
    f = value(z, parameters, activation)
    (gradient,) = torch.autograd.grad(f.sum(), z, create_graph=True)
    return f, gradient


def hessian(z, parameters, activation):
    """Second derivatives of f, (n, d, d).

    With a_l the pre-activations, those of u are sum_l sum_i (du/dh_li) s''(a_li) grad a_li
    grad a_li^T; the bounded head adds its own.
    """
    function = ACTIVATIONS[activation]
    *weights, last = parameters[0::2]
    *biases, last_bias = parameters[1::2]
    slopes, curvatures, tangents, tangent = [], [], [], None
    for weight, bias in zip(weights, biases, strict=True):
        tangents.append(weight[None] if tangent is None else tangent @ weight)
        inputs = torch.addmm(bias, z, weight)
        z, slope = function.value_and_slope(inputs)
        slopes.append(slope)
        curvatures.append(function.curvature(inputs, z, slope))
        tangent = tangents[-1] * slope[:, None, :]
    bounded = torch.sigmoid(HEAD_BOUND - torch.addmm(last_bias, z, last))[:, :, None]
    above, total = last.T.expand(len(z), -1), 0.0
    for weight, slope, bend, own in zip(
        *(reversed(part) for part in (weights, slopes, curvatures, tangents)), strict=True
    ):
        total = total + (own * (above * bend)[:, None, :]) @ own.mT
        above = (above * slope) @ weight.T
    outer = above[:, :, None] * above[:, None, :]
    return bounded * (total - (1.0 - bounded) * outer)


class _ValueAndGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, activation, z, *parameters):
        weights, biases = parameters[0::2], parameters[1::2]
        function = ACTIVATIONS[activation].value_and_slope
        inputs, outputs, slopes = [], [z], []
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            inputs.append(torch.addmm(bias, outputs[-1], weight))
            h, slope = function(inputs[-1])
            outputs.append(h)
            slopes.append(slope)
        u = torch.addmm(biases[-1], outputs[-1], weights[-1])
        head_slope = torch.sigmoid(HEAD_BOUND - u)
        above, below = [], []
        delta = head_slope * weights[-1].T
        for weight, slope in zip(reversed(weights[:-1]), reversed(slopes), strict=True):
            above.insert(0, delta)
            below.insert(0, delta * slope)
            delta = below[0] @ weight.T
        ctx.activation, ctx.depth = activation, len(slopes)
        ctx.save_for_backward(*weights, *inputs, *outputs, *slopes, *above, *below, head_slope)
        return bounded_head(u)[:, 0], delta

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, value_weight, gradient_weight):
        n, saved = ctx.depth, list(ctx.saved_tensors)
        take = [saved[:0]] + [[saved.pop(0) for _ in range(k)] for k in (n + 1, n, n + 1, n, n, n)]
        _, weights, inputs, outputs, slopes, above, below = take
        (head_slope,) = saved
        pre, tangents = [], [gradient_weight]
        for weight, slope in zip(weights[:-1], slopes, strict=True):
            pre.append(tangents[-1] @ weight)
            tangents.append(slope * pre[-1])
        head_curvature = head_slope * (head_slope - 1.0)
        bar = head_slope * value_weight[:, None] + head_curvature * (tangents[-1] @ weights[-1])
        gradients = [outputs[-1].T @ bar + tangents[-1].T @ head_slope, bar.sum(0)]
        curvature = ACTIVATIONS[ctx.activation].curvature
        for i in reversed(range(n)):
            back = bar @ weights[i + 1].T
            bar = curvature(inputs[i], outputs[i + 1], slopes[i]).mul_(pre[i]).mul_(above[i])
            bar.addcmul_(slopes[i], back)
            weight_gradient = torch.addmm(outputs[i].T @ bar, tangents[i].T, below[i])
            gradients = [weight_gradient, bar.sum(0), *gradients]
        z_gradient = bar @ weights[0].T if ctx.needs_input_grad[1] else None
        return (None, z_gradient, *gradients)
