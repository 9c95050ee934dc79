"""Ways of a fitted estimator into a file and back."""

import io
import pickle

import joblib
import pytest


def through_pickle(model):
    """The model, pickled and back."""
    return pickle.loads(pickle.dumps(model))


def through_joblib(model):
    """The model, dumped by joblib and back."""
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


def through_skops(model):
    """The model, dumped by skops and back, its class the one type to be trusted."""
    skops = pytest.importorskip("skops.io")
    dumped = skops.dumps(model)
    trusted = [f"{type(model).__module__}.{type(model).__qualname__}"]
    assert skops.get_untrusted_types(data=dumped) == trusted
    return skops.loads(dumped, trusted=trusted)
