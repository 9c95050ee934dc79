"""A smooth monotone map of each column: part of the way to a normal margin.

A map t(s) of the standardised column s = (x - m) / sd is a quintic spline: given t, t' and t'' at
its knots it is twice continuously differentiable, cheap whatever it was made from, and linear
beyond the last knots. Its own derivatives enter log densities, gradients and Hessians, so that a
density stays one however well the spline follows what it was made from (`margin_fit`).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from skrae.preprocessing.affine import AffineMap
from skrae.preprocessing.blocks import by_blocks
from skrae.preprocessing.transform import Transform

# Newton steps of the inverse, and the relative move that ends them; rows at a time.
MAX_STEPS, TOLERANCE, BLOCK = 60, 4e-15, 2**14
ARRAYS = "location", "scale", "knots", "values", "slopes", "bends"


@dataclass(frozen=True, eq=False)
class Margins(Transform):
    """t of each column by itself.

    Parameters
    ----------
    location, scale : arrays of shape (d,), m and sd
    knots, values, slopes, bends : arrays of shape (d, M), s, t, t' and t'' at increasing knots
    """

    location: np.ndarray
    scale: np.ndarray
    knots: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    bends: np.ndarray

    @cached_property
    def _table(self):
        """Knots (d, M); of the M + 1 intervals left ends and lengths (d, M + 1), and coefficients
        (d, M + 1, 6) of the powers of the place in an interval, which goes from 0 to 1.

        The first and the last interval are the linear continuations, of length one.
        """
        h = np.diff(self.knots)
        a0, a1, a2 = self.values, self.slopes, 0.5 * self.bends
        b1, b2 = a1[:, :-1] * h, a2[:, :-1] * h**2
        r0 = a0[:, 1:] - a0[:, :-1] - b1 - b2
        r1 = a1[:, 1:] * h - b1 - 2.0 * b2
        r2 = 2.0 * a2[:, 1:] * h**2 - 2.0 * b2
        inner = [
            a0[:, :-1],
            b1,
            b2,
            10.0 * r0 - 4.0 * r1 + 0.5 * r2,
            -15.0 * r0 + 7.0 * r1 - r2,
            6.0 * r0 - 3.0 * r1 + 0.5 * r2,
        ]
        zero, one = np.zeros_like(a0[:, :1]), np.ones_like(a0[:, :1])
        first = [a0[:, :1], a1[:, :1], zero, zero, zero, zero]
        last = [a0[:, -1:], a1[:, -1:], zero, zero, zero, zero]
        coefficients = [np.hstack(parts) for parts in zip(first, inner, last, strict=True)]
        left, length = np.hstack([self.knots[:, :1], self.knots]), np.hstack([one, h, one])
        return tuple(
            torch.from_numpy(np.ascontiguousarray(a))
            for a in (self.knots, left, length, np.stack(coefficients, axis=-1))
        )

    def _at(self, s, order):
        """t and its first `order` derivatives at s (n, d), a list of arrays."""
        knots, left, length, coefficients = self._table
        columns = torch.from_numpy(np.ascontiguousarray(s.T))
        place = torch.searchsorted(knots, columns)
        unit = length.gather(1, place)
        step = (columns - left.gather(1, place)) / unit
        index = torch.arange(len(knots))[:, None]
        c = coefficients[index, place]  # (d, n, 6)
        found = []
        for k in range(order + 1):
            value = c[..., -1]
            for power in range(c.shape[-1] - 2, -1, -1):
                value = torch.addcmul(c[..., power], value, step)
            found.append((value / unit**k if k else value).T.numpy())
            c = c[..., 1:] * torch.arange(1.0, c.shape[-1], dtype=torch.float64)
        return found

    def parts(self):
        """The arrays, in the order of the parameters."""
        return [getattr(self, name) for name in ARRAYS]

    def _standard(self, X):
        return (np.asarray(X, np.float64) - self.location) / self.scale

    def _derivatives(self, X, order):
        """The first derivatives of t, up to this order, at rows."""
        return self._at(self._standard(X), order)[1:]

    def forward_and_slopes(self, X):
        """t and dt/ds, of standardised columns s, for a block of rows."""
        return self._at(self._standard(X), 1)

    def _by_blocks(self, function, X):
        """function of standardised rows, each entry of which takes a dozen numbers."""
        s = torch.from_numpy(self._standard(X))
        found = by_blocks(lambda part: torch.from_numpy(function(part.numpy())), s, size=BLOCK)
        return found.contiguous().numpy()

    # --- the protocol --------------------------------------------------------------------------

    def forward(self, X):
        """t of rows, float64 (n, d)."""
        return self._by_blocks(lambda s: self._at(s, 0)[0], X)

    def forward_and_log_det(self, X):
        """Both at once, for a block of rows."""
        t, first = self._at(self._standard(X), 1)
        return t, np.log(first / self.scale).sum(axis=1)

    def inverse(self, t):
        """Rows of the shape (..., d) of t: Newton's method in the bracket of two knots."""
        t = np.asarray(t, np.float64)
        s = self._root(t.reshape(-1, t.shape[-1]))
        return (s * self.scale + self.location).reshape(t.shape)

    def _root(self, t):
        low, high = self._bracket(t)
        s, left = 0.5 * (low + high), np.arange(len(t))
        for _ in range(MAX_STEPS):
            part, lower, upper = s[left], low[left], high[left]
            value, slope = self._at(part, 1)
            gap = value - t[left]
            lower, upper = np.where(gap < 0.0, part, lower), np.where(gap > 0.0, part, upper)
            fresh = part - gap / slope
            inside = (fresh >= lower) & (fresh <= upper)
            s[left] = np.where(inside, fresh, 0.5 * (lower + upper))
            low[left], high[left] = lower, upper
            moved = np.abs(s[left] - part) > TOLERANCE * (1.0 + np.abs(part))
            left = left[moved.any(axis=1)]
            if not len(left):
                break
        return s

    def _bracket(self, t):
        """The knots on either side of the root; beyond the last ones the root itself."""
        low, high = np.empty_like(t), np.empty_like(t)
        for j, (knots, values) in enumerate(zip(self.knots, self.values, strict=True)):
            place = np.searchsorted(values, t[:, j])
            low[:, j] = knots[np.maximum(place - 1, 0)]
            high[:, j] = knots[np.minimum(place, len(knots) - 1)]
            for outside, end in ((place == 0, 0), (place == len(knots), -1)):
                linear = knots[end] + (t[:, j] - values[end]) / self.slopes[j, end]
                low[outside, j] = high[outside, j] = linear[outside]
        return low, high

    def _slopes(self, X):
        """dt/dx of each entry, (n, d)."""
        return self._derivatives(X, 1)[0] / self.scale

    def log_abs_det(self, X):
        """sum_j log dt_j/dx_j, (n,)."""
        return self._by_blocks(lambda s: np.log(self._at(s, 1)[1] / self.scale).sum(axis=1), X)

    def gradient(self, X, gradient):
        """D g + l', with D = diag(t') and l = log t'."""
        first, second = self._derivatives(X, 2)
        return (first * gradient + second / first) / self.scale

    def pull_back(self, X, gradient):
        """d/dt from d/dx: divided by the slopes."""
        return gradient / self._slopes(X)

    def hessian(self, X, gradient, hessian):
        """D H D + diag(t'' g) + diag(l'')."""
        first, second, third = self._derivatives(X, 3)
        own = second * gradient() + third / first - (second / first) ** 2
        outer = first[:, :, None] * hessian * first[:, None, :]
        outer[:, np.arange(outer.shape[1]), np.arange(outer.shape[1])] += own
        return outer / (self.scale[:, None] * self.scale)

    def covariance(self, X, covariance):
        """D^-1 C D^-1."""
        slopes = self._slopes(X)
        return covariance / (slopes[:, :, None] * slopes[:, None, :])

    def by_columns(self):
        """The map itself, and the identity."""
        identity = np.eye(len(self.location))
        return self, identity, identity

    def scaled(self, scale):
        """t / scale."""
        return Chain(self, AffineMap.diagonal(np.zeros(len(scale)), scale))


