"""From the network to the quantities of the density, all in working space.

    log p~(z) = log q(z) + f(z)                       unnormalised log density
    psi(z)    = grad log q(z) + grad f(z)             score
    r(z)      = z + tau C(z) psi(z)                   reconstruction, tau = sigma^2 + lambda

Free and tied decoders have an r of their own, from which f and psi follow: see `skrae.autoencoders.decoders.gradient`.
C(z) is the noise covariance: the identity (isotropic), or a mean of the covariances C_k of the
base components, sum_k s_k(z) C_k (local). The share s_k = r_k / sum_j r_j tr(C_j^-1 C_k)/d of a
component is its responsibility, lowered where C_k is wide beside the components that share the
place: so the whitened noise |C(z)^1/2 K_k^-T eps|^2 keeps the size of |eps|^2 however different
the widths are.
"""

from copy import copy
from functools import cached_property

import torch

from skrae.mixtures.components import draw_index

# Rows at a time of which the network's layers stay in the cache.
NETWORK_CHUNK = 1024


class NoiseMetric:
    """The local noise covariances of a base density, or the identity.

    Parameters
    ----------
    base : MixtureDensity
    kind : {"local", "isotropic"}
    """

    def __init__(self, base, kind):
        self.kind, self._base = kind, base
        factors = base.factors
        if kind == "isotropic":
            factors = torch.eye(base.n_features, dtype=factors.dtype, device=factors.device)[None]
        self.factors = factors
        self.inverse_transposes = torch.linalg.inv(factors).mT.contiguous()
        self.covariances = factors @ factors.mT
        precisions = torch.cholesky_inverse(factors).flatten(1)
        self.relative_widths = precisions @ self.covariances.flatten(1).T / base.n_features

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

    def draw(self, responsibilities, generator):
        """Component k ~ r_k(z) and its weight w_k = s_k / r_k: E[w_k C_k] = C(z)."""
        k = draw_index(responsibilities, generator)
        width = (responsibilities * self.relative_widths.T[k]).sum(1)
        return k, 1.0 / width

    def covariance(self, responsibilities):
        """C(z) = sum_k s_k C_k, shape (n, d, d)."""
        shares = responsibilities / (responsibilities @ self.relative_widths)
        d = self.factors.shape[1]
        return (shares @ self.covariances.flatten(1)).reshape(-1, d, d)


