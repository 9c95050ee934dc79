"""Bad options, rows and weights: an error that says what was got and expected; nothing is lost."""

import copy
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_equal
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from skrae import RAESampler, RegularizedAutoEncoderScore
from tests.density.estimators import ROW_QUESTIONS, quick_estimator


@pytest.fixture(scope="module")
def X(random_seed):
    """Forty rows of three features."""
    return np.random.default_rng(random_seed).standard_normal((40, 3))


@pytest.fixture(scope="module")
def fitted(X):
    """A fitted model, for tests that leave it as it is."""
    return quick_estimator(max_iter=6).fit(X)


@pytest.fixture(autouse=True)
def state_is_kept(fitted):
    """Whatever a test asks of the fitted model, its attributes stay as they were."""
    before = copy.deepcopy(vars(fitted))
    yield
    assert_equal(vars(fitted), before)


def with_value(X, value):
    """A copy of X with one entry replaced."""
    changed = X.copy()
    changed[3, 1] = value
    return changed


# name: (rows made from good ones, error, its message)
BAD_ROWS = {
    "inf": (lambda X: with_value(X, np.inf), ValueError, "contains infinity"),
    "masked pair": (lambda X: with_value(with_value(X, np.inf), -np.inf), ValueError, "infinity"),
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
    "equal words": (
        lambda X: [["a", "b", "c"]] * 5,
        ValueError,
        "all equal, expected at least two",
    ),
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
        "Got column 0 with .* expected units",
    ),
    "too narrow": (
        lambda X: 1e-200 * X,
        ValueError,
        "Got column 0 with .* expected units",
    ),
}

QUESTIONS = ("score", *ROW_QUESTIONS)


@pytest.mark.parametrize("name", BAD_ROWS_TO_FIT)
def test_bad_rows_are_refused_by_fit(name, fitted, X):
    spoil, error, message = BAD_ROWS_TO_FIT[name]
    with pytest.raises(error, match=message):
        fitted.fit(spoil(X))
    fresh = quick_estimator()
    with pytest.raises(error, match=message):
        fresh.fit(spoil(X))
    assert [name for name in vars(fresh) if name.endswith("_")] == []


BAD_ROWS_TO_ASK = {
    **BAD_ROWS,
    "words": (lambda X: [["a", "b", "c"]] * 5, ValueError, "could not convert string to float"),
}


@pytest.mark.parametrize("name", BAD_ROWS_TO_ASK)
def test_bad_rows_are_refused_by_every_question(name, fitted, X):
    spoil, error, message = BAD_ROWS_TO_ASK[name]
    for question in QUESTIONS:
        with pytest.raises(error, match=message):
            getattr(fitted, question)(spoil(X))


@pytest.mark.parametrize("question", QUESTIONS)
def test_wrong_number_of_features_is_refused(question, fitted, X):
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3"):
        getattr(fitted, question)(X[:, :2])


def test_warm_start_refuses_another_number_of_features(X):
    model = quick_estimator(max_iter=6, warm_start=True).fit(X)
    with pytest.raises(ValueError, match=r"X has 2 features, but .* is expecting 3"):
        model.fit(X[:, :2])
    assert model.score_samples(X).shape == (40,)


