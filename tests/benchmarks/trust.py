"""Can the density be trusted? log Z, chains from either side, the base, and the grid's choice.

``python -m tests.benchmarks.trust`` prints three markdown tables; ``--quick`` one row of each.
"""

import argparse
import os

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrae import RegularizedAutoEncoderScore
from skrae._metropolis import independence_step, langevin_step
from skrae._normalizer import tempered_target
from skrae.datasets import Banana, Gaussian, RotatedMixture, Spiral, StudentT
from tests.benchmarks.data import density_split

KNOWN = {
    "Spiral": Spiral(),
    "Banana": Banana(),
    "RotatedMixture": RotatedMixture(),
    "Gaussian": Gaussian(np.zeros(3), np.diag([1.0, 4.0, 0.01])),
    "StudentT": StudentT(),
}
REAL = ("redwine", "parkinsons", "mammography")
COARSE = {"noise_level": 0.3, "contraction_weight": 0.04}
GRID = {"noise_level": [0.1, 0.2, 0.35], "contraction_weight": [0.0, 0.04]}
N_CHAINS, N_STEPS = 1000, 200


def rows_of(name, seed):
    """Rows to fit and fresh rows to test on."""
    if name in KNOWN:
        density = KNOWN[name]
        return density.sample(4000, seed), density.sample(10000, 1000 + seed)
    train, validation, test = density_split(name, seed)
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
    starts = torch.as_tensor(evaluator.scaling.forward(X[index]))
    with torch.no_grad():
        a, a_error = run_chains(evaluator.field, starts, generator)
        draws = evaluator.field.base.sample(N_CHAINS, generator)
        b, b_error = run_chains(evaluator.field, draws, generator)
    return (a - b) / np.hypot(a_error, b_error)


def trust_row(name, seed):
    """Default and coarse fits of one set: gain over the base, spread of log Z, chains."""
    X, test = rows_of(name, seed)
    model = RegularizedAutoEncoderScore(random_state=seed).fit(X)
    coarse = RegularizedAutoEncoderScore(random_state=seed, **COARSE).fit(X)
    held_out = max(0.0, float(np.max(model.noise_level_scores_) - model.base_score_))
    gain = float(np.mean(model.score_samples(test) - model.base_log_density(test)))
    return (
        f"| {name} | {seed} | {held_out:+.3f} | {gain:+.3f} | {spread(model):.3f} |"
        f" {spread(coarse):.3f} | {chains_disagree(model, X, seed):+.1f} |"
    )


def selection_row(name, seed):
    """GridSearchCV's choice beside the grid's best, both refitted and scored on fresh rows."""
    X, test = rows_of(name, seed)
    model = make_pipeline(
        FunctionTransformer(), RegularizedAutoEncoderScore(random_state=seed, max_iter=150)
    )
    grid = {f"regularizedautoencoderscore__{key}": values for key, values in GRID.items()}
    search = GridSearchCV(model, grid, cv=3, n_jobs=2).fit(X)
    fresh = [
        model.set_params(**parameters).fit(X).score(test)
        for parameters in search.cv_results_["params"]
    ]
    chosen = fresh[search.best_index_]
    sigma, lambda_ = (search.best_params_[key] for key in sorted(grid, reverse=True))
    return (
        f"| {name} | {sigma} | {lambda_} | {chosen:.3f} | {max(fresh):.3f} |"
        f" {max(fresh) - chosen:.3f} |"
    )


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--skip-selection", action="store_true")
    options = parser.parse_args()
    names = ["Banana"] if options.quick else [*KNOWN, *REAL]
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    print(
        "| set | seed | held-out gain | test gain over q | log Z spread | coarse | chains (s.e.) |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in names:
        for seed in options.seeds:
            print(trust_row(name, seed), flush=True)
    if options.skip_selection:
        return
    print("\n| set | chosen sigma | lambda | chosen, fresh | best of grid, fresh | regret |")
    print("|---|---|---|---|---|---|")
    for name in ["Banana"] if options.quick else ["Spiral", "RotatedMixture", "redwine"]:
        print(selection_row(name, 0), flush=True)


if __name__ == "__main__":
    main()
