"""Completion of partly observed rows: chains that move the missing entries of each row alone.

Several chains a row take draws of q(missing | observed), which is known in closed form, as
independence proposals, and move locally in the metric of its components. The weights p / q of
completed rows decide, because p(missing | observed) / q(missing | observed) is p / q up to a
constant of the row.

What a row gets depends on itself alone: its random numbers are a stream of its own, seeded by what
is observed, and the kernel is tuned beforehand, on draws of q of which entries are taken away.
"""

import hashlib
import math
from collections import Counter
from typing import NamedTuple

import numpy as np
import torch

from skrae.mixtures.conditional import ConditionalMixture
from skrae.mixtures.noise import RowStreams, uniform
from skrae.preprocessing.contract.work import interruptible
from skrae.sampling.mcmc import diagnostics
from skrae.sampling.mcmc.density_ratios import PathIntegral, exact
from skrae.sampling.mcmc.runs import Checkpoint, Kernel, Run
from skrae.sampling.mcmc.warmup import SamplerSettings
from skrae.sampling.start import START_DRAWS, start_run
from skrae.sampling.targets import ConditionalTarget

CHAINS_PER_ROW = 4
N_WARMUP, CYCLE = 64, 8
# Draws of a chain without which R-hat tells nothing.
MAX_THIN, MIN_DRAWS = 16, 6
# Numbers that the conditional factors (rows, K, d, d) may hold at once.
MAX_NUMBERS = 4_000_000
# Rows at a time: those that an interrupt can lose, and those that the kernel is tuned on.
MAX_ROWS, TUNING_ROWS = 256, 64
# Of what is observed, in standardised columns, that the stream of a row depends on.
KEY_DIGITS = 5


class Tuned(NamedTuple):
    """A kernel for completions, of whatever rows, and how far to thin its chains."""

    kernel: Kernel
    thin: int


class Completion(NamedTuple):
    """What the chains of completed rows were like."""

    rhat: np.ndarray  # (n,), of the worst missing entry; NaN where there are too few draws
    n_draws: int  # a chain
    n_undefined: int
    n_proposed: int
    interrupted: bool = False


