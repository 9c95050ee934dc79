"""Distances along the rows: shortest paths in a graph of neighbours (Tenenbaum et al. 2000)."""

import numpy as np
from scipy.sparse.csgraph import connected_components, shortest_path
from sklearn.neighbors import kneighbors_graph

# Of more rows, this many landmarks have their distances known: n^2 numbers are held.
MAX_LANDMARKS = 5000


def geodesic_distances(rows, n_neighbors, landmarks):
    """Lengths of the shortest paths between landmarks, over all rows.

    Parameters
    ----------
    rows : array of shape (n, d), distinct
    n_neighbors : int < n, the edges of each row
    landmarks : array of shape (m,), indices of rows

    Returns
    -------
    distances : array of shape (m, m), float32

    Raises
    ------
    ValueError
        Where the graph falls into parts, between which there is no path.

    Examples
    --------
    >>> corner = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    >>> geodesic_distances(corner, 1, np.arange(3))[0]
    array([0., 1., 2.], dtype=float32)
    """
    graph = kneighbors_graph(rows, n_neighbors, mode="distance")
    graph = graph.maximum(graph.T)
    n_parts, part = connected_components(graph, directed=False)
    if n_parts > 1:
        sizes = np.sort(np.bincount(part))[::-1]
        raise ValueError(
            f"Got distance='geodesic' on a graph of n_neighbors={n_neighbors} that falls into"
            f" {n_parts} parts (of {', '.join(map(str, sizes[:4]))}{' ...' * (n_parts > 4)} rows),"
            " expected one: between parts there is no path. Take a larger n_neighbors, or fit the"
            " parts one by one."
        )
    found = shortest_path(graph, directed=False, indices=landmarks)
    return found[:, landmarks].astype(np.float32)
