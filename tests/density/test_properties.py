"""Any finite table: a clear error before any state changes, or finite answers as documented."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from tests.density.estimators import quick_estimator

REFUSALS = ("all equal", "all constant", "with a standard deviation of")
OVERFLOW = "overflows float32"
DTYPES = ("f8", "f4", ">f8", ">f4", "i8", "i4", "u1", "bool")


def as_memmap(X):
    """The rows in a file, read-only, as joblib hands them to a worker."""
    path = Path(tempfile.mkdtemp()) / "rows.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


def as_read_only(X):
    """A copy that cannot be written to."""
    X = X.copy()
    X.setflags(write=False)
    return X


def as_data_frame(X):
    """A pandas DataFrame, or the array where there is no pandas."""
    try:
        import pandas as pd
    except ImportError:
        return X
    return pd.DataFrame(
        X.astype(X.dtype.newbyteorder("=")), columns=[f"c{j}" for j in range(X.shape[1])]
    )


CONTAINERS = {
    "array": np.asarray,
    "list": np.ndarray.tolist,
    "DataFrame": as_data_frame,
    "memmap": as_memmap,
    "read-only": as_read_only,
    "Fortran": np.asfortranarray,
    "negative strides": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "every other": lambda X: np.repeat(np.repeat(X, 2, axis=0), 2, axis=1)[::2, ::2],
}


@st.composite
def tables(draw):
    """A finite table, of any scale, offset and dtype, with repeated and constant parts."""
    n = draw(st.one_of(st.integers(2, 12), st.integers(13, 60)))
    d = draw(st.one_of(st.integers(1, 4), st.integers(5, 60)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    X = rng.standard_t(3, (n, d)) if draw(st.booleans()) else rng.standard_normal((n, d))
    kind = draw(st.sampled_from(["plain", "integers", "duplicates", "constants", "collinear"]))
    if kind == "integers":
        X = np.round(2.0 * X)
    elif kind == "duplicates":
        X = X[rng.integers(0, draw(st.integers(1, n)), n)]
    elif kind == "constants":
        X[:, rng.random(d) < 0.5] = 3.0
    elif kind == "collinear":
        X[:, -1] = X[:, 0]
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    if dtype.kind == "f":
        largest = 30 if dtype.itemsize == 4 else 170
        exponents = draw(st.sampled_from([0, 3, largest]))
        X = X * 10.0 ** rng.uniform(-exponents, exponents, d if draw(st.booleans()) else 1)
        X = X + draw(st.sampled_from([0.0, 1.0, 1e6])) * np.abs(X).max()
        return X.astype(dtype)
    # Not every integer type holds negative numbers.
    limit = 1 if dtype.kind == "b" else 100 if dtype.itemsize == 1 else 10**6
    return (np.clip(np.abs(X) / np.abs(X).max(initial=1e-300), 0.0, 1.0) * limit).astype(dtype)


def answers(model, X):
    """The answer to every question by name; None where it is said to overflow float32."""
    questions = {
        "score_samples": model.score_samples,
        "base_log_density": model.base_log_density,
        "log_density_gradient": model.log_density_gradient,
        "log_density_hessian": model.log_density_hessian,
        "transform": model.transform,
        "reconstruct": model.reconstruct,
        "local_covariance": lambda X: model.local_moments(X)[1],
        "sample": lambda X: np.asarray(model.sample(5, random_state=0)),
    }
    if model.decoder != "gradient":
        questions["inverse_transform"] = lambda X: model.inverse_transform(model.transform(X))
    found = {}
    for name, question in questions.items():
        try:
            with warnings.catch_warnings():
                # What six steps leave may be flat, or hard to draw from.
                warnings.filterwarnings("ignore", ".* rows get the gradient of", UserWarning)
                warnings.filterwarnings("ignore", "The chains", ConvergenceWarning)
                found[name] = question(X)
        except ValueError as error:
            if OVERFLOW not in str(error):
                raise
            found[name] = None
    return found


def fit_or_refusal(model, X):
    """The fitted model, or None where fit refused with a clear message and set nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore",
            "Got (constant|collinear) columns|Got .* expected (more rows|none)",
            UserWarning,
        )
        warnings.filterwarnings("ignore", "Got a log Z that differs", ConvergenceWarning)
        try:
            return model.fit(X)
        except ValueError as error:
            if not any(words in str(error) for words in REFUSALS):
                raise
    assert [name for name in vars(model) if name.endswith("_")] == []
    return None


