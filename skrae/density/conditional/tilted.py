r"""The law along a line that a network tilts.

    p(t) = q(t) exp f(t) / Z,     Z = int_0^1 exp f(t(u)) du,     u = Q(t)

f is asked at nodes that lie densely where u moves, and exp f is a straight line of u between them:
then the distribution function of p is a quadratic of u, its quantiles have a closed form in u, and
only Q has to be inverted.
"""

import numpy as np
import torch

# Nodes of a line whose tilt is one network's, and one that is averaged at each of them.
N_NODES, FEW_NODES = 128, 64
# Of the smoothing of tilts that are means of draws, in deviations of a normal margin; and what
# holds lines level where no other value is near.
BANDWIDTH, RIDGE = 0.35, 1e-3
# Pieces of an interval between nodes in which exp f is straight: f itself is a cubic.
N_PIECES = 4


def between_nodes(nodes, log_tilt):
    """Places and f at N_PIECES times as many nodes, by a cubic between each two.

    Its slopes at the nodes are those of parabolas through three of them.
    """
    widths, rises = nodes.diff(), log_tilt.diff()
    slopes = torch.where(widths > 0.0, rises / widths.clamp_min(1e-300), 0.0)
    left, right = slopes[:, :-1], slopes[:, 1:]
    before, after = widths[:, :-1], widths[:, 1:]
    inner = (after * left + before * right) / (before + after).clamp_min(1e-300)
    ends = torch.cat([slopes[:, :1], inner, slopes[:, -1:]], 1)
    start, stop = ends[:, :-1] * widths - rises, ends[:, 1:] * widths - rises
    share = torch.arange(N_PIECES, dtype=nodes.dtype) / N_PIECES
    rest = 1.0 - share
    t = nodes[:, :-1, None] + share * widths[:, :, None]
    bent = share * rest * (rest * start[:, :, None] - share * stop[:, :, None])
    f = log_tilt[:, :-1, None] + share * rises[:, :, None] + bent
    found = zip((t, f), (nodes, log_tilt), strict=True)
    return tuple(torch.cat([part.flatten(1), last[:, -1:]], 1) for part, last in found)


def smoothed(z, f):
    """Values f (n, m) at places z, of which each is known with an error of its own, (n, m).

    By straight lines through the values nearby, weighted by a normal law of deviation BANDWIDTH.
    """
    apart = z[:, None, :] - z[:, :, None]
    weights = torch.exp(-0.5 * (apart / BANDWIDTH).square())
    s0, s1, s2 = ((weights * apart**k).sum(2) for k in range(3))
    t0, t1 = ((weights * apart**k * f[:, None]).sum(2) for k in range(2))
    s2 = s2 + RIDGE * s0
    return (s2 * t0 - s1 * t1) / (s0 * s2 - s1.square())


