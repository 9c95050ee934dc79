"""The bounded head: value, gradient and their derivatives against automatic differentiation."""

import math

import pytest
import torch

from skrae.autoencoders.layers import (
    ACTIVATIONS,
    HEAD_BOUND,
    MAX_SLOPE,
    differentiable_value_and_gradient,
    encode,
    hessian,
    initial_parameters,
    localise_first_layer,
    value,
    value_and_gradient,
)
from tests.autoencoders.random_networks import random_parameters
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator

TOP = math.log1p(math.exp(HEAD_BOUND))

each_activation = pytest.mark.parametrize("activation", ACTIVATIONS)
each_depth = pytest.mark.parametrize("sizes", [(), (5,), (7, 4), (6, 5, 8)], ids=len)


def rows(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def tracked(tensors):
    return [t.clone().requires_grad_() for t in tensors]


@each_activation
@each_depth
def test_value_and_gradient_equal_automatic_differentiation(activation, sizes, random_seed):
    parameters = random_parameters(3, sizes, random_seed)
    z = rows(20, 3, random_seed).requires_grad_()
    f, gradient = value_and_gradient(z, parameters, activation)
    expected, slopes = differentiable_value_and_gradient(z, parameters, activation)
    torch.testing.assert_close(f, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, slopes, rtol=0, atol=1e-12)
    torch.testing.assert_close(value(z, parameters, activation), f, rtol=0, atol=1e-14)


@each_activation
@each_depth
def test_hessian_is_the_derivative_of_the_gradient(activation, sizes, random_seed):
    parameters = random_parameters(3, sizes, random_seed)
    z = rows(20, 3, random_seed)
    found = hessian(z, parameters, activation)
    expected = finite_differences(lambda x: value_and_gradient(x, parameters, activation)[1], z)
    if activation != "relu":  # whose kinks a difference may step over
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found, found.mT)


@each_activation
@each_depth
def test_value_and_gradient_are_the_same_where_nothing_is_differentiated(
    activation, sizes, random_seed
):
    parameters, z = random_parameters(3, sizes, random_seed), rows(20, 3, random_seed)
    before = [z.clone(), *(p.clone() for p in parameters)]
    with torch.no_grad():
        found = value_and_gradient(z, parameters, activation)
    expected = value_and_gradient(z, parameters, activation)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=0, atol=1e-13)
    assert all(map(torch.equal, [z, *parameters], before)), "in place of temporaries alone"


@each_activation
@each_depth
def test_derivatives_of_value_and_gradient_equal_double_autograd(activation, sizes, random_seed):
    """Of an arbitrary weighted sum of f and grad f, in the parameters and in z."""
    z = rows(20, 3, random_seed)
    value_weight = rows(20, 1, random_seed + 1)[:, 0]
    gradient_weight = rows(20, 3, random_seed + 2)
    found = []
    for function in (value_and_gradient, differentiable_value_and_gradient):
        inputs = tracked([z, *random_parameters(3, sizes, random_seed, head=2.0)])
        f, gradient = function(inputs[0], inputs[1:], activation)
        total = value_weight @ f + (gradient_weight * gradient).sum()
        found.append(torch.autograd.grad(total, inputs))
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


@each_activation
@pytest.mark.parametrize("part", [0, 1], ids=["value", "gradient"])
def test_derivatives_of_one_output_alone(activation, part, random_seed):
    """The other output then reaches the backward sweep with no weight of its own."""
    found = []
    for function in (value_and_gradient, differentiable_value_and_gradient):
        inputs = tracked([rows(9, 2, random_seed), *random_parameters(2, (5, 4), random_seed)])
        output = function(inputs[0], inputs[1:], activation)[part]
        found.append(torch.autograd.grad(output.square().sum(), inputs, allow_unused=True))
    for own, expected in zip(*found, strict=True):
        expected = torch.zeros_like(own) if expected is None else expected
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


@each_activation
def test_gradient_equals_finite_differences(activation, random_seed):
    parameters = random_parameters(4, (6, 5), random_seed)
    z = rows(15, 4, random_seed)
    differences = finite_differences(lambda z: value(z, parameters, activation), z)
    gradient = value_and_gradient(z, parameters, activation)[1]
    # Central differences err by step^2 f''' / 6 and by rounding, 1e-16 / step.
    torch.testing.assert_close(gradient, differences, rtol=0, atol=1e-6)


@each_activation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_initial_head_is_exactly_zero(activation, dtype, random_seed):
    draws = generator(random_seed)
    parameters = [p.to(dtype) for p in initial_parameters(3, (8, 8), draws)]
    z = 100 * rows(50, 3, random_seed).to(dtype)
    f, gradient = value_and_gradient(z, parameters, activation)
    assert torch.equal(f, torch.zeros_like(f))
    assert torch.equal(gradient, torch.zeros_like(gradient))
    assert encode(z, parameters, activation).std() > 0.1, "the code itself is not constant"


