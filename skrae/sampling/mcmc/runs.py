"""A kernel frozen after warm-up, and runs of it: draws in the units of the data, resumed exactly.

A cycle is independence proposals from q, then local moves. A run advances by whole cycles; the
transitions of the last one that were not asked for wait in
`surplus`, so that two runs in a row give what one long run gives.
"""

from typing import NamedTuple

import numpy as np
import torch

from skrae.mixtures.noise import RowStreams, integer, resumed, uniform
from skrae.preprocessing.contract.work import interruptible
from skrae.sampling.mcmc.adaptation import STEP_JITTER
from skrae.sampling.mcmc.density_ratios import exact
from skrae.sampling.mcmc.kernels import (
    Info,
    State,
    hamiltonian_step,
    independence_run,
    independence_step,
    langevin_step,
    random_walk_step,
)

ONE_STEP = {"random_walk": random_walk_step, "langevin": langevin_step}


class Kernel(NamedTuple):
    """One cycle: `n_independent` independence proposals from q, then `n_local` local moves."""

    local: str | None  # "random_walk", "langevin" or "hamiltonian"
    n_independent: int
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
    log_acceptance_ratio: torch.Tensor  # (n_steps, n), of the proposal
    nonfinite: torch.Tensor  # (n_steps, n), bool: the proposal's log density was NaN or infinite
    undefined: torch.Tensor  # (n_steps, n), bool: it was NaN


def join(traces):
    """Traces one after the other as one."""
    return Trace(*(torch.cat(parts) for parts in zip(*traces, strict=True)))


def local_step(state, target, kernel, generator):
    """One local move; a Hamiltonian path takes 1 to max_leapfrog steps of jittered length."""
    if kernel.local in ONE_STEP:
        step = ONE_STEP[kernel.local]
        return step(
            state, target, kernel.factors, kernel.step_size, generator, kernel.density_ratio
        )
    n_leapfrog = 1 + integer(kernel.max_leapfrog, generator)
    jitter = uniform((len(state.position), 1), generator, state.position)
    step_size = kernel.step_size * (1.0 - STEP_JITTER * jitter)
    return hamiltonian_step(
        state, target, kernel.factors, step_size, generator, n_leapfrog, kernel.density_ratio
    )


def run_cycle(state, target, kernel, generator):
    """The state after one cycle and the `Trace` of its transitions."""
    traces = []
    if kernel.n_independent:
        state, trace = _propose_from_base(state, target, kernel, generator)
        traces.append(trace)
    for _ in range(kernel.n_local):
        state, info = local_step(state, target, kernel, generator)
        traces.append(_trace(state.position[None], state.log_density[None], _stacked([info])))
    return state, join(traces)


def _propose_from_base(state, target, kernel, generator):
    if kernel.density_ratio is exact:
        states, info = independence_run(state, target, target.base, kernel.n_independent, generator)
        last = state._replace(
            position=states.position[-1],
            log_density=states.log_density[-1],
            log_base=states.log_base[-1],
        )
        # They renew neither gradient nor responsibilities; a local move needs those of its start.
        renewed = target(last.position) if kernel.n_local else last
        return renewed, _trace(states.position, states.log_density, info)
    steps = []
    for _ in range(kernel.n_independent):
        state, info = independence_step(state, target, target.base, generator, kernel.density_ratio)
        steps.append((state.position, state.log_density, info))
    positions, log_density, infos = zip(*steps, strict=True)
    return state, _trace(torch.stack(positions), torch.stack(log_density), _stacked(infos))


def _stacked(infos):
    return Info(*(torch.stack(parts) for parts in zip(*infos, strict=True)))


def _trace(positions, log_density, info):
    proposed = info.log_density
    counted = ~proposed.isfinite(), proposed.isnan()
    return Trace(positions, log_density, info.accepted, info.log_acceptance_ratio, *counted)


class Checkpoint(NamedTuple):
    """All that the future of a run depends on."""

    kernel: Kernel
    state: State
    generator_state: torch.Tensor | RowStreams
    surplus: Trace | None


class Draws(NamedTuple):
    """What was kept of a run, in the units of the data, and what was counted on the way."""

    positions: np.ndarray  # (n_chains, n_draws, d)
    log_density: np.ndarray  # (n_chains, n_draws), of the untempered density
    n_transitions: int
    n_accepted: np.ndarray  # (n_chains,)
    n_nonfinite: np.ndarray  # (n_chains,)
    n_undefined: np.ndarray  # (n_chains,)
    interrupted: bool

    @property
    def is_flat(self):
        """Whether the log density is one number wherever the chains went, and nowhere -inf."""
        vanished = self.n_nonfinite.sum() > self.n_undefined.sum()
        moved = self.n_accepted.any() and self.log_density.size > 1
        return bool(moved and not vanished and np.ptp(self.log_density) == 0.0)

    def count_with(self, earlier):
        """The same draws, with the counts of an earlier run added."""
        return self._replace(
            n_transitions=earlier.n_transitions + self.n_transitions,
            n_accepted=earlier.n_accepted + self.n_accepted,
            n_nonfinite=earlier.n_nonfinite + self.n_nonfinite,
            n_undefined=earlier.n_undefined + self.n_undefined,
        )


