"""The corrected score: closed forms, optimal reconstructions, the order of what is left, units."""

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.linalg import solve_banded

from skrae.autoencoders.decoders.free import FreeDecoder
from skrae.autoencoders.decoders.gradient import GradientDecoder
from skrae.autoencoders.decoders.tied import TiedDecoder
from skrae.datasets import (
    Gaussian,
    Ring,
    SexticWell,
    contractive_optimum,
    denoising_optimum,
    invert_contraction,
)
from skrae.density.bias_correction import (
    corrected_score,
    corrected_slopes,
    jacobian_by_differences,
)
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity
from tests.autoencoders.random_networks import random_parameters
from tests.density.estimators import quick_estimator
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, random_mixture


class Reconstruction:
    """Stands in for a field: a known r, without a closed form of its derivatives."""

    def __init__(self, vector_field, tau):
        self.vector_field, self.tau, self.corrupted = vector_field, tau, self

    def derivatives(self, z):
        return None

    @classmethod
    def on_a_grid(cls, grid, r, tau):
        """Through the points (grid, r), both of shape (n,)."""
        spline = CubicSpline(grid, (r - grid) / tau)
        return cls(lambda z: torch.as_tensor(spline(z.numpy())), tau)


def rows(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


def largest_error(found, expected):
    return float((found - expected).abs().max())


def order(errors, scales):
    """The exponent with which errors fall as the scales do."""
    return np.polyfit(np.log(scales), np.log(errors), 1)[0]


# Gaussian data: r is linear


@pytest.mark.parametrize("d", [1, 3])
@pytest.mark.parametrize(("sigma", "lam"), [(0.3, 0.0), (1.5, 0.0), (0.0, 0.2), (0.0, 2.0)])
def test_exact_for_gaussian_data(sigma, lam, d, random_seed):
    """r = mu + C (C + tau I)^-1 (z - mu) gives -C^-1 (z - mu), however large tau."""
    base, z = random_mixture(d, 1, random_seed), rows(30, d, random_seed)
    mean, covariance = base.means[0], base.factors[0] @ base.factors[0].T
    tau = sigma**2 + lam
    widened = torch.linalg.inv(covariance + tau * torch.eye(d).double())
    field = Reconstruction(lambda z: -(z - mean) @ widened, tau)
    corrected, kept = corrected_score(field, z, sigma, lam)
    truth = -(z - mean) @ torch.linalg.inv(covariance)
    # Where tau is far larger than a variance, r is too flat to see through, and says so.
    flat = float(torch.linalg.svdvals(covariance @ widened)[-1]) < 0.05
    assert kept.all() == kept.any() == flat
    expected = field.vector_field(z) if flat else truth
    torch.testing.assert_close(corrected, expected, rtol=1e-8, atol=1e-8)


def test_closed_forms_are_not_flat_for_small_noise(random_seed):
    """The test above is not empty: at these levels every row is corrected."""
    base, z = random_mixture(3, 1, random_seed), rows(10, 3, random_seed)
    covariance = base.factors[0] @ base.factors[0].T
    tau = 0.1 * float(torch.linalg.eigvalsh(covariance)[0])
    widened = torch.linalg.inv(covariance + tau * torch.eye(3).double())
    field = Reconstruction(lambda z: -(z - base.means[0]) @ widened, tau)
    truth = base.evaluate(z)[1]
    assert largest_error(field.vector_field(z), truth) > 0.01
    for sigma, lam in ((tau**0.5, 0.0), (0.0, tau)):
        corrected, kept = corrected_score(field, z, sigma, lam)
        assert not kept.any()
        torch.testing.assert_close(corrected, truth, rtol=1e-8, atol=1e-8)


# Derivatives of the corrected score


@pytest.mark.parametrize("dofs", [None, [np.inf, 3.0]])
@pytest.mark.parametrize(("sigma", "lam"), [(0.2, 0.0), (0.2, 0.03), (0.0, 0.05), (0.8, 0.3)])
def test_slopes_are_the_differences_of_the_corrected_score(sigma, lam, dofs, random_seed):
    base = random_mixture(3, 2, random_seed, dofs)
    decoder = GradientDecoder("silu", sigma**2 + lam, None)
    parameters = random_parameters(3, (8, 6), random_seed, 1.0)
    field = ScoreField(base, decoder, parameters, NoiseMetric(base, "isotropic"))
    z = base.sample(40, generator(random_seed))
    slopes, singular = corrected_slopes(field, z, sigma, lam)
    expected = jacobian_by_differences(lambda x: corrected_score(field, x, sigma, lam)[0], z, 1e-5)
    # A neighbour may lie on the other side of what bounds w, or of what is singular.
    gaps = (slopes - expected).abs().amax((1, 2)) / (1.0 + expected.abs().amax((1, 2)))
    assert float(gaps[~singular].median()) < 1e-6
    assert float((gaps[~singular] < 1e-4).double().mean()) >= 0.95
    assert torch.equal(singular, corrected_score(field, z, sigma, lam)[1])


def test_slopes_are_left_to_differences_without_a_closed_form():
    field = Reconstruction(lambda z: -z, 0.1)
    field.slopes = lambda z: None
    assert corrected_slopes(field, rows(3, 2, 0), 0.1, 0.0) is None


# Optimal reconstructions on the line


def mixed_optimum(density, sigma, lam, grid):
    """r of E|r(x + sigma eps) - x|^2 + lambda E r'(x)^2: p_sigma (r - E[x|y]) = lambda (p r')'."""
    step = grid[1] - grid[0]
    p = np.exp(density.log_density(grid[:, None]))
    blurred, mean = p, grid
    if sigma > 0.0:
        kernel = np.exp(-0.5 * ((grid[:, None] - grid) / sigma) ** 2)
        kernel *= step / (sigma * np.sqrt(2.0 * np.pi))
        blurred = kernel @ p
        mean = kernel @ (p * grid) / blurred
    between = np.exp(density.log_density((grid[1:, None] + grid[:-1, None]) / 2))
    flux = lam / step**2 * between
    bands = np.zeros((3, len(grid)))
    bands[1] = blurred
    bands[1, :-1] += flux
    bands[1, 1:] += flux
    bands[0, 1:] = bands[2, :-1] = -flux
    return solve_banded((1, 1), bands, blurred * mean)


SEXTIC, NORMAL = SexticWell(), Gaussian([0.0], [[1.0]])
LINE = {
    "sextic": (SEXTIC, np.linspace(-1.6, 1.6, 3201), np.linspace(-0.95, 0.95, 39)[:, None]),
    "normal": (NORMAL, np.linspace(-6, 6, 3001), np.linspace(-2, 2, 41)[:, None]),
}


def test_mixed_optimum_is_that_of_the_population_at_its_ends():
    density, grid, _ = LINE["sextic"]
    inner = slice(400, -400)
    np.testing.assert_allclose(
        mixed_optimum(density, 0.1, 0.0, grid)[inner],
        denoising_optimum(density, 0.1, grid)[inner],
        atol=1e-9,
    )
    np.testing.assert_allclose(
        mixed_optimum(density, 0.0, 0.01, grid)[inner],
        contractive_optimum(density, 0.01, grid)[inner],
        atol=1e-4,
    )


@pytest.mark.parametrize("level", [0.04, 0.1])
def test_contractive_optimum_gives_the_exact_score(level):
    """At any lambda; and the same as `invert_contraction`."""
    density, grid, x = LINE["sextic"]
    r = contractive_optimum(density, level**2, grid)
    field = Reconstruction.on_a_grid(grid, r, level**2)
    corrected, kept = corrected_score(field, torch.as_tensor(x), 0.0, level**2)
    score = density.gradient(x)
    plain = field.vector_field(torch.as_tensor(x))
    assert not kept.any()
    # The step of the differences, a tenth of level, leaves an error of second order in it.
    assert np.abs(corrected.numpy() - score).max() < 0.02 * np.abs(plain.numpy() - score).max()
    inverted = np.interp(x[:, 0], grid, invert_contraction(r, level**2, grid))
    np.testing.assert_allclose(corrected[:, 0], inverted, atol=0.01 * np.abs(score).max())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7], ids=["denoising", "mixed", "more contraction"])
