"""Streams: what they end with, what they remember, and what is refused before anything changes."""

import copy
import functools
import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from skrae import RegularizedAutoEncoderScore
from skrae.datasets import RotatedMixture
from skrae.density.streamed import stream
from tests.density.estimators import quick_estimator

START = 600


@pytest.fixture(autouse=True)
def short_start(monkeypatch):
    monkeypatch.setattr(stream, "START_ROWS", START)


def ring(n, seed, shift=0.0):
    """Rows around a circle, which one Gaussian is far from: a network has work to do."""
    rng = np.random.default_rng(seed)
    angle, radius = rng.uniform(0, 2 * np.pi, n), 2.0 + 0.3 * rng.standard_normal(n)
    return np.stack([radius * np.cos(angle) + shift, radius * np.sin(angle)], axis=1)


def blocks(n_blocks, n=200, first=0, **options):
    return [ring(n, seed, **options) for seed in range(first, first + n_blocks)]


def streamed(model, parts, **options):
    for part in parts:
        model.partial_fit(part, **options)
    return model


def begun(make, n_blocks):
    """A copy of the model of so many blocks, which tests that need the same one share."""
    return copy.deepcopy(_begun(make, n_blocks))


@functools.cache
def _begun(make, n_blocks):
    return streamed(make(), blocks(n_blocks))


def mass(model, reach=8.0, n=161):
    """The integral of the density over a square, by the sum over a grid."""
    axis = np.linspace(-reach, reach, n)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    return np.exp(model.score_samples(grid)).sum() * (axis[1] - axis[0]) ** 2


def base_estimator(**options):
    short = {"max_iter": 5, "max_mixtures": 1, "max_components": 4, "hidden_layer_sizes": 8}
    return RegularizedAutoEncoderScore(**{**short, "select": None, "random_state": 0, **options})


def network_estimator():
    return quick_estimator(hidden_layer_sizes=(32, 32), max_iter=300)


def assert_same_model(model, other):
    X = ring(50, 99)
    assert_array_equal(model.score_samples(X), other.score_samples(X))
    assert_array_equal(model.stream_scores_, other.stream_scores_)


def test_first_block_is_a_fit():
    X = ring(300, 0)
    model = quick_estimator().partial_fit(X)
    expected = quick_estimator().fit(X)
    assert_array_equal(model.score_samples(X), expected.score_samples(X))
    held_out = expected.base_score_ + expected.network_gain_
    assert_array_equal(model.stream_scores_, [held_out])
    assert len(expected.stream_scores_) == 0


def test_rows_that_are_kept_are_fitted_to_when_they_have_doubled():
    """Blocks of 100 rows: fits to 100, 200, 400, and to 600 = START, of which none are kept."""
    parts = blocks(8, n=100)
    model = base_estimator()
    for n_blocks, part in enumerate(parts, start=1):
        model.partial_fit(part)
        expected = {1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 6}.get(n_blocks)
        if expected == n_blocks:
            whole = base_estimator().fit(np.concatenate(parts[:n_blocks]))
            X = ring(50, 99)
            assert_array_equal(model.score_samples(X), whole.score_samples(X))
        assert (model._stream["rows"] is None) == (n_blocks >= 6)
    assert len(model.stream_scores_) == 8


def test_scores_are_from_before_the_block_is_learned():
    parts = blocks(6)
    model = streamed(base_estimator(), parts[:5])
    expected = model.score(parts[5])
    assert_allclose(model.partial_fit(parts[5]).stream_scores_[-1], expected, rtol=1e-12)


def test_stationary_stream_comes_to_what_a_fit_to_all_rows_is():
    """In ten dimensions within .03 nat, and nearer to the truth than where it began."""
    law = RotatedMixture(n_features=10, random_state=0)
    rng = np.random.default_rng(0)
    X, fresh = law.sample(12_000, rng), law.sample(4000, rng)
    whole = base_estimator(max_components=8).fit(X)
    model = base_estimator(max_components=8).partial_fit(X[:2000])
    before = model.score(fresh)
    streamed(model, np.split(X[2000:], 20))
    assert model.score(fresh) > max(before, whole.score(fresh) - 0.03)
    assert model._stream["rows"] is None


@pytest.mark.parametrize("n_blocks", [3, 6])
def test_density_is_normalised_after_every_call(n_blocks):
    """With a network over one Gaussian, and the share of mass that its log Z errs by."""
    model = begun(network_estimator, n_blocks)
    assert model.network_gain_ > 0.2
    assert_allclose(mass(model), 1.0, atol=0.03)


