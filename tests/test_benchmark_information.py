"""The benchmark of entropy and information: its cases, its distance and what is printed."""

import numpy as np
import pytest

from tests.benchmarks import information, information_codes


class Options:
    """What the command line gives."""

    def __init__(self, seeds=None, quick=False, sections=None, models=None):
        self.seeds, self.quick, self.sections, self.models = seeds, quick, sections, models


def test_a_case_of_every_section_is_there():
    found = list(information.cases(Options()))
    assert {case["section"] for case in found} == set(information.SECTIONS)
    assert set(information.SECTIONS) == set(information.COLUMNS)
    assert len({tuple(sorted(case.items())) for case in found}) == len(found)
    quick = list(information.cases(Options(quick=True)))
    assert [case["section"] for case in quick] == list(dict.fromkeys(c["section"] for c in found))


def test_the_sliced_distance_of_a_shift_is_its_length_along_the_directions(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((400, 3))
    assert information_codes.sliced_wasserstein(X, X[::-1]) == pytest.approx(0.0, abs=1e-12)
    # E |cos| of a direction in three dimensions is 1/2, with a standard deviation of .29.
    found = information_codes.sliced_wasserstein(X, X + np.array([4.0, 0.0, 0.0]))
    assert found == pytest.approx(2.0, abs=4.0 * 4.0 * 0.29 / 500**0.5)


@pytest.mark.parametrize("model", information_codes.PEERS[1:])
def test_peers_draw_rows_near_the_table(model):
    case = {"section": "draws", "set": "digits", "n_components": 10, "model": model, "seed": 10}
    found = information.measure(case)
    assert 0.8 < found["ratio"] < 4.0
    text = information.report([{**case, **found}])
    assert "### draws" in text
    assert f"| {model} |" in text


def test_the_bound_is_below_what_the_views_share():
    found = information.measure({"section": "critics", "model": "InfoNCE", "rho": 0.9, "seed": 10})
    assert 0.7 < found["nats"] < found["truth"] + 0.05


def test_errors_of_rounding_are_told_by_their_order():
    case = {"section": "identities", "model": "QDA", "seed": 10, "difference": 3.1e-15}
    assert "| QDA | 3e-15 | 1 |" in information.report([case])
