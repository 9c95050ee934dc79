"""The benchmark of laws of a target: its score in closed form, its splits, what it prints."""

import numpy as np
import pytest
from scipy import stats

from tests.benchmarks import conditionals


def test_pinball_losses_are_the_crps():
    """Of a standard normal law the CRPS is y (2 Phi - 1) + 2 phi - 1 / sqrt(pi)."""
    levels = (np.arange(2000) + 0.5) / 2000
    y = np.array([-2.0, 0.0, 0.7])
    law = stats.norm()
    expected = y * (2.0 * law.cdf(y) - 1.0) + 2.0 * law.pdf(y) - 1.0 / np.sqrt(np.pi)
    found = conditionals.crps(y, np.tile(law.ppf(levels), (3, 1)), levels)
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_parts_of_a_split_share_no_row():
    X, y, X_test, y_test = conditionals.split("diabetes", 0)
    assert (len(X), len(X_test)) == (354, 88)
    rows = {row.tobytes() for row in np.column_stack([X, y])}
    assert rows.isdisjoint(row.tobytes() for row in np.column_stack([X_test, y_test]))


@pytest.mark.filterwarnings("ignore")  # short fits and small kernels warn of what they are
def test_models_are_measured_and_shown():
    found = []
    for model in conditionals.MODELS:
        case = {"set": "diabetes", "seed": 0, "model": model, "quick": True}
        found.append({**case, **conditionals.measure(case)})
    for record in found:
        assert 0.5 < record["coverage"] <= 1.0
        np.testing.assert_allclose(sum(record["deciles"]), 1.0)
        assert 20.0 < record["crps"] < 60.0
        assert (record["log_density"] is None) == (record["model"] == "boosting")
    text = conditionals.report(found)
    assert f"| diabetes | skrae | {found[0]['crps']:.3f} (-) |" in text
    assert text.count("| diabetes |") == 6
