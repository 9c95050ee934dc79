"""A fit gives finite numbers or a clear error: tables of wild values, units, weights at random."""

import warnings

import numpy as np
import pytest

from skrae import RAESampler
from skrae.density.fit import fitting
from skrae.density.fit.finite import ADVICE, require_finite, require_reach
from skrae.preprocessing.affine import AffineMap
from tests.density.estimators import ROW_QUESTIONS, quick_estimator

NETWORKS = (
    {},
    {"base_density": "mixture", "select": "likelihood"},
    {"decoder": "free"},
    {"decoder": "tied", "scaling": None},
    {"decoder": "kernel"},
    {"bias_correction": True, "scaling": "standardize"},
)


def wild_table(seed):
    """Rows of float32 or float64 of any units, wild values among them, and weights or None."""
    rng = np.random.default_rng(seed)
    n, d = rng.integers(4, 40), rng.integers(1, 4)
    dtype, reach = ((np.float32, 36), (np.float64, 250))[rng.integers(2)]
    X = rng.standard_normal((n, d))
    if rng.random() < 0.5:
        X = X * 10.0 ** rng.uniform(-0.5 * reach, 0.5 * reach, d)
    for _ in range(rng.integers(0, 4)):
        X[rng.integers(n), rng.integers(d)] = 10.0 ** rng.uniform(-reach, reach)
    weights = 10.0 ** rng.uniform(-1.0, 1.0, n) if rng.random() < 0.4 else None
    if weights is not None and rng.random() < 0.5:
        weights[0] = 10.0 ** rng.uniform(0.0, 15.0)
    return X.astype(dtype), weights


def refusal(ask, allowed):
    """Whether the call was refused, with one of the messages allowed; else its answer is finite."""
    try:
        parts = ask()
    except ValueError as error:
        said = str(error)
    else:
        assert all(np.isfinite(p).all() for p in (parts if isinstance(parts, tuple) else (parts,)))
        return False
    assert said.startswith("Got"), said
    assert "expected" in said, said
    assert any(words in said for words in allowed), said
    return True


@pytest.mark.parametrize("seed", range(24))
def test_a_fit_is_refused_or_answers_every_question_of_its_rows(seed):
    X, weights = wild_table(seed)
    network = NETWORKS[seed % len(NETWORKS)]
    model = quick_estimator(**{"max_iter": 6, "hidden_layer_sizes": 6, **network})

    def fit():
        return model.fit(X, sample_weight=weights).score_samples(X)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant columns, wild rows, chains
        warnings.filterwarnings("error", category=RuntimeWarning)
        if refusal(fit, ("standard deviation", "spreads from", "share", "all constant")):
            return
        narrow = ("overflows float32",) if X.dtype == np.float32 else ()
        for question in ROW_QUESTIONS:
            refusal(lambda question=question: getattr(model, question)(X), narrow)
        refusal(lambda: model.sample(5, random_state=0), narrow)


@pytest.mark.parametrize("network", NETWORKS[:5])
@pytest.mark.parametrize("far", [1e18, 1e30])
def test_far_rows_in_float32_are_answered_as_in_float64(far, network, random_seed):
    X = np.random.default_rng(random_seed).standard_normal((40, 2)).astype(np.float32)
    X[3, 1] = far
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"max_iter": 20, "hidden_layer_sizes": 6, **network, "scaling": "whiten"}
        model = quick_estimator(**options).fit(X)
    for question in ROW_QUESTIONS[:-1]:
        narrow, wide = (getattr(model, question)(X.astype(t)) for t in ("f4", "f8"))
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow[3], wide[3], rtol=1e-5, atol=1e-37, err_msg=question)


def test_a_far_observed_entry_says_nothing_of_the_others(random_seed):
    """Far out the tail is a product over columns that are not correlated."""
    X = np.random.default_rng(random_seed).standard_normal((400, 2)).astype(np.float32)
    model = quick_estimator(max_iter=20, base_density="mixture").fit(X)
    rows = np.array([[1e20, np.nan], [0.0, np.nan]], np.float32)
    far, near = RAESampler(model, random_state=0).sample_conditional(rows, 400)[:, :, 1]
    assert abs(np.median(far) - np.median(near)) < 0.5
    assert 0.5 < np.subtract(*np.quantile(far, [0.75, 0.25])) < 3.0


def test_draws_that_float32_does_not_hold_are_refused(random_seed):
    X = np.random.default_rng(random_seed).uniform(-3e38, 3e38, (60, 2)).astype(np.float32)
    model = quick_estimator(max_iter=6, base_density="mixture").fit(X)
    sampler = RAESampler(model, random_state=0)
    with pytest.raises(
        ValueError, match="Got an answer that overflows float32, expected other units"
    ):
        sampler.sample(2000)
    with pytest.raises(
        ValueError, match="Got an answer that overflows float32, expected other units"
    ):
        sampler.sample_conditional(np.float32([[np.nan, 0.0]] * 20), 100)
    assert np.isfinite(sampler.sample_conditional(np.array([[np.nan, 0.0]]), 500)).all()


def test_rows_that_no_question_can_reach_are_refused_before_anything_is_lost(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((30, 2))
    model = quick_estimator(max_iter=6).fit(X)
    before = model.score_samples(X[:3])
    X[3, 1] = 1e150
    with pytest.raises(ValueError, match=r"Got a row with 1e\+150 at .* spreads .*expected less"):
        model.fit(X)
    np.testing.assert_array_equal(model.score_samples(X[:3]), before)


def test_unscaled_columns_that_overflow_float32_are_refused(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((30, 2))
    for unit in (1e18, 1e100):
        with pytest.raises(ValueError, match=r"column 0 with a standard .* or scaling='whiten'"):
            quick_estimator(scaling=None, max_iter=6).fit(unit * X)


def test_the_map_and_the_rows_it_is_of_are_finite():
    good = AffineMap.diagonal(np.zeros(2), np.ones(2))
    require_reach(good, np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"Got 3 number\(s\) that are not finite from the scaling"):
        require_reach(AffineMap.diagonal(np.array([0.0, np.nan]), np.array([1.0, np.inf])), None)
    with pytest.raises(ValueError, match=r"Got a row with inf at nan spreads"):
        require_reach(good, np.array([[0.0, 1.0], [0.0, np.inf]]))


def spoil(result):
    """A result of a stage that is not finite."""
    if isinstance(result, np.ndarray):
        return np.full_like(result, np.nan)
    if isinstance(result, float):
        return np.nan
    return result._replace(parameters=[p * np.nan for p in result.parameters])


@pytest.mark.parametrize(
    ("stage", "function"),
    [("the base density", "held_out_score"), ("the network", "_train"), ("log Z", "_log_z")],
)
def test_every_stage_of_a_fit_is_asserted(stage, function, random_seed, monkeypatch):
    own = getattr(fitting, function)
    monkeypatch.setattr(fitting, function, lambda *arguments: spoil(own(*arguments)))
    X = np.random.default_rng(random_seed).standard_normal((30, 2))
    model = quick_estimator(max_iter=6)
    with pytest.raises(
        ValueError, match=f"not finite from {stage}, expected none: {ADVICE[stage]}"
    ):
        model.fit(X)
    assert [name for name in vars(model) if name.endswith("_")] == []


def test_finite_numbers_pass():
    require_finite("log Z", 0.0, np.zeros(3))
