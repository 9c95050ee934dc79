"""Integrals in one and two dimensions by Gauss-Legendre cells that follow the density.

A cell is an interval or a rectangle with a Gauss-Legendre rule of its own. The interpolating
polynomial of the density and of its products with the moment functions says how good a cell is: its
last Legendre coefficients are small where the rule is exact. Other cells are halved, and an open
side is carried outwards by cells of doubling width until nothing is left beyond it.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import legendre

from skrae.density.fit.dual import Solution, minimise, statistics_at

# Nodes of a cell along each axis, by the number of axes; and the share of an integral that the last
# coefficients of a cell may have. The rule's error is far below that where the density is smooth.
N_NODES, TOLERANCE = {1: 20, 2: 14}, {1: 1e-11, 2: 1e-9}
# Of a mass and of each moment beyond an open side.
TAIL = 1e-13
# First edges of columns open on two sides and on one; the number of cells of the others.
LINE = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0])
HALF_LINE = np.array([0.0, *0.25 ** np.arange(5.0, -1.0, -1.0), 2, 3, 4, 6, 9, 13, 18, 25, 36])
N_EQUAL = {1: 8, 2: 4}
MAX_CELLS = {1: 3000, 2: 4000}
MAX_ROUNDS, MAX_REFINEMENTS, MAX_REACH = 40, 60, 1e30
# Extensions after which a tail of this share will not end.
LONG, HEAVY = 6, 0.02
# The sum of squared probabilities of nodes that are too few for the density between them.
CONCENTRATED = 0.1
# The share of a cell in which they then are too few; and the gradient, in standard deviations, to
# which steps go before the cells are right.
CROWDED, ROUGH = 0.1, 1e-3


class NotIntegrable(ValueError):
    """Mass stays at an open side of a column, however far out.

    Parameters
    ----------
    column, side : int, the side being 0 or 1
    """

    def __init__(self, column, side):
        super().__init__(column, side)
        self.column, self.side = column, side


class Cells(NamedTuple):
    """Intervals or rectangles with log weights and functions at their nodes."""

    low: np.ndarray  # (K, d)
    high: np.ndarray  # (K, d)
    log_weights: np.ndarray  # (K, n), with log q
    functions: np.ndarray  # (K, n, m), centred

    @property
    def nodes(self):
        """Log weights (K n,) and functions (K n, m) of all nodes."""
        return self.log_weights.ravel(), self.functions.reshape(-1, self.functions.shape[2])

    def joined(self, others):
        """These and other cells."""
        return Cells(*(np.concatenate(pair) for pair in zip(self, others, strict=True)))

    def kept(self, which):
        """Those that a mask (K,) names."""
        return Cells(*(part[which] for part in self))


@cache
def rule(n):
    """Nodes and weights of Gauss and Legendre on [-1, 1], and the matrix values -> coefficients."""
    nodes, weights = legendre.leggauss(n)
    polynomials = legendre.legvander(nodes, n - 1)
    degree = np.arange(n)
    return nodes, weights, ((degree + 0.5) * polynomials * weights[:, None]).T


@cache
def _product_rule(d):
    """Nodes (n^d, d) and weights (n^d,) on [-1, 1]^d."""
    nodes, weights, _ = rule(N_NODES[d])
    grid = np.stack(np.meshgrid(*[nodes] * d, indexing="ij"), -1).reshape(-1, d)
    return grid, weights if d == 1 else np.outer(weights, weights).ravel()


def node_positions(low, high):
    """The nodes of cells (K, d), an array (K, n^d, d), and their weights (K, n^d)."""
    grid, product = _product_rule(low.shape[1])
    half = 0.5 * (high - low)
    position = low[:, None] + half[:, None] * (1.0 + grid)
    return position, product * half.prod(axis=1)[:, None]


def first_edges(bounds, location, breakpoints):
    """Edges of each column's cells in working space, where the density is about 1 wide.

    Parameters
    ----------
    bounds : array of shape (d, 2)
    location : array of shape (d,), where the density is in columns that have two bounds or none
    breakpoints : sequence of d arrays
    """
    edges, n_equal = [], N_EQUAL[len(bounds)]
    for (low, high), middle, own in zip(bounds, location, breakpoints, strict=True):
        around = middle + np.concatenate([-LINE[:0:-1], LINE])
        if np.isfinite([low, high]).all():
            found = np.linspace(low, high, n_equal + 1)
            if high - low > n_equal:  # else the density would be between the edges
                found = np.union1d(found, around[(around > low) & (around < high)])
        elif np.isfinite(low):
            found = low + HALF_LINE
        elif np.isfinite(high):
            found = high - HALF_LINE[::-1]
        else:
            found = around
        edges.append(np.union1d(found, own[(own > low) & (own < high)]))
    return edges


def rough_log_density(z, bounds, location):
    """Log of a density (n,) that is about as wide: normal, exponential or flat in each column."""
    total = np.zeros(len(z))
    for x, (low, high), middle in zip(z.T, bounds, location, strict=True):
        if np.isfinite([low, high]).all():
            total -= 0.5 * (x - middle) ** 2 if high - low > N_EQUAL[len(bounds)] else 0.0
        elif np.isfinite([low, high]).any():
            total -= np.abs(x - (low if np.isfinite(low) else high))
        else:
            total -= 0.5 * (x - middle) ** 2
    return total


def boxes(edges):
    """All cells between the edges of each column: their lower and upper corners (K, d)."""
    low = np.meshgrid(*[own[:-1] for own in edges], indexing="ij")
    high = np.meshgrid(*[own[1:] for own in edges], indexing="ij")
    return tuple(np.stack([part.ravel() for part in corner], axis=1) for corner in (low, high))


class Domain:
    """The region that cells cover, and what is evaluated on them.

    Parameters
    ----------
    bounds : array of shape (d, 2), in working space
    location : array of shape (d,), about which the density is
    breakpoints : sequence of d arrays, where cells end
    evaluate : function from positions (n, d) to log q (n,) and centred functions (n, m)
    is_flat : bool, whether log q is 0
    """

    def __init__(self, bounds, location, breakpoints, evaluate, is_flat=True):
        self.is_flat = is_flat
        self.bounds, self.location, self.evaluate = bounds, location, evaluate
        self.edges = first_edges(bounds, location, breakpoints)
        self.n_extensions = np.zeros((len(bounds), 2), int)
        # Pairs (column, side) without a bound.
        self.open_sides = [tuple(pair) for pair in np.argwhere(np.isinf(bounds)).tolist()]

    def first_cells(self):
        """Cells between the first edges."""
        return self.cells(*boxes(self.edges))

    def cells(self, low, high):
        """`Cells` with these corners (K, d)."""
        position, weights = node_positions(low, high)
        log_q, functions = self.evaluate(position.reshape(-1, low.shape[1]))
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights) + log_q.reshape(weights.shape)
        return Cells(low, high, log_weights, functions.reshape(*weights.shape, -1))

    def first_theta(self, cells):
        """Multipliers that come near to the rough density, by least squares; or none, if better."""
        log_weights, functions = cells.nodes
        z = node_positions(cells.low, cells.high)[0].reshape(len(log_weights), -1)
        goal = rough_log_density(z, self.bounds, self.location)
        weights = np.exp(0.5 * (log_weights + goal - (log_weights + goal).max()))
        columns = np.concatenate([np.ones_like(functions[:, :1]), functions], axis=1)
        columns, goal = weights[:, None] * columns, weights * goal
        sizes = np.linalg.norm(columns, axis=0)
        sizes[sizes == 0.0] = 1.0
        theta = (np.linalg.lstsq(columns / sizes, goal, rcond=1e-10)[0] / sizes)[1:]
        trial, none = (statistics_at(t, log_weights, functions) for t in (theta, 0.0 * theta))
        return theta if trial.value < none.value else 0.0 * theta

    def halved(self, cells, axes):
        """Cells cut in two along the axes that a mask (K, d) names."""
        low, high = cells.low, cells.high
        for j in range(low.shape[1]):
            middle = 0.5 * (low[:, j] + high[:, j])
            cut = axes[:, j]
            upper_low, lower_high = low[cut].copy(), high.copy()
            upper_low[:, j], lower_high[cut, j] = middle[cut], middle[cut]
            low = np.concatenate([low, upper_low])
            high = np.concatenate([lower_high, high[cut]])
            axes = np.concatenate([axes, axes[cut]])
        return self.cells(low, high)

    def extended(self, column, side):
        """New cells beyond an open side, more of them each time; None where it has gone too far."""
        self.n_extensions[column, side] += 1
        own = self.edges[column]
        anchor = own[0] if np.isfinite(self.bounds[column, 0]) else own[-1]
        anchor = anchor if np.isfinite(self.bounds[column]).any() else 0.5 * (own[0] + own[-1])
        reach = own[-side] - anchor
        beyond = anchor + reach * 2.0 ** np.arange(self.n_extensions[column, side] + 1)
        if np.abs(reach) > MAX_REACH:
            raise NotIntegrable(column, side)
        strips = [np.sort(beyond) if j == column else e for j, e in enumerate(self.edges)]
        self.edges[column] = np.union1d(own, beyond)
        return self.cells(*boxes(strips))


def solve(domain, alpha, tol, max_iter):
    """Newton steps on cells that are halved and extended until they carry the density.

    Returns
    -------
    solution : Solution
    cells : Cells
    remainder : float
        The largest share of an integral that the last coefficients of the cells still have.

    Raises
    ------
    NotIntegrable
    """
    cells, n_iter, rough = domain.first_cells(), 0, max(tol, ROUGH)
    theta = domain.first_theta(cells) if domain.is_flat else np.zeros(cells.functions.shape[2])
    for _ in range(MAX_ROUNDS):
        left = max_iter - n_iter
        found = minimise(*cells.nodes, theta, alpha, rough, left, _is_concentrated)
        theta, n_iter = found.theta, n_iter + found.n_iter
        cells, is_new, remainder = _refined(domain, cells, theta, found.converged)
        if n_iter >= max_iter or not (is_new or rough > tol):
            break
        rough = rough if is_new else tol
    is_solved = found.converged and not is_new
    return Solution(theta, found.statistics, n_iter, is_solved), cells, remainder


def _is_concentrated(statistics):
    return bool(np.sum(statistics.probabilities**2) > CONCENTRATED)


def _refined(domain, cells, theta, is_optimum):
    """Cells good enough for the density at theta, whether any is new, and the worst remainder.

    Open sides are carried outwards at an optimum alone: on the way there, tails may be heavier. Off
    it, the nodes were too few where most of the mass is.
    """
    is_new, limit = False, MAX_CELLS[cells.low.shape[1]]
    for _ in range(MAX_REFINEMENTS if is_optimum else 1):
        values = _integrands(cells, theta)
        sizes = np.abs(values).sum(axis=1)
        totals = sizes.sum(axis=0)
        totals[totals == 0.0] = 1.0  # a constant, at its target
        shares, errors = sizes / totals, _tails(cells, values) / totals
        grown = _grown(domain, cells, shares) if is_optimum else None
        axes = errors.max(axis=2) > TOLERANCE[cells.low.shape[1]]
        axes |= (shares[:, :1] > CROWDED) & (not is_optimum)
        remainder = float(errors.max(axis=1).sum(axis=0).max())
        poor = axes.any(axis=1) & (len(cells.low) < limit)
        if not poor.any() and grown is None:
            break
        is_new = True
        halved = domain.halved(cells.kept(poor), axes[poor]) if poor.any() else None
        cells = cells.kept(~poor)
        for more in (halved, grown):
            cells = cells if more is None else cells.joined(more)
    return cells, is_new, remainder


def _integrands(cells, theta):
    """Weight times density times 1 and each function, (K, n, 1 + m)."""
    exponents = cells.log_weights + cells.functions @ theta
    mass = np.exp(exponents - exponents.max())[:, :, None]
    return np.concatenate([mass, mass * cells.functions], axis=2)


def _grown(domain, cells, shares):
    """New cells beyond those open sides that hold some of an integral, of shares (K, 1 + m)."""
    grown = None
    for column, side in domain.open_sides:
        corner = (cells.low, cells.high)[side][:, column]
        share = shares[corner == domain.edges[column][-side]].sum(axis=0).max()
        if share <= TAIL:
            continue
        if domain.n_extensions[column, side] >= LONG and share > HEAVY:
            raise NotIntegrable(column, side)
        more = domain.extended(column, side)
        grown = more if grown is None else grown.joined(more)
    return grown


def _tails(cells, values):
    """Integrals of the last two Legendre terms' sizes along each axis, (K, d, 1 + m)."""
    d = cells.low.shape[1]
    n = N_NODES[d]
    _, weights, to_coefficients = rule(n)
    last = to_coefficients[-2:] / weights  # the values carry the weights of the rule
    if d == 1:
        tail = np.abs(np.matmul(last, values)).max(axis=1)
        return 2.0 * tail[:, None]
    grid = values.reshape(len(values), n, n, -1)
    first = np.abs(np.einsum("cn,knqm->kcqm", last, grid)).max(axis=1).sum(axis=1)
    second = np.abs(np.einsum("cn,kqnm->kcqm", last, grid)).max(axis=1).sum(axis=1)
    return 2.0 * np.stack([first, second], axis=1)


