"""Damage to stored models is seen: quick counts of what `flips` counts."""

import sys

import pytest

pytest.importorskip("resource", reason="damaged files are read under a limit of memory")

from tests.benchmarks import reliability_persistence
from tests.benchmarks.reliability_persistence import flips

N_FLIPS = 20


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
