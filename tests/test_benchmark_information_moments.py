"""The benchmark of densities of largest entropy: its cases and what is measured."""

import numpy as np
import pytest

from tests.benchmarks import information_moments as moments

QUICK = {"quick": True, "seed": 10}


def test_cases_are_distinct_and_of_every_section():
    found = list(moments.cases_of(0))
    assert {case["section"] for case in found} == set(moments.SECTIONS) == set(moments.COLUMNS)
    assert len({tuple(sorted(case.items())) for case in found}) == len(found)
    assert not [case for case in moments.cases_of(1) if case["section"] == "closed forms"]


@pytest.mark.parametrize(
    "case",
    [
        {"section": "closed forms", "set": "gamma", "model": moments.OURS},
        {"section": "closed forms", "set": "exponential", "model": moments.SCIPY},
        {"section": "tilts", "set": "2 columns", "model": moments.OURS},
        {"section": "tilts", "set": "2 columns", "model": moments.WEIGHTS},
        {"section": "identities", "model": "QDA"},
        {"section": "classifiers", "set": "iris", "model": moments.SECOND_ORDER},
    ],
    ids=lambda case: f"{case['section']}, {case['model']}",
)
def test_measured_figures_are_those_of_the_columns(case):
    found = moments.SECTIONS[case["section"]]({**case, **QUICK})
    assert set(found) == set(moments.COLUMNS[case["section"]])
    assert all(np.isfinite(value) for value in found.values())


def test_the_peer_finds_the_law_too():
    case = {"section": "closed forms", "set": "truncated normal", "model": moments.SCIPY}
    assert moments.closed_forms({**case, **QUICK})["error"] < 1e-3


def test_what_is_the_same_is_found_to_be():
    for model in ("LogisticRegression", "QDA", "GaussianNB"):
        case = {"section": "identities", "model": model}
        assert moments.identities({**case, **QUICK})["difference"] < 1e-6
