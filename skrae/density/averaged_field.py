"""The average of a score field's energy with one of radial units, believed where they are near.

    log p_k(z) = log q_b(z) + sum_j a_j k(z, c_j)                 energy of the radial units
    log p~(z)  = log q(z) + (1 - w) f(z) + B(w u(z))              the average, of share w
    u(z)       = log p_k(z) - log q(z) - o,     B(u) = c tanh(u / c)

q_b is the base density blurred: as smooth as the mixtures are rough, and right about where there
are no rows, of which score matching learns nothing. Where B is the identity this is the geometric
mean p^(1-w) p_k^w; its bound c keeps what p_k says of places without rows to a factor e^c.
"""

from typing import NamedTuple

import torch

from skrae.autoencoders.radial import RadialUnits
from skrae.density.score_field import ScoreField

# Nats by which the average may differ from the base density.
BOUND = 2.0


class RadialEnergy(NamedTuple):
    """What defines log p_k and its part in the average, as NumPy arrays and scalars."""

    share: float  # w
    offset: float  # o
    blur: float  # of the base density: its covariances are 1 + blur times as large
    centres: object  # (m, d)
    width: float
    coefficients: object  # (m,)


class RadialField:
    """log p_k - log q and its gradient, in working space.

    Parameters
    ----------
    base : MixtureDensity, q
    units : RadialUnits
    coefficients : tensor of shape (m,)
    blur : float
    """

    def __init__(self, base, units, coefficients, blur):
        self.units, self.coefficients = units, coefficients
        self.smooth = base.blurred(blur, local=True)

    @classmethod
    def of_arrays(cls, base, energy):
        """That of a `RadialEnergy`, on the device of the base density."""
        centres, coefficients = (
            torch.as_tensor(a).to(base.means) for a in (energy.centres, energy.coefficients)
        )
        return cls(base, RadialUnits(centres, energy.width), coefficients, energy.blur)

    def ratio(self, z, log_q):
        """log p_k - log q, shape (n,)."""
        value, _ = self.units.value_and_gradient(z, self.coefficients)
        return self.smooth.log_density(z) + value - log_q

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


class AveragedField(ScoreField):
    """A `ScoreField` whose log density is averaged with that of radial units.

    Parameters
    ----------
    field : ScoreField
    energy : RadialEnergy
    """

    is_base, reconstruction_is_learned = False, True

    def __init__(self, field, energy):
        super().__init__(field.base, field.decoder, field.parameters, field.metric)
        self.field, self.energy = field, energy
        self.radial = RadialField.of_arrays(field.base, energy)

    def log_tilt(self, z, log_q=None):
        """f(z) = log p~(z) - log q(z), shape (n,), float64; log_q where it is known already."""
        z = z.double()
        log_q = self.base.log_density(z) if log_q is None else log_q
        share, offset = self.energy.share, self.energy.offset
        tilt = bounded(share * (self.radial.ratio(z, log_q) - offset))
        return tilt if self.field.is_base else tilt + (1.0 - share) * self.field.log_tilt(z, log_q)

    def tilt_and_gradient(self, z, log_q, base_gradient, create_graph=False):
        """f (n,) and grad f (n, d) where log q and its gradient are known."""
        z, share = z.double(), self.energy.share
        u, slope = self.radial.ratio_and_gradient(z, log_q, base_gradient)
        u = share * (u - self.energy.offset)
        tilt, gradient = bounded(u), share * bounded_slope(u)[:, None] * slope
        if self.field.is_base:
            return tilt, gradient
        own = self.field.tilt_and_gradient(z, log_q, base_gradient, create_graph)
        f, slope = ((1.0 - share) * part.double() for part in own)
        return tilt + f, gradient + slope

    @property
    def corrupted(self):
        """The average of the corrupted field with the same energy."""
        if not self.field.is_base:
            return self
        return AveragedField(self.field.corrupted, self.energy)
