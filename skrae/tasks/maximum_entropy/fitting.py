"""The fit: from moments, targets and a support to a law, by the method that the case allows."""

from typing import NamedTuple

import numpy as np

from skrae.density.fit.dual import minimise, statistics_at
from skrae.preprocessing.affine import CONSTANT_WIDTH, VARIANCE_FLOOR
from skrae.preprocessing.scales import ROUNDING
from skrae.tasks.maximum_entropy.integrals import particles, quadrature
from skrae.tasks.maximum_entropy.integrals.base import FittedBase, Reference
from skrae.tasks.maximum_entropy.moments import ABOUT_MEAN
from skrae.tasks.maximum_entropy.support import Support

# The error of a moment, in standard deviations, that no step could take away; below it the largest
# multiplier is to blame. The relative variance of a direction in which columns are dependent.
MAX_ERROR, SINGULAR = 1e-6, 1e-12
# The variance of a function, in that over all points alike, that only the edge of them leaves.
COLLAPSED = 1e-9
# Moments of single columns.
OF_COLUMNS = "mean", "variance", "log"


class Law(NamedTuple):
    """A fitted density p = q exp(theta . g - log Z) and what is known of it."""

    method: str
    theta: np.ndarray  # (m,)
    log_z: float
    mean: np.ndarray  # (m,), E_p g
    log_base: float  # E_p log q, 0 of Lebesgue or counting measure
    n_iter: int
    stderr: float  # of log Z
    remainder: float  # of the quadrature
    state: dict  # arrays that draws are made of
    remarks: tuple = ()  # what to warn of


def fit_law(problem, rng):
    """The `Law` of a problem.

    Raises
    ------
    ValueError
        Where no density has the moments, or none that is integrable.
    """
    if problem.support.points is not None:
        return _on_points(problem)
    if problem.density is None and _is_normal(problem):
        return _normal(problem)
    if problem.density is None and _is_separable(problem):
        return _by_columns(problem)
    d = len(problem.location)
    if d == 1 or (d == 2 and problem.density is None):
        return _by_quadrature(problem)
    return _by_particles(problem, rng)


# --- points ---------------------------------------------------------------------------------------


def _on_points(problem):
    points = problem.support.points
    log_q = np.zeros(len(points))
    if problem.density is not None:
        log_q = FittedBase(problem.density).log_density(points)
        log_q = log_q - np.logaddexp.reduce(log_q)
    functions = problem.functions_at_nodes(points)
    _check_finite(problem, functions, points)
    m = functions.shape[1]
    start = statistics_at(np.zeros(m), log_q, functions)
    found = minimise(log_q, functions, np.zeros(m), problem.alpha, problem.tol, problem.max_iter)
    p = found.statistics.probabilities
    shrunk = np.diag(found.statistics.hessian) < COLLAPSED * np.diag(start.hessian)
    if not found.converged or shrunk.any():
        raise _infeasible(problem, found, start.spread)
    return Law(
        "points",
        found.theta,
        found.statistics.log_z,
        found.statistics.mean,
        float(p @ np.where(p > 0.0, log_q, 0.0)),
        found.n_iter,
        0.0,
        0.0,
        {"probabilities": p},
    )


def _check_finite(problem, functions, rows):
    if not np.isfinite(functions).all():
        row, k = np.argwhere(~np.isfinite(functions))[0]
        raise ValueError(
            f"Got {problem.moments.names[k]} that is not finite at {rows[row]}, expected finite"
            " numbers on the support."
        )


def _infeasible(problem, found, spread):
    """The error of targets that nothing meets, naming the moment."""
    errors = np.abs(found.statistics.gradient) / spread
    if errors.max() < MAX_ERROR:
        errors = np.abs(found.theta) * spread
    k = int(np.argmax(np.where(np.isfinite(errors), errors, np.inf)))
    target = problem.targets[k]
    reached = target + problem.unit[k] * found.statistics.mean[k]
    return ValueError(
        f"Got a target of {target:.6g} for {problem.moments.names[k]}, expected one that a density"
        f" on the support can have together with the others: {found.n_iter} Newton steps came to"
        f" {reached:.6g} with a multiplier of {found.theta[k] / problem.unit[k]:.3g}. It may lie"
        " outside or on the edge of what the support allows, or contradict another target: then"
        " alpha > 0 relaxes all of them. Where there is such a density, rows or a support say where"
        " it is, breakpoints where a moment changes within little, and max_iter may be too small."
    )


# --- the normal density ---------------------------------------------------------------------------


def _is_normal(problem):
    parts = set(problem.moments.parts)
    is_named = all(isinstance(part, str) for part in problem.moments.parts)
    is_second_order = (
        is_named and "mean" in parts and parts & set(ABOUT_MEAN) and "log" not in parts
    )
    return bool(is_second_order and problem.support.is_whole_space and problem.alpha == 0.0)


