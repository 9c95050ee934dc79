"""Free and tied decoders in float64: energy, score, bound, contraction and starting weights."""

import math

import numpy as np
import pytest
import torch

from skrae.autoencoders import one_layer
from skrae.autoencoders.decoders.free import LINES, MAX_LINES, FreeDecoder
from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.autoencoders.decoders.reconstruction import BOUND, CENTRE_ROWS
from skrae.autoencoders.decoders.registry import make_decoder
from skrae.autoencoders.decoders.tied import WIDEST_VARIANCE, TiedDecoder
from skrae.autoencoders.objectives import contraction_penalty
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity
from tests.density.random_fields import twice_differentiable
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, random_mixture

TIED_ACTIVATIONS = "sigmoid", "tanh", "relu"
FREE_ACTIVATIONS = "silu", "tanh", "softplus", "sigmoid", "relu"
HEAD = 0.8, -0.6
HIDDEN = {
    "sigmoid": lambda u: 1.0 / (1.0 + np.exp(-u)),
    "tanh": np.tanh,
    "relu": lambda u: np.maximum(u, 0.0),
    "silu": lambda u: u / (1.0 + np.exp(-u)),
    "softplus": lambda u: np.log1p(np.exp(u)),
}


def rows(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def head(scale=HEAD[0], offset=HEAD[1]):
    to = {"dtype": torch.float64}
    return [torch.full((1, 1), scale, **to), torch.full((1,), offset, **to)]


def tied_field(d, seed, activation="sigmoid", tau=0.3, k=7, scale=HEAD[0], offset=HEAD[1]):
    """A tied decoder of random weights over a random mixture."""
    base = random_mixture(d, 3, seed)
    weight = rows(d, k, seed + 1) / math.sqrt(k)
    own = [weight, rows(1, k, seed + 2)[0], rows(1, d, seed + 3)[0]]
    decoder = TiedDecoder(activation, tau, None)
    parameters = [*own, *head(scale, offset)]
    return ScoreField(base, decoder, parameters, NoiseMetric(base, "isotropic"))


def free_field(d, seed, activation="tanh", tau=0.3, sizes=(7,), scale=HEAD[0], offset=HEAD[1]):
    """A free decoder of random weights over a random mixture."""
    base, draws = random_mixture(d, 3, seed), generator(seed + 1)
    decoder = make_decoder("free", activation, tau, base.mean)
    start = decoder.initial_parameters(d, sizes, draws)
    own = [p.double() + 0.2 * rows(p.numel(), 1, seed + 2).reshape(p.shape) for p in start[:-2]]
    return ScoreField(base, decoder, [*own, *head(scale, offset)], NoiseMetric(base, "isotropic"))


def tied_weights_in_a_free_decoder(field):
    """The free decoder of the same r as a tied one of tau = 1."""
    weight, bias, offset, *rest = field.parameters
    decoder = make_decoder("free", field.decoder.activation, 1.0, field.base.mean)
    parameters = [weight, bias, weight.T.contiguous(), offset, *rest]
    return ScoreField(field.base, decoder, parameters, field.metric)


def field_of(name, d, seed, **options):
    return {"free": free_field, "tied": tied_field}[name](d, seed, **options)


def close(found, expected, tolerance):
    """Entries agree to this share of the largest."""
    scale = 1 + expected.abs().max()
    torch.testing.assert_close(found / scale, expected / scale, rtol=0, atol=tolerance)


def gradient_of(function, z):
    z = z.clone().requires_grad_()
    return torch.autograd.grad(function(z).sum(), z)[0]


each_decoder = pytest.mark.parametrize("name", ["free", "tied"])


# The energy


@pytest.mark.parametrize("tau", [0.01, 0.3, 4.0])
@pytest.mark.parametrize("activation", TIED_ACTIVATIONS)
def test_tied_energy_has_the_field_for_gradient(activation, tau, random_seed):
    """grad log p_r = (r - z) / tau, at any tau."""
    field, z = tied_field(3, random_seed, activation, tau), rows(20, 3, random_seed)
    gradient = gradient_of(lambda z: field.decoder.log_potential(z, field.parameters), z)
    close(gradient, (field.reconstruct(z) - z) / tau, 1e-12)
    close(field.vector_field(z), gradient, 1e-12)
    assert gradient.std() > 0.1


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_line_integral_of_a_gradient_is_the_difference_of_its_potential(activation, random_seed):
    """log p_r(z) - log p_r(z_0) in closed form, for a free decoder with tied weights."""
    tied, z = tied_field(2, random_seed, activation, tau=1.0), rows(40, 2, random_seed)
    free = tied_weights_in_a_free_decoder(tied)
    close(free.reconstruct(z), tied.reconstruct(z), 1e-14)
    reference = free.decoder.origin[None]
    ends = torch.cat([z, reference])
    potential = tied.decoder.log_potential(ends, tied.parameters)
    found = free.decoder.log_potential(ends, free.parameters)
    close(found, potential - potential[-1], 1e-10)
    # Hence log ratios between any two rows are those of the potential.
    close(found[:20] - found[20:40], potential[:20] - potential[20:40], 1e-10)


@pytest.mark.parametrize("sizes", [(7,), (6, 4)], ids=str)
@pytest.mark.parametrize("activation", FREE_ACTIVATIONS)
def test_line_integral_equals_a_fine_quadrature(activation, sizes, random_seed):
    """Of a field that is no gradient; relu's kinks cost digits."""
    field, z = free_field(2, random_seed, activation, sizes=sizes), rows(10, 2, random_seed)
    origin = field.decoder.origin
    t = torch.linspace(0, 1, 4001, dtype=torch.float64)
    work = []
    for row in z:
        points = origin + t[:, None] * (row - origin)
        along = ((field.reconstruct(points) - points) / field.tau) @ (row - origin)
        work.append(torch.trapezoid(along, t))
    found = field.decoder.log_potential(z, field.parameters)
    close(found, torch.stack(work), 2e-3 if activation == "relu" else 1e-6)
    assert torch.stack(work).std() > 0.1


def test_line_integral_is_a_function_of_the_row_alone(random_seed):
    """Whatever rows are asked for with it: so log ratios are antisymmetric and add up."""
    field, z = free_field(3, random_seed), rows(2 * LINES + 5, 3, random_seed)
    together = field.decoder.log_potential(z, field.parameters)
    assert together.shape == (2 * LINES + 5,)
    few = [0, 1, LINES - 1, LINES, 2 * LINES + 4]
    alone = torch.cat([field.decoder.log_potential(z[i : i + 1], field.parameters) for i in few])
    close(alone, together[few], 1e-13)
    close(field.decoder.log_potential(z.flip(0), field.parameters).flip(0), together, 1e-13)
    at_reference = field.decoder.log_potential(field.decoder.origin[None], field.parameters)
    assert at_reference.item() == 0.0


def test_reference_point_is_the_mean_of_the_base(random_seed):
    field = free_field(2, random_seed)
    expected = field.base.weights.numpy() @ field.base.means.numpy()
    np.testing.assert_allclose(field.decoder.origin, expected, rtol=1e-14)


def test_random_nodes_of_training_give_the_line_integral_on_average(random_seed):
    """Within 4 standard errors of 400 repeats, of an error that a wrong weight would exceed."""
    field, z = free_field(2, random_seed), rows(6, 2, random_seed)
    exact, draws = field.decoder.log_potential(z, field.parameters), generator(random_seed)
    drawn = torch.stack(
        [field.decoder.log_potential(z, field.parameters, draws) for _ in range(400)]
    )
    error = drawn.std(0) / math.sqrt(len(drawn))
    assert ((drawn.mean(0) - exact).abs() < 4 * error + 1e-9).all()
    assert (error < 0.01 * (1 + exact.abs())).all()


@pytest.mark.parametrize("sizes", [(7,), (6, 4)], ids=str)
def test_energy_of_a_free_decoder_departs_from_its_field_by_the_curl_alone(sizes, random_seed):
    """grad log p_r - (r - z)/tau = int_0^1 t (J^T - J) (z - z_0) dt / tau, across the line."""
    field, z = free_field(3, random_seed, sizes=sizes), rows(8, 3, random_seed)
    gradient = gradient_of(lambda z: field.decoder.log_potential(z, field.parameters), z)
    departure = gradient - field.vector_field(z)
    origin = field.decoder.origin
    nodes, weights = np.polynomial.legendre.leggauss(60)
    expected = torch.zeros_like(z)
    for t, weight in zip(0.5 + 0.5 * nodes, 0.5 * weights, strict=True):
        jacobian = field.reconstruction_jacobian(origin + t * (z - origin))
        turned = (jacobian.mT - jacobian) @ (z - origin)[:, :, None]
        expected += weight * t * turned[:, :, 0] / field.tau
    close(departure, expected, 1e-8)
    close((departure * (z - origin)).sum(1), torch.zeros(8, dtype=torch.float64), 1e-8)
    assert departure.abs().max() > 0.05, "the field has no curl"


# From the energy to the density


def test_bound_is_the_identity_below_and_never_exceeded_above():
    bound = TiedDecoder("sigmoid", 1.0, None).bound
    u = torch.linspace(-50.0, 60.0, 1101, dtype=torch.float64)
    f, slope = bound(u), gradient_of(bound, u)
    assert (f <= BOUND + 1e-8).all()
    assert (f <= u + 1e-8).all()
    torch.testing.assert_close(f[u <= BOUND - 2.0], u[u <= BOUND - 2.0], rtol=0, atol=1e-3)
    assert (slope[u <= BOUND - 1.0] > 0.98).all()
    assert (slope <= 1.0).all()
    assert (slope.diff() <= 1e-12).all()
    assert bound(torch.zeros(1, dtype=torch.float64)).abs().item() < 1e-15
    wild = torch.tensor([-1e30, 1e30], dtype=torch.float64)
    close(bound(wild), torch.tensor([-1e30, BOUND], dtype=torch.float64), 1e-8)


@each_decoder
@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_log_tilt_is_the_bounded_difference_to_the_base(name, scale, random_seed):
    """f = B(s (log p_r - log q) + o)."""
    field = field_of(name, 2, random_seed, scale=scale)
    z = 2.0 * rows(60, 2, random_seed)
    potential = field.decoder.log_potential(z, field.parameters)
    u = scale * (potential - field.base.log_density(z)) + HEAD[1]
    expected = u - torch.nn.functional.softplus(4.0 * (u - BOUND)) / 4.0
    close(field.log_tilt(z), expected, 1e-8)
    close(field.log_density(z), field.base.log_density(z) + expected, 1e-8)


@each_decoder
def test_zero_head_is_the_base(name, random_seed):
    field = field_of(name, 2, random_seed, scale=0.0, offset=0.0)
    z = rows(30, 2, random_seed)
    assert field.is_base
    log_q, gradient, _ = field.base.evaluate(z)
    torch.testing.assert_close(field.log_density(z), log_q, rtol=0, atol=1e-14)
    found = field.evaluate(z)
    torch.testing.assert_close(found[0], log_q, rtol=0, atol=1e-14)
    assert torch.equal(found[1], gradient)
    assert not torch.allclose(field.reconstruct(z), z + field.tau * gradient)


@each_decoder
def test_evaluate_has_the_value_of_log_tilt(name, random_seed):
    field, z = field_of(name, 2, random_seed), rows(40, 2, random_seed)
    log_p, _, log_q, shares = field.evaluate(z)
    close(log_p, field.log_density(z), 1e-14)
    close(log_q, field.base.log_density(z), 1e-14)
    assert torch.equal(shares, torch.ones(40, 1, dtype=torch.float64))
    tempered = field.evaluate(z, 0.3)[0]
    close(tempered, log_q + 0.3 * field.log_tilt(z), 1e-14)


@pytest.mark.parametrize("activation", TIED_ACTIVATIONS)
def test_score_of_a_tied_decoder_equals_finite_differences(activation, random_seed):
    """Also above the bound, where the score is that of the base."""
    z = 1.5 * rows(40, 2, random_seed)
    for offset in (HEAD[1], 6.0):
        field = tied_field(2, random_seed, activation, offset=offset)
        close(field.evaluate(z)[1], finite_differences(field.log_density, z), 1e-5)
    high = tied_field(2, random_seed, activation, offset=60.0)
    close(high.evaluate(z)[1], high.base.evaluate(z)[1], 1e-12)


def test_score_of_a_free_decoder_departs_from_its_density_across_the_line(random_seed):
    """Along the line from the reference point the two agree, whatever the curl."""
    field, z = free_field(3, random_seed), rows(30, 3, random_seed)
    departure = field.evaluate(z)[1] - finite_differences(field.log_density, z)
    along = (departure * (z - field.decoder.origin)).sum(1)
    close(along, torch.zeros_like(along), 1e-5)
    assert departure.abs().max() > 0.05


def test_score_of_a_free_decoder_with_tied_weights_equals_finite_differences(random_seed):
    tied = tied_field(2, random_seed, tau=1.0)
    free, z = tied_weights_in_a_free_decoder(tied), rows(30, 2, random_seed)
    close(free.evaluate(z)[1], finite_differences(free.log_density, z), 1e-5)
    assert free.curl(z) == pytest.approx(0.0, abs=1e-12)


@each_decoder
def test_score_is_the_field_where_the_head_is_plain_and_the_bound_far(name, random_seed):
    """s = 1, u < B - 1: (r - z)/tau itself, to the slope of the bound."""
    field = field_of(name, 2, random_seed, scale=1.0, offset=-40.0)
    z = rows(30, 2, random_seed)
    score = field.evaluate(z)[1]
    close(score, field.vector_field(z), 1e-10)
    training = field.decoder.training_score(z, field.parameters, None)
    assert training[0] is None
    close(training[1], field.vector_field(z), 1e-12)
    close(z + field.tau * field.vector_field(z).detach(), field.reconstruct(z), 1e-12)


@each_decoder
def test_hessian_is_the_derivative_of_the_score(name, random_seed):
    field, z = field_of(name, 3, random_seed), rows(15, 3, random_seed)
    hessian = field.hessian(z)
    close(hessian, finite_differences(lambda z: field.evaluate(z)[1], z), 1e-5)
    assert torch.equal(hessian, hessian.mT) == (name == "tied")


@each_decoder
def test_local_covariance_is_tau_times_the_symmetric_jacobian(name, random_seed):
    field, z = field_of(name, 2, random_seed), rows(40, 2, random_seed)
    slopes = finite_differences(field.reconstruct, z)
    variances, axes = torch.linalg.eigh(0.5 * field.tau * (slopes + slopes.mT))
    expected = axes * variances.clamp_min(0.0)[:, None] @ axes.mT
    close(field.local_covariance(z), expected, 1e-6)


def test_curl_is_the_share_of_the_antisymmetric_part(random_seed):
    """|J - J^T| / (2 |J|) of r - z, by finite differences; 1 for a rotation, 0 for tied."""
    field, z = free_field(3, random_seed), rows(40, 3, random_seed)
    slopes = finite_differences(field.vector_field, z)
    expected = (slopes - slopes.mT).norm() / (2.0 * slopes.norm())
    assert field.curl(z) == pytest.approx(float(expected), rel=1e-5)
    assert 0.05 < field.curl(z) < 1.0
    assert tied_field(3, random_seed).curl(z) == 0.0


def test_curl_of_a_rotation_is_one():
    """relu(x) - relu(-x) = x: a free decoder that turns by 90 degrees about its reference."""
    eye = torch.eye(2, dtype=torch.float64)
    base = MixtureDensity([1.0], [[0.0, 0.0]], [np.eye(2)], [np.inf])
    turn = torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)  # z + z turned
    parameters = [
        torch.cat([eye, -eye], dim=1),
        torch.zeros(4, dtype=torch.float64),
        torch.cat([turn, -turn]),
        torch.zeros(2, dtype=torch.float64),
        *head(),
    ]
    decoder = FreeDecoder("relu", 0.5, torch.zeros(2, dtype=torch.float64))
    field = ScoreField(base, decoder, parameters, NoiseMetric(base, "isotropic"))
    z = rows(20, 2, 0)
    turned = z @ torch.tensor([[0.0, 1.0], [-1.0, 0.0]]).double()
    close(field.vector_field(z), 2.0 * turned, 1e-14)
    assert field.curl(z) == pytest.approx(1.0, abs=1e-12)
    # A rotation does no work along a line from its centre.
    close(decoder.log_potential(z, parameters), torch.zeros(20).double(), 1e-12)


