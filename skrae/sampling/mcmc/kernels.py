"""Metropolis-Hastings kernels: pure functions from a state to (state, info).

A target is a function z -> State; leapfrog paths ask for its `gradient` too, `independence_run` for
its `densities`, an expansion to second order for its `hessian`. Proposals pass their own log
acceptance ratio log [p(y) k(y -> z)] / [p(z) k(z -> y)] to `accept`, the log density ratio in it by
a function of `density_ratios`; `is_accepted` alone decides, and a NaN rejects.

The metric of a local move is C_k = K K^T of a component k ~ r_k(z) (responsibilities of the state):
the way back uses the same k, so r_k(z') / r_k(z) enters the ratio. One factor is one metric
everywhere; `factors` has shape (K, d, d), or (m, K, d, d): chain i then has those of index i mod m.
"""

from typing import NamedTuple

import numpy as np
import torch

from skrae.mixtures.components import draw_index
from skrae.mixtures.noise import normal, uniform
from skrae.preprocessing.blocks import matrices_of_rows, on_first_axes, row_products
from skrae.sampling.mcmc.density_ratios import exact


class State(NamedTuple):
    """What the next step needs, for n chains side by side."""

    position: torch.Tensor  # (n, d)
    log_density: torch.Tensor  # (n,), of the target
    gradient: torch.Tensor  # (n, d), of the target's log density; (n, 0) where it has none
    log_base: torch.Tensor  # (n,), log q of the independence proposal
    responsibilities: torch.Tensor  # (n, K), of the components that shape local moves


class Info(NamedTuple):
    """What diagnostics want of one step."""

    log_acceptance_ratio: torch.Tensor  # (n,)
    accepted: torch.Tensor  # (n,), bool
    log_density: torch.Tensor  # (n,), of the proposal


def log_uniform(like, generator):
    """Logarithms of uniform draws on (0, 1), of the shape of `like`."""
    return uniform((like.numel(),), generator, like).log_().reshape(like.shape)


def is_accepted(log_acceptance_ratio, threshold):
    """The Metropolis-Hastings rule: move with probability min(1, exp ratio), never for NaN.

    `threshold` is the logarithm of a uniform draw.
    """
    return threshold < log_acceptance_ratio


def accept(state, proposed, log_acceptance_ratio, generator):
    """The proposed state where the rule accepts it, the old one elsewhere; and the step's info.

    A log density of NaN or -inf is never entered: a ratio from the score does not see it.
    """
    log_acceptance_ratio = torch.where(
        proposed.log_density.isfinite(), log_acceptance_ratio, -torch.inf
    )
    accepted = is_accepted(log_acceptance_ratio, log_uniform(log_acceptance_ratio, generator))
    merged = (
        torch.where(accepted if new.ndim == 1 else accepted[:, None], new, old)
        for new, old in zip(proposed, state, strict=True)
    )
    return State(*merged), Info(log_acceptance_ratio, accepted, proposed.log_density)


def random_walk_step(state, target, factors, step_size, generator, density_ratio=exact):
    """A move z' = z + h K xi, xi ~ N(0, I), h = step_size (Metropolis et al. 1953)."""
    k, factor = _draw_factor(state, factors, generator)
    noise = _noise_like(state.position, generator)
    proposed = target(state.position + step_size * _apply(factor, noise))
    log_density_ratio = density_ratio(state, proposed, target)
    log_acceptance_ratio = log_density_ratio + _component_ratio(state, proposed, k)
    return accept(state, proposed, log_acceptance_ratio, generator)


def langevin_step(state, target, factors, step_size, generator, density_ratio=exact):
    """Metropolis-adjusted Langevin move (Roberts & Tweedie 1996), one leapfrog step of length h.

    z' = z + h^2/2 C_k grad log p(z) + h K xi,  h = step_size. One identity factor is plain MALA.

    Parameters
    ----------
    factors : tensor of shape (K, d, d) or (m, K, d, d)
    step_size : float or tensor of shape (n, 1)
    """
    return hamiltonian_step(state, target, factors, step_size, generator, 1, density_ratio)