@pytest.mark.parametrize("name", LINE)
def test_what_is_left_is_of_second_order(name, share):
    """Plain errors fall like tau, corrected ones like tau^2, or as far as the grid is fine."""
    density, grid, x = LINE[name]
    levels = np.array([0.01, 0.005, 0.0025]) if name == "normal" else np.array([4, 2, 1]) * 2e-4
    z, score, plain, left = torch.as_tensor(x), torch.as_tensor(density.gradient(x)), [], []
    for tau in levels:
        sigma, lam = np.sqrt(tau * (1.0 - share)), tau * share
        field = Reconstruction.on_a_grid(grid, mixed_optimum(density, sigma, lam, grid), tau)
        plain.append(largest_error(field.vector_field(z), score))
        left.append(largest_error(corrected_score(field, z, sigma, lam)[0], score))
    assert 0.6 < order(plain, levels) < 1.2
    exact = name == "normal" and share == 0.0
    assert exact or order(left, levels) > 1.5, (plain, left)
    assert left[-1] < (1e-5 if exact else 0.25 * plain[-1])


# A mixture in more dimensions: the best denoiser in closed form


@pytest.mark.parametrize("d", [1, 2, 4])
def test_denoising_error_falls_by_two_orders_more_in_sigma(d, random_seed):
    """r = z + sigma^2 grad log p_sigma, p_sigma the mixture with wider components."""
    rng = np.random.default_rng(random_seed)
    covariances = np.stack([np.diag(rng.uniform(0.5, 1.5, d)) for _ in range(3)])
    means, weights = 0.8 * rng.standard_normal((3, d)), [0.5, 0.3, 0.2]

    def mixture(variance):
        factors = np.linalg.cholesky(covariances + variance * np.eye(d))
        return MixtureDensity(weights, means, factors, [np.inf] * 3)

    z = 0.7 * rows(40, d, random_seed)
    truth, sigmas = mixture(0.0).evaluate(z)[1], np.array([0.05, 0.1, 0.2])
    plain, left = [], []
    for sigma in sigmas:
        blurred = mixture(sigma**2)
        field = Reconstruction(lambda z, p=blurred: p.evaluate(z)[1], sigma**2)
        corrected, kept = corrected_score(field, z, sigma, 0.0)
        assert not kept.any()
        plain.append(largest_error(field.vector_field(z), truth))
        left.append(largest_error(corrected, truth))
    assert 1.7 < order(plain, sigmas) < 2.2
    assert 3.4 < order(left, sigmas) < 4.6, (plain, left)
    assert left[-1] < 0.2 * plain[-1]


