"""Whether two versions of skrae give the same answers, bit for bit.

    python -m tests.benchmarks.answers --write before.npz     # at one commit
    python -m tests.benchmarks.answers --compare before.npz   # at another, on the same machine

Small models of every kind are fitted by the public methods alone, and everything is asked of them:
log densities, gradients, Hessians, reconstructions, codes, local moments, draws, chains,
completions. `--random N` adds N fits of random options to random tables. The comparison lists every
array that differs, and by how much; its exit status is 1 where one does. A change of structure must
list none.
"""

import argparse
import io
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from skrae import RAESampler, RegularizedAutoEncoderScore
from tests.benchmarks.records import table

QUESTIONS = (
    "score_samples",
    "base_log_density",
    "log_density_gradient",
    "log_density_hessian",
    "transform",
    "reconstruct",
)
ATTRIBUTES = (
    "noise_levels_",
    "noise_level_scores_",
    "network_gain_",
    "curl_",
    "log_normalizer_repeats_",
    "base_weights_",
    "base_means_",
    "base_factors_",
    "loss_curve_",
    "validation_curve_",
)
SMALL = {"hidden_layer_sizes": (16, 16), "max_iter": 60, "random_state": 0}
ONE_LAYER = {**SMALL, "hidden_layer_sizes": (16,), "noise_level": 0.3}
MODELS = {
    "default": {"random_state": 0},
    "one level": {**SMALL, "noise_level": 0.3, "base_density": "gaussian"},
    "isotropic": {**SMALL, "noise_covariance": "isotropic", "base_density": "gaussian"},
    "contraction": {**SMALL, "noise_level": 0.2, "contraction_weight": 0.05},
    "contraction alone": {**SMALL, "noise_level": 0.0, "contraction_weight": 0.05},
    "softplus, standardize": {**SMALL, "activation": "softplus", "scaling": "standardize"},
    "tanh, no scaling": {**SMALL, "activation": "tanh", "scaling": None},
    "free": {**ONE_LAYER, "decoder": "free"},
    "free, deep": {**SMALL, "decoder": "free", "noise_level": 0.3, "contraction_weight": 0.01},
    "free, annealed": {**ONE_LAYER, "decoder": "free", "noise_level": "auto"},
    "tied": {**ONE_LAYER, "decoder": "tied"},
    "tied, relu, contraction": {
        **ONE_LAYER,
        "decoder": "tied",
        "activation": "relu",
        "contraction_weight": 0.02,
    },
    "tied, annealed": {**ONE_LAYER, "decoder": "tied", "noise_level": "auto"},
    "bias correction": {**SMALL, "noise_level": 0.3, "bias_correction": True},
    "bias correction, tied": {**ONE_LAYER, "decoder": "tied", "bias_correction": True},
    "no calibration": {**SMALL, "noise_level": 0.3, "calibration_weight": 0.0},
}
SAMPLERS = {
    "auto": {},
    "random walk": {"proposal": "random_walk"},
    "langevin, local": {"proposal": "langevin", "metric": "local"},
    "hamiltonian": {"proposal": "hamiltonian", "metric": "diagonal"},
    "independence": {"proposal": "independence", "temperature": 1.2},
    "path": {"log_ratio": "path"},
    "second order": {"log_ratio": "second_order"},
    "thinned": {"thin": 3, "step_size": 0.5},
}


def banana(n, random_state, dtype=np.float64):
    """Curved rows of three columns in unlike units."""
    rng = np.random.default_rng(random_state)
    x = rng.standard_normal((n, 3))
    x[:, 1] += x[:, 0] ** 2
    return (x * [1.0, 30.0, 0.01] + [5.0, -100.0, 0.0]).astype(dtype)


def _ask(found, name, model, rows):
    for question in QUESTIONS:
        found[f"{name}/{question}"] = getattr(model, question)(rows)
    found[f"{name}/moments"] = model.local_moments(rows)[1]
    for attribute in ATTRIBUTES:
        found[f"{name}/{attribute}"] = np.asarray(getattr(model, attribute))
    for i, (coef, intercept) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        found[f"{name}/coefs_{i}"], found[f"{name}/intercepts_{i}"] = coef, intercept
    found[f"{name}/sample"] = model.sample(300, random_state=1)


def _fits(found):
    X, rows = banana(400, 0), banana(40, 1)
    weights = np.random.default_rng(2).integers(0, 3, len(X)).astype(float)
    models = {}
    for name, options in MODELS.items():
        models[name] = RegularizedAutoEncoderScore(**options).fit(X)
        _ask(found, name, models[name], rows)
    for name, table_, sample_weight in (
        ("float32", X.astype(np.float32), None),
        ("weights", X, weights),
        ("few rows", X[:8], None),
    ):
        model = RegularizedAutoEncoderScore(**MODELS["one level"])
        _ask(found, name, model.fit(table_, sample_weight=sample_weight), rows.astype(table_.dtype))
    for name in ("one level", "free", "tied"):
        model = pickle.loads(pickle.dumps(models[name])).set_params(warm_start=True)
        _ask(found, f"{name}, warm start", model.fit(banana(300, 3)), rows)
    for name in ("free", "tied"):
        codes = models[name].transform(rows)
        found[f"{name}/inverse_transform"] = models[name].inverse_transform(codes)
    return models