def hamiltonian_step(state, target, factors, step_size, generator, n_leapfrog, density_ratio=exact):
    """Hamiltonian move (Duane et al. 1987): `n_leapfrog` steps of length h with masses C_k^-1.

    v ~ N(0, I); v += h/2 K^T grad log p(z); z += h K v; v += h/2 K^T grad log p(z); and so on. The
    map (z, v) -> (z', -v') preserves volume and is its own inverse, so that the ratio is that of
    p(z) r_k(z) N(v; 0, I) at either end.
    """
    k, factor = _draw_factor(state, factors, generator)
    start = velocity = _noise_like(state.position, generator)
    position, kick = state.position, 0.5 * step_size * _apply_transposed(factor, state.gradient)
    for _ in range(n_leapfrog - 1):
        position = position + step_size * _apply(factor, velocity + kick)
        next_kick = 0.5 * step_size * _apply_transposed(factor, target.gradient(position))
        velocity, kick = velocity + kick + next_kick, next_kick
    proposed = target(position + step_size * _apply(factor, velocity + kick))
    velocity = velocity + kick + 0.5 * step_size * _apply_transposed(factor, proposed.gradient)
    log_density_ratio = density_ratio(state, proposed, target)
    log_acceptance_ratio = (
        log_density_ratio
        + 0.5 * (start.square() - velocity.square()).sum(1)
        + _component_ratio(state, proposed, k)
    )
    return accept(state, proposed, log_acceptance_ratio, generator)


def independence_step(state, target, base, generator, density_ratio=exact):
    """A proposal drawn from q, wherever the chain is; its log q is the state's log_base."""
    proposed = target(base.sample(len(state.position), generator))
    log_density_ratio = density_ratio(state, proposed, target)
    log_acceptance_ratio = log_density_ratio + state.log_base - proposed.log_base
    return accept(state, proposed, log_acceptance_ratio, generator)


def independence_run(state, target, base, n_steps, generator):
    """`n_steps` independence proposals, which no state decides, are evaluated all at once.

    Returns
    -------
    states : State of the n_steps states, each part of shape (n_steps, n, ...)
        gradient and responsibilities are those of the start, which proposals of q do not renew.
    info : Info, each part of shape (n_steps, n)
    """
    n = len(state.position)
    proposals = base.sample(n_steps * n, generator)
    log_density, log_base = (part.reshape(n_steps, n) for part in target.densities(proposals))
    ratios, accepted = _scan(state, log_density - log_base, generator)
    # Row 0 is the start and row t proposal t: a chain is at the last one it accepted.
    times = torch.arange(1, n_steps + 1, device=accepted.device)[:, None]
    index = torch.where(accepted, times, 0).cummax(0).values

    def visited(start, proposed):
        return torch.cat([start[None], proposed]).gather(0, index)

    chain = torch.arange(n, device=index.device)
    states = State(
        torch.cat([state.position, proposals])[index * n + chain],
        visited(state.log_density, log_density),
        state.gradient.expand(n_steps, -1, -1),
        visited(state.log_base, log_base),
        state.responsibilities.expand(n_steps, -1, -1),
    )
    return states, Info(ratios, accepted, log_density)


def _scan(state, weights, generator):
    """Log ratios and acceptances (n_steps, n) of proposals with weights log p - log q, in turn."""
    proposed, thresholds = (a.numpy(force=True) for a in (weights, log_uniform(weights, generator)))
    current = (state.log_density - state.log_base).numpy(force=True)
    ratios, accepted = np.empty_like(proposed), np.empty(proposed.shape, bool)
    # Many steps of few numbers each: NumPy's calls cost a fraction of torch's.
    with np.errstate(invalid="ignore"):  # the ratio of two densities of zero is NaN
        for t, weight in enumerate(proposed):
            ratios[t] = weight - current
            accepted[t] = is_accepted(ratios[t], thresholds[t])
            current = np.where(accepted[t], weight, current)
    return torch.from_numpy(ratios).to(weights), torch.from_numpy(accepted).to(weights.device)


def _noise_like(position, generator):
    return normal(position.shape, generator, position)


def _draw_factor(state, factors, generator):
    """Component k ~ r_k(z) and its factor; None and the only factor where there is one."""
    if factors.ndim == 3 and len(factors) == 1:
        return None, factors
    k = draw_index(state.responsibilities, generator)
    if factors.ndim == 3:
        return k, matrices_of_rows(factors, k)
    return k, factors[torch.arange(len(k), device=k.device) % len(factors), k]


def _component_ratio(state, proposed, k):
    """log r_k(z') - log r_k(z), shape (n,)."""
    if k is None:
        return 0.0
    old, new = (s.responsibilities.gather(1, k[:, None])[:, 0] for s in (state, proposed))
    return new.log() - old.log()


def _apply(factors, vectors):
    if len(factors) == 1:
        return on_first_axes(lambda factor, v: v @ factor.T, factors[0], vectors)
    return row_products(factors, vectors)


def _apply_transposed(factors, vectors):
    if len(factors) == 1:
        return on_first_axes(lambda factor, v: v @ factor, factors[0], vectors)
    return row_products(factors.mT, vectors)
