"""The theorems of regularized auto-encoders as tests: Alain & Bengio (2014) and what it leans on.

Optima of known densities, on the line by quadrature (`skrae.datasets`), in more dimensions by the
closed form for mixtures of Gaussians. Orders of convergence are slopes on a log-log scale.
"""

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize

from skrae import RegularizedAutoEncoderScore
from skrae.autoencoders.decoders.registry import make_decoder
from skrae.autoencoders.objectives import corrupt, denoising_loss
from skrae.datasets import (
    MixtureOfGaussians,
    SexticWell,
    contractive_optimum,
    correct_denoising,
    denoising_optimum,
    invert_contraction,
)
from skrae.density.score_field import NoiseMetric, ScoreField
from skrae.mixtures.mixture import MixtureDensity

GRID = np.linspace(-6.0, 6.0, 4801)
STEP = GRID[1] - GRID[0]
SMALL = np.array([0.16, 0.08, 0.04, 0.02])
N_DRAWS = 200_000
INNER = np.abs(GRID) < 4.0


def two_gaussians():
    return MixtureOfGaussians([0.3, 0.7], [[-1.0], [0.8]], [[[0.16]], [[0.49]]])


def mixture(d, seed=0):
    """Three correlated Gaussians of different widths in d dimensions."""
    rng = np.random.default_rng(seed)
    factors = np.tril(0.3 * rng.standard_normal((3, d, d)), -1) + 0.8 * np.eye(d)
    factors = np.array([0.4, 0.8, 1.2])[:, None, None] * factors
    return MixtureOfGaussians([0.3, 0.3, 0.4], rng.standard_normal((3, d)), factors @ factors.mT)


def blurred(density, sigma):
    """p_sigma = p * N(0, sigma^2 I), of a mixture of Gaussians one again."""
    covariances = density.covariances + sigma**2 * np.eye(density.n_features)
    return MixtureOfGaussians(density.weights, density.means, covariances)


def best_denoiser(density, sigma):
    """r(y) = y + sigma^2 grad log p_sigma(y), from rows to rows."""
    return lambda y: y + sigma**2 * blurred(density, sigma).gradient(y)


def shares(density):
    """Probabilities of the grid's cells."""
    p = np.exp(density.log_density(GRID[:, None]))
    return p / p.sum()


def score(density):
    return density.gradient(GRID[:, None])[:, 0]


def root_mean_square(values, density):
    return np.sqrt(shares(density)[INNER] @ values[INNER] ** 2)


def order(sizes, errors):
    """k of errors ~ sizes^k, between the two smallest sizes."""
    return np.diff(np.log(np.abs(errors[-2:]))).item() / np.diff(np.log(sizes[-2:])).item()


def jacobians(function, rows, step=1e-4):
    """Central differences of a function (n, d) -> (n, d), derivatives on the last axis."""
    shifts = step * np.eye(rows.shape[1])
    columns = [(function(rows + s) - function(rows - s)) / (2 * step) for s in shifts]
    return np.stack(columns, axis=-1)


def bends(function, rows, step=1e-3):
    """Laplacian of each output by central differences, (n, d)."""
    shifts = step * np.eye(rows.shape[1])
    return sum(function(rows + s) - 2 * function(rows) + function(rows - s) for s in shifts) / (
        step**2
    )


# Theorem 1: the best denoiser is a ratio of expectations over the noise, the posterior mean


@pytest.mark.parametrize("sigma", [0.1, 0.5])
def test_denoising_optimum_is_a_ratio_of_expectations_over_the_noise(sigma):
    """r(y) = E[p(y - eps)(y - eps)] / E[p(y - eps)], by adaptive quadrature over eps."""
    well = SexticWell()
    places = np.flatnonzero(np.abs(np.linspace(-2, 2, 1601)) < 1.2)[::160]
    grid = np.linspace(-2, 2, 1601)
    found = denoising_optimum(well, sigma, grid)

    def expectation(of, y):
        def integrand(t):
            x = y - sigma * t
            return of(x) * np.exp(well.log_density([[x]])[0] - t**2 / 2)

        return quad(integrand, -12, 12, epsabs=1e-13, epsrel=1e-12, limit=400)[0]

    for i in places:
        ratio = expectation(lambda x: x, grid[i]) / expectation(lambda x: 1.0, grid[i])
        assert found[i] == pytest.approx(ratio, abs=1e-9)


