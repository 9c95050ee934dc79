"""Moment functions f: names, callables and transformers as one map X -> (n, m), and their targets.

Second moments are taken about the targets of the mean, so that columns far from zero lose no
digits: "covariance" is the function (x_i - c_i)(x_j - c_j), i <= j, with c those targets.
"""

from typing import NamedTuple

import numpy as np
from sklearn.base import clone

NAMED = "mean", "variance", "covariance", "log"
ABOUT_MEAN = "variance", "covariance"
# What stands for a value that overflows, far out in a tail where the density is zero.
HUGE = 1e150


class Moments(NamedTuple):
    """The moment functions of rows of d columns.

    Parameters
    ----------
    parts : tuple of str, callables and fitted transformers
    sizes : tuple of int, functions of each part
    names : tuple of str, of each function
    centre : array of shape (d,), what second moments are about
    """

    parts: tuple
    sizes: tuple
    names: tuple
    centre: np.ndarray

    def __call__(self, X):
        """The functions at rows, float64 (n, m)."""
        columns = (_values(part, X, self.centre) for part in self.parts)
        return np.concatenate(list(columns), axis=1)

    def at_nodes(self, X):
        """The same where some rows are far out in the tails: what overflows there is huge.

        Raises
        ------
        ValueError
            Where a function is not a number.
        """
        with np.errstate(over="ignore"):
            found = self(X)
        if np.isnan(found).any():
            row, k = np.argwhere(np.isnan(found))[0]
            raise ValueError(
                f"Got {self.names[k]} that is NaN at {X[row]}, expected numbers on the support."
            )
        return np.clip(found, -HUGE, HUGE)


def listed(moments):
    """The parts of the option `moments` as a tuple, checked.

    >>> listed("mean"), listed(["mean", "variance"])
    (('mean',), ('mean', 'variance'))
    """
    is_one = isinstance(moments, str) or callable(moments) or hasattr(moments, "transform")
    parts = (moments,) if is_one else tuple(moments) if np.iterable(moments) else (None,)
    expected = f"names of {list(NAMED)}, callables, transformers, or a sequence of them"
    if not parts:
        raise ValueError(f"Got moments={moments!r}, expected {expected}.")
    for part in parts:
        if isinstance(part, str) and part not in NAMED:
            raise ValueError(f"Got moments={moments!r} with {part!r}, expected {expected}.")
        if not (isinstance(part, str) or callable(part) or hasattr(part, "transform")):
            raise TypeError(f"Got moments={moments!r} with {part!r}, expected {expected}.")
    if any(part in ABOUT_MEAN for part in parts if isinstance(part, str)) and "mean" not in parts:
        raise ValueError(
            f"Got moments={moments!r}, expected 'mean' among them: second moments are about it."
        )
    return parts


def bound(parts, columns, rows):
    """`Moments` of columns with these names; transformers are fitted to the rows.

    Parameters
    ----------
    parts : tuple, as `listed` gives it
    columns : sequence of d str
    rows : array of shape (n, d), some rows in the support, on which functions are counted
    """
    d = len(columns)
    parts = tuple(clone(part).fit(rows) if hasattr(part, "transform") else part for part in parts)
    centre, names, sizes = np.zeros(d), [], []
    for part in parts:
        own = _names(part, columns, rows)
        names += own
        sizes.append(len(own))
    return Moments(parts, tuple(sizes), tuple(names), centre)


def n_functions(part, d):
    """How many functions a name stands for in d columns."""
    return d * (d + 1) // 2 if part == "covariance" else d


def _names(part, columns, rows):
    if part == "covariance":
        pairs = zip(*np.triu_indices(len(columns)), strict=True)
        return [f"covariance of {columns[i]} and {columns[j]}" for i, j in pairs]
    if isinstance(part, str):
        return [f"{part} of {column}" for column in columns]
    size = _values(part, rows[:2], np.zeros(rows.shape[1])).shape[1]
    what = getattr(part, "__name__", type(part).__name__)
    return [f"moment {k} of {what}" for k in range(size)]