def _draws(found, models):
    holes = banana(30, 4)
    holes[np.random.default_rng(5).random(holes.shape) < 0.4] = np.nan
    mixture = GaussianMixture(3, random_state=0).fit(banana(400, 0))
    for name, source in (
        ("model", models["one level"]),
        ("free", models["free"]),
        ("gmm", mixture),
    ):
        for kind, options in SAMPLERS.items():
            if source is mixture and kind not in ("auto", "random walk", "thinned"):
                continue
            options = {"n_chains": 16, "n_warmup": 128, "random_state": 0, **options}
            sampler, key = RAESampler(source, **options), f"{name}, {kind}"
            chains = sampler.sample_chains(40)
            found[f"{key}/chains"], found[f"{key}/lp"] = chains.draws, chains.log_density
            found[f"{key}/more"] = sampler.sample_chains(20, continue_from=chains).draws
            found[f"{key}/rows"] = sampler.sample(100)
        sampler = RAESampler(source, random_state=0)
        found[f"{name}/conditional"] = sampler.sample_conditional(holes, n_samples=12)
        found[f"{name}/impute"] = sampler.impute(holes, n_samples=12)


RANDOM_ACTIVATIONS = {
    "gradient": ["auto", "silu", "tanh", "softplus"],
    "free": ["auto", "silu", "tanh", "softplus", "sigmoid", "relu"],
    "tied": ["auto", "sigmoid", "tanh", "relu"],
}
RANDOM_OPTIONS = {
    "noise_level": ["auto", 0.1, 0.3, 1.0],
    "contraction_weight": [0.0, 0.01, 0.2],
    "base_density": ["mixture", "gaussian"],
    "scaling": ["whiten", "standardize", None],
    "calibration_weight": ["auto", 0.0, 1.0],
    "learning_rate": [0.003, 0.01, 0.03],
    "max_components": [1, 4, 8],
    "max_mixtures": [1, 2, 3],
    "batch_size": [16, 100, 256],
    "max_iter": [1, 12, 36],
    "validation_fraction": [0.1, 0.3],
    "warm_start": [False, True],
}
RANDOM_QUESTIONS = ("score_samples", "log_density_gradient", "log_density_hessian", "reconstruct")


def _pick(rng, choices):
    return choices[rng.integers(len(choices))]


def _random_fit(found, seed):
    """A fit of random options to a random table, twice where it is continued; its answers."""
    rng = np.random.default_rng(seed)
    decoder = _pick(rng, list(RANDOM_ACTIVATIONS))
    options = {name: _pick(rng, choices) for name, choices in RANDOM_OPTIONS.items()}
    options["activation"] = _pick(rng, RANDOM_ACTIVATIONS[decoder])
    options["hidden_layer_sizes"] = _pick(
        rng, [(8,), (16,)] if decoder == "tied" else [(8, 6), (9,)]
    )
    if options["activation"] != "relu" and rng.random() < 0.25:
        options["bias_correction"] = True
    n, d = int(rng.integers(2, 400)), int(rng.integers(1, 7))
    X = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)
    X = np.where(rng.random((n, 1)) < 0.5, X, X**3).astype(_pick(rng, [np.float32, np.float64]))
    model = RegularizedAutoEncoderScore(decoder=decoder, random_state=seed, **options).fit(X)
    if options["warm_start"]:
        model.fit(X)
    for question in RANDOM_QUESTIONS:
        found[f"random {seed}/{question}"] = getattr(model, question)(X[:20])
    found[f"random {seed}/sample"] = model.sample(50, random_state=seed)
    proposal = _pick(rng, ["auto", "random_walk", "langevin", "hamiltonian", "independence"])
    sampler = RAESampler(model, proposal=proposal, n_chains=8, n_warmup=32, random_state=seed)
    found[f"random {seed}/chains"] = sampler.sample_chains(10).draws
    holes = np.where(rng.random((20, d)) < 0.4, np.nan, np.resize(X, (20, d)))
    found[f"random {seed}/conditional"] = sampler.sample_conditional(holes, 4)


def answers(n_random=0):
    """Every answer by its name."""
    found = {}
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        _draws(found, _fits(found))
        for seed in range(n_random):
            _random_fit(found, seed)
    return found


def differences(before, after):
    """A record for each array that is not the same bit for bit."""
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            yield {"answer": name, "what": "is in one of the two alone", "largest": ""}
            continue
        old, new = np.asarray(before[name]), np.asarray(after[name])
        if old.shape != new.shape or old.dtype != new.dtype:
            what = f"{old.dtype}{old.shape} -> {new.dtype}{new.shape}"
            yield {"answer": name, "what": what, "largest": ""}
        elif not np.array_equal(old, new, equal_nan=True):
            gap = np.abs(new - old) / (1e-300 + np.abs(old).max())
            share = np.mean(old != new)
            yield {"answer": name, "what": f"{share:.0%} of it", "largest": f"{np.nanmax(gap):.1g}"}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", type=Path, metavar="FILE")
    action.add_argument("--compare", type=Path, metavar="FILE")
    parser.add_argument("--random", type=int, default=0, metavar="N", help="random fits besides")
    options = parser.parse_args(arguments)
    found = answers(options.random)
    if options.write:
        np.savez_compressed(options.write, **found)
        print(f"{len(found)} answers written")
        return
    with np.load(io.BytesIO(options.compare.read_bytes())) as before:
        gaps = list(differences(before, found))
    if gaps:
        print(table(list(gaps[0]), [list(gap.values()) for gap in gaps]))
    print(f"{len(gaps)} of {len(found)} answers differ")
    sys.exit(bool(gaps))


if __name__ == "__main__":
    main()
