"""What the page "What you can rely on" promises and no other test shows."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from skrae import RegularizedAutoEncoderScore
from tests.benchmarks.reliability_accuracy import CONDITIONS, OFFSETS, largest_error
from tests.density.estimators import quick_estimator


@pytest.fixture(scope="module")
def X():
    angles = np.random.default_rng(0).uniform(0.0, 6.0, 200)
    noise = 0.1 * np.random.default_rng(1).standard_normal((200, 2))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) + noise


@pytest.mark.parametrize("offset", OFFSETS)
def test_log_density_is_exact_at_any_offset(offset):
    assert largest_error(offset=offset) < 1e-13


@pytest.mark.parametrize("condition", CONDITIONS)
def test_log_density_loses_digits_by_the_condition_alone(condition):
    assert largest_error(condition=condition) < 1e-13 + 2e-15 * condition**0.5


def test_fits_side_by_side_in_threads_are_those_one_after_another(X):
    """Four fits of four seeds, each asked in its thread."""

    def fitted(seed):
        model = quick_estimator(random_state=seed, max_iter=30).fit(X)
        return model.score_samples(X), model.log_density_hessian(X)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fitted, range(4)))
    for found, expected in zip(together, map(fitted, range(4)), strict=True):
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_one_model_is_asked_by_many_threads(X):
    model = quick_estimator().fit(X)
    expected = model.score_samples(X), model.log_density_gradient(X)
    model = quick_estimator().fit(X)  # nothing of it is built yet
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(model.score_samples, X) for _ in range(16)]
        asked += [pool.submit(model.log_density_gradient, X) for _ in range(16)]
        for i, answer in enumerate(asked):
            np.testing.assert_array_equal(answer.result(), expected[i // 16])


def test_a_fit_of_two_threads_is_that_of_one_up_to_rounding(X):
    scores, before = [], torch.get_num_threads()
    try:
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            scores.append(quick_estimator().fit(X).score_samples(X))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*scores, atol=1e-3)


def test_an_option_of_two_fits_side_by_side_is_its_own(X):
    """A time limit in one thread ends no fit in another."""

    def fit(time_limit):
        return quick_estimator(time_limit=time_limit).fit(X).n_iter_

    with ThreadPoolExecutor(2) as pool, pytest.warns(match="reached its time_limit"):
        limited, free = pool.map(fit, (1e-6, None))
    assert limited == 0
    assert free == quick_estimator().fit(X).n_iter_


def test_a_fit_that_fails_leaves_the_model_as_it_was(X):
    model = RegularizedAutoEncoderScore(max_iter=5, max_mixtures=1, random_state=0).fit(X)
    before = dict(vars(model))
    with pytest.raises(ValueError, match="infinity"):
        model.fit(np.where(X > 0.9, np.inf, X))
    assert vars(model) == before
