"""What users say of columns: which are categories, and of what kind the others are."""

from numbers import Integral

import numpy as np

from skrae.preprocessing.contract.options import check_choice
from skrae.preprocessing.table.reading import TEXT, TRUTH

CONTINUOUS, CELLS, HEAPS, ATOMS = "continuous", "cells", "heaps", "atoms"
CATEGORICAL, CONSTANT = "categorical", "constant"
KINDS = CONTINUOUS, CELLS, HEAPS, ATOMS, CATEGORICAL, CONSTANT


def asked_kinds(source, categorical_features, column_kinds):
    """The kind that each column is asked to be, or "auto", a list of str.

    Raises
    ------
    ValueError, TypeError
        For options that are no such thing or contradict each other, and for strings that are not
        to be categories.
    """
    kinds = _kinds_by_column(source, column_kinds)
    is_categorical = _categorical_mask(source, categorical_features)
    explicit = not (isinstance(categorical_features, str) or categorical_features is None)
    asked = []
    for column, kind, is_ in zip(source.columns, kinds, is_categorical, strict=True):
        if is_ and (column.type.sort == TEXT or explicit) and kind not in ("auto", CATEGORICAL):
            raise ValueError(
                f"Got column_kinds {kind!r} for column {column.name!r}, which is categorical,"
                " expected 'auto' or 'categorical'."
            )
        if column.type.sort == TEXT and not (is_ or kind == CATEGORICAL):
            raise ValueError(
                f"Got strings in column {column.name!r}, expected numbers, or the column among"
                f" categorical_features (got {categorical_features!r})."
            )
        asked.append(CATEGORICAL if is_ and kind == "auto" else kind)
    return asked


def _categorical_mask(source, features):
    names, d = list(source.names), len(source.names)
    if features is None:
        return [False] * d
    if isinstance(features, dict) or not np.iterable(features):
        raise TypeError(
            f"Got categorical_features={features!r}, expected 'from_dtype', None, a boolean mask,"
            " indices or names of columns."
        )
    if isinstance(features, str):
        check_choice("categorical_features", features, ("from_dtype", None))
        return [c.type.is_category or c.type.sort in (TEXT, TRUTH) for c in source.columns]
    listed = features.tolist() if isinstance(features, np.ndarray) else list(features)
    if listed and all(isinstance(feature, bool | np.bool_) for feature in listed):
        if len(listed) != d:
            raise ValueError(
                f"Got categorical_features, a mask of {len(listed)} entries, expected {d}."
            )
        return listed
    chosen = {_place(feature, names, "categorical_features") for feature in listed}
    return [j in chosen for j in range(d)]


def _kinds_by_column(source, column_kinds):
    known = ("auto", *KINDS)
    if not isinstance(column_kinds, dict):
        check_choice("column_kinds", column_kinds, known)
        return [_of_numbers(column, column_kinds) for column in source.columns]
    kinds = ["auto"] * len(source.names)
    for feature, kind in column_kinds.items():
        check_choice(f"column_kinds[{feature!r}]", kind, known)
        kinds[_place(feature, list(source.names), "column_kinds")] = kind
    return kinds


def _of_numbers(column, kind):
    """One kind for all is for columns of numbers alone."""
    is_other = column.type.is_category or column.type.sort in (TEXT, TRUTH)
    return "auto" if is_other else kind


def _place(feature, names, option):
    """The index of a feature that was told by its name or index."""
    if feature in names:
        return names.index(feature)
    is_index = isinstance(feature, Integral) and not isinstance(feature, bool)
    if is_index and 0 <= feature < len(names):
        return int(feature)
    if not (is_index or isinstance(feature, str)):
        raise TypeError(f"Got {feature!r} in {option}, expected names or indices of columns.")
    raise ValueError(
        f"Got {feature!r} in {option}, expected a name or an index of the {len(names)} columns"
        f" {names[:10]}."
    )
