"""What a fit learns from: a table in memory as it is, of any other a sample and all its rows."""

from functools import partial
from typing import NamedTuple

import numpy as np
from sklearn.utils import check_random_state

from skrae.density.incomplete.rows import FitRows, asked_rows, fit_rows
from skrae.density.streamed.settling import AllRows
from skrae.preprocessing.rows import check_weights, frame_of
from skrae.preprocessing.sources import source as sources


class Lesson(NamedTuple):
    """Rows to fit, all rows where those are a sample, and the random state as it is left."""

    rows: FitRows
    every: AllRows | None
    random_state: object


def lesson_of(estimator, X, sample_weight, reset):
    """The `Lesson` of a table; the estimator gets its features and its container.

    Of more than `ROWS_IN_MEMORY` rows of positive weight so many are drawn without replacement.

    Raises
    ------
    ValueError, TypeError
        For what `Source.counted` and `fit_rows` refuse, and for a checkpoint without a seed that
        would draw the same rows again.
    """
    source = sources.source_to_fit(X)
    if source is None:
        estimator._fitted_frame = frame_of(X)
        return Lesson(fit_rows(estimator, X, sample_weight, reset), None, estimator.random_state)
    source, weights, places = source.counted(), None, None
    if sample_weight is not None:
        weights = check_weights(sample_weight, range(source.n_rows))
        places = np.flatnonzero(weights)
    n = source.n_rows if places is None else len(places)
    index, random_state = _drawn(n, estimator)
    index = index if places is None else places[index]
    sample = source.taken(index)
    estimator._fitted_frame = frame_of(sample)
    rows = fit_rows(estimator, sample, None if weights is None else weights[index], reset)
    if isinstance(rows.X, np.ndarray):  # sums of another order of the numbers round otherwise
        rows = rows._replace(X=np.ascontiguousarray(rows.X))
    if len(index) == n:
        return Lesson(rows, None, random_state)
    if weights is not None:
        weights *= n / weights.sum()
    read = partial(asked_rows, estimator, rows.table)
    return Lesson(rows, AllRows(source, weights, read, rows.table), random_state)


def _drawn(n, estimator):
    """The sorted places, of n, of the rows that are held in memory, and the random state left."""
    most = sources.ROWS_IN_MEMORY
    if n <= most:
        return np.arange(n), estimator.random_state
    if estimator.checkpoint is not None and estimator.random_state is None:
        raise ValueError(
            f"Got a checkpoint and random_state=None with {n} rows, expected an integer: of more"
            f" than {most} rows a sample is fitted to, which a fit that goes on must draw again."
        )
    rng = check_random_state(estimator.random_state)
    draws = np.random.default_rng(rng.randint(2**31 - 1))
    return np.sort(draws.choice(n, most, replace=False, shuffle=False)), rng
