"""Many rows are answered block by block: the answers are those of each row alone."""

import gc
import pickle
import weakref

import numpy as np
import pytest

from skrae.datasets import Banana
from skrae.density import fitted
from skrae.preprocessing.blocks import BLOCK_ROWS
from tests.density.estimators import quick_estimator

QUESTIONS = "score_samples", "log_density_gradient", "reconstruct", "transform", "base_log_density"
N_ROWS = BLOCK_ROWS + 10


@pytest.fixture(scope="module")
def model():
    return quick_estimator(device="cpu").fit(Banana().sample(600, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("question", QUESTIONS)
def test_rows_beyond_a_block_are_answered_as_if_alone(model, question, dtype, random_seed):
    X = Banana().sample(N_ROWS, random_seed).astype(dtype)
    asked = X.copy()
    answer = getattr(model, question)(X)
    assert len(answer) == N_ROWS
    assert answer.dtype == dtype
    np.testing.assert_array_equal(X, asked)
    for some in (slice(0, 3), slice(BLOCK_ROWS - 2, BLOCK_ROWS + 2), slice(-3, None)):
        alone = getattr(model, question)(X[some])
        # Products of few rows round differently.
        scale = np.finfo(dtype).eps * (1.0 + np.abs(alone).max())
        np.testing.assert_allclose(answer[some], alone, rtol=0, atol=500 * scale)


def test_a_row_too_far_is_named_by_its_place_among_all(model):
    X = Banana().sample(N_ROWS, 0)
    X[BLOCK_ROWS + 4] = 1e200
    with pytest.raises(ValueError, match=rf"Got row {BLOCK_ROWS + 4} at .* spreads from"):
        model.score_samples(X)


def test_a_model_that_is_its_base_answers_without_a_network():
    """The head is zero: f = 0 exactly, whatever the layers below it hold."""
    alone = quick_estimator(device="cpu").fit(Banana().sample(600, 0))
    alone.coefs_[-1], alone.intercepts_[-1] = np.zeros((16, 1)), np.zeros(1)
    alone.coefs_[0] = np.full_like(alone.coefs_[0], np.nan)
    X = Banana().sample(20, 1)
    expected = alone.base_log_density(X) - alone.log_normalizer_
    np.testing.assert_allclose(alone.score_samples(X), expected, rtol=1e-13)
    assert np.isfinite(alone.log_density_gradient(X)).all()


# What is built once for a fitted state


@pytest.fixture
def built(monkeypatch):
    """Counts the evaluators that are built."""
    names = []
    build = fitted.Evaluator

    def counted(*arguments):
        names.append(np.dtype(arguments[2]).name)
        return build(*arguments)

    monkeypatch.setattr(fitted, "Evaluator", counted)
    return names


def test_questions_share_what_they_are_asked_of(built):
    X = Banana().sample(50, 0)
    model = quick_estimator(max_iter=6).fit(X)
    for _ in range(3):
        model.score_samples(X)
        model.log_density_gradient(X)
        model.reconstruct(X.astype(np.float32))
    assert built == ["float64", "float32"]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: setattr(model, "log_normalizer_", model.log_normalizer_ + 5.0),
        lambda model: setattr(model, "base_means_", model.base_means_ + 1.0),
        lambda model: model.coefs_.__setitem__(-1, model.coefs_[-1] + 1.0),
        lambda model: model.fit(Banana().sample(60, 1)),
    ],
    ids=["scalar", "array", "array in a list", "fit"],
)
def test_another_fitted_state_is_built_anew(change):
    X = Banana().sample(50, 0)
    model = quick_estimator(max_iter=6, base_density="mixture").fit(X)
    before = model.score_samples(X)
    change(model)
    fresh = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(model.score_samples(X), fresh.score_samples(X))
    assert not np.array_equal(model.score_samples(X), before)


def test_questions_leave_neither_attributes_nor_pickles_behind():
    X = Banana().sample(50, 0)
    model = quick_estimator(max_iter=6).fit(X)
    attributes, pickled = set(vars(model)), pickle.dumps(model)
    model.score_samples(X)
    assert set(vars(model)) == attributes
    assert pickle.dumps(model) == pickled


def test_what_was_built_goes_with_the_estimator():
    model = quick_estimator(max_iter=6).fit(Banana().sample(50, 0))
    model.score_samples(Banana().sample(5, 0))
    assert model in fitted._BUILT
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
