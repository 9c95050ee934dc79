"""Warnings about chains, in plain words: what is wrong with the draws and what to do.

A stacklevel of 1 is the function that calls one of these.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

RHAT_LIMIT = 1.01
# Split chains of n independent draws have R-hat^2 - 1 near 2 / n. Five times that is what a short
# run of chains that do agree may well show.
SHORT_CHAINS = 10.0
# Up to this R-hat more draws are likely to help.
SHORT_RUN = 1.05
MIN_ROW_DRAWS = 6

REMEDY = (
    "Where the density has separate modes, pass base_density= (rows like the data, or a fitted"
    " mixture) so that proposals jump between them, and an init spread over all modes; otherwise"
    " raise n_warmup, or draw more."
)
# Below this the chains stand still, and modes are not what is wrong.
LEAST_ACCEPTANCE = 0.02
STANDSTILL = (
    "Only {:.1%} of the proposals were accepted: leave step_size at 'auto', raise n_warmup, or pass"
    " a base_density= that is closer to the density."
)


def rhat_limit(n_draws):
    """The largest R-hat that chains of `n_draws` draws may have without a warning."""
    return max(RHAT_LIMIT, float(np.sqrt(1.0 + SHORT_CHAINS / n_draws)))


def warn_of_mixing(rhat, n_draws, acceptance_rate, names, stacklevel):
    """Warn where the chains do not agree on some feature."""
    worst = float(np.nanmax(rhat, initial=1.0))
    if worst <= rhat_limit(n_draws):
        return
    stands = acceptance_rate < LEAST_ACCEPTANCE
    remedy = STANDSTILL.format(acceptance_rate) if stands else REMEDY
    feature = int(np.nanargmax(rhat))
    name = f"feature {feature}" if names is None else repr(str(names[feature]))
    found = f"R-hat of {name} is {worst:.3f}; expected at most {rhat_limit(n_draws):.3f}."
    if worst < SHORT_RUN:
        _warn(f"The chains are too short to tell whether they mix: {found} Draw more.", stacklevel)
        return
    _warn(
        f"The chains do not mix: {found} The draws depend on where the chains started. {remedy}",
        stacklevel,
    )


def warn_of_no_base(learned, stacklevel):
    """Tell what chains without a given base density cannot do, whether they learned one or not."""
    consequence = (
        "jumps are drawn from a mixture fitted to the warm-up's own draws"
        if learned
        else "there are no jumps: n_warmup or n_chains is too small to learn one"
    )
    _warn(
        f"No base density is known, so {consequence}: the chains do not mix with modes in which"
        " none of them started. Pass base_density= (rows like the data, or a fitted mixture), or"
        " base_density=None to go without jumps.",
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
