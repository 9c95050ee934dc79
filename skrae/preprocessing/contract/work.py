"""A piece of work: it may end early with what it has, and its parts may outlive the process.

Work ends early by a KeyboardInterrupt or because its time is up. Where a part of it can be broken
off, `interruptible` or `breakable` stands around that part; what comes after such an end is only
what a usable result takes.
"""

import math
import os
import time
from contextlib import nullcontext
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from pathlib import Path

import torch

from skrae.preprocessing.contract.caller import restore_grad_mode
from skrae.preprocessing.contract.processes import current

INTERRUPT, TIME_LIMIT = "interrupt", "time limit"


class OutOfTime(Exception):
    """Raised by `check_time` where the time limit of the work has passed."""


class Journal:
    """What the parts of a piece of work gave, in a file: work begun again finds them there.

    Parameters
    ----------
    path : str or path-like
    identity : dict of str, what the work depends on

    Raises
    ------
    ValueError
        Where the file is no journal, or one of other work.
    """

    def __init__(self, path, identity):
        self.path, self.identity = Path(path), identity
        self.parts, self.state, self.n_asked = [], {}, 0
        if self.path.exists():
            self._read()

    def _read(self):
        try:
            found = torch.load(self.path, weights_only=True)
            identity = found["identity"]
            self.parts, self.state = found["parts"], found["state"]
        except Exception as error:
            raise ValueError(
                f"Got checkpoint={str(self.path)!r}, which is no file of an unfinished fit, or a"
                " damaged one, expected such a file or none: pass another path, or remove it if it"
                " is one."
            ) from error
        other = [name for name in self.identity if identity.get(name) != self.identity[name]]
        if other:
            raise ValueError(
                f"Got checkpoint={str(self.path)!r} of a fit with other {' and '.join(other)},"
                " expected one begun with the same: pass another path, or remove it. In a search,"
                " whose fits are of many tables, leave checkpoint=None."
            )

    def write(self):
        """Write all of it: the file is the old one or the new one, whatever happens.

        Of several processes that do the same one writes.
        """
        if current().rank > 0:
            return
        fresh = self.path.with_name(self.path.name + ".part")
        with open(fresh, "wb") as file:
            found = {"identity": self.identity, "parts": self.parts, "state": self.state}
            torch.save(found, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)

    def remove(self):
        """Remove the file: the work is done."""
        if current().rank == 0:
            self.path.unlink(missing_ok=True)

    def recalled(self, compute, generator):
        """What `compute` gave the time before, or gives now; the generator is where it was then."""
        place, self.n_asked = self.n_asked, self.n_asked + 1
        if place < len(self.parts):
            value, generator_state = self.parts[place]
            generator.set_state(generator_state)
            return value
        value = compute()
        if not ended_early():
            self.parts.append((value, generator.get_state()))
            self.write()
        return value

    def remember(self, **state):
        """Keep where a long part stands, instead of where it stood before."""
        self.state.update(state)
        self.write()


@dataclass
class _Work:
    """One piece of work: when its time is up, and why it ended early, if it did."""

    deadline: float = math.inf
    journal: Journal | None = None
    ended_by: str | None = None
    n_interruptible: int = 0  # blocks that it is in
    found: dict = field(default_factory=dict)  # what was computed, by its key


_WORK = ContextVar("_WORK", default=None)


def as_work(function, *args, time_limit=None, journal=None, **kwargs):
    """function(*args, **kwargs), and what ended it early: None, "interrupt" or "time limit".

    Parameters
    ----------
    function : callable
    time_limit : float or None
        Seconds after which `check_time` breaks off the `interruptible` block it is called in.
    journal : Journal or None
    """
    deadline = math.inf if time_limit is None else time.monotonic() + time_limit
    work = _Work(deadline, journal)

    def run():
        _WORK.set(work)
        return function(*args, **kwargs)

    # Of a context of its own nothing is left, whatever breaks it off.
    return copy_context().run(run), work.ended_by


def ended_early():
    """Whether the work that this is part of is to end with what it has."""
    work = _WORK.get()
    return work is not None and work.ended_by is not None


def current_journal():
    """The `Journal` of the work that this is part of, or None."""
    work = _WORK.get()
    return None if work is None else work.journal


def recalled(compute, generator, key=None):
    """compute(), or what it gave when the same work was begun before, or before in this work.

    Parameters
    ----------
    compute : callable
    generator : torch.Generator, which is left where `compute` left it
    key : hashable, equal where all that `compute` depends on is; None for what is not kept
    """
    work = _WORK.get()
    if work is None:
        return compute()
    if key in work.found:
        value, generator_state = work.found[key]
        generator.set_state(generator_state)
        return value
    value = work.journal.recalled(compute, generator) if work.journal else compute()
    if key is not None and not ended_early():
        work.found[key] = value, generator.get_state()
    return value


def check_time():
    """End the innermost `interruptible` block if the time of the work is up; once a work."""
    work = _WORK.get()
    if work is None or not work.n_interruptible or time.monotonic() < work.deadline:
        return
    work.deadline = math.inf
    raise OutOfTime


class Interruptible:
    """The context of `interruptible`; true where its block ended early."""

    def __init__(self):
        self.came, self.work = False, _WORK.get() or _Work()

    def __bool__(self):
        return self.came

    def __enter__(self):
        self.with_grad = torch.is_grad_enabled()
        self.work.n_interruptible += 1
        return self

    def __exit__(self, kind, error, traceback):
        self.work.n_interruptible -= 1
        if not isinstance(error, KeyboardInterrupt | OutOfTime) or current().is_one_of_many:
            return False  # the other processes cannot know of it
        self.came = True
        self.work.ended_by = TIME_LIMIT if isinstance(error, OutOfTime) else INTERRUPT
        # It may have come while torch was switching modes.
        restore_grad_mode(self.with_grad)
        return True


def interruptible():
    """Run a block that a KeyboardInterrupt or the time limit ends.

    The value is true afterwards where one did.

    Examples
    --------
    >>> with interruptible() as interrupted:
    ...     raise KeyboardInterrupt
    >>> bool(interrupted)
    True
    """
    return Interruptible()


def breakable():
    """The same for a part of work that asks `ended_early` later; elsewhere an interrupt passes."""
    return nullcontext() if _WORK.get() is None else Interruptible()
