"""What a call of the sampler works on: its options checked, its target made, its starts found."""

import math
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_random_state, check_scalar
from sklearn.utils.validation import validate_data

from skrae.mixtures.mixture import MixtureDensity
from skrae.sampling.chains import Chains
from skrae.sampling.mcmc.density_ratios import LOG_RATIOS
from skrae.sampling.mcmc.warmup import Plan, base_state
from skrae.sampling.sources import (
    check_names,
    check_source,
    field_target,
    has_field,
    n_features_of,
    own_rows,
    public_target,
)
from skrae.sampling.targets import FieldTarget, PublicTarget

CHOICES = {
    "proposal": ("auto", "random_walk", "langevin", "hamiltonian", "independence"),
    "log_ratio": ("auto", *LOG_RATIOS),
    "metric": ("auto", "local", "dense", "diagonal"),
}
LEAST = {"n_chains": 1, "n_warmup": 0, "thin": 1}
# What the estimator must have for an option, by the option's value.
GRADIENT, HESSIAN = "log_density_gradient", "log_density_hessian"
NEEDED = {
    "langevin": (GRADIENT,),
    "hamiltonian": (GRADIENT,),
    "path": (GRADIENT,),
    "first_order": (GRADIENT,),
    "second_order": (GRADIENT, HESSIAN),
}
EXPANSIONS = ("first_order", "second_order")


class Task(NamedTuple):
    """All that running chains takes."""

    target: object
    plan: Plan
    starts: np.ndarray | None  # (n_chains, d), in the units of the data
    n_chains: int
    generator: torch.Generator
    dtype: np.dtype
    names: np.ndarray | None

    def start(self):
        """What `start_run` takes, up to the reporter."""
        return self.target, self._state(), self.plan, self.generator, self.dtype

    def _state(self):
        if self.starts is None:
            return base_state(self.target, self.n_chains, self.generator)
        z = torch.as_tensor(self.target.scaling.forward(self.starts))
        state = self.target(z.to(self.generator.device))
        bad = np.flatnonzero(~state.log_density.isfinite().numpy(force=True))
        if len(bad):
            raise ValueError(
                f"The log density at start {bad[0]} is {float(state.log_density[bad[0]])}; expected"
                " starts of positive density."
            )
        return state


def check_options(sampler):
    """Raise TypeError or ValueError for the first option outside what is expected."""
    check_source(sampler.estimator)
    for name, choices in CHOICES.items():
        option = getattr(sampler, name)
        if not (isinstance(option, str) and option in choices):
            raise ValueError(f"{name} is {option!r}; expected one of {list(choices)}.")
    for name, least in LEAST.items():
        check_scalar(getattr(sampler, name), name, Integral, min_val=least)
    _check_positive(sampler.temperature, "temperature")
    _check_step_size(sampler.step_size)
    if not (isinstance(sampler.progress, bool) or callable(sampler.progress)):
        raise ValueError(f"progress is {sampler.progress!r}; expected True, False or a callable.")
    _check_methods(sampler)
    if sampler.log_ratio in EXPANSIONS and sampler.proposal == "independence":
        raise ValueError(
            f"log_ratio is {sampler.log_ratio!r} and proposal 'independence'; expected 'exact' or"
            " 'path' for jumps: an expansion about a point says nothing far from it."
        )


def _check_positive(number, name):
    check_scalar(number, name, Real, min_val=0.0, include_boundaries="neither")
    if not math.isfinite(number):
        raise ValueError(f"{name} is {number}; expected a finite number > 0.")


def _check_step_size(step_size):
    if isinstance(step_size, Real):
        _check_positive(step_size, "step_size")
    elif not (isinstance(step_size, str) and step_size == "auto"):
        raise TypeError(f"step_size is {step_size!r}; expected 'auto' or a number > 0.")


def _check_methods(sampler):
    for option in ("proposal", "log_ratio"):
        for method in NEEDED.get(getattr(sampler, option), ()):
            if not hasattr(sampler.estimator, method):
                raise TypeError(
                    f"{type(sampler.estimator).__name__} has no method {method}, which {option}="
                    f"{getattr(sampler, option)!r} needs; expected one, or another {option}."
                )


