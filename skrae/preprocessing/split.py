"""The held-out part of the rows, with equal and nearly equal rows kept on one side.

A repeated measurement on both sides would reward a model for memorising its near-duplicate.
"""

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from skrae.preprocessing.blocks import NETWORK_ROWS, by_blocks

# Below this many rows nothing is held out: the base is one Gaussian of all rows.
MIN_ROWS_TO_SPLIT = 10
# Near-duplicates are nearer than this share of the median distance to the nearest neighbour.
NEAR = 0.25
# Neighbours are searched by brute force; larger tables are split row by row.
MAX_ROWS_TO_COMPARE = 20_000
# A group beyond both limits is an atom of the data, split like any rows.
MAX_GROUP, ATOM_SHARE = 5, 0.01


# Of rows with holes: the least share of the columns that two must have in common.
MIN_COMMON = 1.0 / 3.0


def nearest_neighbours(z):
    """Distance to the nearest other row and its index, each of shape (n,); z is float32.

    Of rows with holes (NaN) by the columns that both have, as if the others were as far apart.
    """
    if torch.isnan(z).any():
        return _neighbours_by_common(z)
    squares = z.square().sum(1)

    def nearest(rows, index):
        square = torch.addmm(squares, rows, z.T, alpha=-2.0).add_(squares[index, None])
        square[torch.arange(len(rows)), index] = torch.inf
        return tuple(square.min(dim=1))

    distances, indices = by_blocks(nearest, z, torch.arange(len(z)), size=NETWORK_ROWS)
    return distances.clamp_min(0.0).sqrt().numpy(), indices.numpy()


def _neighbours_by_common(z):
    seen, d = (~z.isnan()).to(z), z.shape[1]
    z = z.nan_to_num(0.0)
    squares = z.square()

    def nearest(rows, own, index):
        common = own @ seen.T
        square = rows.square() @ seen.T + own @ squares.T - 2.0 * rows @ z.T
        square = torch.where(common >= MIN_COMMON * d, square * (d / common), torch.inf)
        square[torch.arange(len(rows)), index] = torch.inf
        return tuple(square.min(dim=1))

    parts = z, seen, torch.arange(len(z))
    distances, indices = by_blocks(nearest, *parts, size=NETWORK_ROWS)
    return distances.clamp_min(0.0).sqrt().numpy(), indices.numpy()


def near_duplicate_groups(z):
    """A group number for each row of z (n, d), shared by near-duplicates, and theirs in turn.

    NaN stands where an entry is missing.
    """
    n = len(z)
    if n > MAX_ROWS_TO_COMPARE:
        return np.arange(n)
    centred = z - (np.nanmean(z, axis=0) if np.isnan(z).any() else z.mean(0))
    distances, nearest = nearest_neighbours(torch.as_tensor(centred, dtype=torch.float32))
    positive = distances[(distances > 1e-3) & np.isfinite(distances)]
    limit = NEAR * np.median(positive) if len(positive) else 0.0
    near = np.flatnonzero(distances <= max(limit, 1e-3))
    links = coo_matrix((np.ones(len(near)), (near, nearest[near])), shape=(n, n))
    group = connected_components(links, directed=False)[1].astype(np.int64)
    atom = np.bincount(group)[group] > max(MAX_GROUP, ATOM_SHARE * n)
    group[atom] = group.max() + 1 + np.arange(atom.sum())
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def split_rows(z, fraction, rng):
    """Indices (train, held out) of a random split; both are all rows where there are too few.

    Parameters
    ----------
    z : array of shape (n, d), rows in working space
    fraction : float, share of the rows to hold out; at least min(30, n / 4) rows, at most two
        thirds of them, and groups of near-duplicates whole
    rng : numpy.random.RandomState
    """
    train, (held_out, *_) = split_folds(z, fraction, rng)
    return train, held_out


def split_folds(z, fraction, rng, n_folds=1):
    """Indices of the rows to train on, and folds to hold out, the first of which they lack.

    Further folds are as large where there are rows enough, and no row is in two.
    """
    n = len(z)
    if n < MIN_ROWS_TO_SPLIT:
        return np.arange(n), [np.arange(n)]
    group = near_duplicate_groups(z)
    place = rng.permutation(group.max() + 1)[group]
    order = np.argsort(place, kind="stable")
    n_out = min(max(round(fraction * n), min(30, n // 4)), n - n // 3)
    n_folds = max(1, min(n_folds, n // n_out))
    # The last group of a fold is held out whole.
    ends = [int((place <= place[order[k * n_out - 1]]).sum()) for k in range(1, n_folds + 1)]
    folds = [np.sort(order[a:b]) for a, b in zip([0, *ends], ends, strict=False) if a < b]
    return np.sort(order[ends[0] :]), folds
