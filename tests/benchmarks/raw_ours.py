"""skrae on raw tables: its fit to a frame, and its density in the measure of `raw_data`."""

import inspect
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import logsumexp, softmax

from tests.benchmarks.raw_data import N_POINTS, cell_points, problem_of
from tests.benchmarks.records import timed

OURS = "skrae"
QUICK_STEPS = 20


def estimator(case, **options):
    """With the seed of a case; of a quick one with few steps. Options not yet there are left out.

    ``column_kinds`` is one: with "continuous" values are numbers and no cells of a grid.
    """
    # The peers can be run where skrae cannot be imported.
    from skrae import RegularizedAutoEncoderScore

    known = inspect.signature(RegularizedAutoEncoderScore).parameters
    options = {name: value for name, value in options.items() if name in known}
    steps = {"max_iter": QUICK_STEPS} if case.get("quick") else {}
    return RegularizedAutoEncoderScore(random_state=case["seed"], **options, **steps)


@lru_cache(maxsize=8)
def _fitted(name, seed, quick):
    case = {"set": name, "seed": seed, "quick": quick}
    return timed(estimator(case).fit, problem_of(case).train)


def fitted(case):
    """(model, `Seconds`) of a table's training rows, kept for other sections."""
    return _fitted(case["set"], case["seed"], bool(case.get("quick")))


def log_density(model, frame, schema):
    """Log density (n,) in the measure that counts levels and shares a cell's mass by its step.

    A column that the model has on the grid is asked as it is. Of one that it has continuous the
    mean over 16 points of the cell is taken, but for rows at an atom. Atoms and columns that the
    model has as levels give a probability, which is divided by the step.
    """
    continuous, probable = _parts(model, frame, schema)
    widths = schema.widths
    points = cell_points(len(widths)) * widths
    numbers = schema.encode(frame).numbers
    if continuous.any():
        parts = [
            model.score_samples(_moved(frame, schema, np.where(continuous, numbers + p, numbers)))
            for p in points
        ]
        found = logsumexp(parts, axis=0) - np.log(N_POINTS)
    else:
        found = model.score_samples(frame)
    return found - (probable & ~np.isnan(numbers)) @ np.log(widths)


def _parts(model, frame, schema):
    """Entries (n, d) at which the model has a density, and those at which a probability."""
    report = model.columns_
    names, n = list(report["name"]), len(frame)
    continuous, probable = np.zeros((2, n, len(schema.steps)), bool)
    for j, name in enumerate(schema.steps):
        place = names.index(name)
        kind, atoms = report["kind"][place], report["atoms"][place]
        at_atom = np.isin(frame[name].to_numpy(float, na_value=np.nan), np.atleast_1d(atoms))
        continuous[:, j] = (kind in ("continuous", "atoms")) & ~at_atom
        probable[:, j] = (kind in ("categorical", "constant")) | at_atom
    return continuous, probable


def _moved(frame, schema, numbers):
    """The frame with other numbers; of dtypes as they are where nothing moved."""
    moved = {}
    for j, name in enumerate(schema.steps):
        old = frame[name].to_numpy(float, na_value=np.nan)
        same = np.array_equal(old, numbers[:, j], equal_nan=True)
        moved[name] = frame[name] if same else pd.Series(numbers[:, j], frame.index)
    return frame.assign(**moved)


def level_probabilities(model, frame, name):
    """P(level | the other columns) by Bayes' rule, (n, L): levels in the order of the category."""
    levels = frame[name].cat.categories
    scores = [
        model.score_samples(
            frame.assign(**{name: pd.Categorical([level] * len(frame), categories=levels)})
        )
        for level in levels
    ]
    return softmax(np.column_stack(scores), axis=1)
