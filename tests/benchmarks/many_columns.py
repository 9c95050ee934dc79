"""Few rows of many skewed columns: held-out likelihood of skrae beside flows and mixtures.

``python -m tests.benchmarks.many_columns`` runs three tables that need no files, three splits each:
scikit-learn's breast cancer table (569 x 30), spectral powers of patches of its photograph of a
flower (1500 x 36), and log-normal amounts that five factors drive (1000 x 50). ``--quick`` skrae
and the mixture on one split of the first.
"""

import itertools

import numpy as np
from sklearn.datasets import load_breast_cancer, load_sample_image

from tests.benchmarks import records
from tests.benchmarks.density import likelihood_table
from tests.benchmarks.models import OURS, fit_model

SEEDS = 0, 1, 2
MODELS = OURS, "gmm", "flow", "maf"
QUICK_MODELS = OURS, "gmm"
N_PATCHES, SIDE = 1500, 16


def breast_cancer():
    """30 measurements of 569 images of cells."""
    return load_breast_cancer().data


def patches():
    """Powers in 36 bands of the Fourier transform of patches of a photograph, in grey."""
    grey = load_sample_image("flower.jpg").astype(float).mean(axis=2)
    rng = np.random.default_rng(0)
    corners = rng.integers(np.array(grey.shape) - SIDE, size=(N_PATCHES, 2))
    cut = np.stack([grey[i : i + SIDE, j : j + SIDE] for i, j in corners])
    # Grey values are rounded: noise within their step.
    cut += rng.uniform(-1.0 / 6.0, 1.0 / 6.0, cut.shape)
    window = np.hanning(SIDE)[:, None] * np.hanning(SIDE)
    waves = np.fft.rfft2((cut - cut.mean(axis=(1, 2), keepdims=True)) * window)
    powers = np.abs(waves[:, :12, :6]) ** 2
    return powers.reshape(N_PATCHES, 6, 2, 6).sum(axis=2).reshape(N_PATCHES, -1)


def factors():
    """50 amounts that five normal factors and noise of their own drive."""
    rng = np.random.default_rng(5)
    loadings = 0.5 * rng.standard_normal((5, 50))
    logs = rng.standard_normal((1000, 5)) @ loadings + 0.5 * rng.standard_normal((1000, 50))
    return np.exp(logs)


TABLES = {"breast cancer": breast_cancer, "patches": patches, "factors": factors}


def split(name, seed):
    """Training, validation and test rows, an eighth and a fifth of them, standardised."""
    X = TABLES[name]()
    X = X[np.random.default_rng(seed).permutation(len(X))]
    n_test, n_validation = len(X) // 5, len(X) // 8
    test, validation, train = np.split(X, [n_test, n_test + n_validation])
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    return [(part - mean) / deviation for part in (train, validation, test)]


def measure(case):
    """Record of one model on one split."""
    train, validation, test = split(case["set"], case["seed"])
    fit = fit_model(case["model"], train, validation, case["seed"])
    log_density = fit.model.score_samples(test)
    figures = {"mean": float(log_density.mean()), "median": float(np.median(log_density))}
    return {**figures, "mass": None, "mass_stderr": None, **fit.record()}


def cases(options):
    """One for each table, seed and model."""
    quick = options.quick
    seeds = records.choose(options.seeds, SEEDS, SEEDS[:1], quick)
    models = records.choose(options.models, MODELS, QUICK_MODELS, quick)
    names = list(TABLES)[:1] if quick else TABLES
    for name, seed, model in itertools.product(names, seeds, models):
        yield {"set": name, "seed": seed, "model": model}


def report(found):
    """The likelihoods of every model."""
    return "### Test log-likelihood, nats per row\n\n" + likelihood_table(found)


def main(arguments=None):
    """Print the table."""
    parser = records.argument_parser("many_columns", __doc__, MODELS, SEEDS)
    options = parser.parse_args(arguments)
    print(report(records.run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