def _values(part, X, centre):
    if part == "mean":
        return X.astype(np.float64)
    if part == "variance":
        return (X - centre) ** 2
    if part == "covariance":
        i, j = np.triu_indices(X.shape[1])
        shifted = X - centre
        return shifted[:, i] * shifted[:, j]
    if part == "log":
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(X)
    found = part.transform(X) if hasattr(part, "transform") else part(X)
    found = np.asarray(found.toarray() if hasattr(found, "toarray") else found, np.float64)
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or len(found) != len(X):
        raise ValueError(
            f"Got moments of shape {found.shape} for {len(X)} rows, expected ({len(X)}, m)."
        )
    return found


def of_rows(moments, rows, weights):
    """The moments, centred, with their means and standard deviations over weighted rows.

    Raises
    ------
    ValueError
        Where a function is not finite at a row.
    """
    share = weights / weights.sum()
    moments = moments._replace(centre=share @ rows)
    values = moments(rows)
    if not np.isfinite(values).all():
        row, k = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(
            f"Got {moments.names[k]} that is {values[row, k]} in row {row}, expected a finite"
            " number."
        )
    means = share @ values
    return moments, means, np.sqrt(share @ (values - means) ** 2)


def of_rows_about(moments, rows, weights):
    """Standard deviations of the functions over weighted rows (m,)."""
    share, values = weights / weights.sum(), moments(rows)
    return np.sqrt(share @ (values - share @ values) ** 2)


def centred_on(moments, targets):
    """The moments with second ones about the targets of the mean."""
    if "mean" not in moments.parts:
        return moments
    start = sum(moments.sizes[: moments.parts.index("mean")])
    return moments._replace(centre=targets[start : start + len(moments.centre)])


def flat_targets(targets, moments):
    """Targets as an array (m,) in the order of the names.

    Raises
    ------
    ValueError
        For another number of them, or numbers that are not finite.
    """
    pieces = targets if _is_nested(targets, moments.parts) else [targets]
    parts = moments.parts if len(pieces) == len(moments.parts) else [None]
    flat = np.concatenate([_flat(p, part) for p, part in zip(pieces, parts, strict=True)])
    if len(flat) != len(moments.names):
        raise ValueError(
            f"Got {len(flat)} targets, expected {len(moments.names)}: {', '.join(moments.names)}."
        )
    if not np.isfinite(flat).all():
        k = int(np.flatnonzero(~np.isfinite(flat))[0])
        raise ValueError(
            f"Got a target of {flat[k]} for {moments.names[k]}, expected a finite number."
        )
    return flat


def in_order(targets, columns):
    """Targets whose labels are the names of the columns, in the order of these; others as given."""
    if isinstance(targets, list | tuple):
        return type(targets)(in_order(entry, columns) for entry in targets)
    labels = getattr(targets, "index", None)
    if not hasattr(targets, "reindex") or sorted(map(str, labels)) != sorted(map(str, columns)):
        return targets
    ordered = targets.reindex(list(columns))
    return (ordered[list(columns)] if ordered.ndim == 2 else ordered).to_numpy()


def n_columns_of(targets, parts):
    """Columns that the targets of named moments are of; 1 where only a function knows."""
    if any(not isinstance(part, str) for part in parts):
        return 1
    if _is_nested(targets, parts):
        return np.size(targets[parts.index("mean")] if "mean" in parts else targets[0])
    size = sum(len(_flat(targets, part)) for part in parts[:1])
    found = (d for d in range(1, size + 1) if sum(n_functions(p, d) for p in parts) == size)
    return next(found, 1)


def _is_nested(targets, parts):
    """Whether there is one entry, not all of them numbers, for each part."""
    listed = isinstance(targets, list | tuple) and len(targets) == len(parts)
    return listed and (len(parts) > 1) and any(np.ndim(entry) > 0 for entry in targets)


def _flat(piece, part):
    found = np.asarray(piece, np.float64)
    if part == "covariance" and found.ndim == 2:
        if found.shape[0] != found.shape[1] or not np.allclose(found, found.T, rtol=1e-8):
            raise ValueError(
                f"Got a covariance of shape {found.shape} as target, expected a symmetric matrix."
            )
        return found[np.triu_indices(len(found))]
    return np.ravel(found)
