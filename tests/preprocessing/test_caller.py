"""Warnings point at the caller's line."""

import inspect
import warnings

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skrae.preprocessing.caller import warn

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
