"""What a fit learns from: a table in memory as it is, of any other a sample and all its rows."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils import check_random_state

from skrae.density.incomplete.rows import FitRows, asked_rows, axis_names, fit_rows
from skrae.density.streamed.settling import AllRows, ColumnSums
from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.rows import check_weights, frame_of, plain_array
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
    processes = current()
    source, weights, places = processes.agreed(partial(_read, X, sample_weight))
    if source is None:
        estimator._fitted_frame = frame_of(X)
        return Lesson(fit_rows(estimator, X, sample_weight, reset), None, estimator.random_state)
    counts = _agreed_counts(processes, source, places)
    n, start = sum(counts), sum(counts[: processes.rank])
    index, random_state = _drawn(n, estimator)
    own = index[slice(*np.searchsorted(index, [start, start + counts[processes.rank]]))] - start
    sample, sample_weights = _gathered(processes, source, weights, places, own)
    estimator._fitted_frame = frame_of(sample)
    rows = fit_rows(estimator, sample, sample_weights, reset)
    if isinstance(rows.X, np.ndarray):  # sums of another order of the numbers round otherwise
        rows = rows._replace(X=np.ascontiguousarray(rows.X))
    if len(index) == n:
        return Lesson(rows, None, random_state)
    if weights is not None:
        weights *= n / float(processes.total(torch.tensor(weights.sum())))
    read = partial(asked_rows, estimator, rows.table)
    names = getattr(estimator, "feature_names_in_", None)
    names = names if rows.table is None else axis_names(estimator, rows.table)
    every = AllRows(source, weights, read, rows.table, ColumnSums(names))
    return Lesson(rows, every, random_state)


def _read(X, sample_weight):
    """The counted source of X, weights and where they are positive; None where there are none."""
    is_shared = current().size > 1
    source = sources.source_to_fit(X, always=is_shared)
    if source is None:
        return None, None, None
    source = source.counted()
    if sample_weight is None:
        return source, None, None
    weights = check_weights(sample_weight, range(source.n_rows))
    if is_shared:  # as they are, beside those of other processes
        weights = np.array(plain_array(sample_weight), np.float64)
    return source, weights, np.flatnonzero(weights)


def _agreed_counts(processes, source, places):
    """The numbers of rows of positive weight of each process.

    Raises
    ------
    ValueError
        Where columns hold other things in another process, or some alone have weights.
    """
    n_rows, found = 0, None
    n_own = source.n_rows if places is None else len(places)
    told = processes.gathered((source.sorts, n_own, places is None))
    for rank, (sorts, n, _) in enumerate(told):
        names, others = ([name for name, _ in part] for part in (sorts, found or sorts))
        if names != others:
            raise ValueError(
                f"Got the columns {names} in process {rank}, expected {others} as in the first one."
            )
        found = sources.agreed(found, sorts, n_rows)
        n_rows += n
    if len({has_none for *_, has_none in told}) > 1:
        raise ValueError(
            "Got sample_weight in some processes and None in others, expected it in all or in none."
        )
    return [n for _, n, _ in told]


def _gathered(processes, source, weights, places, index):
    """The sample, and its weights or None, of the rows that each process takes of its own."""
    index = index if places is None else places[index]
    own = source.taken(index) if len(index) else None
    parts = processes.gathered((own, None if weights is None else weights[index]))
    sample = sources.as_one([rows for rows, _ in parts if rows is not None])
    return sample, None if weights is None else np.concatenate([own for _, own in parts])


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
