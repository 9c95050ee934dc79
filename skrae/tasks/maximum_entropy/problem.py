"""From options and rows to a `Problem`: what is asked, checked, with scales to compute in."""

import copy
from typing import NamedTuple

import numpy as np

from skrae.preprocessing.contract.twin import INPUT_ATTRIBUTES
from skrae.preprocessing.scales import ROUNDING
from skrae.tasks.maximum_entropy import moments as functions
from skrae.tasks.maximum_entropy.integrals.base import FittedBase, fitted_base
from skrae.tasks.maximum_entropy.support import Support, checked_breakpoints, of_columns, parse

# Draws of q that tell how wide columns are where nothing else does.
N_PILOT = 1000
# Deviations from the middle where tails are judged, by log q falling slower than exp(-x); the ratio
# by which a function must have grown there; the share of draws beyond a box, and its margin.
FAR, GROWTH, TAIL, ROOM = 1e4, 100.0, 0.005, 0.1


class Problem(NamedTuple):
    """What is to be fitted, checked.

    Parameters
    ----------
    moments : Moments
    targets, unit : arrays of shape (m,); functions are centred on the one, divided by the other
    support : Support
    density : fitted base density, or None
    location, scale : arrays of shape (d,), about where each column is and how wide
    breakpoints : sequence of d arrays
    alpha, tol, max_iter, n_particles : options
    is_of_rows : bool, whether targets are the moments of rows
    """

    moments: functions.Moments
    targets: np.ndarray
    unit: np.ndarray
    support: Support
    density: object
    location: np.ndarray
    scale: np.ndarray
    breakpoints: list
    alpha: float
    tol: float
    max_iter: int
    n_particles: int
    is_of_rows: bool

    def functions(self, X):
        """The centred functions g of rows (n, m)."""
        return self._centred(self.moments(X))

    def functions_at_nodes(self, X):
        """The same where rows may be far out in the tails."""
        return self._centred(self.moments.at_nodes(X))

    def _centred(self, values):
        shifted = values - self.targets
        # A function that is constant is so exactly: it has no spread to be measured in.
        shifted[np.abs(shifted) <= ROUNDING * np.abs(self.targets)] = 0.0
        return shifted / self.unit


def stated_problem(options, twin, rows, weights):
    """The `Problem` of an estimator's options and of rows (n, d) with weights, or None for both."""
    parts = functions.listed(options.moments)
    support = parse(options.support)
    density = options.base_density
    if density is not None:
        density = copy.copy(fitted_base(density))
    if rows is None:
        if options.targets is None:
            raise ValueError("Got neither X nor targets, expected at least one of them.")
        for name in INPUT_ATTRIBUTES:
            vars(twin).pop(name, None)
    d = _n_columns(options, parts, support, density, rows)
    support = of_columns(*support, d)
    columns = getattr(twin, "feature_names_in_", [f"x{j}" for j in range(d)])
    if rows is not None:
        _check_inside(rows, support)
    inner = rows if rows is not None else _inner(support)
    moments = functions.bound(parts, columns, inner)
    means = None
    if rows is not None:
        moments, means, unit = functions.of_rows(moments, rows, weights)
    targets = means
    if options.targets is not None:
        targets = functions.flat_targets(functions.in_order(options.targets, columns), moments)
    moments = functions.centred_on(moments, targets)
    if rows is None:
        unit = np.ones(len(targets))
    elif options.targets is not None:
        unit = functions.of_rows_about(moments, rows, weights)
    known = (rows, weights)
    if rows is None and hasattr(density, "sample") and support.points is None:
        known = FittedBase(density).draw(N_PILOT, np.random.RandomState(0)), np.ones(N_PILOT)
    remarks = ()
    if density is not None and options.support is None:
        support, remarks = _integrable(moments, density, support, *known, rows is None)
    location, scale = _extent(moments, targets, support, *known)
    problem = Problem(
        moments,
        targets,
        np.where(unit > ROUNDING * np.abs(targets), unit, 1.0),
        support,
        density,
        location,
        scale,
        checked_breakpoints(options.breakpoints, d),
        float(options.alpha),
        options.tol,
        options.max_iter,
        options.n_particles,
        options.targets is None,
    )
    return problem, remarks


