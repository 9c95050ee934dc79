"""Tables of 60 to 300 columns: seconds, memory and held-out likelihood of skrae and of Gaussians.

``python -m tests.benchmarks.wide`` fits factor models of ten factors, a mixture of five Gaussians
in a hundred dimensions, scikit-learn's digits (1797 x 64) with their steps filled by noise, and
cosines of patches of its photograph of a flower (2000 x 144). Each fit has a process of its own,
whose peak of resident memory above the start is told; of skrae `sample(1000)` is measured likewise.
Beside it stand the shrunk covariance of Ledoit & Wolf, and factor analysis of the number of factors
that cross-validation prefers. ``--quick`` runs one small table.
"""

import json
import subprocess
import sys
from itertools import product

import numpy as np
from scipy.fft import dctn
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.datasets import load_digits, load_sample_image
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import cross_val_score

from tests.benchmarks.records import argument_parser, cell, choose, grouped, mean, run, table

SEEDS, MODELS = (10,), ("skrae", "ledoit-wolf", "factor analysis")
N_TEST = 1000
FACTORS = 1, 2, 3, 5, 7, 10, 14, 20, 28, 40

TASK = """
import json, sys, time, warnings
import numpy as np, torch
torch.set_num_threads(1)
warnings.simplefilter("ignore")
from tests.benchmarks.process_memory import forget_peak, memory
from tests.benchmarks.wide import fitted, tables
case, found = json.loads(sys.argv[1]), {}
train, test = tables(case["set"], case["seed"])
start, cpu = memory("VmRSS"), time.process_time()
score, model = fitted(case["model"], train, case["seed"])
found["fit_cpu"], found["fit_mb"] = time.process_time() - cpu, memory("VmHWM") - start
found["mean"] = float(np.mean(score(test)))
if hasattr(model, "n_iter_no_change"):
    found["network_gain"], found["components"] = model.network_gain_, len(model.base_weights_)
    forget_peak()
    start, cpu = memory("VmRSS"), time.process_time()
    model.sample(1000)
    found["sample_cpu"] = time.process_time() - cpu
    found["sample_mb"] = memory("VmHWM") - start
print(json.dumps(found))
"""


# --- tables ---------------------------------------------------------------------------------------


def factors(d, n_factors=10):
    """Rows of `n_factors` normal factors and noise of unit variance in d columns."""

    def draw(n, rng):
        loadings = np.random.default_rng(d).standard_normal((n_factors, d))
        return rng.standard_normal((n, n_factors)) @ loadings + rng.standard_normal((n, d))

    return draw


def clusters(n, rng):
    """Rows of five Gaussians in 100 dimensions, of widths of their own."""
    law = np.random.default_rng(5)
    centres, widths = 1.5 * law.standard_normal((5, 100)), law.uniform(0.5, 1.5, (5, 100))
    k = rng.integers(5, size=n)
    return centres[k] + widths[k] * rng.standard_normal((n, 100))


def digits(n, rng):
    """At most n images of 64 pixels of 17 levels, each raised by less than a level."""
    X = load_digits().data
    return (X + np.random.default_rng(0).random(X.shape))[rng.permutation(len(X))[:n]]


def patches(n, rng):
    """Cosines of 12 x 12 patches of a photograph, whose grey values are no longer rounded."""
    grey = load_sample_image("flower.jpg").astype(float).mean(axis=2)
    corners = rng.integers(np.array(grey.shape) - 12, size=(n, 2))
    cut = np.stack([grey[i : i + 12, j : j + 12] for i, j in corners])
    cut += rng.uniform(-0.5, 0.5, cut.shape)
    return dctn(cut, axes=(1, 2), norm="ortho").reshape(n, -1)


TABLES = {
    "factors 1000 x 200": (factors(200), 1000),
    "factors 2000 x 100": (factors(100), 2000),
    "factors 2000 x 300": (factors(300), 2000),
    "clusters 2000 x 100": (clusters, 2000),
    "digits 1400 x 64": (digits, 1400),
    "patches 2000 x 144": (patches, 2000),
}
QUICK_TABLES = {"factors 300 x 70": (factors(70), 300)}


def tables(name, seed):
    """Rows to fit and rows to test."""
    draw, n = {**TABLES, **QUICK_TABLES}[name]
    X = draw(n + N_TEST, np.random.default_rng(seed))
    return X[:n], X[n:]


# --- what is measured -----------------------------------------------------------------------------


def fitted(name, X, seed):
    """A function from rows to log densities, and the fitted model of skrae or None."""
    if name == "skrae":
        from skrae import RegularizedAutoEncoderScore

        model = RegularizedAutoEncoderScore(random_state=seed).fit(X)
        return model.score_samples, model
    if name == "ledoit-wolf":
        found = LedoitWolf().fit(X)
        return multivariate_normal(found.location_, found.covariance_).logpdf, None
    scores = {q: np.mean(cross_val_score(FactorAnalysis(q), X, cv=5)) for q in FACTORS}
    return FactorAnalysis(max(scores, key=scores.get)).fit(X).score_samples, None


def measure(case):
    """What a process of its own tells of one fit."""
    command = [sys.executable, "-c", TASK, json.dumps(case)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip()[-300:] or f"exit status {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def cases(options):
    """One for each table, seed and model."""
    names = choose(options.sets, TABLES, QUICK_TABLES, options.quick)
    seeds = choose(options.seeds, SEEDS, SEEDS[:1], options.quick)
    models = choose(options.models, MODELS, MODELS, options.quick)
    for name, seed, model in product(names, seeds, models):
        yield {"set": name, "seed": seed, "model": model}


def report(found):
    """One line for each table and model."""
    rows = []
    order = {"set": [*TABLES, *QUICK_TABLES], "model": MODELS}
    for (name, model), group in grouped(found, "set", "model", order=order).items():
        failed = [record["failed"] for record in group if "failed" in record]
        if failed:
            rows.append([name, model, failed[0].splitlines()[-1], *"-----"])
            continue
        own = [{"sample_cpu": None, "sample_mb": None, **record} for record in group]
        figures = [cell(mean(own, key), 1) for key in ("fit_cpu", "fit_mb")]
        figures += [cell(mean(own, "sample_cpu"), 2), cell(mean(own, "sample_mb"), 1)]
        rows.append([name, model, cell(mean(own, "mean"), 2), *figures, str(len(group))])
    head = ["table", "model", "test log density", "fit CPU s", "fit MB"]
    return table([*head, "sample(1000) CPU s", "sample MB", "seeds"], rows)


def main(arguments=None):
    """Print the table."""
    parser = argument_parser("wide", __doc__, MODELS, SEEDS)
    parser.add_argument("--sets", nargs="+", choices=TABLES, help="default all; one if quick")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
