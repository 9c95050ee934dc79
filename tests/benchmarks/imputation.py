"""Completion of partly observed rows: skrae's conditional draws beside scikit-learn's imputers.

``python -m tests.benchmarks.imputation`` prints two tables; ``--quick`` takes one set and one seed.
Every method is fitted on complete rows and completes the test rows, a fifth of the entries hidden
at random; each row is completed under several masks, as a few wild rows dominate one RMSE. All
figures are over the hidden entries, in standard deviations of the training rows.
"""

import argparse
import os
import sys
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from threadpoolctl import threadpool_limits

from tests.benchmarks.data import density_split
from tests.benchmarks.peers import fit_peer
from tests.benchmarks.records import table, timed

SETS = ("redwine", "parkinsons")
MISSING_FRACTION = 0.2
N_MASKS = 5
N_DRAWS = 100
LEVEL = 0.9
NEIGHBOURS = (2, 3, 5, 8, 12, 20, 40)
N_ROUNDS = 10
MASK_SEED = 3000
FLOOR = 0.85, 0.95


# --- what is hidden, and what is measured ---------------------------------------------------------


def hide(X, rng, fraction=MISSING_FRACTION):
    """X with NaN at a share of its entries at random; a row that would lose all keeps one."""
    missing = rng.random(X.shape) < fraction
    kept = rng.integers(X.shape[1], size=len(X))
    missing[np.arange(len(X)), kept] &= ~missing.all(axis=1)
    return np.where(missing, np.nan, X)


def crps(draws, truth):
    """Continuous ranked probability score of m draws, without bias; |x - y| for m = 1.

        mean_i |x_i - y| - 1/2 mean_{i != j} |x_i - x_j|

    The second mean leaves the pairs i = j out, so that the expectation is the same for every m
    (the fair score of Ferro 2014; Gneiting & Raftery 2007, section 4.2). Draws are (m, n), the
    truth and the result (n,).

    >>> crps(np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([1.0, 4.0]))
    array([0., 1.])
    """
    error, m = np.abs(draws - truth).mean(axis=0), len(draws)
    if m == 1:
        return error
    # Sorted, x_(i) is the larger of i - 1 pairs and the smaller of m - i.
    signs = 2.0 * np.arange(1, m + 1) - m - 1
    return error - signs @ np.sort(draws, axis=0) / (m * (m - 1))


def covered(draws, truth, level=LEVEL):
    """Whether the central interval of the draws holds the truth, shape (n,).

    The quantile at p is the draw of rank p (m + 1): then an interval of exact draws holds the
    truth with probability `level`, whatever m; the default of `np.quantile` gives 0.882 for 0.9
    and m = 100.
    """
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail], axis=0, method="weibull")
    return (low <= truth) & (truth <= high)


def figures(draws, holed, truth):
    """RMSE of the mean of the draws, mean CRPS and coverage over the hidden entries."""
    hidden = np.isnan(holed)
    values, y = np.moveaxis(draws, 1, 0)[:, hidden], truth[hidden]
    return {
        "rmse": float(np.sqrt(np.mean((values.mean(axis=0) - y) ** 2))),
        "crps": float(crps(values, y).mean()),
        "coverage": float(covered(values, y).mean()) if len(values) > 1 else np.nan,
    }


# --- methods: (train, validation, seed) -> function from holed rows to draws (n, m, d) ------------


def fit_ours(train, validation, seed):
    """Conditional draws of a default fit by Metropolis-Hastings."""
    # The peers can be run where skrae cannot be imported.
    from skrae import RAESampler, RegularizedAutoEncoderScore

    est = RegularizedAutoEncoderScore(random_state=seed).fit(np.vstack([train, validation]))
    sampler = RAESampler(est, random_state=seed)
    return lambda holed: sampler.sample_conditional(holed, N_DRAWS)


