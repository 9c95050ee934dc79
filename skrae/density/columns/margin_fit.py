"""Margins from rows: a map for each column, as a spline.

    t = (1 - a) l(s) + a u(s),   u = Phi^-1(F(e(s))),   a = 0.35, part of the way to a normal column

Full Gaussianisation, a = 1, would make the joint law harder than the margins were. F is a mixture
of Gaussians (`line_mixture`); e is the identity, or one of Johnson's maps from the ends at which
the rows stop short, where F is the likelier for it. l is the identity (a straight map), or one of
Johnson's maps where the column is skewed or has heavy tails, or e where both ends are sharp (bent).
"""

from typing import NamedTuple

import numpy as np

from skrae.density.columns.johnson import Johnson, at_sharp_ends, normalising
from skrae.density.columns.line_mixture import N_SIZES, LineMixture, fit_line, grid_step
from skrae.density.columns.margins import Margins
from skrae.preprocessing.blocks import is_wide
from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.rows import mean_and_error
from skrae.preprocessing.scales import ROUNDING, observed_scales

STRENGTH = 0.35
# Of the gain that ends must bring.
MIN_STANDARD_ERRORS = 2.0
# Of the rows, what one value may hold in a column that gets a map.
ATOM_SHARE = 0.05
# A knot in each interval where the spline does not rise, so many times.
MAX_REFINEMENTS = 6
# Sizes of a column's law that held-out rows like less, after which a wide table tries no larger.
WIDE_PATIENCE = 2
STRAIGHT = np.array([-1.0, 1.0]), np.array([-1.0, 1.0]), np.ones(2), np.zeros(2)


class Column(NamedTuple):
    """What a column's map is made of.

    Parameters
    ----------
    mixture : LineMixture of (e(s) - mean) / unit
    inner : Johnson, e
    mean, unit : float
    linear : Johnson, l
    """

    mixture: LineMixture
    inner: Johnson
    mean: float
    unit: float
    linear: Johnson

    @property
    def n_parameters(self):
        return 3 * len(self.mixture.weights) + 2 * sum(end is not None for end in self.inner)

    def log_density(self, s):
        """log of the density of s, (n,)."""
        e, first, _ = self.inner.derivatives(s)
        return self.mixture.log_density((e - self.mean) / self.unit) + np.log(first / self.unit)


def fit_columns(X, weights, held_out, held_out_weights):
    """Location and scale (d,), and the straight and the bent `Column` of each, None for no map.

    Processes that fit together take some of the columns each.

    Parameters
    ----------
    X, held_out : arrays of shape (n, d) and (m, d), NaN where an entry is missing
    weights, held_out_weights : arrays of shape (n,) and (m,)
    """
    location, scale, limits = observed_scales(X, weights)
    patience = WIDE_PATIENCE if is_wide(X.shape[1]) else N_SIZES

    def fitted(j):
        """The straight and the bent `Column` of a column, or two of None."""
        parts = []
        for rows, w in ((X[:, j], weights), (held_out[:, j], held_out_weights)):
            kept = (rows >= limits[0][j]) & (rows <= limits[1][j])
            parts += [(rows[kept] - location[j]) / scale[j], w[kept]]
        varies = parts[0].std() * scale[j] > ROUNDING * np.abs(location[j])
        if not varies or has_atom(*parts[:2]):
            return None, None
        return _fit_column(*parts, -location[j] / scale[j], patience)

    pairs = current().each(fitted, range(X.shape[1]))
    straight, bent = ([pair[kind] for pair in pairs] for kind in (0, 1))
    # Without a map their values are as they are, so that later steps still find constant ones.
    unmapped = [column is None for column in straight]
    location[unmapped], scale[unmapped] = 0.0, 1.0
    return location, scale, straight, bent


def has_atom(s, weights):
    """Whether one value holds so many rows that a map would stretch it out."""
    _, place = np.unique(s, return_inverse=True)
    return np.bincount(place.ravel(), weights).max() > ATOM_SHARE * weights.sum()