NETWORKS = (
    {"noise_covariance": "local"},
    {"noise_covariance": "isotropic"},
    {"bias_correction": True},
    {"decoder": "free"},
    {"decoder": "free", "activation": "relu", "contraction_weight": 0.1},
    {"decoder": "free", "bias_correction": True},
    {"decoder": "tied"},
    {"decoder": "tied", "activation": "relu", "contraction_weight": 0.1},
    {"decoder": "tied", "bias_correction": True},
)
PARAMETERS = {"max_iter": 6, "hidden_layer_sizes": (6,), "base_density": "mixture"}


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=tables(),
    container=st.sampled_from(sorted(CONTAINERS)),
    scaling=st.sampled_from(["whiten", "standardize"]),
    network=st.sampled_from(NETWORKS),
    noise_level=st.sampled_from(["auto", 0.3]),
)
def test_any_finite_table(table, container, scaling, network, noise_level):
    options = {**PARAMETERS, "scaling": scaling, "noise_level": noise_level, **network}
    X = CONTAINERS[container](table)
    model = fit_or_refusal(quick_estimator(**options), X)
    assert_array_equal(np.asarray(X), table)
    if model is None:
        return
    if model.table_ is not None:
        check_raw_answers(model, X)
        return
    (n, d), narrow = table.shape, getattr(X, "dtype", None) == np.float32
    if container == "DataFrame":
        narrow = table.dtype.newbyteorder("=") == np.float32
    shapes = {
        "score_samples": (n,),
        "base_log_density": (n,),
        "log_density_gradient": (n, d),
        "log_density_hessian": (n, d, d),
        "transform": (n, 6),
        "reconstruct": (n, d),
        "local_covariance": (n, d, d),
        "sample": (5, d),
        "inverse_transform": (n, d),
    }
    found = answers(model, X)
    assert_array_equal(np.asarray(X), table)
    for name, answer in found.items():
        if answer is None:
            assert narrow, name
            continue
        assert answer.shape == shapes[name], name
        assert answer.dtype == (np.float32 if narrow else np.float64), name
        assert np.isfinite(answer).all(), name
    again = fit_or_refusal(quick_estimator(**options), X)
    assert_array_equal(again.score_samples(X), found["score_samples"])
    check_row_order(model, table, found["score_samples"], np.random.default_rng(n))


def check_raw_answers(model, X):
    """Of a table in which flags, cells or atoms were found."""
    n, d = np.shape(X)
    shapes = {
        "score_samples": (n,),
        "log_density_gradient": (n, d),
        "log_density_hessian": (n, d, d),
        "transform": (n, 6),
    }
    for name, shape in shapes.items():
        answer = getattr(model, name)(X)
        assert answer.shape == shape, name
        assert np.isfinite(answer).all(), name
    assert np.shape(model.reconstruct(X)) == (n, d)
    assert np.shape(model.sample(5, 0)) == (5, d)


def check_row_order(model, table, log_density, rng):
    """Rows in another order get the same answers, but for the order of summation."""
    order = rng.permutation(len(table))
    limit = 1e-4 if log_density.dtype == np.float32 else 1e-6
    with warnings.catch_warnings():
        # The model may know the names of a DataFrame's columns, and the array has none.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        shuffled = model.score_samples(table[order].astype(log_density.dtype))
    np.testing.assert_allclose(
        shuffled, log_density[order], rtol=limit, atol=limit * max(1.0, table.shape[1])
    )


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(10, 60),
    exponent=st.integers(-30, 30),
    noise_level=st.floats(0.01, 3.0),
    contraction_weight=st.floats(0.0, 1.0),
    learning_rate=st.floats(1e-6, 10.0),
    calibration_weight=st.floats(1e-3, 100.0),
    batch_size=st.integers(1, 300),
    validation_fraction=st.floats(0.01, 0.99),
)
def test_any_valid_options(seed, n, exponent, **options):
    """However bad the options, the answers are finite and the model no worse than its base."""
    X = np.random.default_rng(seed).standard_normal((n, 2)) * 10.0**exponent
    model = quick_estimator(max_iter=12, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got a log Z that differs")
        model.fit(X)
    assert all(np.isfinite(answer).all() for answer in answers(model, X).values())
    if model.coefs_[-1].any():
        assert model.noise_level_scores_.max() > model.base_score_


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_of_equal_rows_give_equal_models(name, random_seed):
    X = np.random.default_rng(random_seed).standard_normal((30, 3))
    expected = quick_estimator(max_iter=6).fit(X)
    found = quick_estimator(max_iter=6).fit(CONTAINERS[name](X))
    rows = CONTAINERS[name](X)
    np.testing.assert_allclose(found.score_samples(rows), expected.score_samples(X), rtol=1e-6)