# Derivatives


@pytest.mark.parametrize("kind", ["free", "tied"])
def test_closed_derivatives_and_differences_agree(kind, random_seed):
    """Of one hidden layer, whose differences are those of a field without a closed form."""
    d, k, tau = 2, 9, 0.04
    base, z = random_mixture(d, 1, random_seed), rows(20, d, random_seed)
    weight = rows(d, k, random_seed) / k**0.5
    bias, offset = 0.5 * rows(1, k, random_seed + 1)[0], rows(1, d, random_seed + 2)[0]
    back = weight.T + 0.1 * rows(k, d, random_seed + 3)
    own, decoder = [weight, bias, offset], TiedDecoder("tanh", tau, None)
    if kind == "free":
        own, decoder = [weight, bias, back, offset], FreeDecoder("tanh", tau, base.means[0])
    parameters = [*own, torch.ones(1, 1).double(), torch.zeros(1).double()]
    field = ScoreField(base, decoder, parameters, NoiseMetric(base, "isotropic"))
    for sigma, lam in ((0.2, 0.0), (0.0, 0.04), (0.1, 0.03)):
        closed, kept = corrected_score(field, z, sigma, lam)
        slow, kept_too = corrected_score(Reconstruction(field.vector_field, tau), z, sigma, lam)
        assert torch.equal(kept, kept_too)
        assert not kept.all()
        scale = closed.abs().max()
        assert scale > 0.5
        assert largest_error(closed, slow) < 5e-3 * scale
        assert largest_error(closed[~kept], field.vector_field(z)[~kept]) > 0.02 * scale


