"""Auto-encoders of one hidden layer, in closed form: energy, Jacobian, contraction and Laplacian.

    r(z) = h(z W + b) V + c,    J_ij = dr_i / dz_j = sum_k V_ki h'_k W_jk,    tied: V = W^T

With G = (V V^T) o (W^T W) the squared Frobenius norm of J is h'^T G h', so that the penalty of a
batch is <G, S> with S the mean of h' h'^T: one matrix per batch, never one per row. A tied r is the
gradient of a function, and r - z that of a log density known up to a constant.

Everywhere z has shape (n, d), `weight` W (d, k), `bias` b (k,), `decoder` V (k, d) or None for
V = W^T, `offset` c (d,), and `activation` is a name in HIDDEN_UNITS.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F


class HiddenUnit(NamedTuple):
    """A hidden unit as functions of its pre-activation u, each of the shape of u.

    value: u -> h(u). value_and_slope: u -> h, h'. curvature: u, h, h' -> h''.
    integral: u -> H(u) with H' = h, None where H is not elementary.
    """

    value: Callable
    value_and_slope: Callable
    curvature: Callable
    integral: Callable | None = None


def _softplus(u):
    # torch's threshold of 20 would leave out exp(-20), which float64 sees.
    return F.softplus(u, threshold=40.0)


def _sigmoid(u):
    h = torch.sigmoid(u)
    return h, torch.addcmul(h, h, h, value=-1.0)


def _tanh(u):
    h = torch.tanh(u)
    return h, 1.0 - h * h


def _relu(u):
    return torch.relu(u), (u > 0).to(u.dtype)


def _silu(u):
    s = torch.sigmoid(u)
    h = u * s
    return h, torch.addcmul(s, h, 1.0 - s)


def _silu_curvature(u, h, slope):
    s = torch.sigmoid(u)
    return (s + slope).addcmul_(h, s, value=-1.0).mul_(1.0 - s)


def _log_cosh(u):
    return _softplus(2.0 * u) - u - math.log(2.0)


HIDDEN_UNITS = {
    "sigmoid": HiddenUnit(
        torch.sigmoid, _sigmoid, lambda u, h, slope: slope.addcmul(h, slope, value=-2.0), _softplus
    ),
    "tanh": HiddenUnit(torch.tanh, _tanh, lambda u, h, slope: (h * slope).mul_(-2.0), _log_cosh),
    "relu": HiddenUnit(
        torch.relu,
        _relu,
        lambda u, h, slope: torch.zeros_like(u),
        lambda u: 0.5 * torch.relu(u).square(),
    ),
    "silu": HiddenUnit(F.silu, _silu, _silu_curvature),
    "softplus": HiddenUnit(
        _softplus,
        lambda u: (_softplus(u), torch.sigmoid(u)),
        lambda u, h, slope: slope.addcmul(slope, slope, value=-1.0),
    ),
}


def tied_log_density(z, weight, bias, offset, activation):
    """log p + const = sum_k H(w_k.z + b_k) - |z - c|^2 / 2, shape (n,); its gradient is r - z.

    Divided by tau it is the log density of the tied auto-encoder (Kamyshanska & Memisevic 2013).
    Sigmoid and tanh units have H(u) <= |u| + log 2, so that it always falls off like a Gaussian;
    relu units need `confine`.

    Raises
    ------
    ValueError
        Where H of the activation is not elementary.

    Examples
    --------
    >>> z, weight, bias = torch.tensor([[2.0]]), torch.tensor([[1.0]]), torch.tensor([1.0])
    >>> tied_log_density(z, weight, bias, torch.zeros(1), "relu")
    tensor([2.5000])
    """
    integral = HIDDEN_UNITS[activation].integral
    if integral is None:
        known = sorted(name for name, unit in HIDDEN_UNITS.items() if unit.integral)
        raise ValueError(f"no closed-form energy for activation={activation!r}; use one of {known}")
    hidden = integral(torch.addmm(bias, z, weight)).sum(1)
    return hidden - 0.5 * (z - offset).square().sum(1)


def confine(weight, limit):
    """The weight W (d, k) with its singular values clipped at sqrt(limit), limit below 1.

    It makes the density of tied relu units integrable, because H(u) <= u^2 / 2 gives
    E(z) >= |z - c|^2 / 2 - |z W + b|^2 / 2 >= (1 - |W|_2^2) |z|^2 / 2 - O(|z|).
    Where no singular value is above, W itself is returned.

    Examples
    --------
    >>> confine(torch.tensor([[2.0, 0.0], [0.0, 0.5]]), 0.81)
    tensor([[0.9000, 0.0000],
            [0.0000, 0.5000]])
    """
    if not 0.0 < limit < 1.0:
        raise ValueError(f"limit must be between 0 and 1, got {limit}")
    wide = weight.detach().double()
    if wide.shape[0] > wide.shape[1]:
        wide = wide.T
    gram = wide @ wide.T
    # The largest eigenvalue is at most the largest absolute row sum: mostly no need to look.
    if not bool(gram.abs().sum(1).max() > limit):
        return weight
    squares, axes = torch.linalg.eigh(gram)
    if not bool(squares[-1] > limit):
        return weight
    factors = (limit / squares.clamp_min(limit)).sqrt()
    clipped = (axes * factors) @ (axes.T @ wide)
    return (clipped if weight.shape[0] <= weight.shape[1] else clipped.T).to(weight.dtype)


def _decoder(weight, decoder):
    return weight.T if decoder is None else decoder


def _slope(z, weight, bias, activation):
    return HIDDEN_UNITS[activation].value_and_slope(torch.addmm(bias, z, weight))[1]


def encode(z, weight, bias, activation):
    """The code h(z W + b), shape (n, k)."""
    return HIDDEN_UNITS[activation].value(torch.addmm(bias, z, weight))


def reconstruct(z, weight, bias, decoder, offset, activation):
    """r(z) = h(z W + b) V + c, shape (n, d).

    Examples
    --------
    >>> weight, zero = torch.tensor([[2.0]]), torch.zeros(1)
    >>> reconstruct(torch.tensor([[3.0], [-3.0]]), weight, zero, None, zero, "relu")
    tensor([[12.],
            [ 0.]])
    """
    return torch.addmm(offset, encode(z, weight, bias, activation), _decoder(weight, decoder))


def jacobian(z, weight, bias, decoder, activation):
    """J_ij = dr_i / dz_j = sum_k V_ki h'_k W_jk, shape (n, d, d)."""
    slope = _slope(z, weight, bias, activation)
    return (_decoder(weight, decoder).T * slope[:, None, :]) @ weight.T


