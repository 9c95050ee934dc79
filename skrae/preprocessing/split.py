"""The held-out part of the rows, with equal and nearly equal rows kept on one side.

A repeated measurement on both sides would reward a model for memorising its twin.
"""

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# Below this many rows nothing is held out: the base is one Gaussian of all rows.
MIN_ROWS_TO_SPLIT = 10
# Rows nearer than this share of the median distance to the nearest neighbour count as twins.
TWIN_DISTANCE = 0.25
# Neighbours are searched by brute force; larger tables are split row by row.
MAX_ROWS_WITH_TWINS = 20_000
# A group beyond both limits is an atom of the data, split like any rows.
MAX_TWINS, ATOM_SHARE = 5, 0.01


def nearest_neighbours(z, chunk=1024):
    """Distance to the nearest other row and its index, each of shape (n,); z is float32."""
    squares, distances, indices = z.square().sum(1), [], []
    for start in range(0, len(z), chunk):
        rows = z[start : start + chunk]
        square = torch.addmm(squares, rows, z.T, alpha=-2.0).add_(
            squares[start : start + chunk, None]
        )
        own = torch.arange(len(rows))
        square[own, start + own] = torch.inf
        nearest, index = square.min(dim=1)
        distances.append(nearest)
        indices.append(index)
    return torch.cat(distances).clamp_min(0.0).sqrt().numpy(), torch.cat(indices).numpy()


def twin_groups(z):
    """A group number for each row of z (n, d): twins, and twins of twins, share theirs."""
    n = len(z)
    if n > MAX_ROWS_WITH_TWINS:
        return np.arange(n)
    distances, nearest = nearest_neighbours(torch.as_tensor(z - z.mean(0), dtype=torch.float32))
    positive = distances[distances > 1e-3]
    limit = TWIN_DISTANCE * np.median(positive) if len(positive) else 0.0
    twins = np.flatnonzero(distances <= max(limit, 1e-3))
    links = coo_matrix((np.ones(len(twins)), (twins, nearest[twins])), shape=(n, n))
    group = connected_components(links, directed=False)[1].astype(np.int64)
    atom = np.bincount(group)[group] > max(MAX_TWINS, ATOM_SHARE * n)
    group[atom] = group.max() + 1 + np.arange(atom.sum())
    return np.unique(group, return_inverse=True)[1].reshape(-1)


def split_rows(z, fraction, rng):
    """Indices (train, held out) of a random split; both are all rows where there are too few.

    Parameters
    ----------
    z : array of shape (n, d), rows in working space
    fraction : float, share of the rows to hold out; at least min(30, n / 4) rows
    rng : numpy.random.RandomState
    """
    n = len(z)
    if n < MIN_ROWS_TO_SPLIT:
        return np.arange(n), np.arange(n)
    group = twin_groups(z)
    place = rng.permutation(group.max() + 1)[group]
    order = np.argsort(place, kind="stable")
    n_out = min(max(round(fraction * n), min(30, n // 4)), n - n // 3)
    # The last group on the held-out side is held out whole.
    n_out = int((place <= place[order[n_out - 1]]).sum())
    return np.sort(order[n_out:]), np.sort(order[:n_out])
