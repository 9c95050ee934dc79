"""Likelihood, score error and fit time of skrae beside its peers, as markdown tables.

``python -m tests.benchmarks.density --quick`` takes well under a minute; without ``--quick`` every
set, seed and peer is run. On real data the figure is the mean test log-likelihood in nats per row;
on known densities it is the distance from the truth, in likelihood and in score.
"""

import argparse
import json
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sklearn
import torch
from threadpoolctl import threadpool_limits

from tests.benchmarks.data import density_split
from tests.benchmarks.peers import PEERS, Seconds, fit_peer, timed

OURS = "skrae"
SETS = ("redwine", "parkinsons", "mammography")
KNOWN = ("Spiral", "Banana", "RotatedMixture")
KNOWN_PEERS = ("kde", "gmm", "flow")
KNOWN_TRAIN, KNOWN_VALIDATION, KNOWN_TEST = 3600, 400, 10000
FRESH_ROWS_SEED = 1000


@dataclass(frozen=True)
class Fit:
    """A fitted model as the tables need it; ``details`` is what only the model itself knows."""

    model: object
    fit_seconds: Seconds
    search_seconds: Seconds
    details: dict = field(default_factory=dict)


def base_log_density(est, X):
    """Log density of the base mixture of a fitted estimator, shape (n,)."""
    return est.base_log_density(X)


def fit_model(name, train, validation, seed):
    """Fit a peer on the two parts, or skrae on their union: it holds rows out by itself."""
    if name == OURS:
        return _fit_ours(np.vstack([train, validation]), seed)
    peer = fit_peer(name, train, validation, seed)
    return Fit(peer, peer.fit_seconds, peer.search_seconds, peer.settings)


def _fit_ours(rows, seed):
    # The peers can be run where skrae cannot be imported.
    from skrae import RegularizedAutoEncoderScore

    est, seconds = timed(RegularizedAutoEncoderScore(random_state=seed).fit, rows)
    details = {
        "noise_level": float(est.noise_level_),
        "log_normalizer_stderr": float(est.log_normalizer_stderr_),
    }
    return Fit(est, seconds, seconds, details)


# --- what is measured -----------------------------------------------------------------------------


def measure_set(name, seed, model_name):
    """Record of one model on one split of a real data set."""
    train, validation, test = density_split(name, seed)
    fit = fit_model(model_name, train, validation, seed)
    return _record("real", name, seed, model_name, fit, _likelihood(fit, model_name, test))


def _likelihood(fit, model_name, rows):
    """Mean and median log density of held-out rows, and the mean under skrae's base mixture."""
    log_density = fit.model.score_samples(rows)
    figures = {"mean": float(log_density.mean()), "median": float(np.median(log_density))}
    if model_name == OURS:
        figures["base"] = float(base_log_density(fit.model, rows).mean())
    return figures


def measure_known(name, seed, model_name):
    """Record of one model on one draw from a known density.

    ``gap`` is the mean of log p - log p_model and ``fisher`` is
    mean |psi - grad log p|^2 / mean |grad log p|^2, psi the model's score, both on fresh rows.
    """
    density = _known_density(name)
    rows = density.sample(KNOWN_TRAIN + KNOWN_VALIDATION, random_state=seed)
    fit = fit_model(model_name, rows[:KNOWN_TRAIN], rows[KNOWN_TRAIN:], seed)
    fresh = density.sample(KNOWN_TEST, random_state=FRESH_ROWS_SEED + seed)
    truth = density.gradient(fresh)
    error = fit.model.log_density_gradient(fresh) - truth
    figures = _likelihood(fit, model_name, fresh)
    figures["gap"] = float(density.log_density(fresh).mean()) - figures["mean"]
    figures["fisher"] = float((error**2).sum() / (truth**2).sum())
    return _record("known", name, seed, model_name, fit, figures)


def _known_density(name):
    from skrae import datasets

    return getattr(datasets, name)()


def _record(kind, name, seed, model_name, fit, figures):
    return {
        "kind": kind,
        "set": name,
        "seed": seed,
        "model": model_name,
        **figures,
        "fit_cpu": fit.fit_seconds.cpu,
        "fit_wall": fit.fit_seconds.wall,
        "search_cpu": fit.search_seconds.cpu,
        "search_wall": fit.search_seconds.wall,
        "details": fit.details,
    }


# --- tables ---------------------------------------------------------------------------------------


def table(head, rows):
    """Markdown table.

    >>> print(table(["set", "mean"], [["redwine", "-10.33"]]))
    | set | mean |
    | --- | --- |
    | redwine | -10.33 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _grouped(records):
    """Records by (set, model), in the order in which they came."""
    groups = {}
    for record in records:
        groups.setdefault((record["set"], record["model"]), []).append(record)
    return groups


def _mean(group, key, digits):
    return f"{np.mean([record[key] for record in group]):.{digits}f}"


def _spread(group, key):
    values = [record[key] for record in group]
    return f"{np.std(values, ddof=1):.2f}" if len(values) > 1 else "-"


def _total(group, key):
    return sum(record[key] for record in group)


def _times(groups, name, group):
    """Cells of fit, wall and search seconds, and of the fit time in units of the flow's."""
    cells = [_mean(group, key, 2) for key in ("fit_cpu", "fit_wall", "search_cpu")]
    flow = groups.get((name, "flow"))
    return [*cells, f"{_total(group, 'fit_cpu') / _total(flow, 'fit_cpu'):.3g}" if flow else "-"]


