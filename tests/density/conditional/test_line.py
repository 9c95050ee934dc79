"""Mixtures along lines and tilts of them, beside scipy's laws and quadrature."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import integrate, stats

from skrae.density.conditional.line import lines_of, student_cdf
from skrae.density.conditional.tilted import TiltedLine, between_nodes, smoothed

INF = np.inf
PARTS = (  # weight, location, scale, dof of two rows
    [(0.5, -1.0, 0.3, INF), (0.3, 2.0, 1.0, INF), (0.2, 0.0, 2.0, 4.0)],
    [(0.9, 0.0, 1e-3, INF), (0.1 - 1e-6, 5.0, 1.0, INF), (1e-6, 0.0, 3.0, 4.0)],
)


def component(location, scale, dof):
    return stats.norm(location, scale) if dof == INF else stats.t(dof, location, scale)


def line():
    weights, locations, scales, dofs = torch.from_numpy(np.array(PARTS)).permute(2, 0, 1)
    ((index, found),) = lines_of(weights.log(), locations, scales, dofs[0])
    assert index.tolist() == [0, 1]
    return found


def oracle(row, function, t):
    return sum(w * getattr(component(*rest), function)(t) for w, *rest in PARTS[row])


@pytest.mark.parametrize("nu", [1, 2, 3, 4, 9, 16])
def test_distribution_function_of_a_t_is_a_finite_sum(nu):
    s = np.linspace(-40.0, 40.0, 801)
    assert_allclose(student_cdf(s, np.array([float(nu)])), stats.t(nu).cdf(s), atol=1e-15)


def test_a_line_is_its_mixture():
    t = np.tile(np.linspace(-6.0, 8.0, 33), (2, 1))
    density, below = line().density_and_cdf(torch.from_numpy(t)).numpy()
    log_density = line().log_density(torch.from_numpy(t)).numpy()
    for row in range(2):
        assert_allclose(density[row], oracle(row, "pdf", t[row]), rtol=1e-10)
        assert_allclose(below[row], oracle(row, "cdf", t[row]), atol=1e-14)
        assert_allclose(log_density[row], np.log(oracle(row, "pdf", t[row])), rtol=1e-10)


def test_moments_up_to_a_place():
    t = torch.tensor([[-1.5, 0.4, 3.0]] * 2).double()
    moments = line().cdf_and_moment(t)[1].numpy()
    for place, found in zip(t[0], moments[0], strict=True):
        expected = integrate.quad(lambda s: s * oracle(0, "pdf", s), -np.inf, float(place))[0]
        assert_allclose(found, expected, atol=1e-7)


def test_components_without_weight_are_left_out():
    weights = torch.from_numpy(np.array([[1.0 - 1e-15, 1e-15]])).repeat(1, 16) / 16
    ((_, found),) = lines_of(
        weights.log(), *torch.ones(2, 1, 32, dtype=torch.float64), torch.full((32,), INF)
    )
    assert found.parts[0].weights.shape == (1, 16)


def tilted(slope):
    found = line()
    nodes = found.nodes(128)
    return TiltedLine(found, *between_nodes(nodes, 2.0 * torch.tanh(slope * nodes)))


def test_without_a_tilt_the_law_is_the_line():
    law = tilted(0.0)
    assert_allclose(law.log_z, 0.0, atol=1e-14)
    t = torch.linspace(-6.0, 8.0, 33).double().repeat(2, 1)
    assert_allclose(law.cdf(t), line().cdf(t), atol=1e-14)
    assert_allclose(
        law.mean(law.nodes, law.nodes, torch.ones_like(law.nodes)), line().mean(), atol=1e-12
    )
    assert_allclose(law.between(t), 0.0, atol=1e-14)


@pytest.mark.parametrize("slope", [0.0, 0.6, -0.3])
def test_quantiles_invert_the_distribution_function(slope):
    q = torch.from_numpy(np.array([[1e-6, 0.01, 0.3, 0.5, 0.93, 0.999, 1.0 - 1e-6]] * 2))
    law = tilted(slope)
    t = law.quantile(q)
    assert_allclose(law.cdf(t), q, atol=1e-11)
    assert (t.diff() > 0.0).all()
    ends = law.quantile(torch.tensor([[0.0, 1.0]] * 2).double())
    assert ends.tolist() == [[-INF, INF]] * 2


def test_a_tilted_line_is_the_tilted_density():
    """Against quadrature; the straight pieces of exp f leave an error of 1e-4."""
    law, slope = tilted(0.6), 0.6
    for row in range(2):

        def density(s, row=row):
            return oracle(row, "pdf", s) * np.exp(2.0 * np.tanh(slope * s))

        edges = [-900.0, -8.0, -0.01, 0.01, 1.0, 8.0, 900.0]
        pieces = [integrate.quad(density, a, b, limit=200)[0] for a, b in pairwise(edges)]
        total = sum(pieces)
        assert_allclose(law.log_z[row], np.log(total), atol=1e-4)
        place = torch.tensor([[1.0], [1.0]]).double()
        assert_allclose(law.cdf(place)[row, 0], sum(pieces[:4]) / total, atol=1e-4)
        firsts = [
            integrate.quad(lambda s: s * density(s), a, b, limit=200)[0] for a, b in pairwise(edges)
        ]
        mean = law.mean(law.nodes, law.nodes, torch.ones_like(law.nodes))[row]
        assert_allclose(mean, sum(firsts) / total, atol=1e-3)


def test_a_tilt_that_is_straight_in_u_is_exact():
    found = line()
    nodes = found.nodes(64)
    law = TiltedLine(found, nodes, torch.log1p(found.cdf(nodes)))
    # Beyond the outer nodes the tilt is level: they lie at 1e-8.
    assert_allclose(law.log_z, np.log(1.5), atol=1e-9)
    u = found.cdf(torch.full((2, 1), 0.3, dtype=torch.float64))
    below = law.cdf(torch.full((2, 1), 0.3, dtype=torch.float64))
    assert_allclose(below, (u + 0.5 * u**2) / 1.5, atol=1e-7)


def test_nodes_lie_where_many_light_components_do():
    """Two hundred of equal weight, of which a few place the nodes."""
    locations = torch.linspace(-5.0, 5.0, 208, dtype=torch.float64)[None]
    dofs = torch.full((208,), INF)
    dofs[200:] = 3.0
    weights = torch.full((1, 208), 1.0 / 208, dtype=torch.float64)
    ((_, found),) = lines_of(weights.log(), locations, torch.full_like(locations, 0.3), dofs)
    u = found.cdf(found.nodes(128))[0]
    assert u[0] < 1e-4
    assert u[-1] > 1.0 - 1e-4
    assert u.diff().max() < 0.05


def test_smoothing_keeps_lines_and_lowers_noise(random_seed):
    z = torch.linspace(-4.0, 4.0, 64, dtype=torch.float64).repeat(2, 1)
    assert_allclose(smoothed(z, 1.0 + 0.5 * z), 1.0 + 0.5 * z, atol=0.01)
    noise = np.random.default_rng(random_seed).standard_normal((2, 64))
    # Of eight values nearby each: a third of the deviation, within five standard errors.
    assert smoothed(z, torch.from_numpy(noise)).std() < 0.6
