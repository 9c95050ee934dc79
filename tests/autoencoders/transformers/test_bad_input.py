"""Bad options, rows, weights and codes: what was got and what is expected; nothing is lost."""

import copy
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_equal
from scipy.sparse import csr_array
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture

from skrae import AutoEncoder
from skrae.autoencoders.transformers.options import (
    AUTO_ENCODER_CHOICES,
    AUTO_ENCODER_INTERVALS,
    WEIGHTS,
)
from tests.autoencoders.transformers.estimators import (
    BAD_SHARED_VALUES,
    ROW_QUESTIONS,
    quick_auto_encoder,
    state_of,
)

QUESTIONS = ("score", *ROW_QUESTIONS)


@pytest.fixture(scope="module")
def X(random_seed):
    """Forty rows of three features."""
    return np.random.default_rng(random_seed).standard_normal((40, 3))


@pytest.fixture(scope="module")
def fitted(X):
    """A fitted model, for tests that leave it as it is."""
    return quick_auto_encoder(max_iter=3).fit(X)


@pytest.fixture(autouse=True)
def state_is_kept(fitted):
    """Whatever a test asks of the fitted model, its attributes stay as they were."""
    before = copy.deepcopy(state_of(fitted))
    yield
    assert_equal(state_of(fitted), before)


def with_value(X, value):
    """A copy of X with one entry replaced."""
    changed = X.copy()
    changed[3, 1] = value
    return changed


def refused(model, X, message, error=ValueError):
    """A fit that raises and sets nothing."""
    with pytest.raises(error, match=message):
        model.fit(X)
    assert [name for name in vars(model) if name.endswith("_")] == []


# --- rows -----------------------------------------------------------------------------------------

# name: (rows made from good ones, error, its message)
BAD_ROWS = {
    "nan": (
        lambda X: with_value(X, np.nan),
        ValueError,
        "Got X with NaN in 1 of 40 rows, the first in row 3, expected finite numbers",
    ),
    "inf": (lambda X: with_value(X, np.inf), ValueError, "contains infinity"),
    "words": (lambda X: [["a", "b", "c"]] * 5, ValueError, "could not convert string to float"),
    "sparse": (csr_array, TypeError, "Sparse data was passed.*dense data is required"),
    "complex": (lambda X: X + 1j, ValueError, "Complex data not supported"),
    "one dimension": (lambda X: X[0], ValueError, "Expected 2D array, got 1D array"),
    "three dimensions": (lambda X: X[None], ValueError, "array with dim 3"),
    "no rows": (lambda X: X[:0], ValueError, r"0 sample\(s\).* minimum of"),
    "no columns": (lambda X: X[:, :0], ValueError, r"0 feature\(s\).* minimum of 1"),
}
BAD_ROWS_TO_FIT = {
    **BAD_ROWS,
    "one row": (lambda X: X[:1], ValueError, r"1 sample\(s\).* minimum of 2"),
    "equal rows": (
        lambda X: np.repeat(X[:1], 9, axis=0),
        ValueError,
        "Got 9 row.* all equal, expected at least two different",
    ),
    "equal but for rounding": (
        lambda X: 1.0 + 1e-16 * np.arange(27).reshape(9, 3),
        ValueError,
        "all constant up to rounding, expected at least one that varies",
    ),
    "too wide": (
        lambda X: 1e200 * X,
        ValueError,
        r"Got a column with a range of .*e.200 .*expected units .* between 0 and 1e\+140",
    ),
}


@pytest.mark.parametrize("name", BAD_ROWS_TO_FIT)
def test_bad_rows_are_refused_by_fit(name, fitted, X):
    spoil, error, message = BAD_ROWS_TO_FIT[name]
    with pytest.raises(error, match=message):
        fitted.fit(spoil(X))
    refused(quick_auto_encoder(), spoil(X), message, error)


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_rows_are_refused_by_every_question(name, fitted, X):
    spoil, error, message = BAD_ROWS[name]
    for question in QUESTIONS:
        with pytest.raises(error, match=message):
            getattr(fitted, question)(spoil(X))
    if name != "nan":
        with pytest.raises(error, match=message):
            fitted.impute(spoil(X))