def draw(low, high, density, n, rng):
    """Draws (n, d) of the interpolated density.

    Parameters
    ----------
    low, high : arrays of shape (K, d)
    density : array of shape (K, n_nodes)
    n : int
    rng : RandomState
    """
    d = low.shape[1]
    _, weights = node_positions(low, high)
    mass = np.cumsum((weights * density).sum(axis=1))
    k = np.searchsorted(mass, rng.random_sample(n) * mass[-1], side="right")
    k = np.minimum(k, len(low) - 1)
    u = rng.random_sample((n, d))
    position = np.empty((n, d))
    for start in range(0, n, 8192):
        part = slice(start, start + 8192)
        position[part] = _within(density[k[part]], u[part])
    return low[k] + 0.5 * (high[k] - low[k]) * (1.0 + position)


def _within(density, u):
    """Positions in [-1, 1]^d by the inverse distribution function of each axis in turn."""
    n, d = u.shape
    nodes, weights, to_coefficients = rule(N_NODES[d])
    if d == 1:
        return _inverted(density @ to_coefficients.T, u[:, 0])[:, None]
    grid = density.reshape(n, len(nodes), len(nodes))
    first = _inverted((grid @ weights) @ to_coefficients.T, u[:, 0])
    polynomials = legendre.legvander(first, len(nodes) - 1) @ to_coefficients
    given = np.einsum("rn,rnq->rq", polynomials, grid)
    return np.stack([first, _inverted(given @ to_coefficients.T, u[:, 1])], axis=1)


def _inverted(coefficients, u):
    """Where the integrals of Legendre series (n, k) reach shares u (n,) of their whole."""
    integral = legendre.legint(coefficients, lbnd=-1, axis=1).T
    goal = u * legendre.legval(1.0, integral)
    low, high = -np.ones_like(u), np.ones_like(u)
    for _ in range(52):
        middle = 0.5 * (low + high)
        is_below = legendre.legval(middle, integral, tensor=False) < goal
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return 0.5 * (low + high)