# Contraction


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize(
    ("name", "activation"),
    [("tied", a) for a in TIED_ACTIVATIONS] + [("free", a) for a in FREE_ACTIVATIONS],
)
def test_closed_form_of_contraction_is_the_penalty_by_autograd(name, activation, d, random_seed):
    """Value, and derivative in every parameter."""
    field = field_of(name, d, random_seed, activation=activation, tau=0.2)
    z, factors = rows(12, d, random_seed), torch.eye(d, dtype=torch.float64).expand(12, d, d)
    parameters = [p.requires_grad_() for p in field.parameters]
    closed = field.decoder.contraction(z, parameters)
    slow = contraction_penalty(twice_differentiable(field), z, factors, factors, field.tau)
    assert closed.item() == pytest.approx(slow.item(), rel=1e-10)
    # The biases of the last layer and the head take no part.
    changes = [
        torch.autograd.grad(value, parameters, materialize_grads=True, allow_unused=True)
        for value in (closed, slow)
    ]
    for found, expected in zip(*changes, strict=True):
        close(found, expected, 1e-10)
    assert changes[0][0].abs().max() > 0.0


@pytest.mark.parametrize("d", [1, 3])
@each_decoder
def test_score_and_contraction_in_one_pass_are_the_two_alone(name, d, random_seed):
    """Values, and derivatives in every parameter of a loss of both."""
    field, z = field_of(name, d, random_seed, tau=0.2), rows(12, d, random_seed)
    decoder, parameters = field.decoder, [p.requires_grad_() for p in field.parameters]
    together = decoder.score_and_contraction(z, parameters)
    alone = decoder.training_score(z, parameters, None)[1], decoder.contraction(z, parameters)
    changes = []
    for score, penalty in (together, alone):
        loss = (score * rows(12, d, random_seed + 5)).sum() + 0.7 * penalty
        changes.append(torch.autograd.grad(loss, parameters, materialize_grads=True))
    for found, expected in zip([*together, *changes[0]], [*alone, *changes[1]], strict=True):
        close(found.detach(), expected.detach(), 1e-11)


