"""Held-out log-likelihood of skrae and its peers on real tables, beside the mass of every density.

``python -m tests.benchmarks.density`` runs six tables, three splits each, with skrae at its
defaults and the peers tuned on the validation rows; ``--quick`` skrae and two fast peers on one
split. A likelihood means something only for a density that integrates to one, so the mass of each,
found by importance sampling, stands beside it.
"""

import itertools
from types import SimpleNamespace

import numpy as np

from tests.benchmarks import records
from tests.benchmarks.data import density_split
from tests.benchmarks.mass import mass
from tests.benchmarks.models import MODELS, OURS, VARIANTS, fit_model
from tests.benchmarks.records import cell

SETS = "redwine", "whitewine", "parkinsons", "mammography", "pendigits", "protein_casp"
SEEDS = 0, 1, 2
QUICK_MODELS = OURS, "kde", "gmm"
MASS_SEED = 4000


# --- what is measured -----------------------------------------------------------------------------


def measure(case):
    """Record of one model on one split: likelihood of the test rows, mass, times, settings."""
    train, validation, test = density_split(case["set"], case["seed"])
    fit = fit_model(case["model"], train, validation, case["seed"])
    log_density = fit.model.score_samples(test)
    figures = {"mean": float(log_density.mean()), "median": float(np.median(log_density))}
    if case["model"] in VARIANTS:
        figures["base"] = float(fit.model.base_log_density(test).mean())
        figures["hyvarinen"] = whitened_hyvarinen(fit.model, test, np.cov(train.T))
    rng = np.random.default_rng(MASS_SEED + case["seed"])
    return {**figures, **mass(fit.model, train, rng), **fit.record()}


def whitened_hyvarinen(model, rows, covariance):
    """Hyvarinen's score in units in which columns of this covariance are white."""
    # The peers can be run where skrae cannot be imported.
    from skrae.metrics import hyvarinen_score

    factor = np.linalg.cholesky(covariance)
    whitened = SimpleNamespace(
        log_density_gradient=lambda X: model.log_density_gradient(X) @ factor,
        log_density_hessian=lambda X: factor.T @ model.log_density_hessian(X) @ factor,
    )
    return hyvarinen_score(whitened, rows)


def cases(options):
    """One for each set, seed and model."""
    quick = options.quick
    sets = records.choose(options.sets, SETS, SETS[:1], quick)
    seeds = records.choose(options.seeds, SEEDS, SEEDS[:1], quick)
    models = records.choose(options.models, MODELS, QUICK_MODELS, quick)
    for name, seed, model in itertools.product(sets, seeds, models):
        yield {"set": name, "seed": seed, "model": model}


# --- tables ---------------------------------------------------------------------------------------


def likelihood_table(found):
    """Mean and spread over the seeds, the median row, mass and times."""
    groups = records.grouped(found, "set", "model", order={"set": SETS, "model": MODELS})
    rows = []
    for (name, model), group in groups.items():
        ours = [] if model == OURS else groups.get((name, OURS), [])
        row = [name, model, *_likelihoods(group), records.ahead(ours, group, "mean")]
        rows.append([*row, *masses(group), *_times(group, groups.get((name, "flow")))])
    head = ["set", "model", "mean", "sd", "median row", "skrae ahead (sd)", "mass", "s.e."]
    return records.table([*head, "fit s", "search s", "fit / flow", "splits"], rows)


def _likelihoods(group):
    values = records.mean(group, "mean"), records.spread(group, "mean")
    return [cell(values[0]), cell(values[1], 2), cell(records.mean(group, "median"))]


def masses(group):
    """Cells of the mass farthest from one in units of its own error, and of that error.

    >>> masses([{"mass": 1.0, "mass_stderr": 0.1}, {"mass": 0.9, "mass_stderr": 0.02}])
    ['0.900', '0.020']
    """
    known = [(r["mass"], r["mass_stderr"]) for r in group if r["mass"] is not None]
    if len(known) < len(group):
        return ["-", "-"]
    worst = max(known, key=lambda pair: abs(pair[0] - 1.0) / max(pair[1], 1e-12))
    return [cell(value) for value in worst]


def _times(group, flow):
    seconds = records.mean(group, "fit_cpu")
    ratio = f"{seconds / records.mean(flow, 'fit_cpu'):.3g}" if flow else "-"
    return [cell(seconds, 1), cell(records.mean(group, "search_cpu"), 1), ratio, str(len(group))]


def ours_table(found):
    """What the records of skrae hold beyond the likelihood."""
    rows = []
    for record in records.select(found, model=OURS):
        likelihoods = [cell(record[key]) for key in ("base", "mean")]
        likelihoods.append(cell(record["hyvarinen"], 1) if "hyvarinen" in record else "-")
        details = [f"{record['details'][k]:.2g}" for k in ("noise_level", "log_normalizer_stderr")]
        rows.append([record["set"], str(record["seed"]), *likelihoods, *details])
    return records.table(
        ["set", "seed", "base", "skrae", "Hyvarinen", "noise level", "log Z stderr"], rows
    )


NOTE = (
    "Nats per row, rows standardised by the training part; `sd` over the splits, of `skrae ahead`"
    " over the differences split by split. One far row can rule a mean (an affine flow may give it"
    " minus a million nats), hence the median row. `mass` is the integral of the density and `s.e.`"
    " its standard error: of the splits the one farthest from 1, in standard errors; `-` where too"
    " few draws count to tell. Processor seconds: `fit s` of the one fit that gave the kept model"
    " (a flow: one training to its early stop on one scaling), `search s` of all that was tried"
    " for it, for skrae the same; `fit / flow` in units of the spline flow's `fit s`, to be read"
    " where both ran on the same machine. `Hyvarinen` is Hyvarinen's score of the test rows, lower"
    " is better, in units in which the training rows are white."
)


def report(found):
    """The likelihoods, and skrae's fits one by one if there are any."""
    parts = ["### Test log-likelihood, nats per row", likelihood_table(found)]
    if records.select(found, model=OURS):
        parts += ["### skrae, fit by fit", ours_table(found)]
    return "\n\n".join([*parts, NOTE])


def main(arguments=None):
    """Print the tables."""
    parser = records.argument_parser("density", __doc__, MODELS, SEEDS)
    parser.add_argument("--sets", nargs="+", choices=SETS, help="default all; one if quick")
    options = parser.parse_args(arguments)
    print(report(records.run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
