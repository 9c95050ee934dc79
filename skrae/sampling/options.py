"""The sampler's options and arguments: checked before anything is drawn."""

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted, validate_data

from skrae.preprocessing.contract.options import check_number
from skrae.preprocessing.rows import plain_array
from skrae.sampling.mcmc.density_ratios import DENSITY_RATIOS

CHOICES = {
    "proposal": ("auto", "random_walk", "langevin", "hamiltonian", "independence"),
    "log_ratio": ("auto", *DENSITY_RATIOS),
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


def sampled_estimator(estimator):
    """The fitted object whose density is drawn from: of a search, the best estimator.

    Raises
    ------
    TypeError, NotFittedError
        Where the object is unfitted or tells no log density.
    """
    check_fitted(estimator)
    estimator = getattr(estimator, "best_estimator_", estimator)
    if not hasattr(estimator, "score_samples"):
        raise TypeError(
            f"Got a {type(estimator).__name__} without score_samples, expected a fitted object that"
            " gives the log density of rows."
        )
    return estimator


def check_fitted(model):
    """scikit-learn's check of its own kind; any other object is taken at its word."""
    if hasattr(model, "fit") and hasattr(model, "__sklearn_tags__"):
        check_is_fitted(model)


def has_own_target(estimator, base_density):
    """Whether the estimator offers a target, and the option leaves the base density to it."""
    own = isinstance(base_density, str) and base_density == "auto"
    return own and hasattr(estimator, "_sampling_target")


def check_names(estimator, X):
    """Raise scikit-learn's error where X has columns of other names than those of the fit."""
    named = hasattr(X, "columns") and hasattr(estimator, "feature_names_in_")
    if named and isinstance(estimator, BaseEstimator):
        validate_data(estimator, X, reset=False, skip_check_array=True)


def is_of_raw_table(estimator):
    """Whether chains draw full rows, with the one-hots of categories beside the numbers."""
    return getattr(estimator, "_axis_names", None) is not None


def n_features_of(estimator):
    """Number of columns of the rows of chains, those of the fit, or None where it does not say.

    Of a raw table it is that of full rows.
    """
    if is_of_raw_table(estimator):
        return len(estimator._axis_names)
    n = getattr(estimator, "n_features_in_", None)
    return None if n is None else int(n)


def check_options(sampler, estimator):
    """Raise TypeError or ValueError for the first option outside what is expected."""
    for name, choices in CHOICES.items():
        option = getattr(sampler, name)
        if not (isinstance(option, str) and option in choices):
            raise ValueError(f"Got {name}={option!r}, expected one of {list(choices)}.")
    for name, least in LEAST.items():
        check_number(name, getattr(sampler, name), least, kind=Integral)
    check_number("temperature", sampler.temperature, 0.0, above=True)
    _check_step_size(sampler.step_size)
    if not (isinstance(sampler.progress, bool) or callable(sampler.progress)):
        raise ValueError(f"Got progress={sampler.progress!r}, expected True, False or a callable.")
    _check_methods(sampler, estimator)
    if is_of_raw_table(estimator) and not has_own_target(estimator, sampler.base_density):
        raise ValueError(
            f"Got base_density={sampler.base_density!r} for a table with holes, categories, cells"
            " or atoms, expected 'auto': its rows are no arrays of numbers."
        )
    if sampler.log_ratio in EXPANSIONS and sampler.proposal == "independence":
        raise ValueError(
            f"Got log_ratio={sampler.log_ratio!r} with proposal='independence', expected 'exact' or"
            " 'path': an expansion about a point says nothing far from it."
        )


def _check_step_size(step_size):
    if isinstance(step_size, Real):
        check_number("step_size", step_size, 0.0, above=True)
    elif not (isinstance(step_size, str) and step_size == "auto"):
        raise TypeError(f"Got step_size={step_size!r}, expected 'auto' or a number > 0.")


def _check_methods(sampler, estimator):
    for option in ("proposal", "log_ratio"):
        for method in NEEDED.get(getattr(sampler, option), ()):
            if not hasattr(estimator, method):
                raise TypeError(
                    f"Got {option}={getattr(sampler, option)!r} for a {type(estimator).__name__}"
                    f" without {method}, expected the method, or another {option}."
                    + advice_on_steps(estimator)
                )


def advice_on_steps(estimator):
    """What to do with a Pipeline, which hides what its last step can."""
    if not isinstance(estimator, Pipeline):
        return ""
    return (
        " Of a Pipeline, sample the last step, RAESampler(pipeline[-1]), and map its rows back with"
        " pipeline[:-1].inverse_transform."
    )


def check_target(sampler, target):
    """Raise where the options ask for what the target does not have."""
    if target.has_categories and sampler.proposal not in ("auto", "independence"):
        raise ValueError(
            f"Got proposal={sampler.proposal!r} for a table with categories or atoms, expected"
            " 'auto' or 'independence': no local move changes a category."
        )
    if target.base is None and sampler.proposal == "independence":
        raise ValueError(
            "Got proposal='independence' without a base density to draw proposals from, expected"
            " base_density as rows or a fitted mixture."
        )
    if target.base is None and sampler.metric == "local":
        raise ValueError(
            "Got metric='local' without a base density whose components could shape it, expected"
            " base_density as rows or a fitted mixture, or metric='dense'."
        )
    if sampler.temperature >= target.temperature_limit:
        raise ValueError(
            f"Got temperature={sampler.temperature}, expected less than"
            f" {target.temperature_limit:.3g}: the tails of the base density are those of a"
            " Student-t, whose power 1 / temperature has no finite integral."
        )


def check_untempered(sampler):
    """Raise ValueError where rows of a raw table are to be completed at another temperature."""
    if sampler.temperature != 1.0:
        raise ValueError(
            f"Got temperature={sampler.temperature} for a table with holes, categories, cells or"
            " atoms, expected 1: its rows are completed by draws of the density as it is."
        )


def given_starts(sampler, estimator, X_init):
    """The starts of the argument or the option, (n_chains, d); None for "auto"."""
    name, starts = ("init", sampler.init) if X_init is None else ("X_init", X_init)
    if isinstance(starts, str):
        if starts != "auto":
            raise ValueError(f"Got {name}={starts!r}, expected 'auto' or an array of starts.")
        return None
    if starts is None:
        raise ValueError("Got init=None, expected 'auto' or an array of starts.")
    if not is_of_raw_table(estimator):
        check_names(estimator, starts)
    starts = check_array(plain_array(starts), dtype=np.float64, input_name=name)
    d = n_features_of(estimator) or starts.shape[1]
    if starts.shape != (sampler.n_chains, d):
        raise ValueError(
            f"Got {name} of shape {starts.shape}, expected {(sampler.n_chains, d)}, a start for"
            " each of n_chains chains."
        )
    return starts


def check_incomplete_rows(target, estimator, X):
    """Rows as float64, or float32 where X is, in which NaN marks what is unknown.

    Raises
    ------
    ValueError
        Where there is no base density, for infinite entries, or another number of columns.
    """
    if target.base is None:
        raise ValueError(
            f"Got a {type(estimator).__name__} without a base density that could complete rows,"
            " expected base_density as rows or a fitted mixture." + advice_on_steps(estimator)
        )
    options = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
    if isinstance(estimator, BaseEstimator):
        X = validate_data(estimator, plain_array(X), reset=False, **options)
    else:
        X = check_array(plain_array(X), input_name="X", **options)
    d = target.base.n_features
    if X.shape[1] != d:
        raise ValueError(f"Got X with {X.shape[1]} features, expected {d}, those of the estimator.")
    return X
