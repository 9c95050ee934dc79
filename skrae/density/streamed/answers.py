"""Answers about the rows of a source: block by block, and then one array."""

import warnings

import numpy as np

from skrae.density.incomplete.rows import asked_rows, table_evaluator
from skrae.preprocessing.contract.caller import warn
from skrae.preprocessing.sources.joining import joined
from skrae.preprocessing.sources.source import source_of


def answered(X, answer):
    """answer(X), or of a source the answers about its blocks, one after the other.

    What there is to warn of is told once, not for each block.

    Parameters
    ----------
    X : table in memory, or what `source_of` knows
    answer : callable from rows to an array or a data frame of as many rows, or to a tuple of such
        and of counts, which are added up

    Raises
    ------
    ValueError, TypeError
        For blocks of different columns, for a source without rows, and for what `answer` refuses.
    """
    source = source_of(X)
    if source is None:
        return answer(X)
    with warnings.catch_warnings(record=True) as caught:
        answers = [_told(answer, *part) for part in _with_places(source.blocks())]
    for message, category in dict.fromkeys((str(w.message), w.category) for w in caught):
        warn(message, category)
    if not isinstance(answers[0], tuple):
        return joined(answers)
    parts = zip(*answers, strict=True)
    return tuple(joined(part) if np.ndim(part[0]) else sum(part) for part in parts)


def answer(estimator, table, question, options, X):
    """What the evaluator of a fitted estimator answers about rows in memory.

    Parameters
    ----------
    estimator : the estimator
    table : Table, or None where all columns are plain numbers
    question : name of a method of `TableEvaluator`
    options : tuple of what it takes besides rows
    X : table in memory
    """
    rows = asked_rows(estimator, table, X)
    return table_evaluator(estimator._evaluator(rows.dtype), table).ask(question, rows, *options)


def _with_places(blocks):
    """The place of the first row of each block, and the block."""
    start = 0
    for block in blocks:
        yield start, block
        start += len(block)


def _told(answer, start, block):
    """The answer about a block; an error tells where in the table it begins."""
    try:
        return answer(block)
    except ValueError as error:
        error.add_note(f"Rows are counted from row {start} of the table on.")
        raise
