"""What the library owes its caller: warnings at their line, and the process's state as it was.

Grad mode, inference mode, default device and autocast belong to the thread, the number of threads
to the process. The default dtype belongs to the process too, and other threads compute meanwhile:
nothing here sets it, and nothing in the library depends on it.
"""

import os
import sys
import warnings
from contextlib import ExitStack, contextmanager
from functools import wraps

import numpy as np
import torch
from sklearn import config_context, get_config

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
    where a KeyboardInterrupt came while one of them was switched.

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
        finally:
            try:
                restore_grad_mode(with_grad)
            finally:
                np.seterr(**errors)

    return call


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
