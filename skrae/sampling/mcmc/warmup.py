"""Warm-up: from starts to a kernel whose step size and metric are frozen.

1. Independence proposals, where there is a base density: their acceptance tells how much local
   moves must do.
2. Local moves with a step size for each chain, so that none stays behind far from the target.
3. Windows with one step size for all, each followed by the covariance of its pooled draws.
4. The final step size, by dual averaging.
5. Where "auto" has no base density: a mixture fitted to the last draws, and proposals from it.
"""

from typing import NamedTuple

import torch

from skrae.mixtures.growth.selection import quick_base
from skrae.preprocessing.blocks import block_sizes
from skrae.preprocessing.contract.work import interruptible
from skrae.sampling.mcmc.adaptation import (
    TARGET_ACCEPTANCE,
    DualAveraging,
    SeparateSteps,
    acceptance_probability,
    first_step_size,
    leapfrog_limit,
    pooled_factor,
)
from skrae.sampling.mcmc.density_ratios import exact, first_order, second_order
from skrae.sampling.mcmc.runs import Kernel, join, run_cycle

# Shares of the local transitions; the longer second window gives the metric that is kept.
SEPARATE_SHARE, WINDOW_SHARES = 0.15, (0.2, 0.45)
# Transitions of a cycle without independence proposals, which alone gain from a long one.
LOCAL_CYCLE = 16
# A base density is learned from no fewer chains and draws of each than these.
MIN_CHAINS, MIN_DRAWS = 5, 16
MAX_LEARNING_ROWS, MAX_COMPONENTS = 4000, 32
# Independence proposals that are accepted less often leave the work to local moves.
USEFUL_ACCEPTANCE = 0.05


class SamplerSettings(NamedTuple):
    """What the user asked of the chains."""

    proposal: str = "auto"  # or "random_walk", "langevin", "hamiltonian", "independence"
    metric: str = "auto"  # or "local", "dense", "diagonal"
    step_size: float | None = None
    density_ratio: object = exact
    n_warmup: int = 512
    learns: bool = False  # whether "auto" without a base density fits one to its warm-up
    cycle: int = 64  # transitions: proposals of q evaluated at once, then local moves


def warm_up(target, state, settings, generator, report=None):
    """The target, the kernel and the state after `settings.n_warmup` transitions.

    The target is the one given, or the same with a base density fitted to draws of the warm-up. And
    whether a KeyboardInterrupt broke it off, which passes where no transition was made before.

    Parameters
    ----------
    target : Target
    state : State
    settings : SamplerSettings
    generator : torch.Generator
    report : callable(n_done, Trace) or None
    """
    # The acceptance of a biased ratio says nothing of the step, so the exact one tunes it.
    biased = settings.density_ratio in (first_order, second_order)
    tuned = settings._replace(density_ratio=exact) if biased else settings
    tuner = _Tuner(target, state, tuned, generator, report)
    with interruptible() as interrupted:
        cycle = _cycle(tuner, settings)
    if interrupted:
        cycle = tuner.cycle_so_far()
    kernel = tuner.kernel(*cycle)._replace(density_ratio=settings.density_ratio)
    return tuner.target, kernel, tuner.state, bool(interrupted)


def _cycle(tuner, settings):
    """Tune; the numbers of proposals of q and of local moves in a cycle."""
    if settings.proposal == "independence":
        tuner.propose_from_base(settings.n_warmup)
        return settings.cycle, 0
    if settings.proposal == "auto":
        return _mix(tuner, settings)
    tuner.tune_local(settings.n_warmup, settings.proposal)
    return 0, LOCAL_CYCLE


