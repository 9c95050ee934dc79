"""From the network to the quantities of the density, all in working space.

    log p~(z) = log q(z) + f(z)                       unnormalised log density
    psi(z)    = grad log q(z) + grad f(z)             score
    r(z)      = z + tau C(z) psi(z)                   reconstruction, tau = sigma^2 + lambda

Free and tied decoders have an r of their own, from which f and psi follow.
C(z) is the noise covariance: the identity (isotropic), or a mean of the covariances C_k of the
base components, sum_k s_k(z) C_k (local). The share s_k = r_k / sum_j r_j tr(C_j^-1 C_k)/d of a
component is its responsibility, lowered where C_k is wide beside the components that share the
place: so the whitened noise |C(z)^1/2 K_k^-T eps|^2 keeps the size of |eps|^2 however different
the widths are.
"""

from copy import copy
from functools import cached_property

import torch
import torch.nn.functional as F

from skrae.autoencoders.layers import head_of
from skrae.density.radial_average import RadialAverage
from skrae.mixtures.components import draw_index
from skrae.preprocessing.blocks import (
    NETWORK_ROWS,
    by_blocks,
    is_wide,
    on_first_axes,
    row_products,
)

# Farther out squares overflow float32: the network answers in float64 there.
MAX_NARROW = 1e15


class NoiseMetric:
    """The local noise covariances of a base density, or the identity.

    They are of the numeric columns: no noise and no gradient moves a category.

    Parameters
    ----------
    base : MixtureDensity
    kind : {"local", "isotropic"}
    """

    def __init__(self, base, kind):
        self.kind, self._base = kind, base
        factors = base.factors
        if kind == "isotropic":
            factors = torch.eye(base.n_numeric, dtype=factors.dtype, device=factors.device)[None]
        self.factors = factors
        self.inverse_transposes = torch.linalg.inv(factors).mT.contiguous()
        self.covariances = factors @ factors.mT
        precisions = torch.cholesky_inverse(factors).flatten(1)
        # tr(C_j^-1 C_k)/d in place [k, j]: what `draw` gathers lies together.
        self.relative_widths = self.covariances.flatten(1) @ precisions.T / base.n_numeric

    def over(self, base):
        """These covariances, shared out by another density of as many components."""
        metric = copy(self)
        metric._base = base
        return metric

    def responsibilities(self, z, base_responsibilities=None):
        """The probabilities (n, K) of the noise components at z."""
        if self.kind == "isotropic":
            return torch.ones_like(z[:, :1], dtype=torch.float64)
        if base_responsibilities is None:
            return self._base.responsibilities(z)
        return base_responsibilities

    def draw(self, responsibilities, generator, components=None):
        """Component k ~ r_k(z) and its weight w_k = s_k / r_k: E[w_k C_k] = C(z).

        The responsibilities (n, m) may be those of some `components` (n, m) of each row.
        """
        k = draw_index(responsibilities, generator)
        if components is None:
            widths = self.relative_widths[k]
        else:
            k = components.gather(1, k[:, None])
            widths = self.relative_widths[k, components]
            k = k[:, 0]
        return k, 1.0 / (responsibilities * widths).sum(1)

    def covariance(self, responsibilities):
        """C(z) = sum_k s_k C_k, shape (n, d, d)."""
        shares = self._shares(responsibilities)
        d = self.factors.shape[1]
        return (shares @ self.covariances.flatten(1)).reshape(-1, d, d)

    def applied(self, responsibilities, vectors):
        """C(z) v of each row, (n, d)."""
        if not is_wide(self.factors.shape[1]):
            return row_products(self.covariance(responsibilities), vectors)
        shares = self._shares(responsibilities)

        def product(covariances, vectors):
            pairs = zip(shares.T, covariances, strict=True)
            return sum(share[:, None] * (vectors @ covariance) for share, covariance in pairs)

        return on_first_axes(product, self.covariances, vectors)

    def _shares(self, responsibilities):
        """s_k(z), shape (n, K)."""
        return responsibilities / (responsibilities @ self.relative_widths.T)


