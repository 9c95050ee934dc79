"""Rows that are independent enough to use, from chains: run until they agree, then thin."""

import math
from typing import NamedTuple

import numpy as np
import torch

from skrae.sampling.mcmc import diagnostics
from skrae.sampling.mcmc.runs import concatenate
from skrae.sampling.reports import RHAT_LIMIT, Health

# Transitions by which the chains are judged: doubled until they agree.
MIN_PILOT, MAX_PILOT = 256, 4096
MAX_THIN = 128
CHUNK = 8192


class Quality(NamedTuple):
    """What the chains behind the rows were like."""

    health: Health  # of the pilot run, and non-finite proposals of all
    ess: float  # of the rows, for the slowest feature
    interrupted: bool


def needs_no_chains(target, proposal):
    """Whether p is its own base density, so that draws of q are draws of p."""
    return target.is_base and target.beta == 1.0 and proposal == "auto"


def base_rows(target, n_samples, generator):
    """Independent draws of q in the units of the data, (n_samples, d)."""
    sizes = [CHUNK] * (n_samples // CHUNK) + [n_samples % CHUNK] * (n_samples % CHUNK > 0)
    z = torch.cat([target.base.sample(size, generator) for size in sizes])
    return target.scaling.backward(z.numpy(force=True))


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
        try:
            more = run.draw(n_missing, thin, reporter and reporter.draws(n_missing))
            kept = np.concatenate([kept, more.positions], axis=1)
            counted = more.count_with(pilot)
        except KeyboardInterrupt:  # before the first draw
            counted = pilot._replace(interrupted=True)
    rows = kept.reshape(-1, kept.shape[2])
    order = torch.randperm(len(rows), generator=run.generator, device=run.generator.device)
    health = Health(
        rhat,
        pilot.n_transitions,
        float(pilot.n_accepted.mean()) / pilot.n_transitions,
        int(counted.n_nonfinite.sum()),
        counted.n_transitions * len(kept),
    )
    quality = Quality(health, len(rows) * min(1.0, thin / time), counted.interrupted)
    return rows[order.cpu().numpy()[:n_samples]], quality


def _pilot(run, reporter):
    """All transitions up to where the chains agree, or cannot be expected to; and their R-hat."""

    def draw(n):
        return run.draw(n, report=reporter and reporter.draws(n))

    pilot, before = draw(MIN_PILOT), math.inf
    while True:
        rhat = diagnostics.rhat(pilot.positions)
        worst = float(np.nanmax(rhat, initial=1.0))
        # Of chains that mix, twice as many draws halve the excess of R-hat^2 over 1.
        stalls = worst**2 - 1.0 >= 0.9 * (before**2 - 1.0)
        if pilot.interrupted or worst <= RHAT_LIMIT or stalls or pilot.n_transitions >= MAX_PILOT:
            return pilot, rhat
        before = worst
        try:
            pilot = concatenate(pilot, draw(pilot.n_transitions))
        except KeyboardInterrupt:  # before the first draw
            pilot = pilot._replace(interrupted=True)


def _autocorrelation_time(positions):
    """The largest of the features' autocorrelation times, in transitions, at least 1/2."""
    times = diagnostics.autocorrelation_time(positions)
    return float(np.nanmax(times, initial=0.5))
