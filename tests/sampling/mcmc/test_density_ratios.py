"""Log density ratios: closed forms, antisymmetry, orders of the errors of expansions."""

import numpy as np
import pytest
import torch

from skrae.sampling.mcmc.density_ratios import (
    DENSITY_RATIOS,
    PathIntegral,
    exact,
    first_order,
    second_order,
)
from skrae.sampling.mcmc.kernels import State
from tests.density.random_fields import random_field
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, random_mixture

CURL = torch.tensor([[-1.0, 2.0], [-0.5, -0.7]], dtype=torch.float64)


class Field:
    """A score psi, with or without a density of which it is the gradient."""

    def __init__(self, score, log_density=lambda z: torch.zeros_like(z[:, 0])):
        self.gradient, self.log_density = score, log_density

    def __call__(self, z):
        n = len(z)
        return State(z, self.log_density(z), self.gradient(z), z.new_zeros(n), z.new_ones(n, 1))

    def hessian(self, z):
        return finite_differences(self.gradient, z)


def mixture():
    density = random_mixture(2, 3, seed=0)
    return Field(lambda z: density.evaluate(z)[1], density.log_density)


def network():
    field = random_field(2, seed=0)
    return Field(lambda z: field.evaluate(z)[1], field.log_density)


def constant():
    slope = torch.tensor([0.3, -1.2], dtype=torch.float64)
    return Field(lambda z: slope.expand_as(z), lambda z: z @ slope)


