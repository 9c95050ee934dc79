"""The benchmark of tables larger than memory: files, cases and what is printed."""

import argparse

import numpy as np
import pytest

from tests.benchmarks import size, size_flows


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(size, "CHUNK", 400)


def test_files_hold_the_same_rows(tmp_path):
    pyarrow = pytest.importorskip("pyarrow.parquet")
    size.write_array(tmp_path / "rows.npy", 1000, 3)
    X = np.load(tmp_path / "rows.npy")
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, np.concatenate(list(size.chunks(1000, 3))))
    size.write_parquet(tmp_path / "rows.parquet", X)
    np.testing.assert_array_equal(np.stack(pyarrow.read_table(tmp_path / "rows.parquet"), 1), X)


def test_a_fit_is_measured_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(size, "TASK", "import sys, json; print(json.dumps(sys.argv[2:]))")
    assert size.memory({"rows": 1000, "seed": 3}) == ["3"]
    monkeypatch.setattr(size, "TASK", "import sys; sys.exit('no memory')")
    with pytest.raises(RuntimeError, match="no memory"):
        size.memory({"rows": 1000, "seed": 3})


def test_a_pass_takes_time_by_the_rows():
    X = np.concatenate(list(size.chunks(2000, 0)))
    assert size.pass_seconds(X, 2, 0) > 0.0


def test_quick_runs_one_case_of_each_section():
    names = "seeds", "rows", "sizes", "sections", "sets"
    options = argparse.Namespace(quick=True, **dict.fromkeys(names))
    assert [case["section"] for case in size.cases(options)] == list(size.SECTIONS)


def test_report_has_a_table_for_each_section():
    figures = {"file_mb": 400.0, "peak_mb": 204.4, "fit_cpu": 60.0, "components": 6}
    text = size.report([{"section": "memory", "rows": 10, "seed": 0, **figures}])
    assert "### memory" in text
    assert "| 10 | 400 | 204 | 60.0 | 6 | 1 |" in text


def test_patches_of_the_test_are_the_same_and_squares_are_disjoint():
    rows, test = size_flows.patches(500, 0)
    np.testing.assert_array_equal(test, size_flows.patches(100, 0)[1])
    assert rows.shape == (500, 63)
    assert test.shape == (size_flows.N_TEST, 63)
    image = np.arange(3 * 64 * 64 * 4).reshape(128, 128, 3)
    parts = [square for square, _ in size_flows.squares(image)]
    assert sorted(np.concatenate([part.ravel() for part in parts])) == list(range(image.size))


def test_a_flow_with_more_time_is_no_worse_for_the_rows_that_judge_it():
    pytest.importorskip("zuko")
    rows = np.random.default_rng(0).standard_normal((300, 2))
    one, other = size_flows.trained(rows, 0, [0.2, 0.6])
    assert np.isfinite(one.log_density(rows)).all()
    assert other.log_density(rows[:30]).mean() >= one.log_density(rows[:30]).mean()
