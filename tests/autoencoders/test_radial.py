"""Radial units: their derivatives, the criterion by its definition, its optimum by theorems."""

import pytest
import torch

from skrae.autoencoders.radial import RadialUnits, contraction_terms, score_matching_terms
from tests.derivatives import finite_differences

M, D, N = 7, 3, 40


def draws(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture
def units():
    return RadialUnits(draws(M, D), 1.3)


def test_value_and_gradient_are_those_of_the_sum(units):
    z, a = draws(N, D, seed=1).requires_grad_(), draws(M, seed=2)
    value, gradient = units.value_and_gradient(z, a)
    by_hand = sum(
        a[j] * torch.exp(-(z - units.centres[j]).square().sum(1) / (2 * 1.3**2)) for j in range(M)
    )
    torch.testing.assert_close(value, by_hand)
    torch.testing.assert_close(gradient, torch.autograd.grad(by_hand.sum(), z)[0])


def test_slopes_curvatures_and_laplacians_of_each_unit(units):
    z = draws(N, D, seed=1)
    for j in range(M):
        unit = torch.eye(M, dtype=torch.float64)[j]
        _, gradient = units.value_and_gradient(z, unit)
        torch.testing.assert_close(units.slopes(z)[:, :, j].T, gradient)
        expected = finite_differences(lambda x, e=unit: units.value_and_gradient(x, e)[1], z)
        curvatures = units.curvatures(z)[:, :, :, j].permute(2, 0, 1)
        torch.testing.assert_close(curvatures, expected, atol=1e-7, rtol=0.0)
        trace = curvatures.diagonal(dim1=1, dim2=2).sum(1)
        torch.testing.assert_close(units.laplacians(z)[:, j], trace)


def test_terms_are_the_criterion(units):
    """a^T G a / 2 + b^T a is what a adds to the criterion, of any a."""
    z, weights, a = draws(N, D, seed=1), draws(N, seed=2).square(), draws(M, seed=3)
    share, weight, tau = 0.7, 0.3, 1.1
    pull, bend = -2.0 * z, -2.0 * torch.eye(D, dtype=torch.float64).expand(N, D, D)
    terms = score_matching_terms(units, z, weights, pull, share)
    terms = terms + contraction_terms(units, z, weights, bend, weight, tau)

    def criterion(coefficients):
        _, gradient = units.value_and_gradient(z, coefficients)
        hessian = bend + torch.einsum("cdnj,j->ncd", units.curvatures(z), coefficients)
        divergence = hessian.diagonal(dim1=1, dim2=2).sum(1)
        psi = (pull + gradient).square().sum(1)
        contraction = divergence / tau + 0.5 * hessian.square().sum((1, 2))
        return weights @ (0.5 * psi + share * divergence + weight * contraction)

    added = criterion(a) - criterion(torch.zeros_like(a))
    assert terms.mean(a) * float(weights.sum()) == pytest.approx(float(added), rel=1e-10)


def test_terms_of_parts_add_up(units):
    z, weights = draws(N, D, seed=1), draws(N, seed=2).square()
    whole = score_matching_terms(units, z, weights, -z)
    first, second = (
        score_matching_terms(units, z[part], weights[part], -z[part])
        for part in (slice(11), slice(11, None))
    )
    for found, expected in zip(first + second, whole, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close((whole - first).linear, second.linear)


def test_solution_is_the_minimum(units):
    z, weights = draws(N, D, seed=1), torch.ones(N, dtype=torch.float64)
    terms = score_matching_terms(units, z, weights, -z)
    penalty = units.penalty()
    best = terms.solved(penalty, 1e-3)
    size = 1e-3 * terms.gram.trace() / M

    def penalised(a):
        return terms.mean(a) * N + 0.5 * float(size * a @ penalty @ a)

    for seed in range(5):
        assert penalised(best + 1e-3 * draws(M, seed=seed)) > penalised(best)


@pytest.mark.parametrize(("noise_level", "contraction_weight"), [(0.4, 0.0), (0.0, 0.3)])
def test_optimum_on_normal_rows(noise_level, contraction_weight):
    """On N(0, 1) both denoising and contraction learn r(z) = z / (1 + tau), psi = -z / (1 + tau).

    The rows are the quantiles of the density that the criterion is over, so that the only error is
    that of the space of functions, over the base density N(0, 2).
    """
    tau = noise_level**2 + contraction_weight
    levels = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    z = torch.special.ndtri(levels)[:, None]
    y = (1.0 + noise_level**2) ** 0.5 * z
    units = RadialUnits(torch.linspace(-6.0, 6.0, 25, dtype=torch.float64)[:, None], 1.5)
    weights = torch.ones(len(z), dtype=torch.float64)
    terms = score_matching_terms(units, y, weights, -0.5 * y, noise_level**2 / tau)
    if contraction_weight:
        bends = torch.full((len(z), 1, 1), -0.5, dtype=torch.float64)
        terms = terms + contraction_terms(units, z, weights, bends, contraction_weight, tau)
    a = terms.solved(units.penalty(), 1e-6)
    middle = torch.linspace(-2.0, 2.0, 41, dtype=torch.float64)[:, None]
    psi = -0.5 * middle + units.value_and_gradient(middle, a)[1]
    torch.testing.assert_close(psi, -middle / (1.0 + tau), atol=1e-2, rtol=0.0)
