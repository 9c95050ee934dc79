"""A fit within limits: its time, interrupts at every stage, a killed process."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_equal
from sklearn.exceptions import ConvergenceWarning

from skrae import RegularizedAutoEncoderScore
from skrae.density.fit import base, checkpoint, fitting
from skrae.mixtures.growth import em, selection
from skrae.preprocessing.contract.work import Journal
from tests.density.estimators import quick_estimator
from tests.interruptions import interrupt_at


class Killed(BaseException):
    """What no handler catches, as a signal 9."""


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(120)
    return np.stack([x, x**2 + 0.3 * rng.standard_normal(120)], axis=1)


def a_fit(**options):
    """A fit of nearly every stage, quickly done: mixtures, noise levels, radial units, log Z."""
    small = {"max_mixtures": 2, "max_components": 8, "max_iter": 8, "margins": "identity"}
    return RegularizedAutoEncoderScore(**{**small, "random_state": 0, **options})


@pytest.fixture(scope="module")
def expected(X):
    return a_fit().fit(X)


def fitted(model):
    return {name: value for name, value in vars(model).items() if name.endswith("_")}


def kill_after(n_writes, monkeypatch):
    """Let the process die right after a journal was written for so many times."""
    write, written = Journal.write, []

    def dies(journal):
        write(journal)
        written.append(1)
        if len(written) == n_writes:
            raise Killed

    monkeypatch.setattr(Journal, "write", dies)


@pytest.mark.parametrize("n_writes", [1, 6, 9, 10, 11])
def test_a_killed_fit_goes_on_to_the_same_model(n_writes, X, expected, tmp_path, monkeypatch):
    path = tmp_path / "fit"
    kill_after(n_writes, monkeypatch)
    with pytest.raises(Killed):
        a_fit(checkpoint=path).fit(X)
    monkeypatch.undo()
    model = a_fit(checkpoint=path).fit(X)
    assert_equal(fitted(model), fitted(expected))
    assert_equal(model.score_samples(X), expected.score_samples(X))
    assert not path.exists()


@pytest.mark.parametrize("n_writes", [5, 8, 10])
def test_a_fit_killed_among_the_maps_of_columns_or_after_goes_on(
    n_writes, X, tmp_path, monkeypatch
):
    """The growth of the map that is chosen is the first one of the base density too."""
    options = {"margins": "auto", "max_mixtures": 1, "max_components": "auto"}
    options["checkpoint"] = tmp_path / "fit"
    kill_after(n_writes, monkeypatch)
    with pytest.raises(Killed):
        a_fit(**options).fit(X)
    monkeypatch.undo()
    model = a_fit(**options).fit(X)
    assert_equal(fitted(model), fitted(a_fit(**options).fit(X)))


def test_what_is_done_is_not_done_again(X, tmp_path, monkeypatch):
    path, steps = tmp_path / "fit", []
    kill_after(10, monkeypatch)
    with pytest.raises(Killed):
        a_fit(checkpoint=path).fit(X)
    monkeypatch.undo()
    monkeypatch.setattr(selection, "expand", lambda *arguments: steps.append(arguments))
    a_fit(checkpoint=path).fit(X)
    assert not steps


def test_a_random_fit_goes_on_with_its_own_seed(X, tmp_path, monkeypatch):
    path = tmp_path / "fit"
    kill_after(6, monkeypatch)
    with pytest.raises(Killed):
        a_fit(checkpoint=path, random_state=None).fit(X)
    monkeypatch.undo()
    content = path.read_bytes()
    first = a_fit(checkpoint=path, random_state=None).fit(X)
    path.write_bytes(content)
    assert_equal(fitted(a_fit(checkpoint=path, random_state=None).fit(X)), fitted(first))


def test_a_checkpoint_of_another_fit_is_refused(X, tmp_path, monkeypatch):
    path = tmp_path / "fit"
    kill_after(3, monkeypatch)
    with pytest.raises(Killed):
        a_fit(checkpoint=path).fit(X)
    monkeypatch.undo()
    before = path.read_bytes()
    for other, rows, what in (
        (a_fit(checkpoint=path), X[1:], "rows"),
        (a_fit(checkpoint=path, max_iter=9), X, "options"),
        (a_fit(checkpoint=path, random_state=1), X, "random_state"),
    ):
        with pytest.raises(ValueError, match=f"of a fit with other {what}, expected"):
            other.fit(rows)
    monkeypatch.setattr(checkpoint, "PARTS", checkpoint.PARTS + 1)
    with pytest.raises(ValueError, match="with other versions"):
        a_fit(checkpoint=path).fit(X)
    monkeypatch.undo()
    assert path.read_bytes() == before
    a_fit(checkpoint=path, time_limit=60.0, verbose=0).fit(X)


def test_a_warm_start_goes_on_from_its_own_checkpoint(X, tmp_path, monkeypatch):
    model = quick_estimator(warm_start=True).fit(X)
    right = quick_estimator(warm_start=True).fit(X).fit(X)
    model.set_params(checkpoint=tmp_path / "fit")
    kill_after(2, monkeypatch)
    with pytest.raises(Killed):
        model.fit(X)
    monkeypatch.undo()
    assert_equal(fitted(model.fit(X)), fitted(right))


def check_usable(model, X):
    """That a model answers, draws, and is no farther from its base density than f may be."""
    assert np.isfinite(model.log_density_hessian(X)).all()
    rows = model.sample(200, random_state=0)
    assert np.isfinite(rows).all()
    gap = model.score_samples(X) - model.base_log_density(X)
    assert np.abs(gap).max() < 10.0


def always_interrupted(*args):
    raise KeyboardInterrupt


STAGES = {
    "maps of columns": (base, "choose_space", 1),
    "the mixture that judges them": (em, "em_step", 20),
    "the first mixture": (em, "em_step", 60),
    "a late mixture": (em, "em_step", 500),
    "merging": (em, "merge_closest", 8),
    "the last steps": (em, "settle", 1),
    "radial units": (fitting, "choose_member", 1),
    "log Z": (fitting, "normalise", 1),
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_interrupted(stage, X, expected, monkeypatch):
    interrupt_at(*STAGES[stage], monkeypatch)
    margins = "auto" if stage in list(STAGES)[:2] else "identity"
    with pytest.warns(ConvergenceWarning, match="was interrupted; the best density so far"):
        model = a_fit(margins=margins).fit(X)
    check_usable(model, X)
    assert model.score(X) > expected.score(X) - 1.0


def test_an_interrupted_log_z_keeps_the_network(X, monkeypatch):
    right = quick_estimator().fit(X)
    assert right.network_gain_ > 0.0
    interrupt_at(fitting, "normalise", 1, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="interrupted"):
        model = quick_estimator().fit(X)
    assert_equal(model.coefs_, right.coefs_)
    assert len(model.log_normalizer_repeats_) == 2
    error = np.hypot(model.log_normalizer_stderr_, right.log_normalizer_stderr_)
    assert abs(model.log_normalizer_ - right.log_normalizer_) < 6.0 * error + 0.02


def test_a_second_interrupt_raises_and_loses_nothing(X, monkeypatch):
    model = quick_estimator().fit(X)
    before = fitted(model)
    monkeypatch.setattr(fitting, "normalise", always_interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X + 1.0)
    assert_equal(fitted(model), before)


@pytest.mark.parametrize("time_limit", [1e-6, 0.1])
def test_a_time_limit_gives_the_best_so_far(time_limit, X):
    with pytest.warns(ConvergenceWarning, match=f"reached its time_limit of {time_limit:g} s"):
        model = a_fit(time_limit=time_limit).fit(X)
    check_usable(model, X)


def test_a_time_limit_that_is_not_reached_changes_nothing(X, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_equal(fitted(a_fit(time_limit=600.0).fit(X)), fitted(expected))


def test_a_checkpoint_goes_on_where_the_time_was_up(X, expected, tmp_path):
    path = tmp_path / "fit"
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        a_fit(checkpoint=path, time_limit=0.1).fit(X)
    assert_equal(fitted(a_fit(checkpoint=path).fit(X)), fitted(expected))


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"time_limit": 0}, ValueError, "Got time_limit=0, expected a finite number > 0"),
        ({"time_limit": "1h"}, TypeError, "Got time_limit='1h'"),
        ({"checkpoint": 3}, TypeError, "Got checkpoint=3, expected a path or None"),
        ({"checkpoint": "no/such/fit"}, ValueError, "expected the path of a file in a folder"),
        ({"checkpoint": ""}, ValueError, "expected the path of a file"),
    ],
)
def test_other_limits_are_refused(option, error, message, X):
    with pytest.raises(error, match=message):
        quick_estimator(**option).fit(X)