def _normal(problem):
    """Mean and covariance, or variances, on the whole space: the multipliers are -C^-1 / 2."""
    moments, targets = problem.moments, problem.targets
    d, pieces = len(problem.location), np.split(targets, np.cumsum(moments.sizes)[:-1])
    own = dict(zip(moments.parts, pieces, strict=True))
    if len(own) < len(moments.parts):
        raise ValueError(f"Got moments={moments.parts!r}, expected each name once.")
    covariance = np.zeros((d, d))
    if "covariance" in own:
        covariance[np.triu_indices(d)] = own["covariance"]
        covariance = np.triu(covariance) + np.triu(covariance, 1).T
        _check_agreement(problem, own, np.diag(covariance))
    else:
        covariance[np.diag_indices(d)] = own["variance"]
    lower, remarks = _cholesky(problem, covariance)
    inverse = np.linalg.inv(lower)
    precision, reached = inverse.T @ inverse, lower @ lower.T
    means = {"mean": own["mean"], "variance": np.diag(reached)}
    means["covariance"] = reached[np.triu_indices(d)]
    multipliers = {"mean": np.zeros(d), "variance": np.zeros(d)}
    if "covariance" in own:
        multipliers["covariance"] = (0.5 * np.diag(np.diag(precision)) - precision)[
            np.triu_indices(d)
        ]
    else:
        multipliers["variance"] = -0.5 * np.diag(precision)
    theta = np.concatenate([multipliers[part] for part in moments.parts]) * problem.unit
    log_det = 2.0 * np.log(np.diag(lower)).sum()
    log_z = 0.5 * (d * np.log(2.0 * np.pi) + log_det) - theta @ (targets / problem.unit)
    mean = (np.concatenate([means[part] for part in moments.parts]) - targets) / problem.unit
    mean = mean if remarks else np.zeros(len(targets))
    state = {"lower": lower, "inverse": inverse, "mean": own["mean"]}
    return Law("normal", theta, log_z, mean, 0.0, 1, 0.0, 0.0, state, remarks)


def _check_agreement(problem, own, diagonal):
    if "variance" in own and not np.allclose(own["variance"], diagonal, rtol=1e-9):
        k = problem.moments.names.index("variance of " + _column_name(problem, 0))
        raise ValueError(
            f"Got targets {own['variance']} for {problem.moments.names[k]} and the next, expected"
            f" the diagonal of the covariance, {diagonal}."
        )


def _column_name(problem, j):
    first = sum(problem.moments.sizes[: problem.moments.parts.index("mean")])
    return problem.moments.names[first + j].removeprefix("mean of ")


def _cholesky(problem, covariance):
    """The lower factor, had by way of correlations, and what to warn of.

    Where rows have no spread they get a floor, as the columns of other densities here do; targets
    that are handed over are refused.
    """
    spread, remarks = np.sqrt(np.maximum(np.diag(covariance), 0.0)), []
    rounding = ROUNDING * np.abs(problem.location)
    flat = spread <= rounding if problem.is_of_rows else ~(np.diag(covariance) > 0.0)
    for j in np.flatnonzero(flat):
        if not problem.is_of_rows:
            raise ValueError(
                f"Got a variance of {covariance[j, j]:.6g} for {_column_name(problem, j)}, expected"
                " a positive one: no density is all at one value."
            )
    if flat.any():
        remarks.append(
            _remark("constant", [_column_name(problem, j) for j in np.flatnonzero(flat)])
        )
        spread = np.where(flat, CONSTANT_WIDTH * np.maximum(1.0, rounding), spread)
    correlations = np.where(flat | flat[:, None], 0.0, covariance / np.outer(spread, spread))
    correlations[np.diag_indices_from(correlations)] = 1.0
    variances, axes = np.linalg.eigh(correlations)
    if variances[0] < SINGULAR * len(spread):
        j = int(np.argmax(np.abs(axes[:, 0])))
        if not problem.is_of_rows:
            raise ValueError(
                f"Got a covariance in which {_column_name(problem, j)} depends on the other columns"
                f" (the least eigenvalue of the correlations is {variances[0]:.3g}), expected a"
                " positive definite one."
            )
        remarks.append(_remark("collinear", [_column_name(problem, j)]))
        correlations = (axes * np.maximum(variances, VARIANCE_FLOOR * variances[-1])) @ axes.T
    return spread[:, None] * np.linalg.cholesky(correlations), tuple(remarks)


def _remark(what, names):
    return (
        f"Got {what} columns ({', '.join(names[:6])}{' and more' if len(names) > 6 else ''}),"
        " expected columns that vary, and more rows than columns. Their missing spread is replaced"
        " by a floor, on which the log density depends."
    )


# --- columns --------------------------------------------------------------------------------------


def _is_separable(problem):
    """Whether moments are of single columns: then columns are independent at the maximum."""
    return len(problem.location) > 1 and all(
        isinstance(part, str) and part in OF_COLUMNS for part in problem.moments.parts
    )


def _by_columns(problem):
    """One quadrature for each column; the law is their product."""
    m, d = len(problem.moments.parts), len(problem.location)
    laws = [_by_quadrature(_column(problem, j)) for j in range(d)]
    return Law(
        "quadrature",
        np.array([law.theta for law in laws]).T.reshape(m * d),
        float(sum(law.log_z for law in laws)),
        np.array([law.mean for law in laws]).T.reshape(m * d),
        0.0,
        max(law.n_iter for law in laws),
        0.0,
        max(law.remainder for law in laws),
        {"columns": [law.state for law in laws]},
    )


