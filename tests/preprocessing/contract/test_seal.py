"""The seal of a stored state: what it refuses, what it warns of, what it leaves as it was."""

import copy
import pickle
import sys

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.mixture import GaussianMixture

from skrae import AutoEncoder, RegularizedAutoEncoderScore, datasets
from skrae.preprocessing.contract import seal
from skrae.preprocessing.contract.seal import checksum, in_memory, opened, sealed
from tests.density.estimators import quick_estimator

STATE = {
    "noise_level": 0.3,
    "scaling": None,
    "sizes": [4, 2],
    "arrays": {"a": np.arange(6.0).reshape(2, 3), "b": (np.array([True, False]),)},
    "names": np.array(["x", "y"], dtype=object),
    "random_state": np.random.RandomState(0),
}


@pytest.fixture(scope="module")
def fitted():
    """A fitted model, whose random state is no integer."""
    model = quick_estimator(max_iter=6, random_state=np.random.RandomState(0))
    return model.fit(datasets.Ring().sample(60, 0))


def edited(**changes):
    """The state with some of its attributes changed."""
    return {**copy.deepcopy(STATE), **changes}


def drawn_from(random_state):
    """The random state, after one draw."""
    random_state.uniform()
    return random_state


# --- the checksum ---------------------------------------------------------------------------------


def test_checksum_is_that_of_equal_states():
    assert checksum(STATE) == checksum(copy.deepcopy(STATE))
    assert checksum(STATE) == checksum(dict(reversed(STATE.items())))
    assert checksum(STATE) == checksum(edited(noise_level=np.float64(0.3)))


@pytest.mark.parametrize(
    "other",
    [
        edited(noise_level=np.nextafter(0.3, 1.0)),
        edited(noise_level="0.3"),
        edited(scaling=False),
        edited(sizes=(4, 2)),
        edited(sizes=[4, 2.0]),
        edited(sizes=[[4], 2]),
        edited(names=np.array(["x", "z"], dtype=object)),
        edited(names=["x", "y"]),
        edited(arrays={"a": STATE["arrays"]["a"].T.copy(), "b": STATE["arrays"]["b"]}),
        edited(arrays={"a": STATE["arrays"]["a"].astype("f4"), "b": STATE["arrays"]["b"]}),
        edited(arrays={"c": STATE["arrays"]["a"], "b": STATE["arrays"]["b"]}),
        edited(arrays={"a": STATE["arrays"]["a"], "b": (np.array([True, True]),)}),
        edited(random_state=drawn_from(np.random.RandomState(0))),
        edited(random_state=None),
        edited(more=None),
        {name: value for name, value in STATE.items() if name != "scaling"},
    ],
)
def test_checksum_tells_states_apart(other):
    assert checksum(other) != checksum(STATE)


def test_checksum_sees_every_bit_of_an_array():
    array = np.linspace(0.0, 1.0, 4)
    sums = {checksum(array)}
    for place in range(array.nbytes * 8):
        bits = np.unpackbits(array.view(np.uint8))
        bits[place] ^= 1
        sums.add(checksum(np.packbits(bits).view(np.float64)))
    assert len(sums) == array.nbytes * 8 + 1


def mixture(codes):
    """A fitted estimator, as attributes hold them."""
    return GaussianMixture(2, random_state=0).fit(codes)


def test_checksum_tells_nested_estimators_apart():
    codes = np.random.default_rng(0).standard_normal((40, 2))
    model = mixture(codes)
    own = checksum({"density": model})
    assert own == checksum({"density": mixture(codes)})
    assert own == checksum({"density": pickle.loads(pickle.dumps(model))})
    edits = {
        "means_": np.nextafter(model.means_, 9.0),
        "weights_": model.weights_[::-1].copy(),
        "converged_": not model.converged_,
        "random_state": 1,
    }
    for name, value in edits.items():
        other = copy.deepcopy(model)
        setattr(other, name, value)
        assert checksum({"density": other}) != own, name
    assert checksum({"density": clone(model)}) != own
    assert checksum({"density": {"kind": "GaussianMixture", **vars(model)}}) != own


def test_damage_in_the_density_of_codes_is_found():
    """Of an attribute of an attribute, changed where it is stored."""
    X = np.random.default_rng(0).standard_normal((40, 3))
    model = AutoEncoder(hidden_layer_sizes=(), random_state=0).fit(X)
    state = model.__getstate__()
    AutoEncoder().__setstate__(copy.deepcopy(state))
    damaged = copy.deepcopy(state)
    damaged["code_density_"].means_[0, 0] += 1e-12
    with pytest.raises(ValueError, match="AutoEncoder whose checksum is not that of its content"):
        AutoEncoder().__setstate__(damaged)


