"""Warnings point at the caller's line; errors of linear algebra are told in the library's words."""

import inspect
import warnings

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrae import RAESampler
from skrae.preprocessing.contract.caller import in_own_state, warn

LIBRARY = {"__name__": "skrae.somewhere"}
exec("def outer(function, *arguments): return function(*arguments)", LIBRARY)


def line_after():
    """The number of the line after next of the caller."""
    return inspect.currentframe().f_back.f_lineno + 2


def test_a_warning_skips_every_frame_of_the_library():
    outer = LIBRARY["outer"]
    line = line_after()
    with pytest.warns(RuntimeWarning, match="deep") as caught:
        outer(outer, outer, warn, "deep", RuntimeWarning)
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


def test_a_warning_skips_the_frames_of_scikit_learn():
    """As of a Pipeline that asks one of its steps."""
    LIBRARY["warn"] = warn
    exec("def warned(X):\n    warn('asked')\n    return X", LIBRARY)
    pipeline = make_pipeline(FunctionTransformer(LIBRARY["warned"])).fit([[1.0]])
    line = line_after()
    with pytest.warns(UserWarning, match="asked") as caught:
        pipeline.transform([[1.0]])
    assert (caught[0].filename, caught[0].lineno) == (__file__, line)


def test_an_error_filter_raises_at_once():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="now"):
            warn("now")


NOT_A_NUMBER = torch.full((2, 2), torch.nan, dtype=torch.float64)
BROKEN = {
    "cholesky": lambda: torch.linalg.cholesky(-torch.eye(2)),
    "inverse": lambda: torch.linalg.inv(torch.zeros(2, 2)),
    "svd": lambda: torch.linalg.svd(NOT_A_NUMBER),
    "draws": lambda: torch.multinomial(NOT_A_NUMBER[0], 2),
    "overflow": lambda: torch.zeros(2).fill_(1e300),
    "numpy": lambda: np.linalg.cholesky(-np.eye(2)),
}


def of_the_library(function):
    """The function as if a module of the library had it."""
    return type(function)(function.__code__, {**globals(), **LIBRARY})


@pytest.mark.parametrize("name", BROKEN)
def test_numbers_that_break_linear_algebra_are_a_value_error(name):
    with pytest.raises(ValueError, match=r"Got numbers that .* of <lambda> breaks") as caught:
        in_own_state(of_the_library(BROKEN[name]))()
    assert caught.value.__cause__ is not None
    assert str(caught.value.__cause__).splitlines()[0] in str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_the_same_error_of_code_of_the_caller_passes(name):
    """Though the library called it, and torch or NumPy raised it."""
    call = LIBRARY["outer"]
    with pytest.raises((RuntimeError, np.linalg.LinAlgError)) as caught:
        in_own_state(call)(BROKEN[name])
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "mistake", [lambda: torch.zeros(2) @ torch.zeros(3), lambda: exec("raise RecursionError")]
)
def test_errors_that_no_numbers_are_to_blame_for_pass(mistake):
    with pytest.raises(RuntimeError):
        in_own_state(of_the_library(mistake))()


@pytest.mark.parametrize("name", ["cholesky", "numpy"])
def test_an_error_of_a_foreign_estimator_reaches_its_author(name):
    class Foreign(GaussianMixture):
        def score_samples(self, X):
            return BROKEN[name]()

    mixture = Foreign().fit(np.random.default_rng(0).standard_normal((20, 2)))
    with pytest.raises((RuntimeError, np.linalg.LinAlgError)) as caught:
        RAESampler(mixture, n_chains=4, n_warmup=4).sample(2)
    assert caught.value.__cause__ is None
