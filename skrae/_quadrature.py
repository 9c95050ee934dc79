"""Gauss-Legendre quadrature on (0, 1), for integrals along a line."""

from functools import cache

import numpy as np


@cache
def gauss_legendre(n_nodes):
    """Nodes and weights, each of shape (n_nodes,): exact for polynomials of degree 2 n_nodes - 1.

    Examples
    --------
    >>> nodes, weights = gauss_legendre(3)
    >>> float(weights @ nodes**5)
    0.16666666666666666
    """
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    nodes, weights = 0.5 + 0.5 * nodes, 0.5 * weights
    nodes.flags.writeable = weights.flags.writeable = False  # every caller gets the same arrays
    return nodes, weights
