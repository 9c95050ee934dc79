"""From the network to the quantities of the density, all in working space.

    log p~(z) = log q(z) + f(z)                       unnormalised log density
    psi(z)    = grad log q(z) + grad f(z)             score
    r(z)      = z + tau C(z) psi(z)                   reconstruction, tau = sigma^2 + lambda

C(z) is the noise covariance: the identity (isotropic), or a mean of the covariances C_k of the
base components, sum_k s_k(z) C_k (local). The share s_k = r_k / sum_j r_j tr(C_j^-1 C_k)/d of a
component is its responsibility, lowered where C_k is wide beside the components that share the
place: so the whitened noise |C(z)^1/2 K_k^-T eps|^2 keeps the size of |eps|^2 however different
the widths are.
"""

import torch

from skrae._linear_algebra import draw_index
from skrae._networks import (
    differentiable_value_and_gradient,
    encode,
    value,
    value_and_gradient,
)


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
    parameters : list of tensors, as in `skrae._networks`
    activation : str
    metric : NoiseMetric
    tau : float, sigma^2 + lambda
    """

    def __init__(self, base, parameters, activation, metric, tau):
        self.base, self.parameters, self.activation = base, parameters, activation
        self.metric, self.tau = metric, tau

    def _narrow(self, z):
        return z.to(self.parameters[0].dtype)

    def log_ratio(self, z):
        """f(z) = log p~(z) - log q(z), shape (n,), float64."""
        return value(self._narrow(z), self.parameters, self.activation).double()

    def code(self, z):
        """The encoder's output, shape (n, k)."""
        return encode(self._narrow(z), self.parameters, self.activation)

    def log_density(self, z):
        """log p~(z), shape (n,)."""
        return self.base.log_density(z) + self.log_ratio(z)

    def evaluate(self, z, beta=1.0):
        """log p_beta (n,), its gradient (n, d), log q (n,) and noise responsibilities (n, K).

        p_beta = q exp(beta f) is the tempered density between q and p~.
        """
        log_q, base_gradient, responsibilities = self.base.evaluate(z)
        f, gradient = value_and_gradient(self._narrow(z), self.parameters, self.activation)
        shares = self.metric.responsibilities(z, responsibilities)
        return log_q + beta * f.double(), base_gradient + beta * gradient.double(), log_q, shares

    def displacement(self, z):
        """C(z) psi(z), shape (n, d), differentiable any number of times in z and parameters."""
        z = z if z.requires_grad else z.detach().requires_grad_()
        _, base_gradient, responsibilities = self.base.evaluate(z)
        narrow = self._narrow(z)
        _, gradient = differentiable_value_and_gradient(narrow, self.parameters, self.activation)
        covariance = self.metric.covariance(self.metric.responsibilities(z, responsibilities))
        psi = base_gradient + gradient.double()
        return torch.einsum("nij,nj->ni", covariance, psi)

    def reconstruct(self, z):
        """r(z) = z + tau C(z) psi(z), shape (n, d)."""
        _, base_gradient, responsibilities = self.base.evaluate(z)
        _, gradient = value_and_gradient(self._narrow(z), self.parameters, self.activation)
        covariance = self.metric.covariance(self.metric.responsibilities(z, responsibilities))
        psi = base_gradient + gradient.double()
        return z.double() + self.tau * torch.einsum("nij,nj->ni", covariance, psi)

    def hessian(self, z):
        """Hessian of log p~, shape (n, d, d), symmetric."""
        z = z.detach().double().requires_grad_()
        with torch.enable_grad():
            hessian = row_derivatives(self.evaluate(z)[1], z)
        return 0.5 * (hessian + hessian.mT)

    def local_covariance(self, z):
        """tau C + tau^2 C (Hess log p~) C, negative eigenvalues set to zero, shape (n, d, d).

        Tweedie's second-order formula for noise of covariance tau C: with the identity for C it is
        tau dr/dz, the posterior covariance of the clean point (Alain & Bengio 2014, section 3.2).
        """
        covariance = self.metric.covariance(self.metric.responsibilities(z))
        posterior = self.tau * covariance
        posterior = posterior + self.tau**2 * covariance @ self.hessian(z) @ covariance
        variances, axes = torch.linalg.eigh(posterior)
        return axes * variances.clamp_min(0.0)[:, None, :] @ axes.mT

    def reconstruction_jacobian(self, z):
        """dr/dz, shape (n, d, d), [i, j] = dr_i / dz_j."""
        z = z.detach().double().requires_grad_()
        with torch.enable_grad():
            slopes = row_derivatives(self.displacement(z), z)
        return torch.eye(z.shape[1], dtype=z.dtype, device=z.device) + self.tau * slopes


def row_derivatives(outputs, z):
    """d outputs_i / d z_j for each row, shape (n, d_out, d_in)."""
    columns = [
        torch.autograd.grad(outputs[:, i].sum(), z, retain_graph=True)[0]
        for i in range(outputs.shape[1])
    ]
    return torch.stack(columns, dim=1).detach()