@pytest.mark.parametrize("tau", [0.07, 1.5])
@each_decoder
def test_closed_derivatives_of_one_layer_equal_finite_differences(name, tau, random_seed):
    field, z = field_of(name, 3, random_seed, tau=tau), rows(15, 3, random_seed)
    jacobian, laplacian = field.derivatives(z)
    close(jacobian, finite_differences(field.reconstruct, z), 1e-5)
    steps = 1e-3 * torch.eye(3, dtype=torch.float64)
    r = field.reconstruct
    second = [(r(z + s) + r(z - s) - 2.0 * r(z)) / 1e-6 for s in steps]
    close(laplacian, sum(second), 1e-5)
    assert laplacian.abs().max() > 0.05


def test_two_layers_have_no_closed_form(random_seed):
    field, z = free_field(2, random_seed, sizes=(5, 4)), rows(3, 2, random_seed)
    assert field.decoder.contraction(z, field.parameters) is None
    assert field.derivatives(z) is None
    assert field.decoder.score_and_contraction(z, field.parameters) is None


def test_confined_relu_units_leave_an_energy_that_grows_everywhere(random_seed):
    """|W|_2^2 = 1 - tau/25: along the widest direction the variance is 25, and no wider."""
    field = tied_field(2, random_seed, "relu", tau=0.3, k=30)
    with torch.no_grad():
        field.parameters[0].mul_(3.0)
    field.decoder.confine(field.parameters)
    squares = torch.linalg.matrix_norm(field.parameters[0], 2) ** 2
    assert squares.item() == pytest.approx(1.0 - 0.3 / WIDEST_VARIANCE, rel=1e-6)
    angles = torch.linspace(0, 2 * math.pi, 60, dtype=torch.float64)
    directions = torch.stack([angles.cos(), angles.sin()], dim=1)
    far, farther = (
        field.decoder.log_potential(radius * directions, field.parameters) for radius in (1e3, 2e3)
    )
    curvature = (farther - 2.0 * far) / 1e6  # of -|z|^2 / (2 v): -1/v
    assert (curvature < -0.9 / WIDEST_VARIANCE).all()


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_units_that_saturate_need_no_confining(activation, random_seed):
    field = tied_field(2, random_seed, activation)
    before = [p.clone() for p in field.parameters]
    with torch.no_grad():
        field.parameters[0].mul_(3.0)
    field.decoder.confine(field.parameters)
    assert torch.equal(field.parameters[0], 3.0 * before[0])
    far = field.decoder.log_potential(1e4 * torch.eye(2, dtype=torch.float64), field.parameters)
    assert (far < -1e6).all()