def test_network_goes_on():
    model = begun(network_estimator, 3)
    n_iter, n_checks = model.n_iter_, len(model.loss_curve_)
    streamed(model, blocks(12, first=3))
    assert model.n_iter_ > n_iter
    assert len(model.validation_curve_) == len(model.loss_curve_) > n_checks
    fresh = ring(2000, 99)
    assert model.score(fresh) > model.base_log_density(fresh).mean() + 0.2


def test_network_that_loses_is_dropped():
    """A Gaussian law after a ring: nothing is left to gain over one Gaussian."""
    model = begun(network_estimator, 4)
    assert model.network_gain_ > 0.2
    rng = np.random.default_rng(0)
    for _ in range(12):
        model.partial_fit(rng.standard_normal((1000, 2)), forgetting=0.5)
    assert model.network_gain_ < 0.05
    fresh = rng.standard_normal((2000, 2))
    assert model.score(fresh) > -np.log(2 * np.pi) - 1.0 - 0.1
    assert_allclose(mass(model), 1.0, atol=0.03)


def test_radial_units_are_kept_or_dropped():
    model = RegularizedAutoEncoderScore(max_iter=5, max_mixtures=1, random_state=0)
    model.fit(ring(600, 0))
    assert model.radial_units_
    before = model.score(ring(2000, 99))
    streamed(model, blocks(5, first=1))
    assert model.score(ring(2000, 99)) > before - 0.02
    assert_allclose(mass(model), 1.0, atol=0.03)


def test_change_shows_and_forgetting_follows():
    moved, fresh = blocks(10, first=20, shift=3.0), ring(2000, 99, shift=3.0)
    found = {}
    for forgetting in (1.0, 0.7):
        model = begun(base_estimator, 10)
        streamed(model, moved, forgetting=forgetting)
        scores = model.stream_scores_
        assert scores[10] < scores[:10].min() - 1.0
        found[forgetting] = model.score(fresh)
    assert found[0.7] > found[1.0] + 0.1


def test_weights_of_two_are_rows_twice():
    """Of blocks that take steps; weights of zero are no rows."""
    model = begun(base_estimator, 3)
    X = ring(100, 50)
    weights = np.repeat([1.0, 2.0, 0.0], [40, 40, 20])
    weighted = copy.deepcopy(model).partial_fit(X, sample_weight=weights)
    repeated = model.partial_fit(np.concatenate([X[:80], X[40:80]]))
    fresh = ring(50, 99)
    assert_allclose(weighted.score_samples(fresh), repeated.score_samples(fresh), rtol=1e-7)


@pytest.mark.parametrize("make", [base_estimator, network_estimator])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize("n_blocks", [2, 5])
def test_copies_go_on_as_the_model_does(make, copied, n_blocks):
    other = copied(_begun(make, n_blocks))
    model = _begun(make, n_blocks + 2)
    assert_same_model(model, streamed(other, blocks(2, first=n_blocks)))
    assert not hasattr(clone(model), "stream_scores_")


def test_same_seed_same_stream():
    one, two = (streamed(network_estimator(), blocks(6)) for _ in range(2))
    assert_same_model(one, two)


def test_fit_begins_anew_and_a_stream_goes_on_from_a_fit():
    X = ring(900, 0)
    fitted = base_estimator().fit(X)
    model = begun(base_estimator, 4).fit(X)
    assert_same_model(model, fitted)
    kept = {name: getattr(fitted, name) for name in ("location_", "whitening_")}
    fitted.partial_fit(ring(100, 1))
    assert len(fitted.stream_scores_) == 1
    for name, part in kept.items():
        assert_array_equal(getattr(fitted, name), part)
    # Of 900 rows and of 100 alike, little changes.
    assert abs(fitted.score(X) - model.score(X)) < 0.05


def test_names_of_a_frame_stay():
    frames = [pd.DataFrame(part, columns=["a", "b"]) for part in blocks(5)]
    model = streamed(base_estimator(), frames)
    assert model.feature_names_in_.tolist() == ["a", "b"]
    assert list(model.sample(3, random_state=0).columns) == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frames[0].rename(columns={"a": "c"}))


def test_blocks_of_one_row():
    model = begun(network_estimator, 4)
    streamed(model, ring(3, 50)[:, None, :])
    assert len(model.stream_scores_) == 7
    assert_allclose(mass(model), 1.0, atol=0.03)


def holed(X):
    X = X.copy()
    X[3, 1] = np.nan
    return X


