"""What the library owes its caller: warnings at their line, errors in words, the state as it was.

Grad mode, inference mode, default device and autocast belong to the thread, the number of threads
to the process. The default dtype belongs to the process too, and other threads compute meanwhile:
nothing here sets it, and nothing in the library depends on it.
"""

import os
import re
import sys
import warnings
from contextlib import ExitStack, contextmanager
from functools import wraps

import numpy as np
import torch
from sklearn import config_context, get_config

PACKAGE = __name__.partition(".")[0]
# Whose frames tell nothing of who asked for a computation.
NUMERICAL = ("torch", "numpy", "scipy")
# Of torch's RuntimeErrors, those that numbers are to blame for, not shapes or memory.
BAD_NUMBERS = re.compile(
    r"\b(nan|inf|infinity|finite|overflow|probabilit\w+|multinomial|singular|converge\w*)\b"
    r"|positive.definite|ill-conditioned",
    re.IGNORECASE,
)
LIBRARIES = ("skrae", "sklearn", "joblib", "pickle", "copy", "skops")


def warn(message, category=UserWarning):
    """Warn at the line that called into the library, however deep the warning arises."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in LIBRARIES:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class _Fork:
    """Whether this process is a fork of one that had imported the library."""

    happened = False

    @classmethod
    def note(cls):
        cls.happened = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Fork.note)


def in_own_state(method):
    """Let a public function compute under grad mode on, on the processor, in full precision.

    The caller's state, with NumPy's handling of floating-point errors, is back when it ends, also
    where a KeyboardInterrupt came while one of them was switched. Where numbers break the library's
    own linear algebra, a ValueError says so; errors of the caller's code, such as a foreign
    estimator's, pass as they are.

    Examples
    --------
    >>> @in_own_state
    ... def slope(x):
    ...     x = torch.tensor(x, requires_grad=True)
    ...     return torch.autograd.grad(x**2, x)[0].item()
    >>> with torch.inference_mode():
    ...     slope(3.0)
    6.0
    """

    @wraps(method)
    def call(*args, **kwargs):
        with_grad, errors = torch.is_grad_enabled(), np.geterr()
        try:
            with ExitStack() as stack:
                for context in _ways_out():
                    stack.enter_context(context)
                torch.set_grad_enabled(True)
                return method(*args, **kwargs)
        except (RuntimeError, np.linalg.LinAlgError) as error:
            if _is_of_bad_numbers(error) and _is_our_own(error):
                raise ValueError(_in_words(error, method.__name__)) from error
            raise
        finally:
            try:
                restore_grad_mode(with_grad)
            finally:
                np.seterr(**errors)

    return call


def _is_of_bad_numbers(error):
    """Whether numbers that linear algebra cannot take broke it."""
    if isinstance(error, torch.linalg.LinAlgError | np.linalg.LinAlgError):
        return True
    return type(error) is RuntimeError and bool(BAD_NUMBERS.search(str(error)))


def _is_our_own(error):
    """Whether the library asked for the computation that failed, not code of its caller's."""
    found, trace = "", error.__traceback__
    while trace:
        module = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0]
        found, trace = found if module in NUMERICAL else module, trace.tb_next
    return found == PACKAGE


def _in_words(error, name):
    return (
        f"Got numbers that the linear algebra of {name} breaks on ({str(error).splitlines()[0]}),"
        " expected rows and a density of spreads that float64 can square: bring the columns to"
        " units of a like size, leave wild values and near-copies of columns out, or pass float64."
    )


def restore_grad_mode(enabled):
    """Set torch's grad mode, even if one KeyboardInterrupt comes just now."""
    try:
        torch.set_grad_enabled(enabled)
    finally:
        torch.set_grad_enabled(enabled)


def _ways_out():
    """Contexts that lead out of what the caller has set."""
    if torch.is_inference_mode_enabled():
        yield torch.inference_mode(False)
    if torch.get_default_device().type != "cpu":
        yield torch.device("cpu")
    if torch.is_autocast_enabled("cpu"):
        yield torch.autocast("cpu", enabled=False)
    if torch.cuda.is_available() and torch.is_autocast_enabled("cuda"):
        yield torch.autocast("cuda", enabled=False)
    if get_config()["array_api_dispatch"]:
        yield config_context(array_api_dispatch=False)
    if _Fork.happened and torch.get_num_threads() > 1:
        yield _one_thread()


@contextmanager
def _one_thread():
    """One thread of torch's: a fork would wait for those that only its parent has."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)
