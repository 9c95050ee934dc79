"""log p(y) - log p(x) between a state at x and a proposed one at y: exact, or from the score alone.

Each is a function (state, proposed, target) -> (n,). `exact` and `PathIntegral` are antisymmetric
for every target; the one-sided expansions of Alain & Bengio (2014, section 4) are so only where
they are exact: `first_order` where the score is constant, `second_order` where it is linear.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch


def exact(state, proposed, target):
    """log p(y) - log p(x), the difference of the log densities that the states carry."""
    return proposed.log_density - state.log_density


@cache
def gauss_legendre(n_nodes):
    """Nodes and weights, each of shape (n_nodes,): exact for polynomials of degree 2 n_nodes - 1.

    Examples
    --------
    >>> nodes, weights = gauss_legendre(3)
    >>> round(float(weights @ nodes**5), 12)  # 1/6
    0.166666666667
    """
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    nodes, weights = 0.5 + 0.5 * nodes, 0.5 * weights
    nodes.flags.writeable = weights.flags.writeable = False  # every caller gets the same arrays
    return nodes, weights


class PathIntegral(NamedTuple):
    """Line integral of the score, int_0^1 psi(x + t (y - x)) . (y - x) dt, by Gauss-Legendre.

    Exact for scores that are polynomials of degree below 2 n_nodes along the line; it needs no log
    density.
    """

    n_nodes: int = 32

    def __call__(self, state, proposed, target):
        nodes, weights = gauss_legendre(self.n_nodes)
        step = proposed.position - state.position
        # From the midpoint outwards, so that exchanging x and y changes the sign alone.
        middle = 0.5 * (state.position + proposed.position)
        points = torch.cat([middle + (float(t) - 0.5) * step for t in nodes])
        slopes = target.gradient(points).reshape(self.n_nodes, *step.shape)
        return torch.einsum("t,tnd,nd->n", torch.tensor(weights).to(step), slopes, step)


def first_order(state, proposed, target):
    """psi(x) . (y - x): the expansion of log p about x to first order."""
    return (state.gradient * (proposed.position - state.position)).sum(1)


def second_order(state, proposed, target):
    """psi(x) . (y - x) + (y - x)^T H(x) (y - x) / 2, H the Hessian of log p."""
    step = proposed.position - state.position
    curvature = torch.einsum("ni,nij,nj->n", step, target.hessian(state.position), step)
    return first_order(state, proposed, target) + 0.5 * curvature


DENSITY_RATIOS = {
    "exact": exact,
    "path": PathIntegral(),
    "first_order": first_order,
    "second_order": second_order,
}