class _Proposals:
    """Draws of q(missing | observed) in the order of the chains: chain i completes row i mod n."""

    def __init__(self, conditional):
        self.conditional, self.n_rows = conditional, len(conditional.missing)

    def sample(self, n_samples, generator):
        return self.conditional.sample(n_samples // self.n_rows, generator).flatten(0, 1)


def complete(target, density_ratio, X, n_samples, seed, take, *, repeats, reporter=None):
    """`n_samples` draws of the missing entries (NaN) of each row of X, given the observed ones.

    An interrupt ends the run with the rows that are done, unless there are none.

    Parameters
    ----------
    target : target with a base density
    density_ratio : function of `density_ratios`; an expansion gives way to `exact`
    X : array of shape (n, d), in the units of the data
    seed : int
    take : callable(place, draws)
        Handed the draws (m, n_samples, d) of a block of rows, whose slice is the place.
    repeats : bool
        Whether rows that are equal get equal draws.

    Returns
    -------
    Completion
    """
    space = column_space(target.transform, target.base)
    # An expansion about a point says nothing of a proposal far from it.
    ratio = density_ratio if isinstance(density_ratio, PathIntegral) else exact
    settings = SamplerSettings(
        proposal="auto", metric="local", density_ratio=ratio, n_warmup=N_WARMUP, cycle=CYCLE
    )
    parts, keys = [], row_keys(_filled(space, X), np.isnan(X), seed, repeats).to(target.device)
    size = max(1, min(MAX_ROWS, MAX_NUMBERS // target.base.factors.numel()))
    with interruptible() as interrupted:
        tuned = _tuned(target, space, settings, min(size, TUNING_ROWS), seed)
        for start in range(0, len(X), size):
            place = slice(start, start + size)
            columns = _columns(target, space, X[place])
            draws, part = _complete_block(columns, tuned, X[place], n_samples, keys[place])
            take(place, np.where(np.isnan(X[place, None]), draws, X[place, None]))
            parts.append(part)
            if reporter:
                reporter.rows(min(start + size, len(X)), len(X))
    if not parts:
        raise KeyboardInterrupt
    return Completion(
        rhat=np.concatenate([p.rhat for p in parts]),
        n_draws=parts[0].n_draws,
        n_undefined=sum(p.n_undefined for p in parts),
        n_proposed=sum(p.n_proposed for p in parts),
        interrupted=bool(interrupted),
    )


def row_keys(y, missing, seed, repeats):
    """The key of the stream of each row, int64 (n,): a hash of the seed and of what is observed.

    Unless rows that are equal get equal draws, also of how many such rows are before it. Of
    standardised columns, rounded, the units and the dtype of the rows do not matter.
    """
    rows, seen, keys = np.where(missing, np.nan, np.round(y, KEY_DIGITS) + 0.0), Counter(), []
    for row in rows:
        content = row.tobytes()
        place, seen[content] = (0 if repeats else seen[content]), seen[content] + 1
        hashed = hashlib.blake2b(content, digest_size=8, key=f"{seed} {place}".encode())
        keys.append(int.from_bytes(hashed.digest(), "little", signed=True))
    return torch.tensor(keys)


def column_space(transform, base):
    """The base density in standardised columns, the map to them, and the matrix back to z.

    Working space turns the axes; only where each axis is a column are entries missing or not.

    Returns
    -------
    base : MixtureDensity of y
    matrix : tensor of shape (d, d), z = y @ matrix
    transform : Transform, from the units of the data to y
    """
    columns, matrix, inverse = transform.by_columns()
    weights, factors = base.weights, base.factors
    means = base.means[:, : base.n_numeric]
    matrix, inverse = (torch.as_tensor(a).to(means) for a in (matrix, inverse))
    moments = torch.einsum("k,kij->ij", weights, factors @ factors.mT + _outer(means))
    spread = torch.einsum("ij,ik,kj->j", inverse, moments, inverse).sqrt()
    scaled = columns.scaled(spread.numpy(force=True))
    return base.affine(inverse / spread), spread[:, None] * matrix, scaled


def _outer(vectors):
    """v v^T of each row v, shape (n, d, d)."""
    return vectors[:, :, None] * vectors[:, None, :]


def _filled(space, X):
    """Rows with holes in standardised columns, the holes at their middle, (n, d)."""
    _, _, transform = space
    return transform.forward(np.where(np.isnan(X), transform.inverse(np.zeros_like(X)), X))


def _columns(target, space, X):
    """The `ConditionalTarget` of rows with holes."""
    base, matrix, transform = space
    missing, y = (
        torch.as_tensor(part, device=base.means.device) for part in (np.isnan(X), _filled(space, X))
    )
    proposals = _Proposals(ConditionalMixture(base, y, missing))
    factors = proposals.conditional.factors
    return ConditionalTarget(target, matrix, transform, proposals, factors)


def _tuned(target, space, settings, n_rows, seed):
    """The `Tuned` kernel of completions of draws of q, of which half the entries are missing."""
    base, _, transform = space
    generator = torch.Generator(target.device).manual_seed(seed)
    X = transform.inverse(base.sample(n_rows, generator).numpy(force=True))
    X = X[np.isfinite(X).all(axis=1)]  # heavy tails of curved columns may reach beyond float64
    missing = np.random.default_rng(seed).random(X.shape) < 0.5
    missing[~missing.any(axis=1), 0] = True
    columns = _columns(target, space, np.where(missing, np.nan, X))
    run = start_run(columns, _start(columns, generator), settings, generator)
    pilot = None if run.broken_off else run.draw(2 * CYCLE)
    if pilot is None or pilot.interrupted:
        raise KeyboardInterrupt
    return Tuned(run.kernel, _thin(pilot))


def _complete_block(columns, tuned, X, n_samples, keys):
    """Draws (m, n_samples, d) of rows, and their `Completion`."""
    streams = RowStreams(keys)
    kernel = tuned.kernel._replace(factors=columns.factors)
    run = Run(columns, Checkpoint(kernel, _start(columns, streams), streams.get_state(), None))
    n_asked = math.ceil(n_samples / CHAINS_PER_ROW)
    n_draws = max(n_asked, MIN_DRAWS)
    before = run.draw(N_WARMUP // CYCLE, CYCLE)
    kept = run.draw(n_draws, tuned.thin)
    if before.interrupted or kept.interrupted:
        raise KeyboardInterrupt
    draws = kept.positions.reshape(CHAINS_PER_ROW, len(X), n_draws, X.shape[1])
    # One draw of each chain after another, so that the first few come from all chains.
    asked = draws[:, :, n_draws - n_asked :]
    rows = asked.transpose(1, 2, 0, 3).reshape(len(X), -1, X.shape[1])[:, :n_samples]
    counted = kept.count_with(before)
    n_proposed = counted.n_transitions * len(kept.positions)
    n_undefined = int(counted.n_undefined.sum())
    # A start of density zero is left for the first proposal of a positive one; here none came.
    found = np.isfinite(kept.log_density).all(1).reshape(CHAINS_PER_ROW, len(X)).all(0)
    rhat = np.where(found, _row_rhat(draws), np.inf)
    return rows, Completion(rhat, n_draws, n_undefined, n_proposed)


def _thin(pilot):
    """Twice the autocorrelation time of proposals accepted as on the slower tenth of rows."""
    rate = max(float(np.quantile(pilot.n_accepted, 0.1)) / pilot.n_transitions, 1e-3)
    return min(MAX_THIN, math.ceil(2.0 * (2.0 - rate) / rate))


def _row_rhat(draws):
    """R-hat of each row's worst entry, (n,), from draws (chains, n, n_draws, d)."""
    n_chains, n, n_draws, d = draws.shape
    columns = draws.transpose(0, 2, 1, 3).reshape(n_chains, n_draws, n * d)
    return np.nanmax(diagnostics.rhat(columns).reshape(n, d), axis=1, initial=1.0)


def _start(columns, generator):
    """Each chain at one of START_DRAWS draws of q, chosen with probability p / q."""
    n = CHAINS_PER_ROW * columns.base.n_rows
    y = columns.base.sample(START_DRAWS * n, generator)
    log_density, log_base = columns.densities(y)
    weights = (log_density - log_base).nan_to_num(-torch.inf, -torch.inf, -torch.inf)
    gumbel = -(-uniform((START_DRAWS * n,), generator, weights).log()).log()
    choice = (weights + gumbel).reshape(START_DRAWS, n).argmax(0)
    return columns(y.reshape(START_DRAWS, n, -1)[choice, torch.arange(n, device=y.device)])
