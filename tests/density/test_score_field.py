"""The score field: derivatives by finite differences, closed forms of a Gaussian base."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.autoencoders.objectives import contraction_penalty
from skrae.density.score_field import NoiseMetric, ScoreField, row_derivatives
from skrae.mixtures.mixture import MixtureDensity
from tests.autoencoders.random_networks import random_parameters
from tests.density.random_fields import random_field, twice_differentiable
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, random_mixture

INF = np.inf
each_kind = pytest.mark.parametrize("kind", ["local", "isotropic"])


def rows(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def close(found, expected, tolerance):
    """Entries agree to this share of the largest (finite differences lose digits by scale)."""
    scale = 1 + expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)


# Density and derivatives


@each_kind
def test_log_density_is_base_plus_log_tilt(kind, random_seed):
    field, z = random_field(2, random_seed, kind), rows(20, 2, random_seed)
    expected = field.base.log_density(z) + field.log_tilt(z)
    close(field.log_density(z), expected, 1e-14)
    assert field.log_tilt(z).std() > 0.02, "the head is flat"


@pytest.mark.parametrize("dofs", [None, [INF, 4.0, INF]], ids=["gaussian", "student"])
@pytest.mark.parametrize("d", [1, 3])
def test_gradient_equals_finite_differences_of_log_density(d, dofs, random_seed):
    field, z = random_field(d, random_seed, dofs=dofs), rows(20, d, random_seed)
    close(field.evaluate(z)[1], finite_differences(field.log_density, z), 1e-5)


@pytest.mark.parametrize("dofs", [None, [INF, 4.0, INF]], ids=["gaussian", "student"])
@pytest.mark.parametrize("d", [1, 3])
def test_hessian_equals_finite_differences_of_gradient(d, dofs, random_seed):
    field, z = random_field(d, random_seed, dofs=dofs), rows(20, d, random_seed)
    hessian = field.hessian(z)
    assert torch.equal(hessian, hessian.mT)
    close(hessian, finite_differences(lambda z: field.evaluate(z)[1], z), 1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_tempered_density_and_gradient(beta, random_seed):
    """log p_beta = log q + beta f and its gradient."""
    field, z = random_field(2, random_seed), rows(20, 2, random_seed)
    log_p, gradient, log_q, responsibilities = field.evaluate(z, beta)

    def tempered(z):
        return field.base.log_density(z) + beta * field.log_tilt(z)

    close(log_q, field.base.log_density(z), 1e-14)
    close(log_p, tempered(z), 1e-14)
    close(gradient, finite_differences(tempered, z), 1e-5)
    close(responsibilities, field.metric.responsibilities(z), 1e-14)


def test_float32_network_keeps_the_base_in_float64(random_seed):
    field, z = random_field(2, random_seed), rows(20, 2, random_seed)
    narrow = [p.float() for p in field.parameters]
    single = ScoreField(field.base, field.decoder, narrow, field.metric)
    assert single.log_density(z).dtype == torch.float64
    base_error = single.log_density(z) - single.log_tilt(z) - field.base.log_density(z)
    assert base_error.abs().max() < 1e-12
    ratio_error = (single.log_tilt(z) - field.log_tilt(z)).abs().max()
    assert 0 < ratio_error < 1e-4


def test_code_is_the_input_of_the_head(random_seed):
    field, z = random_field(2, random_seed), rows(20, 2, random_seed)
    weight, bias = field.parameters[-2:]
    u = (field.code(z) @ weight + bias)[:, 0]
    expected = math.log1p(math.exp(4)) - torch.nn.functional.softplus(4 - u)
    close(field.log_tilt(z), expected, 1e-14)


# Reconstruction


@each_kind
def test_reconstruction_moves_along_the_score_in_the_metric(kind, random_seed):
    """r = z + tau C psi, by a loop over rows."""
    field, z = random_field(3, random_seed, kind), rows(20, 3, random_seed)
    psi = finite_differences(field.log_density, z)
    covariance = field.metric.covariance(field.metric.responsibilities(z))
    expected = [zi + field.tau * ci @ si for zi, ci, si in zip(z, covariance, psi, strict=True)]
    close(field.reconstruct(z), torch.stack(expected), 1e-5)


@each_kind
def test_reconstruct_moves_by_tau_times_the_vector_field(kind, random_seed):
    field, z = random_field(3, random_seed, kind), rows(20, 3, random_seed)
    close(z + field.tau * field.vector_field(z).detach(), field.reconstruct(z), 1e-12)


@each_kind
def test_vector_field_and_its_derivatives_do_not_depend_on_the_graph(kind, random_seed):
    field, z = random_field(3, random_seed, kind), rows(20, 3, random_seed)
    weight, found = field.parameters[0].requires_grad_(), []
    for vector_field in (field.vector_field, twice_differentiable(field)):
        moved = vector_field(z)
        found.append((moved.detach(), *torch.autograd.grad((moved**3).sum(), weight)))
    for own, other in zip(*found, strict=True):
        close(own, other, 1e-10)


@each_kind
@pytest.mark.parametrize("d", [1, 3])
def test_reconstruction_jacobian_equals_finite_differences(kind, d, random_seed):
    field, z = random_field(d, random_seed, kind), rows(20, d, random_seed)
    jacobian = field.reconstruction_jacobian(z)
    close(jacobian, finite_differences(field.reconstruct, z), 1e-5)


@each_kind
def test_contraction_of_the_field_is_the_norm_of_its_jacobian(kind, random_seed):
    field, z = random_field(2, random_seed, kind), rows(20, 2, random_seed)
    k = torch.arange(20) % len(field.metric.factors)
    factors, inverses = field.metric.factors[k], field.metric.inverse_transposes[k].mT
    penalty = contraction_penalty(
        partial(field.vector_field, create_graph=True), z, factors, inverses, field.tau
    )
    whitened = inverses @ field.reconstruction_jacobian(z) @ factors
    close(penalty.detach(), whitened.square().sum((1, 2)).mean(), 1e-12)


def test_contraction_reaches_the_parameters(random_seed):
    """Its derivative in a weight of the network, against finite differences."""
    field, z = random_field(2, random_seed), rows(10, 2, random_seed)
    k = torch.arange(10) % 3
    factors, inverses = field.metric.factors[k], field.metric.inverse_transposes[k].mT
    weight = field.parameters[0].requires_grad_()

    def penalty():
        return contraction_penalty(
            partial(field.vector_field, create_graph=True), z, factors, inverses, field.tau
        )

    (slope,) = torch.autograd.grad(penalty(), weight)
    values = []
    for shift in (1e-5, -2e-5):
        with torch.no_grad():
            weight[1, 2] += shift
        values.append(penalty().item())
    assert float(slope[1, 2]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-7)


def test_row_derivatives_keep_rows_apart(random_seed):
    z = rows(7, 3, random_seed).requires_grad_()
    a = rows(3, 2, random_seed + 1)
    slopes = row_derivatives(torch.sin(z @ a), z)
    expected = torch.cos(z @ a)[:, :, None] * a.T
    close(slopes, expected.detach(), 1e-14)


# Closed forms


def gaussian_field(d, seed, kind, tau):
    """A Gaussian base under the zero head."""
    base = random_mixture(d, 1, seed)
    parameters = random_parameters(d, (4,), seed, head=0.0)
    return ScoreField(base, GradientDecoder("silu", tau, None), parameters, NoiseMetric(base, kind))


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_gaussian_base_isotropic_noise(tau, random_seed):
    """The posterior of the clean row: r = z - tau (C + tau I)^-1 (z - mu), (C^-1 + I / tau)^-1."""
    field, z = gaussian_field(3, random_seed, "isotropic", tau), rows(20, 3, random_seed)
    mean, factor = field.base.means[0], field.base.factors[0]
    covariance, identity = factor @ factor.T, torch.eye(3).double()
    precision = torch.linalg.inv(covariance)
    shrinkage = torch.linalg.inv(covariance + tau * identity)
    close(field.reconstruct(z), z - tau * (z - mean) @ shrinkage, 1e-12)
    posterior = torch.linalg.inv(precision + identity / tau)
    close(field.local_covariance(z), posterior.expand(20, 3, 3), 1e-12)
    close(field.hessian(z), -precision.expand(20, 3, 3), 1e-12)


def test_gaussian_base_in_its_own_metric(random_seed):
    """C = C_1: r = z - tau / (1 + tau) (z - mu), local covariance tau / (1 + tau) C_1."""
    tau = 0.3
    field, z = gaussian_field(3, random_seed, "local", tau), rows(20, 3, random_seed)
    share = tau / (1 + tau)
    close(field.reconstruct(z), z - share * (z - field.base.means[0]), 1e-12)
    expected = share * field.metric.covariances[0]
    close(field.local_covariance(z), expected.expand(20, 3, 3), 1e-12)


def test_base_mixture_reconstructs_by_the_posterior_mean(random_seed):
    """Where q is the model: sum of w_k N(y; x, tau I) N(x; mu_k, C_k) x / the same without x."""
    base, tau = random_mixture(1, 3, random_seed), 0.2
    parameters = random_parameters(1, (4,), random_seed, head=0.0)
    metric = NoiseMetric(base, "isotropic")
    field, z = (
        ScoreField(base, GradientDecoder("silu", tau, None), parameters, metric),
        rows(9, 1, 3),
    )
    x = torch.linspace(-15, 15, 20001, dtype=torch.float64)
    weights = (base.log_density(x[:, None]) - (z - x).square() / (2 * tau)).softmax(1)
    mean = weights @ x
    close(field.reconstruct(z)[:, 0], mean, 1e-9)
    variance = (weights * (x - mean[:, None]).square()).sum(1)
    close(field.local_covariance(z)[:, 0, 0], variance, 1e-9)


@each_kind
def test_local_covariance_is_positive_semi_definite(kind, random_seed):
    """Also where tau C + tau^2 C H C, by finite differences of the gradient, is not."""
    field, z = random_field(2, random_seed, kind, head=3.0, tau=0.5), rows(200, 2, random_seed)
    found = field.local_covariance(z)
    torch.testing.assert_close(found, found.mT, rtol=0, atol=1e-12)
    assert torch.linalg.eigvalsh(found).min() > -1e-9
    covariance = field.metric.covariance(field.metric.responsibilities(z))
    hessian = finite_differences(lambda z: field.evaluate(z)[1], z)
    tweedie = field.tau * covariance + field.tau**2 * covariance @ hessian @ covariance
    positive = torch.linalg.eigvalsh(tweedie).min(dim=1).values > 1e-3
    assert 20 < positive.sum() < 200, "both kinds of row should occur"
    close(found[positive], tweedie[positive], 1e-5)


# The noise metric


def test_covariance_of_one_component_is_its_own(random_seed):
    base = random_mixture(3, 1, random_seed)
    z, metric = rows(5, 3, random_seed), NoiseMetric(base, "local")
    expected = (base.factors @ base.factors.mT).expand(5, 3, 3)
    close(metric.covariance(metric.responsibilities(z)), expected, 1e-14)


def test_isotropic_metric_is_the_identity(random_seed):
    z, metric = rows(5, 3, random_seed), NoiseMetric(random_mixture(3, 4, random_seed), "isotropic")
    responsibilities = metric.responsibilities(z)
    eye = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    assert torch.equal(metric.covariance(responsibilities), eye)
    k, weights = metric.draw(responsibilities, generator(random_seed))
    assert torch.equal(metric.factors[k], eye)
    assert torch.equal(metric.inverse_transposes[k], eye)
    assert torch.equal(weights, torch.ones(5, dtype=torch.float64))


def test_covariance_equals_a_loop_over_components(random_seed):
    """sum_k s_k C_k with s_k = r_k / sum_j r_j tr(C_j^-1 C_k) / d."""
    base, z = random_mixture(2, 3, random_seed), rows(10, 2, random_seed)
    metric = NoiseMetric(base, "local")
    covariances = (base.factors @ base.factors.mT).numpy()
    responsibilities = base.responsibilities(z).numpy()
    expected = np.zeros((10, 2, 2))
    for row, r in enumerate(responsibilities):
        for k in range(3):
            width = sum(
                r[j] * np.trace(np.linalg.solve(covariances[j], covariances[k])) / 2
                for j in range(3)
            )
            expected[row] += r[k] / width * covariances[k]
    close(metric.covariance(metric.responsibilities(z)), torch.as_tensor(expected), 1e-12)


def test_drawn_components_average_to_the_covariance(random_seed):
    """E[w_k C_k] = C(z), within 5 standard errors of the draws."""
    metric, n = NoiseMetric(random_mixture(2, 3, random_seed), "local"), 40_000
    for responsibilities in torch.softmax(rows(4, 3, random_seed), 1)[:, None]:
        k, weights = metric.draw(responsibilities.expand(n, -1), generator(random_seed))
        drawn = weights[:, None, None] * metric.covariances[k]
        bias = drawn.mean(0) - metric.covariance(responsibilities)[0]
        assert (bias.abs() <= 5 * drawn.std(0) / math.sqrt(n)).all()


def test_factors_and_inverse_transposes_belong_together(random_seed):
    metric = NoiseMetric(random_mixture(3, 4, random_seed), "local")
    product = metric.factors.mT @ metric.inverse_transposes
    close(product, torch.eye(3, dtype=torch.float64).expand(4, 3, 3), 1e-12)


def test_whitened_noise_keeps_its_size_however_wide_the_component():
    """E|C(z)^1/2 K_k^-T eps|^2 = d on average over k ~ r(z), for widths a thousandfold apart."""
    widths = np.array([1e-3, 0.1, 1.0])
    factors = widths[:, None, None] * np.eye(2)
    base = MixtureDensity(np.full(3, 1 / 3), np.zeros((3, 2)), factors, [INF] * 3)
    metric = NoiseMetric(base, "local")
    z = torch.tensor([[0.0, 0.0], [0.003, 0.0], [0.3, 0.1], [2.0, 1.0]], dtype=torch.float64)
    responsibilities = metric.responsibilities(z)
    covariance = metric.covariance(responsibilities)
    # E|C^1/2 K_k^-T eps|^2 = tr(C_k^-1 C)
    traces = (torch.linalg.inv(metric.covariances)[None] @ covariance[:, None]).diagonal(
        dim1=2, dim2=3
    )
    mean = (responsibilities * traces.sum(2)).sum(1)
    close(mean, torch.full((4,), 2.0, dtype=torch.float64), 1e-10)


def test_queries_leave_their_rows_as_they_were(random_seed):
    field, z = random_field(2, random_seed), rows(5, 2, random_seed)
    names = ("evaluate", "reconstruct", "reconstruction_jacobian", "local_covariance", "hessian")
    for name in names:
        getattr(field, name)(z)
        assert not z.requires_grad, name
