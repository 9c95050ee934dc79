"""The benchmark of imputers: its cases, its holes and its figures."""

import numpy as np
import pytest

from tests.benchmarks import imputers

SET, SEED = "wine", 7


def test_every_case_is_there_once():
    found = [tuple(sorted(case.items())) for case in imputers.cases_of(0)]
    assert len(set(found)) == len(found)
    assert {dict(case)["section"] for case in found} == set(imputers.SECTIONS)
    assert set(imputers.SECTIONS) == set(imputers.COLUMNS)


def test_holes_are_a_fifth_and_the_rest_is_true():
    found = imputers.problem(SET, SEED)
    for holed, true in ((found.holed_train, found.train), (found.holed_test, found.test)):
        seen = ~np.isnan(holed)
        np.testing.assert_array_equal(holed[seen], true[seen])
        assert abs(seen.mean() - 0.8) < 5.0 * np.sqrt(0.16 / seen.size)
    np.testing.assert_allclose(found.train.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_array_equal(imputers.problem(SET, SEED).holed_test, found.holed_test)
    assert len(found.y_train) == len(found.train)


@pytest.mark.parametrize("model", ["SimpleImputer", "KNNImputer"])
def test_figures_of_one_value(model):
    case = {"set": SET, "seed": SEED, "model": model}
    found, own = imputers.holes(case), imputers.problem(SET, SEED)
    assert set(found) == set(imputers.COLUMNS["holes"])
    assert found["coverage"] is None
    hidden = np.isnan(own.holed_test)
    error = (imputers.filled(SET, SEED, model, False).test - own.test)[hidden]
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)))
    assert found["crps"] == pytest.approx(np.abs(error).mean())
    accuracy = imputers.downstream(case)
    assert set(accuracy) == set(imputers.COLUMNS["downstream"])
    assert all(0.5 < value <= 1.0 for value in accuracy.values())


def test_ours_draws():
    case = {"set": SET, "seed": SEED, "model": imputers.OURS, "quick": True}
    found = imputers.holes(case)
    assert found["crps"] < imputers.holes({**case, "model": "SimpleImputer"})["crps"]
    assert 0.6 < found["coverage"] <= 1.0
    draws = imputers.filled(SET, SEED, imputers.OURS, True).draws
    assert draws.shape == (45, imputers.N_DRAWS, 13)
