"""RAESampler beside its peers: speed, efficiency, bad starts and recovery, as markdown tables.

``python -m tests.benchmarks.sampling`` prints all tables, ``--tables speed starts`` two of them;
``--quick`` runs each of them small, in under a minute in all. R-hat (rank-normalised, largest of
the features) and effective samples (bulk, smallest of the features) are arviz-stats' for everyone.
"""

import argparse
import sys

import numpy as np
import torch

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Banana, Funnel, Gaussian, LogGamma, RotatedMixture
from tests.benchmarks import sampling_peers as peers
from tests.benchmarks import sampling_recovery as recovery
from tests.benchmarks import sampling_targets as targets
from tests.benchmarks.records import table
from tests.benchmarks.sampling_ours import skrae
from tests.sampling.known_targets import Known, correlated_gaussian

LEAPFROG_LIMITS = (3, 7, 15, 31)
TRIAL_DRAWS = 64
PROPOSALS = ("auto", "langevin", "hamiltonian")
LEARNED = {"RotatedMixture": RotatedMixture(), "LogGamma(8)": LogGamma(8)}
STARTS = {"banana": Banana(), "funnel-5": Funnel(5, scale=1.0), "log-gamma-8": LogGamma(8)}
EFFICIENCY = {
    "N(0, I), d = 10": Gaussian(np.zeros(10), np.eye(10)),
    "N(0, I), d = 50": Gaussian(np.zeros(50), np.eye(50)),
    "correlated, d = 10": correlated_gaussian(10),
    "correlated, d = 50": correlated_gaussian(50),
}


class Size:
    """How much is run, in full and under ``--quick``."""

    def __init__(self, quick, peers_only=False):
        self.quick, self.peers_only = quick, peers_only
        self.n_chains = 20 if quick else 64
        self.n_rows = 400 if quick else 4000
        # Whole cycles of the sampler, so that no transition is paid for by another run.
        self.n_draws = 96 if quick else 1024
        self.n_warmup = 100 if quick else 1000
        self.limits = LEAPFROG_LIMITS[:1] if quick else LEAPFROG_LIMITS
        self.budget = 200 if quick else 4000

    def of(self, cases):
        """The cases of a table: the first alone under ``--quick``."""
        return dict(list(cases.items())[:1]) if self.quick else cases


def cells(run):
    """R-hat, effective samples per second and per 1000 evaluations, and the settings."""
    warmup = f"{run.warmup_evaluations / len(run.draws):.0f}"
    per_second, per_thousand = f"{run.ess_per_second:.3g}", f"{run.ess_per_thousand:.3g}"
    return [f"{run.rhat:.3f}", per_second, per_thousand, warmup, run.settings]


CELLS = ["R-hat", "ESS/s", "ESS per 1000 evaluations", "warm-up evaluations a chain", "settings"]


def rows_of(name, runs, size, cells=cells):
    """Rows of a table; each is also printed when its run ends, so that a stop loses one run."""
    for label, run in runs:
        if size.peers_only and label.startswith("skrae"):
            continue
        row = [name, label, *cells(run())]
        print(" | ".join(row), file=sys.stderr, flush=True)
        yield row


# --- speed on a learned density -------------------------------------------------------------------


def speed_table(size):
    """Chains started at rows, on densities learned from 4000 rows."""
    body = []
    for name, density in size.of(LEARNED).items():
        rows = density.sample(size.n_rows, random_state=0)
        model = RegularizedAutoEncoderScore(margins="identity", random_state=0).fit(rows)
        name = f"{name}; the network adds {model.network_gain_:.2f} nat to q"
        body += rows_of(name, _speed_runs(model, rows, size), size)
    return table(["learned from", "sampler", *CELLS], body)


def _speed_runs(model, rows, size):
    target = targets.learned(model)
    targets.check_port(target, model.score_samples, rows[:1000])
    starts, density = rows[: size.n_chains], model.score_samples
    n, n_warmup = size.n_draws, size.n_warmup
    mixture = peers.fit_mixture(rows)
    for proposal in PROPOSALS:
        yield f"skrae {proposal}", lambda p=proposal: skrae(model, starts, n, 0, proposal=p)
    yield "emcee", lambda: peers.emcee_stretch(density, starts, n, n_warmup, 0)
    yield "independence", lambda: peers.independence(density, mixture, starts, n, 0)
    yield "blackjax MALA", lambda: peers.mala(target, starts, n, n_warmup, 0)
    if size.quick:  # compiling the others takes longer than all the rest
        return
    yield "blackjax HMC", lambda: peers.hmc(target, starts, n, n_warmup, 0, limits=size.limits)
    yield "blackjax NUTS", lambda: peers.nuts(target, starts, n, n_warmup, 0)


