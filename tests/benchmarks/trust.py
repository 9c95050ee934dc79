"""Can the density be trusted? log Z, chains from either side, the base, and the grid's choice.

``python -m tests.benchmarks.trust`` prints two tables, ``--quick`` one row of each. The first has,
for fits at the defaults: what the network adds to the base on held-out and on test rows, the spread
of log Z over its repeats, the same for one coarse noise level, and the difference of mean log p
between chains started at rows and at draws of the base, in standard errors. The second has what
`GridSearchCV` chooses beside the best of its grid on fresh rows.
"""

import itertools

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import Banana, Gaussian, RotatedMixture, Spiral, StudentT
from skrae.sampling.mcmc.kernels import independence_step, langevin_step
from skrae.sampling.mcmc.tempered_smc import tempered_target
from tests.benchmarks import records
from tests.benchmarks.data import density_split
from tests.benchmarks.models import OURS
from tests.benchmarks.records import cell

KNOWN = {
    "Spiral": Spiral(),
    "Banana": Banana(),
    "RotatedMixture": RotatedMixture(),
    "Gaussian": Gaussian(np.zeros(3), np.diag([1.0, 4.0, 0.01])),
    "StudentT": StudentT(),
}
REAL = "redwine", "parkinsons", "mammography"
SEARCHED = "Spiral", "RotatedMixture", "redwine"
QUICK = ("Banana",)
TABLES = {"density": (*KNOWN, *REAL), "selection": SEARCHED}
COARSE = {"noise_level": 0.3, "contraction_weight": 0.04}
GRID = {"noise_level": [0.1, 0.2, 0.35], "contraction_weight": [0.0, 0.04]}
QUICK_GRID = {"noise_level": [0.1, 0.35], "contraction_weight": [0.0]}
N_CHAINS, N_STEPS = 1000, 200
N_ROWS, QUICK_ROWS, N_FRESH = 4000, 600, 10_000


def rows_of(case):
    """Rows to fit and fresh rows to test on."""
    seed = case["seed"]
    if case["set"] in KNOWN:
        density, n = KNOWN[case["set"]], QUICK_ROWS if case.get("quick") else N_ROWS
        return density.sample(n, seed), density.sample(N_FRESH, 1000 + seed)
    train, validation, test = density_split(case["set"], seed)
    return np.vstack([train, validation]), test


def spread(model):
    """Range of log Z over the repeats, in nats."""
    return float(np.ptp(model.log_normalizer_repeats_))


def run_chains(field, z, generator):
    """Mean and standard error of log p~ of chains from z, each moved N_STEPS times."""
    target, step = tempered_target(field, 1.0), 0.5
    state = target(z)
    for _ in range(N_STEPS):
        state, _ = independence_step(state, target, field.base, generator)
        state, info = langevin_step(state, target, field.metric.factors, step, generator)
        step *= float(np.exp(0.1 * (float(info.accepted.double().mean()) - 0.57)))
    values = state.log_density.numpy()
    return values.mean(), values.std() / np.sqrt(len(values))


def chains_disagree(model, X, seed):
    """Difference of mean log p~ between chains from data and from q, in standard errors."""
    evaluator = model._evaluator(np.float64)
    generator = torch.Generator().manual_seed(seed)
    index = np.random.default_rng(seed).integers(len(X), size=N_CHAINS)
    starts = torch.as_tensor(evaluator.transform.forward(X[index]))
    with torch.no_grad():
        a, a_error = run_chains(evaluator.field, starts, generator)
        draws = evaluator.field.base.sample(N_CHAINS, generator)
        b, b_error = run_chains(evaluator.field, draws, generator)
    return (a - b) / np.hypot(a_error, b_error)


def measure_density(case):
    """Default and coarse fits of one set: gain over the base, spread of log Z, chains."""
    X, test = rows_of(case)
    model = RegularizedAutoEncoderScore(random_state=case["seed"]).fit(X)
    coarse = RegularizedAutoEncoderScore(random_state=case["seed"], **COARSE).fit(X)
    held_out = max(0.0, float(np.max(model.noise_level_scores_) - model.base_score_))
    return {
        "held_out_gain": held_out,
        "test_gain": float(np.mean(model.score_samples(test) - model.base_log_density(test))),
        "spread": spread(model),
        "coarse_spread": spread(coarse),
        "chains": float(chains_disagree(model, X, case["seed"])),
    }


def measure_selection(case):
    """GridSearchCV's choice beside the grid's best, both refitted and scored on fresh rows."""
    X, test = rows_of(case)
    model = make_pipeline(
        FunctionTransformer(), RegularizedAutoEncoderScore(random_state=case["seed"], max_iter=150)
    )
    grid = QUICK_GRID if case.get("quick") else GRID
    grid = {f"regularizedautoencoderscore__{key}": values for key, values in grid.items()}
    search = GridSearchCV(model, grid, cv=3, refit=False).fit(X)
    candidates = search.cv_results_["params"]
    fresh = [model.set_params(**parameters).fit(X).score(test) for parameters in candidates]
    chosen = {key.partition("__")[2]: value for key, value in search.best_params_.items()}
    return {**chosen, "chosen": fresh[search.best_index_], "best": max(fresh)}


MEASURES = {"density": measure_density, "selection": measure_selection}


def cases(options):
    """One for each table, set and seed."""
    for name in options.tables:
        sets = QUICK if options.quick else TABLES[name]
        seeds = records.choose(options.seeds, (0,), (0,), options.quick)
        for set_name, seed in itertools.product(sets, seeds):
            yield {"table": name, "set": set_name, "seed": seed}


def density_table(found):
    """A row for each fit of the first table."""
    keys = {"held_out_gain": 3, "test_gain": 3, "spread": 3, "coarse_spread": 3, "chains": 1}
    rows = [
        [record["set"], str(record["seed"]), *(cell(record[k], n) for k, n in keys.items())]
        for record in found
    ]
    head = ["set", "seed", "held-out gain", "test gain over q", "log Z spread", "coarse"]
    return records.table([*head, "chains (s.e.)"], rows)


def selection_table(found):
    """A row for each search of the second table."""
    rows = []
    for record in found:
        row = [record["set"], str(record["noise_level"]), str(record["contraction_weight"])]
        row += [cell(record["chosen"]), cell(record["best"])]
        rows.append([*row, cell(record["best"] - record["chosen"])])
    head = ["set", "chosen sigma", "lambda", "chosen, fresh", "best of grid, fresh", "regret"]
    return records.table(head, rows)


def report(found):
    """The tables that have records."""
    parts = {"density": density_table, "selection": selection_table}
    chosen = {name: records.select(found, table=name) for name in parts}
    return "\n\n".join(parts[name](group) for name, group in chosen.items() if group)


def main(arguments=None):
    """Print the tables."""
    parser = records.argument_parser("trust", __doc__, (OURS,), seeds=(0,))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    options = parser.parse_args(arguments)
    print(report(records.run(cases(options), lambda case: MEASURES[case["table"]](case), options)))


if __name__ == "__main__":
    main()
