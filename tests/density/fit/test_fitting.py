"""How a fit proceeds: what it selects, continues, reports and leaves alone; how it is stopped."""

import copy
import pickle
import random
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from skrae import datasets
from skrae.density.fit.annealing import MIN_GAIN
from skrae.density.fit.fitting import LARGE_BASE, MANY_ROWS, check_every, steps_per_level, worth
from skrae.density.options import resolved_options
from skrae.mixtures.growth import selection
from tests.callbacks import HAS_RICH, Recorder, needs_callbacks
from tests.density.estimators import held_out_rows, interrupt_after, quick_estimator


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows of a thickened circle."""
    return datasets.Ring().sample(300, random_seed)


@pytest.mark.parametrize("base_density", ["gaussian", "mixture"])
@pytest.mark.parametrize("noise_covariance", ["local", "isotropic"])
def test_level_is_chosen_on_held_out_rows(X, base_density, noise_covariance):
    model = quick_estimator(
        noise_level="auto",
        base_density=base_density,
        noise_covariance=noise_covariance,
        hidden_layer_sizes=(32, 32),
    ).fit(X)
    best = np.argmax(model.noise_level_scores_)
    assert model.noise_level_ == model.noise_levels_[best]
    assert (np.diff(model.noise_levels_) < 0.0).all()
    held_out = held_out_rows(model, X)
    # The base has taken its last steps on these rows too; its score is from before.
    base = model.base_log_density(held_out).mean()
    assert model.base_score_ < base < model.base_score_ + 0.5
    score = model.score(held_out)
    # The log Z of validation has noise of its own, of 1/sqrt(2400) times the spread of exp f.
    assert score >= base - 0.03
    if model.coefs_[-1].any():
        gain = model.noise_level_scores_[best] - model.base_score_
        assert score == pytest.approx(base + gain, abs=0.1)


def test_pure_noise_is_not_modelled_worse_than_by_the_base(random_seed):
    """Where the network has nothing to find, the model is the base density itself."""
    X = np.random.default_rng(random_seed).standard_normal((100, 6))
    model = quick_estimator(noise_level="auto", learning_rate=0.1, max_iter=36).fit(X)
    held_out = held_out_rows(model, X)
    assert model.score(held_out) >= model.base_log_density(held_out).mean() - 0.03


@pytest.mark.parametrize(
    "options",
    [
        {"noise_level": 0.2},
        {"noise_level": 0.0, "contraction_weight": 0.02},
        {"noise_level": 0.2, "contraction_weight": 0.02},
        {"noise_level": 0.2, "noise_covariance": "isotropic"},
        {"noise_level": 0.0, "contraction_weight": 0.02, "noise_covariance": "isotropic"},
        {"noise_level": 0.2, "activation": "tanh"},
        {"noise_level": 0.2, "activation": "softplus"},
    ],
    ids=str,
)
def test_every_criterion_learns_the_ring(options):
    """The hole of the ring, which one Gaussian cannot have: much better than the base."""
    X = datasets.Ring().sample(900, 0)
    model = quick_estimator(hidden_layer_sizes=(32, 32), max_iter=120, **options).fit(X)
    assert model.noise_level_ == options["noise_level"]
    fresh = datasets.Ring().sample(300, 12345)
    assert model.score(fresh) > model.base_log_density(fresh).mean() + 0.3
    hole, ring = model.score_samples([[0.0, 0.0], [1.0, 0.0]])
    assert ring > hole + 1.0


def test_warm_start_continues(X):
    model = quick_estimator(warm_start=True, max_iter=30).fit(X)
    first = copy.deepcopy(vars(model))
    model.fit(X)
    kept = ("location_", "whitening_", "base_weights_", "base_means_", "base_factors_")
    assert_equal({k: first[k] for k in kept}, {k: vars(model)[k] for k in kept})
    assert first["n_iter_"] < model.n_iter_ <= first["n_iter_"] + 30
    assert model.loss_curve_[: len(first["loss_curve_"])] == first["loss_curve_"]
    assert len(model.loss_curve_) == len(model.validation_curve_) > len(first["loss_curve_"])
    assert not np.array_equal(model.coefs_[0], first["coefs_"][0])


def test_without_warm_start_a_second_fit_is_the_first(X):
    model = quick_estimator(max_iter=30).fit(X)
    first = copy.deepcopy(vars(model))
    assert_equal(vars(model.fit(X)), first)
    assert_equal(vars(model.fit(2.0 * X + 1.0).fit(X)), first)


@pytest.mark.parametrize(("name", "other"), [("hidden_layer_sizes", (8,)), ("activation", "tanh")])
def test_warm_start_refuses_another_network(X, name, other):
    model = quick_estimator(warm_start=True, max_iter=12).fit(X)
    before = copy.deepcopy(vars(model))
    model.set_params(**{name: other})
    with pytest.raises(ValueError, match=f"Got {name}=.* expected .*warm_start"):
        model.fit(X)
    assert_equal(vars(model), {**before, name: other})


def test_same_seed_same_model(X):
    first, second, other = (quick_estimator(random_state=s, max_iter=30).fit(X) for s in (1, 1, 2))
    assert_equal(vars(first), vars(second))
    assert not np.array_equal(first.score_samples(X), other.score_samples(X))


def test_verbose_prints_a_line_for_the_base_one_a_check_and_the_verdict(X, capsys):
    quick_estimator(max_iter=30).fit(X)
    assert capsys.readouterr().out == ""
    model = quick_estimator(max_iter=30, verbose=1).fit(X)
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert f"{len(model.base_weights_)} components" in first
    assert f"{model.base_score_:.3f} nats" in first
    assert len(lines) == len(model.validation_curve_)
    assert all("noise level" in line and "nats" in line for line in lines)
    assert "network: none beat the base density" in last
    assert model.network_gain_ == 0.0
    model = quick_estimator(verbose=1).fit(X)
    *_, last = capsys.readouterr().out.splitlines()
    assert f"network: a gain of {model.network_gain_:.3f} nats at noise level 0.3" in last
    assert model.network_gain_ > 0.0


def global_state():
    """What a fit must leave alone."""
    legacy_generator = check_random_state(None)
    return {
        "torch random state": torch.get_rng_state().tolist(),
        "numpy random state": [np.asarray(part).tolist() for part in legacy_generator.get_state()],
        "python random state": random.getstate(),
        "threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "numpy errors": np.geterr(),
        "warnings filters": list(warnings.filters),
    }


def test_nothing_global_changes(X):
    before = global_state()
    model = quick_estimator(max_iter=12, contraction_weight=0.01).fit(X)
    model = pickle.loads(pickle.dumps(model))
    model.score_samples(X), model.log_density_hessian(X), model.sample(5, 0), model.local_moments(X)
    assert global_state() == before


def test_global_seeds_have_no_influence(X):
    scores = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            scores.append(quick_estimator(max_iter=12).fit(X).score_samples(X))
    np.testing.assert_array_equal(*scores)


def test_default_dtype_of_torch_has_no_influence(X):
    expected = quick_estimator(max_iter=12).fit(X).score_samples(X)
    torch.set_default_dtype(torch.float64)
    try:
        found = quick_estimator(max_iter=12).fit(X).score_samples(X)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found, expected)


def test_input_is_left_alone(X):
    rows, weights = X.copy(), np.linspace(0.0, 2.0, len(X))
    rows.setflags(write=False)
    weights.setflags(write=False)
    model = quick_estimator(max_iter=12).fit(rows, sample_weight=weights)
    model.score(rows, sample_weight=weights)
    np.testing.assert_array_equal(rows, X)
    np.testing.assert_array_equal(weights, np.linspace(0.0, 2.0, len(X)))


def test_interrupted_training_leaves_the_best_weights(X, monkeypatch):
    interrupt_after(70, monkeypatch)
    model = quick_estimator(max_iter=120, hidden_layer_sizes=(32, 32))
    with pytest.warns(ConvergenceWarning, match="interrupted") as caught:
        model.fit(X)
    assert caught[0].filename == __file__
    assert model.n_iter_ <= 70
    held_out = held_out_rows(model, X)
    assert model.score(held_out) > model.base_score_


def test_training_interrupted_at_once_leaves_the_base(X, monkeypatch):
    interrupt_after(0, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = quick_estimator().fit(X)
    np.testing.assert_allclose(model.score_samples(X), model.base_log_density(X))


def test_warm_start_interrupted_at_once_keeps_the_network(X, monkeypatch):
    model = quick_estimator(warm_start=True, hidden_layer_sizes=(32, 32), max_iter=120).fit(X)
    before = model.score(X)
    interrupt_after(0, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    assert model.score(X) == pytest.approx(before, abs=0.05)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("place", ["fit_affine", "select_base"])
def test_fit_that_fails_before_training_loses_nothing(X, interruption, place, monkeypatch):
    def fail(*args, **kwargs):
        raise interruption

    model = quick_estimator(max_iter=12).fit(X)
    before = copy.deepcopy(vars(model))
    monkeypatch.setattr(f"skrae.density.fit.base.{place}", fail)
    with pytest.raises(interruption):
        model.fit(X[:, :1])
    assert_equal(vars(model), before)
    assert model.score_samples(X).shape == (len(X),)


def test_the_growth_that_judged_the_space_is_not_computed_again(X, monkeypatch):
    """It is the first of the base density too, which is the same as if it were."""
    grown, names = [], ("expand", "polish")

    def counted(name, function):
        return lambda *args: grown.append(name) or function(*args)

    for name in names:
        monkeypatch.setattr(selection, name, counted(name, getattr(selection, name)))
    models, counts = [], []
    for _ in range(2):
        models.append(quick_estimator(base_density="mixture", max_iter=1).fit(X))
        counts.append([grown.count(name) for name in names])
        grown.clear()
        monkeypatch.setattr(selection._Grower, "_key", lambda *args: None)
    assert counts[1] == [count + 1 for count in counts[0]]
    np.testing.assert_array_equal(*(model.score_samples(X) for model in models))


@needs_callbacks
def test_callback_is_told_of_every_check_and_of_the_end(X):
    recorder = Recorder()
    model = quick_estimator(max_iter=30).set_callbacks(recorder).fit(X)
    n_checks = len(model.validation_curve_)
    checks = ["begin check", "end check"] * n_checks
    assert recorder.events == ["setup", "begin fit", *checks, "end fit", "teardown"]
    np.testing.assert_array_equal(recorder.fitted.score_samples(X), model.score_samples(X))


@needs_callbacks
def test_callback_stops_the_fit(X):
    recorder = Recorder(stop_at=2)
    model = quick_estimator(noise_level="auto").set_callbacks(recorder).fit(X)
    assert len(model.validation_curve_) == 2
    assert np.isfinite(model.score(X))


@needs_callbacks
def test_callback_that_interrupts_leaves_the_best_weights(X):
    model = quick_estimator(hidden_layer_sizes=(32, 32)).set_callbacks(Recorder(interrupt_at=3))
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    assert len(model.validation_curve_) == 3
    assert model.score(held_out_rows(model, X)) >= model.base_score_ - 0.03


def test_steps_follow_the_rows():
    """Few rows set the number, then the option, then many rows; without calibration the option."""
    options = resolved_options(quick_estimator(max_iter="auto", calibration_weight=4.0))
    small, large = (SimpleNamespace(weights=np.ones(size)) for size in (LARGE_BASE, LARGE_BASE + 1))
    sizes = 60, 1620, 4000, 4600, 20_200, 10**6
    found = [steps_per_level(n, small, options) for n in sizes]
    assert found == [40, 300, 300, 400, 3000, 3000]
    assert [check_every(steps) for steps in found] == [7, 50, 50, 34, 250, 250]
    assert steps_per_level(10**6, large, options) == 300
    fixed = options._replace(max_iter=1500)
    assert [steps_per_level(n, large, fixed) for n in sizes] == [40, 300, 696, 796, 1500, 1500]
    paper = options._replace(calibration_weight=0.0)
    assert steps_per_level(60, small, paper) == steps_per_level(10**6, small, paper) == 300
    assert steps_per_level(60, small, paper._replace(max_iter=7)) == 7


def test_a_gain_is_asked_of_the_first_checks_of_many_rows():
    """Where validation decides, and the number of checks is left to the fit."""
    options = resolved_options(quick_estimator(calibration_weight=4.0, n_iter_no_change="auto"))
    assert worth(options, MANY_ROWS) == MIN_GAIN
    assert worth(options, MANY_ROWS - 1) == -np.inf
    for asked in {"n_iter_no_change": 3}, {"calibration_weight": 0.0}:
        assert worth(options._replace(**asked), MANY_ROWS) == -np.inf


@needs_callbacks
@pytest.mark.parametrize("max_iter", [1, 8, 12, 17, 29])
def test_callback_context_has_room_for_every_check(max_iter):
    X = datasets.Ring().sample(40, 0)
    quick_estimator(max_iter=max_iter, n_iter_no_change=100, hidden_layer_sizes=4).fit(X)


@needs_callbacks
@pytest.mark.skipif(not HAS_RICH, reason="the progress bar is drawn by rich")
def test_progress_bar_alone_and_nested(X, capsys):
    from sklearn.callback import ProgressBar

    model = quick_estimator(max_iter=30).set_callbacks(ProgressBar())
    model.fit(X)
    assert "RegularizedAutoEncoderScore" in capsys.readouterr().out
    pipeline = make_pipeline(StandardScaler(), quick_estimator(max_iter=12))
    search = GridSearchCV(pipeline, {"regularizedautoencoderscore__noise_level": [0.2, 0.4]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
    assert "GridSearchCV" in capsys.readouterr().out


@needs_callbacks
def test_estimator_with_a_callback_can_be_pickled_after_fit(X):
    model = quick_estimator(max_iter=12).set_callbacks(Recorder()).fit(X)
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.score_samples(X), model.score_samples(X))


@pytest.mark.parametrize("max_iter", [1, 200])
def test_network_gain_tells_whether_the_base_is_the_model(max_iter):
    X = datasets.Moons().sample(400, 0)
    model = quick_estimator(max_iter=max_iter, base_density="gaussian").fit(X)
    learned = bool(model.coefs_[-1].any())
    assert (model.network_gain_ > 0.0) == learned == (max_iter == 200)
    assert np.array_equal(model.score_samples(X), model.base_log_density(X)) != learned
