"""Options as users hand them over: what is outside of what is expected raises, and says so."""

import math
from numbers import Integral, Real

import numpy as np
import torch

# How a number may be bounded, for `check_options_of`.
POSITIVE, COUNT = {"above": True}, {"kind": Integral}


def check_options_of(estimator, choices, intervals, flags):
    """Raise TypeError or ValueError for the first option outside what is expected.

    Parameters
    ----------
    estimator : object with the options as attributes, and a `time_limit`
    choices : dict of str, to the values that there are
    intervals : dict of str, to (low, high, other arguments of `check_number`)
    flags : sequence of str
    """
    for name, known in choices.items():
        check_choice(name, getattr(estimator, name), known)
    for name, (low, high, interval) in intervals.items():
        check_number(name, getattr(estimator, name), low, high, **interval)
    for name in flags:
        check_flag(name, getattr(estimator, name))
    if estimator.time_limit is not None:
        check_number("time_limit", estimator.time_limit, 0.0, above=True)


def check_choice(name, option, choices):
    """Raise ValueError unless an option is one of its choices.

    >>> check_choice("device", "gpu", ("auto", "cpu", "cuda"))
    Traceback (most recent call last):
    ValueError: Got device='gpu', expected one of ['auto', 'cpu', 'cuda'].
    """
    if not any(option is c or (isinstance(option, str) and option == c) for c in choices):
        raise ValueError(f"Got {name}={option!r}, expected one of {list(choices)}.")


def check_flag(name, flag):
    """Raise TypeError or ValueError unless an option is a bool or a whole number from 0 on."""
    if isinstance(flag, Integral | np.bool_) and flag >= 0:
        return
    kind = ValueError if isinstance(flag, Integral) else TypeError
    raise kind(f"Got {name}={flag!r}, expected True, False or an integer >= 0.")


def layer_sizes(sizes):
    """Sizes of layers as a tuple of ints, one integer being one layer; None where it is no such.

    >>> layer_sizes(8), layer_sizes([8, 2]), layer_sizes(()), layer_sizes((8, 0))
    ((8,), (8, 2), (), None)
    """
    if isinstance(sizes, str):
        return None
    listed = [sizes] if isinstance(sizes, Integral) else sizes if np.iterable(sizes) else [None]
    if not all(isinstance(size, Integral) and size >= 1 for size in listed):
        return None
    return tuple(int(size) for size in listed)


def available_device(device):
    """The torch device of "auto", "cpu" or "cuda"; ValueError where CUDA is asked for in vain."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("Got device='cuda', expected 'cpu' or 'auto': torch finds no CUDA device.")
    return device


def check_number(name, value, low, high=None, *, kind=Real, above=False):
    """Raise TypeError or ValueError unless an option is a finite number in its interval.

    Parameters
    ----------
    name : str
    value : object
    low : float, the least value, or the one to exceed where `above`
    high : float, which is not reached, or None
    kind : {Real, Integral}
    above : bool

    Examples
    --------
    >>> check_number("n_chains", 0, 1, kind=Integral)
    Traceback (most recent call last):
    ValueError: Got n_chains=0, expected an integer >= 1.
    """
    what = "an integer" if kind is Integral else "a finite number"
    interval = f"{'>' if above else '>='} {low:g}"
    if high is not None:
        interval += f" and < {high:g}"
    message = f"Got {name}={value!r}, expected {what} {interval}."
    if not isinstance(value, kind):
        raise TypeError(message)
    inside = (value > low if above else value >= low) and (high is None or value < high)
    if not (inside and math.isfinite(value)):
        raise ValueError(message)
