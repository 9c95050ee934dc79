"""What the library owes its caller: warnings at their line, interrupts that lose nothing."""

import sys
import warnings
from contextlib import contextmanager

LIBRARIES = ("skrae", "sklearn", "joblib", "pickle", "copy", "skops")


def warn(message, category=UserWarning):
    """Warn at the line that called into the library, however deep the warning arises."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class Interrupt:
    """Whether a KeyboardInterrupt ended the block of `interruptible`."""

    def __init__(self):
        self.came = False

    def __bool__(self):
        return self.came


@contextmanager
def interruptible():
    """Run a block that a KeyboardInterrupt ends; the value is true afterwards where it did.

    Examples
    --------
    >>> with interruptible() as interrupted:
    ...     raise KeyboardInterrupt
    >>> bool(interrupted)
    True
    """
    interrupt = Interrupt()
    try:
        yield interrupt
    except KeyboardInterrupt:
        interrupt.came = True