def _column(problem, j):
    """The problem of one column."""
    moments, d = problem.moments, len(problem.location)
    own = slice(j, None, d)
    return problem._replace(
        moments=moments._replace(
            sizes=(1,) * len(moments.parts),
            names=moments.names[own],
            centre=moments.centre[j : j + 1],
        ),
        targets=problem.targets[own],
        unit=problem.unit[own],
        support=Support(problem.support.bounds[j : j + 1], None),
        location=problem.location[j : j + 1],
        scale=problem.scale[j : j + 1],
        breakpoints=problem.breakpoints[j : j + 1],
    )


# --- quadrature -----------------------------------------------------------------------------------


def _by_quadrature(problem):
    bounds, scale = problem.support.bounds, problem.scale
    # Zero of working space is a bound where there is one: next to it positions keep their digits.
    origin = np.where(np.isfinite(bounds[:, 0]), bounds[:, 0], bounds[:, 1])
    origin = np.where(np.isfinite(origin), origin, problem.location)
    base = problem.density and FittedBase(problem.density)

    def evaluate(z):
        x = origin + scale * z
        log_q = base.log_density(x) if base else np.zeros(len(x))
        return log_q + np.log(scale).sum(), problem.functions_at_nodes(x)

    domain = quadrature.Domain(
        (bounds - origin[:, None]) / scale[:, None],
        (problem.location - origin) / scale,
        [(own - o) / s for own, o, s in zip(problem.breakpoints, origin, scale, strict=True)],
        evaluate,
        base is None,
    )
    try:
        found, cells, remainder = quadrature.solve(
            domain, problem.alpha, problem.tol, problem.max_iter
        )
    except quadrature.NotIntegrable as error:
        raise _not_integrable(problem, error) from error
    if not found.converged:
        raise _infeasible(problem, found, np.ones(len(found.theta)))
    p = found.statistics.probabilities.reshape(cells.log_weights.shape)
    _, weights = quadrature.node_positions(cells.low, cells.high)
    with np.errstate(divide="ignore"):
        log_q = cells.log_weights - np.log(weights) - np.log(scale).sum()
    state = {"low": cells.low, "high": cells.high, "density": p / weights}
    state |= {"origin": origin, "scale": scale}
    log_base = float(np.sum(p * np.where(p > 0.0, log_q, 0.0))) if base else 0.0
    statistics = found.statistics
    return Law(
        "quadrature",
        found.theta,
        statistics.log_z,
        statistics.mean,
        log_base,
        max(found.n_iter, 1),
        0.0,
        remainder,
        state,
    )


def _not_integrable(problem, error):
    name = _names_of_columns(problem)[error.column]
    return ValueError(
        f"Got moments {list(problem.moments.names)} whose maximum-entropy density is not"
        f" integrable: however far, mass stays at the {('lower', 'upper')[error.side]} end of"
        f" {name}. Expected a bounded support, or a moment that holds the tail, as the variance"
        " does."
    )


def _names_of_columns(problem):
    if "mean" in problem.moments.parts:
        return [_column_name(problem, j) for j in range(len(problem.location))]
    if problem.moments.parts[0] in OF_COLUMNS:
        return [name.rpartition(" of ")[2] for name in problem.moments.names]
    return [f"x{j}" for j in range(len(problem.location))]


# --- particles ------------------------------------------------------------------------------------


def tilt_of(problem):
    """The `particles.Tilt` of a problem."""
    if problem.density is not None:
        base = FittedBase(problem.density)
    else:
        base = Reference(problem.support.bounds, problem.location, problem.scale)
    return particles.Tilt(
        base.draw, base.log_density, problem.functions, problem.support.contains, base.is_flat
    )


def _by_particles(problem, rng):
    if problem.density is None:
        _check_tails(problem)
    found = particles.solve(
        tilt_of(problem), problem.n_particles, problem.alpha, problem.tol, problem.max_iter, rng
    )
    solution, rows = found.solution, found.particles
    if not solution.converged:
        raise _infeasible(problem, solution, solution.statistics.spread)
    log_base = 0.0 if problem.density is None else float(found.probabilities @ rows.log_q)
    return Law(
        "particles",
        solution.theta,
        found.log_z,
        solution.statistics.mean,
        log_base,
        max(solution.n_iter, 1),
        float(np.sqrt(found.variance)),
        0.0,
        {"path": found.path},
    )


def _check_tails(problem):
    """ValueError where named moments alone cannot make the density integrable."""
    parts = problem.moments.parts
    if any(not isinstance(part, str) for part in parts):
        return  # what a function does in the tails is not known
    n_open = np.isinf(problem.support.bounds).sum(axis=1)
    limit = 2 if set(parts) & set(ABOUT_MEAN) else 1 if "mean" in parts else 0
    for column in np.flatnonzero(n_open > limit):
        side = int(np.isinf(problem.support.bounds[column, 1]))
        raise _not_integrable(problem, quadrature.NotIntegrable(column, side))
