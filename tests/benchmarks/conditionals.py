"""Laws of a number given a row: DensityRegressor, quantile boosting and a Gaussian process.

``python -m tests.benchmarks.conditionals`` predicts a target of four tables: the progression of
scikit-learn's diabetes, the alcohol of red wine, the total UPDRS of Parkinson's patients (without
their number and the motor UPDRS) and the RMSD of protein structures. Of repeated rows one is kept.
They are mixed by the seed; a fifth, 1000 at most, are for the test, and at most 5000 for training.

- ``skrae`` is `DensityRegressor` with default options;
- ``boosting`` is `HistGradientBoostingRegressor(loss="quantile")`, fitted to each of 19 levels,
  whose quantiles are put in order;
- ``gp`` is `GaussianProcessRegressor` with an isotropic Matern kernel of 3/2 and white noise, on
  standardised columns, of at most 2000 training rows: its time rises with their cube.

The CRPS is twice the mean pinball loss at the levels 0.05, 0.1, ..., 0.95, alike for all. Log
densities are in nats and the units of the target; boosting has none. Coverage is that of the
interval from 5 % to 95 %, its width beside it; deciles count the targets between the quantiles at
0.1, ..., 0.9, of which each ought to have a tenth.
"""

from functools import cache
from itertools import product

import numpy as np
from scipy import stats
from sklearn.datasets import load_diabetes
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.preprocessing import StandardScaler

from skrae import DensityRegressor, RegularizedAutoEncoderScore
from tests.benchmarks.data import data_folder
from tests.benchmarks.records import (
    argument_parser,
    cell,
    choose,
    grouped,
    mean,
    mean_and_spread,
    run,
    select,
    table,
    timed,
)

LEVELS = np.arange(1, 20) / 20
SEEDS = 0, 1, 2
MAX_TRAIN, MAX_TEST, MAX_GP = 5000, 1000, 2000
QUICK = {"max_components": 4, "max_mixtures": 1, "max_iter": 10}


def _columns(file, target, dropped=(), delimiter=","):
    path = data_folder() / file
    rows = np.genfromtxt(path, delimiter=delimiter, skip_header=1)
    return np.delete(rows, [target, *dropped], axis=1), rows[:, target]


def _diabetes():
    return load_diabetes(return_X_y=True, scaled=False)


TABLES = {
    "diabetes": _diabetes,
    "red wine": lambda: _columns("redwine.csv.gz", 10, (11,), ";"),
    "Parkinsons": lambda: _columns("parkinsons_updrs.csv.gz", 5, (0, 4)),
    "protein": lambda: _columns("protein_casp.csv.gz", 0),
}


@cache
def loaded(name):
    """Rows and targets of a table, of repeated ones the first."""
    X, y = TABLES[name]()
    first = np.unique(np.column_stack([X, y]), axis=0, return_index=True)[1]
    first.sort()
    return X[first], y[first]


def split(name, seed):
    """Training rows and targets, test rows and targets."""
    X, y = loaded(name)
    order = np.random.default_rng(seed).permutation(len(X))
    n_test = min(MAX_TEST, len(X) // 5)
    test, train = order[:n_test], order[n_test : n_test + MAX_TRAIN]
    return X[train], y[train], X[test], y[test]


# --- models: quantiles (n, 19) and log densities (n,) or None of the test rows ------------------


class Skrae:
    """`DensityRegressor`."""

    def __init__(self, seed, quick):
        density = RegularizedAutoEncoderScore(**QUICK) if quick else None
        self.model = DensityRegressor(density, random_state=seed)

    def fit(self, X, y):
        """To the joint rows."""
        self.model.fit(X, y)

    def quantiles(self, X):
        """(n, 19)"""
        return self.model.predict_quantiles(X, LEVELS)

    def log_density(self, X, y):
        """(n,)"""
        return self.model.predict_log_density(X, y)


class Boosting:
    """A boosted model for each level."""

    def __init__(self, seed, quick):
        options = {"loss": "quantile", "random_state": seed, "max_iter": 10 if quick else 100}
        self.models = [HistGradientBoostingRegressor(quantile=q, **options) for q in LEVELS]

    def fit(self, X, y):
        """All of them."""
        for model in self.models:
            model.fit(X, y)

    def quantiles(self, X):
        """In order."""
        return np.sort(np.stack([model.predict(X) for model in self.models], axis=1), axis=1)

    def log_density(self, X, y):
        """None."""
        return None


class GaussianProcess:
    """Normal laws."""

    def __init__(self, seed, quick):
        kernel = ConstantKernel() * Matern(3.0, nu=1.5) + WhiteKernel(0.3)
        self.scaler, self.n = StandardScaler(), 100 if quick else MAX_GP
        self.model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)

    def fit(self, X, y):
        """To the first rows."""
        self.model.fit(self.scaler.fit_transform(X[: self.n]), y[: self.n])

    def _law(self, X):
        return stats.norm(*self.model.predict(self.scaler.transform(X), return_std=True))

    def quantiles(self, X):
        """(n, 19)"""
        law = self._law(X)
        return np.stack([law.ppf(q) for q in LEVELS], axis=1)

    def log_density(self, X, y):
        """(n,)"""
        return self._law(X).logpdf(y)


