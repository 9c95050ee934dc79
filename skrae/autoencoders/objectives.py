"""The terms of the training criterion, as pure functions of tensors.

    [ E |K^T (sigma t + tau psi)|^2  +  lambda E |K^-1 (dr/dz) K|_F^2 ] / tau
        + E softplus(-f) over data + E_q softplus(f)

The first term is denoising (t = K_k^-T eps is the noise that corrupted a row, whitened; K the
metric at the corrupted row), the second contraction of the whole reconstruction, the third
noise-contrastive calibration of the log tilt f = log p~ - log q against the base density.
With K = I the first two are those of Alain & Bengio (2014, equations 7 and 10, divided by tau).
"""

import torch
import torch.nn.functional as F

from skrae.preprocessing.blocks import row_products

# Up to this many features the contraction penalty sums over all directions; beyond, Hutchinson's
# estimator draws one random direction a row (unbiased, at 1/d of the cost).
EXACT_CONTRACTION_FEATURES = 4
# Half the length of the difference along it, in widths of the metric: its error is 1e-4 of the
# third derivative, and that of a network in float32 about as much.
DIFFERENCE = 0.02


def corrupt(z, factors, inverse_transposes, noise_level, noise):
    """Antithetic corruption z +- sigma K eps, and the whitened noise +- K^-T eps.

    Parameters
    ----------
    z : tensor of shape (n, d)
    factors, inverse_transposes : tensors of shape (n, d, d) or RowMatrices, K and K^-T of each row
    noise_level : float, sigma
    noise : tensor of shape (n, d), eps, standard normal

    Returns
    -------
    corrupted, whitened_noise : tensors of shape (2 n, d)
    """
    shift = noise_level * row_products(factors, noise)
    whitened = row_products(inverse_transposes, noise)
    return torch.cat([z + shift, z - shift]), torch.cat([whitened, -whitened])


def denoising_loss(psi, whitened_noise, factors, weights, noise_level, tau):
    """Mean over rows of w |K^T (sigma t + tau psi)|^2 / tau.

    K and w may depend on the corrupted row alone: then, whatever they are, the minimiser at
    lambda = 0 is grad log p_sigma (Vincent 2011); a weight that knows the clean row biases it.
    """
    error = noise_level * whitened_noise + tau * psi
    squares = row_products(factors.mT, error).square().sum(1)
    return (weights * squares).mean() / tau


def contraction_penalty(vector_field, z, factors, inverses, tau):
    """Mean over rows of |K^-1 (dr/dz) K|_F^2 with r = z + tau vector_field(z).

    `vector_field` must be differentiable twice.
    """
    z = z.detach().requires_grad_()
    moved = vector_field(z)
    total, n_axes = 0.0, factors.shape[1]  # fewer than z has where some are of categories
    for i in range(n_axes):
        left = F.pad(inverses[:, i], (0, z.shape[1] - n_axes))
        (product,) = torch.autograd.grad(moved, z, left, create_graph=True)
        row = torch.einsum("nij,ni->nj", factors, (left + tau * product)[:, :n_axes])
        total = total + row.square().sum(1)
    return total.mean()


def contraction_estimate(vector_field, z, factors, inverses, tau, generator):
    """Hutchinson's estimate of the same, E |K^-1 (dr/dz) K v|^2 with v ~ N(0, I), one v a row.

    The derivative along K v is a central difference over DIFFERENCE of it, which errs by
    DIFFERENCE^2 / 6 of a third derivative: so `vector_field` need be differentiable but once.
    """
    v = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
    shift = DIFFERENCE * row_products(factors, v)
    ahead, behind = vector_field(torch.cat([z + shift, z - shift])).chunk(2)
    slope = row_products(inverses, ahead - behind)
    return (v + tau / (2.0 * DIFFERENCE) * slope).square().sum(1).mean()


def calibration_loss(tilt_data, tilt_base):
    """E softplus(-f) over data plus E_q softplus(f), zero gradient only at f = log p/q."""
    return F.softplus(-tilt_data).mean() + F.softplus(tilt_base).mean()


@torch.no_grad()
def balancing_shift(data_inputs, base_inputs, bound):
    """The constant o for which f = bound(u + o) balances its errors, by bisection:

        E sigmoid(-f) over data  =  E_q sigmoid(f).

    The left side falls with o and the right one rises, so that there is one solution; up to the
    bound it is the o of the smallest calibration loss. The loss is then one of the shape of u
    alone: an energy divided by a small tau has constants of thousands of nats, which no learning
    rate would follow.
    """
    low = -torch.maximum(data_inputs.max(), base_inputs.max()) - 10.0
    high = -torch.minimum(data_inputs.min(), base_inputs.min()) + 10.0
    for _ in range(30):
        middle = 0.5 * (low + high)
        data, base = bound(data_inputs + middle), bound(base_inputs + middle)
        too_high = torch.sigmoid(base).mean() > torch.sigmoid(-data).mean()
        low, high = torch.where(too_high, low, middle), torch.where(too_high, middle, high)
    return 0.5 * (low + high)
