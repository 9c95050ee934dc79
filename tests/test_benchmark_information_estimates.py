"""The benchmark of estimates of entropy and information: its truths, its cases, its figures."""

import math

import numpy as np
import pytest

from tests.benchmarks import information_estimates as estimates

QUICK = {"quick": True, "seed": 10}


def test_truths_are_those_of_large_normal_tables():
    """The plug-in of a normal law is exact in the limit, where the law is normal."""
    rng = np.random.default_rng(10)
    for name, (draw, truth) in estimates.ENTROPY_LAWS.items():
        rows = np.vstack([draw(rng) for _ in range(20)])
        found = estimates.normal_entropy(np.cov(rows.T))
        if name.startswith("normal"):
            assert found == pytest.approx(truth, abs=0.05)
        else:
            # Of all laws with its covariance the normal has the greatest entropy.
            d = rows.shape[1]
            assert found - truth == pytest.approx(
                d * (math.log(2 * math.pi * math.e) / 2 - 1), abs=0.1
            )
    for name, (draw, truth) in estimates.INFORMATION_LAWS.items():
        if "exp" not in name:
            X, Y = (np.vstack(parts) for parts in zip(*(draw(rng) for _ in range(20)), strict=True))
            assert estimates.INFORMATIONS["normal plug-in"](X, Y) == pytest.approx(truth, abs=0.05)


def test_every_case_is_there_once_and_peers_where_there_is_one_column():
    cases = list(estimates.cases_of(0))
    assert {case["section"] for case in cases} == set(estimates.SECTIONS)
    assert len({tuple(case.values()) for case in cases}) == len(cases)
    peers = [case["set"] for case in cases if case["model"] in estimates.OF_ONE_COLUMN]
    assert len(peers) == 2 + 6
    assert {"normal, 1 columns", "exponential, 1 columns", "rho 0.5, 1 x 1 columns"} <= set(peers)


@pytest.mark.parametrize("model", estimates.ENTROPIES)
def test_entropies_are_near_the_truth(model):
    case = {"section": "entropy estimates", "set": "normal, 1 columns", "model": model, **QUICK}
    found = estimates.SECTIONS[case["section"]](case)
    assert set(found) >= set(estimates.COLUMNS[case["section"]])
    assert found["estimate"] - found["truth"] == pytest.approx(found["bias"])
    assert abs(found["bias"]) < 0.1
    assert 0.0 < found["spread"] < 0.1


@pytest.mark.parametrize("model", estimates.INFORMATIONS)
def test_informations_are_near_the_truth(model):
    name = "rho 0.9, 1 x 1 columns"
    case = {"section": "information estimates", "set": name, "model": model, **QUICK}
    found = estimates.SECTIONS[case["section"]](case)
    assert set(found) >= set(estimates.COLUMNS[case["section"]])
    assert found["truth"] == pytest.approx(0.8304, abs=1e-4)
    assert abs(found["bias"]) < 0.1