def _integrable(moments, density, support, rows, weights, are_draws):
    """The support, or a box where q has tails that tilts by growing functions have no integral on.

    And what to warn of.
    """
    location, scale = _extent_of_rows(rows, weights)
    d = len(location)
    far = location + FAR * scale * np.concatenate([np.eye(d), -np.eye(d)])
    with np.errstate(all="ignore"):
        growth = np.abs(moments(far)).max() / (1.0 + np.abs(moments(location[None])).max())
    is_heavy = (FittedBase(density).log_density(far) > -FAR).any()
    if not is_heavy or growth < GROWTH:
        return support, ()
    tail = TAIL if are_draws else 0.0
    low, high = np.quantile(rows, [tail, 1.0 - tail], axis=0)
    room = ROOM * (high - low)
    remark = (
        f"Got a {type(density).__name__} as base_density with tails heavier than exponential,"
        " expected one whose tilts have finite integrals on the whole space. The support is the box"
        f" of the {'draws of it' if are_draws else 'rows of X'} with a tenth more on each side;"
        " pass support to choose it."
    )
    return Support(np.stack([low - room, high + room], axis=1), None), (remark,)


def _n_columns(options, parts, support, density, rows):
    kind, found = support
    fitted = getattr(density, "n_features_in_", None)
    if rows is not None:
        d = rows.shape[1]
        if fitted not in (None, d):
            raise ValueError(f"Got X with {d} columns, expected {fitted}, those of base_density.")
        return d
    if fitted is not None:
        return fitted
    if kind == "points" or len(found) > 1:
        return found.shape[1] if kind == "points" else len(found)
    return functions.n_columns_of(options.targets, parts)


def _inner(support):
    """Some row of the support (1, d), to ask functions how many they are."""
    if support.points is not None:
        return support.points[:1]
    low, high = support.bounds.T
    middle = np.where(np.isfinite(low), low + 1.0, np.where(np.isfinite(high), high - 1.0, 0.5))
    both = np.isfinite(low) & np.isfinite(high)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.5 * (low + high), middle)[None]


def _check_inside(rows, support):
    outside = np.flatnonzero(~support.contains(rows))
    if len(outside):
        raise ValueError(
            f"Got X with {len(outside)} of {len(rows)} rows outside of the support, the first in"
            f" row {outside[0]}: {rows[outside[0]]}, expected all inside."
        )


def _extent_of_rows(rows, weights):
    if rows is None:
        raise TypeError("Got a base_density without sample and no X, expected one of them.")
    share = weights / weights.sum()
    location = share @ rows
    spread = np.sqrt(share @ (rows - location) ** 2)
    return location, np.where(spread > 0.0, spread, 1.0)


def _extent(moments, targets, support, rows, weights):
    """Location and scale of each column (d,): of the targets, else rows or draws, or the bounds."""
    if support.points is not None:
        return np.zeros(len(moments.centre)), np.ones(len(moments.centre))
    is_known = rows is not None
    location, scale = _extent_of_rows(rows, weights) if is_known else _of_bounds(support)
    own = np.split(targets, np.cumsum(moments.sizes)[:-1])
    named = {p: t for p, t in zip(moments.parts, own, strict=True) if isinstance(p, str)}
    if "mean" not in named:
        return location, scale
    location = named["mean"]
    low, high = support.bounds.T
    to_bound = np.abs(location - np.where(np.isfinite(low), low, high))
    is_half = np.isfinite(low) ^ np.isfinite(high)
    variance = _variances(named, len(location))
    wide = np.where(variance > 0.0, np.sqrt(np.maximum(variance, 0.0)), scale)
    return location, np.where(is_half, np.where(to_bound > 0.0, to_bound, scale), wide)


def _variances(pieces, d):
    if "variance" in pieces:
        return pieces["variance"]
    if "covariance" in pieces:
        i, j = np.triu_indices(d)
        return pieces["covariance"][i == j]
    return np.zeros(d)


def _of_bounds(support):
    low, high = support.bounds.T
    both = np.isfinite(low) & np.isfinite(high)
    with np.errstate(invalid="ignore"):
        return np.where(both, 0.5 * (low + high), 0.0), np.where(both, 0.25 * (high - low), 1.0)


def stored(problem):
    """The problem as a dict of arrays and dicts, without the density."""
    kept = problem._asdict()
    del kept["density"]
    kept["moments"] = {**problem.moments._asdict(), "parts": list(problem.moments.parts)}
    return {**kept, "support": problem.support._asdict()}


def restored_problem(kept, density):
    """The `Problem` that was stored."""
    moments = functions.Moments(**{**kept["moments"], "parts": tuple(kept["moments"]["parts"])})
    support = Support(**kept["support"])
    return Problem(**{**kept, "moments": moments, "support": support, "density": density})