def jacobian_trace(z, weight, bias, decoder, activation):
    """tr J = sum_k h'_k (W^T V^T)_kk, shape (n,): the divergence of r."""
    diagonal = (_decoder(weight, decoder).T * weight).sum(0)
    return _slope(z, weight, bias, activation) @ diagonal


def squared_jacobian_norm(z, weight, bias, decoder, activation):
    """|J|_F^2 = h'^T [(V V^T) o (W^T W)] h', shape (n,)."""
    slope = _slope(z, weight, bias, activation)
    return ((slope @ _pair_weights(weight, decoder)[0]) * slope).sum(1)


def laplacian(z, weight, bias, decoder, activation):
    """Lap r = sum_k h''_k |w_k|^2 V_k, shape (n, d)."""
    u = torch.addmm(bias, z, weight)
    unit = HIDDEN_UNITS[activation]
    curvature = unit.curvature(u, *unit.value_and_slope(u))
    return (curvature * weight.square().sum(0)) @ _decoder(weight, decoder)


def _pair_weights(weight, decoder):
    """G = (V V^T) o (W^T W), and its factors W^T W and V V^T, shape (k, k)."""
    within = weight.T @ weight
    between = within if decoder is None else decoder @ decoder.T
    return within * between, within, between


def reconstruction_and_contraction(z, weight, bias, decoder, offset, activation):
    """r(z) and the mean over rows of |dr/dz|_F^2, shapes (n, d) and (), differentiable once.

    The value is that of `reconstruct` and the mean of `squared_jacobian_norm`; value and derivative
    share what they can.

    Examples
    --------
    >>> weight, zero = torch.tensor([[2.0]]), torch.zeros(1)
    >>> z = torch.tensor([[3.0], [-3.0]])
    >>> reconstruction_and_contraction(z, weight, zero, None, zero, "relu")[1]
    tensor(8.)
    """
    return _ReconstructionAndContraction.apply(z, weight, bias, decoder, offset, activation)


class _ReconstructionAndContraction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, weight, bias, decoder, offset, activation):
        u = torch.addmm(bias, z, weight)
        h, slope = HIDDEN_UNITS[activation].value_and_slope(u)
        r = torch.addmm(offset, h, _decoder(weight, decoder))
        pairs, within, between = _pair_weights(weight, decoder)
        pull = slope @ pairs
        penalty = torch.dot(pull.view(-1), slope.view(-1)) / len(z)
        ctx.activation, ctx.tied = activation, decoder is None
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, weight, decoder, u, h, slope, pull, within, between)
        return r, penalty

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, r_weight, penalty_weight):
        z, weight, decoder, u, h, slope, pull, within, between = ctx.saved_tensors
        bar = torch.zeros_like(u)
        weight_gradient, decoder_gradient = torch.zeros_like(weight), None
        offset_gradient = None
        if not ctx.tied:
            decoder_gradient = torch.zeros_like(decoder)
        if penalty_weight is not None:
            scale = 2.0 / len(z) * float(penalty_weight)
            bar.add_(HIDDEN_UNITS[ctx.activation].curvature(u, h, slope) * pull, alpha=scale)
            moment = slope.T @ slope
            weight_gradient.addmm_(weight, moment * between, alpha=scale * (2 if ctx.tied else 1))
            if not ctx.tied:
                decoder_gradient.addmm_(moment * within, decoder, alpha=scale)
        if r_weight is not None:
            bar.addcmul_(slope, r_weight @ _decoder(weight, decoder).T)
            if ctx.tied:
                weight_gradient.addmm_(r_weight.T, h)
            else:
                decoder_gradient.addmm_(h.T, r_weight)
            offset_gradient = r_weight.sum(0)
        weight_gradient.addmm_(z.T, bar)
        z_gradient = bar @ weight.T if ctx.needs_input_grad[0] else None
        return z_gradient, weight_gradient, bar.sum(0), decoder_gradient, offset_gradient, None
