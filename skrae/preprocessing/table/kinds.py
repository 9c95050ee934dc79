"""What each column is: continuous, on a grid of cells, with atoms, categorical or constant.

Of the observed values of a column of numbers, the first that holds:

constant       one distinct value
categorical    two distinct values, each at least twice, in 20 rows or more: a flag
cells          values that repeat, 30 rows or more, on a grid of a step of at least 1/8 of their
               standard deviation (without the farthest 1/400 on either side), or 1/50 where their
               type is integer or they are whole numbers beside holes
heaps          rounded values, 500 rows or more, some of which many rows prefer; see `grids.heaps`
atoms          at most three values, each with a share of 1/20 and 20 rows or more, and five times
               as frequent as any other value, of which there are 20 or more
continuous
"""

import numpy as np

from skrae.preprocessing.scales import WINSORISED
from skrae.preprocessing.table.features import Feature
from skrae.preprocessing.table.grids.heaps import are_likely, find_heaps
from skrae.preprocessing.table.grids.lattice import find_lattice
from skrae.preprocessing.table.options import (
    ATOMS,
    CATEGORICAL,
    CELLS,
    CONSTANT,
    CONTINUOUS,
    HEAPS,
)
from skrae.preprocessing.table.reading import TRUTH, plain_values

MIN_FLAG_ROWS, MIN_FLAG_COUNT = 20, 2
MIN_CELL_ROWS = 30
# The least step, in standard deviations.
MIN_STEP, MIN_WHOLE_STEP = 1.0 / 8.0, 1.0 / 50.0
MAX_ATOMS, MIN_ATOM_SHARE, MIN_ATOM_ROWS, MIN_ATOM_RATIO, MIN_OTHERS = 3, 0.05, 20, 5.0, 20
MAX_LEVELS, FEW_LEVELS = 255, 20


def feature_of(column, asked):
    """The `Feature` of a column, of the kind that is asked for or found.

    Parameters
    ----------
    column : RawColumn, the rows that count
    asked : str, a kind or "auto"

    Raises
    ------
    ValueError
        Where nothing was observed, where the column cannot be of the kind asked for, and for too
        many levels.
    """
    missing = column.missing
    observed = column.values[~missing]
    if not len(observed):
        raise ValueError(
            f"Got column {column.name!r} without any observed value, expected at least one: leave"
            " the column out."
        )
    feature = Feature(
        column.name, CONTINUOUS, column.type, len(observed), float(missing.mean()), (), None
    )
    if asked == CATEGORICAL:
        return _of_levels(feature, observed)
    points, counts = np.unique(observed, return_counts=True)
    if len(points) == 1:
        return feature._replace(kind=CONSTANT, points=plain_values(points, column.type))
    if asked == "auto":
        return _found(feature, points, counts)
    return _forced(feature, points, counts, asked)


def _found(feature, points, counts):
    n = feature.n_observed
    if len(points) == 2 and counts.min() >= MIN_FLAG_COUNT and n >= MIN_FLAG_ROWS:
        return feature._replace(kind=CATEGORICAL, points=plain_values(points, feature.type))
    if len(points) < n and n >= MIN_CELL_ROWS:
        # pandas stores integers with holes as floats.
        with_holes = feature.share_missing > 0.0 and (points == np.rint(points)).all()
        share = MIN_WHOLE_STEP if feature.type.is_whole or with_holes else MIN_STEP
        least = share * _deviation(points, counts)
        lattice = find_lattice(points, least, feature.type.precision)
        if lattice is not None:
            return _with_heaps(feature, points, counts, lattice)
    atoms = _atoms(points, counts)
    if atoms:
        return feature._replace(kind=ATOMS, points=atoms)
    return _heaped(feature, points, counts)


def _heaped(feature, points, counts):
    """The feature with the preferred values of a fine grid, if there are any."""
    lattice = are_likely(counts) and find_lattice(points, precision=feature.type.precision)
    found = _with_heaps(feature, points, counts, lattice) if lattice else feature
    return found if found.heaps else feature


