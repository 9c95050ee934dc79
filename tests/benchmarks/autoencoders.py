"""Auto-encoders beside PCA, KernelPCA, Isomap, MDS, dictionaries, MLPRegressor and pythae.

``python -m tests.benchmarks.autoencoders`` prints a table for each member of the family: the error
of a bottleneck on test rows as a share of PCA's; sparse codes; contraction of the encoder;
distances between test rows and training rows; denoising, inpainting, retrieval and outliers; and
what a step costs beside a plain one. Digits are those of scikit-learn divided by 16, three tenths
of them test rows. ``--quick`` runs the bottlenecks and sparse codes of digits in a few steps.
"""

import statistics
import time
import warnings
from functools import partial

import numpy as np
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.ensemble import IsolationForest
from sklearn.impute import KNNImputer
from sklearn.manifold import MDS, Isomap
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from skrae import AutoEncoder, metrics
from tests.benchmarks import autoencoder_tables as tables
from tests.benchmarks.autoencoder_peers import peer
from tests.benchmarks.data import load_splits
from tests.benchmarks.records import argument_parser, cell, grouped, mean, run, table, timed

SEEDS = 0, 1, 2
# Of the sheet that is to be unrolled, where a fit either does or is caught in a fold.
ROLL_SEEDS = 3, 4
PEERS = "PCA", "KernelPCA", "MLPRegressor", "pythae"
BOTTLENECKS = (
    ("digits", 2),
    ("digits", 8),
    ("fashion14", 8),
    ("fashion14", 32),
    ("breast cancer", 8),
    ("red wine", 8),
)
ONE_LAYER = {"n_components": 100, "hidden_layer_sizes": ()}
SPARSE = {
    "L1, weight 0.1": {**ONE_LAYER, "code_activation": "relu", "sparsity_weight": 0.1},
    "KL, weight 0.3": {
        **ONE_LAYER,
        "code_activation": "sigmoid",
        "sparsity": "kl",
        "sparsity_weight": 0.3,
    },
}
CONTRACTION_WEIGHTS = 0.0, 0.01, 0.1, 1.0
ROLL = {"distance": "geodesic", "distance_weight": 10.0}
DISTANCES = {
    "plain": {},
    "Euclidean, weight 10": {"distance_weight": 10.0},
    "geodesic, weight 10": ROLL,
}
STEPS = {
    "closed-form contraction": (
        {"hidden_layer_sizes": (), "code_activation": "sigmoid"},
        {
            "hidden_layer_sizes": (),
            "code_activation": "sigmoid",
            "encoder_contraction_weight": 0.1,
        },
    ),
    "Hutchinson contraction": ({}, {"encoder_contraction_weight": 0.1}),
    "distances": ({}, {"distance_weight": 10.0}),
    "L1": (
        {"hidden_layer_sizes": (), "code_activation": "relu"},
        {"hidden_layer_sizes": (), "code_activation": "relu", "sparsity_weight": 0.1},
    ),
    "Gaussian noise": ({}, {"noise_level": 0.1}),
    "masking noise": ({}, {"noise_level": 0.3, "noise": "masking"}),
    "swap noise": ({}, {"noise_level": 0.3, "noise": "swap"}),
    "entropy": ({}, {"entropy_weight": 1.0}),
    "information": ({}, {"information_weight": 1.0}),
}
N_STEPS, N_PAIRS = 100, 7


def _auto_encoder(case, **options):
    if case.get("quick"):
        options["max_iter"] = 100
    return AutoEncoder(random_state=case["seed"], **options)


# --- what is measured -----------------------------------------------------------------------------


def bottleneck(case):
    """Error of test rows, and PCA's."""
    (X, _), (X_test, _) = tables.TABLES[case["set"]](case["seed"])
    k = case["n_components"]
    if case["model"] == "skrae":
        model = _auto_encoder(case, n_components=k)
    else:
        model = peer(case["model"], k, case["seed"])
    _, seconds = timed(model.fit, X)
    linear = PCA(k).fit(X)
    errors = (
        tables.residual(X_test, own.inverse_transform(own.transform(X_test)))
        for own in (model, linear)
    )
    error, pca_error = errors
    return {"ratio": error / pca_error, "fit_cpu": seconds.cpu}