# Parameters


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tied", {"activation": "sigmoid"}),
        ("tied", {"activation": "relu"}),
        ("free", {"activation": "silu"}),
        ("free", {"activation": "softplus", "sizes": (6, 5, 4)}),
    ],
)
def test_arrays_are_layers_in_the_units_of_z(name, options, d, random_seed):
    """r = h(... h(z W_1 + b_1) ...) W_L + b_L by NumPy, and back to the parameters."""
    field = field_of(name, d, random_seed, tau=0.07, **options)
    z, hidden = rows(9, d, random_seed), HIDDEN[options["activation"]]
    arrays = field.decoder.arrays([p.numpy() for p in field.parameters])
    (*coefs, scale), (*intercepts, constant) = arrays
    h = z.numpy()
    for i, (weight, bias) in enumerate(zip(coefs, intercepts, strict=True)):
        h = h @ weight + bias
        if i + 1 < len(coefs):
            h = hidden(h)
        if i + 1 == len(coefs) // 2:
            np.testing.assert_allclose(field.code(z), h, rtol=1e-11)
    np.testing.assert_allclose(field.reconstruct(z), h, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(field.decode(field.code(z)), h, rtol=1e-10, atol=1e-12)
    assert (scale.item(), constant.item()) == HEAD
    for found, expected in zip(field.decoder.parameters(*arrays), field.parameters, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "kind"), [("gradient", GradientDecoder), ("free", FreeDecoder), ("tied", TiedDecoder)]
)
def test_decoders_by_name(name, kind, random_seed):
    decoder = make_decoder(name, "tanh", 0.25, random_mixture(2, 2, random_seed).mean)
    assert type(decoder) is kind
    assert (decoder.activation, decoder.tau) == ("tanh", 0.25)
    assert decoder.is_conservative == (name != "free")
    assert decoder.learns_without_tilt == (name != "gradient")