@pytest.mark.parametrize("question", [*QUESTIONS, "impute"])
def test_wrong_number_of_features_is_refused(question, fitted, X):
    with pytest.raises(ValueError, match="X has 2 features, but AutoEncoder is expecting 3"):
        getattr(fitted, question)(X[:, :2])


def test_misnamed_columns_are_refused(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = quick_auto_encoder(max_iter=3).fit(frame)
    for question in (*QUESTIONS, "impute"):
        with pytest.raises(ValueError, match="feature names should match"):
            getattr(model, question)(frame[["b", "a", "c"]])
    with pytest.raises(ValueError, match="Got X with NaN"):
        model.fit(frame.rename(columns={"a": "z"}).mask(frame > 0))
    assert list(model.feature_names_in_) == ["a", "b", "c"]


@pytest.mark.parametrize("question", [*QUESTIONS, "impute", "inverse_transform"])
def test_an_unfitted_auto_encoder_says_so(question, X):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(AutoEncoder(), question)(X)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        AutoEncoder().get_feature_names_out()


@pytest.mark.parametrize("factor", [1e-20, 1e20])
def test_columns_that_float32_cannot_square_are_scaled_or_refused(factor, X):
    message = r"range of .* and scaling=None, expected units .* between 1e-15 and 1e\+15"
    refused(quick_auto_encoder(scaling=None), factor * X, message)
    model = quick_auto_encoder(max_iter=3).fit(factor * X)
    np.testing.assert_allclose(model.scale_, factor * X.std(axis=0))


def test_answers_beyond_float32_are_refused():
    rng = np.random.default_rng(0)
    X = rng.uniform(-3e38, 3e38, (60, 3)).astype(np.float32)
    model = quick_auto_encoder(max_iter=3).fit(X)
    assert np.isfinite(model.reconstruct(X / 4)).all()
    codes = np.full((1, 2), 1e6, np.float32)
    with pytest.raises(ValueError, match=r"Got .* overflows float32, expected .*float64"):
        model.inverse_transform(codes)
    assert np.isfinite(model.inverse_transform(codes.astype(np.float64))).all()


# --- codes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3])
def test_a_code_of_another_width_is_refused(width, fitted):
    message = f"Got X with {width} columns, expected 2, the size of a code"
    with pytest.raises(ValueError, match=message):
        fitted.inverse_transform(np.zeros((4, width)))


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((4, 2), np.nan), "Input X contains NaN"),
        (np.full((4, 2), np.inf), "Input X contains infinity"),
        (np.zeros(2), "Expected 2D array, got 1D array"),
        (np.zeros((0, 2)), r"0 sample\(s\)"),
        ([["a", "b"]], "could not convert string to float"),
    ],
)
def test_bad_codes_are_refused(codes, message, fitted):
    with pytest.raises(ValueError, match=message):
        fitted.inverse_transform(codes)


# --- weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(40), "zeros alone, expected at least one positive"),
        (np.full(40, -1.0), "sample_weight with -1.0, expected weights >= 0"),
        (np.ones(39), r"shape \(39,\), expected \(40,\)"),
        (np.ones((40, 1)), r"shape \(40, 1\), expected \(40,\)"),
        (np.r_[np.ones(39), np.nan], "sample_weight contains NaN"),
        (np.r_[np.ones(39), np.inf], "sample_weight contains infinity"),
        (["a"] * 40, "could not convert string to float"),
    ],
)
def test_bad_weights_are_refused(weights, message, fitted, X):
    with pytest.raises(ValueError, match=message):
        fitted.fit(X, sample_weight=weights)
    with pytest.raises(ValueError, match=message):
        fitted.score(X, sample_weight=weights)


