"""Error of the score on known densities, for skrae, density estimators and estimators of scores.

``python -m tests.benchmarks.score`` prints three tables: the relative Fisher divergence

    mean_i |psi(x_i) - grad log p(x_i)|^2 / mean_i |grad log p(x_i)|^2

on 10 000 fresh rows (0: exact; 1: no better than psi = 0), the gap in log density (mean of log p -
log p_model, nats per row) of the models that have one, and seconds. ``--quick`` runs two densities
in a minute. The flow, the slowest, is fitted to seed 0 only.
"""

from itertools import product

import numpy as np

from tests.benchmarks.models import OURS, fit_model
from tests.benchmarks.records import (
    argument_parser,
    cell,
    choose,
    grouped,
    mean,
    run,
    select,
    table,
)
from tests.benchmarks.score_peers import SCORE_PEERS, fit_score_peer

# Class in skrae.datasets and its options; what is not named is the default.
DENSITIES = {
    "spiral": ("Spiral", {}),
    "ring": ("Ring", {}),
    "moons": ("Moons", {}),
    "funnel d=2": ("Funnel", {"n_features": 2, "scale": 1.0}),
    "funnel d=10": ("Funnel", {}),
    "mixture d=2": ("RotatedMixture", {"n_features": 2}),
    "mixture d=10": ("RotatedMixture", {"n_features": 10}),
    "mixture d=20": ("RotatedMixture", {"n_features": 20}),
    "curve d=10": ("GaussianCurve", {}),
    "Student-t": ("StudentT", {}),
    "sextic well d=1": ("SexticWell", {}),
    "banana d=2": ("Banana", {}),
    "banana d=10": ("Banana", {"n_features": 10}),
    "log-gamma": ("LogGamma", {}),
}
SIZES = (1000, 4000)
SEEDS = (0, 1, 2)
HELD_OUT = 0.1
TEST_ROWS, TEST_SEED = 10_000, 1000
MODELS = (OURS, "kde", "gmm", "flow", *SCORE_PEERS)
FIRST_SEED_ONLY = ("flow",)
NEAR = 1.5
QUICK = {"sets": ("banana d=2", "ring"), "sizes": (1000,), "models": (OURS, "kde", "gmm", "kef")}


def density_of(name):
    """The known density of a name."""
    from skrae import datasets

    kind, options = DENSITIES[name]
    return getattr(datasets, kind)(**options)


def cases(options):
    quick = options.quick
    sets = choose(options.sets, DENSITIES, QUICK["sets"], quick)
    sizes = choose(options.sizes, SIZES, QUICK["sizes"], quick)
    seeds = choose(options.seeds, SEEDS, SEEDS[:1], quick)
    models = choose(options.models, MODELS, QUICK["models"], quick)
    for name, n, seed, model in product(sets, sizes, seeds, models):
        if seed == SEEDS[0] or model not in FIRST_SEED_ONLY:
            yield {"set": name, "n": n, "seed": seed, "model": model}


def measure(case):
    """Fit to n rows of the density, of which the peers hold out a tenth, and compare with it."""
    density, n, seed = density_of(case["set"]), case["n"], case["seed"]
    rows = density.sample(n, random_state=seed)
    kept = n - int(HELD_OUT * n)
    fit_one = fit_score_peer if case["model"] in SCORE_PEERS else fit_model
    fit = fit_one(case["model"], rows[:kept], rows[kept:], seed)
    fresh = density.sample(TEST_ROWS, random_state=TEST_SEED + seed)
    truth = density.gradient(fresh)
    fisher = relative_divergence(fit.model.log_density_gradient(fresh), truth)
    return {"fisher": fisher, "gap": _gap(fit.model, density, fresh), **fit.record()}


def relative_divergence(gradient, truth):
    """mean |psi - grad log p|^2 / mean |grad log p|^2 over the rows.

    >>> truth = np.array([[3.0, 4.0], [0.0, 5.0]])
    >>> relative_divergence(np.zeros((2, 2)), truth), relative_divergence(1.5 * truth, truth)
    (1.0, 0.25)
    """
    return float(((gradient - truth) ** 2).sum() / (truth**2).sum())


def _gap(model, density, rows):
    """Mean of log p - log p_model in nats, None for a score without a density."""
    if not hasattr(model, "score_samples"):
        return None
    return float((density.log_density(rows) - model.score_samples(rows)).mean())


# --- tables ---------------------------------------------------------------------------------------


def means_by_row(records, key):
    """``{(density, n): {model: mean over the seeds}}``, in the order of the tables."""
    order = {"set": tuple(DENSITIES), "n": SIZES, "model": MODELS}
    return {
        place: {m: mean(found, key) for (m,), found in grouped(group, "model", order=order).items()}
        for place, group in grouped(records, "set", "n", order=order).items()
    }


def model_table(records, key, digits):
    """A row per density and size, a column per model, the lowest of a row in bold."""
    rows = means_by_row(records, key)
    models = [
        name for name in MODELS if any(not np.isnan(r.get(name, np.nan)) for r in rows.values())
    ]
    lines = []
    for (name, n), row in rows.items():
        values = [row.get(model, np.nan) for model in models]
        lowest = cell(np.nanmin(values), digits)
        texts = [cell(value, digits) for value in values]
        lines.append([name, str(n), *(f"**{t}**" if t == lowest else t for t in texts)])
    return table(["density", "n", *models], lines)


def standing(rows):
    """How often skrae is lowest, and within `NEAR` of the lowest, as one sentence a size.

    >>> rows = {("a", 9): {"skrae": 1.0, "kde": 2.0}, ("b", 9): {"skrae": 1.4, "kde": 1.0}}
    >>> print(standing(rows))
    n = 9: skrae is lowest on 1 of 2 densities, within a factor 1.5 of the lowest on 2.
    """
    lines = []
    for size in sorted({n for _, n in rows}):
        ratios = [
            row[OURS] / min(row.values())
            for (_, n), row in rows.items()
            if n == size and OURS in row and len(row) > 1
        ]
        if ratios:
            lines.append(
                f"n = {size}: skrae is lowest on {sum(r <= 1.0 for r in ratios)} of {len(ratios)}"
                f" densities, within a factor {NEAR} of the lowest on"
                f" {sum(r <= NEAR for r in ratios)}."
            )
    return "\n".join(lines)


def report(records):
    """All tables, means over the seeds."""
    with_density = [record for record in records if record["gap"] is not None]
    parts = ["### Relative Fisher divergence of the score", model_table(records, "fisher", 3)]
    parts += [standing(means_by_row(records, "fisher"))]
    if with_density:
        parts += ["### Log density gap, nats per row", model_table(with_density, "gap", 3)]
    parts += ["### Processor seconds, search included", model_table(records, "search_cpu", 1)]
    seeds = sorted({record["seed"] for record in records})
    flow = sorted({record["seed"] for record in select(records, model="flow")})
    note = f"Means over seeds {seeds}"
    return "\n\n".join([*parts, f"{note}; of the flow over {flow}." if flow else f"{note}."])


def main(arguments=None):
    parser = argument_parser("score", __doc__, MODELS, SEEDS)
    parser.add_argument("--sets", nargs="+", choices=DENSITIES, help="default all")
    parser.add_argument("--sizes", nargs="+", type=int, help=f"rows; default {SIZES}")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