def start(name, d, seed, tau, activation, sizes=(64,)):
    """A decoder and its parameters as training would begin with them, at rows of N(0, I)."""
    base = MixtureDensity([1.0], np.zeros((1, d)), np.eye(d)[None], [np.inf])
    decoder, z = make_decoder(name, activation, tau, base.mean), rows(3000, d, seed).float()
    whiteners = torch.eye(d).expand(len(z), d, d)
    draws = generator(seed)
    parameters = decoder.initial_parameters(d, sizes, draws)
    parameters = decoder.localise(parameters, z[:1024], whiteners[:1024], draws)
    noisy = z + tau**0.5 * torch.randn(z.shape, generator=draws)
    decoder.renew(parameters, z, noisy, draws)
    decoder.start_level(parameters, lambda n: z[:n], base.log_density, draws, renew=False)
    return decoder, parameters, base, z, noisy


@pytest.mark.parametrize("activation", TIED_ACTIVATIONS)
def test_tied_units_begin_near_the_identity(activation, random_seed):
    """The mean of dr/dz over the rows is I to a tenth, that of r - z is 0."""
    decoder, parameters, _, z, _ = start("tied", 2, random_seed, 0.2, activation)
    unit = 0.2**-0.5
    jacobian = one_layer.jacobian(unit * z, *parameters[:2], None, activation).mean(0)
    torch.testing.assert_close(jacobian, torch.eye(2), rtol=0, atol=0.1)
    move = (decoder.reconstruct(z, parameters) - z).mean(0)
    torch.testing.assert_close(move, torch.zeros(2), rtol=0, atol=1e-4)


