"""Scorers of embeddings: their values, pipelines, searches, folds that are too small."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import gamma
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer, StandardScaler

from skrae.metrics import (
    code_entropy_scorer,
    knn_entropy,
    stress,
    stress_scorer,
    trustworthiness,
    trustworthiness_scorer,
)

OF_ROWS = trustworthiness_scorer, stress_scorer
SCORERS = *OF_ROWS, code_entropy_scorer
# Rows that are codes.
GIVEN = FunctionTransformer()
NORMAL = QuantileTransformer(n_quantiles=50, output_distribution="normal")


class Contracted(BaseEstimator):
    """Standardised components u_a of deviations s_a, as a penalty contracts them.

    |u - v|^2 summed with s_a^2 and penalty x |v|^2 is least at v_a = u_a s_a^2 / (s_a^2 + penalty).
    """

    def __init__(self, penalty=0.0):
        self.penalty = penalty

    def fit(self, X, y=None):
        self.pca_ = PCA(whiten=True).fit(X)
        return self

    def transform(self, X):
        variances = self.pca_.explained_variance_
        return self.pca_.transform(X) * variances / (variances + self.penalty)

    def score(self, X, y=None):
        """R^2 of the rows decoded."""
        rest = X - self.pca_.inverse_transform(self.transform(X))
        return 1.0 - np.square(rest).sum() / np.square(X - X.mean(axis=0)).sum()


def test_values_are_those_of_the_metrics():
    X = load_iris().data
    for model in (PCA(2).fit(X[:100]), make_pipeline(StandardScaler(), PCA(2)).fit(X[:100])):
        codes = model.transform(X[100:])
        assert trustworthiness_scorer(model, X[100:]) == trustworthiness(X[100:], codes)
        assert stress_scorer(model, X[100:]) == -stress(X[100:], codes, scale=True)
        five = trustworthiness_scorer(model, X[100:], n_neighbors=5)
        assert five == trustworthiness(X[100:], codes, n_neighbors=5)


@pytest.mark.parametrize("scorer", SCORERS)
def test_labels_are_ignored_and_frames_are_taken(scorer, random_seed):
    pandas = pytest.importorskip("pandas")
    X, y = np.random.default_rng(random_seed).standard_normal((60, 4)), np.arange(60)
    frame = pandas.DataFrame(X, columns=list("abcd"))
    expected = scorer(PCA(2).fit(X), X)
    model = PCA(2).set_output(transform="pandas").fit(frame)
    assert scorer(model, frame, y) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("scorer", SCORERS)
def test_search_reports_the_scores_of_held_out_rows(scorer):
    X = load_iris().data
    train, test = np.arange(0, 150, 2), np.arange(1, 150, 2)
    grid = {"pca__n_components": [1, 2, 3]}
    model = make_pipeline(StandardScaler(), PCA())
    options = {"cv": [(train, test)], "refit": False, "error_score": "raise"}
    search = GridSearchCV(model, grid, scoring=scorer, **options).fit(X)
    expected = [
        scorer(model.set_params(pca__n_components=k).fit(X[train]), X[test]) for k in (1, 2, 3)
    ]
    np.testing.assert_allclose(search.cv_results_["mean_test_score"], expected, rtol=1e-12)


def test_unit_of_codes_is_no_merit():
    X = load_iris().data
    plain = PCA(1).fit(X)
    white = PCA(1, whiten=True).fit(X)
    assert stress_scorer(white, X) == pytest.approx(stress_scorer(plain, X), rel=1e-12)


def test_search_of_a_penalty_by_r2_takes_none_where_neighbours_and_distances_take_one(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((200, 3)) * [3.0, 1.0, 0.1]
    chosen = [
        GridSearchCV(Contracted(), {"penalty": [0.0, 0.3, 1.0]}, scoring=scoring).fit(X)
        for scoring in (None, *OF_ROWS)
    ]
    assert chosen[0].best_params_ == {"penalty": 0.0}
    assert np.all(np.diff(chosen[0].cv_results_["mean_test_score"]) < 0)
    assert all(search.best_params_["penalty"] > 0.0 for search in chosen[1:])


@pytest.mark.parametrize("scorer", SCORERS)
def test_object_without_codes_is_refused(scorer):
    X, y = load_iris(return_X_y=True)
    with pytest.raises(TypeError, match="Got LinearRegression without transform, expected"):
        scorer(LinearRegression().fit(X, y), X)


def test_folds_too_small_for_the_neighbours_are_refused_with_advice():
    X = load_iris().data[::5]
    message = r"Got 10 rows to score by 10 neighbours each, expected at least 21: .*partial"
    options = {"cv": 3, "error_score": "raise"}
    grid = {"n_components": [1, 2]}
    with pytest.raises(ValueError, match=message):
        GridSearchCV(PCA(), grid, scoring=trustworthiness_scorer, **options).fit(X)
    four = partial(trustworthiness_scorer, n_neighbors=4)
    search = GridSearchCV(PCA(), grid, scoring=four, **options).fit(X)
    assert search.best_params_ == {"n_components": 2}
    with pytest.raises(ValueError, match="Got 8 rows to score by 4 neighbours each"):
        four(PCA(2).fit(X), X[:8])
    assert 0.0 < four(PCA(2).fit(X), X[:9]) <= 1.0


# --- entropy --------------------------------------------------------------------------------------

UNIFORM = 0.5 * np.log(12.0) - 0.5 * np.log(2 * np.pi * np.e)  # of deviation 1, less the normal


def normal(n, d, seed):
    return np.random.default_rng(seed).standard_normal((n, d))


def mean_and_error(scores):
    return np.mean(scores), np.std(scores, ddof=1) / len(scores) ** 0.5


@pytest.mark.parametrize("n", [200, 1000])
@pytest.mark.parametrize("d", [1, 2, 5, 10, 20])
def test_independent_components_score_the_same_however_many(n, d, random_seed):
    rngs = [np.random.default_rng([random_seed, i]) for i in range(8)]
    for truth, draw in ((0.0, "standard_normal"), (UNIFORM, "random")):
        tables = (getattr(rng, draw)((n, d)) for rng in rngs)
        mean, error = mean_and_error([code_entropy_scorer(GIVEN, Z) for Z in tables])
        # The normal rows beside them are few, and scatter as these do.
        assert abs(mean - truth) < 4 * error * (1 + 8 / 4) ** 0.5 + 0.02


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_correlation_costs_what_it_tells(rho, random_seed):
    rng = np.random.default_rng(random_seed)
    root = np.linalg.cholesky(np.full((3, 3), rho) + (1 - rho) * np.eye(3))
    scores = [code_entropy_scorer(GIVEN, rng.standard_normal((500, 3)) @ root.T) for _ in range(8)]
    mean, error = mean_and_error(scores)
    truth = np.log(np.linalg.det(root @ root.T)) / 2 / 3
    assert abs(mean - truth) < 4 * error * (1 + 8 / 4) ** 0.5 + 0.02


def test_mixed_skewed_components_have_the_entropy_of_the_mixture(random_seed):
    """h(A s) = sum h(s_a) + log |det A|, by this score and by its definition."""
    rng = np.random.default_rng(random_seed)
    A = np.array([[1.0, 0.5], [0.0, 1.0]])
    tables = [rng.gamma(2.0, size=(1000, 2)) @ A.T for _ in range(8)]
    # Deviations are sqrt(2) sqrt(1 + 1/4) and sqrt(2).
    truth = (
        2 * gamma(2.0).entropy() - np.log(2.0) - np.log(1.25) / 2 - np.log(2 * np.pi * np.e)
    ) / 2
    mean, error = mean_and_error([code_entropy_scorer(GIVEN, Z) for Z in tables])
    assert abs(mean - truth) < 4 * error * (1 + 8 / 4) ** 0.5 + 0.01
    standard = (StandardScaler().fit_transform(Z) for Z in tables)
    mean, error = mean_and_error(
        [(knn_entropy(Z) - np.log(2 * np.pi * np.e)) / 2 for Z in standard]
    )
    assert abs(mean - truth) < 4 * error + 0.02


def test_unit_place_and_order_of_components_are_no_merit(random_seed):
    rng = np.random.default_rng(random_seed)
    Z = rng.gamma(2.0, size=(300, 3)) @ rng.standard_normal((3, 3))
    found = code_entropy_scorer(GIVEN, Z)
    moved = (1000.0 + Z * [1e-6, 1.0, -1e6])[:, [2, 0, 1]]
    assert code_entropy_scorer(GIVEN, moved) == pytest.approx(found, abs=1e-6)
    assert code_entropy_scorer(GIVEN, Z.astype(np.float32)) == pytest.approx(found, abs=1e-3)
    assert code_entropy_scorer(GIVEN, Z) == found


def test_dependence_without_correlation_is_seen(random_seed):
    Z = normal(1000, 2, random_seed)
    bent = np.column_stack([Z[:, 0], Z[:, 0] ** 2 + 0.3 * Z[:, 1]])
    alone = np.column_stack([Z[:, 0], np.random.default_rng(1).permutation(bent[:, 1])])
    assert abs(np.corrcoef(bent.T)[0, 1]) < 0.2
    assert code_entropy_scorer(GIVEN, bent) < code_entropy_scorer(GIVEN, alone) - 0.3


def test_search_among_reconstructions_that_are_entropic_enough():
    """As its docstring advises: the greatest entropy alone takes what says least of the rows."""
    X = load_iris().data
    steps = Pipeline([("code", PCA(2)), ("bend", None)])
    grid = {"code__n_components": [1, 2], "bend": ["passthrough", NORMAL]}

    def r2(model, X, y=None):
        rest = X - model.inverse_transform(model.transform(X))
        return 1.0 - np.square(rest).sum() / np.square(X - X.mean(axis=0)).sum()

    def best(results):
        allowed = results["mean_test_entropy"] > -0.3
        return np.where(allowed, results["mean_test_r2"], -np.inf).argmax()

    order = np.random.default_rng(0).permutation(len(X))
    scoring = {"r2": r2, "entropy": code_entropy_scorer}
    options = {"scoring": scoring, "cv": 3, "error_score": "raise"}
    search = GridSearchCV(steps, grid, refit=best, **options).fit(X[order])
    by_entropy, by_r2 = (
        search.cv_results_[f"rank_test_{name}"].argmin() for name in ("entropy", "r2")
    )
    assert search.best_params_ == {"bend": NORMAL, "code__n_components": 2}
    assert search.cv_results_["params"][by_entropy]["code__n_components"] == 1
    assert search.cv_results_["params"][by_r2]["bend"] == "passthrough"


def test_codes_without_a_density_are_refused():
    Z = normal(60, 3, 0)
    dead, planar, sparse, equal = Z.copy(), Z.copy(), np.maximum(Z, 0.0), Z.copy()
    dead[:, 1], planar[:, 2], equal[:5] = 0.1, Z[:, 0] + Z[:, 1], Z[0]
    messages = {
        r"Got codes with constant columns \[1\], expected": dead,
        "Got codes of 3 columns in 2 dimensions, expected": planar,
        r"Got codes, component 0, with \d+ equal rows, expected": sparse[(sparse > 0).any(axis=1)],
        "Got codes with 5 equal rows, expected": equal,
        "Got normal scores of codes of 4 columns in 3 dimensions": np.hstack([Z, Z[:, :1] ** 3]),
        "Got 12 rows to score by 3 neighbours of codes of 3 components, expected at least 13": Z[
            :12
        ],
    }
    for message, codes in messages.items():
        with pytest.raises(ValueError, match=message):
            code_entropy_scorer(GIVEN, codes)
    with pytest.raises(ValueError, match="Input codes contains NaN"):
        code_entropy_scorer(GIVEN, np.where(Z > 2.0, np.nan, Z))
    with pytest.raises(TypeError, match="Got n_neighbors='a', expected an integer"):
        code_entropy_scorer(GIVEN, Z, n_neighbors="a")
    assert np.isfinite(code_entropy_scorer(GIVEN, Z[:13]))