# --- efficiency on known targets ------------------------------------------------------------------


def efficiency_table(size):
    """Effective samples per 1000 evaluations on Gaussians, started at draws of the law."""
    body = []
    for name, density in size.of(EFFICIENCY).items():
        body += rows_of(name, _efficiency_runs(density, size), size)
    return table(["law", "sampler", *CELLS], body)


def _efficiency_runs(density, size):
    starts = density.sample(size.n_chains, random_state=0)
    target = checked(density)
    rows = density.sample(4000, random_state=1)
    whitened = targets.in_axes_of(target, rows)
    n, n_warmup = size.n_draws, size.n_warmup
    for proposal in PROPOSALS[1:]:
        run = lambda p=proposal: skrae(Known(density), starts, n, 0, proposal=p)  # noqa: E731
        yield f"skrae {proposal}", run
    yield "blackjax MALA", lambda: peers.mala(target, starts, n, n_warmup, 0)
    yield "blackjax HMC", lambda: peers.hmc(target, starts, n, n_warmup, 0, limits=size.limits)
    if size.quick:
        return
    yield "blackjax MALA, whitened", lambda: peers.mala(whitened, starts, n, n_warmup, 0)
    yield "blackjax NUTS", lambda: peers.nuts(target, starts, n, n_warmup, 0)


def checked(density):
    """The jax target of a known density, compared with it at draws."""
    target = targets.known(density)
    targets.check_port(target, density.log_density, density.sample(1000, random_state=2))
    return target


# --- over-dispersed starts ------------------------------------------------------------------------


def starts_table(size):
    """R-hat after the same number of evaluations, from starts three times too wide."""
    body = []
    for name, density in size.of(STARTS).items():
        body += rows_of(name, _starts_runs(density, size), size, _starts_cells)
    head = ["law", "sampler", "R-hat", "evaluations a chain", "warm-up evaluations a chain"]
    return table([*head, "ESS per 1000 evaluations", "settings"], body)


def over_dispersed(density, n, seed=0):
    """Draws spread three times wider than the law around their mean, and noise of half its sd."""
    rows = density.sample(4000, random_state=seed)
    noise = np.random.default_rng(seed).standard_normal((n, rows.shape[1]))
    return rows.mean(0) + 3.0 * (rows[:n] - rows.mean(0)) + 0.5 * rows.std(0) * noise


def _starts_runs(density, size):
    starts, target = over_dispersed(density, size.n_chains), checked(density)
    budget, n_warmup = size.budget, size.n_warmup
    for proposal in PROPOSALS:
        run = lambda p=proposal: skrae_within(budget, Known(density), starts, p)  # noqa: E731
        yield f"skrae {proposal}", run
    yield "blackjax MALA", lambda: peers.mala(target, starts, budget, n_warmup, 0)
    if size.quick:
        return
    # On average 8 leapfrog steps a draw, as in the adaptation.
    yield "blackjax HMC", lambda: peers.hmc(target, starts, budget // 8, n_warmup // 2, 0)


def skrae_within(budget, model, starts, proposal):
    """As many draws as the budget of evaluations a chain pays for, by the cost of a short run."""
    options = {"proposal": proposal}
    trial = skrae(model, starts, TRIAL_DRAWS, 0, **options)
    n_draws = round(budget * TRIAL_DRAWS * len(starts) / trial.evaluations)
    return skrae(model, starts, max(4, n_draws), 0, **options)


def _starts_cells(run):
    n = len(run.draws)
    counts = [f"{run.evaluations / n:.0f}", f"{run.warmup_evaluations / n:.0f}"]
    return [f"{run.rhat:.3f}", *counts, f"{run.ess_per_thousand:.3g}", run.settings]


# --- command line ---------------------------------------------------------------------------------

TABLES = {
    "speed": ("Speed on a learned density", speed_table),
    "efficiency": ("Efficiency on known targets", efficiency_table),
    "starts": ("Over-dispersed starts", starts_table),
    "curve": ("The 25-Gaussian curve", recovery.curve_table),
    "weights": ("Mode weights", recovery.weights_table),
}


def main():
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.sampling", description=__doc__
    )
    parser.add_argument("--quick", action="store_true", help="each table small")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--peers-only", action="store_true", help="leave skrae's sampler out")
    options = parser.parse_args()
    targets.use_one_core()
    torch.set_num_threads(1)
    size = Size(options.quick, options.peers_only)
    for name in options.tables:
        title, measure = TABLES[name]
        print(f"### {title}\n\n{measure(size)}\n", flush=True)


if __name__ == "__main__":
    main()
