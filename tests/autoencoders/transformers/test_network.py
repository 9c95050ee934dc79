"""Encoder and decoder: against a loop over their layers, and how they start."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from skrae.autoencoders.activations import ACTIVATIONS
from skrae.autoencoders.transformers.maps.linear import linear_path
from skrae.autoencoders.transformers.maps.network import LEAST_UNIT, Architecture, started
from tests.autoencoders.transformers.estimators import MEMBERS, bent_sheet, member
from tests.autoencoders.transformers.random_parts import (
    ARCHITECTURES,
    assert_close,
    normal,
    random_network,
)
from tests.mixtures.random_mixtures import generator

each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)


def activated(name, u):
    return ACTIVATIONS[name].value(torch.from_numpy(u)).numpy()


def through(layers, z, activation):
    """Layers (W, b) in turn, activations between them."""
    for place, (coef, intercept) in enumerate(layers):
        z = z @ coef + intercept
        z = activated(activation, z) if place < len(layers) - 1 else z
    return z


def by_hand(architecture, coefs, intercepts, path, x):
    """Code and reconstruction of rows in working space, from arrays."""
    layers, n = list(zip(coefs, intercepts, strict=True)), architecture.n_encoder_layers
    encoder, decoder = path or (0.0 * x.T[:, :1], 0.0 * x[:1])
    code = through(layers[:n], x, architecture.activation) + (x @ encoder if path else 0.0)
    code = activated(architecture.code_activation, code)
    r = through(layers[n:], code, architecture.activation) + (code @ decoder if path else 0.0)
    return code, r


@each_architecture
def test_arrays_and_parameters_are_inverse_to_each_other(architecture, random_seed):
    network, parameters = random_network(architecture, random_seed)
    again = network.parameters(*network.arrays(parameters))
    for own, expected in zip(again, parameters, strict=True):
        assert_close(own, expected)


@each_architecture
def test_arrays_are_layers_in_working_space(architecture, random_seed):
    network, parameters = random_network(architecture, random_seed)
    x = normal(9, architecture.n_features, seed=random_seed)
    arrays = ([part.numpy() for part in parts] for parts in network.arrays(parameters))
    path = network.path and tuple(part.numpy() for part in network.path)
    code, r = by_hand(architecture, *arrays, path, x.numpy())
    found = network.encode(x, parameters)
    np.testing.assert_allclose(found, code, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(network.decode(found, parameters), r, rtol=1e-11, atol=1e-11)


@each_architecture
def test_decoder_jacobian_equals_automatic_differentiation(architecture, random_seed):
    network, parameters = random_network(architecture, random_seed)
    h = normal(1, architecture.n_components, seed=random_seed)
    expected = torch.func.jacrev(lambda h: network.decode(h[None], parameters)[0])(h[0])
    assert_close(network.decoder_jacobian(h, parameters), expected.T, 1e-11)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_moves_to_another_dtype(dtype, random_seed):
    network, parameters = random_network(ARCHITECTURES[4], random_seed)
    reference = torch.zeros(1, dtype=dtype)
    x, moved = normal(5, 4, seed=random_seed), network.to(reference)
    found = moved.encode(x.to(dtype), [p.to(dtype) for p in parameters])
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), network.encode(x, parameters), rtol=1e-4, atol=1e-5)


@each_architecture
def test_atoms_are_confined_to_one_norm(architecture, random_seed):
    """Of one layer in working space; of deeper decoders the weights that read the code."""
    network, parameters = random_network(architecture, random_seed)
    before = [p.clone() for p in parameters]
    network.confine_atoms(parameters)
    first = 2 * architecture.n_encoder_layers
    for place, (p, old) in enumerate(zip(parameters, before, strict=True)):
        assert torch.equal(p, old) == (place != first)
    atoms, length = parameters[first], 1.0
    if not architecture.hidden_layer_sizes:
        atoms, length = network.arrays(parameters)[0][1], network.units.atoms
    assert_close(atoms.norm(dim=1), torch.full((len(atoms),), length, dtype=torch.float64))
    cosines = (parameters[first] * before[first]).sum(1)
    assert_close(cosines, parameters[first].norm(dim=1) * before[first].norm(dim=1))


# --- the start ------------------------------------------------------------------------------------


def centred(n, d, seed):
    X = normal(n, d, seed=seed) * torch.linspace(2.0, 0.5, d)
    return (X - X.mean(0)).double()


def start(architecture, x, seed, varies=None, **noise):
    varies = torch.ones(x.shape[1], dtype=torch.bool) if varies is None else varies
    covariance = (x.T @ x / len(x)).numpy()
    path = None
    if architecture.has_linear_path:
        path = linear_path(covariance, architecture.n_components, **noise)
    variance = float(np.trace(covariance))
    network, parameters = started(architecture, path, variance, varies, generator(seed))
    return network, [p.double() for p in parameters]


@pytest.mark.parametrize("sizes", [(), (7,), (6, 5)])
@pytest.mark.parametrize("k", [1, 3])
def test_the_start_is_pca_exactly(sizes, k, random_seed):
    x = centred(50, 5, random_seed)
    network, parameters = start(Architecture(5, k, sizes, "silu", "identity"), x, random_seed)
    code = network.encode(x, parameters)
    pca = PCA(k).fit(x.numpy())
    expected = pca.transform(x.numpy())
    np.testing.assert_allclose(code.abs(), np.abs(expected), atol=1e-10)
    r = network.decode(code, parameters)
    np.testing.assert_allclose(r, pca.inverse_transform(expected), atol=1e-10)


def test_rows_on_a_plane_are_reconstructed_before_any_step(random_seed):
    x = centred(60, 2, random_seed) @ normal(2, 6, seed=random_seed + 1)
    network, parameters = start(Architecture(6, 2, (8,), "silu", "identity"), x, random_seed)
    r = network.decode(network.encode(x, parameters), parameters)
    assert float((r - x).square().sum(1).max()) < 1e-12


def test_the_networks_start_at_zero_and_can_move(random_seed):
    """Their last layers are zero, and what these read is not."""
    x = centred(50, 5, random_seed)
    network, parameters = start(Architecture(5, 2, (7,), "silu", "identity"), x, random_seed)
    assert not parameters[2].any()
    assert not parameters[6].any()
    assert parameters[0].any()
    assert parameters[4].any()
    tracked = [p.clone().requires_grad_() for p in parameters]
    r = network.decode(network.encode(x, tracked), tracked)
    gradients = torch.autograd.grad((r - x).square().sum(), tracked, materialize_grads=True)
    assert gradients[2].any() or gradients[6].any()


def test_initial_weights_keep_the_size_of_their_inputs(random_seed):
    """Weights of variance 1 / n_in; 5 standard errors of a mean of squares, sqrt(2 / n)."""
    x = centred(30, 4, random_seed)
    architecture = Architecture(4, 3, (200, 100), "silu", "relu")
    _, parameters = start(architecture, x, random_seed)
    shapes = [(4, 200), (200, 100), (100, 3), (3, 100), (100, 200), (200, 4)]
    assert [tuple(p.shape) for p in parameters[0::2]] == shapes
    for weight in parameters[0::2]:
        squares = len(weight) * float(weight.square().mean())
        assert abs(squares - 1.0) < 5.0 * math.sqrt(2.0 / weight.numel())
    assert not any(p.any() for p in parameters[1::2])


@pytest.mark.parametrize("code_activation", ["identity", "relu", "sigmoid"])
@pytest.mark.parametrize("sizes", [(), (6,)])
def test_a_column_that_does_not_vary_is_left_out(code_activation, sizes, random_seed):
    x = centred(50, 4, random_seed)
    x[:, 2] = 0.0
    varies = torch.tensor([True, True, False, True])
    k = 2 if code_activation == "identity" else 6
    architecture = Architecture(4, k, sizes, "silu", code_activation)
    network, parameters = start(architecture, x, random_seed, varies)
    moved = x.clone()
    moved[:, 2] = 5.0
    code = network.encode(moved, parameters)
    assert_close(code, network.encode(x, parameters))
    assert not network.decode(code, parameters)[:, 2].abs().gt(1e-12).any()


def test_units_are_of_the_size_of_the_code_and_never_zero(random_seed):
    x = centred(50, 4, random_seed)
    x[:, 2:] = 0.0
    network, _ = start(Architecture(4, 3, (6,), "silu", "identity"), x, random_seed)
    rows = float(x.square().sum(1).mean() / 4) ** 0.5
    assert network.units.rows == pytest.approx(rows)
    expected = x.std(0, correction=0)[:2].sort(descending=True).values
    covariance = (x.T @ x / len(x)).numpy()
    assert_close(network.units.code[:2], torch.from_numpy(linear_path(covariance, 2).deviations))
    assert float(network.units.code[2]) == pytest.approx(LEAST_UNIT * rows)
    assert float(network.units.code[0]) >= float(expected[0])


def test_units_beyond_the_rank_of_one_layer_start_at_random(random_seed):
    x = centred(50, 3, random_seed)
    network, parameters = start(Architecture(3, 5, (), "silu", "identity"), x, random_seed)
    coefs, _ = network.arrays(parameters)
    assert_close(coefs[1].norm(dim=1), torch.ones(5, dtype=torch.float64), 1e-6)
    assert_close(coefs[0][:, 3:], 0.1 * coefs[1][3:].T, 1e-12)
    assert coefs[0][:, 3:].any()


# --- what a user can recompute --------------------------------------------------------------------


@pytest.mark.parametrize("name", MEMBERS)
def test_answers_follow_from_the_attributes(name, random_seed):
    """Codes and rows by NumPy from coefs_, intercepts_, scaling and linear path."""
    X = bent_sheet(150, random_seed) * [1.0, 10.0, 0.1, 1.0, 5.0]
    model = member(name).fit(X)
    x, n = (X - model.location_) / model.scale_, model.n_encoder_layers_
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    code = through(layers[:n], x, model.activation)
    path = model._fitted_as["path"]
    assert (path is not None) == (n > 1 and model.code_activation == "identity")
    code = code if path is None else code + x @ path[0]
    code = activated(model.code_activation, code)
    given = (code - model.code_mean_) / model.code_scale_
    np.testing.assert_allclose(model.transform(X), given, rtol=1e-9, atol=1e-9)
    r = through(layers[n:], code, model.activation) + (0.0 if path is None else code @ path[1])
    expected = r * model.scale_ + model.location_
    np.testing.assert_allclose(model.reconstruct(X), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", MEMBERS)
def test_components_are_the_derivative_of_the_decoder_at_the_code_zero(name, random_seed):
    X = bent_sheet(150, random_seed) * [1.0, 10.0, 0.1, 1.0, 5.0]
    model = member(name).fit(X)
    k, step = len(model.components_), 1e-5
    steps = np.concatenate([step * np.eye(k), -step * np.eye(k)])
    ends = (model.inverse_transform(steps) - model.location_) / model.scale_
    differences = (ends[:k] - ends[k:]) / (2 * step)
    np.testing.assert_allclose(model.components_, differences, rtol=1e-6, atol=1e-6)
