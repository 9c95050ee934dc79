"""The average of an energy with one of radial units, believed where the two are near.

    log p_k(z) = log q_b(z) + sum_j a_j k(z, c_j)                 energy of the radial units
    log p~(z)  = log q(z) + (1 - w) f(z) + B(w u(z))              the average, of share w
    u(z)       = log p_k(z) - log q(z) - o,     B(u) = c tanh(u / c)

q_b is one of the mixtures that the base density averages, blurred: as smooth as they are rough,
and right about where there are no rows, of which score matching learns nothing. Where B is the
identity this is the geometric mean p^(1-w) p_k^w; its bound c keeps what p_k says of places without
rows to a factor e^c.
"""

from typing import NamedTuple

import torch

from skrae.autoencoders.radial import RadialUnits
from skrae.mixtures.mixture import MixtureDensity

# Nats by which the average may differ from the base density.
BOUND = 2.0


class RadialEnergy(NamedTuple):
    """What defines log p_k and its part in the average, as NumPy arrays and scalars."""

    share: float  # w
    offset: float  # o
    smooth: tuple  # q_b: weights (K,), means (K, d), factors (K, d, d), dofs (K,), blocks (d,)
    centres: object  # (m, d)
    width: float
    coefficients: object  # (m,)

    def parts(self):
        """Every array and scalar that it is made of."""
        return [*self[:2], *self.smooth, *self[3:]]


class RadialField:
    """log p_k - log q and its gradient, in working space.

    Parameters
    ----------
    smooth : MixtureDensity, q_b
    units : RadialUnits
    coefficients : tensor of shape (m,)
    """

    def __init__(self, smooth, units, coefficients):
        self.smooth, self.units, self.coefficients = smooth, units, coefficients

    @classmethod
    def of_arrays(cls, energy, device):
        """That of a `RadialEnergy`."""
        to = {"dtype": torch.float64, "device": device}
        centres, coefficients = (
            torch.as_tensor(a, **to) for a in (energy.centres, energy.coefficients)
        )
        smooth = MixtureDensity(*energy.smooth, device=device)
        return cls(smooth, RadialUnits(centres, energy.width), coefficients)

    def ratio(self, z, log_q):
        """log p_k - log q, shape (n,)."""
        return self.smooth.log_density(z) + self.units.value(z, self.coefficients) - log_q

    def ratio_and_gradient(self, z, log_q, base_gradient):
        """log p_k - log q, (n,), and its gradient (n, d)."""
        value, gradient = self.units.value_and_gradient(z, self.coefficients)
        log_smooth, smooth_gradient, _ = self.smooth.evaluate(z)
        return log_smooth + value - log_q, smooth_gradient + gradient - base_gradient


def bounded(u):
    """B(u), of slope 1 at 0 and never beyond `BOUND`."""
    return BOUND * torch.tanh(u / BOUND)


def bounded_slope(u):
    """B'(u)."""
    return 1.0 - torch.tanh(u / BOUND).square()


def bounded_bend(u):
    """B''(u)."""
    return -2.0 / BOUND * torch.tanh(u / BOUND) * bounded_slope(u)


class RadialAverage:
    """What the share of radial units makes of a tilt over the base density q.

    Parameters
    ----------
    energy : RadialEnergy
    device : torch device
    """

    def __init__(self, energy, device="cpu"):
        self.energy, self.radial = energy, RadialField.of_arrays(energy, device)

    def tilt(self, z, log_q, own=0.0):
        """f (n,) from that of the network, `own`."""
        share, offset = self.energy.share, self.energy.offset
        return bounded(share * (self.radial.ratio(z, log_q) - offset)) + (1.0 - share) * own

    def tilt_and_gradient(self, z, log_q, base_gradient, own=(0.0, 0.0)):
        """f (n,) and grad f (n, d) from those of the network, `own`."""
        share = self.energy.share
        u, slope = self.radial.ratio_and_gradient(z, log_q, base_gradient)
        u = share * (u - self.energy.offset)
        f, gradient = ((1.0 - share) * part for part in own)
        return bounded(u) + f, share * bounded_slope(u)[:, None] * slope + gradient
