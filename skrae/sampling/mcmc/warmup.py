"""Warm-up: from starts to a kernel whose step size and metric are frozen.

1. Jumps, where there is a base density: their acceptance tells how much local moves must do.
2. Local moves with a step size for each chain, so that none stays behind far from the target.
3. Windows with one step size for all, each followed by the covariance of its pooled draws.
4. The final step size, by dual averaging.
5. Where "auto" has no base density: a mixture fitted to the last draws, and jumps from it.
"""

from typing import NamedTuple

import torch

from skrae.mixtures.selection import quick_base
from skrae.sampling.mcmc.adaptation import (
    TARGET_ACCEPTANCE,
    DualAveraging,
    SeparateSteps,
    acceptance_probability,
    first_step_size,
    leapfrog_limit,
    pooled_factor,
)
from skrae.sampling.mcmc.cycles import Kernel, join, run_cycle
from skrae.sampling.mcmc.density_ratios import exact, first_order, second_order

# Shares of the local transitions; the longer second window gives the metric that is kept.
SEPARATE_SHARE, WINDOW_SHARES = 0.15, (0.2, 0.45)
START_DRAWS = 8
# Transitions of a cycle where there are no jumps, which alone gain from a long one.
LOCAL_CYCLE = 16
# A base density is learned from no fewer chains and draws of each than these.
MIN_CHAINS, MIN_DRAWS = 5, 16
MAX_LEARNING_ROWS, MAX_COMPONENTS = 4000, 32
# Jumps that are accepted less often leave the work to local moves.
USEFUL_ACCEPTANCE = 0.05


class Plan(NamedTuple):
    """What the user asked of the chains."""

    proposal: str = "auto"  # or "random_walk", "langevin", "hamiltonian", "independence"
    metric: str = "auto"  # or "local", "dense", "diagonal"
    step_size: float | None = None
    density_ratio: object = exact
    n_warmup: int = 512
    learns: bool = False  # whether "auto" without a base density fits one to its warm-up
    cycle: int = 64  # transitions: jumps evaluated at once, then local moves


def warm_up(target, state, plan, generator, report=None):
    """The target, the kernel and the state after `plan.n_warmup` transitions.

    The target is the one given, or the same with a base density fitted to draws of the warm-up.

    Parameters
    ----------
    target : target of `skrae.sampling.targets`
    state : State
    plan : Plan
    generator : torch.Generator
    report : callable(n_done, Trace) or None
    """
    # The acceptance of a biased ratio says nothing of the step, so the exact one tunes it.
    biased = plan.density_ratio in (first_order, second_order)
    tuned = plan._replace(density_ratio=exact) if biased else plan
    tuner = _Tuner(target, state, tuned, generator, report)
    if plan.proposal == "independence":
        tuner.jump(plan.n_warmup)
        n_jumps, n_local = plan.cycle, 0
    elif plan.proposal != "auto":
        tuner.tune_local(plan.n_warmup, plan.proposal)
        n_jumps, n_local = 0, LOCAL_CYCLE
    else:
        n_jumps, n_local = _mix(tuner, plan)
    kernel = tuner.kernel(n_jumps, n_local)._replace(density_ratio=plan.density_ratio)
    return tuner.target, kernel, tuner.state


