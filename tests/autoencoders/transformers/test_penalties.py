"""Each term of the objective against a closed form or a slow oracle."""

import math

import pytest
import torch

from skrae.autoencoders.activations import ACTIVATIONS
from skrae.autoencoders.transformers.fit.criterion import AutoEncoderCriterion, Objective, Terms
from skrae.autoencoders.transformers.maps.network import Architecture, Network
from skrae.autoencoders.transformers.terms.penalties import (
    deviations,
    elastic_stress,
    jacobian_contraction,
    kl_sparsity,
    l1_sparsity,
    layer_contraction,
    reconstruction_error,
    relative_stress,
)
from tests.autoencoders.transformers.random_parts import (
    ARCHITECTURES,
    assert_close,
    encoder_jacobian,
    normal,
    random_network,
)
from tests.mixtures.random_mixtures import generator

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)


def tracked(tensor):
    return tensor.clone().requires_grad_()


# --- reconstruction and sparsity ------------------------------------------------------------------


def test_reconstruction_error_is_one_minus_r_squared(random_seed):
    x, r = normal(30, 4, seed=random_seed), normal(30, 4, seed=random_seed + 1)
    x = x - x.mean(0)
    variance = float(x.var(0, correction=0).sum())
    r_squared = 1.0 - (x - r).square().sum() / x.square().sum()
    assert_close(reconstruction_error(x, r, variance), 1.0 - r_squared)


def test_l1_is_half_the_size_of_the_code_over_that_of_the_rows():
    code = torch.tensor([[1.0, -2.0], [0.0, 5.0]])
    assert float(l1_sparsity(code, 9.0)) == pytest.approx((3.0 + 5.0) / 2 / (2 * 3.0))


def test_gradient_of_l1_is_the_sign(random_seed):
    code = tracked(normal(7, 3, seed=random_seed))
    (gradient,) = torch.autograd.grad(l1_sparsity(code, 4.0), code)
    assert_close(gradient, code.detach().sign() / (2 * 2.0 * 7))


def sigmoid_code(n, k, target, seed):
    """A code in (0, 1) whose units have the mean activation `target` up to rounding."""
    code = 0.1 + 0.8 * torch.rand(n, k, generator=generator(seed), dtype=torch.float64)
    return code * (target / code.mean(0))


@pytest.mark.parametrize("target", [0.05, 0.25, 0.5])
def test_kl_is_exactly_zero_at_its_target(target, random_seed):
    assert float(kl_sparsity(torch.full((1, 3), target, dtype=torch.float64), target)) == 0.0
    assert abs(float(kl_sparsity(sigmoid_code(9, 4, target, random_seed), target))) < 1e-14


def test_kl_is_that_of_two_coins():
    """Means 0.1 and 0.5 at rho = 0.2, divided by the k rho units that may be active."""
    code = torch.tensor([[0.05, 0.5], [0.15, 0.5]], dtype=torch.float64)
    coins = [0.2 * math.log(0.2 / q) + 0.8 * math.log(0.8 / (1.0 - q)) for q in (0.1, 0.5)]
    assert float(kl_sparsity(code, 0.2)) == pytest.approx(sum(coins) / (2 * 0.2), rel=1e-12)


@pytest.mark.parametrize("target", [0.05, 0.3])
def test_gradient_of_kl_in_closed_form(target, random_seed):
    code = tracked(sigmoid_code(6, 4, 0.4, random_seed) * 0.9)
    (gradient,) = torch.autograd.grad(kl_sparsity(code, target), code)
    mean = code.detach().mean(0)
    expected = ((1 - target) / (1 - mean) - target / mean) / (6 * 4 * target)
    assert_close(gradient, expected.expand_as(code))


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_kl_of_units_that_are_all_off_or_all_on_is_finite(mean):
    value = float(kl_sparsity(torch.full((5, 2), mean, dtype=torch.float64), 0.1))
    assert math.isfinite(value)
    assert value > 1.0


# --- contraction ----------------------------------------------------------------------------------