def test_weight_on_one_row_alone_is_refused(fitted, X):
    with pytest.raises(ValueError, match=r"Got 1 row.* expected at least two different rows"):
        fitted.fit(X, sample_weight=np.r_[np.zeros(39), 1.0])


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUTO_ENCODER_CHOICES)
@pytest.mark.parametrize("value", ["nonsense", "", 3])
def test_an_unknown_option_is_told_the_valid_ones(name, value, X):
    message = f"Got {name}={re.escape(repr(value))}, expected one of "
    with pytest.raises(ValueError, match=message) as caught:
        quick_auto_encoder(**{name: value}).fit(X)
    assert all(repr(choice) in str(caught.value) for choice in AUTO_ENCODER_CHOICES[name])


BAD_VALUES = {
    **BAD_SHARED_VALUES,
    "noise_level": [-0.1, np.nan, np.inf, None, "auto", [0.1]],
    "sparsity_weight": [-0.1, np.nan, np.inf, None],
    "sparsity_target": [0.0, 1.0, -0.1, np.nan, None],
    "encoder_contraction_weight": [-0.1, np.nan, np.inf, None],
    "distance_weight": [-0.1, np.nan, np.inf, None],
    "information_weight": [-0.1, np.nan, np.inf, None],
    "code_density": ["gaussian", 0, GaussianMixture, KMeans()],
    "n_neighbors": [0, -1, 2.5, None],
}


def test_every_option_has_bad_values():
    assert set(AutoEncoder().get_params()) == set(BAD_VALUES) | set(AUTO_ENCODER_CHOICES)
    assert set(AUTO_ENCODER_INTERVALS) <= set(BAD_VALUES)


@pytest.mark.parametrize("name", BAD_VALUES)
def test_an_option_outside_its_range_is_refused(name, X):
    words = "[Ss]eed" if name == "random_state" else f"Got {name}=.*, expected"
    for value in BAD_VALUES[name]:
        refused(quick_auto_encoder(**{name: value}), X, words, (ValueError, TypeError))


def test_an_option_is_checked_before_the_rows(X):
    refused(quick_auto_encoder(noise="none"), with_value(X, np.nan), "Got noise='none'")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_cuda_without_a_device_is_refused(X):
    refused(quick_auto_encoder(device="cuda"), X, "Got device='cuda', expected 'cpu' or 'auto'")


@pytest.mark.parametrize(("k", "d"), [(3, 3), (4, 3), (1, 1), (3, 2)])
def test_a_code_that_can_copy_the_row_is_refused(k, d, X):
    message = (
        rf"Got n_components={k} for {d} feature\(s\), with {', '.join(WEIGHTS)} all 0, expected"
        " fewer components"
    )
    refused(quick_auto_encoder(n_components=k), X[:, :d], message)


@pytest.mark.parametrize(
    "option",
    [
        "noise_level",
        "sparsity_weight",
        "encoder_contraction_weight",
        "distance_weight",
        "entropy_weight",
        "information_weight",
    ],
)
def test_a_code_that_is_kept_from_copying_may_be_wide(option, X):
    model = quick_auto_encoder(n_components=5, max_iter=3, **{option: 0.1}).fit(X)
    assert model.transform(X).shape == (40, 5)


def test_the_default_code_of_two_columns_passes(X):
    assert AutoEncoder().fit(X[:, :2]).transform(X[:, :2]).shape == (40, 2)


@pytest.mark.parametrize("noise", ["masking", "swap"])
@pytest.mark.parametrize("level", [1.0, 1, 2.5])
def test_a_share_of_all_entries_is_refused(noise, level, X):
    message = rf"Got noise_level={level} with noise='{noise}', expected less than 1"
    refused(quick_auto_encoder(noise=noise, noise_level=level), X, message)
    quick_auto_encoder(noise_level=level, max_iter=3).fit(X)


