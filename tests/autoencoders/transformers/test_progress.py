"""Fits under way: callbacks, verbose, interrupts and time limits."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_equal
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from skrae.autoencoders.training import Training
from skrae.autoencoders.transformers.fit.fitting import check_every
from tests.autoencoders.transformers.estimators import (
    MEMBERS,
    bent_sheet,
    member,
    quick_auto_encoder,
    state_of,
)
from tests.callbacks import HAS_RICH, Recorder, needs_callbacks
from tests.density.estimators import interrupt_after
from tests.interruptions import count_outcomes

NEVER = 100  # checks without a better one


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows near a curved sheet."""
    return bent_sheet(120, random_seed)


# --- callbacks ------------------------------------------------------------------------------------


@needs_callbacks
@pytest.mark.parametrize("max_iter", [1, 49, 50, 51, 99, 100, 149, 170])
def test_callback_context_has_room_for_every_check(max_iter, X):
    model = quick_auto_encoder(max_iter=max_iter, n_iter_no_change=NEVER).fit(X)
    assert max_iter - 1 <= model.n_iter_ <= max_iter


@needs_callbacks
def test_callback_is_told_of_every_check_and_of_the_end(X):
    recorder = Recorder()
    model = quick_auto_encoder().set_callbacks(recorder).fit(X)
    checks = ["begin check", "end check"] * len(model.loss_curve_)
    assert recorder.events == ["setup", "begin fit", *checks, "end fit", "teardown"]
    np.testing.assert_array_equal(recorder.fitted.transform(X), model.transform(X))


@needs_callbacks
def test_callback_stops_the_fit_at_all_rates(X):
    model = quick_auto_encoder(max_iter=300).set_callbacks(Recorder(stop_at=2)).fit(X)
    assert len(model.loss_curve_) == 2
    assert model.n_iter_ == 2 * check_every(len(X))
    assert np.isfinite(model.score(X))


@needs_callbacks
def test_callback_that_interrupts_leaves_the_best(X):
    model = quick_auto_encoder(max_iter=300, learning_rate=0.01).set_callbacks(
        Recorder(interrupt_at=3)
    )
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    assert len(model.validation_curve_) == 4
    assert model.terms_["reconstruction"] == pytest.approx(min(model.validation_curve_), rel=1e-5)


@needs_callbacks
@pytest.mark.skipif(not HAS_RICH, reason="the progress bar is drawn by rich")
def test_progress_bar_alone_and_nested(X, capsys):
    from sklearn.callback import ProgressBar

    quick_auto_encoder().set_callbacks(ProgressBar()).fit(X)
    assert "AutoEncoder" in capsys.readouterr().out
    search = GridSearchCV(quick_auto_encoder(max_iter=5), {"noise_level": [0.2, 0.4]}, cv=2)
    search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X)
    assert "GridSearchCV" in capsys.readouterr().out


@needs_callbacks
def test_an_auto_encoder_with_a_callback_can_be_pickled_after_fit(X):
    model = quick_auto_encoder(max_iter=5).set_callbacks(Recorder()).fit(X)
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.transform(X), model.transform(X))


# --- verbose --------------------------------------------------------------------------------------


def test_verbose_prints_a_line_at_each_check_and_changes_nothing(X, capsys):
    quiet = quick_auto_encoder(max_iter=120).fit(X)
    assert capsys.readouterr().out == ""
    told = quick_auto_encoder(max_iter=120, verbose=1).fit(X)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(told.loss_curve_)
    assert lines[0].startswith(f"[AutoEncoder] step {check_every(len(X))}: objective ")
    assert lines[-1].endswith(f"on held-out rows {told.validation_curve_[-1]:.4f}")
    np.testing.assert_array_equal(told.transform(X), quiet.transform(X))


# --- early ends -----------------------------------------------------------------------------------


def interrupt_every_step(monkeypatch):
    interrupt_after(0, monkeypatch)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_fit_interrupted_at_once_leaves_the_start(name, X, monkeypatch):
    interrupt_every_step(monkeypatch)
    model = member(name)
    if name == "linear":
        model.fit(X)  # solved without a step
    else:
        with pytest.warns(ConvergenceWarning, match="The fit was interrupted; the best") as caught:
            model.fit(X)
        assert caught[0].filename == __file__
    assert model.n_iter_ == 0
    assert model.loss_curve_ == []
    assert len(model.validation_curve_) == 1
    assert np.isfinite(model.reconstruct(X)).all()