class Run:
    """Chains that go on from a `Checkpoint`.

    Parameters
    ----------
    target : Target
    checkpoint : Checkpoint
    broken_off : bool, whether the warm-up before it was
    """

    def __init__(self, target, checkpoint, broken_off=False):
        self.target, self.broken_off = target, broken_off
        self.kernel, self.state, generator_state, self.surplus = checkpoint
        self.generator = resumed(generator_state, self.state.position.device)

    @property
    def checkpoint(self):
        """Where the run stands."""
        return Checkpoint(self.kernel, self.state, self.generator.get_state(), self.surplus)

    def where_it_stands(self):
        """`Draws` of the state that the chains are in, without a transition."""
        record, state = _Record(self, 1, 1), self.state
        none = torch.zeros_like(state.log_density[None], dtype=torch.bool)
        trace = state.position[None], state.log_density[None], none, torch.zeros_like(none), none
        record.add(Trace(*trace, none))
        return record.draws(interrupted=True)

    def draw(self, n_draws, thin=1, report=None):
        """Every `thin`-th transition, until there are `n_draws` a chain; returns `Draws`.

        A KeyboardInterrupt ends the run with what has been drawn, unless that is nothing.

        Parameters
        ----------
        report : callable(positions, acceptance_rate) or None, called after every cycle
        """
        record = _Record(self, n_draws, thin)
        with interruptible() as interrupted:
            while record.n_kept < n_draws:
                record.add(self._next(record.n_missing))
                if report:
                    report(record.positions[:, : record.n_kept], record.rate)
        if interrupted:
            if not record.n_kept:
                raise KeyboardInterrupt
            # What came after the last draw is not lost to a run that goes on.
            later = [*record.release(), *([self.surplus] if self.surplus else [])]
            self.surplus = join(later) if later else None
        return record.draws(bool(interrupted))

    def _next(self, n_wanted):
        """At most `n_wanted` transitions more; the rest of a cycle becomes the surplus."""
        if self.surplus is None:
            before = self.generator.get_state()
            try:
                cycle = run_cycle(self.state, self.target, self.kernel, self.generator)
            except BaseException:  # a cycle is whole or has not been
                self.generator.set_state(before)
                raise
            self.state, self.surplus = cycle
        trace, n = self.surplus, len(self.surplus.accepted)
        self.surplus = Trace(*(part[n_wanted:] for part in trace)) if n > n_wanted else None
        return Trace(*(part[:n_wanted] for part in trace))


class _Record:
    """The arrays that a run fills."""

    def __init__(self, run, n_draws, thin):
        n, d = run.state.position.shape
        self.target, self.thin = run.target, thin
        self.positions = np.empty((n, n_draws, d), run.target.dtype)
        self.log_density = np.empty((n, n_draws))
        self.n_kept, self.n_transitions = 0, 0
        self.n_accepted, self.n_nonfinite, self.n_undefined = np.zeros((3, n), int)
        self.pending = []  # traces of the transitions after the last kept one

    @property
    def n_missing(self):
        return self.positions.shape[1] * self.thin - self.n_transitions

    @property
    def rate(self):
        return float(self.n_accepted.mean() / max(self.n_transitions, 1))

    def add(self, trace):
        """Keep every thin-th of the transitions, counted from the beginning of the run."""
        first = -(self.n_transitions + 1) % self.thin
        kept = trace.positions[first :: self.thin].numpy(force=True)
        end = self.n_kept + len(kept)
        rows = self.target.transform.inverse(kept)
        self.positions[:, self.n_kept : end] = rows.swapaxes(0, 1)
        values = trace.log_density[first :: self.thin].numpy(force=True)
        self.log_density[:, self.n_kept : end] = self.target.in_units(rows, values).T
        self._count(trace, 1)
        self.n_kept = end
        n_left = min(len(trace.accepted), self.n_transitions % self.thin)
        self.pending = [] if len(kept) else self.pending
        if n_left:
            self.pending.append(Trace(*(part[-n_left:] for part in trace)))

    def _count(self, trace, sign):
        self.n_accepted += sign * trace.accepted.sum(0).numpy(force=True)
        self.n_nonfinite += sign * trace.nonfinite.sum(0).numpy(force=True)
        self.n_undefined += sign * trace.undefined.sum(0).numpy(force=True)
        self.n_transitions += sign * len(trace.accepted)

    def release(self):
        """The traces of the transitions after the last kept one, which count no more."""
        for trace in self.pending:
            self._count(trace, -1)
        return self.pending

    def draws(self, interrupted):
        n = self.n_kept
        return Draws(
            positions=self.positions[:, :n],
            log_density=self.log_density[:, :n],
            n_transitions=self.n_transitions,
            n_accepted=self.n_accepted,
            n_nonfinite=self.n_nonfinite,
            n_undefined=self.n_undefined,
            interrupted=interrupted,
        )


def concatenate(first, second):
    """Draws of two successive runs as one."""
    return second.count_with(first)._replace(
        positions=np.concatenate([first.positions, second.positions], axis=1),
        log_density=np.concatenate([first.log_density, second.log_density], axis=1),
    )
