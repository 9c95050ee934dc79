"""Optimal reconstructions: closed forms, stationarity, the paper's density and its figures."""

import numpy as np
import pytest

from skrae.datasets import (
    Gaussian,
    LogGamma,
    MixtureOfGaussians,
    Ring,
    SexticWell,
    contractive_optimum,
    correct_denoising,
    denoising_optimum,
    invert_contraction,
)

WELL = SexticWell()
GRID = np.linspace(-2.0, 2.0, 8001)


def relative_error(estimate, density, grid):
    """sqrt(E_p |estimate - score|^2 / E_p |score|^2), the two ends left out."""
    p = np.exp(density.log_density(grid[:, None]))[1:-1]
    score = density.gradient(grid[:, None])[1:-1, 0]
    return np.sqrt(p @ (estimate[1:-1] - score) ** 2 / (p @ score**2))


def two_gaussians():
    return MixtureOfGaussians([0.3, 0.7], [[-1.0], [0.8]], [[[0.16]], [[0.49]]])


# Closed forms


@pytest.mark.parametrize("s", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("tau", [0.01, 0.25, 4.0])
def test_optima_of_a_gaussian(s, tau):
    """r = m + (x - m) s^2 / (s^2 + tau), whichever the criterion."""
    mean, grid = 0.7, np.linspace(0.7 - 10 * s, 0.7 + 10 * s, 2001)
    density = Gaussian([mean], [[s**2]])
    if np.sqrt(tau) / 2 < grid[1] - grid[0]:
        grid = np.linspace(grid[0], grid[-1], 8001)
    expected = mean + (grid - mean) * s**2 / (s**2 + tau)
    inner = np.abs(grid - mean) < 5 * s
    found = denoising_optimum(density, np.sqrt(tau), grid)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=0, atol=1e-9 * s)
    found = contractive_optimum(density, tau, grid)
    np.testing.assert_allclose(found[inner], expected[inner], rtol=0, atol=1e-3 * s)


@pytest.mark.parametrize("sigma", [0.05, 0.4, 3.0])
def test_denoising_optimum_of_a_mixture_is_the_mean_of_its_posteriors(sigma):
    density, grid = two_gaussians(), np.linspace(-7, 7, 1401)
    variances = density.covariances[:, 0, 0]
    total = variances + sigma**2
    squares = (grid[:, None] - density.means[:, 0]) ** 2 / total
    shares = density.weights * np.exp(-0.5 * (squares - squares.min(1, keepdims=True)))
    shares = shares / np.sqrt(total)
    means = (sigma**2 * density.means[:, 0] + grid[:, None] * variances) / total
    expected = (shares * means).sum(1) / shares.sum(1)
    found = denoising_optimum(density, sigma, grid)
    inner = np.abs(grid) < 4
    np.testing.assert_allclose(found[inner], expected[inner], rtol=0, atol=1e-10)


# Stationarity: the criterion's derivative in every direction v is zero


@pytest.mark.parametrize("lam", [0.09, 0.01, 0.0009])
def test_contractive_optimum_is_stationary(lam):
    """E[(r - x) v + lambda r' v'] = 0, by a quadrature that is not the solver's."""
    r, p = contractive_optimum(WELL, lam, GRID), np.exp(WELL.log_density(GRID[:, None]))
    slope, share = np.gradient(r, GRID, edge_order=2), p / p.sum()
    for k in range(6):
        v, v_slope = np.cos(k * GRID), -k * np.sin(k * GRID)
        parts = share * (r - GRID) * v, share * lam * slope * v_slope
        assert abs(sum(part.sum() for part in parts)) < 1e-6
    assert np.abs(parts[0]).sum() > 1e-4, "the two parts should not vanish by themselves"