def _mix(tuner, plan):
    """Tune "auto"; the numbers of jumps and of local moves in a cycle."""
    local = "hamiltonian" if tuner.target.has_gradient else "random_walk"
    if tuner.target.base is not None:
        acceptance, n_local = tuner.jump(plan.n_warmup // 2), plan.n_warmup - plan.n_warmup // 2
        if acceptance > USEFUL_ACCEPTANCE:
            # Few of the moves will be local, and short ones: they need less tuning.
            n_local = plan.n_warmup // 4
            acceptance = tuner.jump(plan.n_warmup - plan.n_warmup // 2 - n_local)
            local = "langevin" if tuner.target.has_gradient else local
        tuner.tune_local(n_local, local)
        return split_cycle(acceptance, plan.cycle, tuner.target.min_local)
    tuner.tune_local(plan.n_warmup - plan.n_warmup // 8, local)
    n_draws, n_chains, _ = tuner.draws.shape
    if not plan.learns or n_draws < MIN_DRAWS or n_chains < MIN_CHAINS:
        return 0, LOCAL_CYCLE
    tuner.learn_base()
    acceptance = tuner.jump(plan.n_warmup // 8)
    return split_cycle(acceptance, plan.cycle, tuner.target.min_local)


def base_state(target, n_chains, generator):
    """A start from draws of q of finite log density; ValueError where too few of many have one."""
    z = target.base.sample(START_DRAWS * n_chains, generator)
    usable = z[torch.isfinite(target.densities(z)[0])]
    if len(usable) < n_chains:
        raise ValueError(
            f"{len(usable)} of {len(z)} draws of the base density have a finite log density;"
            f" expected at least {n_chains} to start the chains from. Pass starts as init."
        )
    return target(usable[:n_chains])


def split_cycle(jump_acceptance, cycle, least):
    """Jumps and local moves in a cycle: `least` local of 64 where most jumps are accepted."""
    share = max(least / 64, 1.0 / (1.0 + 100.0 * jump_acceptance))
    n_local = min(cycle - 1, max(1, round(share * cycle)))
    return cycle - n_local, n_local


class _Tuner:
    """The chains during warm-up and what has been tuned so far."""

    def __init__(self, target, state, plan, generator, report):
        self.target, self.state, self.plan = target, state, plan
        self.generator, self.report, self.n_done = generator, report, 0
        d = state.position.shape[1]
        self.kind, self.step_size, self.draws = None, plan.step_size, []
        self.factors = torch.eye(d, dtype=state.position.dtype, device=state.position.device)[None]

    def kernel(self, n_jumps, n_local):
        step_size = 0.0 if self.step_size is None else self.step_size
        typical = float(torch.as_tensor(step_size).median())
        limit = leapfrog_limit(typical) if self.kind == "hamiltonian" else 1
        return Kernel(
            self.kind if n_local else None,
            n_jumps,
            n_local,
            step_size,
            self.factors,
            limit,
            self.plan.density_ratio,
        )

    def _run(self, kernel):
        self.state, trace = run_cycle(self.state, self.target, kernel, self.generator)
        self.n_done += len(trace.accepted)
        if self.report:
            self.report(self.n_done, trace)
        return trace

    def jump(self, n_jumps):
        """Jump; the acceptance rate, in the second half, that nine chains in ten exceed.

        A base density that is too narrow holds a few chains for long while the others jump freely.
        """
        n_jumps, size = max(2, n_jumps), self.plan.cycle
        halves = (n_jumps // 2, n_jumps - n_jumps // 2)
        for n in halves:
            sizes = [size] * (n // size) + [n % size] * (n % size > 0)
            traces = [self._run(self.kernel(k, 0)) for k in sizes]
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
        if self.plan.metric != "auto":
            return self.plan.metric
        mixes = self.plan.proposal == "auto" and self.target.base is not None
        return "local" if mixes and kind != "hamiltonian" else "dense"

    def _first_step_size(self):
        return first_step_size(self.kind, self.state.position.shape[1])

    def _separate(self, n_steps):
        """Every chain with a step size of its own."""
        if self.plan.step_size is not None:
            self._average(n_steps)
            return
        steps = SeparateSteps(
            self._first_step_size(), TARGET_ACCEPTANCE[self.kind], len(self.state.position)
        )
        for _ in range(n_steps):
            self.step_size = steps.step_size.to(self.state.position)
            trace = self._run(self.kernel(0, 1))
            steps.update(acceptance_probability(trace.log_ratio[0]).cpu())

    def _average(self, n_steps):
        """One step size for all chains; the positions on the way, (n_steps, n, d)."""
        fixed = self.plan.step_size is not None
        average = DualAveraging(
            self.plan.step_size if fixed else self._first_step_size(), TARGET_ACCEPTANCE[self.kind]
        )
        positions = [self.state.position[None][:0]]
        for _ in range(n_steps):
            self.step_size = average.step_size
            trace = self._run(self.kernel(0, 1))
            positions.append(trace.positions)
            if not fixed:
                average.update(float(acceptance_probability(trace.log_ratio).mean()))
        self.step_size = self.plan.step_size if fixed else average.averaged
        return torch.cat(positions)


def _thinned(draws, n_rows):
    """At most about n_rows of the draws (n_steps, n, d) as rows, and weights of one."""
    z = draws[:: max(1, draws[..., 0].numel() // n_rows)].flatten(0, 1)
    return z, torch.ones_like(z[:, 0])
