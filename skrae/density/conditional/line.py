"""The base density along a line of one number, given the rest of a row: a mixture of one axis.

    q(t) = sum_i w_i c_i(t)

Its distribution function is exact, and inverted by Newton's method. Components of hardly any weight
are left out where it is integrated, and asked where it is a density: far out they may be all.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.special import gammaln

from skrae.mixtures.components import log_radial_constant, student_log_kernel

# Distribution functions of q beyond the other nodes, on either side.
TAILS = 1e-10, 1e-9, 1e-8, 1e-7, 1e-6, 5e-6, 2e-5, 6e-5
# The share of the nodes that lie evenly between these distribution functions: what q leaves empty
# is where f may turn.
EVEN, BULK = 0.3, (1e-3, 1.0 - 1e-3)
# What is left out of the weights of a line, in all, where it is integrated; and the heaviest
# components, by which nodes are placed.
NEGLECTED, FEW = 1e-12, 32
# Numbers (n, m, P) at once; sizes of lines are powers of two from here on.
MAX_NUMBERS, LEAST = 1_000_000, 16
# Of the nodes: rounds of their placing, and how far out they are looked for, in scales.
ROUNDS, REACH, HEAVY_REACH = 3, 7.0, 400.0
FEW_STEPS, MAX_STEPS, MAX_DOUBLINGS = 6, 60, 64
# Of places, relative, and of distribution functions: what steps end at.
TOLERANCE, ROUNDING = 1e-13, 1e-15


class Components(NamedTuple):
    """Weighted components along the lines of n rows, (n, P) each; dofs are inf for Gaussians."""

    weights: torch.Tensor
    locations: torch.Tensor
    scales: torch.Tensor
    dofs: torch.Tensor

    def take(self, index):
        """Those of some of the rows."""
        return Components(*(part[index] for part in self))

    def standard(self, t):
        """Places t (n, m) in the scales of each component, (n, m, P)."""
        return (t[:, :, None] - self.locations[:, None]) / self.scales[:, None]


class Gaussian:
    """Functions of standardised places s (n, m, P)."""

    @staticmethod
    def density(s, dofs):
        """phi"""
        return torch.exp(-0.5 * s.square() - 0.5 * np.log(2.0 * np.pi))

    @staticmethod
    def below(s, dofs):
        """Phi, to a rounding of 1."""
        return torch.erf(s * 0.5**0.5).mul_(0.5).add_(0.5)

    @staticmethod
    def slope(s, dofs, density):
        """Minus the first moment up to s."""
        return density


class Student:
    """The same of t laws; of no torch, whose functions round the last numbers otherwise."""

    @staticmethod
    def density(s, dofs):
        """Of a t."""
        s, nu = s.numpy(), dofs.numpy()
        log_constant = gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * np.log(np.pi * nu)
        return torch.from_numpy(np.exp(log_constant - 0.5 * (nu + 1.0) * np.log1p(s**2 / nu)))

    @staticmethod
    def below(s, dofs):
        """Its distribution function."""
        return torch.from_numpy(student_cdf(s.numpy(), dofs.numpy()))

    @staticmethod
    def slope(s, dofs, density):
        """Minus the first moment up to s; of one degree of freedom none: its location counts."""
        rest = torch.where(dofs > 1.0, dofs - 1.0, torch.inf)
        return (dofs + s.square()) / rest * density


def student_cdf(s, dofs):
    """The distribution function of a t of a whole number of degrees of freedom, a finite sum.

    With s = sqrt(nu) tan a: 1/2 + (a + sin a cos a (1 + 2/3 cos^2 a (1 + 4/5 cos^2 a ...))) / pi
    for odd nu, 1/2 + sin a (1 + 1/2 cos^2 a (1 + 3/4 cos^2 a ...)) / 2 for even nu.
    """
    found, every = np.empty_like(s), np.broadcast_to(dofs, s.shape)
    for nu in np.unique(dofs):
        own = every == nu
        tangent = s[own] / np.sqrt(nu)
        square, total = 1.0 / (1.0 + tangent**2), np.zeros_like(tangent)
        for j in range(int(nu) - 2, int(nu) % 2, -2):
            total = (j - 1.0) / j * square * (1.0 + total)
        if nu % 2:
            turn = (total + (nu > 1.0)) * tangent * square
            found[own] = 0.5 + (np.arctan(tangent) + turn) / np.pi
        else:
            found[own] = 0.5 + 0.5 * tangent * np.sqrt(square) * (1.0 + total)
    return found


class Line:
    """q along the lines of n rows.

    Parameters
    ----------
    parts : tuple of `Components` of as many rows, Gaussian ones and Student-t ones
    every : tuple of `Components`, with those of hardly any weight, which the density asks, or None
    """

    def __init__(self, parts, every=None):
        self.parts, self._every = parts, every or parts

    def __len__(self):
        return len(self.parts[0].weights)

    def cdf(self, t):
        """Distribution function at places t (n, m), (n, m)."""
        return self._by_parts(lambda own, law, s: (law.below(s, own.dofs[:, None]),), t)[0]

    def density_and_cdf(self, t):
        """(2, n, m)"""

        def answer(own, law, s):
            dofs = own.dofs[:, None]
            return law.density(s, dofs) / own.scales[:, None], law.below(s, dofs)

        return self._by_parts(answer, t)

    def cdf_and_moment(self, t):
        """With the first moment up to t, (2, n, m)."""

        def answer(own, law, s):
            dofs, below = own.dofs[:, None], law.below(s, own.dofs[:, None])
            slope = law.slope(s, dofs, law.density(s, dofs))
            return below, own.locations[:, None] * below - own.scales[:, None] * slope

        return self._by_parts(answer, t)

    def _by_parts(self, answer, t):
        """Sums of answers of components, in blocks of places."""
        size = max(1, MAX_NUMBERS // sum(part.weights.numel() for part in self.parts))
        blocks = [self._sums(answer, block.contiguous()) for block in t.split(size, dim=1)]
        return torch.cat(blocks, dim=2)

    def _sums(self, answer, t):
        total = 0.0
        for own in self.parts:
            law = Gaussian if torch.isinf(own.dofs[0, 0]) else Student
            parts = answer(own, law, own.standard(t))
            total = total + torch.stack([(own.weights[:, None] * p).sum(2) for p in parts])
        return total

    def mean(self):
        """(n,)"""
        return sum((part.weights * part.locations).sum(1) for part in self.parts)

    def log_density(self, t):
        """log q at places t (n, m), (n, m)."""
        size = max(1, MAX_NUMBERS // sum(part.weights.numel() for part in self._every))
        return torch.cat([self._log_density(part) for part in t.split(size, dim=1)], dim=1)

    def _log_density(self, t):
        terms = []
        for own in self._every:
            s, dofs = own.standard(t), own.dofs[:, None]
            nu = torch.where(torch.isinf(dofs), 1.0, dofs)
            one = torch.tensor(1.0, dtype=s.dtype)
            falling = student_log_kernel(s.square(), nu, one)
            falling = torch.where(torch.isinf(dofs), -0.5 * s.square(), falling)
            constants = own.weights.log() - own.scales.log() + log_radial_constant(own.dofs, one)
            terms.append(constants[:, None] + falling)
        return torch.logsumexp(torch.cat(terms, 2), 2)

    def nodes(self, n_nodes):
        """Places (n, n_nodes), increasing, between which u and the places move evenly."""
        targets = _levels(n_nodes).expand(len(self), -1)
        few = self._heaviest()
        t = few._reach(n_nodes)
        for _ in range(ROUNDS):
            t = _interpolated(targets, few.cdf(t), t)
        u = self.cdf(t)
        ends = torch.tensor(BULK, dtype=t.dtype).expand(len(self), -1)
        low, high = _interpolated(ends, u, t).split(1, dim=1)
        even = ((t - low) / (high - low)).clamp(0.0, 1.0)
        return _interpolated(targets, (1.0 - EVEN) * u + EVEN * even, t)

    def _heaviest(self):
        """The line of a few components, their weights of sum one."""
        parts = [_resized(part, min(FEW, part.weights.shape[1])) for part in self.parts]
        return Line(_of_sum_one(parts))

    def _reach(self, n_nodes):
        """Evenly spaced places over all that has weight."""
        low, high = [], []
        for own in self.parts:
            reach = torch.where(torch.isinf(own.dofs), REACH, HEAVY_REACH) * own.scales
            counts = own.weights > 0.0
            low.append(torch.where(counts, own.locations - reach, torch.inf))
            high.append(torch.where(counts, own.locations + reach, -torch.inf))
        low, high = torch.cat(low, 1).amin(1), torch.cat(high, 1).amax(1)
        unit = torch.linspace(0.0, 1.0, n_nodes, dtype=low.dtype)
        return low[:, None] + (high - low)[:, None] * unit

    def inverse(self, u, low, high):
        """Places (n, m) of distribution functions u in (0, 1), near or between these."""
        low, high = self._bracket(u, low, high)
        t, *rest = self._newton(u, 0.5 * (low + high), low, high, FEW_STEPS)
        left = (~rest[-1]).nonzero()
        size = max(1, MAX_NUMBERS * len(self) // sum(p.weights.numel() for p in self.parts))
        for start in range(0, len(left), size):  # the others as rows of their own
            rows, place = left[start : start + size].unbind(1)
            own = Line(tuple(part.take(rows) for part in self.parts))
            ends = (part[rows, place, None] for part in (u, t, *rest[:2]))
            t[rows, place] = own._newton(*ends, MAX_STEPS)[0][:, 0]
        return t

    def _newton(self, u, t, low, high, n_steps):
        """Steps of Newton's method between low and high: t, low, high and which t are done."""
        done = torch.zeros_like(t, dtype=torch.bool)
        for _ in range(n_steps):
            density, below = self.density_and_cdf(t)
            gap = below - u
            low, high = torch.where(gap < 0.0, t, low), torch.where(gap > 0.0, t, high)
            fresh = t - gap / density
            inside = (fresh > low) & (fresh < high)
            fresh = torch.where(inside, fresh, 0.5 * (low + high))
            close = (fresh - t).abs() <= TOLERANCE * (1.0 + t.abs())
            t = torch.where(done | (gap.abs() <= ROUNDING), t, fresh)
            done = done | close | (gap.abs() <= ROUNDING)
            if done.all():
                break
        return t, low, high, done

    def _bracket(self, u, low, high):
        """Moved outwards, twice as far each time, until u lies between them."""
        step = (high - low).clamp_min(1e-3)
        for _ in range(MAX_DOUBLINGS):
            too_high = self.cdf(low) > u
            too_low = self.cdf(high) < u
            if not (too_high | too_low).any():
                break
            low = torch.where(too_high, low - step, low)
            high = torch.where(too_low, high + step, high)
            step = 2.0 * step
        return low, high