def test_formula_row_by_row(random_seed):
    """J^-1 [D - Lap r] and J^-1 [D - Lap r / 2], in NumPy, of a smooth random r."""
    a, b = rows(3, 6, random_seed), rows(6, 3, random_seed + 1)
    tau, z = 0.05, 0.5 * rows(12, 3, random_seed)

    def r(z):
        return z + 0.03 * torch.tanh(z @ a) @ b

    field = Reconstruction(lambda z: (r(z) - z) / tau, tau)
    jacobians = finite_differences(r, z).numpy()
    steps = 1e-3 * torch.eye(3, dtype=torch.float64)
    curvature = sum((r(z + s) + r(z - s) - 2.0 * r(z)) / 1e-6 for s in steps).numpy()
    plain = field.vector_field(z).numpy()
    for sigma, lam, share in ((0.0, tau, 1.0), (tau**0.5, 0.0, 0.5)):
        expected = [
            np.linalg.solve(j, p - share * c)
            for j, p, c in zip(jacobians, plain, curvature, strict=True)
        ]
        corrected, kept = corrected_score(field, z, sigma, lam)
        assert not kept.any()
        np.testing.assert_allclose(corrected, expected, rtol=2e-3, atol=2e-3)
        assert np.abs(corrected.numpy() - plain).max() > 0.05


# Flat rows


@pytest.mark.parametrize(("sigma", "lam"), [(0.3, 0.0), (0.0, 0.09)])
def test_flat_rows_keep_the_plain_score(sigma, lam):
    """r = max(z, 0): no derivative on the left, where there is nothing to divide by."""
    field = Reconstruction(lambda z: (torch.relu(z) - z) / 0.09, 0.09)
    z = torch.tensor([[-2.0], [-0.5], [0.5], [2.0]], dtype=torch.float64)
    corrected, kept = corrected_score(field, z, sigma, lam)
    assert kept.tolist() == [True, True, False, False]
    assert torch.equal(corrected[kept], field.vector_field(z)[kept])
    assert corrected[~kept].abs().max() < 1e-10


# The estimator


@pytest.fixture(scope="module")
def ring():
    """Rows of a thickened circle, the same for every seed."""
    return Ring().sample(300, 0)


SIGMA, UNITS = 0.3, np.array([2.0**10, 2.0**-7])


def corrected_model(rows, decoder, **options):
    return quick_estimator(
        decoder=decoder, hidden_layer_sizes=(16,), bias_correction=True, **options
    ).fit(rows)


@pytest.fixture(scope="module", params=["gradient", "free", "tied"])
def models(request, ring):
    """Three fits: of the rows, of the rows in other units, and of the rows uncorrected."""
    options = {
        "gradient": {"hidden_layer_sizes": (32, 32), "max_iter": 120},
        "free": {"hidden_layer_sizes": (12,), "max_iter": 40},
        "tied": {"hidden_layer_sizes": (32,), "max_iter": 150},
    }[request.param]
    options["calibration_weight"] = 4.0
    options["contraction_weight"] = 0.0 if request.param == "gradient" else 0.01
    plain = quick_estimator(
        decoder=request.param, noise_level=SIGMA, noise_covariance="isotropic", **options
    ).fit(ring)
    assert plain.network_gain_ > 0.0, "the network learned nothing"
    options = {**plain.get_params(), "bias_correction": True, "noise_covariance": "auto"}
    corrected, scaled = (
        type(plain)(**options).fit(rows) for rows in (ring, ring * UNITS + [3.0, -1.0])
    )
    return corrected, scaled, plain


