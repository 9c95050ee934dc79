"""The benchmark of outlier detectors: its splits, signs, means and what is left out."""

import doctest
from argparse import Namespace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from tests.benchmarks import detector_tables, detectors


def test_examples_in_docstrings():
    for module in (detectors, detector_tables):
        assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("model", [*detectors.OURS, *detectors.SKLEARN])
def test_far_rows_are_the_outliers(random_seed, model):
    rng = np.random.default_rng(random_seed)
    train = rng.standard_normal((200, 2))
    test, labels = rng.standard_normal((100, 2)), np.arange(100) < 10
    test[labels] += 20.0
    scores, _ = detectors.scores_of(model, train, test, seed=0)
    assert roc_auc_score(labels, scores) == 1.0


def test_clean_training_rows_are_the_inliers_of_the_mixed_ones(data_folder):
    mixed, test, labels = detector_tables.split("ionosphere", 0, are_clean=False)
    clean, same_test, same_labels = detector_tables.split("ionosphere", 0, are_clean=True)
    np.testing.assert_array_equal(test, same_test)
    np.testing.assert_array_equal(labels, same_labels)
    assert 0 < len(mixed) - len(clean) < len(mixed)
    assert {row.tobytes() for row in clean} <= {row.tobytes() for row in mixed}


def test_few_outliers_are_left_of_a_large_class(random_seed):
    rng = np.random.default_rng(random_seed)
    X, y = rng.normal(size=(300, 1)), np.repeat([0, 1], [200, 100])
    rows, labels = detector_tables._drawn(X, y, rng)
    assert labels.sum() == 10
    assert len(rows) == 210
    assert set(rows[labels == 0, 0]) == set(X[:200, 0])


def test_ranks_and_means_are_over_tables_that_all_have():
    records = [
        {"set": name, "seed": 0, "model": model, "auc": auc, "ap": auc}
        for name, model, auc in (
            ("a", "skrae", 0.9),
            ("a", "iforest", 0.8),
            ("b", "skrae", 0.5),
            ("b", "iforest", 0.6),
            ("c", "skrae", 0.1),
        )
    ]
    lines = detectors.all_table(records).splitlines()
    assert lines[0] == "Means over 2 tables."
    assert lines[-2:] == ["| skrae | 0.700 | 0.700 | 1.50 |", "| iforest | 0.700 | 0.700 | 1.50 |"]


def test_alarms_are_shown_over_what_was_asked():
    records = [
        {"set": name, "seed": 0, "model": "iforest", "share 0.01": share} | others
        for name, share in (("a", 0.01), ("b", 0.02))
        for others in [{"share 0.05": 0.05, "share 0.1": 0.1}]
    ]
    row = detectors.alarm_table(records).splitlines()[-1]
    first = "1.50 (1.00 to 2.00)"
    assert row == f"| iforest | predict | {first} | 1.00 (1.00 to 1.00) | 1.00 (1.00 to 1.00) |"


def test_what_is_not_installed_is_left_out_in_words(monkeypatch):
    monkeypatch.setattr(detectors.importlib.util, "find_spec", lambda name: None)
    assert not set(detectors.installed()) & set(detectors.PYOD)
    assert detector_tables.further() == ()
    options = Namespace(quick=False, seeds=[0], models=None, sections=["mixed rows"], sets=None)
    cases = list(detectors.cases(options))
    assert {case["set"] for case in cases} == set(detector_tables.SHARED)
    record = {"section": "speed", "set": "10 x 2", "seed": 0, "model": "iforest", "cpu": 1.0}
    assert "Left out" in detectors.report([record])
    assert "dif" in detectors.report([record])