def test_denoising_optimum_minimises_the_criterion_over_functions_on_a_grid():
    """A quasi-Newton search over the values r(y_j) of E |r(y) - x|^2, from the identity."""
    density, sigma = two_gaussians(), 0.4
    x, y = np.linspace(-6, 6, 601), np.linspace(-3, 3, 31)
    joint = np.exp(density.log_density(x[:, None]) - 0.5 * ((y[:, None] - x) / sigma) ** 2)
    joint /= joint.sum(axis=1, keepdims=True)  # each y counts the same: a better scaled search

    def criterion(r):
        errors = r[:, None] - x
        return np.sum(joint * errors**2), 2 * np.sum(joint * errors, axis=1)

    found = minimize(criterion, y, jac=True, method="L-BFGS-B", options={"ftol": 1e-15}).x
    expected = denoising_optimum(density, sigma, x)[np.searchsorted(x, y - 1e-9)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_no_function_of_the_noisy_row_explains_the_error_of_the_optimum(d, random_seed):
    """E[(x - r(y)) v(y)] = 0 for any v, within 5 standard errors: stationarity of the criterion."""
    density, sigma, rng = mixture(d), 0.6, np.random.default_rng(random_seed)
    x = density.sample(N_DRAWS, rng)
    y = x + sigma * rng.standard_normal(x.shape)
    errors = x - best_denoiser(density, sigma)(y)
    plain = x - (y + sigma**2 * density.gradient(y))  # the score of p in place of p_sigma's
    directions = rng.standard_normal((d, 6))
    deviations = {"best": [], "plain": []}
    for name, residuals in (("best", errors), ("plain", plain)):
        for v in (np.ones((len(y), 1)), np.tanh(y @ directions), np.cos(2 * y @ directions)):
            products = residuals[:, :, None] * v[:, None, :]
            standard_errors = products.std(axis=0) / np.sqrt(N_DRAWS)
            deviations[name].append(np.abs(products.mean(axis=0) / standard_errors).max())
    assert max(deviations["best"]) < 5
    assert max(deviations["plain"]) > 10, "too few draws to see a wrong optimum"


def test_denoiser_by_score_is_the_denoiser_by_quadrature():
    """y + sigma^2 grad log p_sigma(y) = E[x | y]: Tweedie's formula."""
    for sigma in (0.1, 0.5, 2.0):
        found = denoising_optimum(two_gaussians(), sigma, GRID)[INNER]
        expected = best_denoiser(two_gaussians(), sigma)(GRID[:, None])[INNER, 0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)


# Proposition 1: denoising with small noise is contraction with lambda = sigma^2.
#
#     E|r(x + sigma eps) - x|^2
#         = E|r - x|^2 + sigma^2 E|dr/dx|^2 + sigma^2 E (r - x).Lap r + O(sigma^4)
#
# For a fixed r the last term is of the order of the penalty itself, so that the two criteria differ
# by o(sigma^2) only where r - x vanishes with sigma, as it does at the optima: with
# r = x + sigma^2 psi they differ by sigma^6 E[psi''' + psi psi''], two orders below the sigma^4
# that tells one psi from another.


def noisy_criterion(r, sigma, density, n_nodes=60):
    """E |r(x + sigma eps) - x|^2 by quadrature over the grid and Gauss-Hermite nodes."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
    squares = (r(GRID[:, None] + sigma * nodes) - GRID[:, None]) ** 2
    return shares(density) @ squares @ (weights / weights.sum())


def fixed_reconstruction(x):
    """A smooth r, its first and its second derivative."""
    return np.sin(1.5 * x), 1.5 * np.cos(1.5 * x), -2.25 * np.sin(1.5 * x)


def test_criteria_of_a_fixed_reconstruction_differ_in_second_order():
    density, share = two_gaussians(), shares(two_gaussians())
    r, slope, bend = fixed_reconstruction(GRID)
    noisy = np.array(
        [noisy_criterion(lambda x: fixed_reconstruction(x)[0], s, density) for s in SMALL]
    )
    contractive = share @ (r - GRID) ** 2 + SMALL**2 * (share @ slope**2)
    constant = share @ ((r - GRID) * bend)
    assert constant > 0.05
    differences = noisy - contractive
    assert order(SMALL, differences) == pytest.approx(2, abs=0.02)
    assert differences[-1] / SMALL[-1] ** 2 == pytest.approx(constant, rel=5e-3)
    assert order(SMALL, differences - SMALL**2 * constant) == pytest.approx(4, abs=0.05)


def test_criteria_agree_to_fourth_order_where_r_tends_to_the_identity():
    density, share = two_gaussians(), shares(two_gaussians())
    tanh = np.tanh(GRID)
    psi, first, second = tanh - GRID, -(tanh**2), -2 * tanh * (1 - tanh**2)
    third = -2 * (1 - tanh**2) * (1 - 3 * tanh**2)
    noisy = [noisy_criterion(lambda x, s=s: x + s**2 * (np.tanh(x) - x), s, density) for s in SMALL]
    contractive = share @ psi**2 * SMALL**4 + SMALL**2 * [
        share @ (1 + s**2 * first) ** 2 for s in SMALL
    ]
    differences = np.array(noisy) - contractive
    constant = share @ (third + psi * second)
    assert abs(constant) > 0.05
    assert order(SMALL[:3], differences[:3]) == pytest.approx(6, abs=0.1)
    assert differences[2] / SMALL[2] ** 6 == pytest.approx(constant, rel=0.02)


@pytest.mark.parametrize("sigma", [0.1, 2.0])
def test_criteria_are_equal_for_affine_reconstructions(sigma):
    """r = a x + b has no second derivative: proposition 1 without a remainder."""
    density, share, (a, b) = two_gaussians(), shares(two_gaussians()), (0.6, -0.3)
    contractive = share @ ((a - 1) * GRID + b) ** 2 + sigma**2 * a**2
    noisy = noisy_criterion(lambda x: a * x + b, sigma, density)
    assert noisy == pytest.approx(contractive, rel=1e-12)


def test_second_order_difference_in_three_dimensions():
    """E (r - x).Lap r again, by Monte Carlo over x and antithetic noise."""
    d, sigma, rng = 3, 0.1, np.random.default_rng(0)
    inward = rng.standard_normal((d, d)) / 2

    def r(x):
        return np.tanh(x @ inward) @ inward.T

    x, eps = mixture(d).sample(N_DRAWS, rng), rng.standard_normal((N_DRAWS, d))
    noisy = [np.sum((r(x + s * sigma * eps) - x) ** 2, axis=1) for s in (-1, 1)]
    contractive = np.sum((r(x) - x) ** 2, axis=1)
    # |J eps|^2 in place of |J|^2: the same mean, and the noise cancels against the left side.
    pushed = (r(x + 1e-4 * eps) - r(x - 1e-4 * eps)) / 2e-4
    contractive = contractive + sigma**2 * np.sum(pushed**2, axis=1)
    differences = (noisy[0] + noisy[1]) / 2 - contractive
    expected = sigma**2 * np.sum((r(x) - x) * bends(r, x), axis=1)
    error = (differences - expected).std() / np.sqrt(N_DRAWS)
    remainder = 0.05 * expected.mean()  # O(sigma^4)
    assert abs(differences.mean() - expected.mean()) < 5 * error + remainder
    assert expected.mean() > 20 * error, "too few draws to see the term"


# Theorem 2: the contractive optimum, and the score both optima estimate


@pytest.mark.parametrize("lam", [0.01, 0.25])
def test_contractive_optimum_is_score_matching_with_a_ridge_on_the_slope(lam):
    """psi = (r - x) / lambda makes E[(psi - s)^2] + lambda E[psi'^2] stationary in psi."""
    density, share = two_gaussians(), shares(two_gaussians())
    psi = (contractive_optimum(density, lam, GRID) - GRID) / lam
    slope = np.gradient(psi, GRID, edge_order=2)
    for k in range(5):
        v, v_slope = np.sin(k * GRID + 1), k * np.cos(k * GRID + 1)
        parts = share @ ((psi - score(density)) * v), lam * share @ (slope * v_slope)
        assert abs(sum(parts)) < 1e-4
        assert k == 0 or abs(parts[1]) > 1e-3, "the two parts should not vanish by themselves"


def test_criterion_of_the_contractive_optimum_is_a_fisher_divergence():
    """E|r - x|^2 + lambda E r'^2 = lambda + lambda^2 (E[(psi - s)^2 - s^2] + lambda E psi'^2)."""
    density, share, lam = two_gaussians(), shares(two_gaussians()), 0.1
    for psi in (-GRID, np.sin(GRID), score(density)):
        slope = np.gradient(psi, GRID, edge_order=2)
        criterion = share @ (lam * psi) ** 2 + lam * share @ (1 + lam * slope) ** 2
        s = score(density)
        fisher = share @ (psi - s) ** 2 - share @ s**2 + lam * share @ slope**2
        assert criterion == pytest.approx(lam + lam**2 * fisher, rel=1e-5)


def estimated_scores(density, name):
    """The score estimates (r - x) / tau of one kind of optimum at each of the SMALL levels."""
    optimum = {"denoising": denoising_optimum, "contractive": contractive_optimum}[name]
    for level in SMALL:
        tau = level**2
        r = optimum(density, level if name == "denoising" else tau, GRID)
        yield tau, r, (r - GRID) / tau


@pytest.mark.parametrize(("name", "share_of_bend"), [("denoising", 0.5), ("contractive", 1.0)])
def test_error_of_the_score_is_of_first_order_in_tau(name, share_of_bend):
    """(r - x)/tau - s = tau (c s'' + s s') + O(tau^2), c = 1/2 for denoising, 1 for contraction."""
    density = two_gaussians()
    s = score(density)
    slope = np.gradient(s, STEP)
    bias = share_of_bend * np.gradient(slope, STEP) + s * slope
    errors = [psi - s for _, _, psi in estimated_scores(density, name)]
    sizes = [root_mean_square(error, density) for error in errors]
    assert order(SMALL, sizes) == pytest.approx(2, abs=0.05)
    remainders = [
        root_mean_square(e - t * bias, density) for e, t in zip(errors, SMALL**2, strict=True)
    ]
    assert remainders[-1] < 0.02 * sizes[-1]
    assert order(SMALL, remainders) == pytest.approx(4, abs=0.1)


def test_corrected_scores_are_one_order_better_or_exact():
    density = two_gaussians()
    s, sizes = score(density), []
    for level in SMALL:
        r = denoising_optimum(density, level, GRID)
        sizes.append(root_mean_square(correct_denoising(r, level, GRID) - s, density))
        r = contractive_optimum(density, level**2, GRID)
        exact = root_mean_square(invert_contraction(r, level**2, GRID) - s, density)
        assert exact < 1e-4 * root_mean_square(s, density)
    assert order(SMALL[:3], sizes[:3]) == pytest.approx(4, abs=0.3)


@pytest.mark.parametrize("name", ["denoising", "contractive"])
def test_slope_of_the_optimum_holds_the_second_derivative(name):
    """(dr/dx - 1)/tau = d^2 log p/dx^2 + O(tau), Alain & Bengio (2014, section 3)."""
    density, errors = two_gaussians(), []
    truth = np.gradient(score(density), STEP)
    for tau, r, _ in estimated_scores(density, name):
        errors.append(root_mean_square((np.gradient(r, STEP) - 1) / tau - truth, density))
    assert order(SMALL, errors) == pytest.approx(2, abs=0.1)
    assert errors[-1] < 0.02 * root_mean_square(truth, density)


@pytest.mark.parametrize("d", [2, 4])
def test_jacobian_of_the_optimum_holds_the_hessian(d):
    density, rows = mixture(d), mixture(d).sample(300, random_state=1)
    truth = jacobians(density.gradient, rows)
    errors = []
    for level in SMALL:
        slopes = jacobians(best_denoiser(density, level), rows)
        np.testing.assert_allclose(slopes, slopes.mT, rtol=0, atol=1e-7)
        estimate = (slopes - np.eye(d)) / level**2
        errors.append(np.sqrt(np.mean((estimate - truth) ** 2)))
    assert order(SMALL, errors) == pytest.approx(2, abs=0.1)


# Local moments: r is the mean of p in a Gaussian window, sigma^2 dr/dx its covariance


@pytest.mark.parametrize(("d", "sigma"), [(1, 0.3), (3, 0.5)])
def test_local_mean_and_covariance_are_those_in_a_gaussian_window(d, sigma, random_seed):
    """Rows of p weighted by N(x; y, sigma^2 I), every entry within 5 standard errors."""
    density, rng = mixture(d), np.random.default_rng(random_seed)
    x, places = density.sample(N_DRAWS, rng), density.sample(8, rng)
    r = best_denoiser(density, sigma)
    means, covariances = r(places), sigma**2 * jacobians(r, places)
    for y, mean, covariance in zip(places, means, covariances, strict=True):
        weights = np.exp(-0.5 * np.sum(((x - y) / sigma) ** 2, axis=1))
        weights /= weights.sum()
        # About the claimed mean, so that either moment is a plain weighted mean.
        deviations = x - mean
        products = deviations[:, :, None] * deviations[:, None, :] - covariance
        for terms in (deviations, products.reshape(N_DRAWS, -1)):
            errors = np.sqrt(weights**2 @ terms**2)
            assert (np.abs(weights @ terms) < 5 * errors).all()
        assert np.sqrt(weights**2 @ np.sum(deviations**2, axis=1)) < 0.1 * sigma, "too few draws"
        assert np.linalg.eigvalsh(covariance).min() > 0
    narrowing = np.abs(covariances / sigma**2 - np.eye(d)).max()
    assert narrowing > 0.05, "the window alone should not explain the moments"


def test_slope_of_the_denoiser_is_the_posterior_variance():
    """sigma^2 r' = Var[x | y], both by quadrature."""
    sigma, density = 0.3, SexticWell()
    grid = np.linspace(-2, 2, 2001)
    r = denoising_optimum(density, sigma, grid)
    exponent = density.log_density(grid[:, None]) - 0.5 * ((grid[:, None] - grid) / sigma) ** 2
    posterior = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    posterior /= posterior.sum(axis=1, keepdims=True)
    variance = posterior @ grid**2 - (posterior @ grid) ** 2
    inner = slice(400, 1601)
    found = sigma**2 * np.gradient(r, grid)
    np.testing.assert_allclose(found[inner], variance[inner], rtol=1e-3)


@pytest.mark.parametrize("decoder", ["free", "tied"])
def test_fitted_auto_encoder_knows_the_local_moments(decoder, random_seed):
    """`local_moments` beside the closed form; the moments of the window alone would err by 1."""
    density, sigma = mixture(2), 0.6
    model = RegularizedAutoEncoderScore(
        sigma,
        decoder=decoder,
        noise_covariance="isotropic",
        scaling=None,
        calibration_weight=0.0,
        base_density="gaussian",
        max_iter=300,
        random_state=random_seed,
    ).fit(density.sample(5000, random_seed))
    rng = np.random.default_rng(random_seed)
    y = density.sample(500, rng)
    y = y + sigma * rng.standard_normal(y.shape)
    r = best_denoiser(density, sigma)
    means, covariances = model.local_moments(y)
    narrowing = jacobians(r, y) - np.eye(2)
    assert np.linalg.norm(means - r(y)) < 0.35 * np.linalg.norm(r(y) - y)
    error = covariances / sigma**2 - np.eye(2) - narrowing
    assert np.linalg.norm(error) < 0.5 * np.linalg.norm(narrowing)


# Gaussian data: one optimum for both criteria


@pytest.mark.parametrize("tau", [0.04, 1.0, 9.0])
def test_gaussian_rows_have_one_optimum_for_both_criteria(tau, random_seed):
    """r = C (C + tau I)^-1 x solves r - x = tau (Lap r + J grad log p) and Tweedie's formula."""
    d, rng = 4, np.random.default_rng(random_seed)
    factor = np.tril(rng.standard_normal((d, d)), -1) + np.eye(d)
    covariance = factor @ factor.T
    density = MixtureOfGaussians([1.0], np.zeros((1, d)), covariance)
    slope = covariance @ np.linalg.inv(covariance + tau * np.eye(d))
    rows = density.sample(20, rng)
    np.testing.assert_allclose(rows @ slope.T, best_denoiser(density, np.sqrt(tau))(rows), 1e-9)
    excess = rows @ slope.T - rows - tau * density.gradient(rows) @ slope.T
    np.testing.assert_allclose(excess, 0, atol=1e-9)


# Untied auto-encoders become more conservative as they learn to denoise (Im et al. 2016)


def trained_curls(density, sigma, checks, seed):
    """Curl of a free decoder's field from random weights, after these numbers of steps."""
    draws, size = torch.Generator().manual_seed(seed), 200
    x = torch.as_tensor(density.sample(20_000, seed), dtype=torch.float32)
    base = MixtureDensity([1.0], np.zeros((1, 2)), np.eye(2)[None], [np.inf])
    decoder, metric = (
        make_decoder("free", "silu", sigma**2, base.mean),
        NoiseMetric(base, "isotropic"),
    )
    factors, ones = torch.eye(2).expand(2 * size, 2, 2), torch.ones(2 * size)
    parameters = decoder.initial_parameters(2, (64,), draws)
    parameters = [p.clone().requires_grad_() for p in parameters]
    optimizer, curls = torch.optim.Adam(parameters[:-2], lr=0.003), []
    for step in range(1, max(checks) + 1):
        rows = x[torch.randint(len(x), (size,), generator=draws)]
        noise = torch.randn(rows.shape, generator=draws)
        noisy, whitened = corrupt(rows, factors[:size], factors[:size], sigma, noise)
        psi = (decoder.reconstruct(noisy, parameters) - noisy) / sigma**2
        loss = denoising_loss(psi, whitened, factors, ones, sigma, sigma**2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in checks:
            curls.append(ScoreField(base, decoder, parameters, metric).curl(x[:500].double()))
    return curls


def test_training_makes_an_untied_auto_encoder_more_conservative(random_seed):
    """curl = |J - J^T| / (2 |J|) falls, though no term of the criterion asks for it."""
    early, late = trained_curls(mixture(2), 0.6, (50, 1000), random_seed)
    assert early > 0.05
    assert late < 0.5 * early
