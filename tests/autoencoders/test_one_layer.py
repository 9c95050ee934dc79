"""Auto-encoders of one hidden layer: every closed form against automatic differentiation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skrae.autoencoders.activations import ACTIVATIONS
from skrae.autoencoders.one_layer import (
    confine,
    contraction,
    encode,
    jacobian,
    laplacian,
    reconstruct,
    reconstruction_and_contraction,
    tied_log_density,
)
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator

WITH_ENERGY = ["identity", "sigmoid", "tanh", "relu"]
WITHOUT_ENERGY = sorted(set(ACTIVATIONS) - set(WITH_ENERGY))

each_unit = pytest.mark.parametrize("activation", ACTIVATIONS)
each_energy = pytest.mark.parametrize("activation", WITH_ENERGY)
tied_and_untied = pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])


def rows(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def random_layer(d, k, seed, tied):
    """W, b, V or None, c with entries of order one."""
    draws = generator(seed)
    shapes = [(d, k), (k,), None if tied else (k, d), (d,)]
    to = {"generator": draws, "dtype": torch.float64}
    return [shape and torch.randn(*shape, **to) for shape in shapes]


def full_jacobian(z, layer, activation):
    """dr/dz of each row by automatic differentiation, differentiable again."""
    return torch.func.vmap(
        torch.func.jacrev(lambda row: reconstruct(row[None], *layer, activation)[0])
    )(z)


def assert_equal(found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


# --- hidden units ---------------------------------------------------------------------------------


def test_units_with_an_energy():
    assert [name for name, unit in ACTIVATIONS.items() if unit.integral] == WITH_ENERGY


@each_unit
def test_units_are_the_functions_of_their_names(activation):
    expected = getattr(torch.nn.functional, activation, lambda u: u)
    # An even number of points: relu has no curvature at 0. softplus of torch is linear beyond 20.
    u = torch.linspace(-19, 19, 400, dtype=torch.float64).requires_grad_()
    unit = ACTIVATIONS[activation]
    h, slope = unit.value_and_slope(u)
    assert_equal(h, expected(u), 1e-14)
    assert_equal(unit.value(u), h, 1e-14)
    (first,) = torch.autograd.grad(expected(u).sum(), u, create_graph=True)
    assert_equal(slope, first, 1e-14)
    second = torch.zeros_like(u)
    if activation not in ("relu", "identity"):
        (second,) = torch.autograd.grad(first.sum(), u)
    assert_equal(unit.curvature(u, h, slope), second, 1e-14)


@each_energy
def test_units_are_derivatives_of_their_integrals(activation):
    u = torch.linspace(-60, 60, 1001, dtype=torch.float64).requires_grad_()
    unit = ACTIVATIONS[activation]
    (slope,) = torch.autograd.grad(unit.integral(u).sum(), u)
    assert_equal(slope, unit.value(u), 1e-15)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_cosh_is_accurate_and_does_not_overflow(dtype):
    u = torch.tensor([-1e4, -50.0, -1.0, 0.0, 1.0, 50.0, 1e4], dtype=dtype)
    expected = torch.tensor([np.logaddexp(x, -x) - math.log(2) for x in u.tolist()], dtype=dtype)
    found = ACTIVATIONS["tanh"].integral(u)
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(found, expected, rtol=4 * eps, atol=4 * eps)


# --- closed forms ---------------------------------------------------------------------------------


@each_unit
@tied_and_untied
@pytest.mark.parametrize(("d", "k"), [(3, 5), (5, 3), (1, 1)])
def test_closed_forms_equal_automatic_differentiation(activation, tied, d, k, random_seed):
    z, layer = rows(7, d, random_seed), random_layer(d, k, random_seed + 1, tied)
    weights = layer[:3]
    expected = full_jacobian(z, layer, activation)
    assert_equal(jacobian(z, *weights, activation), expected)
    assert_equal(contraction(z, *weights, activation), expected.square().sum((1, 2)).mean())
    hessians = torch.func.vmap(
        torch.func.jacrev(lambda row: full_jacobian(row[None], layer, activation)[0])
    )(z)
    expected = hessians.diagonal(0, 2, 3).sum(2)
    assert_equal(laplacian(z, *weights, activation), expected)


@tied_and_untied
def test_reconstruct_decodes_the_code(tied, random_seed):
    z, (weight, bias, decoder, offset) = rows(7, 3, random_seed), random_layer(3, 5, 1, tied)
    code = torch.tanh(z @ weight + bias)
    assert_equal(encode(z, weight, bias, "tanh"), code)
    expected = code @ (weight.T if tied else decoder) + offset
    assert_equal(reconstruct(z, weight, bias, decoder, offset, "tanh"), expected)


@tied_and_untied
def test_jacobian_has_outputs_in_rows_by_finite_differences(tied, random_seed):
    z, layer = rows(7, 3, random_seed), random_layer(3, 5, random_seed + 1, tied)
    differences = finite_differences(lambda z: reconstruct(z, *layer, "sigmoid"), z)
    # Central differences err by step^2 r''' / 6 and by rounding, 1e-16 / step.
    assert_equal(jacobian(z, *layer[:3], "sigmoid"), differences, 1e-6)


# --- energy ---------------------------------------------------------------------------------------


@each_energy
def test_gradient_of_the_energy_is_r_less_z(activation, random_seed):
    z = (3.0 * rows(50, 4, random_seed)).requires_grad_()
    weight, bias, _, offset = random_layer(4, 6, random_seed + 1, tied=True)
    log_density = tied_log_density(z, weight, bias, offset, activation)
    (gradient,) = torch.autograd.grad(log_density.sum(), z)
    expected = reconstruct(z, weight, bias, None, offset, activation) - z
    assert_equal(gradient, expected)


def test_energy_of_relu_units_follows_its_formula():
    """At z = (2, -1): u = (2, -1, 1.5), H = (2, 0, 1.125), |z - c|^2 / 2 = (1 + 4) / 2."""
    z = torch.tensor([[2.0, -1.0]])
    weight = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    bias, offset = torch.tensor([0.0, 0.0, 0.5]), torch.tensor([1.0, 1.0])
    assert tied_log_density(z, weight, bias, offset, "relu").tolist() == [3.125 - 2.5]


@pytest.mark.parametrize("activation", WITHOUT_ENERGY)
def test_units_without_an_elementary_integral_have_no_energy(activation):
    weight, bias, _, offset = random_layer(2, 3, 0, tied=True)
    with pytest.raises(ValueError, match=f"{activation}.*relu.*sigmoid.*tanh"):
        tied_log_density(rows(3, 2, 0), weight, bias, offset, activation)


# --- confinement ----------------------------------------------------------------------------------


def clipped_by_svd(weight, limit):
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    return (left * values.clamp_max(math.sqrt(limit))) @ right


@given(
    d=st.integers(1, 6),
    k=st.integers(1, 6),
    limit=st.floats(0.05, 0.99),
    scale=st.floats(0.0, 5.0),
    seed=st.integers(0, 2**32 - 1),
)
def test_confine_clips_the_singular_values(d, k, limit, scale, seed):
    weight = scale * rows(d, k, seed)
    assert_equal(confine(weight, limit), clipped_by_svd(weight, limit), 1e-9)
    single = confine(weight.float(), limit)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), clipped_by_svd(weight, limit), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "weight",
    [torch.eye(3), torch.full((3, 3), 0.32), torch.zeros(2, 5), torch.full((2, 2), torch.nan)],
)
def test_confine_leaves_a_confined_weight_alone(weight):
    """All singular values below 0.99; or they are not numbers, which is the caller's to see."""
    weight = 0.99 * weight
    assert confine(weight, 1.0 - 1e-6) is weight


