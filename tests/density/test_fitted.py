"""Many rows are answered block by block: the answers are those of each row alone."""

import numpy as np
import pytest

from skrae.datasets import Banana
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