def sparse(case):
    """Reconstruction, sparseness and what a linear classifier reads from the code."""
    (X, y), (X_test, y_test) = tables.digits(case["seed"])
    name, model = case["model"], None
    if name in SPARSE:
        model = _auto_encoder(case, **SPARSE[name])
    elif name == "MiniBatchDictionaryLearning":
        model = MiniBatchDictionaryLearning(
            100, alpha=0.1, transform_algorithm="lasso_lars", random_state=case["seed"]
        )
    elif name == "PCA of 40":
        model = PCA(40)
    seconds = timed(model.fit, X)[1].cpu if model else 0.0
    codes, test_codes = (model.transform(part) if model else part for part in (X, X_test))
    found = {"fit_cpu": seconds, "probe": tables.probe(codes, y, test_codes, y_test)}
    if model:
        r = model.inverse_transform(test_codes)
        threshold = 0.5 if "KL" in name else 1e-9
        found["r2"] = tables.r_squared(X_test, r)
        found["active"] = float(np.mean(np.abs(test_codes) > threshold))
        found["hoyer"] = metrics.hoyer_sparseness(test_codes)
    return found


def contraction(case):
    """Squared Jacobian of the code, of training rows and of most test rows, and reconstruction.

    Of test rows the median is told: a contracted code is steep in a few places between clusters.
    """
    (X, y), (X_test, y_test) = tables.digits(case["seed"])
    scaling = case["model"] if case["model"] == "standardize" else None
    model = _auto_encoder(
        case,
        n_components=8,
        code_scaling=scaling,
        encoder_contraction_weight=case["weight"],
    ).fit(X)
    codes, test_codes = model.transform(X), model.transform(X_test)
    of_rows, of_test_rows = (_squared_jacobian(model, part[:200]) for part in (X, X_test))
    relative = 1.0 / codes.var(axis=0)
    return {
        "r2": tables.r_squared(X_test, model.reconstruct(X_test)),
        "raw": float(np.mean(of_rows.sum(axis=1))),
        "relative": float(np.mean(of_rows @ relative)),
        "test": float(np.median(of_test_rows @ relative)),
        "probe": tables.probe(codes, y, test_codes, y_test),
    }


def _squared_jacobian(model, X, step=1e-4):
    """sum_j (dh_k / dx_j)^2 of each row and unit, by central differences."""
    total = 0.0
    for axis in step * np.eye(X.shape[1]):
        slope = (model.transform(X + axis) - model.transform(X - axis)) / (2.0 * step)
        total = total + slope**2
    return total


def distances(case):
    """What is near and far between test rows and training rows."""
    name, k = case["set"], case["n_components"]
    sheet = sheet_fit = None
    if name.startswith("roll"):
        noise = 0.3 if "noise" in name else 0.0
        (X_fit, sheet_fit), (X, sheet) = tables.swiss_roll(case["seed"], noise)
    else:
        (X_fit, _), (X, _) = tables.digits(case["seed"])
    (Z_fit, Z), seconds = timed(_embedded, case, X_fit, X, k)
    if Z is None:  # a map of the training rows alone
        X, Z, sheet = X_fit, Z_fit, sheet_fit
        found = _in_sample(X, Z, sheet)
    else:
        found = tables.embedding(X, Z, X_fit, Z_fit, sheet, sheet_fit)
    return {**found, "fit_cpu": seconds.cpu}


def _embedded(case, X_fit, X, k):
    name = case["model"]
    if name == "MDS":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return MDS(k, random_state=case["seed"]).fit_transform(X_fit), None
    if name in DISTANCES:
        model = _auto_encoder(case, n_components=k, **DISTANCES[name])
    else:
        model = {"PCA": PCA, "Isomap": partial(Isomap, n_neighbors=10)}[name](n_components=k)
    return model.fit(X_fit).transform(X_fit), model.transform(X)


def _in_sample(X, Z, sheet):
    keep = {"n_neighbors": tables.N_NEIGHBORS}
    return {
        "trustworthiness": metrics.trustworthiness(X, Z, **keep),
        "continuity": metrics.continuity(X, Z, **keep),
        "recall": metrics.neighbor_recall(X, Z, **keep),
        "correlation": metrics.shepard_correlation(X if sheet is None else sheet, Z),
        "stress": metrics.stress(X, Z),
    }


def denoising(case):
    """Root mean squared error of images with noise, denoised."""
    (X, _), (X_test, _) = tables.digits(case["seed"])
    sigma, rng = case["noise_level"], np.random.default_rng(case["seed"])
    noisy = X_test + sigma * rng.standard_normal(X_test.shape)
    if case["model"] == "PCA":
        model = PCA(32).fit(X)
        found = model.inverse_transform(model.transform(noisy))
    else:
        model = _auto_encoder(case, n_components=32, noise_level=sigma).fit(X)
        found = model.reconstruct(noisy)
    return {"rmse": tables.residual(X_test, found) ** 0.5}


