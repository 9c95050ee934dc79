"""Columns of every dtype, for data frames of both libraries."""

import numpy as np


def _numbers(rng, n, digits=15):
    return np.round(rng.normal(0.0, 0.5, n), digits)


def _spiked(rng, n):
    return np.where(rng.random(n) < 0.4, 1.5, rng.standard_normal(n))


def _strings(rng, n):
    return rng.choice(["ä", "b b", "", "3.5"], n).tolist()


def _series(dtype, values):
    return lambda pandas, n, rng: pandas.Series(values(rng, n), dtype=dtype)


def _category(categories, is_ordered, values):
    def make(pandas, n, rng):
        kind = pandas.CategoricalDtype(categories, is_ordered)
        return pandas.Series(values(rng, n), dtype=kind)

    return make


def _integers(rng, n):
    return rng.poisson(3.0, n)


def _truths(rng, n):
    return rng.random(n) < 0.4


# By a name: (pandas, n, generator) -> series of n rows without holes.
MAKERS = {
    "float64": _series("float64", _numbers),
    "tenths": _series("float64", lambda rng, n: _numbers(rng, n, 1)),
    "thirds": _series("float64", lambda rng, n: rng.poisson(3.0, n) / 3.0),
    "spiked": _series("float64", _spiked),
    "float32": _series("float32", _numbers),
    "float32 tenths": _series("float32", lambda rng, n: _numbers(rng, n, 1)),
    "Float64": _series("Float64", _numbers),
    "int64": _series("int64", _integers),
    "wide int64": _series("int64", lambda rng, n: rng.integers(-(2**52), 2**52, n)),
    "int8": _series("int8", lambda rng, n: rng.integers(-128, 128, n)),
    "Int64": _series("Int64", _integers),
    "UInt8": _series("UInt8", _integers),
    "flag": _series("int64", lambda rng, n: rng.integers(0, 2, n)),
    "bool": _series("bool", _truths),
    "boolean": _series("boolean", _truths),
    "constant": _series("float64", lambda rng, n: np.full(n, 0.1)),
    "constant text": _series("object", lambda rng, n: ["one"] * n),
    "str": _series("str", _strings),
    "string": _series("string", _strings),
    "object": _series("object", _strings),
    "object numbers": _series("object", lambda rng, n: _numbers(rng, n).tolist()),
    "object bools": _series("object", lambda rng, n: _truths(rng, n).tolist()),
    "category": _category(["b b", "3.5", "", "ä", "never"], False, _strings),
    "ordered category": _category(["b b", "3.5", "", "ä"], True, _strings),
    "category of integers": _category(list(range(40))[::-1], True, _integers),
    "category of bools": _category([True, False], False, _truths),
}


def _polars(dtype, values):
    def make(polars, n, rng):
        kind = dtype(polars)
        return polars.Series(np.asarray(values(rng, n)).tolist()).cast(kind)

    return make


# By a name: (polars, n, generator) -> series of n rows without holes.
POLARS_MAKERS = {
    "Float64": _polars(lambda pl: pl.Float64, _numbers),
    "tenths": _polars(lambda pl: pl.Float64, lambda rng, n: _numbers(rng, n, 1)),
    "spiked": _polars(lambda pl: pl.Float64, _spiked),
    "Float32": _polars(lambda pl: pl.Float32, _numbers),
    "Int64": _polars(lambda pl: pl.Int64, _integers),
    "UInt8": _polars(lambda pl: pl.UInt8, _integers),
    "Decimal": _polars(lambda pl: pl.Decimal(10, 2), lambda rng, n: _numbers(rng, n, 1)),
    "Int128": _polars(lambda pl: pl.Int128, _integers),
    "Boolean": _polars(lambda pl: pl.Boolean, _truths),
    "String": _polars(lambda pl: pl.String, _strings),
    "Categorical": _polars(lambda pl: pl.Categorical, _strings),
    "Enum": _polars(lambda pl: pl.Enum(["b b", "3.5", "", "ä", "never"]), _strings),
    "constant": _polars(lambda pl: pl.Float64, lambda rng, n: np.full(n, 0.1)),
    "constant text": _polars(lambda pl: pl.String, lambda rng, n: ["one"] * n),
}


def assert_same(found, expected, dtypes=True):
    """Two data frames are equal, their values, labels and dtypes."""
    assert type(found) is type(expected)
    if hasattr(found, "equals") and hasattr(found, "schema"):
        assert not dtypes or found.schema == expected.schema
        assert found.equals(expected)
        return
    assert list(found.columns) == list(expected.columns)
    assert found.index.equals(expected.index)
    assert not dtypes or found.dtypes.equals(expected.dtypes), (found.dtypes, expected.dtypes)
    for j in range(found.shape[1]):
        assert found.iloc[:, j].tolist() == expected.iloc[:, j].tolist()