TIMES = ["fit s", "wall s", "search s", "fit / flow"]


def real_table(records):
    """Test log-likelihood on real data: mean and spread over the seeds."""
    groups = _grouped(record for record in records if record["kind"] == "real")
    rows = []
    for (name, model), group in groups.items():
        row = [name, model, _mean(group, "mean", 3), _spread(group, "mean")]
        rows.append([*row, _mean(group, "median", 3), *_times(groups, name, group)])
    return table(["set", "model", "mean", "sd over seeds", "median row", *TIMES], rows)


def known_table(records):
    """Distance from known densities: mean over the seeds."""
    groups = _grouped(record for record in records if record["kind"] == "known")
    rows = []
    for (name, model), group in groups.items():
        row = [name, model, _mean(group, "gap", 4), _spread(group, "gap")]
        rows.append([*row, _mean(group, "fisher", 4), *_times(groups, name, group)])
    head = ["density", "model", "log density gap", "sd over seeds", "relative Fisher divergence"]
    return table([*head, *TIMES], rows)


def ours_table(records):
    """What skrae's fits chose, and what the head added to the base mixture."""
    rows = []
    for record in (record for record in records if record["model"] == OURS):
        row = [record["set"], str(record["seed"])]
        row += [f"{record[key]:.3f}" for key in ("base", "mean")]
        row += [f"{record['details'][key]:.2g}" for key in ("noise_level", "log_normalizer_stderr")]
        rows.append(row)
    return table(["set", "seed", "base", "skrae", "noise level", "log Z stderr"], rows)


NOTE = (
    "Seconds are processor time but for `wall s`. `fit s` is the one fit that gave the kept model "
    "(a flow: one training to its early stop on one scaling), `search s` all that was tried for "
    "it; for skrae they are the same. `fit / flow` divides by the spline flow's `fit s`."
)


def report(records):
    """All tables that have rows, with their headings."""
    kinds = {record["kind"] for record in records}
    parts = []
    if "real" in kinds:
        parts += ["### Test log-likelihood, nats per row", real_table(records)]
    if "known" in kinds:
        parts += ["### Known densities", known_table(records)]
    if any(record["model"] == OURS for record in records):
        parts += ["### skrae, fit by fit", ours_table(records)]
    return "\n\n".join([*parts, NOTE])


# --- command line ---------------------------------------------------------------------------------


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.density", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one set, one seed, the fast peers")
    parser.add_argument("--sets", nargs="*", help=f"real data sets; default {SETS}")
    parser.add_argument("--known", nargs="*", choices=KNOWN, help="known densities; default all")
    parser.add_argument("--seeds", nargs="+", type=int, help="default 0 1 2")
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="default all")
    parser.add_argument("--peers-only", action="store_true", help="leave skrae's estimator out")
    parser.add_argument("--json", type=Path, help="file that also receives every record")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def _with_defaults(options):
    """Fill what the command line left open, small under ``--quick``."""
    quick = options.quick
    defaults = {
        "sets": SETS[:1] if quick else SETS,
        "known": KNOWN[1:2] if quick else KNOWN,
        "seeds": (0,) if quick else (0, 1, 2),
        "peers": PEERS[:2] if quick else PEERS,
    }
    for key, value in defaults.items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    return options


def _jobs(options):
    ours = [] if options.peers_only else [OURS]
    known_peers = [peer for peer in options.peers if peer in KNOWN_PEERS]
    for name in options.sets:
        for seed in options.seeds:
            for model in [*ours, *options.peers]:
                yield measure_set, name, seed, model
    for name in options.known:
        for seed in options.seeds:
            for model in [*ours, *known_peers]:
                yield measure_known, name, seed, model


def _environment(options):
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "sklearn": sklearn.__version__,
        "torch": torch.__version__,
        "processor": platform.machine(),
        "threads": options.threads,
    }


def run(options):
    """Records of all jobs; the JSON file is rewritten after each, so that a stop loses one fit."""
    records = []
    for measure, name, seed, model in _jobs(options):
        records.append(measure(name, seed, model))
        print(json.dumps(records[-1]), file=sys.stderr, flush=True)
        if options.json:
            content = {"environment": _environment(options), "records": records}
            options.json.write_text(json.dumps(content, indent=1) + "\n")
    return records


def main(arguments=None):
    options = _with_defaults(_parser().parse_args(arguments))
    torch.set_num_threads(options.threads)
    with threadpool_limits(limits=options.threads):
        records = run(options)
    print(report(records))


if __name__ == "__main__":
    main()