def test_initial_weights_keep_the_size_of_their_inputs(random_seed):
    """Weights of variance 1 / n_in; 5 standard errors of a mean of squares, sqrt(2 / n)."""
    parameters = initial_parameters(50, (200, 100), generator(random_seed))
    shapes = [(50, 200), (200,), (200, 100), (100,), (100, 1), (1,)]
    assert [tuple(p.shape) for p in parameters] == shapes
    for weight in parameters[0:4:2]:
        squares = len(weight) * float(weight.square().mean())
        assert abs(squares - 1) < 5 * math.sqrt(2 / weight.numel())


def test_initial_parameters_follow_the_generator():
    twice = [initial_parameters(3, (4,), generator(seed)) for seed in (5, 5, 6)]
    assert all(torch.equal(a, b) for a, b in zip(twice[0], twice[1], strict=True))
    assert not torch.equal(twice[0][0], twice[2][0])


@each_activation
def test_head_is_bounded_above_and_not_below(activation, random_seed):
    parameters = random_parameters(3, (6,), random_seed)
    parameters[-2] = torch.tensor([30.0, -30.0], dtype=torch.float64).repeat(3)[:, None]
    z = 1e4 * rows(400, 3, random_seed)
    f, gradient = value_and_gradient(z, parameters, activation)
    assert f.max() <= TOP
    assert torch.isfinite(gradient).all()
    assert f.max() > TOP - 1e-6, "no row reaches the bound"
    assert f.min() < -10, "no row shows that the head is free below"


def test_head_follows_its_formula():
    """f = softplus(c) - softplus(c - u) at the code u itself: one weight 1, no hidden layer."""
    u = torch.linspace(-30, 30, 61, dtype=torch.float64)
    parameters = [torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)]
    expected = math.log1p(math.exp(HEAD_BOUND)) - torch.log1p(torch.exp(HEAD_BOUND - u))
    f, gradient = value_and_gradient(u[:, None], parameters, "tanh")
    # softplus is linear beyond 20 in torch, an error of exp(-20).
    torch.testing.assert_close(f, expected, rtol=0, atol=3e-9)
    slope = 1 / (1 + torch.exp(u - HEAD_BOUND))
    torch.testing.assert_close(gradient[:, 0], slope, rtol=0, atol=1e-14)


def test_encode_is_the_composition_of_its_layers(random_seed):
    parameters = random_parameters(3, (5, 4), random_seed)
    z = rows(10, 3, random_seed)
    w1, b1, w2, b2 = parameters[:4]
    expected = torch.tanh(torch.tanh(z @ w1 + b1) @ w2 + b2)
    torch.testing.assert_close(encode(z, parameters, "tanh"), expected, rtol=0, atol=1e-14)


def test_localised_units_change_at_their_rows_at_the_local_scale(random_seed):
    """K = 0.1 I: w = 10 xi / sqrt(d), and w.z_i + b is N(0, 0.25) at the unit's own row."""
    rule = torch.Generator().manual_seed(random_seed)
    start = initial_parameters(2, (4000, 5), rule)
    rows = 3.0 * torch.randn(3000, 2, generator=rule)
    whiteners = torch.full((3000,), 10.0)[:, None, None] * torch.eye(2)
    found = localise_first_layer(start, rows, whiteners, "silu", rule)
    weight, bias = found[0], found[1]
    slopes = weight[:, :2000]
    assert float(slopes.norm(dim=0).max()) <= MAX_SLOPE * (1.0 + 1e-6)
    free = slopes[:, slopes.norm(dim=0) < 0.99 * MAX_SLOPE]
    assert abs(float(free.mean())) < 5.0 * 10.0 / math.sqrt(2.0 * free.numel())
    at_row = (slopes.T * rows[:2000]).sum(1) + bias[:2000]
    assert abs(float(at_row.mean())) < 5.0 * 0.5 / math.sqrt(2000)
    assert abs(float(at_row.std()) - 0.5) < 5.0 * 0.5 / math.sqrt(2 * 2000)
    assert torch.equal(weight[:, 2000:], start[0][:, 2000:])
    assert torch.equal(bias[2000:], start[1][2000:])
    # What a unit sends on has the same deviation over the rows, unless it is below the floor.
    deviations = encode(rows, [weight, bias, *found[-2:]], "silu").std(0)
    ratio = (deviations[:, None] * found[2] / start[2])[deviations > 2e-3]
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0, 0])))
    assert not any(p.any() for p in found[-2:])
