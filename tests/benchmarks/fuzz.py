"""Default fits to tables drawn at random: columns, units, containers, degeneracies.

``python -m tests.benchmarks.fuzz`` fits 500 tables and prints, for each kind of column and of
trouble, how many held it and how many were lost: an error, an answer that is not finite, or fresh
rows less likely than under one Gaussian of the same columns by more than half a nat a column.
``--quick`` fits 20.
"""

import argparse
import traceback
import warnings
from collections import Counter

import numpy as np
import pandas as pd
from sklearn.covariance import LedoitWolf

from skrae import RegularizedAutoEncoderScore
from tests.benchmarks import records

N_TABLES, QUICK_TABLES = 500, 20
SLACK = 0.5


def _clusters(rng, n):
    return np.where(rng.random(n) < 0.5, 0.0, 10.0 ** rng.uniform(0.0, 5.0)) + rng.standard_normal(
        n
    )


COLUMNS = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "log-normal": lambda rng, n: np.exp(rng.uniform(0.5, 4.0) * rng.standard_normal(n)),
    "uniform": lambda rng, n: rng.random(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(n),
    "arcsine": lambda rng, n: rng.beta(0.5, 0.5, n),
    "clusters": _clusters,
    "spike": lambda rng, n: rng.standard_normal(n) * np.where(rng.random(n) < 0.5, 1e-3, 1.0),
    "rounded": lambda rng, n: np.round(rng.standard_normal(n), 1),
    "counts": lambda rng, n: rng.poisson(3.0, n).astype(float),
    "flag": lambda rng, n: (rng.random(n) < 0.3).astype(float),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n)),
    "constant": lambda rng, n: np.full(n, 3.0),
}
# Of these alone a Gaussian is no worthy opponent, or no density is.
DISCRETE = {"rounded", "counts", "flag", "zero-inflated", "constant"}
TROUBLES = {
    "none": lambda rng, X: X,
    "far value": lambda rng, X: _with_far_value(rng, X),
    "collinear": lambda rng, X: np.column_stack([X, X @ rng.standard_normal(X.shape[1])]),
    "copies": lambda rng, X: np.repeat(X, rng.integers(2, 9), axis=0),
    "near-copies": lambda rng, X: np.vstack([X, X * (1.0 + 1e-9 * rng.standard_normal(X.shape))]),
    "far offset": lambda rng, X: X + 10.0 ** rng.uniform(3.0, 8.0) * X.std(axis=0),
}
CONTAINERS = {
    "array": lambda X: X,
    "float32": lambda X: X.astype(np.float32),
    "list": lambda X: X.tolist(),
    "frame": lambda X: pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])]),
    "Fortran": np.asfortranarray,
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
}


def _with_far_value(rng, X):
    X = X.copy()
    X[rng.integers(len(X)), rng.integers(X.shape[1])] = 10.0 ** rng.uniform(2.0, 9.0)
    return X


def table(seed):
    """Kinds of columns, trouble, container, rows to fit and fresh ones without the trouble."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(COLUMNS), rng.integers(1, 7)).tolist()
    n = int(10.0 ** rng.uniform(1.0, 2.8))
    units = 10.0 ** rng.uniform(-8.0, 8.0, len(kinds)) if rng.random() < 0.5 else 1.0
    draw = np.column_stack([COLUMNS[kind](rng, 2 * n) for kind in kinds]) * units
    trouble, container = rng.choice(list(TROUBLES)), rng.choice(list(CONTAINERS))
    if trouble == "far offset" and container == "float32":
        container = "array"  # whose digits would be lost
    return kinds, trouble, container, TROUBLES[trouble](rng, draw[:n]), draw[n:]


def loss(seed):
    """What went wrong with a table, "" if nothing did; and its kinds of columns and trouble."""
    kinds, trouble, container, X, fresh = table(seed)
    labels = [*sorted(set(kinds)), f"trouble: {trouble}", f"container: {container}"]
    varies = np.ptp(X, axis=0).any()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = RegularizedAutoEncoderScore(random_state=0).fit(CONTAINERS[container](X))
            answers = [
                question(CONTAINERS[container](X[:20]))
                for question in (
                    model.score_samples,
                    model.log_density_gradient,
                    model.reconstruct,
                    model.transform,
                )
            ]
            answers.append(model.sample(50, random_state=0))
    except Exception as error:
        if isinstance(error, ValueError) and not varies:
            return "", labels  # a table of one point is refused
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} in {place.name}: {error}", labels
    if not all(np.isfinite(np.asarray(answer, float)).all() for answer in answers):
        return "an answer that is not finite", labels
    if trouble in ("none", "far value", "copies") and not DISCRETE & set(kinds) and len(X) > 20:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rise = _above_a_gaussian(model, X, fresh, container)
        if rise < -SLACK * X.shape[1]:
            return f"{rise:.2f} nats beside a Gaussian", labels
    return "", labels


def _above_a_gaussian(model, X, fresh, container):
    scale = X.std(axis=0)
    gaussian = LedoitWolf().fit(X / scale)
    ours = np.mean(model.score_samples(CONTAINERS[container](fresh)))
    return ours - (gaussian.score(fresh / scale) - np.log(scale).sum())


def main(arguments=None):
    """Print tries and losses, and each loss."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.fuzz",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TABLES} tables")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args(arguments)
    n_tables = QUICK_TABLES if options.quick else N_TABLES
    tries, losses, messages = Counter(), Counter(), []
    for seed in range(options.first, options.first + n_tables):
        message, labels = loss(seed)
        tries.update(["all", *labels])
        if message:
            losses.update(["all", *labels])
            messages.append(f"- table {seed}: {message}")
    rows = [[label, str(tries[label]), str(losses[label])] for label in sorted(tries)]
    print(records.table(["tables", "tries", "losses"], rows))
    print("\n".join(messages))


if __name__ == "__main__":
    main()
