"""The estimator inside scikit-learn's tools: pipelines, searches, routed weights, processes."""

import warnings

import numpy as np
import pytest
from sklearn import config_context
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import RegularizedAutoEncoderScore, datasets
from tests.density.estimators import quick_estimator


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows of a thickened circle."""
    return datasets.Ring().sample(240, random_seed)


def test_search_in_a_pipeline_and_two_processes(X):
    """Default scoring picks by held-out normalised log density, the same in any process."""
    pipeline = Pipeline([("scale", StandardScaler()), ("density", quick_estimator())])
    grid = {
        "density__contraction_weight": [0.0, 10.0],
        "density__noise_level": [0.2, 3.0],
    }
    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=2).fit(X)
    scores = search.cv_results_["mean_test_score"].reshape(2, 2)
    assert np.isfinite(scores).all()
    assert search.best_score_ == scores.max()
    assert search.best_params_ == {
        "density__contraction_weight": 0.0,
        "density__noise_level": 0.2,
    }
    assert search.score(X) == pytest.approx(search.best_estimator_.score(X))
    alone = GridSearchCV(pipeline, {"density__noise_level": [0.2]}, cv=2, n_jobs=1).fit(X)
    assert alone.best_score_ == pytest.approx(scores[0, 0], rel=1e-6)


def test_normalised_score_ranks_as_the_truth_where_the_unnormalised_does_not(random_seed):
    """Hardly calibrated, the mean of log p~ ranks noise levels by the constant it lacks."""
    density = datasets.Ring(thickness=0.2)
    X, fresh = density.sample(900, random_seed), density.sample(2000, random_seed + 1)
    models = [
        quick_estimator(
            noise_level=noise_level,
            noise_covariance="isotropic",
            calibration_weight=1e-3,
            hidden_layer_sizes=(32, 32),
            max_iter=150,
        ).fit(X)
        for noise_level in (0.1, 0.2, 0.4)
    ]
    normalised = np.array([model.score(fresh) for model in models])
    unnormalised = normalised + [model.log_normalizer_ for model in models]
    assert (normalised < density.log_density(fresh).mean()).all()
    # Coarse noise blurs the ring: the truth ranks it last, the unnormalised mean ranks otherwise.
    assert np.argmin(normalised) == 2
    assert (np.argsort(unnormalised) != np.argsort(normalised)).any()


def test_processes_give_the_same_scores(X):
    model = quick_estimator(max_iter=30)
    one, two = (cross_val_score(model, X, cv=2, n_jobs=n) for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_threads_give_the_same_scores(X):
    from joblib import parallel_backend

    model = quick_estimator(max_iter=30)
    expected = cross_val_score(model, X, cv=3)
    with parallel_backend("threading", n_jobs=2):
        np.testing.assert_allclose(cross_val_score(model, X, cv=3), expected, rtol=1e-6)


def test_weights_are_routed_through_a_search(X):
    """Rows of weight zero, far away, are as if they were not there; unrouted, they are."""
    far = X + 100.0
    rows, weights = np.vstack([X, far]), np.repeat([1.0, 0.0], len(X))
    order = np.random.default_rng(0).permutation(len(rows))
    rows, weights = rows[order], weights[order]
    with config_context(enable_metadata_routing=True):
        model = quick_estimator(max_iter=30)
        model.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        grid = {"regularizedautoencoderscore__noise_level": [0.2, 0.4]}
        search = GridSearchCV(make_pipeline(model), grid, cv=2)
        search.fit(rows, sample_weight=weights)
    # The training part's mean is near that of all rows.
    near = 4.0 * X.std(axis=0).max() / np.sqrt(len(X))
    assert search.best_estimator_[-1].location_ == pytest.approx(X.mean(axis=0), abs=near)
    # The density of X alone: with the far rows, half of the mass would be there.
    assert search.score(X) > search.score(far) + 5.0
    plain = GridSearchCV(make_pipeline(quick_estimator(max_iter=30)), grid, cv=2).fit(rows)
    assert plain.best_estimator_[-1].location_ == pytest.approx(rows.mean(axis=0), abs=20.0)
    assert search.best_score_ > plain.best_score_ + 0.3


def test_a_search_in_which_no_network_beats_the_base_says_that_its_cells_tie():
    """One Gaussian is the law: every noise level leaves the base, and every score is the same."""
    X = np.random.default_rng(0).standard_normal((300, 2))
    levels = {"noise_level": [0.1, 0.3]}
    search = GridSearchCV(quick_estimator(max_iter=1), levels, cv=2)
    with pytest.warns(UserWarning, match=r"With noise_level=0\.\d no network beat .* one score"):
        search.fit(X)
    assert np.ptp(search.cv_results_["mean_test_score"]) == 0.0


def test_a_base_that_wins_by_default_is_no_news():
    X = np.random.default_rng(0).standard_normal((100, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = RegularizedAutoEncoderScore(max_iter=12, random_state=0).fit(X)
    assert model.network_gain_ == 0.0
