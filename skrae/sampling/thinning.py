"""Rows that are independent enough to use, from chains: run until they agree, then thin."""

import math
from typing import NamedTuple

import numpy as np
import torch

from skrae.preprocessing.blocks import BLOCK_DRAWS, block_sizes, is_wide
from skrae.preprocessing.contract.work import interruptible
from skrae.sampling.mcmc import diagnostics
from skrae.sampling.mcmc.runs import concatenate
from skrae.sampling.reports import RHAT_LIMIT, ConvergenceSummary

# Transitions by which the chains are judged: doubled until they agree.
MIN_PILOT, MAX_PILOT = 256, 4096
# Numbers in all positions of the pilot run of many columns.
MAX_NUMBERS = 2**24
MAX_THIN = 128


class Quality(NamedTuple):
    """What the chains behind the rows were like."""

    summary: ConvergenceSummary  # of the pilot run, and non-finite proposals of all
    ess: float  # of the rows, for the slowest feature
    interrupted: bool


def needs_no_chains(target, proposal):
    """Whether p is its own base density, so that draws of q are draws of p."""
    return target.is_base and target.beta == 1.0 and proposal == "auto"


def base_rows(target, n_samples, generator):
    """Independent draws of q in the units of the data, (n_samples, d)."""
    sizes = block_sizes(n_samples, BLOCK_DRAWS)
    z = torch.cat([target.base.sample(size, generator) for size in sizes])
    return target.transform.inverse(z.numpy(force=True)).astype(target.dtype, copy=False)


def chain_rows(run, n_samples, reporter=None):
    """`n_samples` rows from a `Run`, thinned by twice the autocorrelation time; and `Quality`.

    An interrupted run gives fewer rows.
    """
    pilot, rhat = _pilot(run, reporter)
    time = _autocorrelation_time(pilot.positions)
    thin = min(MAX_THIN, math.ceil(2.0 * time))
    kept, counted = pilot.positions[:, thin - 1 :: thin], pilot
    if kept.size == 0:
        kept = pilot.positions[:, -1:]
    n_missing = -(-n_samples // len(kept)) - kept.shape[1]
    if n_missing > 0 and not pilot.interrupted:
        with interruptible() as interrupted:
            more = run.draw(n_missing, thin, reporter and reporter.draws(n_missing))
            kept = np.concatenate([kept, more.positions], axis=1)
            counted = more.count_with(pilot)
        if interrupted:  # before the first draw
            counted = pilot._replace(interrupted=True)
    rows = kept.reshape(-1, kept.shape[2])
    order = torch.randperm(len(rows), generator=run.generator, device=run.generator.device)
    summary = ConvergenceSummary(
        rhat=rhat,
        n_draws=pilot.n_transitions,
        acceptance_rate=float(pilot.n_accepted.mean()) / pilot.n_transitions,
        n_undefined=int(counted.n_undefined.sum()),
        n_proposed=counted.n_transitions * len(kept),
        is_flat=pilot.is_flat,
    )
    ess = len(rows) * min(1.0, thin / time)
    quality = Quality(summary=summary, ess=ess, interrupted=counted.interrupted)
    return rows[order.cpu().numpy()[:n_samples]], quality


def _pilot(run, reporter):
    """All transitions up to where the chains agree, or cannot be expected to; and their R-hat."""
    if run.broken_off:
        pilot = run.where_it_stands()
        return pilot, diagnostics.rhat(pilot.positions)

    def draw(n):
        return run.draw(n, report=reporter and reporter.draws(n))

    pilot, before = draw(MIN_PILOT), math.inf
    most = _longest_pilot(pilot.positions)
    while True:
        rhat = diagnostics.rhat_of_few(pilot.positions)
        worst = float(np.nanmax(rhat, initial=1.0))
        # Of chains that mix, twice as many draws halve the excess of R-hat^2 over 1.
        stalls = worst**2 - 1.0 >= 0.9 * (before**2 - 1.0)
        if pilot.interrupted or worst <= RHAT_LIMIT or stalls or 2 * pilot.n_transitions > most:
            return pilot, rhat
        before = worst
        with interruptible() as interrupted:
            pilot = concatenate(pilot, draw(pilot.n_transitions))
        if interrupted:  # before the first draw
            pilot = pilot._replace(interrupted=True)


def _longest_pilot(positions):
    n_chains, _, d = positions.shape
    return min(MAX_PILOT, MAX_NUMBERS // (n_chains * d)) if is_wide(d) else MAX_PILOT


def _autocorrelation_time(positions):
    """The largest of the features' autocorrelation times, in transitions, at least 1/2."""
    times = diagnostics.autocorrelation_time(positions)
    return float(np.nanmax(times, initial=0.5))