@pytest.mark.parametrize("code_activation", ["identity", "relu"])
def test_kl_of_codes_that_are_no_probabilities_is_refused(code_activation, X):
    options = {"sparsity": "kl", "code_activation": code_activation}
    message = f"Got sparsity='kl' with code_activation='{code_activation}', expected 'sigmoid'"
    refused(quick_auto_encoder(sparsity_weight=0.1, **options), X, message)
    quick_auto_encoder(max_iter=3, **options).fit(X)


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"code_scaling": "standardize"}, "code_scaling='standardize'"),
        ({"encoder_contraction_weight": 0.1}, "encoder_contraction_weight > 0, which standardises"),
        ({"entropy_weight": 0.1}, "entropy_weight > 0, which standardises"),
        ({"information_weight": 0.1}, "information_weight > 0, which standardises"),
    ],
)
def test_distances_of_a_standardised_code_are_refused(options, cause, X):
    message = rf"Got distance_weight=0.5 with {cause}.*, expected code_scaling=None"
    refused(quick_auto_encoder(distance_weight=0.5, **options), X, message)
    free = {**options, "code_scaling": None}
    quick_auto_encoder(distance_weight=0.5, max_iter=3, **free).fit(X)


@pytest.mark.parametrize("option", ["entropy_weight", "information_weight"])
def test_a_batch_that_is_too_small_to_tell_rows_apart_is_refused(option, X):
    message = "Got batch_size=7 for n_components=2, expected at least 8: entropy and information"
    refused(quick_auto_encoder(batch_size=7, **{option: 0.1}), X, message)
    quick_auto_encoder(batch_size=8, max_iter=3, **{option: 0.1}).fit(X)
    quick_auto_encoder(batch_size=7, max_iter=3, noise_level=0.1, distance_weight=0.1).fit(X)


def geodesic(**options):
    return quick_auto_encoder(distance_weight=1.0, distance="geodesic", max_iter=3, **options)


def test_a_graph_in_parts_is_refused(X):
    parts = np.concatenate([X, X + 100.0])
    message = r"Got distance='geodesic' on a graph of n_neighbors=5 that falls into 2 parts"
    refused(geodesic(n_neighbors=5), parts, message)
    geodesic(n_neighbors=60).fit(parts)


@pytest.mark.parametrize("n_neighbors", [40, 50])
def test_more_neighbours_than_other_rows_are_refused(n_neighbors, X):
    message = f"Got n_neighbors={n_neighbors} for 40 distinct rows, expected fewer"
    refused(geodesic(n_neighbors=n_neighbors), X, message)
    repeated = np.concatenate([X, X])
    refused(geodesic(n_neighbors=n_neighbors), repeated, message)
    geodesic(n_neighbors=39).fit(X)
    quick_auto_encoder(n_neighbors=n_neighbors, max_iter=3).fit(X)


# --- warm start -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 1}, "Got n_components=1, expected 2, that of the networks which"),
        ({"hidden_layer_sizes": (9,)}, r"Got hidden_layer_sizes=\(9,\), expected \(8,\)"),
        ({"activation": "tanh"}, "Got activation='tanh', expected 'silu'"),
        ({"code_activation": "relu"}, "Got code_activation='relu', expected 'identity'"),
    ],
)
def test_a_warm_start_of_other_networks_is_refused(options, message, X):
    model = quick_auto_encoder(max_iter=3, warm_start=True).fit(X)
    before = copy.deepcopy(state_of(model))
    with pytest.raises(ValueError, match=message):
        model.set_params(**options).fit(X)
    own, asked = state_of(model), dict.fromkeys(options)
    assert_equal({**own, **asked}, {**before, **asked})
    assert model.transform(X).shape == (40, 2)
    model.set_params(warm_start=False).fit(X)


def test_a_warm_start_of_another_number_of_features_is_refused(X):
    model = quick_auto_encoder(max_iter=3, warm_start=True).fit(X)
    with pytest.raises(ValueError, match="X has 2 features, but AutoEncoder is expecting 3"):
        model.fit(X[:, :2])
    assert model.transform(X).shape == (40, 2)