def _levels(n_nodes):
    """Distribution functions that nodes are placed at: denser towards both ends."""
    n = n_nodes - 2 * len(TAILS)
    middle = 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)
    tails = np.array(TAILS)
    return torch.from_numpy(np.concatenate([tails, middle, 1.0 - tails[::-1]]))


def _interpolated(u, heights, t):
    """Places, sorted, where straight lines through these heights (n, m) at t (n, m) are u."""
    place = torch.searchsorted(heights.contiguous(), u.contiguous()).clamp(1, t.shape[1] - 1)
    low, high = heights.gather(1, place - 1), heights.gather(1, place)
    left, right = t.gather(1, place - 1), t.gather(1, place)
    rise = high - low
    share = torch.where(rise > 0.0, (u - low) / torch.where(rise > 0.0, rise, 1.0), 0.5)
    return (left + share.clamp(0.0, 1.0) * (right - left)).sort(dim=1).values


def lines_of(log_weights, locations, scales, dofs):
    """(index, Line) of rows whose lines have as many components that count.

    Parameters
    ----------
    log_weights, locations, scales : tensors of shape (n, P), the weights of a row of sum one
    dofs : tensor of shape (P,)
    """
    groups = []
    for own in (torch.isinf(dofs), ~torch.isinf(dofs)):
        weights, order = log_weights[:, own].exp().sort(dim=1, descending=True, stable=True)
        left = weights.sum(1, keepdim=True) - weights.cumsum(1)
        counts = 1 + (left > NEGLECTED).sum(1) if weights.shape[1] else torch.zeros(len(weights))
        parts = locations[:, own].gather(1, order), scales[:, own].gather(1, order)
        each = dofs[own].expand_as(order)
        least = LEAST if len(groups) == 0 else 1
        groups.append((_sizes(counts, least), Components(weights, *parts, each)))
    sizes = torch.stack([size for size, _ in groups], 1)
    for pair in sizes.unique(dim=0):
        index = (sizes == pair).all(1).nonzero()[:, 0]
        every = [part.take(index) for _, part in groups if part.weights.shape[1]]
        parts = [_resized(p, int(size)) for size, p in zip(pair[pair > 0], every, strict=True)]
        yield index, Line(_of_sum_one(parts), tuple(map(_filled_up, every)))


def _of_sum_one(parts):
    """The parts of a line, their weights of sum one."""
    total = sum(part.weights.sum(1, keepdim=True) for part in parts)
    return tuple(part._replace(weights=part.weights / total) for part in parts)


def _filled_up(components):
    """As many as are a multiple of LEAST."""
    size = components.weights.shape[1]
    return _resized(components, size + -size % LEAST)


def _sizes(counts, least):
    """The power of two that holds each count, from `least` on; 0 of none."""
    counts = counts.double()
    found = 2.0 ** counts.clamp_min(least).log2().ceil()
    return torch.where(counts > 0.0, found, 0.0).long()


def _resized(components, size):
    """The first `size` of each row, filled up with components of weight 0."""
    missing = size - components.weights.shape[1]
    if missing <= 0:
        return Components(*(part[:, :size].contiguous() for part in components))
    fills = 0.0, 0.0, 1.0, float(components.dofs.reshape(-1)[0])
    pad = torch.nn.functional.pad
    return Components(
        *(pad(p, (0, missing), value=v) for p, v in zip(components, fills, strict=True))
    )
