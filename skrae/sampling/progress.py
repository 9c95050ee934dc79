"""Progress of chains: to a callable of the user's, or to a bar on the terminal."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from skrae.sampling.mcmc.diagnostics import split_rhat

# R-hat is computed when this share of the draws has been added since the last time.
RHAT_EVERY = 0.1
MIN_DRAWS = 8


class Progress(NamedTuple):
    """How far the chains are.

    Attributes
    ----------
    stage : {"warm-up", "draws", "rows"}
    n_done, n_total : int
        Transitions in the warm-up, draws a chain after it, or completed rows.
    acceptance_rate : float
    rhat : float
        The largest split R-hat of the draws so far; NaN in the warm-up and before 8 draws.
    """

    stage: str
    n_done: int
    n_total: int
    acceptance_rate: float
    rhat: float


class Reporter:
    """Turns what the loops report into `Progress` for `tell`."""

    def __init__(self, tell):
        self.tell = tell

    def warm_up(self, n_total):
        """A function (n_done, trace) that tells of the warm-up."""

        def report(n_done, trace):
            rate = float(trace.accepted.double().mean())
            self.tell(Progress("warm-up", min(n_done, n_total), n_total, rate, np.nan))

        return report

    def draws(self, n_total):
        """A function (positions, acceptance_rate) that tells of the draws, (n, n_drawn, d)."""
        seen = {"n": 0, "rhat": np.nan}

        def report(positions, rate):
            n = positions.shape[1]
            due = n == n_total or n - seen["n"] >= RHAT_EVERY * n_total
            if due and n >= MIN_DRAWS:
                # fmax passes over NaN, and gives it without a warning where there is nothing else.
                seen.update(n=n, rhat=float(np.fmax.reduce(split_rhat(positions))))
            self.tell(Progress("draws", n, n_total, rate, seen["rhat"]))

        return report

    def rows(self, n_done, n_total):
        """Tell how many partly observed rows are completed."""
        self.tell(Progress("rows", n_done, n_total, np.nan, np.nan))


@contextmanager
def reporting(progress):
    """The `Reporter` of an option: None for False, a bar for True, a callable's own."""
    if progress is False:
        yield None
    elif progress is True:
        with _bar() as tell:
            yield Reporter(tell)
    else:
        yield Reporter(progress)


@contextmanager
def _bar():
    try:
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError as error:
        raise ImportError(
            "progress=True needs the package rich; expected it installed, as by the extra"
            " skrae[progress], or a callable as progress."
        ) from error
    text = TextColumn("{task.fields[state]}")
    tasks = {}
    with Bar("{task.description}", BarColumn(), text, TimeRemainingColumn()) as bar:

        def tell(p):
            if p.stage not in tasks:
                tasks[p.stage] = bar.add_task(p.stage, state="")
            known = [("acceptance {:.2f}", p.acceptance_rate), ("R-hat {:.3f}", p.rhat)]
            state = ", ".join(form.format(v) for form, v in known if np.isfinite(v))
            bar.update(tasks[p.stage], completed=p.n_done, total=p.n_total, state=state)

        yield tell
