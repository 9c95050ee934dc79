"""A fitted auto-encoder outlives its process; what is edited or damaged is refused by name."""

import pickle
from dataclasses import replace

import joblib
import numpy as np
import pytest
from sklearn.base import clone

from skrae import AutoEncoder
from skrae.autoencoders.transformers.maps.soundness import check_sound
from skrae.preprocessing.contract.seal import sealed
from tests.autoencoders.transformers.estimators import (
    MEMBERS,
    bent_sheet,
    member,
    quick_auto_encoder,
    state_of,
)
from tests.round_trips import through_joblib, through_pickle, through_skops


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows near a curved sheet."""
    return bent_sheet(60, random_seed)


@pytest.fixture(scope="module", params=MEMBERS)
def fitted(request, X):
    """One of each member of the family."""
    return member(request.param, max_iter=5).fit(X)


@pytest.fixture(scope="module")
def plain(X):
    """A network on a linear path."""
    return member("contraction", max_iter=5).fit(X)


each_way = pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])


@each_way
def test_round_trip_answers_the_same(through, fitted, X):
    copy = through(fitted)
    np.testing.assert_array_equal(copy.transform(X), fitted.transform(X))
    np.testing.assert_array_equal(copy.reconstruct(X), fitted.reconstruct(X))
    assert copy.get_params() == fitted.get_params()
    assert list(vars(copy)) == list(vars(fitted))
    np.testing.assert_equal(state_of(copy), state_of(fitted))


@each_way
def test_an_unfitted_auto_encoder_makes_the_round_trip(through):
    model = quick_auto_encoder(hidden_layer_sizes=[4, 2], scaling=None)
    assert vars(through(model)) == vars(model)


def test_round_trip_can_be_continued(plain, X):
    copy = through_pickle(plain).set_params(warm_start=True).fit(X)
    assert copy.n_iter_ > plain.n_iter_


def test_arrays_that_are_mapped_from_a_file_give_the_same_bits(plain, X, tmp_path):
    joblib.dump(plain, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.transform(X), plain.transform(X))
    again = mapped.set_params(warm_start=True).fit(X)
    expected = through_pickle(plain).set_params(warm_start=True).fit(X)
    np.testing.assert_array_equal(again.transform(X), expected.transform(X))


def test_a_clone_is_unfitted_and_has_the_parameters(plain):
    copy = clone(plain)
    assert copy.get_params() == plain.get_params()
    assert not hasattr(copy, "coefs_")


def test_parameters_are_never_overwritten(X):
    parameters = {"hidden_layer_sizes": [4], "batch_size": 1000, "scaling": "auto"}
    model = quick_auto_encoder(max_iter=5).set_params(**parameters).fit(X)
    assert all(getattr(model, name) is value for name, value in parameters.items())


def test_parameters_set_after_fit_change_no_answer(plain, X):
    model = through_pickle(plain).set_params(
        activation="tanh",
        code_activation="sigmoid",
        n_components=1,
        hidden_layer_sizes=(3,),
        scaling=None,
        code_scaling=None,
    )
    np.testing.assert_array_equal(model.transform(X), plain.transform(X))
    np.testing.assert_array_equal(model.reconstruct(X), plain.reconstruct(X))


def test_repr_names_what_is_not_default():
    assert repr(AutoEncoder(3, scaling=None)) == "AutoEncoder(n_components=3, scaling=None)"


def test_fitted_attributes_are_documented(plain):
    """Every public attribute that fit sets is in the docstring, and nothing else is."""
    section = AutoEncoder.__doc__.split("Attributes\n")[1].split("See Also\n")[0]
    heads = [line for line in section.splitlines() if line.startswith("    ") and " : " in line]
    heads = [line.split(" : ")[0] for line in heads if not line.startswith("     ")]
    documented = {name.strip() for head in heads for name in head.split(",")}
    fitted = {name for name in vars(plain) if name.endswith("_") and not name.startswith("_")}
    assert fitted | {"feature_names_in_"} == documented


def leaves(value):
    """The value, or what its containers hold, at any depth."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return leaves(list(value.values()))
    return [value]


def test_fitted_attributes_are_numpy_or_builtin(fitted):
    allowed = {np.ndarray, np.float64, float, int, bool, str, type(None)}
    for name, value in state_of(fitted).items():
        assert {type(leaf) for leaf in leaves(value)} <= allowed, name


# --- damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["coefs_", "n_components", "_fitted_as", "terms_"])
def test_an_edited_state_is_refused(name, plain):
    stored = {**plain.__getstate__(), name: "another"}
    with pytest.raises(ValueError, match="stored AutoEncoder whose checksum is not that"):
        AutoEncoder().__setstate__(stored)


