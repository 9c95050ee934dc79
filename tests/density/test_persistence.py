"""A fitted estimator outlives its process: pickle, joblib, skops, clone."""

import pickle
import re
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone

from skrae import RAESampler, RegularizedAutoEncoderScore, datasets
from tests.density.estimators import quick_estimator
from tests.density.stored_models import FOLDER, KINDS, TRUSTED, answers, rows_of
from tests.round_trips import through_joblib, through_pickle, through_skops


@pytest.fixture(scope="module")
def X(random_seed):
    """Rows of a thickened circle."""
    return datasets.Ring().sample(100, random_seed)


@pytest.fixture(scope="module")
def fitted(X):
    """A fitted model."""
    return quick_estimator(max_iter=36).fit(X)


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_round_trip_answers_the_same(through, fitted, X):
    copy = through(fitted)
    np.testing.assert_array_equal(copy.score_samples(X), fitted.score_samples(X))
    np.testing.assert_array_equal(copy.log_density_gradient(X), fitted.log_density_gradient(X))
    np.testing.assert_array_equal(copy.sample(5, 0), fitted.sample(5, 0))
    assert copy.get_params() == fitted.get_params()
    assert list(vars(copy)) == list(vars(fitted))
    np.testing.assert_equal(vars(copy), vars(fitted))


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_an_unfitted_model_makes_the_round_trip(through):
    model = quick_estimator(hidden_layer_sizes=[4, 2], scaling=None)
    assert vars(through(model)) == vars(model)


def test_round_trip_can_be_continued(fitted, X):
    copy = through_pickle(fitted).set_params(warm_start=True).fit(X)
    assert copy.n_iter_ > fitted.n_iter_