@pytest.mark.parametrize("question", [*QUESTIONS, "sample", "get_feature_names_out"])
def test_unfitted_model_says_so(question, X):
    arguments = () if question in ("sample", "get_feature_names_out") else (X,)
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(RegularizedAutoEncoderScore(), question)(*arguments)


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("noise_level", ["auto", "a number >= 0"]),
        ("noise_covariance", ["local", "isotropic"]),
        ("activation", ["silu", "tanh", "softplus"]),
        ("decoder", ["gradient"]),
        ("base_density", ["mixture", "gaussian"]),
        ("scaling", ["whiten", "standardize", "None"]),
        ("device", ["auto", "cpu", "cuda"]),
    ],
)
@pytest.mark.parametrize("value", ["nonsense", ""])
def test_unknown_option_is_told_the_valid_ones(name, valid, value, X):
    with pytest.raises(
        ValueError, match=f"Got {name}={re.escape(repr(value))}, expected"
    ) as caught:
        quick_estimator(**{name: value}).fit(X)
    assert all(word in str(caught.value) for word in valid)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("noise_level", [-0.1, np.nan, np.inf, None, [0.1]]),
        ("contraction_weight", [-0.1, np.nan, np.inf, None, "auto"]),
        ("calibration_weight", [-0.1, -1.0, np.nan, np.inf, None, "none"]),
        ("learning_rate", [0.0, -0.1, np.nan, np.inf, "fast"]),
        ("validation_fraction", [0.0, 1.0, -0.1, np.nan, None]),
        ("max_components", [0, -1, 2.5, None]),
        ("max_mixtures", [0, -1, 2.5, None]),
        ("batch_size", [0, -1, 2.5, "auto"]),
        ("max_iter", [0, -1, 2.5, None]),
        ("n_iter_no_change", [0, -1, 2.5, None]),
        ("hidden_layer_sizes", [0, (), [], (8, 0), (8, -1), (8, 2.5), "8", None, 2.5]),
        ("warm_start", ["yes", None, 0.5]),
        ("verbose", ["yes", None, 0.5, -1]),
        ("random_state", ["seed", 0.5, -1]),
    ],
)
def test_option_outside_its_range_is_refused(name, values, X):
    for value in values:
        model = quick_estimator(**{name: value})
        with pytest.raises((ValueError, TypeError)) as caught:
            model.fit(X)
        words = ("seed", "Seed") if name == "random_state" else (name,)
        assert any(word in str(caught.value) for word in words), caught.value
        assert re.search("expected|^Seed must be|cannot be used", str(caught.value))
        assert [a for a in vars(model) if a.endswith("_")] == []


def test_noise_and_contraction_both_zero_are_refused(fitted, X):
    model = quick_estimator(noise_level=0.0, contraction_weight=0.0)
    with pytest.raises(
        ValueError,
        match="Got noise_level=0 and contraction_weight=0, expected at",
    ):
        model.fit(X)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_cuda_without_a_device_is_refused(X):
    with pytest.raises(ValueError, match="Got device='cuda', expected 'cpu' or 'auto'"):
        quick_estimator(device="cuda").fit(X)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(40), "zeros alone, expected at least one positive"),
        (np.full(40, -1.0), "sample_weight with -1.0, expected weights >= 0"),
        (np.r_[np.ones(39), -2.0], "sample_weight with -2.0, expected weights >= 0"),
        (np.ones(39), r"shape \(39,\), expected \(40,\)"),
        (np.ones((40, 1)), r"shape \(40, 1\), expected \(40,\)"),
        (np.r_[np.ones(39), np.nan], "sample_weight contains NaN"),
        (np.r_[np.ones(39), np.inf], "sample_weight contains infinity"),
        (["a"] * 40, "could not convert string to float"),
        (np.ones(40) * 1j, "Complex data not supported"),
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


@pytest.mark.parametrize("heavy", [1e14, 1e50, 1e300, np.finfo(float).max])
def test_a_weight_beside_which_all_others_vanish_is_refused(heavy, fitted, X):
    weights = np.r_[np.ones(39), heavy]
    with pytest.raises(ValueError, match=r"one row leaves all others a share of .* expected"):
        fitted.fit(X, sample_weight=weights)
    assert np.isfinite(fitted.score(X, sample_weight=weights))


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "many", None])
def test_bad_number_of_samples_is_refused(n_samples, fitted):
    with pytest.raises((ValueError, TypeError), match=r"Got n_samples=.*, expected an integer"):
        fitted.sample(n_samples)


def test_bad_random_state_of_sample_is_refused(fitted):
    with pytest.raises(ValueError, match="cannot be used to seed"):
        fitted.sample(3, random_state="seed")


def test_row_too_far_away_is_refused(fitted, X):
    far = with_value(X, 1e300)
    for question in QUESTIONS:
        with pytest.raises(
            ValueError, match=r"Got row 3 at .*e\+(299|300) spreads from .* expected less"
        ):
            getattr(fitted, question)(far)