def inpainting(case):
    """Root mean squared error of the entries that were missing."""
    (X, _), (X_test, _) = tables.digits(case["seed"])
    rng = np.random.default_rng(case["seed"])
    holes = rng.random(X_test.shape) < 0.3
    if case["set"] == "block":
        holes = np.zeros((len(X_test), 8, 8), bool)
        for image, (i, j) in zip(holes, rng.integers(0, 5, (len(X_test), 2)), strict=True):
            image[i : i + 4, j : j + 4] = True
        holes = holes.reshape(len(X_test), 64)
    rows = np.where(holes, np.nan, X_test)
    if case["model"] == "KNNImputer":
        found = KNNImputer().fit(X).transform(rows)
    else:
        model = _auto_encoder(case, n_components=32, noise="masking", noise_level=0.3).fit(X)
        found = model.impute(rows)
    return {"rmse": tables.residual(X_test[holes], found[holes]) ** 0.5}


def retrieval(case):
    """Labels of the ten training rows nearest to a test row, by code of ten units or by pixels."""
    (X, y), (X_test, y_test) = tables.digits(case["seed"])
    model = None
    if case["model"] == "PCA":
        model = PCA(10).fit(X)
    elif case["model"] != "pixels":
        model = _auto_encoder(case, n_components=10, **DISTANCES[case["model"]]).fit(X)
    codes, test_codes = (model.transform(part) if model else part for part in (X, X_test))
    near = NearestNeighbors(n_neighbors=10).fit(codes).kneighbors(test_codes)[1]
    recall = metrics.neighbor_recall(X_test, test_codes, reference=(X, codes))
    return {"precision": float(np.mean(y[near] == y_test[:, None])), "recall": recall}