def linear():
    """The score of a Gaussian that is neither centred nor round."""
    precision = torch.tensor([[2.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
    centre = torch.tensor([0.4, -1.0], dtype=torch.float64)
    return Field(
        lambda z: -(z - centre) @ precision,
        lambda z: -0.5 * ((z - centre) @ precision * (z - centre)).sum(1),
    )


def whirl():
    """psi(z) = A z with A not symmetric: the gradient of no density."""
    return Field(lambda z: z @ CURL.T)


def swirl():
    """Neither linear nor conservative."""
    return Field(lambda z: torch.sin(z.flip(1)) * z)


def two_states(target, n, seed, distance=None):
    """States at x, drawn from N(0, I), and at y: drawn likewise, or at this distance from x."""
    x, y = torch.randn(2, n, 2, generator=generator(seed), dtype=torch.float64)
    if distance is not None:
        y = x + distance * y / y.norm(dim=1, keepdim=True)
    return target(x), target(y)


def there_and_back(ratio, target, seed):
    old, new = two_states(target, 200, seed)
    there, back = ratio(old, new, target), ratio(new, old, target)
    assert there.shape == (200,)
    assert there.abs().mean() > 0.1
    return there, back


FIELDS = [mixture, network, constant, linear, whirl, swirl]
ANTISYMMETRIC = [
    *((ratio, field) for ratio in ("exact", "path") for field in FIELDS),
    ("first_order", constant),
    ("second_order", constant),
    ("second_order", linear),
    ("second_order", whirl),
]


@pytest.mark.parametrize(("name", "field"), ANTISYMMETRIC)
def test_log_density_ratio_is_antisymmetric(name, field, random_seed):
    if name == "exact" and field in (whirl, swirl):
        field = mixture  # no density to tell
    there, back = there_and_back(DENSITY_RATIOS[name], field(), random_seed)
    torch.testing.assert_close(back, -there, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "field"),
    [("first_order", linear), ("first_order", mixture), ("second_order", mixture)],
)
def test_expansion_about_one_end_is_not_antisymmetric_where_it_is_not_exact(
    name, field, random_seed
):
    there, back = there_and_back(DENSITY_RATIOS[name], field(), random_seed)
    assert (back + there).abs().mean() > 0.1


@pytest.mark.parametrize("field", [mixture, network, constant, linear])
def test_path_integral_of_a_score_is_the_difference_of_log_densities(field, random_seed):
    target = field()
    old, new = two_states(target, 200, random_seed)
    expected = target.log_density(new.position) - target.log_density(old.position)
    assert torch.equal(exact(old, new, target), expected)
    found = PathIntegral(160)(old, new, target)
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-8)
    near = two_states(target, 200, random_seed, distance=0.2)
    torch.testing.assert_close(
        PathIntegral()(*near, target), exact(*near, target), atol=1e-8, rtol=1e-8
    )


@pytest.mark.parametrize("n_nodes", [1, 2, 8])
def test_path_integral_of_a_linear_field_is_its_mean_at_the_ends(n_nodes, random_seed):
    """int psi(x + t s) . s dt = s . A (x + y) / 2, whether A is symmetric or not."""
    target = whirl()
    old, new = two_states(target, 50, random_seed)
    x, y = old.position, new.position
    expected = ((y - x) * (0.5 * (x + y) @ CURL.T)).sum(1)
    torch.testing.assert_close(PathIntegral(n_nodes)(old, new, target), expected)
    torch.testing.assert_close(second_order(old, new, target), expected, atol=1e-8, rtol=1e-8)


def ridge(degree):
    """The score of log p(z) = (a . z)^degree."""
    a = torch.tensor([0.8, -0.5], dtype=torch.float64)
    return Field(
        lambda z: degree * (z @ a)[:, None] ** (degree - 1) * a, lambda z: (z @ a) ** degree
    )


@pytest.mark.parametrize("n_nodes", [1, 2, 3, 5])
def test_path_integral_is_exact_for_scores_of_degree_below_twice_its_nodes(n_nodes, random_seed):
    """And for none beyond."""
    for degree in range(1, 2 * n_nodes + 1):
        target = ridge(degree)
        states = two_states(target, 50, random_seed)
        found, expected = PathIntegral(n_nodes)(*states, target), exact(*states, target)
        torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    target = ridge(2 * n_nodes + 1)
    states = two_states(target, 50, random_seed)
    errors = PathIntegral(n_nodes)(*states, target) - exact(*states, target)
    assert errors.abs().max() > 1e-4


def test_path_integral_adds_up_along_a_line(random_seed):
    """x to y and on to w equals x to w; for a field without a density too."""
    target, path = swirl(), PathIntegral(32)
    old, new = two_states(target, 50, random_seed)
    middle = target(0.3 * old.position + 0.7 * new.position)
    parts = path(old, middle, target) + path(middle, new, target)
    torch.testing.assert_close(path(old, new, target), parts, atol=1e-9, rtol=0)


def test_path_integral_asks_for_the_score_alone(random_seed):
    """Its nodes are all on the segment, at one call."""
    inner, asked = mixture(), []

    class ScoreOnly:
        def gradient(self, z):
            asked.append(z)
            return inner.gradient(z)

    old, new = two_states(inner, 20, random_seed)
    unknown = [s._replace(log_density=torch.full((20,), torch.nan)) for s in (old, new)]
    found = PathIntegral(5)(*unknown, ScoreOnly())
    assert torch.equal(found, PathIntegral(5)(old, new, inner))
    (points,) = asked
    x, s = old.position, new.position - old.position
    t = ((points.reshape(5, 20, 2) - x) * s).sum(2) / s.square().sum(1)
    torch.testing.assert_close(points.reshape(5, 20, 2), x + t[:, :, None] * s)
    nodes = np.polynomial.legendre.leggauss(5)[0]
    torch.testing.assert_close(t, torch.as_tensor(0.5 + 0.5 * nodes)[:, None].expand(5, 20))


@pytest.mark.parametrize(("ratio", "factor"), [(first_order, 4.0), (second_order, 8.0)])
@pytest.mark.parametrize("field", [mixture, network])
def test_halving_the_step_divides_the_error_of_an_expansion(field, ratio, factor, random_seed):
    """The error of first order falls with |y - x|^2, that of second order with |y - x|^3."""
    target = field()

    def error(distance):
        states = two_states(target, 500, random_seed, distance)
        return float((ratio(*states, target) - exact(*states, target)).abs().mean())

    assert error(0.02) / error(0.01) == pytest.approx(factor, rel=0.06)


@pytest.mark.parametrize(
    ("ratio", "field"), [(first_order, constant), (second_order, constant), (second_order, linear)]
)
def test_expansion_is_exact_for_its_own_order(ratio, field, random_seed):
    target = field()
    states = two_states(target, 100, random_seed)
    torch.testing.assert_close(ratio(*states, target), exact(*states, target), atol=1e-8, rtol=1e-8)


def test_first_order_is_the_slope_at_the_start(random_seed):
    """Closed form for a Gaussian: exact plus (y - x)^T P (y - x) / 2; second order takes it off."""
    target = linear()
    old, new = two_states(target, 100, random_seed)
    step = new.position - old.position
    excess = -0.5 * torch.einsum("ni,nij,nj->n", step, target.hessian(old.position), step)
    found = first_order(old, new, target) - exact(old, new, target)
    torch.testing.assert_close(found, excess, atol=1e-8, rtol=1e-8)


def test_second_order_takes_both_derivatives_at_the_start(random_seed):
    """Of (a . z)^3 = u^3: 3 u^2 v + 3 u v^2 for the step v = a . (y - x)."""
    target, a = ridge(3), torch.tensor([0.8, -0.5], dtype=torch.float64)
    old, new = two_states(target, 100, random_seed)
    u, v = old.position @ a, (new.position - old.position) @ a
    expected = 3 * u**2 * v + 3 * u * v**2
    torch.testing.assert_close(second_order(old, new, target), expected, atol=1e-7, rtol=1e-7)


def test_every_density_ratio_has_its_name():
    assert {
        "exact": exact,
        "path": PathIntegral(32),
        "first_order": first_order,
        "second_order": second_order,
    } == DENSITY_RATIOS
