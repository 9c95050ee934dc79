"""Auto-encoders of one hidden layer, in closed form: energy, Jacobian, contraction and Laplacian.

    r(z) = h(z W + b) V + c,    J_ij = dr_i / dz_j = sum_k V_ki h'_k W_jk,    tied: V = W^T

With G = (V V^T) o (W^T W) the squared Frobenius norm of J is h'^T G h', so that the penalty of a
batch is <G, S> with S the mean of h' h'^T: one matrix per batch, never one per row. A tied r is the
gradient of a function, and r - z that of a log density known up to a constant.

Everywhere z has shape (n, d), `weight` W (d, k), `bias` b (k,), `decoder` V (k, d) or None for
V = W^T, `offset` c (d,), and `activation` is a name in ACTIVATIONS.
"""

import functools
import math
from typing import NamedTuple

import torch

from skrae.autoencoders.activations import ACTIVATIONS

# Up to this many features a product runs faster with the features in its rows.
NARROW = 32


class OneLayer(NamedTuple):
    """An auto-encoder of one hidden layer at rows y = unit z: r(z) = (h(y W + b) V + c) / unit."""

    y: torch.Tensor  # (n, d)
    weight: torch.Tensor  # (d, k)
    bias: torch.Tensor  # (k,)
    decoder: torch.Tensor | None  # V (k, d), None for W^T
    offset: torch.Tensor  # (d,)
    unit: float = 1.0


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
    integral = ACTIVATIONS[activation].integral
    if integral is None:
        known = sorted(name for name, unit in ACTIVATIONS.items() if unit.integral)
        raise ValueError(
            f"Got activation={activation!r}, expected one of {known}, whose energies have a closed"
            " form."
        )
    hidden = integral(torch.addmm(bias, z, weight)).sum(1)
    return hidden - 0.5 * (z - offset).square().sum(1)


def confine(weight, limit):
    """The weight W (d, k) with its singular values clipped at sqrt(limit), limit below 1.

    It makes the density of tied relu units integrable, because H(u) <= u^2 / 2 gives
    E(z) >= |z - c|^2 / 2 - |z W + b|^2 / 2 >= (1 - |W|_2^2) |z|^2 / 2 - O(|z|).
    Where no singular value is above, or W is not finite, W itself is returned.

    Examples
    --------
    >>> confine(torch.tensor([[2.0, 0.0], [0.0, 0.5]]), 0.81)
    tensor([[0.9000, 0.0000],
            [0.0000, 0.5000]])
    """
    if not 0.0 < limit < 1.0:
        raise ValueError(f"Got limit={limit}, expected a number between 0 and 1.")
    wide = weight.detach().double()
    if wide.shape[0] > wide.shape[1]:
        wide = wide.T
    gram = wide @ wide.T
    room = limit * torch.eye(len(gram), dtype=gram.dtype, device=gram.device) - gram
    # A Cholesky factor exists where all fit in: a tenth of the time of the eigenvalues.
    if torch.linalg.cholesky_ex(room).info == 0 or not bool(gram.isfinite().all()):
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
    return ACTIVATIONS[activation].value_and_slope(torch.addmm(bias, z, weight))[1]


def encode(z, weight, bias, activation):
    """The code h(z W + b), shape (n, k)."""
    return ACTIVATIONS[activation].value(torch.addmm(bias, z, weight))


def reconstruct(z, weight, bias, decoder, offset, activation):
    """r(z) = h(z W + b) V + c, shape (n, d).

    Examples
    --------
    >>> weight, zero = torch.tensor([[2.0]]), torch.zeros(1)
    >>> reconstruct(torch.tensor([[3.0], [-3.0]]), weight, zero, None, zero, "relu")
    tensor([[12.],
            [ 0.]])
    """
    return _decode(encode(z, weight, bias, activation), _decoder(weight, decoder), offset)


def _decode(code, decoder, offset):
    """h V + c; where it is narrow the other way round, in half the time."""
    if len(offset) > NARROW:
        return torch.addmm(offset, code, decoder)
    return torch.addmm(offset[:, None], decoder.T, code.T).T


def jacobian(z, weight, bias, decoder, activation):
    """J_ij = dr_i / dz_j = sum_k V_ki h'_k W_jk, shape (n, d, d)."""
    slope = _slope(z, weight, bias, activation)
    return (_decoder(weight, decoder).T * slope[:, None, :]) @ weight.T


def laplacian(z, weight, bias, decoder, activation):
    """Lap r = sum_k h''_k |w_k|^2 V_k, shape (n, d)."""
    u = torch.addmm(bias, z, weight)
    unit = ACTIVATIONS[activation]
    curvature = unit.curvature(u, *unit.value_and_slope(u))
    return (curvature * weight.square().sum(0)) @ _decoder(weight, decoder)


def _pair_weights(weight, decoder):
    """G = (V V^T) o (W^T W), and its factors W^T W and V V^T, shape (k, k)."""
    within = weight.T @ weight
    between = within if decoder is None else decoder @ decoder.T
    return within * between, within, between


