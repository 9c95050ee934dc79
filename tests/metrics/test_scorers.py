"""Scorers of embeddings: their values, pipelines, searches, folds that are too small."""

from functools import partial

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae.metrics import stress, stress_scorer, trustworthiness, trustworthiness_scorer

SCORERS = trustworthiness_scorer, stress_scorer


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
        for scoring in (None, *SCORERS)
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