def test_a_state_without_a_seal_is_refused(plain):
    with pytest.raises(ValueError, match="AutoEncoder without a format, expected format 1"):
        AutoEncoder().__setstate__(vars(plain))


def test_a_state_from_before_a_parameter_loads_with_its_default(plain, X):
    model = object.__new__(AutoEncoder)
    model.__setstate__(sealed({k: v for k, v in vars(plain).items() if k != "time_limit"}))
    assert model.get_params() == plain.get_params()
    np.testing.assert_array_equal(model.transform(X), plain.transform(X))


def test_an_edited_model_is_refused_where_it_is_loaded(plain):
    model = through_pickle(plain)
    model.scale_ = -model.scale_
    stored = pickle.dumps(model)
    with pytest.raises(ValueError, match="scale_ not above 0, expected positive numbers"):
        pickle.loads(stored)


def test_what_a_fit_gives_is_sound(fitted):
    check_sound(fitted._fitted(), 5)


def replaced(arrays, place, array):
    """The list with one of its arrays replaced."""
    return [*arrays[:place], array, *arrays[place + 1 :]]


NAN = np.full(5, np.nan)
EDITS = {
    "columns": (lambda f: {"location": f.location[:4]}, r"location_ of shape \(4,\), expected"),
    "location": (lambda f: {"location": NAN}, "location_ that is not finite"),
    "scale": (lambda f: {"scale": 0.0 * f.scale}, "scale_ not above 0, expected positive"),
    "code scale": (lambda f: {"code_scale": -f.code_scale}, "code_scale_ not above 0"),
    "code mean": (lambda f: {"code_mean": f.code_mean[:2]}, r"code_mean_ of shape \(2,\)"),
    "code unit": (lambda f: {"code_unit": 0.0 * f.code_unit}, "units of the code not above 0"),
    "row unit": (lambda f: {"row_unit": 0.0}, "a unit of rows of 0.0, expected a positive number"),
    "no row unit": (lambda f: {"row_unit": np.nan}, "a unit of rows of nan"),
    "atoms": (lambda f: {"atom_norm": -1.0}, "atoms of length -1.0, expected a positive number"),
    "varies": (lambda f: {"varies": f.varies[:3]}, "another number of columns that vary"),
    "activation": (
        lambda f: {"architecture": f.architecture._replace(activation="gelu")},
        r"activation='gelu', expected one of \['identity', ",
    ),
    "code activation": (
        lambda f: {"architecture": f.architecture._replace(code_activation="step")},
        "code_activation='step', expected one of",
    ),
    "fewer coefs": (lambda f: {"coefs": f.coefs[:3]}, "3 coefs_ and 4 intercepts_, expected 4 of"),
    "fewer layers": (
        lambda f: {"coefs": f.coefs[:3], "intercepts": f.intercepts[:3]},
        "3 coefs_ and 3 intercepts_, expected 4 of each",
    ),
    "coef": (
        lambda f: {"coefs": replaced(f.coefs, 1, np.ones((8, 2)))},
        r"coefs_\[1\] of shape \(8, 2\), expected shape \(8, 3\)",
    ),
    "list": (
        lambda f: {"coefs": replaced(f.coefs, 0, f.coefs[0].tolist())},
        r"coefs_\[0\] of type list, expected an array",
    ),
    "integers": (
        lambda f: {"intercepts": replaced(f.intercepts, 0, np.zeros(8, int))},
        r"intercepts_\[0\] of dtype int64, expected floats",
    ),
    "intercept": (
        lambda f: {"intercepts": replaced(f.intercepts, 3, NAN)},
        r"intercepts_\[3\] that is not finite",
    ),
    "path": (
        lambda f: {"path": (f.path[0], f.path[1].T)},
        r"decoder of the linear path of shape \(5, 3\), expected shape \(3, 5\)",
    ),
    "encoder": (lambda f: {"path": (f.path[0] * np.nan, f.path[1])}, "encoder of the linear path"),
    "no path": (lambda f: {"path": None}, "no linear path, expected one"),
    "a path too many": (
        lambda f: {"architecture": f.architecture._replace(code_activation="relu")},
        "a linear path, expected none",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_part_is_named(name, plain):
    edit, message = EDITS[name]
    fitted = plain._fitted()
    with pytest.raises(ValueError, match=f"Got a fitted state with .*{message}"):
        check_sound(replace(fitted, **edit(fitted)), 5)