def outliers(case):
    """ROC-AUC of the error of reconstruction, and of an isolation forest, on the fitted rows."""
    X, y = load_splits().labelled(case["set"])
    if case["model"] == "isolation forest":
        forest = IsolationForest(random_state=case["seed"]).fit(X)
        return {"auc": float(roc_auc_score(y, -forest.score_samples(X)))}
    k = max(1, X.shape[1] // 2)
    model = _auto_encoder(case, n_components=k, scaling="standardize").fit(X)
    return {"auc": float(roc_auc_score(y, model.reconstruction_error(X)))}


def step_cost(case):
    """How long a step takes beside a plain one, the median of pairs of short fits."""
    (X, _), _ = tables.digits(case["seed"])
    plain, full = STEPS[case["model"]]
    settings = {"n_components": 8, "max_iter": N_STEPS, "n_iter_no_change": N_STEPS}
    settings["code_density"] = None
    ratios = []
    for _ in range(1 if case.get("quick") else N_PAIRS):
        pair = (_seconds_of_steps(X, {**settings, **own}) for own in (plain, full))
        before, after = pair
        ratios.append(after / before)
    return {"ratio": statistics.median(ratios)}


def _seconds_of_steps(X, options):
    """Processor time of the steps alone: of a fit, less that of one with a single step."""
    spent = []
    for n_steps in (1, options["max_iter"]):
        start = time.process_time()
        AutoEncoder(**{**options, "max_iter": n_steps}, random_state=0).fit(X)
        spent.append(time.process_time() - start)
    return spent[1] - spent[0]


def default_fit(case):
    """Seconds of a default fit of digits, and of the codes of 100 000 rows."""
    (X, _), _ = tables.digits(case["seed"])
    model, seconds = timed(_auto_encoder(case).fit, X)
    many = np.tile(X, (80, 1))
    _, transform = timed(model.transform, many)
    return {"fit_cpu": seconds.cpu, "n_iter": model.n_iter_, "rate": len(many) / transform.cpu}


SECTIONS = {
    "bottleneck": bottleneck,
    "sparse": sparse,
    "contraction": contraction,
    "distances": distances,
    "denoising": denoising,
    "inpainting": inpainting,
    "retrieval": retrieval,
    "outliers": outliers,
    "step cost": step_cost,
    "default fit": default_fit,
}


def measure(case):
    """The figures of a case, by its section."""
    return SECTIONS[case["section"]](case)


# --- cases ----------------------------------------------------------------------------------------


def _section(name, **fixed):
    return {"section": name, **fixed}


def _cases_of(seed):
    for name, k in BOTTLENECKS:
        for model in ("skrae", *PEERS):
            yield _section("bottleneck", set=name, n_components=k, model=model)
    for model in (*SPARSE, "MiniBatchDictionaryLearning", "PCA of 40", "raw pixels"):
        yield _section("sparse", model=model)
    for scaling in ("standardize", "raw code") if seed == 0 else ():
        for weight in CONTRACTION_WEIGHTS:
            yield _section("contraction", model=scaling, weight=weight)
    for name, k in (("roll", 2), ("roll with noise", 2), ("digits", 2), ("digits", 10)):
        for model in (*DISTANCES, "PCA", "Isomap", "MDS"):
            if model != "MDS" or (seed == 0 and k == 2):
                yield _section("distances", set=name, n_components=k, model=model)
    for sigma in (0.25, 0.1):
        for model in ("skrae", "PCA"):
            yield _section("denoising", noise_level=sigma, model=model)
    for name in ("random", "block"):
        for model in ("skrae", "KNNImputer"):
            yield _section("inpainting", set=name, model=model)
    for model in ("pixels", "PCA", "plain", "Euclidean, weight 10"):
        yield _section("retrieval", model=model)
    for name in ("cardio", "mammography", "pendigits", "thyroid"):
        for model in ("skrae", "isolation forest"):
            yield _section("outliers", set=name, model=model)
    if seed == 0:
        yield from (_section("step cost", model=name) for name in STEPS)
    yield _section("default fit", model="skrae")


def cases(options):
    """All that were asked for."""
    seeds = options.seeds or (SEEDS[:1] if options.quick else (*SEEDS, *ROLL_SEEDS))
    for seed in seeds:
        for case in _cases_of(seed):
            is_roll = case.get("set", "").startswith("roll") and case["model"] in DISTANCES
            if seed in ROLL_SEEDS and not options.seeds and not is_roll:
                continue
            in_quick = case["section"] in ("bottleneck", "sparse") and case.get("set") in (
                None,
                "digits",
            )
            if options.quick and (not in_quick or case["model"] == "pythae"):
                continue
            if options.sections and case["section"] not in options.sections:
                continue
            if options.models and case["model"] not in options.models:
                continue
            yield {**case, "seed": seed}


# --- tables ---------------------------------------------------------------------------------------

COLUMNS = {
    "bottleneck": {"ratio": 3, "fit_cpu": 1},
    "sparse": {"r2": 3, "active": 2, "hoyer": 2, "probe": 3, "fit_cpu": 1},
    "contraction": {"r2": 3, "raw": 3, "relative": 2, "test": 2, "probe": 3},
    "distances": {
        "trustworthiness": 4,
        "continuity": 4,
        "correlation": 4,
        "stress": 3,
        "recall": 3,
        "fit_cpu": 1,
    },
    "denoising": {"rmse": 4},
    "inpainting": {"rmse": 3},
    "retrieval": {"precision": 3, "recall": 3},
    "outliers": {"auc": 3},
    "step cost": {"ratio": 2},
    "default fit": {"fit_cpu": 1, "n_iter": 0, "rate": 0},
}
KEYS = "set", "n_components", "noise_level", "model", "weight"
TITLES = {
    "ratio": "ratio",
    "fit_cpu": "fit, CPU s",
    "raw": "squared Jacobian",
    "relative": "at deviation one",
    "test": "of test rows, median",
    "rate": "codes a second",
    "auc": "ROC-AUC",
    "r2": "R^2",
}


def _median(group, key):
    return statistics.median(record[key] for record in group)


def report(found):
    """A table for each section, of means; of distances, of medians."""
    parts = []
    for (section,), group in grouped(found, "section", order={"section": SECTIONS}).items():
        keys = [key for key in KEYS if any(key in record for record in group)]
        columns = COLUMNS[section]
        rows = []
        for values, own in grouped(group, *keys).items():
            filled = [{**dict.fromkeys(columns), **record} for record in own]
            middle = _median if section == "distances" else mean
            figures = [cell(middle(filled, key), digits) for key, digits in columns.items()]
            rows.append([*map(str, values), *figures, str(len(own))])
        head = [*keys, *(TITLES.get(key, key) for key in columns), "seeds"]
        parts.append(f"### {section}\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def main(arguments=None):
    """Print the tables."""
    models = sorted({case["model"] for case in _cases_of(0)})
    parser = argument_parser("autoencoders", __doc__, models, SEEDS)
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, help="default all")
    options = parser.parse_args(arguments)
    print(report(run(cases(options), measure, options)))


if __name__ == "__main__":
    main()