@each_architecture
def test_pull_back_of_all_units_is_the_jacobian_of_the_encoder(architecture, random_seed):
    network, parameters = random_network(architecture, random_seed)
    x = normal(7, architecture.n_features, seed=random_seed + 1)
    code, slopes = network.encode_with_slopes(x, parameters)
    assert_close(code, network.encode(x, parameters))
    expected = encoder_jacobian(network, parameters, x)
    axes = torch.eye(architecture.n_components, dtype=x.dtype)
    found = [network.pull_back(axis.expand_as(code), slopes, parameters) for axis in axes]
    assert_close(torch.stack(found, 1), expected, 1e-10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_contraction_of_one_layer_is_that_of_its_jacobian(activation, random_seed):
    x, weight, bias = (normal(*shape, seed=random_seed) for shape in ((9, 4), (4, 3), (3,)))
    unit = ACTIVATIONS[activation]
    _, slopes = unit.value_and_slope(x @ weight + bias)
    scale = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    jacobians = torch.func.vmap(
        torch.func.jacrev(lambda row: unit.value(row @ weight + bias) / scale)
    )(x)
    found = layer_contraction(slopes, weight, scale)
    assert_close(found, jacobians.square().sum((1, 2)).mean())


@pytest.mark.parametrize("k", [1, 2])
def test_contraction_is_exact_for_up_to_two_units(k, random_seed):
    jacobian = normal(8, k, 5, seed=random_seed)

    def pull_back(v):
        return torch.einsum("nk,nkd->nd", v, jacobian)

    code = torch.zeros(8, k, dtype=torch.float64)
    found = jacobian_contraction(pull_back, code, generator(random_seed))
    assert_close(found, jacobian.square().sum((1, 2)).mean())


def hutchinson(jacobian, n_draws, seed):
    """Estimates of mean |J|^2, one a draw of directions for all rows."""
    code, draws = torch.zeros(jacobian.shape[:2], dtype=jacobian.dtype), generator(seed)

    def pull_back(v):
        return torch.einsum("nk,nkd->nd", v, jacobian)

    return torch.stack([jacobian_contraction(pull_back, code, draws) for _ in range(n_draws)])


def test_contraction_of_more_units_is_unbiased(random_seed):
    """Within 4 standard errors of a thousand estimates."""
    jacobian = normal(4, 3, 5, seed=random_seed)
    found = hutchinson(jacobian, 1000, random_seed)
    error = float(found.mean() - jacobian.square().sum((1, 2)).mean())
    assert float(found.std()) > 0.0
    assert abs(error) < 4.0 * float(found.std()) / math.sqrt(1000)


def test_signs_estimate_with_less_variance_than_normal_directions(random_seed):
    jacobian = normal(4, 3, 5, seed=random_seed)
    signs = hutchinson(jacobian, 1000, random_seed)
    v = normal(1000, 4, 3, seed=random_seed + 1)
    normals = torch.einsum("mnk,nkd->mnd", v, jacobian).square().sum(2).mean(1)
    # The variances of two times a thousand estimates err by some five percent each.
    assert float(signs.var()) < 0.8 * float(normals.var())


def terms_of(network, **options):
    objective = Objective(
        **{
            "noise": "gaussian",
            "noise_level": 0.0,
            "sparsity": "l1",
            "sparsity_weight": 0.0,
            "sparsity_target": 0.1,
            "encoder_contraction_weight": 0.0,
            "distance_weight": 0.0,
            "distance": "euclidean",
            "weight_decay": 0.0,
            "scales_code": False,
            **options,
        }
    )
    varies = torch.ones(network.architecture.n_features, dtype=torch.bool)
    return Terms(network, objective, 2.0, varies)


def with_longer_code(network, parameters, factor):
    """The same encoder, its last layer and linear path `factor` times as large."""
    longer = list(parameters)
    last = network.n_encoder - 2
    longer[last], longer[last + 1] = factor * longer[last], factor * longer[last + 1]
    path = network.path and (factor * network.path[0], network.path[1])
    return Network(network.architecture, network.units, path), longer


def contraction(network, parameters, x, scales_code, seed):
    terms = terms_of(network, encoder_contraction_weight=1.0, scales_code=scales_code)
    return float(terms.of_rows(parameters, x, x, None, generator(seed))["encoder_contraction"])


@pytest.mark.parametrize("sizes", [(), (6,), (6, 4)])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("factor", [1e-2, 0.3, 50.0])
def test_contraction_of_a_standardised_code_does_not_see_its_scale(sizes, k, factor, random_seed):
    architecture = Architecture(4, k, sizes, "tanh", "identity")
    network, parameters = random_network(architecture, random_seed)
    x = normal(40, 4, seed=random_seed + 2)
    longer = with_longer_code(network, parameters, factor)
    own, other = (
        contraction(*model, x, True, random_seed) for model in ((network, parameters), longer)
    )
    assert other == pytest.approx(own, rel=1e-6)
    own, other = (
        contraction(*model, x, False, random_seed) for model in ((network, parameters), longer)
    )
    assert other == pytest.approx(factor**2 * own, rel=1e-9)


@each_architecture
def test_contraction_term_is_that_of_the_code_given_out(architecture, random_seed):
    """Hutchinson's estimate within 4 standard errors of 300 of them; the others exactly."""
    network, parameters = random_network(architecture, random_seed)
    x = normal(12, architecture.n_features, seed=random_seed + 3)
    jacobian = encoder_jacobian(network, parameters, x)
    scale = deviations(network.encode(x, parameters))
    expected = float((jacobian / scale[:, None]).square().sum((1, 2)).mean())
    terms = terms_of(network, encoder_contraction_weight=1.0, scales_code=True)
    draws = generator(random_seed)
    found = torch.stack(
        [terms.of_rows(parameters, x, x, None, draws)["encoder_contraction"] for _ in range(300)]
    )
    is_exact = not architecture.hidden_layer_sizes or architecture.n_components <= 2
    error = 1e-9 * expected if is_exact else 4.0 * float(found.std()) / math.sqrt(300)
    assert abs(float(found.mean()) - expected) < error


def test_deviations_are_those_of_the_batch(random_seed):
    code = normal(50, 3, seed=random_seed) * torch.tensor([1.0, 1e-2, 1e3])
    assert_close(deviations(code), code.std(0, correction=0), 1e-7)
    assert deviations(torch.ones(4, 1)).item() > 0.0


# --- distances ------------------------------------------------------------------------------------


def distances(x):
    return torch.cdist(x, x)


def pairs_of(first, second):
    """(D, d) of all ordered pairs of different rows."""
    n = len(first)
    return [(float(first[i, j]), float(second[i, j])) for i in range(n) for j in range(n) if i != j]


def test_relative_stress_by_pairs(random_seed):
    rows, codes = (distances(normal(6, k, seed=random_seed)) for k in (4, 2))
    pairs = pairs_of(rows, codes)
    expected = sum((d - D) ** 2 for D, d in pairs) / sum(D**2 for D, _ in pairs)
    assert float(relative_stress(rows, codes)) == pytest.approx(expected, rel=1e-10)


def test_elastic_stress_by_pairs(random_seed):
    rows, codes = (distances(normal(6, k, seed=random_seed)) for k in (4, 2))
    pairs = pairs_of(rows, codes)
    expected = sum(((d - D) / D) ** 2 for D, d in pairs) / len(pairs)
    assert float(elastic_stress(rows, codes)) == pytest.approx(expected, rel=1e-10)


def test_elastic_stress_leaves_out_pairs_at_no_distance(random_seed):
    x, code = normal(6, 4, seed=random_seed), normal(6, 2, seed=random_seed + 1)
    twice = torch.tensor([0, 1, 2, 3, 4, 5, 5])
    rows, codes = distances(x)[twice][:, twice], distances(code)[twice][:, twice]
    pairs = [(D, d) for D, d in pairs_of(rows, codes) if D > 0.0]
    assert len(pairs) == 7 * 6 - 2
    expected = sum(((d - D) / D) ** 2 for D, d in pairs) / len(pairs)
    assert float(elastic_stress(rows, codes)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("stress", [relative_stress, elastic_stress])
def test_stress_of_a_scaled_copy_and_its_scale(stress, random_seed):
    rows = distances(normal(9, 3, seed=random_seed))
    assert float(stress(rows, rows)) == 0.0
    assert float(stress(rows, 1.5 * rows)) == pytest.approx(0.25, rel=1e-10)
    assert float(stress(7.0 * rows, 7.0 * 1.5 * rows)) == pytest.approx(0.25, rel=1e-10)


@pytest.mark.parametrize("stress", [relative_stress, elastic_stress])
def test_stress_of_a_batch_of_one_row_says_nothing(stress):
    """As of a batch that drew one row twice: it is 0, and so is its gradient."""
    code = tracked(torch.ones(2, 3))
    value = stress(torch.zeros(2, 2), distances(code))
    (gradient,) = torch.autograd.grad(value, code)
    assert value.item() == 0.0
    assert not gradient.any()


# --- which term an option means -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distance", "stress"), [("euclidean", relative_stress), ("geodesic", elastic_stress)]
)
def test_each_distance_has_its_stress(distance, stress, random_seed):
    network, parameters = random_network(ARCHITECTURES[4], random_seed)
    x, known = normal(9, 4, seed=random_seed), distances(normal(9, 3, seed=random_seed + 1))
    terms = terms_of(network, distance_weight=1.0, distance=distance)
    found = terms.of_rows(parameters, x, x, (x, known), generator(random_seed))["distance"]
    code = network.encode(x, parameters)
    assert_close(found, stress(known, torch.cdist(code, code)))


@pytest.mark.parametrize("noise", ["gaussian", "masking", "swap"])
def test_columns_that_do_not_vary_are_not_corrupted(noise, random_seed):
    network, _ = random_network(ARCHITECTURES[4], random_seed)
    objective = terms_of(network, noise=noise, noise_level=0.5).objective
    varies = torch.tensor([True, False, True, True])
    x = normal(30, 4, seed=random_seed) * varies
    noisy = Terms(network, objective, 2.0, varies).corrupt(x, generator(random_seed))
    assert torch.equal(noisy[:, 1], x[:, 1])
    assert not any(torch.equal(noisy[:, j], x[:, j]) for j in (0, 2, 3))


@pytest.mark.parametrize("weight", [0.0, 0.1])
def test_atoms_are_confined_where_a_sparsity_is_on(weight, random_seed):
    network, parameters = random_network(ARCHITECTURES[1], random_seed)
    terms = terms_of(network, sparsity_weight=weight)
    before = parameters[2].clone()
    AutoEncoderCriterion(terms, None, None, 0.0).confine(parameters)
    assert torch.equal(parameters[2], before) == (weight == 0.0)
    if weight:
        atoms = network.arrays(parameters)[0][1].norm(dim=1)
        assert_close(atoms, torch.full_like(atoms, network.units.atoms))