class ScoreField:
    """log p~, its derivatives and the reconstruction they define.

    Parameters
    ----------
    base : MixtureDensity
    decoder : one of `skrae.autoencoders.decoders.gradient`, which knows tau
    parameters : list of tensors, the decoder's
    metric : NoiseMetric
    """

    def __init__(self, base, decoder, parameters, metric):
        self.base, self.decoder, self.parameters = base, decoder, parameters
        self.metric, self.tau = metric, decoder.tau

    @property
    def is_base(self):
        """Whether the head is zero, f = 0: the base density itself is the model."""
        return not any(p.any() for p in self.parameters[-2:])

    def _narrow(self, z):
        return z.to(self.parameters[0].dtype)

    def log_ratio(self, z, log_q=None):
        """f(z) = log p~(z) - log q(z), shape (n,), float64; log_q where it is known already."""
        if log_q is None and self.decoder.reconstructs:
            log_q = self.base.log_density(z)
        return self.decoder.log_ratio(self._narrow(z), self.parameters, log_q).double()

    def code(self, z):
        """The encoder's output, shape (n, k)."""
        return self.decoder.code(self._narrow(z), self.parameters)

    def decode(self, code):
        """r(z) from the code of z, shape (n, d); for free and tied decoders."""
        return self.decoder.decode(self._narrow(code), self.parameters)

    def log_density(self, z):
        """log p~(z), shape (n,)."""
        log_q = self.base.log_density(z)
        if self.is_base:
            return log_q
        parts = zip(z.split(NETWORK_CHUNK), log_q.split(NETWORK_CHUNK), strict=True)
        return log_q + torch.cat([self.log_ratio(*rows) for rows in parts])

    def evaluate(self, z, beta=1.0):
        """log p_beta (n,), its gradient (n, d), log q (n,) and noise responsibilities (n, K).

        p_beta = q exp(beta f) is the tempered density between q and p~.
        """
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        shares = self.metric.responsibilities(z, responsibilities)
        if self.is_base:
            return log_q, base_gradient, log_q, shares
        f, gradient = self.terms(z, log_q, base_gradient)
        return log_q + beta * f.double(), base_gradient + beta * gradient.double(), log_q, shares

    def terms(self, z, log_q, base_gradient):
        """f (n,) and grad f (n, d) where log q and its gradient are known."""
        return self.decoder.evaluate(self._narrow(z), self.parameters, log_q, base_gradient)

    @cached_property
    def corrupted(self):
        """The field of the corrupted density p_tau, from which r follows.

        A network trained by denoising is that field itself. Where the base is the model, p is q
        without noise, and p_tau is q blurred: r is the posterior mean of the clean row.
        """
        if self.decoder.reconstructs or not self.is_base:
            return self
        base = self.base.blurred(self.tau, self.metric.kind == "local")
        return ScoreField(base, self.decoder, self.parameters, self.metric.over(base))

    def displacement(self, z):
        """C(z) psi(z), the (r - z)/tau of a field that is its own corrupted one, (n, d).

        Differentiable any number of times in z and parameters.
        """
        z = z if z.requires_grad else z.detach().requires_grad_()
        narrow = self._narrow(z)
        if self.decoder.reconstructs:
            return self.decoder.field(narrow, self.parameters)
        _, base_gradient, responsibilities = self.base.evaluate(z)
        gradient = self.decoder.differentiable_gradient(narrow, self.parameters)
        return self._in_metric(z, responsibilities, base_gradient + gradient.double())

    def _in_metric(self, z, responsibilities, psi):
        """C(z) psi, shape (n, d)."""
        if self.metric.kind == "isotropic":
            return psi
        covariance = self.metric.covariance(self.metric.responsibilities(z, responsibilities))
        return torch.einsum("nij,nj->ni", covariance, psi)

    def reconstruct(self, z):
        """r(z), shape (n, d)."""
        if self.decoder.reconstructs:
            return self.decoder.reconstruct(self._narrow(z), self.parameters)
        return z.double() + self.tau * self.move(z)

    def move(self, z):
        """(r(z) - z) / tau, shape (n, d), differentiable once."""
        return self.corrupted.displacement_once(z)

    def displacement_once(self, z):
        """The same as `displacement`, differentiable once in z and parameters, at less cost."""
        if self.decoder.reconstructs:
            return self.decoder.field(self._narrow(z), self.parameters)
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        _, gradient = self.terms(z, log_q, base_gradient)
        return self._in_metric(z, responsibilities, base_gradient + gradient.double())

    def derivatives(self, z):
        """dr/dz (n, d, d) and the Laplacian of r (n, d); None where they have no closed form."""
        return self.decoder.derivatives(self._narrow(z), self.parameters)

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
            hessian = row_derivatives(self.evaluate(z)[1], z)
        return 0.5 * (hessian + hessian.mT) if self.decoder.is_conservative else hessian

    def local_covariance(self, z):
        """tau C + tau^2 C (Hess log p~) C, negative eigenvalues set to zero, shape (n, d, d).

        Tweedie's second-order formula for noise of covariance tau C: with the identity for C it is
        tau dr/dz, the posterior covariance of the clean point (Alain & Bengio 2014, section 3),
        and so it is for free and tied decoders, symmetrised.
        """
        if self.decoder.reconstructs:
            jacobian = self.reconstruction_jacobian(z)
            posterior = 0.5 * self.tau * (jacobian + jacobian.mT)
        else:
            metric = self.corrupted.metric
            covariance = metric.covariance(metric.responsibilities(z))
            change = covariance @ self.corrupted.hessian(z) @ covariance
            posterior = self.tau * covariance + self.tau**2 * change
        variances, axes = torch.linalg.eigh(posterior)
        return axes * variances.clamp_min(0.0)[:, None, :] @ axes.mT

    def reconstruction_jacobian(self, z):
        """dr/dz, shape (n, d, d), [i, j] = dr_i / dz_j."""
        z = z.detach().double().requires_grad_()
        with torch.enable_grad():
            slopes = row_derivatives(self.corrupted.displacement(z), z)
        return torch.eye(z.shape[1], dtype=z.dtype, device=z.device) + self.tau * slopes


def row_derivatives(outputs, z):
    """d outputs_i / d z_j for each row, shape (n, d_out, d_in)."""
    columns = [
        torch.autograd.grad(outputs[:, i].sum(), z, retain_graph=True)[0]
        for i in range(outputs.shape[1])
    ]
    return torch.stack(columns, dim=1).detach()