def test_confine_does_not_track_gradients():
    weight = (3.0 * torch.eye(2)).requires_grad_()
    assert not confine(weight, 0.9).requires_grad


@pytest.mark.parametrize("limit", [0.0, 1.0, 2.0, -0.5, math.nan])
def test_confine_refuses_a_limit_that_does_not_confine(limit):
    with pytest.raises(ValueError, match=r"Got limit=.*, expected a number between 0 and 1"):
        confine(torch.eye(2), limit)


def integral(layer, activation, d, half_width, step):
    """Integral of exp(-E) over a cube about 0, by the trapezoid rule (the edges count whole)."""
    weight, bias, _, offset = layer
    n_steps = round(half_width / step)
    axis = step * torch.arange(-n_steps, n_steps + 1, dtype=torch.float64)
    z = torch.cartesian_prod(*[axis] * d).reshape(-1, d)
    log_density = tied_log_density(z, weight, bias, offset, activation)
    return float(torch.logsumexp(log_density, 0).exp()) * step**d


def normal_mass(t):
    """Standard normal distribution function."""
    return 0.5 * math.erfc(-t / math.sqrt(2.0))


@pytest.mark.parametrize("bias", [-1.0, 0.5])
def test_confined_relu_unit_on_the_line_has_the_mass_of_two_half_gaussians(bias):
    """N(0, 1) below the kink, beyond it a Gaussian of variance v = 1 / (1 - w^2), mean w b v."""
    limit = 0.8
    weight = confine(torch.full((1, 1), 3.0, dtype=torch.float64), limit)
    w, v = math.sqrt(limit), 1.0 / (1.0 - limit)
    mean, kink = w * bias * v, -bias / w
    height = math.exp(0.5 * bias**2 + 0.5 * mean**2 / v) * math.sqrt(2.0 * math.pi * v)
    expected = math.sqrt(2.0 * math.pi) * normal_mass(kink)
    expected += height * normal_mass((mean - kink) / math.sqrt(v))
    bias, offset = torch.tensor([bias], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    found = integral((weight, bias, None, offset), "relu", 1, 40.0, 1e-3)
    # The trapezoid rule errs by step^2 / 12 of the jump of the second derivative at the kink.
    assert found == pytest.approx(expected, rel=1e-6)


@each_energy
@pytest.mark.parametrize("d", [1, 2])
def test_energy_is_integrable(activation, d, random_seed):
    """A cube of twice the width holds no more mass; relu units need confinement for that."""
    weight, bias, _, offset = random_layer(d, 5, random_seed, tied=True)
    weight, bias, widths = 2.0 * weight, 0.2 * bias, (30.0, 60.0)
    if activation == "relu":
        free = (weight, bias, None, offset)
        small, large = (integral(free, activation, d, width, 0.1) for width in (4.0, 8.0))
        assert large > 1e6 * small
        weight = confine(weight, 0.8)
    layer = (weight, bias, None, offset)
    small, large = (integral(layer, activation, d, width, 0.1) for width in widths)
    assert small == pytest.approx(large, rel=1e-9)


# --- the penalty and its derivatives --------------------------------------------------------------


def tracked(tensors):
    return [t if t is None else t.clone().requires_grad_() for t in tensors]


def naive(z, *layer):
    """r and the penalty by double automatic differentiation."""
    *layer, activation = layer
    norms = full_jacobian(z, layer, activation).square().sum((1, 2))
    return reconstruct(z, *layer, activation), norms.mean()


# d = 2 with many units takes another way to the same number than d = 9 with few.
SHAPES = [(7, 2, 24), (7, 2, 3), (5, 9, 4), (1, 1, 1)]


@each_unit
@tied_and_untied
@pytest.mark.parametrize(("n", "d", "k"), SHAPES)
@pytest.mark.parametrize("part", ["both", "reconstruction", "penalty"])
def test_penalty_and_derivatives_equal_double_autograd(
    activation, tied, n, d, k, part, random_seed
):
    layer, slopes = random_layer(d, k, random_seed, tied), rows(n, d, random_seed + 1)
    found = []
    for function in (reconstruction_and_contraction, naive):
        inputs = tracked([rows(n, d, random_seed + 2), *layer])
        r, penalty = function(*inputs, activation)
        total = {"both": 1.3 * penalty, "reconstruction": 0.0, "penalty": penalty}[part]
        if part != "penalty":
            total = total + (slopes * r.square()).sum()
        used = [t for t in inputs if t is not None]
        gradients = torch.autograd.grad(total, used, allow_unused=True)
        gradients = [
            torch.zeros_like(t) if g is None else g for t, g in zip(used, gradients, strict=True)
        ]
        found.append([r, penalty, *gradients])
    for own, expected in zip(*found, strict=True):
        assert_equal(own, expected, 1e-10)


@tied_and_untied
@pytest.mark.parametrize(("n", "d", "k"), SHAPES[:2])
def test_contraction_alone(tied, n, d, k, random_seed):
    layer, found = random_layer(d, k, random_seed, tied), []
    for function in (contraction, lambda *inputs: naive(*inputs[:4], 0 * inputs[0][0], "tanh")[1]):
        inputs = tracked([rows(n, d, random_seed + 2), *layer[:3]])
        penalty = function(*inputs, "tanh")
        gradients = torch.autograd.grad(penalty, [t for t in inputs if t is not None])
        found.append([penalty, *gradients])
    for own, expected in zip(*found, strict=True):
        assert_equal(own, expected, 1e-10)


@tied_and_untied
@pytest.mark.parametrize(("n", "d", "k"), SHAPES[:2])
def test_layout_in_memory_does_not_matter(tied, n, d, k, random_seed):
    """Weights that are transposes of others, and a gradient that is one number, expanded."""
    inputs, found = [rows(n, d, random_seed), *random_layer(d, k, random_seed, tied)], []
    for turn in (lambda t: t, lambda t: t if t.ndim < 2 else t.T.contiguous().T):
        turned = tracked([t if t is None else turn(t) for t in inputs])
        r, penalty = reconstruction_and_contraction(*turned, "tanh")
        used = [t for t in turned if t is not None]
        found.append([r, penalty, *torch.autograd.grad(r.sum() + penalty, used)])
    for own, expected in zip(*found, strict=True):
        assert_equal(own, expected)


@tied_and_untied
@pytest.mark.parametrize(("d", "k"), [(2, 24), (9, 40), (40, 8)])
def test_single_precision_agrees_with_double(tied, d, k, random_seed):
    layer, found = random_layer(d, k, random_seed, tied), []
    for dtype in (torch.float32, torch.float64):
        inputs = [t if t is None else t.to(dtype) for t in (rows(16, d, random_seed), *layer)]
        inputs = tracked([inputs[0], *[t if t is None else t / d**0.5 for t in inputs[1:]]])
        r, penalty = reconstruction_and_contraction(*inputs, "sigmoid")
        used = [t for t in inputs if t is not None]
        gradients = torch.autograd.grad(r.square().mean() + penalty, used)
        assert {t.dtype for t in (r, penalty, *gradients)} == {dtype}
        found.append([t.detach().double() for t in (r, penalty, *gradients)])
    for single, double in zip(*found, strict=True):
        # Sums of up to n k = 640 terms, rounded to 6e-8 each.
        assert float((single - double).abs().max()) <= 1e-5 * float(double.abs().max())


@each_unit
@tied_and_untied
def test_gradcheck(activation, tied, random_seed):
    inputs = tracked([rows(4, 3, random_seed), *random_layer(3, 8, random_seed + 1, tied)])
    assert torch.autograd.gradcheck(
        lambda *inputs: reconstruction_and_contraction(*inputs, activation), inputs
    )
