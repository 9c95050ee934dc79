"""What scikit-learn and the library promise of any fit, of raw tables."""

import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal, assert_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from skrae.density.fit import base, fitting
from skrae.density.incomplete import completing
from skrae.mixtures.growth import em
from skrae.preprocessing.contract.work import Journal
from tests.density.estimators import interrupt_after
from tests.density.incomplete.tables import (
    fitted,
    mixed_array,
    mixed_frame,
    mixed_model,
    quick,
    quietly,
)
from tests.interruptions import interrupt_at
from tests.round_trips import through_joblib, through_pickle, through_skops

pandas = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def frame():
    return mixed_frame(pandas)


def attributes(model):
    return {name: value for name, value in vars(model).items() if name.endswith("_")}


def is_same(model, other):
    assert_equal(attributes(model), attributes(other))


def gaussian_fit(X, **options):
    """A fit of hardly any time: of one Gaussian."""
    return fitted(X, **{"base_density": "gaussian", "noise_level": 0.3, **options})


def network_options(**options):
    """Of fits in which a network is trained for long enough to be stopped."""
    return {"base_density": "gaussian", "noise_level": 0.3, "max_iter": 30, **options}


# Weights and seeds


def test_the_same_seed_gives_the_same_model(frame):
    is_same(fitted(frame), mixed_model("pandas"))
    first, other = gaussian_fit(frame), gaussian_fit(frame, random_state=1)
    assert not np.array_equal(first.score_samples(frame), other.score_samples(frame))


def test_only_ratios_of_weights_matter(frame):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, len(frame))
    first = gaussian_fit(frame, sample_weight=weights)
    is_same(gaussian_fit(frame, sample_weight=4.0 * weights), first)
    assert not np.array_equal(first.location_, gaussian_fit(frame).location_)


def test_rows_of_weight_zero_are_left_out(frame):
    """Even such as would be refused, or change what a column is."""
    more = pandas.concat([frame, frame.head(20).assign(k=1000, z=7.5)], ignore_index=True)
    weights = np.append(np.ones(len(frame)), np.zeros(20))
    is_same(fitted(more, sample_weight=weights), mixed_model())


def test_heavy_rows_draw_the_density(frame):
    weights = np.where(frame["c"].astype(object) == "b", 8.0, 1.0)
    model = fitted(frame, sample_weight=weights)
    level = pandas.DataFrame({"c": ["b"], "x": [np.nan], "k": [np.nan], "z": [np.nan]})
    seen = ~frame["c"].isna().to_numpy()
    expected = weights[seen & (frame["c"] == "b")].sum() / weights[seen].sum()
    assert abs(np.exp(model.score_samples(level)[0]) - expected) < 0.06


# Parameters, names and copies


def test_a_clone_is_unfitted_and_fits_the_same(frame):
    model = gaussian_fit(frame)
    fresh = clone(model)
    assert not hasattr(fresh, "coefs_")
    assert fresh.get_params() == model.get_params()
    assert fresh.get_params()["column_kinds"] == "auto"
    is_same(quietly(fresh.fit, frame), model)


def test_a_fit_changes_neither_its_rows_nor_its_parameters(frame):
    rows, model = frame.copy(), clone(gaussian_fit(frame)).set_params(column_kinds={"k": "cells"})
    before = dict(model.get_params())
    quietly(model.fit, rows)
    assert rows.equals(frame)
    assert model.get_params() == before


def test_names_are_those_of_the_table(frame):
    model = mixed_model()
    assert model.feature_names_in_.tolist() == ["c", "x", "k", "z"]
    assert model.n_features_in_ == 4
    assert model.get_feature_names_out().shape == (6,)
    assert model.transform(frame.head(3)).shape == (3, 6)
    assert mixed_model("array").n_features_in_ == 4
    assert not hasattr(mixed_model("array"), "feature_names_in_")
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(frame.rename(columns={"x": "y"}))
    with pytest.raises(ValueError, match=r"features|feature names"):
        model.score_samples(frame[["c", "x"]])


def test_columns_tell_what_was_found(frame):
    table = pandas.DataFrame(mixed_model().columns_)
    assert table["name"].tolist() == ["c", "x", "k", "z"]
    assert table["kind"].tolist() == ["categorical", "continuous", "cells", "atoms"]
    assert table["step"].tolist() == [0.0, 0.0, 1.0, 0.0]
    assert table["n_levels"].tolist() == [3, 0, 0, 0]
    assert table["atoms"].tolist() == [(), (), (), (0.0,)]
    assert table["missing"].to_numpy() == pytest.approx(frame.isna().mean().to_numpy())
    assert np.isnan(table["location"].to_numpy()[0])
    assert table["location"].to_numpy()[1] == pytest.approx(frame["x"].mean(), abs=0.2)


def test_narrow_floats_are_fitted_as_wide_ones(frame):
    narrow = frame.astype({"x": "float32", "z": "float32"})
    model = fitted(narrow)
    assert model.score_samples(narrow).dtype == np.float64
    found = model.score_samples(narrow)
    assert found == pytest.approx(mixed_model().score_samples(frame), abs=0.05)
    draws = model.sample(5, random_state=0)
    assert draws.dtypes.equals(narrow.dtypes)


# Storage


@pytest.mark.parametrize("through", [through_pickle, through_joblib, through_skops])
def test_a_stored_model_answers_the_same(through, frame):
    model = mixed_model(has_network=True)
    loaded = through(model)
    is_same(loaded, model)
    rows = frame.head(10)
    for question in ("score_samples", "log_density_gradient", "transform"):
        assert_array_equal(getattr(loaded, question)(rows), getattr(model, question)(rows))
    assert loaded.reconstruct(rows).equals(model.reconstruct(rows))
    assert isinstance(through(mixed_model()).sample(3, random_state=0), pandas.DataFrame)


