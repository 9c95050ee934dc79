"""Warnings about chains, in plain words: what is wrong with the draws and what to do.

A stacklevel of 1 is the function that calls one of these.
"""

import warnings
from typing import NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning

RHAT_LIMIT = 1.01
# Split chains of n independent draws have R-hat^2 - 1 near 2 / n. Five times that is what a short
# run of chains that do agree may well show.
SHORT_CHAINS = 10.0
# Up to this R-hat more draws are likely to help.
SHORT_RUN = 1.1
MIN_ROW_DRAWS = 6

# By whether the chains jump, and from a base density that the user chose.
REMEDIES = {
    "local": "Where the density has separate modes, take proposal='auto' and pass base_density="
    " (rows like the data, or a fitted mixture), so that chains jump; otherwise raise n_warmup, or"
    " draw more.",
    "given": "base_density fits badly: only {:.0%} of all proposals were accepted. Pass rows or a"
    " mixture at least as wide as the density, or raise n_warmup, or draw more.",
    "own": "Raise n_warmup, draw more, or pass base_density= (rows like the data, or a fitted"
    " mixture) to jump from.",
}
# Below this the chains stand still, and modes are not what is wrong.
LEAST_ACCEPTANCE = 0.02
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


class Health(NamedTuple):
    """What tells whether chains can be trusted."""

    rhat: np.ndarray  # (d,)
    n_draws: int  # a chain
    acceptance_rate: float
    n_nonfinite: int
    n_proposed: int


def warn_of_chains(health, names, remedy, stacklevel):
    """Warn where the log density was NaN or infinite, or the chains disagree on some feature."""
    warn_of_nonfinite(health.n_nonfinite, health.n_proposed, stacklevel + 1)
    limit, worst = rhat_limit(health.n_draws), float(np.nanmax(health.rhat, initial=1.0))
    if worst <= limit:
        return
    feature = int(np.nanargmax(health.rhat))
    name = f"feature {feature}" if names is None else repr(str(names[feature]))
    found = f"R-hat of {name} is {worst:.3f}; expected at most {limit:.3f}."
    if worst < SHORT_RUN:
        _warn(f"The chains are too short to tell whether they mix: {found} Draw more.", stacklevel)
        return
    stand = health.acceptance_rate < LEAST_ACCEPTANCE
    advice = (STANDSTILL if stand else REMEDIES[remedy]).format(health.acceptance_rate)
    _warn(
        f"The chains do not mix: {found} The draws depend on where the chains started. {advice}",
        stacklevel,
    )


def warn_of_no_base(learned, stacklevel):
    """Tell what chains without a given base density cannot do, whether they learned one or not."""
    consequence = (
        "jumps come from a mixture fitted to the warm-up's own draws"
        if learned
        else "there are no jumps (n_warmup or n_chains is too small to learn one)"
    )
    _warn(
        f"No base density is known, so {consequence}: the chains do not mix with modes in which"
        " none of them started, and R-hat cannot show it. Pass base_density= (rows like the data,"
        " or a fitted mixture), or base_density=None to go without jumps.",
        stacklevel,
    )


def warn_of_rows(rhat, n_draws, rows, stacklevel):
    """Warn where the chains of some partly observed rows do not agree."""
    # A few chains a row and many rows: the limit is one that none of them reaches by chance.
    limit = np.sqrt(1.0 + 15.0 / n_draws) if n_draws >= MIN_ROW_DRAWS else np.finfo(float).max
    stuck = np.flatnonzero(rhat > limit)
    if len(stuck):
        _warn(
            f"The chains of {len(stuck)} of {len(rhat)} rows do not mix, first of row"
            f" {rows[stuck[0]]}"
            f" with R-hat {rhat[stuck[0]]:.2f}. What is missing may have separate modes, or what is"
            " observed lies far from the data: take these draws with caution, or raise n_samples.",
            stacklevel,
        )


def warn_of_length(ess, n_samples, stacklevel):
    """Warn where rows are worth fewer independent ones than half their number."""
    if ess < 0.5 * n_samples:
        _warn(
            f"The {n_samples} rows are worth only {ess:.0f} independent ones: successive draws of a"
            " chain are too alike. Pass a base_density= to jump from, raise n_warmup, or try"
            " another proposal.",
            stacklevel,
        )


def warn_of_nonfinite(n_nonfinite, n_proposed, stacklevel):
    """Tell how many proposals had a log density of NaN or -inf."""
    if n_nonfinite:
        warnings.warn(
            f"The log density was NaN or infinite at {n_nonfinite} of {n_proposed} proposals, which"
            " were all rejected. -inf, a density of zero, is harmless; NaN hints at an error in"
            " score_samples or log_density_gradient.",
            RuntimeWarning,
            stacklevel=stacklevel + 1,
        )


def warn_of_interruption(what, stacklevel):
    """Tell that the result is shorter than what was asked for."""
    _warn(f"The run was interrupted; {what} drawn before that are returned.", stacklevel)


def _warn(message, stacklevel):
    warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel + 2)