@dataclass(frozen=True, eq=False)
class Chain(Transform):
    """An affine map after margins."""

    margins: Margins
    affine: AffineMap

    def forward(self, X):
        """Rows in working space."""
        return self.affine.forward(self.margins.forward(X))

    def inverse(self, z):
        """Rows in the units of the data."""
        return self.margins.inverse(self.affine.inverse(z))

    def forward_and_log_det(self, X):
        """Both at once."""
        t, log_det = self.margins.forward_and_log_det(X)
        return self.affine.forward(t), log_det + self.affine.log_det

    def log_abs_det(self, X):
        """The sum of both."""
        return self.margins.log_abs_det(X) + self.affine.log_det

    def gradient(self, X, gradient):
        """By the chain rule."""
        return self.margins.gradient(X, self.affine.gradient(X, gradient))

    def pull_back(self, X, gradient):
        """By the chain rule."""
        return self.affine.pull_back(X, self.margins.pull_back(X, gradient))

    def hessian(self, X, gradient, hessian):
        """By the chain rule."""
        inner = self.affine.hessian(X, gradient, hessian)
        return self.margins.hessian(X, lambda: self.affine.gradient(X, gradient()), inner)

    def covariance(self, X, covariance):
        """By the chain rule, to first order."""
        return self.margins.covariance(X, self.affine.covariance(X, covariance))

    def by_columns(self):
        """The margins, centred as the affine map is."""
        centred, matrix, inverse = self.affine.by_columns()
        return Chain(self.margins, centred), matrix, inverse

    def scaled(self, scale):
        """What the map gives, divided by scale."""
        return Chain(self.margins, self.affine.scaled(scale))

    def parts(self):
        """Those of both."""
        return [*self.margins.parts(), *self.affine.parts()]