def make_task(sampler, X_init=None, origin=None):
    """The `Task` of a sampler's options.

    Parameters
    ----------
    sampler : RAESampler
    X_init : array-like of shape (n_chains, d), or None for the option `init`
    origin : (scaling, base arrays or None) of chains that are continued, or None
    """
    check_options(sampler)
    estimator = sampler.estimator
    rng = check_random_state(sampler.random_state)
    seed = int(rng.randint(2**31 - 1))
    starts = _given_starts(sampler, X_init)
    dtype, device = np.dtype(np.float64), "cpu"
    if has_field(estimator, sampler.base_density):
        target = field_target(estimator, sampler.temperature)
        dtype, device = np.dtype(estimator._fitted_as["dtype"]), target.base.means.device
    elif origin:
        base = None if origin[1] is None else MixtureDensity(*origin[1])
        target = PublicTarget(estimator, origin[0], base, sampler.temperature)
    else:
        if starts is None and sampler.base_density is None:
            starts = own_rows(estimator, sampler.n_chains, rng)
        target = public_target(estimator, sampler.base_density, sampler.temperature, rng, starts)
    _check_base(sampler, target)
    _check_temperature(sampler.temperature, target)
    log_ratio = "exact" if sampler.log_ratio == "auto" else sampler.log_ratio
    expands = log_ratio in EXPANSIONS and sampler.proposal == "auto"
    plan = Plan(
        "langevin" if expands else sampler.proposal,
        sampler.metric,
        None if sampler.step_size == "auto" else float(sampler.step_size),
        LOG_RATIOS[log_ratio],
        sampler.n_warmup,
        learns=target.base is None
        and sampler.base_density is not None
        and sampler.proposal == "auto"
        and log_ratio == "exact",
    )
    generator = torch.Generator(device).manual_seed(seed)
    names = getattr(estimator, "feature_names_in_", None)
    return Task(target, plan, starts, sampler.n_chains, generator, dtype, names)


def _given_starts(sampler, X_init):
    """The starts of the argument or the option, None for "auto"."""
    name, starts = ("init", sampler.init) if X_init is None else ("X_init", X_init)
    if isinstance(starts, str):
        if starts != "auto":
            raise ValueError(f"{name} is {starts!r}; expected 'auto' or an array of starts.")
        return None
    if starts is None:
        raise ValueError("init is None; expected 'auto' or an array of starts.")
    check_names(sampler.estimator, starts)
    starts = check_array(starts, dtype=np.float64, input_name=name)
    d = getattr(sampler.estimator, "n_features_in_", starts.shape[1])
    if starts.shape != (sampler.n_chains, d):
        raise ValueError(
            f"{name} has shape {starts.shape}; expected {(sampler.n_chains, d)}, a start for each"
            " of n_chains chains."
        )
    return starts


def _check_base(sampler, target):
    if target.base is None and sampler.proposal == "independence":
        raise ValueError(
            "proposal is 'independence', but there is no base density to jump from; expected"
            " base_density as rows or a fitted mixture."
        )
    if target.base is None and sampler.metric == "local":
        raise ValueError(
            "metric is 'local', but there is no base density whose components could shape it;"
            " expected base_density as rows or a fitted mixture, or metric='dense'."
        )


def _check_temperature(temperature, target):
    """Raise where p^(1 / T) of a density with Student-t tails has no finite integral."""
    if not isinstance(target, FieldTarget):
        return
    limit = 1.0 + float(target.base.dofs.min()) / target.base.n_features
    if temperature >= limit:
        raise ValueError(
            f"temperature is {temperature}; expected less than {limit:.3g}: the tails of the base"
            " density are those of a Student-t, whose power 1 / temperature has no finite integral."
        )


def check_incomplete_rows(task, estimator, X):
    """Rows as float64, or float32 where X is, in which NaN marks what is unknown.

    Raises
    ------
    ValueError
        Where there is no base density, for infinite entries, or another number of columns.
    """
    if task.target.base is None:
        raise ValueError(
            f"{type(estimator).__name__} has no base density that could complete rows; expected"
            " base_density as rows or a fitted mixture."
        )
    options = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
    if isinstance(estimator, BaseEstimator):
        X = validate_data(estimator, X, reset=False, **options)
    else:
        X = check_array(X, input_name="X", **options)
    d = task.target.base.n_features
    if X.shape[1] != d:
        raise ValueError(f"X has {X.shape[1]} features; expected {d}, those of the estimator.")
    return X


def check_start(estimator, X_init, continue_from):
    """Raise where what is continued is no `Chains` of these features, or has starts beside it."""
    if continue_from is None:
        return
    if not isinstance(continue_from, Chains):
        raise TypeError(
            f"continue_from is a {type(continue_from).__name__}; expected the Chains that"
            " sample_chains returned."
        )
    if X_init is not None:
        raise ValueError("Got X_init and continue_from; expected one of them.")
    d = continue_from.draws.shape[2]
    if n_features_of(estimator) not in (None, d):
        raise ValueError(
            f"continue_from has {d} features; expected {n_features_of(estimator)}, those of the"
            " estimator."
        )


def check_continuation(task, chains):
    """The `Moment` at which chains ended; ValueError where it is not one of this task's target."""
    moment = chains._moment
    state = moment.state
    with torch.no_grad():
        gap = (task.target(state.position).log_density - state.log_density).abs()
    if not (gap <= 1e-3 * (1.0 + state.log_density.abs())).all():
        raise ValueError(
            "continue_from holds chains of another density: the log density where they ended"
            f" differs by up to {float(gap.max()):.2g}; expected the estimator and the temperature"
            " that they were drawn with."
        )
    return moment
