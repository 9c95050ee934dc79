"""Draws decoded from codes, the entropy of codes, and features learned by information alone.

Draws are compared with test rows by the sliced Wasserstein distance: the mean over random
directions of the transport distance between projections, of 5000 draws, over that between training
rows and test rows. Digits are those of scikit-learn divided by 16, three tenths of them test rows.
"""

import math

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from skrae import AutoEncoder, InfoMaxEncoder, RegularizedAutoEncoderScore
from skrae.autoencoders.transformers.terms.information import info_nce
from skrae.datasets import GaussianCurve
from skrae.metrics import knn_entropy
from tests.benchmarks import autoencoder_tables as tables
from tests.benchmarks.records import timed

N_DRAWS, N_DIRECTIONS, N_QUANTILES = 5000, 500, 1000
SIZES = 1, 2, 4, 8, 16, 32  # of the mixtures that the peers choose by BIC
QUICK_STEPS = 50


def curve(seed):
    """(train, None), (test, None): rows of a curve in ten columns."""
    law = GaussianCurve(thickness=0.05, elongation=5.0)
    return tuple((law.sample(2000, random_state=2 * seed + part), None) for part in (0, 1))


TABLES = {"digits": tables.digits, "fashion14": tables.fashion, "curve": curve}
DRAWN = ("digits", 10), ("fashion14", 10), ("curve", 2)
FEATURES = ("digits", 16), ("fashion14", 32)
ENTROPIC = {
    **{
        f"normal codes, entropy weight {weight:g}": {
            "entropy_weight": weight,
            "code_density": "normal",
        }
        for weight in (0.0, 0.1, 1.0, 10.0)
    },
    "mixture of codes": {},
}
# Of the score model on 64 columns, so that it takes a minute and no more.
DIGITS = {"max_components": 16, "max_mixtures": 1, "max_iter": 300, "noise_level": 0.25}
SCORE_MODEL = "RegularizedAutoEncoderScore"
NOISE = ", with noise"
PEERS = (
    "auto-encoder + GaussianMixture",
    "PCA + GaussianMixture",
    f"PCA + GaussianMixture{NOISE}",
)
ENCODERS = {
    "auto-encoder": (AutoEncoder, {}),
    "auto-encoder, information weight 1": (AutoEncoder, {"information_weight": 1.0}),
    "InfoMaxEncoder": (InfoMaxEncoder, {}),
}
ENTROPY_WEIGHTS = 0.0, 1.0, 3.0, 10.0
CORRELATIONS = 0.5, 0.9, 0.999
N_VIEWS, N_REPEATS = 256, 20


def _options(case):
    steps = {"max_iter": QUICK_STEPS} if case.get("quick") else {}
    return {"random_state": case["seed"], **steps}


# --- draws ----------------------------------------------------------------------------------------


