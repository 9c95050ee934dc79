"""Work ends early with what it has, and finds its finished parts again."""

import time

import pytest
import torch

from skrae.preprocessing.contract.work import (
    INTERRUPT,
    TIME_LIMIT,
    Journal,
    as_work,
    breakable,
    check_time,
    ended_early,
    interruptible,
    recalled,
)


def test_an_interrupt_ends_the_block_and_is_told():
    done = []
    with interruptible() as interrupted:
        done.append(1)
        raise KeyboardInterrupt
    with interruptible() as not_interrupted:
        done.append(2)
    assert done == [1, 2]
    assert interrupted
    assert not not_interrupted


def test_other_errors_pass():
    with pytest.raises(MemoryError), interruptible():
        raise MemoryError


def stopped_at(n, blocks=(5,)):
    """How far blocks of so many steps get, of which a KeyboardInterrupt ends one at step n."""
    done = []
    for size in blocks:
        with breakable():
            for _ in range(size):
                if ended_early():
                    break
                if len(done) == n:
                    raise KeyboardInterrupt
                done.append(len(done))
    return len(done)


def test_work_tells_what_ended_it():
    assert as_work(stopped_at, 9) == (5, None)
    assert as_work(stopped_at, 3) == (3, INTERRUPT)
    assert not ended_early()


def test_after_an_early_end_only_what_must_be_is_done():
    assert as_work(stopped_at, 3, (5, 5)) == (3, INTERRUPT)


def test_outside_of_work_an_interrupt_passes():
    with pytest.raises(KeyboardInterrupt):
        stopped_at(3)


def steps(n, seconds):
    """Blocks of work, each of which asks for the time."""
    done = 0
    for _ in range(n):
        with interruptible():
            time.sleep(seconds)
            check_time()
            done += 1
    check_time()
    return done


def test_time_ends_one_block_and_what_follows_is_done():
    assert as_work(steps, 5, 0.01, time_limit=0.025) == (4, TIME_LIMIT)
    assert as_work(steps, 5, 0.0, time_limit=60.0) == (5, None)
    assert as_work(steps, 2, 0.0) == (2, None)


def test_an_interrupt_leaves_the_grad_mode_of_the_block():
    with interruptible():
        torch.set_grad_enabled(False)
        raise KeyboardInterrupt
    assert torch.is_grad_enabled()


def draws(n, killed_at=None):
    """Parts of work, the random draws of one generator."""
    generator, found = torch.Generator().manual_seed(0), []

    def draw():
        if killed_at == len(found):
            raise MemoryError
        return torch.rand(2, generator=generator), len(found)

    for _ in range(n):
        found.append(recalled(draw, generator))
    return torch.stack([part for part, _ in found])


def test_a_journal_gives_finished_parts_and_their_generator(tmp_path):
    path = tmp_path / "journal"
    right = draws(5)
    with pytest.raises(MemoryError):
        as_work(draws, 5, 3, journal=Journal(path, {"rows": "a"}))
    journal = Journal(path, {"rows": "a"})
    assert len(journal.parts) == 3
    torch.testing.assert_close(as_work(draws, 5, journal=journal)[0], right, rtol=0.0, atol=0.0)


def test_a_part_that_ended_early_is_not_kept(tmp_path):
    generator = torch.Generator()

    def interrupted():
        with breakable():
            raise KeyboardInterrupt
        return 1

    journal = Journal(tmp_path / "journal", {})
    as_work(recalled, interrupted, generator, journal=journal)
    assert journal.parts == []


def test_what_has_the_key_of_another_part_is_not_computed_again():
    generator, asked = torch.Generator(), []

    def draw():
        asked.append(generator.initial_seed())
        return torch.rand(2, generator=generator)

    def parts(keys):
        found = []
        for key in keys:
            value = recalled(draw, generator.manual_seed(len(found)), key)
            found.append((value, torch.rand(2, generator=generator)))
        return found

    first, second, other, none, still_none = as_work(parts, ["a", "a", "b", None, None])[0]
    assert asked == [0, 2, 3, 4]
    for expected, found in zip(first, second, strict=True):
        torch.testing.assert_close(found, expected, rtol=0.0, atol=0.0)
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(none[0], still_none[0])
    as_work(parts, ["a"])
    assert asked[-1] == 0  # nothing is left of a piece of work


def test_a_part_that_ended_early_has_no_key():
    asked = []

    def interrupted():
        asked.append(1)
        with breakable():
            raise KeyboardInterrupt

    as_work(lambda: [recalled(interrupted, torch.Generator(), "a") for _ in range(2)])
    assert len(asked) == 2


def test_another_journal_is_refused(tmp_path):
    path = tmp_path / "journal"
    Journal(path, {"rows": "a", "options": "b"}).write()
    with pytest.raises(ValueError, match=r"with other options, expected"):
        Journal(path, {"rows": "a", "options": "c"})


def test_a_damaged_journal_is_refused(tmp_path):
    path = tmp_path / "journal"
    Journal(path, {}).write()
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match="is no file of an unfinished fit"):
        Journal(path, {})


def test_a_write_that_breaks_off_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "journal"
    Journal(path, {"rows": "a"}).write()
    journal = Journal(path, {"rows": "a"})

    def half_written(found, file):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(OSError, match="no space"):
        journal.remember(level=1)
    monkeypatch.undo()
    assert Journal(path, {"rows": "a"}).state == {}
