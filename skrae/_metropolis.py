"""Metropolis-Hastings kernels: pure functions from a state to (state, info).

A target is a function z -> State. Proposals return their own log ratio
log [p(y) k(y -> z)] / [p(z) k(z -> y)]; `accept` alone decides, and a NaN rejects.
"""

from typing import NamedTuple

import torch

from skrae._linear_algebra import draw_index


class State(NamedTuple):
    """What the next step needs, for n chains side by side."""

    position: torch.Tensor  # (n, d)
    log_density: torch.Tensor  # (n,), of the target
    gradient: torch.Tensor  # (n, d), of the target's log density
    log_base: torch.Tensor  # (n,), log q of the independence proposal
    responsibilities: torch.Tensor  # (n, K), of the components that shape local moves


class Info(NamedTuple):
    """What diagnostics want of one step."""

    log_ratio: torch.Tensor  # (n,)
    accepted: torch.Tensor  # (n,), bool


def accept(state, proposed, log_ratio, generator):
    """The Metropolis-Hastings rule: move with probability min(1, exp log_ratio)."""
    to = {"dtype": log_ratio.dtype, "device": log_ratio.device}
    uniform = torch.rand(log_ratio.shape, generator=generator, **to)
    accepted = torch.log(uniform) < log_ratio
    merged = (
        torch.where(accepted if new.ndim == 1 else accepted[:, None], new, old)
        for new, old in zip(proposed, state, strict=True)
    )
    return State(*merged), Info(log_ratio, accepted)


def langevin_step(state, target, factors, step_size, generator):
    """Metropolis-adjusted Langevin move in the metric C_k = K K^T of a component k ~ r_k(z).

    z' = z + h/2 C_k grad log p(z) + sqrt(h) K xi,  h = step_size^2; the way back uses the same k,
    so its probability r_k(z') / r_k(z) enters the ratio. One identity factor is plain MALA.

    Parameters
    ----------
    factors : tensor of shape (K, d, d)
    step_size : float or tensor of shape (n, 1)
    """
    k = draw_index(state.responsibilities, generator)
    factor = factors[k]
    noise = torch.randn(
        state.position.shape, generator=generator, dtype=factor.dtype, device=factor.device
    )
    drift = 0.5 * step_size * _apply_transposed(factor, state.gradient)
    step = torch.einsum("nij,nj->ni", factor, step_size * (noise + drift))
    proposed = target(state.position + step)
    back = noise + drift + 0.5 * step_size * _apply_transposed(factor, proposed.gradient)
    log_ratio = (
        proposed.log_density
        - state.log_density
        + 0.5 * (noise.square() - back.square()).sum(1)
        + _log_probability(proposed.responsibilities, k)
        - _log_probability(state.responsibilities, k)
    )
    return accept(state, proposed, log_ratio, generator)


def independence_step(state, target, base, generator):
    """A jump to an independent draw of q, whose log density the state carries as log_base."""
    proposed = target(base.sample(len(state.position), generator))
    log_ratio = (proposed.log_density - proposed.log_base) - (state.log_density - state.log_base)
    return accept(state, proposed, log_ratio, generator)


def _apply_transposed(factors, vectors):
    return torch.einsum("nji,nj->ni", factors, vectors)


def _log_probability(responsibilities, k):
    return responsibilities.gather(1, k[:, None])[:, 0].log()
