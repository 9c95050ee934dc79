"""RAESampler as a `Run`, so that its figures stand beside the peers'."""

import warnings
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

from skrae import RAESampler, RegularizedAutoEncoderScore
from skrae.density.fitted import FieldTarget
from tests.benchmarks.sampling_peers import Run, timed

# Whole cycles of the sampler, so that no transition of the timed run is paid for before it.
FIRST_DRAWS = 32


class Counted:
    """A fitted object that counts the points at which it is asked; otherwise that object.

    A density and its gradient asked at the same points, one after the other, count once.
    """

    def __init__(self, model):
        self.model, self.n_features_in_ = model, model.n_features_in_
        self.n_evaluations, self._last = 0, None

    def score_samples(self, X):
        self._count(X)
        return self.model.score_samples(X)

    def log_density_gradient(self, X):
        self._count(X)
        return self.model.log_density_gradient(X)

    def _count(self, X):
        if self._last is None or not np.array_equal(X, self._last):
            self.n_evaluations += len(X)
        self._last = np.array(X)


class FieldCount:
    """The points at which the sampler evaluates a learned density, which it does without the
    estimator's public methods."""

    def __init__(self):
        self.n_evaluations = 0

    @contextmanager
    def counting(self):
        names = "_evaluate", "densities"
        methods = [self._counted(getattr(FieldTarget, name)) for name in names]
        with patch.multiple(FieldTarget, **dict(zip(names, methods, strict=True))):
            yield

    def _counted(self, method):
        def counted(target, z):
            self.n_evaluations += len(z)
            return method(target, z)

        return counted


def skrae(model, X_init, n_draws, seed, **options):
    """Chains of RAESampler; the seconds are those of draws that continue warm chains."""
    if isinstance(model, RegularizedAutoEncoderScore):
        count = FieldCount()
        with count.counting():
            return _chains(model, count, X_init, n_draws, seed, options)
    count = Counted(model)
    return _chains(count, count, X_init, n_draws, seed, options)


def _chains(model, count, X_init, n_draws, seed, options):
    sampler = RAESampler(model, n_chains=len(X_init), random_state=seed, **options)
    with warnings.catch_warnings():
        # The table shows R-hat and the effective samples.
        warnings.simplefilter("ignore")
        warm = sampler.sample_chains(FIRST_DRAWS, X_init=X_init)
        n_warm = count.n_evaluations
        chains, seconds = timed(lambda: sampler.sample_chains(n_draws, continue_from=warm))
    n = count.n_evaluations - n_warm
    acceptance = float(np.mean(chains.acceptance_rate))
    settings = f"step {chains.step_size:.2g}, accepts {acceptance:.2f}"
    return Run(np.asarray(chains.draws)[:, -n_draws:], seconds, n, n_warm, settings)
