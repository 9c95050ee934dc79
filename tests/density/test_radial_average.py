"""The average of two energies: its identities, its derivatives, its mass and its draws."""

import numpy as np
import pytest
import torch

from skrae.autoencoders.radial import RadialUnits
from skrae.density.radial_average import (
    BOUND,
    RadialEnergy,
    RadialField,
    bounded,
    bounded_bend,
    bounded_slope,
)
from skrae.mixtures.mixture import MixtureDensity
from tests.density.random_fields import random_field
from tests.derivatives import finite_differences


def energy(share, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return RadialEnergy(
        share=share,
        offset=0.3,
        smooth=random_field(d, seed).base.blurred(3.0, local=True).arrays(),
        centres=rng.standard_normal((9, d)),
        width=1.2,
        coefficients=0.5 * rng.standard_normal(9),
    )


@pytest.fixture(params=["base", "network"])
def field(request):
    return random_field(2, 0, head=float(request.param == "network"))


@pytest.fixture
def z():
    return torch.randn(30, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def log_kernel(field, radial, z):
    """log p_k by its definition."""
    smooth = MixtureDensity(*radial.smooth).log_density(z)
    apart = z[:, None] - torch.as_tensor(radial.centres)
    units = torch.exp(-apart.square().sum(2) / (2.0 * radial.width**2))
    return smooth + units @ torch.as_tensor(radial.coefficients)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_average_by_its_definition(field, z, share):
    radial = energy(share)
    found = field.averaged(radial).log_density(z)
    log_q = field.base.log_density(z)
    u = share * (log_kernel(field, radial, z) - log_q - radial.offset)
    own = (1.0 - share) * field.log_tilt(z, log_q)
    torch.testing.assert_close(found, log_q + own + BOUND * torch.tanh(u / BOUND))


def test_average_is_the_geometric_mean_where_the_energies_agree(field, z):
    """log p~ - (1 - w) log q - w log p_k is one constant, up to the bound's third order."""
    field = random_field(2, 0, head=0.0)
    smooth = field.base.blurred(1e-3, local=True).arrays()
    radial = energy(0.5)._replace(coefficients=np.full(9, 1e-3), smooth=smooth, offset=0.0)
    found = field.averaged(radial).log_density(z)
    mean = 0.5 * (field.base.log_density(z) + log_kernel(field, radial, z))
    torch.testing.assert_close(found, mean, atol=1e-6, rtol=0.0)


def test_gradient_and_hessian(field, z):
    averaged = field.averaged(energy(0.5))
    _, gradient, _, _ = averaged.evaluate(z)
    by_differences = finite_differences(averaged.log_density, z)
    torch.testing.assert_close(gradient, by_differences, atol=1e-5, rtol=1e-5)
    hessian = finite_differences(lambda rows: averaged.evaluate(rows)[1], z)
    torch.testing.assert_close(averaged.hessian(z), hessian, atol=1e-5, rtol=1e-5)


def test_gradient_of_the_ratio(z):
    base = random_field(2, 0, head=0.0).base
    smooth, weights = base.blurred(2.0, local=True), torch.linspace(-1.0, 1.0, 5).double()
    radial = RadialField(smooth, RadialUnits(z[:5], 0.9), weights)
    log_q, pull, _ = base.evaluate(z)
    ratio, gradient = radial.ratio_and_gradient(z, log_q, pull)
    torch.testing.assert_close(ratio, radial.ratio(z, log_q))
    expected = finite_differences(lambda x: radial.ratio(x, base.log_density(x)), z)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-6)


def test_bound_and_its_derivatives():
    u = torch.linspace(-9.0, 9.0, 51, dtype=torch.float64)[:, None]
    assert bounded(u).abs().max() < BOUND
    slope = finite_differences(lambda x: bounded(x)[:, 0], u)[:, 0]
    torch.testing.assert_close(bounded_slope(u)[:, 0], slope, atol=1e-7, rtol=0.0)
    bend = finite_differences(lambda x: bounded_slope(x)[:, 0], u)[:, 0]
    torch.testing.assert_close(bounded_bend(u)[:, 0], bend, atol=1e-7, rtol=0.0)


def test_far_from_the_rows_the_tilt_is_bounded(field):
    averaged = field.averaged(energy(1.0))
    far = 1e6 * torch.eye(2, dtype=torch.float64)
    assert (averaged.log_tilt(far).abs() <= BOUND).all()


def test_reconstruction_blurs_the_base_alone(z):
    """Where no network has learned, r is the posterior mean under the blurred average."""
    field = random_field(2, 0, head=0.0)
    averaged = field.averaged(energy(0.5))
    blurred = field.base.blurred(field.tau, field.metric.kind == "local")
    assert torch.equal(averaged.corrupted.base.factors, blurred.factors)
    network = random_field(2, 0)
    averaged = network.averaged(energy(0.5))
    assert averaged.corrupted is averaged
