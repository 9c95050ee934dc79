"""What the library owes its caller: warnings at their line, an early end that loses nothing.

Work ends early by a KeyboardInterrupt or because its time is up. Where a part of it can be broken
off, `interruptible` stands around that part; what comes after such an end is only what a usable
result takes.
"""

import math
import sys
import time
import warnings
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass

import torch

from skrae.preprocessing.ambient import restore_grad_mode

LIBRARIES = ("skrae", "sklearn", "joblib")
INTERRUPT, TIME_LIMIT = "interrupt", "time limit"


def warn(message, category=UserWarning):
    """Warn at the line that called into the library, however deep the warning arises."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class OutOfTime(Exception):
    """Raised by `check_time` where the time limit of the work has passed."""


@dataclass
class _Work:
    """One piece of work: when its time is up, and why it ended early, if it did."""

    deadline: float = math.inf
    ended_by: str | None = None
    n_interruptible: int = 0  # blocks that it is in


_WORK = ContextVar("_WORK", default=None)


def as_work(function, *args, time_limit=None, **kwargs):
    """function(*args, **kwargs), and what ended it early: None, "interrupt" or "time limit".

    Parameters
    ----------
    function : callable
    time_limit : float or None
        Seconds after which `check_time` breaks off the `interruptible` block it is called in.
    """
    work = _Work(math.inf if time_limit is None else time.monotonic() + time_limit)

    def run():
        _WORK.set(work)
        return function(*args, **kwargs)

    # Of a context of its own nothing is left, whatever breaks it off.
    return copy_context().run(run), work.ended_by


def ended_early():
    """Whether the work that this is part of is to end with what it has."""
    work = _WORK.get()
    return work is not None and work.ended_by is not None


def check_time():
    """End the innermost `interruptible` block if the time of the work is up; once a work."""
    work = _WORK.get()
    if work is None or not work.n_interruptible or time.monotonic() < work.deadline:
        return
    work.deadline = math.inf
    raise OutOfTime


class Interrupt:
    """Whether the block of `interruptible` ended early."""

    def __init__(self):
        self.came = False

    def __bool__(self):
        return self.came


@contextmanager
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
    interrupt, work, with_grad = Interrupt(), _WORK.get() or _Work(), torch.is_grad_enabled()
    work.n_interruptible += 1
    try:
        yield interrupt
    except (KeyboardInterrupt, OutOfTime) as reason:
        work.ended_by = TIME_LIMIT if isinstance(reason, OutOfTime) else INTERRUPT
        interrupt.came = True
        # It may have come while torch was switching modes.
        restore_grad_mode(with_grad)
    finally:
        work.n_interruptible -= 1
