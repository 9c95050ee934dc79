"""The terms of the objective of an auto-encoder, as pure functions of tensors.

    |x - r(x~)|^2 / Var  +  sum of weight x term

x are rows in working space, h their code. Each term is a mean over the rows of a batch, so that no
weight depends on its size.
"""

import torch

# Deviations below are those of a unit that says nothing.
MIN_DEVIATION = 1e-6
# Up to this many units the contraction of a deep encoder is summed over all of them.
EXACT_COMPONENTS = 2


def reconstruction_error(x, r, variance):
    """Mean over rows of |x - r|^2 / Var: 1 - R^2 of the batch.

    Parameters
    ----------
    x, r : tensors of shape (n, d)
    variance : float, the total variance of the rows, a sum over columns
    """
    return (x - r).square().sum(1).mean() / variance


def l1_sparsity(h, variance):
    """Mean over rows of |h|_1 / (2 sqrt(Var)): half the size of the code over that of the rows.

    Parameters
    ----------
    h : tensor of shape (n, k)
    variance : float, the total variance of the rows

    Examples
    --------
    >>> l1_sparsity(torch.tensor([[1.0, -3.0]]), 4.0)
    tensor(1.)
    """
    return h.abs().sum(1).mean() / (2.0 * variance**0.5)


def kl_sparsity(h, target):
    """sum_k KL(rho | rho_k) / (k rho) of mean activations rho_k, per unit that rho lets be active.

    Mean activations are in (0, 1), as those of sigmoid units are (Ng 2011, "Sparse autoencoder").

    Parameters
    ----------
    h : tensor of shape (n, k), in (0, 1)
    target : float in (0, 1), rho

    Examples
    --------
    >>> kl_sparsity(torch.full((5, 3), 0.25), 0.25)
    tensor(0.)
    """
    mean = h.mean(0).clamp(MIN_DEVIATION, 1.0 - MIN_DEVIATION)
    target = mean.new_tensor(target)
    active = target * (target / mean).log()
    silent = (1.0 - target) * ((1.0 - target) / (1.0 - mean)).log()
    return (active + silent).mean() / target


def deviations(h):
    """Standard deviation of each unit over the batch, (k,)."""
    return (h.var(0, correction=0) + MIN_DEVIATION**2).sqrt()


def layer_contraction(slopes, weight, scale):
    """Mean over rows of |du/dx|_F^2 = sum_k (h'_k |w_k| / c_k)^2, u = h(x W + b) / c, exactly.

    Parameters
    ----------
    slopes : tensor of shape (n, k), h'
    weight : tensor of shape (d, k), W
    scale : tensor of shape (k,), c
    """
    return slopes.square().mean(0) @ (weight.square().sum(0) / scale.square())


def jacobian_contraction(pull_back, code, generator):
    """Mean over rows of |J|_F^2, J the Jacobian of the code.

    Exact for up to two units; beyond, Hutchinson's estimate E |J^T v|^2 with v = +-1, one v a row.

    Parameters
    ----------
    pull_back : callable from v (n, k) to J^T v (n, d)
    code : tensor of shape (n, k), of which shape, dtype and device count
    generator : torch.Generator
    """
    if code.shape[1] <= EXACT_COMPONENTS:
        axes = torch.eye(code.shape[1]).to(code)
        return sum(pull_back(axis.expand_as(code)).square().sum(1).mean() for axis in axes)
    signs = torch.randint(2, code.shape, generator=generator, device=code.device)
    return pull_back((2 * signs - 1).to(code)).square().sum(1).mean()


def relative_stress(distances, code_distances):
    """sum (d - D)^2 / sum D^2 over pairs: the square of Kruskal's stress, D the distances to keep.

    Parameters
    ----------
    distances, code_distances : tensors of shape (n, n), D and d

    Examples
    --------
    >>> d = torch.tensor([[0.0, 2.0], [2.0, 0.0]])
    >>> relative_stress(d, 0.5 * d)
    tensor(0.2500)
    """
    total = distances.square().sum().clamp_min(torch.finfo(distances.dtype).tiny)
    return (code_distances - distances).square().sum() / total


def elastic_stress(distances, code_distances):
    """Mean over pairs of ((d - D) / D)^2 (elastic scaling; McGee 1966): all lengths count alike.

    Pairs at no distance say nothing and are left out.

    Parameters
    ----------
    distances, code_distances : tensors of shape (n, n), D and d
    """
    apart = distances > 0.0
    ratio = code_distances / torch.where(apart, distances, 1.0) - 1.0
    return (ratio.square() * apart).sum() / apart.sum().clamp_min(1)