def _with_heaps(feature, points, counts, lattice):
    """The feature of values on a grid, of preferred ones where they are."""
    if are_likely(counts):
        heaps = find_heaps(points, counts, lattice, _deviation(points, counts))
        if heaps:
            return feature._replace(kind=HEAPS, lattice=lattice, heaps=heaps)
    return feature._replace(kind=CELLS, lattice=lattice)


def _forced(feature, points, counts, asked):
    if asked == CONTINUOUS:
        return feature
    if asked == CELLS:
        lattice = find_lattice(points, precision=feature.type.precision)
        _require(lattice is not None, feature, asked, "whose values lie on no common grid")
        return feature._replace(kind=CELLS, lattice=lattice)
    if asked == HEAPS:
        return _asked_heaps(feature, points, counts)
    if asked == ATOMS:
        _require(counts.max() > 1, feature, asked, "whose values do not repeat")
        atoms = _atoms(points, counts) or (float(points[counts.argmax()]),)
        return feature._replace(kind=ATOMS, points=atoms)
    _require(False, feature, asked, f"of {len(points)} distinct values")
    return None


def _asked_heaps(feature, points, counts):
    _require(counts.max() > 1, feature, HEAPS, "whose values do not repeat")
    lattice = find_lattice(points, precision=feature.type.precision)
    _require(lattice is not None, feature, HEAPS, "whose values lie on no common grid")
    deviation = _deviation(points, counts)
    heaps = find_heaps(points, counts, lattice, deviation, -np.inf, min(2, counts.max()))
    return feature._replace(kind=HEAPS, lattice=lattice, heaps=heaps)


def _require(holds, feature, asked, what):
    if not holds:
        raise ValueError(
            f"Got column_kinds {asked!r} for column {feature.name!r}, {what}, expected another"
            " kind, or 'auto'."
        )


def _deviation(points, counts):
    """The standard deviation of values that are there `counts` times, the ends drawn in.

    So one wild value, such as a code for what is unknown, hides no grid. Where nearly all values
    are equal, of all of them.
    """
    places, n = np.cumsum(counts), counts.sum()
    drawn_in = max(1, int(WINSORISED * n))
    low, high = points[np.searchsorted(places, [drawn_in, n - drawn_in - 1], side="right")]
    return _spread(np.clip(points, low, high), counts) or _spread(points, counts)


def _spread(points, counts):
    exponent = np.frexp(np.abs(points).max())[1]
    scaled, share = np.ldexp(points, -exponent), counts / counts.sum()
    return float(np.ldexp(np.sqrt(share @ (scaled - share @ scaled) ** 2), exponent))


def _atoms(points, counts):
    """The values that many rows share, increasing; () where there are none."""
    order = np.argsort(-counts, kind="stable")
    ranked, least = counts[order], max(MIN_ATOM_ROWS, MIN_ATOM_SHARE * counts.sum())
    for size in range(min(MAX_ATOMS, len(points) - MIN_OTHERS), 0, -1):
        if ranked[size - 1] >= max(least, MIN_ATOM_RATIO * ranked[size]):
            return tuple(sorted(points[order[:size]].tolist()))
    return ()


def _of_levels(feature, observed):
    """A categorical feature of the levels declared or observed; constant where there is one."""
    seen = np.array(sorted(set(observed.tolist())), dtype=observed.dtype)
    _refuse_many(feature, len(seen))
    type_ = feature.type
    points = type_.declared or ((False, True) if type_.sort == TRUTH else plain_values(seen, type_))
    return feature._replace(kind=CATEGORICAL if len(points) > 1 else CONSTANT, points=points)


def _refuse_many(feature, n_seen):
    n_levels, n = max(n_seen, len(feature.type.declared)), feature.n_observed
    what = f"Got {n_levels} levels in {n} rows of the categorical column {feature.name!r}"
    if n_seen > max(FEW_LEVELS, n / 2):
        raise ValueError(
            f"{what}, expected at most {max(FEW_LEVELS, n // 2)}: it looks like an identifier,"
            " which says nothing of other rows. Drop the column."
        )
    if n_levels > MAX_LEVELS:
        raise ValueError(
            f"{what}, expected at most {MAX_LEVELS}: drop the column, or put rare levels together."
        )