def reconstruction_and_contraction(z, weight, bias, decoder, offset, activation):
    """r(z) and the mean over rows of |dr/dz|_F^2, shapes (n, d) and (), differentiable once.

    The second is h'^T G h', averaged; the two share what they can, forwards and backwards.

    Examples
    --------
    >>> weight, zero = torch.tensor([[2.0]]), torch.zeros(1)
    >>> z = torch.tensor([[3.0], [-3.0]])
    >>> reconstruction_and_contraction(z, weight, zero, None, zero, "relu")[1]
    tensor(8.)
    """
    return _ReconstructionAndContraction.apply(z, weight, bias, decoder, offset, activation)


def contraction(z, weight, bias, decoder, activation):
    """Mean over rows of |dr/dz|_F^2 alone, differentiable once."""
    return _ReconstructionAndContraction.apply(z, weight, bias, decoder, None, activation)[1]


class _ReconstructionAndContraction(torch.autograd.Function):
    """The derivatives of the penalty are taken forwards, while what they share is in the cache."""

    @staticmethod
    def forward(ctx, z, weight, bias, decoder, offset, activation):
        unit = ACTIVATIONS[activation]
        u = torch.addmm(bias, z, weight)
        h, slope = unit.value_and_slope(u)
        r = None if offset is None else _decode(h, _decoder(weight, decoder), offset)
        entries_are_few = 2 * _n_entries(weight, decoder) <= weight.shape[1]
        terms = _terms_of_entries if entries_are_few else _terms_of_pairs
        total, pull, *changes = terms(slope, weight, decoder)
        bend = unit.curvature(u, h, slope).mul_(pull)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(z, weight, decoder, h, slope, bend, *changes)
        return r, total / len(z)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, r_weight, penalty_weight):
        if r_weight is None and penalty_weight is None:
            return (None,) * 6
        z, weight, decoder, h, slope, bend, encoder_change, decoder_change = ctx.saved_tensors
        scale = 0.0 if penalty_weight is None else 2.0 / len(z) * penalty_weight.item()
        if r_weight is None:
            bar, offset_gradient = bend * scale, None
            decoder_gradient = decoder_change * scale
        else:
            bar = (r_weight @ _decoder(weight, decoder).T).mul_(slope).add_(bend, alpha=scale)
            # That of V^T, whose products are the faster ones.
            decoder_gradient = (r_weight.T @ h).add_(decoder_change, alpha=scale)
            offset_gradient = r_weight.sum(0)
        if decoder is None:
            weight_gradient, decoder_gradient = decoder_gradient.addmm_(z.T, bar), None
        else:
            weight_gradient = (z.T @ bar).add_(encoder_change, alpha=scale)
            decoder_gradient = decoder_gradient.T.contiguous()
        z_gradient = bar @ weight.T if ctx.needs_input_grad[0] else None
        return z_gradient, weight_gradient, bar.sum(0), decoder_gradient, offset_gradient, None


# The sum over rows of |J|_F^2, and half its derivatives in h', W and V^T (in W alone, but last,
# for tied weights): as <G, S>, S the sum of h' h'^T, or from the entries of J where they are few.


def _terms_of_pairs(slope, weight, decoder):
    pairs, within, between = _pair_weights(weight, decoder)
    pull = slope @ pairs
    total = torch.dot(pull.view(-1), slope.view(-1))
    moment = torch.mm(slope.T, slope, out=pairs)
    if decoder is None:
        return total, pull, None, (weight @ moment.mul_(between)).mul_(2.0)
    return total, pull, weight @ between.mul_(moment), decoder.T @ within.mul_(moment)


def _terms_of_entries(slope, weight, decoder):
    products = _products(weight, decoder)
    entries = products @ slope.T
    total = torch.dot(entries.view(-1), entries.view(-1))
    pull, moment = entries.T @ products, entries @ slope
    d, k = weight.shape
    if decoder is None:
        factors, place = _triangle(d, weight.dtype, weight.device)[3:]
        moment = moment.mul_(factors).index_select(0, place).view(d, d, k)
        return total, pull, None, moment.mul_(weight).sum(1)
    moment = moment.view(d, d, k)
    encoder_change = (moment * decoder.T[:, None]).sum(0)
    return total, pull, encoder_change, moment.mul_(weight).sum(1)


def _n_entries(weight, decoder):
    """How many entries of J differ."""
    d = len(weight)
    return d * (d + 1) // 2 if decoder is None else d * d


def _products(weight, decoder):
    """M with J = M h': V_ki W_jk; of tied weights the entries i <= j, times sqrt 2 where i < j."""
    if decoder is not None:
        return (decoder.T[:, None] * weight).reshape(-1, weight.shape[1])
    rows, columns, scales, _, _ = _triangle(len(weight), weight.dtype, weight.device)
    products = weight.index_select(0, rows).mul_(weight.index_select(0, columns))
    return products.mul_(scales)


@functools.lru_cache(maxsize=16)
def _triangle(d, dtype, device):
    """Entries i <= j of a symmetric matrix: i, j, their weights, those of dM/dW, their places."""
    i, j = torch.triu_indices(d, d, device=device)
    place = torch.empty(d, d, dtype=torch.long, device=device)
    place[i, j] = place[j, i] = torch.arange(len(i), device=device)
    root = torch.full((len(i), 1), math.sqrt(2.0), dtype=dtype, device=device)
    diagonal = (i == j)[:, None]
    return i, j, root.masked_fill(diagonal, 1.0), root.masked_fill(diagonal, 2.0), place.view(-1)