def edited(**attributes):
    model = pickle.loads(pickle.dumps(mixed_model()))
    for name, value in attributes.items():
        setattr(model, name, value)
    return pickle.dumps(model)


def table_without(n_features):
    state = mixed_model().table_
    return {**state, "features": state["features"][:n_features]}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"base_levels_": np.array([3, 3])}, "base_means_ of shape|base_levels_"),
        ({"base_levels_": np.array([2, 3])}, "base_levels_|table_"),
        ({"base_levels_": np.array([-3, 2])}, "base_levels_"),
        ({"base_levels_": np.array([3.0, 2.0])}, "base_levels_"),
        ({"table_": table_without(2)}, "fitted state with"),
        ({"table_": None}, r"base_levels_=array\(\[3, 2\]\), expected \(\), the levels of table_"),
        ({"table_": {"features": 3, "container": {}}}, "table_"),
        ({"table_": {}}, "table_"),
    ],
    ids=str,
)
def test_an_edited_state_is_refused(attributes, message):
    with pytest.raises(ValueError, match=message):
        pickle.loads(edited(**attributes))


def test_level_probabilities_are_ones():
    for change in (2.0, -1.0):
        means = mixed_model().base_means_.copy()
        means[:, -1] *= change
        with pytest.raises(ValueError, match="base_means_"):
            pickle.loads(edited(base_means_=means))


# A fit that goes on, or ends early


def test_a_warm_start_goes_on_from_the_table_of_the_fit(frame):
    model = fitted(frame, warm_start=True, **network_options())
    table, means, steps = model.table_, model.base_means_, model.n_iter_
    quietly(model.fit, frame.head(120))
    assert model.table_ == table
    assert_array_equal(model.base_means_, means)
    assert model.n_iter_ > steps
    check_usable(model, frame)
    with pytest.raises(ValueError, match="changed kind"):
        model.fit(frame.assign(c=np.arange(len(frame)) * 0.5))
    assert_array_equal(model.base_means_, means)


def check_usable(model, frame):
    rows = frame.head(20)
    assert np.isfinite(model.score_samples(rows)).all()
    assert np.isfinite(model.log_density_hessian(rows)).all()
    draws = quietly(model.sample, 50, random_state=0)
    assert draws.dtypes.equals(frame.dtypes)


STAGES = {
    "the first completion": (completing, "fit_gaussian_with_holes", 1),
    "the quick mixture": (em, "em_step", 3),
    "maps of columns": (base, "choose_space", 1),
    "the first mixture": (em, "em_step", 70),
    "the last steps": (em, "settle", 1),
    "log Z": (fitting, "normalise", 1),
}


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_can_be_interrupted(stage, frame, monkeypatch):
    module, name, occurrence = STAGES[stage]
    interrupt_at(module, name, occurrence, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="was interrupted; the best density so far"):
        model = quick().fit(frame)
    check_usable(model, frame)


def test_an_interrupted_network_is_usable(frame, monkeypatch):
    interrupt_after(5, monkeypatch)
    with pytest.warns(ConvergenceWarning, match="was interrupted"):
        model = quick(**network_options()).fit(frame)
    check_usable(model, frame)


@pytest.mark.parametrize("time_limit", [1e-6, 0.2])
def test_a_time_limit_gives_the_best_so_far(time_limit, frame):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = quick(time_limit=time_limit).fit(frame)
    assert any("reached its time_limit" in str(warning.message) for warning in caught)
    check_usable(model, frame)


class Killed(BaseException):
    """What no handler catches, as a signal 9."""


@pytest.mark.parametrize("n_writes", [1, 3])
def test_a_killed_fit_goes_on_to_the_same_model(n_writes, frame, tmp_path, monkeypatch):
    path, write, written = tmp_path / "fit", Journal.write, []

    def dies(journal):
        write(journal)
        written.append(1)
        if len(written) == n_writes:
            raise Killed

    monkeypatch.setattr(Journal, "write", dies)
    with pytest.raises(Killed):
        quietly(quick(checkpoint=path).fit, frame)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="of a fit with other rows, expected"):
        quick(checkpoint=path).fit(frame.iloc[1:])
    is_same(fitted(frame, checkpoint=path), mixed_model())
    assert not path.exists()


# With scikit-learn's tools


def test_it_is_the_last_step_of_a_pipeline(frame):
    model = gaussian_fit(frame)
    pipeline = make_pipeline(clone(model))
    quietly(pipeline.fit, frame)
    assert_array_equal(pipeline.score_samples(frame), model.score_samples(frame))
    assert pipeline.score(frame) == model.score(frame)


def test_a_search_compares_log_densities_of_raw_rows(frame):
    grid = {"column_kinds": ["auto", {"z": "continuous"}]}
    search = GridSearchCV(clone(gaussian_fit(frame)), grid, cv=2)
    quietly(search.fit, frame)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert list(quietly(search.best_estimator_.sample, 2).columns) == list(frame.columns)


def test_lists_and_masked_arrays_are_tables_too():
    rows = mixed_array()
    expected = mixed_model("array").score_samples(rows)
    assert_array_equal(mixed_model("array").score_samples(rows.tolist()), expected)
    numbers = np.ma.masked_invalid(rows[:, 1:].astype(float))
    found = gaussian_fit(numbers).score_samples(numbers)
    assert_array_equal(found, gaussian_fit(numbers.filled(np.nan)).score_samples(numbers))