class ScoreField:
    """log p~, its derivatives and the reconstruction they define.

    Parameters
    ----------
    base : MixtureDensity
    decoder : Decoder
    parameters : list of tensors, the decoder's
    metric : NoiseMetric
    average : RadialAverage, or None where the network's tilt is f itself
    """

    def __init__(self, base, decoder, parameters, metric, average=None):
        self.base, self.decoder, self.parameters = base, decoder, parameters
        self.metric, self.tau, self.average = metric, decoder.tau, average

    def averaged(self, energy):
        """The field with this `RadialEnergy` averaged in."""
        parts = self.base, self.decoder, self.parameters, self.metric
        return ScoreField(*parts, RadialAverage(energy, self.base.means.device))

    @cached_property
    def is_base(self):
        """Whether f = 0: the base density itself is the model."""
        return self.average is None and not self._has_network

    @cached_property
    def _numeric_axes(self):
        """1 for each numeric axis, 0 for those of categories, (d,)."""
        return (torch.arange(self.base.n_features) < self.base.n_numeric).to(self.parameters[0])

    @cached_property
    def _has_network(self):
        """Whether the head is not zero."""
        return any(part.any() for part in head_of(self.parameters))

    @property
    def reconstruction_is_learned(self):
        """Whether r comes from training, not from the base density alone."""
        return self.decoder.learns_without_tilt or not self.is_base

    def _asked(self, z):
        """Rows or codes, and the parameters, in the precision that the network answers them in."""
        dtype = self.parameters[0].dtype
        if dtype == torch.float64 or not (z.detach().abs() >= MAX_NARROW).any():
            return z.to(dtype), self.parameters
        return z.double(), [p.double() for p in self.parameters]

    def log_tilt(self, z, log_q=None):
        """f(z) = log p~(z) - log q(z), shape (n,), float64; log_q where it is known already."""

        def known():
            return self.base.log_density(z) if log_q is None else log_q

        if self.average is None:
            return self._network_tilt(z, known)
        log_q = known()
        own = self._network_tilt(z, lambda: log_q) if self._has_network else 0.0
        return self.average.tilt(z.double(), log_q, own)

    def _network_tilt(self, z, log_q):
        return self.decoder.log_tilt(*self._asked(z), log_q).double()

    def code(self, z):
        """The encoder's output, shape (n, k)."""
        return self.decoder.code(*self._asked(z))

    def decode(self, code):
        """r(z) from the code of z, shape (n, d); for free and tied decoders."""
        return self.decoder.decode(*self._asked(code))

    def log_density(self, z):
        """log p~(z), shape (n,)."""
        log_q = self.base.log_density(z)
        if self.is_base:
            return log_q
        return log_q + by_blocks(self.log_tilt, z, log_q, size=NETWORK_ROWS)

    def evaluate(self, z, beta=1.0):
        """log p_beta (n,), its gradient (n, d), log q (n,) and noise responsibilities (n, K).

        p_beta = q exp(beta f) is the tempered density between q and p~.
        """
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        shares = self.metric.responsibilities(z, responsibilities)
        if self.is_base:
            return log_q, base_gradient, log_q, shares
        f, gradient = self.tilt_and_gradient(z, log_q, base_gradient)
        return log_q + beta * f.double(), base_gradient + beta * gradient.double(), log_q, shares

    def tilt_and_gradient(self, z, log_q, base_gradient, create_graph=False):
        """f (n,) and grad f (n, d) where log q and its gradient are known.

        No density has a derivative along a category: 0 stands there.
        """
        known, own = (log_q, base_gradient), (0.0, 0.0)
        if self.average is None or self._has_network:
            where = *self._asked(z), *known
            own = self.decoder.evaluate(*where, create_graph=create_graph)
        if self.average is None:
            return own if not self.base.levels else (own[0], own[1] * self._numeric_axes)
        own = tuple(part.double() for part in own) if self._has_network else own
        return self.average.tilt_and_gradient(z.double(), *known, own)

    @cached_property
    def corrupted(self):
        """The field of the corrupted density p_tau, from which r follows.

        A network trained by denoising is that field itself. Where the base is the model, p is q
        without noise, and p_tau is q blurred: r is the posterior mean of the clean row. What
        radial units add to log q stays as it is: it has no ripples that noise would blur.
        """
        if self._has_network:
            return self
        base = self.base.blurred(self.tau, self.metric.kind == "local")
        metric = self.metric.over(base)
        return ScoreField(base, self.decoder, self.parameters, metric, self.average)

    def vector_field(self, z, create_graph=False):
        """(r(z) - z)/tau of a field that is its own corrupted one, (n, d): its own, or C(z) psi(z).

        Differentiable once in z and parameters; with create_graph, at more cost, any number of
        times.
        """
        if create_graph and not z.requires_grad:
            z = z.detach().requires_grad_()
        own = self.decoder.vector_field(*self._asked(z))
        if own is not None:
            return own
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        _, gradient = self.tilt_and_gradient(z, log_q, base_gradient, create_graph)
        psi = base_gradient + gradient.double()
        if self.metric.kind == "isotropic":
            return psi
        return self.metric.applied(self.metric.responsibilities(z, responsibilities), psi)

    def reconstruct(self, z):
        """r(z), shape (n, d)."""
        own = self.decoder.reconstruct(*self._asked(z))
        return z.double() + self.tau * self.corrupted.vector_field(z) if own is None else own

    def derivatives(self, z):
        """dr/dz (n, d, d) and the Laplacian of r (n, d); None where they have no closed form."""
        return self.decoder.derivatives(*self._asked(z))

    def slopes(self, z):
        """Derivatives of the score, (n, d, d), in closed form; None where they have none."""
        if self.average is not None:
            return None
        own = self.decoder.tilt_hessian(*self._asked(z))
        return None if own is None else self.base.hessian(z) + self._masked(own.double())

    def _masked(self, matrices):
        """Matrices (n, d, d) with zeros where an axis is of a category."""
        if not self.base.levels:
            return matrices
        axes = self._numeric_axes.double()
        return matrices * axes * axes[:, None]

    def curl(self, z):
        """How far (r - z)/tau is from a gradient: |J - J^T|_F / (2 |J|_F), J its Jacobian at rows.

        Between 0, for conservative decoders, and 1, where J is antisymmetric.
        """
        if self.decoder.is_conservative:
            return 0.0
        identity = torch.eye(z.shape[1], dtype=torch.float64, device=z.device)
        jacobian = self.reconstruction_jacobian(z) - identity
        return float((jacobian - jacobian.mT).norm() / (2.0 * jacobian.norm()))

    def hessian(self, z):
        """Derivatives of the score, (n, d, d): symmetric but for the free decoder."""
        z = z.detach().double().requires_grad_()
        with torch.enable_grad():
            hessian = self._derivatives_of(self.evaluate(z)[1], z)
        return 0.5 * (hessian + hessian.mT) if self.decoder.is_conservative else hessian

    def _derivatives_of(self, outputs, z):
        """The derivatives (n, d, d) along numeric axes of what is (n, d)."""
        n_numeric, d = self.base.n_numeric, self.base.n_features
        slopes = row_derivatives(outputs[:, :n_numeric], z)
        return slopes if n_numeric == d else self._of_all_axes(slopes[:, :, :n_numeric])

    def local_covariance(self, z):
        """tau C + tau^2 C (Hess log p~) C, negative eigenvalues set to zero, shape (n, d, d).

        Tweedie's second-order formula for noise of covariance tau C: with the identity for C it is
        tau dr/dz, the posterior covariance of the clean point (Alain & Bengio 2014, section 3),
        and so it is for decoders with an r of their own, symmetrised.
        """
        slopes = self._own_slopes(z)
        if slopes is None:
            metric = self.corrupted.metric
            covariance = self._of_all_axes(metric.covariance(metric.responsibilities(z)))
            change = covariance @ self.corrupted.hessian(z) @ covariance
        else:
            covariance = torch.eye(z.shape[1], dtype=torch.float64, device=z.device)
            change = 0.5 * (slopes + slopes.mT)
        variances, axes = torch.linalg.eigh(self.tau * covariance + self.tau**2 * change)
        return axes * variances.clamp_min(0.0)[:, None, :] @ axes.mT

    def _of_all_axes(self, matrices):
        """Matrices of the numeric axes with zeros for the others, (n, d, d)."""
        extra = self.base.n_features - matrices.shape[-1]
        return F.pad(matrices, (0, extra, 0, extra)) if extra else matrices

    def _own_slopes(self, z):
        """Jacobian (n, d, d) of the decoder's own (r - z)/tau, None where it has none."""
        z = z.detach().double().requires_grad_()
        with torch.enable_grad():
            own = self.decoder.vector_field(*self._asked(z))
            return None if own is None else row_derivatives(own, z)

    def reconstruction_jacobian(self, z):
        """dr/dz, shape (n, d, d), [i, j] = dr_i / dz_j."""
        z = z.detach().double().requires_grad_()
        with torch.enable_grad():
            slopes = self._derivatives_of(self.corrupted.vector_field(z, create_graph=True), z)
        return torch.eye(z.shape[1], dtype=z.dtype, device=z.device) + self.tau * slopes


def row_derivatives(outputs, z):
    """d outputs_i / d z_j for each row, shape (n, d_out, d_in)."""
    columns = [
        torch.autograd.grad(outputs[:, i].sum(), z, retain_graph=True)[0]
        for i in range(outputs.shape[1])
    ]
    return torch.stack(columns, dim=1).detach()


def value_and_derivatives(function, z):
    """function(z), (n, d_out), and its derivatives for each row, (n, d_out, d_in)."""
    z = z.clone().requires_grad_()
    with torch.enable_grad():
        values = function(z)
        return values.detach(), row_derivatives(values, z)