def fit_mixture(train, validation, seed):
    """Conditional draws of a Gaussian mixture whose size and ridge the validation rows choose."""
    from skrae.mixtures.conditional import ConditionalMixture
    from skrae.mixtures.mixture import MixtureDensity

    peer = fit_peer("gmm", train, validation, seed)
    model, back = peer.density.model, np.linalg.inv(peer.scaling.matrix)
    factors = np.linalg.cholesky(back.T @ model.covariances_ @ back)
    dofs = np.full(len(factors), np.inf)
    base = MixtureDensity(model.weights_, peer.scaling.inverse(model.means_), factors, dofs)
    generator = torch.Generator().manual_seed(seed)

    def draw(holed):
        conditional = ConditionalMixture(base, torch.tensor(holed), torch.tensor(np.isnan(holed)))
        return conditional.sample(N_DRAWS, generator).numpy().swapaxes(0, 1)

    return draw


def _as_draws(imputer):
    return lambda holed: imputer.transform(holed)[:, None]


def fit_neighbours(train, validation, seed):
    """Mean of the nearest rows, weighted by 1 / distance; their number by validation RMSE."""
    holed = hide(validation, np.random.default_rng(seed))

    def rmse(n_neighbors):
        imputer = KNNImputer(n_neighbors=n_neighbors, weights="distance").fit(train)
        return figures(_as_draws(imputer)(holed), holed, validation)["rmse"]

    best = min(NEIGHBOURS, key=rmse)
    rows = np.vstack([train, validation])
    return _as_draws(KNNImputer(n_neighbors=best, weights="distance").fit(rows))


def _chained_equations(rows, seed, sample_posterior):
    # On complete rows nothing moves, so any tol above 0 would stop the fit after one round, and
    # `transform` makes as many rounds as `fit` did: too few for rows with several holes.
    options = {"max_iter": N_ROUNDS, "tol": 0.0, "sample_posterior": sample_posterior}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return IterativeImputer(**options, random_state=seed).fit(rows)


def fit_ridge(train, validation, seed):
    """Chained Bayesian ridge regressions."""
    return _as_draws(_chained_equations(np.vstack([train, validation]), seed, False))


def fit_ridge_draws(train, validation, seed):
    """Draws from chained Bayesian ridge regressions (MICE): each copy of a row is its own chain."""
    imputer = _chained_equations(np.vstack([train, validation]), seed, True)

    def draw(holed):
        return imputer.transform(np.repeat(holed, N_DRAWS, axis=0)).reshape(len(holed), N_DRAWS, -1)

    return draw


def fit_means(train, validation, seed):
    """Column means."""
    return _as_draws(SimpleImputer().fit(np.vstack([train, validation])))


OURS, MIXTURE, MEANS = "skrae", "GaussianMixture (draws)", "column means"
PEERS = {
    "KNNImputer": fit_neighbours,
    "IterativeImputer": fit_ridge,
    "IterativeImputer (draws)": fit_ridge_draws,
}
# Beside the floor: the mixture is what skrae's own base density resembles.
ORIENTATION = {MIXTURE: fit_mixture, MEANS: fit_means}
METHODS = {OURS: fit_ours, **PEERS, **ORIENTATION}


def measure(name, seed, method):
    """Record of one method on one split: figures, and processor seconds of fit and completion."""
    train, validation, test = density_split(name, seed)
    rng = np.random.default_rng(MASK_SEED + seed)
    masked = [hide(test, rng) for _ in range(N_MASKS)]
    complete, fit_seconds = timed(METHODS[method], train, validation, seed)
    draws, seconds = timed(lambda: np.concatenate([complete(holed) for holed in masked]))
    truth = np.tile(test, (N_MASKS, 1))
    record = {"set": name, "seed": seed, "method": method, "fit": fit_seconds.cpu}
    return {**record, "impute": seconds.cpu, **figures(draws, np.concatenate(masked), truth)}


# --- tables ---------------------------------------------------------------------------------------


def _select(records, **wanted):
    return [record for record in records if wanted.items() <= record.items()]


