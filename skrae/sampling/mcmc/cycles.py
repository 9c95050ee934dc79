"""A kernel frozen after warm-up, and its cycles: jumps from q, then local moves."""

from typing import NamedTuple

import torch

from skrae.sampling.mcmc.adaptation import STEP_JITTER
from skrae.sampling.mcmc.density_ratios import exact
from skrae.sampling.mcmc.kernels import (
    Info,
    hamiltonian_step,
    independence_run,
    independence_step,
    langevin_step,
    random_walk_step,
)


class Kernel(NamedTuple):
    """One cycle: `n_jumps` independence moves from q, then `n_local` local ones."""

    local: str | None  # "random_walk", "langevin" or "hamiltonian"
    n_jumps: int
    n_local: int
    step_size: float | torch.Tensor
    factors: torch.Tensor
    max_leapfrog: int
    density_ratio: object


class Trace(NamedTuple):
    """What n_steps transitions of n chains left behind; time is the first axis."""

    positions: torch.Tensor  # (n_steps, n, d)
    log_density: torch.Tensor  # (n_steps, n), of the target
    accepted: torch.Tensor  # (n_steps, n), bool
    log_ratio: torch.Tensor  # (n_steps, n), of the proposal
    nonfinite: torch.Tensor  # (n_steps, n), bool: the proposal's log density was NaN or infinite


def join(traces):
    """Traces one after the other as one."""
    return Trace(*(torch.cat(parts) for parts in zip(*traces, strict=True)))


def local_step(state, target, kernel, generator):
    """One local move; a Hamiltonian path takes 1 to max_leapfrog steps of jittered length."""
    if kernel.local != "hamiltonian":
        step = random_walk_step if kernel.local == "random_walk" else langevin_step
        return step(
            state, target, kernel.factors, kernel.step_size, generator, kernel.density_ratio
        )
    high = kernel.max_leapfrog + 1
    n_leapfrog = int(torch.randint(1, high, (), generator=generator, device=generator.device))
    z = state.position
    uniform = torch.rand(len(z), 1, generator=generator, dtype=z.dtype, device=z.device)
    step_size = kernel.step_size * (1.0 - STEP_JITTER * uniform)
    return hamiltonian_step(
        state, target, kernel.factors, step_size, generator, n_leapfrog, kernel.density_ratio
    )


def run_cycle(state, target, kernel, generator):
    """The state after one cycle and the `Trace` of its transitions."""
    traces = []
    if kernel.n_jumps:
        state, trace = _jump(state, target, kernel, generator)
        traces.append(trace)
    for _ in range(kernel.n_local):
        state, info = local_step(state, target, kernel, generator)
        traces.append(_trace(state.position[None], state.log_density[None], _stacked([info])))
    return state, join(traces)


def _jump(state, target, kernel, generator):
    if kernel.density_ratio is exact:
        states, info = independence_run(state, target, target.base, kernel.n_jumps, generator)
        last = state._replace(
            position=states.position[-1],
            log_density=states.log_density[-1],
            log_base=states.log_base[-1],
        )
        # Jumps renew neither gradient nor responsibilities; a local move needs those of its start.
        renewed = target(last.position) if kernel.n_local else last
        return renewed, _trace(states.position, states.log_density, info)
    steps = []
    for _ in range(kernel.n_jumps):
        state, info = independence_step(state, target, target.base, generator, kernel.density_ratio)
        steps.append((state.position, state.log_density, info))
    positions, log_density, infos = zip(*steps, strict=True)
    return state, _trace(torch.stack(positions), torch.stack(log_density), _stacked(infos))


def _stacked(infos):
    return Info(*(torch.stack(parts) for parts in zip(*infos, strict=True)))


def _trace(positions, log_density, info):
    nonfinite = ~info.log_density.isfinite()
    return Trace(positions, log_density, info.accepted, info.log_ratio, nonfinite)