def test_values_near_the_float32_limit(random_seed):
    """Where float32 holds the answer it is given; where it does not, the error says so."""
    X = np.random.default_rng(random_seed).uniform(-3e38, 3e38, (60, 2)).astype(np.float32)
    model = quick_estimator(max_iter=6).fit(X)
    for question in ("score_samples", "log_density_gradient", "log_density_hessian", "reconstruct"):
        answer = getattr(model, question)(X / 2)
        assert answer.dtype == np.float32
        assert np.isfinite(answer).all()
    with pytest.raises(ValueError, match=r"overflows float32, expected X as float64"):
        model.local_moments(X)
    wide = X.astype(np.float64)
    assert np.isfinite(model.local_moments(wide)[1]).all()


def test_fewer_rows_than_the_base_needs_work(random_seed):
    """Three rows of six features: one shrunk Gaussian, and a warning of what is missing."""
    X = np.random.default_rng(random_seed).standard_normal((3, 6))
    model = quick_estimator(base_density="mixture")
    with pytest.warns(UserWarning, match="Got 3 rows of 6 columns, expected more rows"):
        model.fit(X)
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.sample(20, 0)).all()
    assert model.score(X) > model.score(X + 10.0)


def test_few_of_many_columns_are_named(random_seed):
    """Six names tell what kind of columns they are; two hundred fill a screen."""
    X = np.random.default_rng(random_seed).standard_normal((50, 20))
    X[:, :9] = 1.0
    with pytest.warns(UserWarning, match=r"\(column 0, .*column 5 and 3 more\), expected"):
        quick_estimator(max_iter=6).fit(X)


def test_constant_and_collinear_columns_are_named(random_seed):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(random_seed)
    X = pd.DataFrame(rng.standard_normal((50, 2)), columns=["height", "width"])
    with pytest.warns(UserWarning, match=r"constant columns \('depth'\)"):
        quick_estimator(max_iter=6).fit(X.assign(depth=2.5))
    with pytest.warns(UserWarning, match=r"collinear columns \('height', 'depth'\)"):
        quick_estimator(max_iter=6).fit(X.assign(depth=2.5 * X["height"] + 1.0))


def test_columns_far_from_unit_scale_are_named_where_none_is_asked_for(X):
    with pytest.warns(UserWarning, match="Got scaling=None and column 1 with .* expected columns"):
        quick_estimator(scaling=None, max_iter=6).fit(X * [1.0, 1e4, 1.0])


def test_more_columns_than_memory_has_room_for_are_refused_at_once(fitted):
    with pytest.raises(ValueError, match=r"3000 columns.* 7 GB .*at most 2236 columns.*PCA"):
        fitted.fit(np.random.default_rng(0).standard_normal((20, 3000)))


def test_misnamed_columns_are_refused(random_seed):
    pd = pytest.importorskip("pandas")
    X = pd.DataFrame(
        np.random.default_rng(random_seed).standard_normal((40, 2)), columns=["a", "b"]
    )
    model = quick_estimator(max_iter=6).fit(X)
    with pytest.raises(ValueError, match="feature names should match"):
        model.score_samples(X[["b", "a"]])
    with pytest.raises(ValueError, match="without any observed value"):
        model.fit(X.rename(columns={"a": "c"}).mask(X > 0))
    assert list(model.feature_names_in_) == ["a", "b"]


def test_masked_entries_are_missing_and_never_unmasked():
    X = np.random.default_rng(0).standard_normal((60, 2))
    masked = np.ma.masked_greater(X, 1.0)
    model = quick_estimator()
    with pytest.raises(ValueError, match="sample_weight contains NaN"):
        model.fit(X, sample_weight=masked[:, 0])
    model.fit(np.ma.masked_array(X, mask=False))
    holed = masked.filled(np.nan)
    np.testing.assert_array_equal(model.score_samples(masked), model.score_samples(holed))
    sampler = RAESampler(model, n_chains=2, random_state=0)
    np.testing.assert_array_equal(sampler.impute(masked[:10], 4), sampler.impute(holed[:10], 4))
    with pytest.raises(ValueError, match="NaN"):
        sampler.sample_chains(2, masked[masked.mask.any(axis=1)][:2])