MODELS = {"skrae": Skrae, "boosting": Boosting, "gp": GaussianProcess}


# --- figures --------------------------------------------------------------------------------------


def crps(y, quantiles, levels=LEVELS):
    """Twice the mean pinball loss of quantiles (n, m), (n,)."""
    gap = y[:, None] - quantiles
    return 2.0 * np.maximum(levels * gap, (levels - 1.0) * gap).mean(axis=1)


def measure(case):
    """Figures of one model on one split."""
    X, y, X_test, y_test = split(case["set"], case["seed"])
    if case.get("quick"):
        X, y, X_test, y_test = X[:150], y[:150], X_test[:40], y_test[:40]
    model = MODELS[case["model"]](case["seed"], case.get("quick", False))
    _, fit = timed(model.fit, X, y)
    quantiles, asked = timed(model.quantiles, X_test)
    log_density = model.log_density(X_test, y_test)
    inside = (y_test >= quantiles[:, 0]) & (y_test <= quantiles[:, -1])
    deciles = (y_test[:, None] > quantiles[:, 1::2]).sum(axis=1)
    return {
        "crps": float(crps(y_test, quantiles).mean()),
        "log_density": None if log_density is None else float(log_density.mean()),
        "coverage": float(inside.mean()),
        "width": float((quantiles[:, -1] - quantiles[:, 0]).mean()),
        "mae": float(np.abs(y_test - quantiles[:, len(LEVELS) // 2]).mean()),
        "deciles": (np.bincount(deciles, minlength=10) / len(y_test)).tolist(),
        "n_train": len(X),
        "n_test": len(X_test),
        "fit_cpu": fit.cpu,
        "ask_cpu": asked.cpu,
    }


def cases(options):
    """One for each table, seed and model."""
    seeds = choose(options.seeds, SEEDS, SEEDS[:1], options.quick)
    sets = choose(options.sets, TABLES, ["diabetes"], options.quick)
    for name, seed, model in product(sets, seeds, choose(options.models, MODELS, MODELS, False)):
        yield {"set": name, "seed": seed, "model": model}


def _beside(group, ours):
    """By how much the CRPS is larger than ours, per cent: mean over the seeds (sd)."""
    own = {record["seed"]: record["crps"] for record in ours}
    rises = [100.0 * (r["crps"] / own[r["seed"]] - 1.0) for r in group if r["seed"] in own]
    spread = f"{np.std(rises, ddof=1):.1f}" if len(rises) > 1 else "-"
    return f"{np.mean(rises):+.1f} % ({spread})" if rises else "-"


def report(found):
    """The table of figures, and that of deciles."""
    order = {"set": list(TABLES), "model": list(MODELS)}
    figures, deciles = [], []
    for (name, model), group in grouped(found, "set", "model", order=order).items():
        ours = select(found, set=name, model="skrae")
        behind = "" if model == "skrae" else _beside(group, ours)
        figures.append(
            [
                name,
                model,
                mean_and_spread(group, "crps", 3),
                behind,
                mean_and_spread(group, "log_density", 3),
                cell(100.0 * mean(group, "coverage"), 1),
                cell(mean(group, "width"), 2),
                cell(mean(group, "mae"), 3),
                f"{mean(group, 'fit_cpu'):.0f}",
                f"{1e3 * mean(group, 'ask_cpu') / mean(group, 'n_test'):.1f}",
            ]
        )
        shares = 100.0 * np.mean([record["deciles"] for record in group], axis=0)
        deciles.append([name, model, *(f"{share:.0f}" for share in shares)])
    head = ["table", "model", "CRPS", "beside skrae", "log density", "in 90 %", "width", "MAE"]
    parts = [
        "### Laws of a target",
        table([*head, "fit, s", "a row, ms"], figures),
        "### Targets between deciles, per cent",
        table(["table", "model", *(f"{k}/10" for k in range(1, 11))], deciles),
    ]
    return "\n\n".join(parts)


def main(arguments=None):
    """Print the tables."""
    parser = argument_parser("conditionals", __doc__, MODELS, SEEDS)
    parser.add_argument("--sets", nargs="+", choices=TABLES, help="default all")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
