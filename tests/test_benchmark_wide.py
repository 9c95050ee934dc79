"""The benchmark of wide tables: what a process of its own tells, and what is printed."""

import numpy as np
import pytest

from tests.benchmarks import wide

CASE = {"set": "factors 300 x 70", "seed": 10, "model": "ledoit-wolf"}


def test_a_fit_is_measured_in_a_process_of_its_own(monkeypatch):
    """Which is handed the case and prints the figures last."""
    monkeypatch.setattr(wide, "TASK", "import sys; print('a warning'); print(sys.argv[1])")
    assert wide.measure(CASE) == CASE


def test_what_failed_is_told(monkeypatch):
    monkeypatch.setattr(wide, "TASK", "import sys; sys.exit('no memory')")
    found = wide.measure(CASE)
    assert found == {"failed": "no memory"}
    assert "no memory" in wide.report([{**CASE, **found}])


@pytest.mark.parametrize("model", ["ledoit-wolf", "factor analysis"])
def test_peers_are_fitted(model, monkeypatch):
    monkeypatch.setattr(wide, "FACTORS", (1, 10))
    train, test = wide.tables(CASE["set"], CASE["seed"])
    assert train.shape == (300, 70)
    score, _ = wide.fitted(model, train, 0)
    spread = np.log(train.std(axis=0)).sum() + 35 * np.log(2 * np.pi * np.e)
    assert score(test).mean() > -spread  # independent columns


def test_report_has_a_line_for_each_model():
    figures = {"mean": -1.25, "fit_cpu": 2.0, "fit_mb": 3.0}
    text = wide.report([{**CASE, **figures}, {**CASE, **figures, "seed": 11, "mean": -1.75}])
    assert "| factors 300 x 70 | ledoit-wolf | -1.50 | 2.0 | 3.0 | - | - | 2 |" in text
