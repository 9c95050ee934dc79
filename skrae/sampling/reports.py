"""What the user hears of chains: warnings in plain words, and progress on the way."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrae.preprocessing.contract.caller import warn
from skrae.sampling.mcmc.diagnostics import split_rhat

RHAT_LIMIT = 1.01
# Split chains of n independent draws have R-hat^2 - 1 near 2 / n. Five times that is what a short
# run of chains that do agree may well show.
SHORT_CHAINS = 10.0
# Up to this R-hat more draws are likely to help.
SHORT_RUN = 1.1
# Progress tells R-hat anew when this share of the draws has been added, from so many draws on.
RHAT_EVERY, MIN_DRAWS = 0.1, 8
# Draws of a chain without which R-hat is unknown.
MIN_RHAT_DRAWS = 4

# By whether there are independence proposals, and from a base density that the user chose.
REMEDIES = {
    "local": "Where the density has separate modes, take proposal='auto' and pass base_density="
    " (rows like the data, or a fitted mixture), for independence proposals; otherwise raise"
    " n_warmup, or draw more.",
    "given": "base_density fits badly: only {:.0%} of all proposals were accepted. Pass rows or a"
    " mixture at least as wide as the density, or raise n_warmup, or draw more.",
    "own": "Raise n_warmup of RAESampler, draw more, or pass base_density= (rows like the data, or"
    " a fitted mixture) for independence proposals.",
}
# Below this the chains stand still, and modes are not what is wrong.
LEAST_ACCEPTANCE = 0.02
# Of draws that are resampled, the least effective share.
LEAST_EFFECTIVE = 0.05
FEW_DRAWS = "{} draws a chain are too few to tell, expected at least 4."
NO_MOVE = (
    "No draw differs from another by more than rounding: leave step_size at 'auto', raise n_warmup,"
    " or pass a base_density=."
)
FLAT = (
    "The log density is the same at all draws and was -inf at no proposal: it falls nowhere, as no"
    " proper density does, and draws of it mean nothing."
)
STANDSTILL = (
    "Only {:.1%} of the proposals were accepted: leave step_size at 'auto', raise n_warmup, or pass"
    " a base_density= that is closer to the density."
)


def rhat_limit(n_draws):
    """The largest R-hat that chains of `n_draws` draws may have without a warning."""
    return max(RHAT_LIMIT, float(np.sqrt(1.0 + SHORT_CHAINS / n_draws)))


def remedy_for(proposal, base_density):
    """The key of the remedy for chains with these options."""
    if proposal not in ("auto", "independence"):
        return "local"
    return "own" if base_density is None or isinstance(base_density, str) else "given"


class ConvergenceSummary(NamedTuple):
    """What tells whether chains can be trusted."""

    rhat: np.ndarray  # (d,)
    n_draws: int  # a chain
    acceptance_rate: float
    n_undefined: int  # proposals of log density NaN
    n_proposed: int
    is_flat: bool = False  # whether the log density is the same wherever the chains went


def warn_of_chains(summary, names, remedy):
    """Warn where the log density was NaN, chains disagree on some feature, or nothing tells."""
    warn_of_undefined(summary.n_undefined, summary.n_proposed)
    if summary.is_flat:
        warn(FLAT, ConvergenceWarning)
    if np.isnan(summary.rhat).all():
        few = summary.n_draws < MIN_RHAT_DRAWS
        reason = FEW_DRAWS.format(summary.n_draws) if few else NO_MOVE
        warn(f"Whether the chains mix is unknown. {reason}", ConvergenceWarning)
        return
    limit, worst = rhat_limit(summary.n_draws), float(np.nanmax(summary.rhat, initial=1.0))
    if worst <= limit:
        return
    feature = int(np.nanargmax(summary.rhat))
    name = f"feature {feature}" if names is None else repr(str(names[feature]))
    found = f"R-hat of {name} is {worst:.3f}, expected at most {limit:.3f}."
    if worst < SHORT_RUN:
        warn(
            f"The chains are too short to tell whether they mix: {found} Draw more.",
            ConvergenceWarning,
        )
        return
    stand = summary.acceptance_rate < LEAST_ACCEPTANCE
    advice = (STANDSTILL if stand else REMEDIES[remedy]).format(summary.acceptance_rate)
    warn(
        f"The chains do not mix: {found} The draws depend on where the chains started. {advice}",
        ConvergenceWarning,
    )


def warn_of_no_base(learned):
    """Tell what chains without a given base density cannot do, whether they learned one or not."""
    consequence = (
        "independence proposals come from a mixture fitted to the warm-up's own draws"
        if learned
        else "all moves are local (n_warmup or n_chains is too small to learn one)"
    )
    warn(
        f"No base density is known, so {consequence}: the chains do not mix with modes in which"
        " none of them started, and R-hat cannot show it. Pass base_density= (rows like the data,"
        " or a fitted mixture), or base_density=None for local moves alone.",
        ConvergenceWarning,
    )


def warn_of_rows(rhat, n_draws, rows):
    """Warn where the chains of some partly observed rows do not agree."""
    # A few chains a row and many rows: the limit is one that none of them reaches by chance.
    limit = np.sqrt(1.0 + 15.0 / n_draws)
    stuck = np.flatnonzero(rhat > limit)
    if len(stuck):
        warn(
            f"The chains of {len(stuck)} of {len(rhat)} rows do not mix, first of row"
            f" {rows[stuck[0]]}"
            f" with R-hat {rhat[stuck[0]]:.2f}. What is missing may have separate modes, or what is"
            " observed lies far from the data: take these draws with caution, or raise n_samples.",
            ConvergenceWarning,
        )


def warn_of_few_draws(effective):
    """Warn of rows completed by draws of the base density of which few carry the weight.

    Parameters
    ----------
    effective : array of shape (n,), the effective number of these draws as a share of all
    """
    n_few = int((effective < LEAST_EFFECTIVE).sum())
    if n_few:
        warn(
            f"{n_few} of {len(effective)} rows were completed by draws of the base density that are"
            f" worth fewer than {LEAST_EFFECTIVE:.0%} of their number: their draws repeat. More"
            " n_samples help.",
            ConvergenceWarning,
        )


def warn_of_length(ess, n_samples):
    """Warn where rows are worth fewer independent ones than half their number."""
    if ess < 0.5 * n_samples:
        warn(
            f"The {n_samples} rows are worth only {ess:.0f} independent ones: successive draws of a"
            " chain are too alike. Pass a base_density= to RAESampler, raise its n_warmup, or"
            " try another proposal.",
            ConvergenceWarning,
        )


def warn_of_undefined(n_undefined, n_proposed):
    """Tell how many proposals had a log density of NaN; -inf is a density of zero."""
    if n_undefined:
        warn(
            f"The log density was NaN or +inf at {n_undefined} of {n_proposed} proposals, which"
            " were all rejected: this hints at an error in score_samples or log_density_gradient.",
            RuntimeWarning,
        )


def warn_of_interruption(what):
    """Tell that the result is shorter than what was asked for."""
    warn(f"The run was interrupted; {what} drawn before that are returned.", ConvergenceWarning)


def warn_of_cold_start():
    """Tell that chains ran no farther than into their warm-up."""
    warn(
        "The run was interrupted in its warm-up: where each chain stood is returned, which need not"
        " be a draw of the density.",
        ConvergenceWarning,
    )


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


def printed(name, every=0.25):
    """A callable for `progress` that prints a line whenever so much of a stage has been done."""
    shown = {}

    def tell(p):
        share, last = p.n_done / max(p.n_total, 1), shown.get(p.stage, 0.0)
        if share < 1.0 and 0.0 <= share - last < every:
            return
        shown[p.stage] = share
        print(f"[{name}] {p.stage}: {p.n_done} of {p.n_total}, {_state(p)}")  # noqa: T201

    return tell


def _state(p):
    """Acceptance and R-hat, where they are known."""
    known = [("acceptance {:.2f}", p.acceptance_rate), ("R-hat {:.3f}", p.rhat)]
    return ", ".join(form.format(value) for form, value in known if np.isfinite(value))


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
            bar.update(tasks[p.stage], completed=p.n_done, total=p.n_total, state=_state(p))

        yield tell