def _fit_column(s, weights, held_out, held_out_weights, zero, patience):
    """The straight and the bent `Column`, the same where there is nothing to bend."""
    share = weights / weights.sum()
    parts = s, share, held_out, held_out_weights, patience
    straight = _with_inner(Johnson(), *parts)
    step = grid_step(s)
    sharp, normal = at_sharp_ends(s, zero, step), normalising(s, share, zero, step)
    if not sharp.is_identity:
        straight = _likelier(straight, _with_inner(sharp, *parts), s, share)
    if not normal.is_identity:
        bent = _with_inner(normal, *parts) if straight.inner.is_identity else straight
        return straight, bent._replace(linear=normal)
    both = straight.inner.lower is not None and straight.inner.upper is not None
    return straight, straight._replace(linear=straight.inner) if both else straight


def _likelier(column, other, s, share):
    """The other where it is clearly likelier, with Akaike's correction for rows both have seen."""
    gain, error = mean_and_error(other.log_density(s) - column.log_density(s), share)
    gain += (column.n_parameters - other.n_parameters) * np.sum(share**2)
    return other if gain > MIN_STANDARD_ERRORS * error else column


def _with_inner(inner, s, share, held_out, held_out_weights, patience):
    e, out = inner.derivatives(s)[0], inner.derivatives(held_out)[0]
    mean = share @ e
    unit = np.sqrt(share @ (e - mean) ** 2)
    sides = share, (out - mean) / unit, held_out_weights
    mixture = fit_line((e - mean) / unit, *sides, patience)
    return Column(mixture, inner, mean, unit, Johnson())


def margins_of(location, scale, columns, strength=STRENGTH):
    """`Margins` of the columns that `fit_columns` gives."""
    splines = [STRAIGHT if c is None else _spline(c, strength) for c in columns]
    size = max(len(knots) for knots, *_ in splines)
    arrays = zip(*(_extended(spline, size) for spline in splines), strict=True)
    return Margins(location, scale, *(np.array(parts) for parts in arrays))


def _spline(column, strength):
    """Knots, and t, t' and t'' there."""
    linear = column.linear
    s = column.inner.inverse(column.mixture.knots() * column.unit + column.mean)
    unit = 1.0 if linear.is_identity else _unit(linear, column)

    def derivatives(s):
        e, first, second = column.inner.derivatives(s)
        first, second = first / column.unit, second / column.unit
        u, u_1, u_2 = column.mixture.normal_scores((e - column.mean) / column.unit)
        t, t_1, t_2 = (part / unit for part in linear.derivatives(s))
        share = strength, 1.0 - strength
        return (
            share[0] * u + share[1] * t,
            share[0] * u_1 * first + share[1] * t_1,
            share[0] * (u_2 * first**2 + u_1 * second) + share[1] * t_2,
        )

    for _ in range(MAX_REFINEMENTS):
        parts = derivatives(s)
        flat = _not_rising(s, *parts)
        if not flat.any():
            break
        s = np.sort(np.append(s, 0.5 * (s[1:] + s[:-1])[flat]))
    t, slope, bend = derivatives(s)
    bend[[0, -1]] = 0.0  # the map is linear beyond
    return s, t, slope, bend


def _unit(linear, column):
    """The deviation of l(s) by the column's own law, so that both parts of t are alike."""
    u = column.mixture.knots()
    share = np.exp(column.mixture.log_density(u)) * np.gradient(u)
    values = linear.derivatives(column.inner.inverse(u * column.unit + column.mean))[0]
    share = share / share.sum()
    return np.sqrt(share @ (values - share @ values) ** 2)


def _not_rising(s, t, slope, bend):
    """The intervals, (M - 1,), in which the spline does not rise throughout."""
    h = np.diff(s)
    place = np.linspace(0.0, 1.0, 9)[1:-1, None]
    spline = Margins(0.0, 1.0, *(part[None] for part in (s, t, slope, bend)))
    points = (s[:-1] + place * h).ravel()
    slopes = spline.forward_and_slopes(points[:, None])[1]
    return (slopes.reshape(len(place), -1) <= 0.0).any(axis=0)


def _extended(spline, size):
    """The spline with knots on its linear continuation, up to this number."""
    s, t, slope, bend = spline
    more = np.arange(1.0, size - len(s) + 1.0) * max(1.0, abs(s[-1]))
    return (
        np.append(s, s[-1] + more),
        np.append(t, t[-1] + slope[-1] * more),
        np.append(slope, np.full(len(more), slope[-1])),
        np.append(bend, np.zeros(len(more))),
    )
