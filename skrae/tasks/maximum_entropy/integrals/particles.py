r"""Integrals in many dimensions by particles that travel from draws of q to p.

The dual is solved on draws of q with weights as far as their effective sample size allows; there
the particles are resampled and moved by Metropolis steps, and the next Newton steps start from
them: tempered sequential Monte Carlo (Del Moral, Doucet & Jasra 2006) whose path the dual lays.
Each stage adds to log Z the acceptance ratio of Bennett (1976) between its two populations.

A stage is h = eta . F with eta = (theta, lambda) and F = (g, o): the tilt of q is exp(h). The
offset o is 0 for a density q that is given, and -log q where q only stands in for Lebesgue measure;
lambda is 0 at the start and 1 at the end.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit

from skrae.density.fit.dual import Solution, minimise
from skrae.mixtures.noise import normal
from skrae.sampling.mcmc.kernels import State, accept, random_walk_step

# Effective share of the particles that a stage leaves; Newton steps go no further.
EFFECTIVE_SHARE, MAX_STAGES = 0.3, 60
# Draws of q for each particle, at the start.
FIRST, LEAST = 4, 2048
# Of draws: the error of their moments, in standard deviations, and Newton steps to it.
DRAWN, MAX_POLISHING = 1e-6, 50
# Random walks of a round of moves, the rate at which they are to be accepted, and the rate below
# which proposals from q are given up.
N_WALKS, TARGET_ACCEPTANCE, RARE = 2, 0.3, 0.02
# Rounds of a stage, and those after which particles are kept; the same of the last stage.
MIDDLE, LAST = (3, 1), (6, 4)
# Shares of the rest of the offset that are tried in turn, and Newton steps of a try.
SHARES, MAX_STEPS = (1.0, 0.5, 0.25, 0.125), 30
# Bisections for where an effective share is met, and for the acceptance ratio.
N_BISECTIONS = 40


class Particles(NamedTuple):
    """Draws with what is known of them."""

    x: np.ndarray  # (n, d)
    log_q: np.ndarray | None  # (n,), or None where nobody asked yet
    functions: np.ndarray  # (n, m + 1), F

    def taken(self, index):
        """Those of an index."""
        return Particles(*(None if part is None else part[index] for part in self))


class Tilt(NamedTuple):
    """What particles are asked for.

    Parameters
    ----------
    draw : function (n, rng) -> rows (n, d) of q
    log_q : function of rows -> (n,)
    functions : function of rows -> centred functions (n, m)
    contains : function of rows -> bool (n,), whether they are in the support
    is_flat : bool, whether q only stands in for Lebesgue measure
    """

    draw: object
    log_q: object
    functions: object
    contains: object
    is_flat: bool

    def particles(self, n, rng):
        """`Particles` in the support among n draws of q, and the log of their share."""
        x = self.draw(n, rng)
        inside = self.contains(x)
        if not inside.any():
            raise ValueError(f"Got no draw of {n} in the support, expected a base density on it.")
        x = x[inside]
        log_q = self.log_q(x) if self.is_flat else None
        return self.evaluated(x, log_q), float(np.log(inside.mean()))

    def evaluated(self, x, log_q):
        """`Particles` of rows in the support."""
        offset = -log_q if self.is_flat else np.zeros(len(x))
        return Particles(x, log_q, np.column_stack([self.functions(x), offset]))

    def known(self, particles):
        """The same particles with log q."""
        if particles.log_q is not None:
            return particles
        return particles._replace(log_q=self.log_q(particles.x))


class Travelled(NamedTuple):
    """Where particles came to."""

    solution: Solution
    log_z: float
    variance: float  # of log Z
    path: np.ndarray  # (stages, m + 1), eta at which particles were moved
    particles: Particles
    probabilities: np.ndarray  # (n,)


def solve(tilt, n_particles, alpha, tol, max_iter, rng):
    """Multipliers and log Z by particles; not converged where no path reaches the targets."""
    particles, log_z = tilt.particles(FIRST * n_particles, rng)
    eta, path = np.zeros(particles.functions.shape[1]), []
    variance, n_iter = 0.0, 0
    for _ in range(MAX_STAGES):
        before, eta_before = particles, eta
        eta, found, is_met = _goal(tilt, particles, eta, alpha, tol, max_iter - n_iter)
        n_iter, is_reached = n_iter + found.n_iter, is_met and eta[-1] == 1.0
        weights = _weights(particles, eta - eta_before)
        particles = tilt.known(particles.taken(resampled(weights, n_particles, rng)))
        path.append(eta)
        particles = moved(tilt, particles, eta, rng, *(LAST if is_reached else MIDDLE))
        p = np.full(len(particles.x), 1.0 / len(particles.x))
        if is_reached:
            eta, found, p = _polished(particles, eta, alpha, tol, max_iter)
            n_iter += found.n_iter
        ratio, own = _log_ratio(before, particles, p, eta - eta_before)
        log_z, variance = log_z + ratio, variance + own
        if is_reached or n_iter >= max_iter:
            break
    solution = Solution(eta[:-1], found.statistics, n_iter, is_reached and found.converged)
    return Travelled(solution, log_z, variance, np.array(path), particles, p)


def _goal(tilt, particles, eta, alpha, tol, max_iter):
    """Where to go: eta that meets the targets with as much of the offset as the particles carry.

    Returns
    -------
    eta : array of shape (m + 1,)
    found : Solution
    is_met : bool, whether the targets are met there
    """
    functions, offset = particles.functions[:, :-1], particles.functions[:, -1]

    def is_bad(statistics):
        return 1.0 / np.sum(statistics.probabilities**2) < EFFECTIVE_SHARE * len(offset)

    # With a flat q steps may pass where few particles count: weights even out again at the optimum.
    for share in SHARES if tilt.is_flat else (1.0,):
        scale = eta[-1] + share * (1.0 - eta[-1])
        log_weights = (scale - eta[-1]) * offset - functions @ eta[:-1]  # of which theta adds some
        limit = min(max_iter, MAX_STEPS) if tilt.is_flat else max_iter
        off_limits = None if tilt.is_flat else is_bad
        found = minimise(log_weights, functions, eta[:-1], alpha, tol, limit, off_limits)
        if found.converged and not is_bad(found.statistics):
            return np.append(found.theta, scale), found, True
    return _nearest(particles, eta, np.append(found.theta, scale)), found, False


def _nearest(particles, eta, goal):
    """The share of the way to the goal that leaves the particles their effective share."""
    low, high = 0.0, 1.0
    if _effective_share(particles, goal - eta) >= EFFECTIVE_SHARE:
        return goal
    for _ in range(N_BISECTIONS):
        middle = 0.5 * (low + high)
        is_enough = _effective_share(particles, middle * (goal - eta)) >= EFFECTIVE_SHARE
        low, high = (middle, high) if is_enough else (low, middle)
    return eta + max(low, 1e-4) * (goal - eta)


def _effective_share(particles, change):
    p = _weights(particles, change)
    return 1.0 / (len(p) * np.sum(p**2))


def _weights(particles, change):
    exponents = particles.functions @ change
    weights = np.exp(exponents - exponents.max())
    return weights / weights.sum()


def _polished(particles, eta, alpha, tol, max_iter):
    """eta, solution and probabilities with which particles at eta meet the targets."""
    functions = particles.functions[:, :-1]
    log_weights = -functions @ eta[:-1] - np.log(len(functions))
    found = minimise(log_weights, functions, eta[:-1], alpha, tol, max_iter)
    return np.append(found.theta, eta[-1]), found, found.statistics.probabilities


def resampled(weights, n, rng):
    """Systematic resampling: indices (n,) of particles with weights (k,) that sum to 1."""
    points = (np.arange(n) + rng.random_sample()) / n
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1)


def _log_ratio(before, after, p, change):
    """log Z_after / Z_before by Bennett's acceptance ratio, and its variance.

    The root c of mean_before s(u - c) = sum_after p s(c - u), with u = h_after - h_before and the
    logistic s, is where two populations of one size agree.
    """
    u, v = before.functions @ change, after.functions @ change
    low = min(u.min(), v.min()) - 1.0
    high = max(u.max(), v.max()) + 1.0
    for _ in range(2 * N_BISECTIONS):
        c = 0.5 * (low + high)
        is_below = expit(u - c).mean() > p @ expit(c - v)
        low, high = (c, high) if is_below else (low, c)
    there, here = expit(u - c), expit(c - v)
    variance = there.var() / len(u) + here.var() / len(v)
    return c, variance / max(there.mean(), 1e-300) ** 2


def moved(tilt, particles, eta, rng, n_rounds, n_kept):
    """Particles after rounds of moves at eta, together those of the last `n_kept` rounds.

    A round has a proposal from q, for what is far apart; one from the normal density with the
    particles' moments, for what is one cloud; and random walks, for any shape.
    """
    n, d = particles.x.shape
    generator = torch.Generator().manual_seed(int(rng.randint(2**31 - 1)))
    frame = _frame(particles.x)
    target, state = _target(tilt, eta, frame), _state(particles, eta, frame)
    step, from_base, states = 1.0, True, []
    for _ in range(n_rounds):
        if from_base:
            state, info = accept(state, *_from_base(tilt, state, eta, frame, n, rng), generator)
            from_base = float(info.accepted.double().mean()) > RARE
        proposed = target(normal(state.position.shape, generator, state.position))
        normal_ratio = 0.5 * (proposed.position**2 - state.position**2).sum(1)
        ratio = proposed.log_density - state.log_density + normal_ratio
        state, _ = accept(state, proposed, ratio, generator)
        for _ in range(N_WALKS):
            length, unit = step * 2.38 / d**0.5, torch.eye(d, dtype=torch.float64)[None]
            state, info = random_walk_step(state, target, unit, length, generator)
            rate = float(info.accepted.double().mean())
            step = float(np.clip(step * np.exp(rate - TARGET_ACCEPTANCE), 1e-3, 4.0))
        states.append(state)
    z, log_q = (torch.cat(parts).numpy() for parts in _parts_of(states[-n_kept:]))
    return tilt.evaluated(frame.location + z @ frame.factor.T, log_q)


def _parts_of(states):
    return [state.position for state in states], [state.log_base for state in states]


def _from_base(tilt, state, eta, frame, n, rng):
    """States drawn from q, and their log acceptance ratios, in which q cancels."""
    rows = tilt.draw(n, rng)
    inside = tilt.contains(rows)
    tilts = np.full(n, -np.inf)
    log_q = np.full(n, -np.inf)
    if inside.any():
        log_q[inside] = tilt.log_q(rows[inside])
        tilts[inside] = tilt.evaluated(rows[inside], log_q[inside]).functions @ eta
    z = np.linalg.solve(frame.factor, (rows - frame.location).T).T
    z, log_q, tilts = (torch.as_tensor(part) for part in (z, log_q, tilts))
    proposed = State(z, log_q + tilts, z[:, :0], log_q, torch.ones_like(z[:, :1]))
    return proposed, tilts - (state.log_density - state.log_base)


class Frame(NamedTuple):
    """Coordinates z = factor^-1 (x - location) in which particles have mean 0 and covariance 1."""

    location: np.ndarray  # (d,)
    factor: np.ndarray  # (d, d)


def _frame(x):
    location, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    z = (x - location) / scale
    variances, axes = np.linalg.eigh(z.T @ z / len(z))
    lengths = np.sqrt(np.maximum(variances, 1e-12 * max(variances[-1], 1e-300)))
    return Frame(location, scale[:, None] * (axes * lengths))


def _state(particles, eta, frame):
    z = torch.as_tensor(np.linalg.solve(frame.factor, (particles.x - frame.location).T).T)
    log_q, tilts = torch.as_tensor(particles.log_q), torch.as_tensor(particles.functions @ eta)
    return State(z, log_q + tilts, z[:, :0], log_q, torch.ones_like(z[:, :1]))


def _target(tilt, eta, frame):
    """The density at eta as kernels ask for it; outside of the support its logarithm is -inf."""

    def target(z):
        x = frame.location + z.numpy() @ frame.factor.T
        inside = tilt.contains(x)
        log_q, tilts = np.full(len(x), -np.inf), np.zeros(len(x))
        if inside.any():
            own = tilt.evaluated(x[inside], tilt.log_q(x[inside]))
            log_q[inside], tilts[inside] = own.log_q, own.functions @ eta
        log_q = torch.as_tensor(log_q)
        return State(z, log_q + torch.as_tensor(tilts), z[:, :0], log_q, torch.ones_like(z[:, :1]))

    return target


def draw(tilt, path, n, alpha, rng):
    """Rows (n, d) of p: draws of q that travel the path of a fit.

    They are chosen from more, so that their moments are those that the path was laid to.
    """
    size = max(n, LEAST)
    particles, _ = tilt.particles(FIRST * size, rng)
    eta = np.zeros(path.shape[1])
    for k, after in enumerate(path):
        weights, eta = _weights(particles, after - eta), after
        particles = tilt.known(particles.taken(resampled(weights, size, rng)))
        particles = moved(tilt, particles, eta, rng, *(LAST if k == len(path) - 1 else MIDDLE))
    _, found, p = _polished(particles, eta, alpha, DRAWN, MAX_POLISHING)
    p = p if found.converged else np.full(len(p), 1.0 / len(p))
    return particles.x[rng.permutation(resampled(p, n, rng))]