def _mix(tuner, settings):
    """The same for "auto"."""
    local = "hamiltonian" if tuner.target.has_gradient else "random_walk"
    if tuner.target.base is not None:
        acceptance, n_local = (
            tuner.propose_from_base(settings.n_warmup // 2),
            settings.n_warmup - settings.n_warmup // 2,
        )
        if acceptance > USEFUL_ACCEPTANCE:
            # Few of the moves will be local, and short ones: they need less tuning.
            n_local = settings.n_warmup // 4
            acceptance = tuner.propose_from_base(
                settings.n_warmup - settings.n_warmup // 2 - n_local
            )
            local = "langevin" if tuner.target.has_gradient else local
        tuner.tune_local(n_local, local)
        return split_cycle(acceptance, settings.cycle, tuner.target.min_local)
    tuner.tune_local(settings.n_warmup - settings.n_warmup // 8, local)
    n_draws, n_chains, _ = tuner.draws.shape
    if not settings.learns or n_draws < MIN_DRAWS or n_chains < MIN_CHAINS:
        return 0, LOCAL_CYCLE
    tuner.learn_base()
    acceptance = tuner.propose_from_base(settings.n_warmup // 8)
    return split_cycle(acceptance, settings.cycle, tuner.target.min_local)


def split_cycle(acceptance, cycle, least):
    """Proposals of q and local moves in a cycle: `least` local of 64 where most are accepted."""
    share = max(least / 64, 1.0 / (1.0 + 100.0 * acceptance))
    n_local = min(cycle - 1, max(1, round(share * cycle)))
    return cycle - n_local, n_local


class _Tuner:
    """The chains during warm-up and what has been tuned so far."""

    def __init__(self, target, state, settings, generator, report):
        self.target, self.state, self.settings = target, state, settings
        self.generator, self.report, self.n_done = generator, report, 0
        d = state.position.shape[1]
        self.kind, self.step_size, self.draws = None, settings.step_size, []
        self.proposes = False  # from the base density
        self.factors = torch.eye(d, dtype=state.position.dtype, device=state.position.device)[None]

    def kernel(self, n_independent, n_local):
        step_size = 0.0 if self.step_size is None else self.step_size
        typical = float(torch.as_tensor(step_size).median())
        limit = leapfrog_limit(typical) if self.kind == "hamiltonian" else 1
        return Kernel(
            local=self.kind if n_local else None,
            n_independent=n_independent,
            n_local=n_local,
            step_size=step_size,
            factors=self.factors,
            max_leapfrog=limit,
            density_ratio=self.settings.density_ratio,
        )

    def _run(self, kernel):
        self.state, trace = run_cycle(self.state, self.target, kernel, self.generator)
        self.n_done += len(trace.accepted)
        if self.report:
            self.report(self.n_done, trace)
        return trace

    def cycle_so_far(self):
        """As much of a cycle as is tuned, from where the chains stand."""
        if not self.n_done:
            raise KeyboardInterrupt
        self.state = self.target(self.state.position)
        n_local = 0 if self.kind is None else LOCAL_CYCLE
        n_independent = 0 if self.target.base is None or not self.proposes else self.settings.cycle
        return n_independent, n_local

    def propose_from_base(self, n_independent):
        """Propose from q; the acceptance rate, in the second half, that nine chains in ten exceed.

        A base density that is too narrow holds a few chains for long while others move freely.
        """
        n_independent, size, self.proposes = max(2, n_independent), self.settings.cycle, True
        halves = (n_independent // 2, n_independent - n_independent // 2)
        for n in halves:
            traces = [self._run(self.kernel(k, 0)) for k in block_sizes(n, size)]
        self.state = self.target(self.state.position)
        return float(join(traces).accepted.double().mean(0).quantile(0.1))

    def tune_local(self, n_steps, kind):
        """Tune the metric and the step size of local moves of this kind."""
        self.kind = kind
        metric = self._metric(kind)
        if metric == "local":
            self.factors = self.target.factors
        n_separate = int(SEPARATE_SHARE * n_steps)
        windows = [] if metric == "local" else [int(share * n_steps) for share in WINDOW_SHARES]
        self._separate(n_separate)
        draws = self.state.position[None][:0]
        for n_window in windows:
            draws = self._average(n_window)
            if len(draws):
                self.factors = pooled_factor(draws, metric)
        self.draws = torch.cat([draws, self._average(n_steps - n_separate - sum(windows))])

    def learn_base(self):
        """A base density from the draws of the last window, for the target from now on.

        Whole chains are held out: draws of one chain are too alike to judge by each other.
        """
        order = torch.randperm(self.draws.shape[1], generator=self.generator)
        n_held_out = max(1, len(order) // 5)
        parts = [
            _thinned(self.draws[:, order[n_held_out:]], MAX_LEARNING_ROWS),
            _thinned(self.draws[:, order[:n_held_out]], MAX_LEARNING_ROWS // 4),
        ]
        base = quick_base(*parts, self.generator, MAX_COMPONENTS)
        self.target = self.target.with_base(base)
        self.state = self.target(self.state.position)

    def _metric(self, kind):
        if self.settings.metric != "auto":
            return self.settings.metric
        mixes = self.settings.proposal == "auto" and self.target.base is not None
        return "local" if mixes and kind != "hamiltonian" else "dense"

    def _first_step_size(self):
        return first_step_size(self.kind, self.state.position.shape[1])

    def _separate(self, n_steps):
        """Every chain with a step size of its own."""
        if self.settings.step_size is not None:
            self._average(n_steps)
            return
        steps = SeparateSteps(
            self._first_step_size(), TARGET_ACCEPTANCE[self.kind], len(self.state.position)
        )
        for _ in range(n_steps):
            self.step_size = steps.step_size.to(self.state.position)
            trace = self._run(self.kernel(0, 1))
            steps.update(acceptance_probability(trace.log_acceptance_ratio[0]).cpu())

    def _average(self, n_steps):
        """One step size for all chains; the positions on the way, (n_steps, n, d)."""
        fixed = self.settings.step_size is not None
        average = DualAveraging(
            self.settings.step_size if fixed else self._first_step_size(),
            TARGET_ACCEPTANCE[self.kind],
        )
        positions = [self.state.position[None][:0]]
        for _ in range(n_steps):
            self.step_size = average.step_size
            trace = self._run(self.kernel(0, 1))
            positions.append(trace.positions)
            if not fixed:
                average.update(float(acceptance_probability(trace.log_acceptance_ratio).mean()))
        self.step_size = self.settings.step_size if fixed else average.averaged
        return torch.cat(positions)


def _thinned(draws, n_rows):
    """At most about n_rows of the draws (n_steps, n, d) as rows, and weights of one."""
    z = draws[:: max(1, draws[..., 0].numel() // n_rows)].flatten(0, 1)
    return z, torch.ones_like(z[:, 0])