def test_free_decoder_begins_at_the_least_squares_of_its_last_layer(random_seed):
    """No other last layer brings noisy rows nearer to the clean ones, by NumPy's lstsq."""
    decoder, parameters, _, z, noisy = start("free", 2, random_seed, 0.2, "silu", (20, 12))
    *before, (weight, bias) = zip(parameters[:-2:2], parameters[1:-2:2], strict=True)
    hidden = noisy
    for w, b in before:
        hidden = torch.nn.functional.silu(hidden @ w + b)
    design = torch.cat([hidden, torch.ones(len(z), 1)], dim=1).double().numpy()
    residual = z.numpy() - design @ np.linalg.lstsq(design, z.numpy(), rcond=None)[0]
    found = (decoder.reconstruct(noisy, parameters) - z).square().mean().item()
    assert found == pytest.approx(np.mean(residual**2), rel=1e-3)
    # The best linear map alone leaves tau / (1 + tau) of the variance of each feature.
    assert found == pytest.approx(0.2 / 1.2, rel=0.1)
    assert torch.equal(weight, parameters[-4])
    assert torch.equal(bias, parameters[-3])


@pytest.mark.parametrize(("name", "activation"), [("free", "silu"), ("tied", "sigmoid")])
def test_centred_head_has_median_zero(name, activation, random_seed):
    decoder, parameters, base, z, _ = start(name, 2, random_seed, 0.2, activation, (24,))
    u = decoder.head_input(z[:CENTRE_ROWS], parameters, lambda: base.log_density(z[:CENTRE_ROWS]))
    assert parameters[-2].item() == 1.0
    assert u.median().abs().item() < 1e-3
    assert u.std() > 1e-3


def test_training_takes_few_lines_of_a_free_decoder_and_every_row_of_a_tied_one(random_seed):
    n, draws = MAX_LINES + 40, generator(random_seed)
    for name, expected in (("free", MAX_LINES), ("tied", n)):
        field, z = field_of(name, 2, random_seed), rows(n, 2, random_seed)
        log_q = field.base.log_density(z)
        part = z, lambda log_q=log_q: log_q
        u = field.decoder._training_input(*part, field.parameters, draws)
        assert u.shape == (expected,)
    exact = field.decoder.head_input(z, field.parameters, part[1])
    close(u, exact, 1e-14)  # of the tied one: no random nodes
