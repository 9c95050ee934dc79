"""Chains that cannot tell whether they mix, and densities that are none: each must be told."""

import warnings
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skrae import RAESampler
from tests.sampling.known_targets import Known, correlated_gaussian, five_modes

ROWS = np.random.default_rng(0).standard_normal((200, 2))
NORMAL, MODES = Known(correlated_gaussian(2)), Known(five_modes(2))
LOCAL = {"proposal": "random_walk", "base_density": None, "random_state": 0, "n_warmup": 0}


class Flat:
    """A density of no integral: log p = 0."""

    n_features_in_ = 2

    def score_samples(self, X):
        return np.zeros(len(X))


def _chains(density, n_draws, **options):
    return partial(RAESampler(density, **{"random_state": 0, **options}).sample_chains, n_draws)


ONE = {"n_chains": 1, "init": ROWS[:1], **LOCAL}
# By name, what is run and what must be said of it.
CASES = {
    "one chain of tiny steps": (_chains(NORMAL, 200, step_size=1e-6, **ONE), "R-hat of"),
    "one chain that moves by rounding alone": (
        _chains(NORMAL, 200, step_size=1e-17, **ONE),
        "is unknown. No draw differs from another by more than rounding",
    ),
    "64 chains that stay at one point": (
        _chains(NORMAL, 200, step_size=1e6, init=np.zeros((64, 2)), **LOCAL),
        "is unknown. No draw differs",
    ),
    "three draws of several modes": (
        _chains(MODES, 3, base_density=five_modes(2).sample(500, 0)),
        "is unknown. 3 draws a chain are too few to tell",
    ),
    "starts of no density": (
        _chains(NORMAL, 5, n_chains=2, base_density=ROWS, init=[[0.0, 0.0], [1e100, 0.0]]),
        "Got a log density of -inf at start 1, expected starts of positive density",
    ),
    "log p = 0, proposals of a base density": (
        _chains(Flat(), 50, base_density=ROWS, n_warmup=64),
        "it falls nowhere, as no proper density does",
    ),
    "log p = 0, local moves": (
        _chains(Flat(), 50, **{**LOCAL, "init": ROWS[:64], "n_warmup": 64}),
        "it falls nowhere, as no proper density does",
    ),
}


def told(name):
    """What is said of a case: its warnings, or its error; an error of its own for draws of NaN."""
    call, _ = CASES[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            draws = call().draws
        except ValueError as error:
            return str(error)
    if not np.isfinite(draws).all():
        raise RuntimeError(f"{name}: draws that are not finite")
    return " ".join(str(w.message) for w in caught if w.category is ConvergenceWarning)


def count_told():
    """How many of the cases are told, and how many are silent."""
    n_told = sum(expected in told(name) for name, (_, expected) in CASES.items())
    return {"told": n_told, "silent": len(CASES) - n_told}
