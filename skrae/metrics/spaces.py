"""Rows before and after a map: checks, distances by blocks, neighbours and their ranks."""

from typing import NamedTuple

import numpy as np
from sklearn.metrics import pairwise_distances, pairwise_distances_chunked
from sklearn.neighbors import VALID_METRICS, NearestNeighbors
from sklearn.utils import check_array, gen_batches

from skrae.preprocessing.rows import plain_array

# Distances at a time, 32 MiB of float64: ranks and masks of a block take a few times that.
BLOCK_NUMBERS = 2**22
# Squares of larger numbers, summed over columns and pairs, leave float64.
LARGEST = 1e140


class Space(NamedTuple):
    """Rows, the rows that their neighbours are sought among, and the distance.

    rows : array of shape (m, d), or (m, n), the distances themselves, where metric is "precomputed"
    others : array of shape (n, d), or None: the other rows, or none that distances need
    metric : str or callable
    in_sample : bool, whether neighbours of a row are sought among the other rows
    """

    rows: np.ndarray
    others: np.ndarray | None
    metric: object
    in_sample: bool

    @property
    def n_others(self):
        """Among how many rows each one's neighbours are sought."""
        if self.in_sample:
            return len(self.rows) - 1
        return self.rows.shape[1] if self.others is None else len(self.others)

    def blocks(self):
        """Slices of the rows, and the distances (block, n) of each, a new array."""
        start = 0
        for distances in self._distances():
            rows = slice(start, start + len(distances))
            yield rows, distances
            start = rows.stop

    def _distances(self):
        if self.metric == "precomputed":
            size = max(1, BLOCK_NUMBERS // self.rows.shape[1])
            return (self.rows[part].copy() for part in gen_batches(len(self.rows), size))
        options = {"metric": self.metric, "working_memory": BLOCK_NUMBERS * 8 / 2**20}
        return pairwise_distances_chunked(self.rows, self.others, **options)

    def others_only(self):
        """`blocks` in which no row is its own neighbour: its distance to itself is infinite."""
        for rows, distances in self.blocks():
            if self.in_sample:
                own = np.arange(rows.start, rows.stop)
                distances[own - rows.start, own] = np.inf
            yield rows, distances

    def neighbors(self, n_neighbors):
        """Numbers of the nearest others of each row, nearest first, (m, n_neighbors)."""
        if self.metric == "euclidean":
            search = NearestNeighbors(n_neighbors=n_neighbors)
            if self.in_sample:
                return search.fit(self.rows).kneighbors(return_distance=False)
            return search.fit(self.others).kneighbors(self.rows, return_distance=False)
        blocks = (distances for _, distances in self.others_only())
        return np.concatenate([np.argsort(block, axis=1)[:, :n_neighbors] for block in blocks])

    def ranks(self, numbers):
        """How near the numbered others (m, k) are to each row, (m, k): 1 is the nearest."""
        found = np.empty_like(numbers)
        for rows, distances in self.others_only():
            order = np.argsort(distances, axis=1)
            ranks = np.empty_like(order)
            np.put_along_axis(ranks, order, np.arange(1, order.shape[1] + 1)[None], axis=1)
            found[rows] = np.take_along_axis(ranks, numbers[rows], axis=1)
        return found

    def centred(self):
        """The same distances, of rows about the origin."""
        if self.metric != "euclidean":
            return self
        centre = (self.rows if self.in_sample else self.others).mean(axis=0)
        others = None if self.in_sample else self.others - centre
        return self._replace(rows=self.rows - centre, others=others)


def pairs_of_distances(X, Z):
    """Distances in two spaces of the same pairs, flat, a block at a time.

    Each two rows of one table are one pair, and each row with each of a reference.
    """
    # |x|^2 - 2 x.y + |y|^2, which distances are computed by, loses digits far from the origin.
    X, Z = X.centred(), Z.centred()
    targets = Z.rows if Z.in_sample else Z.others
    for rows, before in X.blocks():
        after = pairwise_distances(Z.rows[rows], targets)
        if X.in_sample:
            once = np.arange(rows.start, rows.stop)[:, None] < np.arange(len(targets))
            before, after = before[once], after[once]
        yield before.ravel(), after.ravel()


def checked_spaces(X, Z, metric, reference):
    """The `Space` of X, with its metric, and that of Z, which is Euclidean.

    Raises
    ------
    ValueError
        For rows, codes, a reference or a metric that do not fit each other.
    """
    if not callable(metric) and metric not in VALID_METRICS["brute"]:
        raise ValueError(
            f"Got metric={metric!r}, expected 'euclidean', 'precomputed', another name that"
            " sklearn.metrics.pairwise_distances knows, or a function of two rows."
        )
    in_sample, known = reference is None, metric == "precomputed"
    X, Z = (_table(name, table, 1 + in_sample) for name, table in (("X", X), ("Z", Z)))
    _check_lengths("X", X, "Z", Z)
    X_fit, Z_fit = (None, None) if in_sample else _checked_reference(reference, known)
    if known:
        _check_distances(X, len(Z) if in_sample else len(Z_fit))
    if not in_sample:
        _check_widths("Z", Z, Z_fit)
        if not known:
            _check_widths("X", X, X_fit)
    return Space(X, X_fit, metric, in_sample), Space(Z, Z_fit, "euclidean", in_sample)


def _table(name, table, least=1):
    """Finite float64 rows (n, d), at least so many."""
    table = check_array(
        plain_array(table), dtype=np.float64, ensure_min_samples=least, input_name=name
    )
    largest = max(table.max(), -table.min())
    if largest > LARGEST:
        raise ValueError(
            f"Got {name} with a number of size {largest:.3g}, whose square overflows, expected"
            " other units."
        )
    return table


def _checked_reference(reference, known):
    """X_fit and Z_fit; None in place of X_fit where distances to it are known."""
    if not isinstance(reference, tuple | list) or len(reference) != 2:
        raise ValueError(
            f"Got reference of type {type(reference).__name__}, expected a pair (X_fit, Z_fit) or"
            " None."
        )
    X_fit, Z_fit = reference
    if known != (X_fit is None):
        raise ValueError(
            f"Got reference with X_fit of type {type(X_fit).__name__}, expected None for"
            " metric='precomputed', where X holds the distances to its rows, and rows for any"
            " other metric."
        )
    Z_fit = _table("Z_fit", Z_fit)
    if not known:
        X_fit = _table("X_fit", X_fit)
        _check_lengths("X_fit", X_fit, "Z_fit", Z_fit)
    return X_fit, Z_fit


def _check_lengths(name, rows, code_name, codes):
    if len(rows) != len(codes):
        raise ValueError(
            f"Got {len(rows)} rows of {name} and {len(codes)} of {code_name}, expected as many of"
            " both."
        )


def _check_widths(name, rows, fitted):
    if rows.shape[1] != fitted.shape[1]:
        raise ValueError(
            f"Got {name} of {rows.shape[1]} columns and {name}_fit of {fitted.shape[1]}, expected"
            " as many of both."
        )


def _check_distances(distances, n_columns):
    if distances.shape[1] != n_columns:
        raise ValueError(
            f"Got X of shape {distances.shape} with metric='precomputed', expected distances of"
            f" shape ({len(distances)}, {n_columns})."
        )
    if distances.min() < 0.0:
        raise ValueError(f"Got X with a distance of {distances.min():g}, expected none below 0.")