# Rows that r is too flat to correct are part of the answer here.
@pytest.mark.filterwarnings("ignore:.* rows get the gradient of")
class TestFitted:
    def test_density_and_reconstruction_are_left_alone(self, models, ring):
        corrected, _, plain = models
        for question in ("score_samples", "reconstruct", "transform"):
            np.testing.assert_array_equal(
                getattr(corrected, question)(ring), getattr(plain, question)(ring)
            )
        np.testing.assert_array_equal(corrected.sample(20, 0), plain.sample(20, 0))
        change = corrected.log_density_gradient(ring) - plain.log_density_gradient(ring)
        assert np.median(np.abs(change)) > 0.02

    def test_hessian_is_the_derivative_of_the_corrected_gradient(self, models, ring):
        corrected, x, step = models[0], ring[:20], 1e-4
        shifts = step * np.eye(2)
        slopes = [
            corrected.log_density_gradient(x + s) - corrected.log_density_gradient(x - s)
            for s in shifts
        ]
        expected = np.stack(slopes, axis=2) / (2 * step)
        hessian = corrected.log_density_hessian(x)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(hessian, expected, atol=1e-3 * scale)

    def test_gradient_is_that_of_the_working_space_in_the_units_of_the_rows(self, models, ring):
        """d log p / dx = W d log p / dz, and z = (x - m) W."""
        corrected, _, _ = models
        z = torch.as_tensor((ring - corrected.location_) @ corrected.whitening_)
        field = corrected._fitted().field("cpu", torch.float64)
        with torch.no_grad():
            score, flat = corrected_score(field, z, SIGMA, corrected.contraction_weight)
            score = torch.where(flat[:, None], field.evaluate(z)[1], score)
        expected = score.numpy() @ corrected.whitening_.T
        np.testing.assert_allclose(corrected.log_density_gradient(ring), expected, rtol=1e-10)

    def test_units_change_nothing_but_the_units(self, models, ring):
        corrected, scaled, _ = models
        found = scaled.log_density_gradient(ring * UNITS + [3.0, -1.0]) * UNITS
        expected = corrected.log_density_gradient(ring)
        # Rounding of the rows grows in training, where steps are many.
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02 * np.abs(expected).max())

    def test_float32_rows_are_answered_in_float32(self, models, ring):
        corrected, _, _ = models
        narrow = corrected.log_density_gradient(ring.astype(np.float32))
        assert narrow.dtype == np.float32
        wide = corrected.log_density_gradient(ring.astype(np.float32).astype(np.float64))
        np.testing.assert_allclose(narrow, wide, rtol=1e-5, atol=1e-5 * np.abs(wide).max())


def test_noise_is_isotropic_by_default(ring):
    model = corrected_model(ring[:30], "gradient", max_iter=3)
    assert model._fitted().noise_covariance == "isotropic"


def test_flat_rows_are_counted_in_a_warning(ring):
    model = corrected_model(ring[:40], "tied", max_iter=6)
    model.coefs_ = [np.zeros_like(model.coefs_[0]), *model.coefs_[1:]]  # r = c, everywhere
    model.coefs_[-1] = np.ones_like(model.coefs_[-1])
    with pytest.warns(UserWarning, match="^7 of 7 rows get the gradient of") as caught:
        found = model.log_density_gradient(ring[:7])
    assert caught[0].filename == __file__
    slopes = finite_differences(
        lambda x: torch.as_tensor(model.score_samples(x.numpy())), torch.as_tensor(ring[:7])
    )
    np.testing.assert_allclose(found, slopes, atol=1e-5 * np.abs(found).max())


def test_gradient_decoder_that_learned_nothing_gives_the_score_of_the_base(random_seed):
    X = np.random.default_rng(random_seed).standard_normal((60, 2))
    model = corrected_model(X, "gradient", max_iter=2)
    assert model.network_gain_ == 0.0
    slopes = finite_differences(
        lambda x: torch.as_tensor(model.base_log_density(x.numpy())), torch.as_tensor(X)
    )
    np.testing.assert_allclose(model.log_density_gradient(X), slopes, atol=1e-6)


@pytest.mark.parametrize("decoder", ["gradient", "free", "tied"])
def test_local_noise_is_refused(decoder, ring):
    model = quick_estimator(decoder=decoder, bias_correction=True, noise_covariance="local")
    with pytest.raises(ValueError, match="Got noise_covariance='local', expected 'auto' or"):
        model.set_params(hidden_layer_sizes=8).fit(ring)