@pytest.mark.parametrize("lam", [0.25, 0.01])
def test_contractive_optimum_solves_its_equation_up_to_second_order(lam):
    """Halving the step divides the residual of r - x = lambda (r'' + r' s) by four."""
    density, residuals = two_gaussians(), []
    for n in (801, 1601):
        grid = np.linspace(-4, 4, n)
        fine = np.linspace(-4, 4, 16001)
        r = contractive_optimum(density, lam, fine)[:: 16000 // (n - 1)]
        error = contractive_optimum(density, lam, grid) - r
        residuals.append(np.abs(error).max())
    assert 3.5 < residuals[0] / residuals[1] < 4.5


def test_contractive_optimum_has_flat_ends_and_rises_between():
    r = contractive_optimum(WELL, 0.01, GRID)
    slope = np.gradient(r, GRID)
    assert (slope > 0).all()
    assert max(slope[0], slope[-1]) < 0.05 * slope.max()


# The paper's density on the line: errors of the plain estimate, and of the corrected ones


@pytest.mark.parametrize(
    ("tau_root", "plain"), [(0.3, 0.767), (0.1, 0.415), (0.03, 0.0821), (0.01, 0.01059)]
)
def test_contractive_score_of_the_sextic_well(tau_root, plain):
    lam = tau_root**2
    r = contractive_optimum(WELL, lam, GRID)
    assert relative_error((r - GRID) / lam, WELL, GRID) == pytest.approx(plain, rel=2e-3)
    assert relative_error(invert_contraction(r, lam, GRID), WELL, GRID) < 1e-5


@pytest.mark.parametrize(
    ("sigma", "plain", "corrected"),
    [(0.3, 0.798, 0.577), (0.1, 0.429, 0.0978), (0.03, 0.0894, 0.00349), (0.01, 0.01162, 5.8e-5)],
)
def test_denoising_score_of_the_sextic_well(sigma, plain, corrected):
    grid = np.linspace(-2, 2, 4001)
    r = denoising_optimum(WELL, sigma, grid)
    assert relative_error((r - grid) / sigma**2, WELL, grid) == pytest.approx(plain, rel=2e-3)
    found = relative_error(correct_denoising(r, sigma, grid), WELL, grid)
    assert found == pytest.approx(corrected, rel=1e-2)


def test_inversion_needs_no_small_lambda():
    """At any lambda, the score to the order of the step; so also where the two modes merge."""
    density, grid = two_gaussians(), np.linspace(-4, 4, 4001)
    for lam in (0.01, 1.0, 25.0):
        found = invert_contraction(contractive_optimum(density, lam, grid), lam, grid)
        assert relative_error(found, density, grid) < 1e-5
    assert relative_error((contractive_optimum(density, 1.0, grid) - grid), density, grid) > 0.3


@pytest.mark.parametrize("invert", [invert_contraction, correct_denoising])
def test_score_is_nan_at_the_ends_and_where_r_falls(invert):
    grid = np.linspace(-1, 1, 11)
    r = np.where(grid < 0, 0.5 * grid, -0.5 * grid)
    score = invert(r, 0.2, grid)
    np.testing.assert_array_equal(np.isnan(score), (np.arange(11) == 0) | (grid > -1e-9))


# Bad input

FLAT = np.linspace(0.0, 1.0, 6)
BAD_GRIDS = [
    (np.zeros((6, 1)), r"Got grid of shape \(6, 1\), expected \(n,\) with n >= 5"),
    (np.arange(4.0), r"Got grid of shape \(4,\), expected"),
    (FLAT[::-1], "Got an irregular grid, expected finite, increasing, equally spaced"),
    (FLAT**2, "Got an irregular grid"),
    (np.where(FLAT == 1.0, np.nan, FLAT), "Got an irregular grid"),
]
BOTH = pytest.mark.parametrize("optimum", [denoising_optimum, contractive_optimum])


@pytest.mark.parametrize(("grid", "message"), BAD_GRIDS)
def test_bad_grid_is_refused(grid, message):
    for function, first in (
        (denoising_optimum, WELL),
        (contractive_optimum, WELL),
        (invert_contraction, grid),
        (correct_denoising, grid),
    ):
        with pytest.raises(ValueError, match=message):
            function(first, 1.0, grid)


@pytest.mark.parametrize("size", [0.0, -1.0, np.nan, np.inf, None])
def test_bad_regularisation_is_refused(size):
    for function, first, name in (
        (denoising_optimum, WELL, "noise_level"),
        (contractive_optimum, WELL, "contraction_weight"),
        (invert_contraction, GRID, "contraction_weight"),
        (correct_denoising, GRID, "noise_level"),
    ):
        with pytest.raises(ValueError, match=f"Got {name}={size}, expected a positive finite"):
            function(first, size, GRID)


@BOTH
def test_density_of_two_features_is_refused(optimum):
    with pytest.raises(ValueError, match="Got a density with n_features=2, expected 1"):
        optimum(Ring(), 0.1, GRID)


@BOTH
def test_short_grid_is_refused(optimum):
    with pytest.raises(
        ValueError, match=r"Got a grid that holds a probability of 0\.\d+, expected 1"
    ):
        optimum(WELL, 0.1, np.linspace(-0.5, 0.5, 1001))


def test_coarse_grid_is_refused():
    grid = np.linspace(-2, 2, 101)
    with pytest.raises(
        ValueError, match=r"Got a grid of step 0\.04, expected at most noise_level / 2 = 0\.035"
    ):
        denoising_optimum(WELL, 0.07, grid)
    with pytest.raises(ValueError, match=r"at most sqrt\(contraction_weight\) / 2 = 0\.035"):
        contractive_optimum(WELL, 0.07**2, grid)


@pytest.mark.parametrize(
    ("density", "grid"),
    [(LogGamma(n_features=1), (-20.0, 740.0)), (WELL, (-30.0, 30.0))],
)
def test_grid_far_beyond_the_density_is_refused_by_the_solver(density, grid):
    with pytest.raises(
        ValueError,
        match=r"Got a density that is zero, or changes too much.*expected a shorter grid",
    ):
        contractive_optimum(density, 1.0, np.linspace(*grid, 12001))


def test_reconstruction_of_another_length_is_refused():
    for function in (invert_contraction, correct_denoising):
        with pytest.raises(
            ValueError, match=r"Got reconstruction of shape \(3,\), expected \(8001,\)"
        ):
            function(np.zeros(3), 0.1, GRID)
