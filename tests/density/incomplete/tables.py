"""Raw tables of known laws, and models of them that several tests share."""

import warnings
from copy import deepcopy
from functools import cache

import numpy as np
import torch

from skrae import RegularizedAutoEncoderScore
from skrae.density.fitted import normalise
from tests.autoencoders.random_networks import random_parameters
from tests.mixtures.random_mixtures import generator

CLASSES = ("a", "b", "c")


def quick(**options):
    """A small mixture, hardly a network; options override."""
    small = {
        "max_components": 4,
        "max_mixtures": 1,
        "max_iter": 2,
        "hidden_layer_sizes": (8, 6),
        "margins": "identity",
        "random_state": 0,
    }
    return RegularizedAutoEncoderScore(**{**small, **options})


def quietly(call, *args, **kwargs):
    """call(...) without warnings: that no network won, or of chains that are short."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*args, **kwargs)


def fitted(X, sample_weight=None, **options):
    """A quick model of a table."""
    return quietly(quick(**options).fit, X, sample_weight=sample_weight)


def with_network(model, seed=0, head=1.0):
    """The model with a random network, and the normaliser that is its own."""
    model = deepcopy(model)
    d = model.base_means_.shape[1]
    sizes = [len(part) for part in model.intercepts_[:-1]]
    parameters = [p.numpy() for p in random_parameters(d, sizes, seed, head)]
    model.coefs_, model.intercepts_ = parameters[::2], parameters[1::2]
    field = model._fitted().field("cpu", torch.float64)
    model.log_normalizer_repeats_ = normalise(field, generator(0))
    model.log_normalizer_ = float(model.log_normalizer_repeats_.mean())
    return model


def mixed_columns(n, seed, holes=0.1):
    """By name: a class, a normal and a count given it, and waiting times that are often zero."""
    rng = np.random.default_rng(seed)
    c = rng.choice(CLASSES, n, p=[0.5, 0.3, 0.2])
    x = rng.standard_normal(n) + 2.0 * (c == "a")
    k = rng.poisson(2.0 + 2.0 * (c == "b"))
    z = np.where(rng.random(n) < 0.4, 0.0, rng.exponential(1.0, n))
    x[rng.random(n) < holes] = np.nan
    c = np.where(rng.random(n) < holes, None, c)
    return {"c": c, "x": x, "k": k, "z": z}


def mixed_frame(library, n=150, seed=0, holes=0.1):
    """The same as a data frame of a library."""
    columns = mixed_columns(n, seed, holes)
    if hasattr(library, "CategoricalDtype"):
        columns["c"] = library.Categorical(columns["c"], categories=CLASSES)
        return library.DataFrame(columns)
    columns["c"] = library.Series(columns["c"].tolist(), dtype=library.Enum(CLASSES))
    columns["x"] = library.Series(columns["x"]).fill_nan(None)
    return library.DataFrame(columns)


def mixed_array(n=150, seed=0, holes=0.1):
    """The same as an array of objects."""
    columns = mixed_columns(n, seed, holes)
    return np.stack([np.asarray(column, object) for column in columns.values()], axis=1)


@cache
def mixed_model(kind="pandas", has_network=False):
    """A model of it: of a data frame of pandas or polars, or an array."""
    if has_network:
        return with_network(mixed_model(kind), seed=1)
    if kind == "array":
        return fitted(mixed_array())
    library = __import__(kind)
    return fitted(mixed_frame(library))


def plain_rows(n=150, seed=0):
    """Two dependent numeric columns, in unlike units."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    return np.stack([x, 10.0 * (x**2 + 0.3 * rng.standard_normal(n))], axis=1)


@cache
def plain_model(has_network=False):
    """A model of complete numbers."""
    if has_network:
        return with_network(plain_model(), seed=2)
    return fitted(plain_rows(), select=None)


def rows_of(kind, n=60, seed=5, holes=0.1):
    """The rows of `mixed_frame` as a data frame of a library, or as an array."""
    if kind == "array":
        return mixed_array(n, seed, holes)
    return mixed_frame(__import__(kind), n, seed, holes)
