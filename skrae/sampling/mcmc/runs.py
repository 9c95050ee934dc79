"""Running chains with a frozen kernel: draws in the units of the data, resumed exactly.

A run advances by whole cycles; the transitions of the last one that were not asked for wait in
`surplus`, so that two runs in a row give what one long run gives.
"""

from typing import NamedTuple

import numpy as np
import torch

from skrae.sampling.mcmc.cycles import Kernel, Trace, join, run_cycle
from skrae.sampling.mcmc.kernels import State
from skrae.sampling.mcmc.warmup import warm_up


class Moment(NamedTuple):
    """All that the future of a run depends on."""

    kernel: Kernel
    state: State
    generator_state: torch.Tensor
    surplus: Trace | None


class Draws(NamedTuple):
    """What was kept of a run, in the units of the data, and what was counted on the way."""

    positions: np.ndarray  # (n_chains, n_draws, d)
    log_density: np.ndarray  # (n_chains, n_draws), of the untempered density
    n_transitions: int
    n_accepted: np.ndarray  # (n_chains,)
    n_nonfinite: np.ndarray  # (n_chains,)
    interrupted: bool

    def count_with(self, earlier):
        """The same draws, with the counts of an earlier run added."""
        return self._replace(
            n_transitions=earlier.n_transitions + self.n_transitions,
            n_accepted=earlier.n_accepted + self.n_accepted,
            n_nonfinite=earlier.n_nonfinite + self.n_nonfinite,
        )


class Run:
    """Chains that go on from a `Moment`.

    Parameters
    ----------
    target : target
    moment : Moment
    dtype : numpy dtype of the draws
    """

    def __init__(self, target, moment, dtype=np.float64):
        self.target, self.dtype = target, dtype
        self.kernel, self.state, generator_state, self.surplus = moment
        self.generator = torch.Generator(self.state.position.device)
        self.generator.set_state(generator_state)

    @property
    def moment(self):
        """Where the run stands."""
        return Moment(self.kernel, self.state, self.generator.get_state(), self.surplus)

    def draw(self, n_draws, thin=1, report=None):
        """Every `thin`-th transition, until there are `n_draws` a chain; returns `Draws`.

        A KeyboardInterrupt ends the run with what has been drawn, unless that is nothing.

        Parameters
        ----------
        report : callable(positions, acceptance_rate) or None, called after every cycle
        """
        record = _Record(self, n_draws, thin)
        try:
            while record.n_kept < n_draws:
                record.add(self._next(record.n_missing))
                if report:
                    report(record.positions[:, : record.n_kept], record.rate)
        except KeyboardInterrupt:
            if not record.n_kept:
                raise
            # What came after the last draw is not lost to a run that goes on.
            later = [*record.release(), *([self.surplus] if self.surplus else [])]
            self.surplus = join(later) if later else None
            return record.draws(interrupted=True)
        return record.draws(interrupted=False)

    def _next(self, n_wanted):
        """At most `n_wanted` transitions more; the rest of a cycle becomes the surplus."""
        if self.surplus is None:
            before = self.generator.get_state()
            try:
                cycle = run_cycle(self.state, self.target, self.kernel, self.generator)
            except KeyboardInterrupt:
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
        self.positions = np.empty((n, n_draws, d), run.dtype)
        self.log_density = np.empty((n, n_draws))
        self.n_kept, self.n_transitions = 0, 0
        self.n_accepted, self.n_nonfinite = np.zeros(n, int), np.zeros(n, int)
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
        rows = self.target.scaling.backward(kept)
        self.positions[:, self.n_kept : end] = rows.swapaxes(0, 1)
        values = trace.log_density[first :: self.thin].numpy(force=True).T
        self.log_density[:, self.n_kept : end] = values / self.target.beta + self.target.offset
        self._count(trace, 1)
        self.n_kept = end
        n_left = min(len(trace.accepted), self.n_transitions % self.thin)
        self.pending = [] if len(kept) else self.pending
        if n_left:
            self.pending.append(Trace(*(part[-n_left:] for part in trace)))

    def _count(self, trace, sign):
        self.n_accepted += sign * trace.accepted.sum(0).numpy(force=True)
        self.n_nonfinite += sign * trace.nonfinite.sum(0).numpy(force=True)
        self.n_transitions += sign * len(trace.accepted)

    def release(self):
        """The traces of the transitions after the last kept one, which count no more."""
        for trace in self.pending:
            self._count(trace, -1)
        return self.pending

    def draws(self, interrupted):
        n = self.n_kept
        return Draws(
            self.positions[:, :n],
            self.log_density[:, :n],
            self.n_transitions,
            self.n_accepted,
            self.n_nonfinite,
            interrupted,
        )


def concatenate(first, second):
    """Draws of two successive runs as one."""
    return second.count_with(first)._replace(
        positions=np.concatenate([first.positions, second.positions], axis=1),
        log_density=np.concatenate([first.log_density, second.log_density], axis=1),
    )


def start_run(target, state, plan, generator, dtype, reporter=None):
    """The `Run` that begins after a warm-up from `state`."""
    report = reporter and reporter.warm_up(plan.n_warmup)
    target, kernel, state = warm_up(target, state, plan, generator, report)
    return Run(target, Moment(kernel, state, generator.get_state(), None), dtype)