def test_an_interrupted_fit_keeps_the_best_and_its_curves(X, monkeypatch):
    interrupt_after(130, monkeypatch)
    model = quick_auto_encoder(max_iter=400, learning_rate=0.01, n_iter_no_change=NEVER)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    assert model.n_iter_ == 130
    assert len(model.loss_curve_) == 130 // check_every(len(X))
    assert len(model.validation_curve_) == len(model.loss_curve_) + 1
    assert model.terms_["reconstruction"] == pytest.approx(min(model.validation_curve_), rel=1e-5)
    monkeypatch.undo()
    whole = quick_auto_encoder(max_iter=400, learning_rate=0.01, n_iter_no_change=NEVER).fit(X)
    assert whole.validation_curve_[: len(model.validation_curve_)] == model.validation_curve_


def test_a_fit_out_of_time_says_so_and_is_usable(X):
    model = quick_auto_encoder(max_iter=10**6, n_iter_no_change=10**6, time_limit=1e-9)
    with pytest.warns(ConvergenceWarning, match="reached its time_limit of 1e-09 sec") as caught:
        model.fit(X)
    assert caught[0].filename == __file__
    assert model.n_iter_ == 0
    linear = member("linear").fit(X)
    np.testing.assert_allclose(model.transform(X), linear.transform(X), atol=1e-12)


def test_a_generous_time_limit_changes_nothing(X):
    plain, limited = (quick_auto_encoder(time_limit=t).fit(X) for t in (None, 1e6))
    np.testing.assert_array_equal(limited.transform(X), plain.transform(X))


def test_a_warm_start_interrupted_at_once_is_where_it_was(X, monkeypatch):
    model = quick_auto_encoder(warm_start=True, max_iter=150, learning_rate=0.01).fit(X)
    assert model.n_iter_ == 149
    before = model.transform(X)
    interrupt_every_step(monkeypatch)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model.fit(X)
    np.testing.assert_allclose(model.transform(X), before, rtol=1e-12, atol=1e-12)
    assert model.n_iter_ == 149


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("place", ["working_space", "split_rows", "linear_path", "_result"])
def test_a_second_fit_that_fails_loses_nothing(interruption, place, X, monkeypatch):
    def fail(*args, **kwargs):
        raise interruption

    model = quick_auto_encoder(max_iter=5).fit(X)
    before = copy.deepcopy(state_of(model))
    monkeypatch.setattr(f"skrae.autoencoders.transformers.fit.fitting.{place}", fail)
    with pytest.raises(interruption):
        model.fit(X[:, :3])
    assert_equal(state_of(model), before)
    assert model.transform(X).shape == (len(X), 2)


def test_an_error_in_training_loses_nothing(X, monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError

    model = quick_auto_encoder(max_iter=5).fit(X)
    before = copy.deepcopy(state_of(model))
    monkeypatch.setattr(Training, "step", fail)
    with pytest.raises(MemoryError):
        model.fit(X[:, :3])
    assert_equal(state_of(model), before)


def second_fit(stored, old_answers, X):
    """A fitted model that is fitted again: it is the old one, or wholly another."""

    def make():
        model = pickle.loads(stored)

        def is_whole(result, raised):
            found = model.transform(X)
            if np.array_equal(found, old_answers):
                return ""
            whole = np.isfinite(found).all() and model.location_[0] > 0.5
            return "" if whole else "neither the old model nor a whole one"

        return lambda: model.fit(3.0 * X[:40] + 1.0), is_whole

    return make


@pytest.mark.parametrize("name", ["plain", "contraction"])
def test_interrupts_at_any_line_leave_the_old_model_or_a_new_one(name, X, random_seed):
    rows = X[:40]
    stored = pickle.dumps(member(name, max_iter=3).fit(rows))
    answers = pickle.loads(stored).transform(rows)
    found, wrong = count_outcomes(second_fit(stored, answers, rows), 60, random_seed)
    assert wrong == []
    assert found["raised"]
    assert found["told"]
