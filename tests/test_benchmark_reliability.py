"""Quick counts of what the reliability benchmark counts: no fault that is silent."""

import sys

import pytest

pytest.importorskip("resource", reason="damaged files are read under a limit of memory")

from tests.benchmarks import reliability, reliability_interrupts, reliability_persistence
from tests.benchmarks.reliability_persistence import flips

N_FLIPS, N_PLACES = 12, 5


def test_no_flipped_bit_is_answered_silently(random_seed):
    counts = flips(N_FLIPS, random_seed)
    print(counts, file=sys.stderr)  # noqa: T201 - pytest -s shows how many raised
    for form, outcomes in counts.items():
        assert sum(outcomes.values()) == N_FLIPS, form
        assert outcomes["wrong"] == 0, (form, outcomes)
        assert outcomes["raised"] > N_FLIPS / 2, (form, outcomes)


def test_a_wrong_answer_would_be_counted(monkeypatch, tmp_path):
    """Of a reader that gives another model, whatever it reads."""
    monkeypatch.setitem(reliability_persistence.READERS, "pickle", lambda path: None)
    monkeypatch.setattr(reliability_persistence, "_asked", lambda kind, model: [b"other"])
    outcome = reliability_persistence._outcome("gradient", "pickle", tmp_path, [b"expected"])
    assert outcome == "wrong"


@pytest.mark.parametrize("scenario", reliability_interrupts.SCENARIOS)
def test_no_interrupt_at_a_line_is_silent(scenario, random_seed):
    counts, wrong = reliability_interrupts.lines(scenario, N_PLACES, random_seed)
    assert wrong == []
    assert sum(counts.values()) == N_PLACES


def test_a_silent_interrupt_would_be_counted(monkeypatch):
    """Of a library that takes interrupts for the end of its work and tells nobody."""
    monkeypatch.setattr("skrae.sampling.sampler.warn_of_interruption", lambda what: None)
    monkeypatch.setattr("skrae.sampling.sampler.warn_of_cold_start", lambda: None)
    counts, wrong = reliability_interrupts.lines("sample_chains", 40)
    assert counts["wrong"] > 0
    assert {outcome for *_, outcome in wrong} == {"silent"}


def test_the_report_counts_faults():
    records = [
        {"attack": "kills", "on": "", "outcomes": {"same": 3, "other": 1}},
        {"attack": "lines", "on": "fit", "outcomes": {"wrong": 1}, "faults": [("em.py", 3)]},
    ]
    text = reliability.report(records)
    assert "1 other, 3 same | 1" in text
    assert "fit: ('em.py', 3)" in text