@pytest.mark.parametrize(
    ("block", "options", "error", "message"),
    [
        (holed(ring(100, 9)), {}, ValueError, "NaN in 1 of 100 rows"),
        (ring(100, 9)[:, :1], {}, ValueError, "1 features"),
        (ring(100, 9).astype(str), {}, ValueError, "no numbers"),
        (np.full((5, 2), np.inf), {}, ValueError, "infinity"),
        (ring(100, 9), {"sample_weight": -np.ones(100)}, ValueError, "expected weights >= 0"),
        (
            ring(100, 9),
            {"forgetting": 0.0},
            ValueError,
            "forgetting=0.0, expected a number > 0 and <= 1",
        ),
        (ring(100, 9), {"forgetting": 1.5}, ValueError, "forgetting=1.5, expected"),
        (ring(100, 9), {"forgetting": "much"}, TypeError, "forgetting='much', expected a number"),
        (ring(100, 9), {"forgetting": True}, TypeError, "forgetting=True, expected a number"),
        (iter(blocks(2)), {}, TypeError, "a block of rows that is in memory"),
    ],
)
@pytest.mark.parametrize("n_blocks", [2, 4])
def test_what_is_refused_changes_nothing(block, options, error, message, n_blocks):
    model = begun(base_estimator, n_blocks)
    before = {name: copy.deepcopy(value) for name, value in vars(model).items()}
    with pytest.raises(error, match=message):
        model.partial_fit(block, **options)
    np.testing.assert_equal({**vars(model)}, before)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (holed(ring(100, 9)), "columns with missing entries, expected complete columns"),
        (np.round(ring(100, 9)), r"columns of .*\(cells\), expected complete columns of contin"),
        (np.array([["a", "b"], ["b", "a"]] * 50), r"\(categorical\)"),
        (pd.DataFrame(ring(100, 9), columns=["a", "b"]).assign(c="u"), r"of 'c' \(constant\)"),
    ],
)
def test_first_block_of_no_plain_numbers(first, message):
    model = base_estimator()
    with pytest.raises(ValueError, match=message):
        model.partial_fit(first)
    assert not hasattr(model, "coefs_")


@pytest.mark.parametrize("n_blocks", [1, 4])
def test_a_block_of_repeated_values_does_not_end_a_stream(n_blocks):
    """Columns are what they were found to be: a sensor that reads 0 for a while has no atoms."""
    model = begun(base_estimator, n_blocks)
    still = ring(150, 9)
    still[:, 1] = 0.0
    streamed(model, [still, *blocks(4, first=10)])
    assert len(model.stream_scores_) == n_blocks + 5
    assert model.table_ is None


def test_rounded_numbers_as_continuous_ones():
    model = base_estimator(column_kinds="continuous")
    streamed(model, [np.round(part, 1) for part in blocks(4)])
    assert np.isfinite(model.stream_scores_).all()


def test_models_and_options_that_have_no_streams(tmp_path):
    holes = base_estimator().fit(holed(ring(100, 9)))
    with pytest.raises(ValueError, match="expected one of plain numbers"):
        holes.partial_fit(ring(100, 1))
    with pytest.raises(ValueError, match="expected None in partial_fit"):
        base_estimator(checkpoint=tmp_path / "part").partial_fit(ring(100, 1))
    for options in ({"decoder": "free"}, {"bias_correction": True}):
        model = RegularizedAutoEncoderScore(**options)
        assert not hasattr(model, "partial_fit")
        with pytest.raises(AttributeError) as raised:
            _ = model.partial_fit
        assert "expected decoder='gradient'" in str(raised.value.__cause__)


def test_another_network_than_that_of_the_model():
    model = streamed(quick_estimator(), blocks(4)).set_params(hidden_layer_sizes=(5,))
    with pytest.raises(ValueError, match="warm_start=True, or partial_fit, continues"):
        model.partial_fit(ring(100, 9))


def test_many_columns():
    """Of 61 columns, whose components have another form: a stationary stream loses nothing."""
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((61, 61)) / 8.0
    model = base_estimator().fit(rng.standard_normal((400, 61)) @ factor)
    fresh = rng.standard_normal((500, 61)) @ factor
    before = model.score(fresh)
    for _ in range(4):
        model.partial_fit(rng.standard_normal((400, 61)) @ factor)
    assert model.score(fresh) > before


def test_failure_in_a_step_loses_nothing(monkeypatch):
    model = begun(network_estimator, 4)
    before = copy.deepcopy(model)

    def fails(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stream, "tilted_anew", fails)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(ring(100, 9))
    assert_same_model(model, before)
    assert_same_model(model.partial_fit(ring(100, 9)), before.partial_fit(ring(100, 9)))
