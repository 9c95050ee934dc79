"""Tables that break scales, floors and tails, and random ones: a few of those of the benchmarks."""

import pytest

from tests.benchmarks import fuzz, hard_tables

QUICK = (
    "one entry of 1e6 in N(0, I_3), gap",
    "two clusters 1e6 apart, gap",
    "60 rows, six copies",
    "N(0, 1) beside 5 deviations, spread",
    "N(0, 1) beside a moved constant, mean",
    "wine, % a deviation outside",
)
# A single seed is allowed more than the mean of three.
SLACK = 0.05


@pytest.mark.parametrize("case", QUICK)
def test_hard_table(case):
    _, low, high = hard_tables.CASES[case]
    figure = hard_tables.measure({"case": case, "seed": 0})["figure"]
    assert low - SLACK <= figure <= high + SLACK


@pytest.mark.parametrize("seed", range(5))
def test_random_table(seed):
    message, labels = fuzz.loss(seed)
    assert not message, labels


def test_report_says_what_is_right():
    found = [{"case": "60 rows", "figure": figure} for figure in (-4.4, -4.5)]
    assert "| 60 rows | -4.450 | -4.500 | -4.400 | -4.7 to -4.2 | yes |" in hard_tables.report(
        found
    )
    assert "| NO |" in hard_tables.report([{"case": "60 rows", "figure": -9.0}])