class TiltedLine:
    """p along the lines of n rows: q, and the log tilt f at its nodes.

    Parameters
    ----------
    line : Line
    nodes : tensor of shape (n, J), increasing
    log_tilt : tensor of shape (n, J)
    """

    def __init__(self, line, nodes, log_tilt):
        self.line, self.nodes = line, nodes
        below = line.cdf(nodes)
        self._highest = log_tilt.amax(1, keepdim=True)
        tilt = torch.from_numpy(np.exp((log_tilt - self._highest).numpy()))
        ends = torch.zeros_like(below[:, :1])
        self._u = torch.cat([ends, below, ends + 1.0], 1)
        self._tilt = torch.cat([tilt[:, :1], tilt, tilt[:, -1:]], 1)
        self._masses = self._u.diff() * 0.5 * (self._tilt[:, 1:] + self._tilt[:, :-1])
        self._total = self._masses.sum(1, keepdim=True)
        self._below = torch.cat([ends, self._masses.cumsum(1) / self._total], 1)
        self.log_z = (self._total.log() + self._highest)[:, 0]

    def between(self, t):
        """f at places (n, m) as the law has it between its nodes, (n, m)."""
        return self._tilt_at(self.line.cdf(t)).log() + self._highest

    def _tilt_at(self, u):
        """exp f, up to a constant, where q has the distribution function u (n, m)."""
        place = (torch.searchsorted(self._u, u) - 1).clamp(0, self._u.shape[1] - 2)
        start, base, slope = self._at(place)
        return base + slope * (u - start)

    def cdf(self, t):
        """P(T <= t) at places (n, m)."""
        u = self.line.cdf(t)
        place = (torch.searchsorted(self._u, u) - 1).clamp(0, self._u.shape[1] - 2)
        start, base, slope = self._at(place)
        step = u - start
        mass = step * (base + 0.5 * slope * step) / self._total
        return (self._below.gather(1, place) + mass).clamp(0.0, 1.0)

    def _at(self, place):
        """Where an interval of u starts, the tilt there and its slope."""
        start, base = self._u.gather(1, place), self._tilt.gather(1, place)
        width = self._u.gather(1, place + 1) - start
        rise = self._tilt.gather(1, place + 1) - base
        return start, base, torch.where(width > 0.0, rise / width.clamp_min(1e-300), 0.0)

    def quantile(self, q):
        """Places of P(T <= t) = q in [0, 1], (n, m); infinite at 0 and 1."""
        inside = q.clamp(1e-300, 1.0 - 2.0**-53)
        place = (torch.searchsorted(self._below, inside) - 1).clamp(0, self._u.shape[1] - 2)
        start, base, slope = self._at(place)
        rest = (inside - self._below.gather(1, place)) * self._total
        root = (base.square() + 2.0 * slope * rest).clamp_min(0.0).sqrt()
        u = start + 2.0 * rest / (base + root).clamp_min(1e-300)
        u = u.clamp(1e-300, 1.0 - 2.0**-53)
        last = self.nodes.shape[1] - 1
        low, high = (self.nodes.gather(1, p.clamp(0, last)) for p in (place - 1, place))
        t = self.line.inverse(u, low, high)
        t = torch.where(q <= 0.0, -torch.inf, t)
        return torch.where(q >= 1.0, torch.inf, t)

    def shares(self):
        """The probability of the surroundings of each node, (n, J), of sum one."""
        parts = self._masses / self._total
        half = 0.5 * (parts[:, 1:] + parts[:, :-1])
        half[:, 0] += 0.5 * parts[:, 0]
        half[:, -1] += 0.5 * parts[:, -1]
        return half

    def mean(self, t, values, slopes, beyond=1.0):
        """E of a function that has these values and slopes at places t, increasing, (n,).

        Between the places straight, but for a correction of the second order: of a linear function
        it is exact in q. All are of shape (n, m). Before the first and after the last place the
        slopes there count `beyond` times.
        """
        below, moments = self.line.cdf_and_moment(t)
        tilt = self._tilt_at(below)
        ends = torch.zeros_like(t[:, :1])
        mass = torch.cat([ends, below, ends + 1.0], 1).diff()
        moments = torch.cat([ends, moments, self.line.mean()[:, None]], 1).diff()
        tilt = torch.cat([tilt[:, :1], tilt, tilt[:, -1:]], 1)
        widths, rises = t.diff(), values.diff()
        chords = torch.where(widths > 0.0, rises / widths.clamp_min(1e-300), 0.0)
        chords = torch.cat([beyond * slopes[:, :1], chords, beyond * slopes[:, -1:]], 1)
        left, start = (torch.cat([part[:, :1], part], 1) for part in (t, values))
        parts = start * mass + chords * (moments - left * mass)
        # As if q were even within an interval: what the chord misses, and what rises with the tilt.
        parts[:, 1:-1] -= mass[:, 1:-1] * widths * slopes.diff() / 12.0
        total = 0.5 * (tilt[:, 1:] + tilt[:, :-1]) * parts
        total[:, 1:-1] += (mass * tilt.diff())[:, 1:-1] * rises / 12.0
        return total.sum(1) / self._total[:, 0]