def sliced_wasserstein(A, B, seed=0):
    """The mean over random directions of the W1 distance between projected rows."""
    directions = np.random.default_rng(seed).standard_normal((A.shape[1], N_DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    levels = (np.arange(N_QUANTILES) + 0.5) / N_QUANTILES
    a, b = (np.quantile(part @ directions, levels, axis=0) for part in (A, B))
    return float(np.abs(a - b).mean())


def draws(case):
    """How far draws are from test rows, as a multiple of training rows' distance."""
    (X, _), (X_test, _) = TABLES[case["set"]](case["seed"])
    sample, seconds = timed(_sampler, case, X)
    found = sliced_wasserstein(sample(N_DRAWS), X_test)
    return {"ratio": found / sliced_wasserstein(X, X_test), "fit_cpu": seconds.cpu}


def _sampler(case, X):
    """From a number to draws of a fitted model."""
    name, k, options = case["model"], case["n_components"], _options(case)
    if name in ENTROPIC:
        model = AutoEncoder(k, **ENTROPIC[name], **options).fit(X)
    elif name == SCORE_MODEL:
        return _score_model(X, case["set"], options)
    else:
        own = PCA(k) if name.startswith("PCA") else AutoEncoder(k, code_density=None, **options)
        return _decoded_mixture(own.fit(X), X, case["seed"], name.endswith(NOISE))
    return lambda n: model.sample(n, random_state=case["seed"])


def _score_model(X, table, options):
    """Draws of a density; digits are counts, which uniform noise makes columns like others."""
    step = 1.0 / 16.0 if table == "digits" else 0.0
    if step:
        options = {**DIGITS, **options}
    noise = step * np.random.default_rng(options["random_state"]).uniform(size=X.shape)
    model = RegularizedAutoEncoderScore(scaling="standardize", **options).fit(X + noise)

    def sample(n):
        rows = model.sample(n, random_state=options["random_state"])
        return step * np.floor(rows / step) if step else rows

    return sample


def _decoded_mixture(model, X, seed, has_noise):
    """Decoded draws of the mixture of codes that BIC prefers; with noise as wide as residuals."""
    codes = model.transform(X)
    fits = (GaussianMixture(size, random_state=seed).fit(codes) for size in SIZES)
    mixture = min(fits, key=lambda fit: fit.bic(codes))
    spread = has_noise * (X - model.inverse_transform(codes)).std(axis=0)

    def sample(n):
        rows = model.inverse_transform(mixture.sample(n)[0])
        return rows + spread * np.random.default_rng(seed).standard_normal(rows.shape)

    return sample


def code_entropy(case):
    """Entropy of the standardised codes of digits, beside the same estimate of normal draws."""
    (X, _), (X_test, _) = tables.digits(case["seed"])
    model = AutoEncoder(
        5, entropy_weight=case["weight"], code_scaling="standardize", **_options(case)
    ).fit(X)
    codes = model.transform(X)
    normal = np.random.default_rng(case["seed"]).standard_normal(codes.shape)
    entropy, of_normal = (knn_entropy(rows, whiten=False) for rows in (codes, normal))
    r2 = tables.r_squared(X_test, model.reconstruct(X_test))
    return {"entropy": entropy, "normal": of_normal, "share": entropy / of_normal, "r2": r2}


# --- information ----------------------------------------------------------------------------------


def features(case):
    """What a linear classifier reads from codes, and the nats that two views share."""
    (X, y), (X_test, y_test) = TABLES[case["set"]](case["seed"])
    model, seconds = None, 0.0
    if case["model"] in ENCODERS:
        kind, own = ENCODERS[case["model"]]
        model = kind(case["n_components"], **own, **_options(case))
    elif case["model"] == "PCA":
        model = PCA(case["n_components"])
    if model is not None:
        seconds = timed(model.fit, X)[1].cpu
    codes, test_codes = (model.transform(part) if model else part for part in (X, X_test))
    probe = tables.probe(codes, y, test_codes, y_test)
    nats = model.score(X_test) if isinstance(model, InfoMaxEncoder) else None
    return {"probe": probe, "nats": nats, "fit_cpu": seconds}


def critics(case):
    """InfoNCE of normal pairs whose log density ratio is known, and the truth."""
    rho, rng = case["rho"], np.random.default_rng(case["seed"])
    found = []
    for _ in range(N_REPEATS):
        x, e = rng.standard_normal((2, N_VIEWS))
        y = rho * x + math.sqrt(1.0 - rho**2) * e
        squares = rho**2 * (x[:, None] ** 2 + y**2) - 2.0 * rho * x[:, None] * y
        found.append(float(info_nce(torch.from_numpy(-0.5 * squares / (1.0 - rho**2)))))
    return {"nats": float(np.mean(found)), "truth": -0.5 * math.log1p(-(rho**2))}


SECTIONS = {
    "draws": draws,
    "code entropy": code_entropy,
    "features": features,
    "critics": critics,
}
COLUMNS = {
    "draws": {"ratio": 2, "fit_cpu": 1},
    "code entropy": {"entropy": 2, "normal": 2, "share": 3, "r2": 3},
    "features": {"probe": 3, "nats": 2, "fit_cpu": 1},
    "critics": {"nats": 3, "truth": 3},
}


def cases_of(seed):
    """All cases of a seed."""
    for name, k in DRAWN:
        for model in (*ENTROPIC, *PEERS, SCORE_MODEL):
            if model == SCORE_MODEL and name == "fashion14":  # its pixels are no counts
                continue
            yield {"section": "draws", "set": name, "n_components": k, "model": model}
    for weight in ENTROPY_WEIGHTS:
        yield {"section": "code entropy", "model": "auto-encoder", "weight": weight}
    for name, k in FEATURES:
        for model in ("PCA", *ENCODERS, "raw columns"):
            yield {"section": "features", "set": name, "n_components": k, "model": model}
    for rho in CORRELATIONS:
        yield {"section": "critics", "model": "InfoNCE", "rho": rho}