# --- what is refused ------------------------------------------------------------------------------


def test_a_seal_is_taken_off_again():
    state = opened(sealed(STATE), "model")
    assert list(state) == list(STATE)
    assert all(state[name] is value for name, value in STATE.items())


def test_a_state_without_a_format_is_refused(fitted):
    """As of those stored before there were formats, and of those that lost it."""
    with pytest.raises(ValueError, match="score without a format, expected format 1"):
        opened(STATE, "score")
    with pytest.raises(ValueError, match="RegularizedAutoEncoderScore without a format"):
        RegularizedAutoEncoderScore().__setstate__(vars(fitted))


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_is_refused(number, monkeypatch):
    monkeypatch.setattr(seal, "FORMAT", number)
    stored = sealed(STATE)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=rf"of format {number!r}, expected format 1: load it"):
        opened(stored, "model")


@pytest.mark.parametrize("name", ["noise_level", "arrays", "random_state", "more"])
def test_an_edited_state_is_refused(name):
    with pytest.raises(ValueError, match="checksum is not that of its content"):
        opened({**sealed(STATE), name: "another"}, "model")


@pytest.mark.parametrize("part", ["skrae", "scikit-learn", "checksum", "more"])
def test_an_edited_seal_is_refused(part):
    stored = sealed(STATE)
    stored["_seal"][part] = "0"
    with pytest.raises(ValueError, match="checksum is not that of its content"):
        opened(stored, "model")


# --- other versions -------------------------------------------------------------------------------


def stored_by_joblib(model, folder):
    joblib.dump(model, folder / "model.joblib")
    return lambda: joblib.load(folder / "model.joblib")


def stored_by_pickle(model, folder):
    dumped = pickle.dumps(model)
    return lambda: pickle.loads(dumped)


@pytest.mark.parametrize("store", [stored_by_pickle, stored_by_joblib])
@pytest.mark.parametrize(
    ("package", "module"), [("skrae", sys.modules["skrae"]), ("scikit-learn", sklearn)]
)
def test_another_version_warns(store, package, module, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "__version__", "0.0.1")
    load = store(fitted, tmp_path)
    monkeypatch.undo()
    expected = rf"Score \({package}\) from version 0\.0\.1 when using version"
    with pytest.warns(InconsistentVersionWarning, match=expected) as caught:
        model = load()
    assert [warning.filename for warning in caught] == [__file__]
    X = datasets.Ring().sample(9, 1)
    np.testing.assert_array_equal(model.score_samples(X), fitted.score_samples(X))


# --- copies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_hold_what_the_model_holds(copied, fitted):
    again = copied(fitted)
    assert list(vars(again)) == list(vars(fitted))
    np.testing.assert_equal(
        {**vars(again), "random_state": None}, {**vars(fitted), "random_state": None}
    )
    shared = [vars(again)[name] is vars(fitted)[name] for name in ("coefs_", "base_means_")]
    assert shared == [copied is copy.copy] * 2


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, clone])
def test_copies_of_an_unfitted_model(copied):
    model = quick_estimator(noise_level=0.7)
    assert vars(copied(model)) == vars(model)
    assert vars(pickle.loads(pickle.dumps(copied(model)))) == vars(model)


# --- arrays that cannot be written to -------------------------------------------------------------


def test_arrays_that_can_be_written_to_stay_as_they_are():
    state = {"a": [np.zeros(2), {"b": np.ones(1)}], "c": (1, "text")}
    assert in_memory(state) is state


def test_others_become_arrays_in_memory(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    locked = np.arange(3)
    locked.flags.writeable = False
    kept = np.zeros(1)
    found = in_memory({"a": [mapped, kept], "b": (locked,)})
    assert type(found["a"][0]) is np.ndarray
    assert found["a"][0].flags.f_contiguous
    assert found["a"][0].flags.writeable
    assert found["a"][1] is kept
    assert found["b"][0].flags.writeable
    np.testing.assert_equal(found, {"a": [np.arange(6.0).reshape(2, 3), kept], "b": (locked,)})


def test_a_state_from_before_a_parameter_loads_with_its_default(fitted):
    """Of the same format: what the parameter offers was not there before."""
    model = object.__new__(type(fitted))
    model.__setstate__(sealed({k: v for k, v in vars(fitted).items() if k != "checkpoint"}))
    assert model.get_params() == fitted.get_params()
    X = datasets.Ring().sample(20, 1)
    np.testing.assert_array_equal(model.score_samples(X), fitted.score_samples(X))