def test_pickle_answers_the_same_in_another_process(fitted, X, tmp_path):
    model_file, rows_file = tmp_path / "model.pickle", tmp_path / "rows.npy"
    model_file.write_bytes(pickle.dumps(fitted))
    np.save(rows_file, X)
    script = (
        "import pickle, sys, numpy as np\n"
        "model = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(*(v.hex() for v in model.score_samples(np.load(sys.argv[2])).tolist()))"
    )
    command = [sys.executable, "-c", script, str(model_file), str(rows_file)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    there = [float.fromhex(word) for word in output.split()]
    # Another process may have another number of threads, and so another order of summation.
    np.testing.assert_allclose(there, fitted.score_samples(X), rtol=1e-12)


# --- arrays that are mapped from a file: torch would warn, which may not write to them ------------


of_any_version = pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")


@pytest.fixture
def stored():
    """The stored models of each kind, and the same with arrays that are mapped from their file."""
    path = FOLDER / "format_1.joblib"
    return joblib.load(path), joblib.load(path, mmap_mode="r")


@of_any_version
def test_mapped_arrays_give_the_same_bits(stored):
    models, mapped = stored
    rows = {kind: rows_of(kind)[:20] for kind in models if kind != "tied"}
    rows["tied"] = rows_of("tied")[:6]  # of which none is too flat to be corrected
    np.testing.assert_equal(answers(mapped, rows), answers(models, rows))


@of_any_version
@pytest.mark.parametrize("kind", KINDS)
def test_mapped_arrays_give_the_same_chains(kind, stored):
    draws, completed = [], []
    for models in stored:
        draws.append(models[kind].sample(5, 0))
        holes = rows_of(kind)[:3].copy()
        holes[:, 1] = np.nan
        sampler = RAESampler(models[kind], random_state=0)
        completed.append(sampler.sample_conditional(holes, 4))
    np.testing.assert_array_equal(*draws)
    np.testing.assert_array_equal(*completed)


@of_any_version
@pytest.mark.parametrize("kind", KINDS)
def test_fits_of_mapped_arrays_go_on_alike(kind, stored):
    X = rows_of(kind)
    scores = []
    for models in stored:
        model = models[kind].set_params(warm_start=True, max_iter=12)
        scores.append(model.fit(X).score_samples(X))
    np.testing.assert_array_equal(*scores)


def test_the_mapped_file_may_go(fitted, X, tmp_path):
    path = tmp_path / "model.joblib"
    joblib.dump(fitted, path)
    model = joblib.load(path, mmap_mode="r")
    path.write_bytes(b"\0" * path.stat().st_size)
    np.testing.assert_array_equal(model.score_samples(X), fitted.score_samples(X))


# --- types that skops is to trust -----------------------------------------------------------------

OPTIONS = {
    "gradient": {"margins": "identity", "noise_covariance": np.str_("isotropic")},
    "free": {"hidden_layer_sizes": (np.int64(4),) * 2, "contraction_weight": np.float64(0.1)},
    "tied": {"hidden_layer_sizes": [4], "bias_correction": np.bool_(True)},
    "kernel": {"hidden_layer_sizes": np.int64(4), "scaling": None},
    "random": {"random_state": np.random.RandomState(0), "base_density": "mixture"},
    "bounded": {"max_components": 2, "max_mixtures": np.int32(1), "select": "score"},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("named", [False, True])
def test_no_option_makes_a_type_more_to_trust(name, named, X):
    skops = pytest.importorskip("skops.io")
    if named:
        X = pytest.importorskip("pandas").DataFrame(X, columns=["a", "b"])
    decoder = name if name in ("free", "tied", "kernel") else "gradient"
    model = quick_estimator(**{"decoder": decoder, "max_iter": 6, **OPTIONS[name]}).fit(X)
    assert list(vars(through_skops(model))) == list(vars(model))
    assert skops.get_untrusted_types(data=skops.dumps(model)) == TRUSTED


@of_any_version
def test_radial_units_and_maps_need_no_more_trust(stored):
    for model in stored[0].values():
        through_skops(model)
    assert stored[0]["average"].radial_units_ is not None
    assert stored[0]["average"].margins_ is not None


def test_the_guide_lists_the_types_to_trust():
    page = Path(__file__).parents[2] / "docs" / "guide" / "storing.md"
    text = page.read_text(encoding="utf-8")
    assert re.search(r"<!-- trusted -->\n```text\n(.*?)\n```", text, re.S)[1].split() == TRUSTED
    assert f"trusted = {TRUSTED!r}".replace("'", '"') in text


# --- what is stored -------------------------------------------------------------------------------


def leaves(value):
    """The value, or what its containers hold, at any depth."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    if isinstance(value, dict):
        return leaves(list(value.values()))
    return [value]


def test_fitted_attributes_are_numpy_or_builtin(fitted):
    for name, value in vars(fitted).items():
        kinds = {type(leaf) for leaf in leaves(value)}
        allowed = {np.ndarray, np.float64, float, int, bool, str, type(None)}
        assert kinds <= allowed, (name, kinds)


def test_fitted_arrays_are_documented():
    """Every public attribute that fit sets is in the docstring, and nothing else is."""
    section = RegularizedAutoEncoderScore.__doc__.split("Attributes\n")[1].split("See Also\n")[0]
    heads = [line for line in section.splitlines() if line.startswith("    ") and " : " in line]
    heads = [line.split(" : ")[0] for line in heads if not line.startswith("     ")]
    documented = {name.strip() for head in heads for name in head.split(",")}
    X = np.random.default_rng(0).standard_normal((20, 2))
    model = quick_estimator(max_iter=6).fit(X)
    fitted = {name for name in vars(model) if name.endswith("_") and not name.startswith("_")}
    assert fitted | {"feature_names_in_"} == documented


def test_clone_is_unfitted_and_has_the_parameters(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "coefs_")


def test_parameters_can_be_set_and_are_never_overwritten(fitted, X):
    parameters = {"noise_level": "auto", "hidden_layer_sizes": [8], "batch_size": 1000}
    model = quick_estimator(max_iter=6).set_params(**parameters).fit(X)
    for name, value in parameters.items():
        assert getattr(model, name) is value


def test_parameters_set_after_fit_change_no_answer(fitted, X):
    model = through_pickle(fitted)
    model.set_params(
        noise_level=1.0, activation="tanh", noise_covariance="isotropic", contraction_weight=0.1
    )
    np.testing.assert_array_equal(model.reconstruct(X), fitted.reconstruct(X))
    np.testing.assert_array_equal(model.score_samples(X), fitted.score_samples(X))


def test_repr_names_what_is_not_default():
    model = RegularizedAutoEncoderScore(0.25, scaling=None)
    assert repr(model) == "RegularizedAutoEncoderScore(noise_level=0.25, scaling=None)"