def _mean(records, key):
    return float(np.mean([record[key] for record in records]))


def _seconds(records):
    return sum(record["fit"] + record["impute"] for record in records)


def _cells(values):
    return ["-" if np.isnan(value) else f"{value:.3f}" for value in values]


def methods_table(records):
    """Means over the seeds, and the time of fit and completion in units of skrae's."""
    rows = []
    for name, method in dict.fromkeys((record["set"], record["method"]) for record in records):
        group = _select(records, set=name, method=method)
        row = [name, method, *_cells(_mean(group, key) for key in ("rmse", "crps", "coverage"))]
        row += [f"{_mean(group, key):.2f}" for key in ("fit", "impute")]
        ours = _select(records, set=name, method=OURS)
        rows.append([*row, f"{_seconds(group) / _seconds(ours):.3g}" if ours else "-"])
    head = ["set", "method", "RMSE", "CRPS", f"coverage of {LEVEL:.0%}", "fit s", "impute s"]
    return table([*head, "time / skrae's"], rows)


def floor_table(records):
    """skrae's RMSE and CRPS over the best peer's, of the mean over the seeds and seed by seed."""
    rows = []
    for name in dict.fromkeys(record["set"] for record in records):
        split = _select(records, set=name)
        rows.append([name, "mean", *_floor_cells(split)])
        for seed in dict.fromkeys(record["seed"] for record in split):
            rows.append([name, str(seed), *_floor_cells(_select(split, seed=seed))])
    return table(["set", "seed", "RMSE ratio", "CRPS ratio", "coverage", "floor met"], rows)


def _floor_cells(records):
    by_method = {method: _select(records, method=method) for method in (OURS, *PEERS)}

    def ratio(key):
        best = min(_mean(by_method[peer], key) for peer in PEERS)
        return _mean(by_method[OURS], key) / best

    ratios, coverage = [ratio("rmse"), ratio("crps")], _mean(by_method[OURS], "coverage")
    met = max(ratios) < 1.0 and FLOOR[0] <= coverage <= FLOOR[1]
    return [*_cells([*ratios, coverage]), "yes" if met else "no"]


NOTE = (
    "RMSE is of the mean of the draws. A method that gives one value has the absolute error as its "
    "CRPS and no coverage. Seconds are processor time: of one fit, with the search for settings, "
    f"and of completing the test rows under {N_MASKS} masks, {N_DRAWS} draws each. Floor: RMSE and "
    f"CRPS below those of each of {', '.join(PEERS)}, and {FLOOR[0]:.0%} to {FLOOR[1]:.0%} covered."
)


def report(records):
    """Both tables and the note."""
    parts = [methods_table(records)]
    if _select(records, method=OURS):
        parts += [floor_table(records)]
    return "\n\n".join([*parts, NOTE])


# --- command line ---------------------------------------------------------------------------------


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.imputation", description=__doc__
    )
    parser.add_argument("--quick", action="store_true", help="one set, one seed, no mixture")
    parser.add_argument("--sets", nargs="+", help=f"default {SETS}")
    parser.add_argument("--seeds", nargs="+", type=int, help="default 0 1 2")
    parser.add_argument("--peers-only", action="store_true", help="leave skrae out")
    return parser


def main(arguments=None):
    """Print the tables, and each record as soon as it is there to the standard error."""
    options = _parser().parse_args(arguments)
    sets = options.sets or (SETS[:1] if options.quick else SETS)
    seeds = options.seeds or ((0,) if options.quick else (0, 1, 2))
    out = [OURS] * options.peers_only + [MIXTURE] * options.quick
    methods = [method for method in METHODS if method not in out]
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    torch.set_num_threads(threads)
    records = []
    with threadpool_limits(limits=threads):
        for name in sets:
            for seed in seeds:
                for method in methods:
                    records.append(measure(name, seed, method))
                    print(records[-1], file=sys.stderr, flush=True)
    print(report(records))


if __name__ == "__main__":
    main()
