"""Draws of any object with ``sample``, whatever its signature."""

import copy
import inspect

import numpy as np


def takes_seed(density):
    """Whether the draws of an object can be given a seed.

    >>> from sklearn.mixture import GaussianMixture
    >>> takes_seed(GaussianMixture())
    True
    """
    return hasattr(density, "random_state") or _is_asked_with_seed(density)


def draws_of(density, n, seed):
    """Rows (n, d) of float64, in the order that the object gives them.

    Parameters
    ----------
    density : object with ``sample``, which may give labels too, as scikit-learn's mixtures do
    n, seed : int
    """
    if _is_asked_with_seed(density):
        found = density.sample(n, random_state=seed)
    else:
        own = copy.copy(density)
        own.random_state = seed
        found = own.sample(n)
    return np.asarray(found[0] if isinstance(found, tuple) else found, np.float64)


def _is_asked_with_seed(density):
    return "random_state" in inspect.signature(density.sample).parameters
