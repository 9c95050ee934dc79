"""The benchmark of what flatters a choice: on few rows, and what it prints."""

import numpy as np
import pytest

from tests.benchmarks import optimism


@pytest.mark.parametrize("case", [("ring", "size"), ("normal d=2", "maps")])
def test_choices_are_measured(case):
    name, model = case
    found = optimism.measure({"set": name, "model": model, "n": 150, "seed": 0})
    assert all(np.isfinite(list(found.values())))
    text = optimism.report([{"set": name, "model": model, "n": 150, **found}])
    assert f"| {name} | 150 | {found['nats']:.2f} | {found['error']:.2f} |" in text
