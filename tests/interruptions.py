"""KeyboardInterrupts at chosen lines, and what must hold after each.

A trace function raises one where a line of the library, or of the modules that switch torch's
modes, is about to run: what a Ctrl-C does at a place that chance would find once in a thousand
times.
"""

import contextlib
import random
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch

import skrae
from skrae.preprocessing.contract.work import ended_early

SOURCES = (
    str(Path(skrae.__file__).parent),
    torch.autograd.grad_mode.__file__,
    contextlib.__file__,
)
OUTCOMES = "raised", "told"


def _traced(on_line):
    """A context in which on_line(code, line) is called before every line of the sources."""

    @contextlib.contextmanager
    def context():
        before = sys.gettrace()
        sys.settrace(enter)
        try:
            yield
        finally:
            sys.settrace(before)

    def enter(frame, event, argument):
        return step if frame.f_code.co_filename.startswith(SOURCES) else None

    def step(frame, event, argument):
        if event == "line":
            on_line(frame.f_code, frame.f_lineno)
        return step

    return context()


def lines_of(function):
    """How often function() runs each line, by (file, line)."""
    counts = Counter()
    with _traced(lambda code, line: counts.update([(code.co_filename, line)])):
        function()
    return counts


def interrupted_at(function, place, occurrence):
    """function() with a KeyboardInterrupt before a line runs for so many times; what it gives."""
    seen = 0

    def on_line(code, line):
        nonlocal seen
        if line == place[1] and code.co_filename == place[0]:
            seen += 1
            if seen == occurrence:
                sys.settrace(None)
                raise KeyboardInterrupt

    with _traced(on_line):
        return function()


def ambient():
    """State of the process and the thread that a call must leave as it was."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_device(),
        torch.get_default_dtype(),
        torch.is_autocast_enabled("cpu"),
        torch.get_num_threads(),
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002 - that it does not change
        np.geterr(),
        list(warnings.filters),
        ended_early(),
    )


def outcome_of(call, is_whole, place, occurrence):
    """ "raised" or "told", or what is wrong, of call() interrupted at a line.

    Parameters
    ----------
    call : callable
    is_whole : callable(result, raised) -> str, what is wrong afterwards, empty for nothing
    place, occurrence : as those of `interrupted_at`
    """
    before, result, raised = ambient(), None, False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = interrupted_at(call, place, occurrence)
        except KeyboardInterrupt:
            raised = True
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    told = any("interrupted" in str(warning.message) for warning in caught)
    if ambient() != before:
        return "the state of the process changed"
    wrong = is_whole(result, raised)
    if wrong:
        return wrong
    if not raised and not told:
        return "silent"
    return "raised" if raised else "told"


def chosen_places(counts, n_places, seed):
    """So many of the lines, or all of them, each with one of its occurrences."""
    rng, places = random.Random(seed), sorted(counts)
    if n_places is not None and n_places < len(places):
        places = rng.sample(places, n_places)
    return [(place, rng.randint(1, counts[place])) for place in places]


def count_outcomes(make, n_places, seed):
    """A `Counter` of outcomes of interrupts at lines, and the places of those that are wrong.

    Parameters
    ----------
    make : callable() -> (call, is_whole), anew for each interrupt
    n_places : int, or None for every line
    """
    call, _ = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = lines_of(call)
    found, wrong = Counter(), []
    for place, occurrence in chosen_places(counts, n_places, seed):
        call, is_whole = make()
        outcome = outcome_of(call, is_whole, place, occurrence)
        found[outcome if outcome in OUTCOMES else "wrong"] += 1
        if outcome not in OUTCOMES:
            wrong.append((*place, occurrence, outcome))
    return found, wrong


def interrupt_at(module, name, occurrence, monkeypatch):
    """Let a function raise KeyboardInterrupt the nth time it is called."""
    function, calls = getattr(module, name), []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == occurrence:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    monkeypatch.setattr(module, name, interrupted)
