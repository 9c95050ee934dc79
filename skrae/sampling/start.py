"""Where chains start: the setup of a call, the first state, the run after a warm-up."""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state

from skrae.mixtures.mixture import MixtureDensity
from skrae.sampling.mcmc.density_ratios import DENSITY_RATIOS
from skrae.sampling.mcmc.runs import Checkpoint, Run
from skrae.sampling.mcmc.warmup import SamplerSettings, warm_up
from skrae.sampling.options import (
    EXPANSIONS,
    check_options,
    check_target,
    given_starts,
    has_own_target,
    sampled_estimator,
)
from skrae.sampling.targets import VANISHED, PublicTarget, Target, own_rows, public_target

START_DRAWS = 8


class ChainSetup(NamedTuple):
    """All that running chains takes."""

    estimator: object
    target: Target
    settings: SamplerSettings
    starts: np.ndarray | None  # (n_chains, d), in the units of the data
    n_chains: int
    generator: torch.Generator
    names: np.ndarray | None

    def start(self, reporter=None):
        """The `Run` of the chains, after their warm-up."""
        return start_run(self.target, self._state(), self.settings, self.generator, reporter)

    def _state(self):
        if self.starts is None:
            return base_state(self.target, self.n_chains, self.generator)
        if self.target.has_categories:
            _check_onehots(self.starts, self.target.base.levels)
        z = torch.as_tensor(self.target.transform.forward(self.starts))
        state = self.target(z.to(self.generator.device))
        values = state.log_density.numpy(force=True)
        bad = np.flatnonzero(~(np.isfinite(values) & (values > VANISHED * self.target.beta)))
        if len(bad):
            found = values[bad[0]] if np.isnan(values[bad[0]]) else -np.inf
            raise ValueError(
                f"Got a log density of {found} at start {bad[0]}, expected starts of positive"
                " density."
            )
        return state


def _check_onehots(starts, levels):
    """Raise ValueError unless the last entries of starts are one-hots of these sizes."""
    own = starts[:, starts.shape[1] - sum(levels) :]
    groups = np.split(own, np.cumsum(levels)[:-1], axis=1)
    if not (np.isin(own, (0.0, 1.0)).all() and all((g.sum(1) == 1.0).all() for g in groups)):
        raise ValueError(
            f"Got starts that are no full rows, expected one-hots of {list(levels)} levels behind"
            " the numbers, as the draws of chains have them."
        )


def make_setup(sampler, X_init=None, origin=None):
    """The `ChainSetup` of a sampler's options.

    Parameters
    ----------
    sampler : RAESampler
    X_init : array-like of shape (n_chains, d), or None for the option `init`
    origin : (transform, base arrays or None) of chains that are continued, or None
    """
    estimator = sampled_estimator(sampler.estimator)
    check_options(sampler, estimator)
    rng = check_random_state(sampler.random_state)
    seed = int(rng.randint(2**31 - 1))
    starts = given_starts(sampler, estimator, X_init)
    if starts is None and sampler.base_density is None and origin is None:
        starts = own_rows(estimator, sampler.n_chains, rng)
    target = _target(sampler, estimator, starts, origin, rng)
    check_target(sampler, target)
    return ChainSetup(
        estimator=estimator,
        target=target,
        settings=_settings(sampler, target),
        starts=starts,
        n_chains=sampler.n_chains,
        generator=torch.Generator(target.device).manual_seed(seed),
        names=axis_names(estimator),
    )


def axis_names(estimator):
    """What the columns of draws are called, or None: those of full rows of a raw table."""
    own = getattr(estimator, "_axis_names", None)
    return getattr(estimator, "feature_names_in_", None) if own is None else own


def _target(sampler, estimator, starts, origin, rng):
    if has_own_target(estimator, sampler.base_density):
        return estimator._sampling_target(sampler.temperature)
    if origin:
        transform, arrays = origin
        base = None if arrays is None else MixtureDensity(*arrays)
        return PublicTarget(estimator, transform, base, sampler.temperature)
    return public_target(estimator, sampler.base_density, sampler.temperature, rng, starts)


def _settings(sampler, target):
    log_ratio = "exact" if sampler.log_ratio == "auto" else sampler.log_ratio
    expands = log_ratio in EXPANSIONS and sampler.proposal == "auto"
    proposal = "langevin" if expands else sampler.proposal
    if target.has_categories and proposal == "auto":
        proposal = "independence"  # no local move changes a category
    return SamplerSettings(
        proposal=proposal,
        metric=sampler.metric,
        step_size=None if sampler.step_size == "auto" else float(sampler.step_size),
        density_ratio=DENSITY_RATIOS[log_ratio],
        n_warmup=sampler.n_warmup,
        learns=target.base is None
        and sampler.base_density is not None
        and sampler.proposal == "auto"
        and log_ratio == "exact",
    )


def base_state(target, n_chains, generator):
    """A start from draws of q of finite log density; ValueError where too few of many have one."""
    if target.base is None:
        raise ValueError(
            "Got a density without a base density to draw starts from, expected init (or X_init) as"
            " an array of starts."
        )
    z = target.base.sample(START_DRAWS * n_chains, generator)
    usable = z[torch.isfinite(target.densities(z)[0])]
    if len(usable) < n_chains:
        raise ValueError(
            f"Got a finite log density at {len(usable)} of {len(z)} draws of the base density,"
            f" expected at least {n_chains} to start the chains from. Pass starts as init."
        )
    return target(usable[:n_chains])


def start_run(target, state, settings, generator, reporter=None):
    """The `Run` that begins after a warm-up from `state`."""
    report = reporter and reporter.warm_up(settings.n_warmup)
    target, kernel, state, broken_off = warm_up(target, state, settings, generator, report)
    return Run(target, Checkpoint(kernel, state, generator.get_state(), None), broken_off)


def check_continuation(setup, chains):
    """The `Checkpoint` at which chains ended; ValueError where it is not one of this target."""
    checkpoint = chains._checkpoint
    state = checkpoint.state
    with torch.no_grad():
        gap = (setup.target(state.position).log_density - state.log_density).abs()
    if not (gap <= 1e-3 * (1.0 + state.log_density.abs())).all():
        raise ValueError(
            "Got chains of another density as continue_from: the log density where they ended"
            f" differs by up to {float(gap.max()):.2g}, expected the estimator and the temperature"
            " that they were drawn with."
        )
    return checkpoint
