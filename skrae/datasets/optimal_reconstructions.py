"""Optimal reconstructions of a known density on the line, and the scores they hold.

What an auto-encoder would learn from unlimited rows with unlimited capacity (Alain & Bengio 2014),
here by quadrature and by one linear system: a truth to hold a trained network against.

    criterion                                   optimum r
    E |r(x + sigma eps) - x|^2                  E[x | x + sigma eps = y]      `denoising_optimum`
    E |r(x) - x|^2 + lambda E r'(x)^2           r - x = lambda (r'' + r' s)   `contractive_optimum`

with s = d log p / dx, the score. In either case (r - x) / sigma^2 or (r - x) / lambda is the score
up to a bias of first order in sigma^2 or lambda. `correct_denoising` lowers its order by one,
`invert_contraction` removes it.
"""

import numpy as np
from scipy.linalg import solve_banded

from skrae.datasets.known_density import check_positive

__all__ = [
    "contractive_optimum",
    "correct_denoising",
    "denoising_optimum",
    "invert_contraction",
]

MIN_POINTS = 5
MASS_TOLERANCE = 1e-3
MAX_LOG_CHANGE = 300.0
POINTS_AT_ONCE = 256


def denoising_optimum(density, noise_level, grid):
    r"""The best denoiser of a density on the line, r(y) = E[x | x + sigma eps = y].

    Its expectations are trapezoid sums over the grid, whose error falls faster than any power of
    the step for a smooth p.

    Parameters
    ----------
    density : object with `log_density`, such as those of `skrae.datasets`
        p, normalised and with one feature.
    noise_level : float > 0
        sigma, in the units of the grid.
    grid : array-like of shape (n,)
        Equally spaced points y, at most sigma / 2 apart, that hold the probability of p.

    Returns
    -------
    reconstruction : ndarray of shape (n,)
        r on the grid.

    Raises
    ------
    ValueError
        For more than one feature, or a grid too coarse, too short or not equally spaced.

    See Also
    --------
    correct_denoising : The score that r holds.
    contractive_optimum : That of the other criterion.

    Notes
    -----
    Of all functions, with x from p and y = x + sigma eps, eps from N(0, 1), the least mean squared
    error has

    .. math::

        r(y) = \frac{\int x \, p(x) \, e^{-(y - x)^2 / 2 \sigma^2} \, dx}
        {\int p(x) \, e^{-(y - x)^2 / 2 \sigma^2} \, dx}.

    References
    ----------
    Alain & Bengio (2014), What regularized auto-encoders learn from the data-generating
    distribution, JMLR 15, theorem 1.

    Examples
    --------
    Of the standard normal density, r(y) = y / (1 + sigma^2).

    >>> import numpy as np
    >>> from skrae.datasets import Gaussian
    >>> from skrae.datasets import denoising_optimum
    >>> grid = np.linspace(-8, 8, 801)
    >>> denoising_optimum(Gaussian([0.0], [[1.0]]), 0.5, grid)[[300, 400, 500]].round(6)
    array([-1.6,  0. ,  1.6])
    """
    check_positive(noise_level=noise_level)
    grid, step = _check_grid(grid, noise_level, "noise_level")
    log_p = _check_mass(density, grid, step)
    reconstruction = np.empty_like(grid)
    for start in range(0, len(grid), POINTS_AT_ONCE):
        part = slice(start, start + POINTS_AT_ONCE)
        exponent = log_p - 0.5 * ((grid[part, None] - grid) / noise_level) ** 2
        posterior = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        reconstruction[part] = posterior @ grid / posterior.sum(axis=1)
    return reconstruction


def contractive_optimum(density, contraction_weight, grid):
    r"""The best contractive reconstruction, the least of E |r(x) - x|^2 + lambda E r'(x)^2.

    It comes from finite volumes, with an error of second order in the step over sqrt(lambda).

    Parameters
    ----------
    density : object with `log_density`, such as those of `skrae.datasets`
        p, normalised and with one feature, positive on the grid.
    contraction_weight : float > 0
        lambda, in squared units of the grid.
    grid : array-like of shape (n,)
        Equally spaced points x, at most sqrt(lambda) / 2 apart, that hold the probability of p.

    Returns
    -------
    reconstruction : ndarray of shape (n,)
        r on the grid.

    Raises
    ------
    ValueError
        For more than one feature, a density of zero, or a grid too coarse, too short or not
        equally spaced.

    See Also
    --------
    invert_contraction : The score that r holds.
    denoising_optimum : That of the other criterion.

    Notes
    -----
    The Euler-Lagrange equation, on the left in the conservative form that is solved, with no flux
    p r' through the ends, is

    .. math::

        \lambda (p r')' = p (r - x)
        \quad\Leftrightarrow\quad
        r - x = \lambda \left(r'' + r' \frac{d \log p}{dx}\right).

    References
    ----------
    Alain & Bengio (2014), What regularized auto-encoders learn from the data-generating
    distribution, JMLR 15, theorem 2 and appendix A.

    Examples
    --------
    Of the standard normal density, r(x) = x / (1 + lambda).

    >>> import numpy as np
    >>> from skrae.datasets import Gaussian
    >>> from skrae.datasets import contractive_optimum
    >>> grid = np.linspace(-8, 8, 801)
    >>> contractive_optimum(Gaussian([0.0], [[1.0]]), 0.25, grid)[[300, 400, 500]].round(3)
    array([-1.6,  0. ,  1.6])
    """
    check_positive(contraction_weight=contraction_weight)
    grid, step = _check_grid(grid, np.sqrt(contraction_weight), "sqrt(contraction_weight)")
    log_p = _check_mass(density, grid, step)
    log_between = density.log_density((grid[1:, None] + grid[:-1, None]) / 2)
    with np.errstate(invalid="ignore"):  # -inf less -inf, refused below
        up, down = log_between - log_p[:-1], log_between - log_p[1:]
    if not (np.abs(up).max() < MAX_LOG_CHANGE and np.abs(down).max() < MAX_LOG_CHANGE):
        raise ValueError(
            "Got a density that is zero, or changes too much between neighbours, at an end of the"
            " grid, expected a shorter grid on which it is positive."
        )
    # Flux coefficients relative to p of the cell on either side, so that no tail underflows.
    scale = contraction_weight / step**2
    up, down = scale * np.exp(up), scale * np.exp(down)
    # The cells of the two ends are half as wide.
    up[0], down[-1] = 2 * up[0], 2 * down[-1]
    bands = np.zeros((3, len(grid)))
    bands[0, 1:], bands[1], bands[2, :-1] = -up, 1.0, -down
    bands[1, :-1] += up
    bands[1, 1:] += down
    return solve_banded((1, 1), bands, grid)


def invert_contraction(reconstruction, contraction_weight, grid):
    """d log p / dx = [(r - x) / lambda - r''] / r', the score behind a contractive optimum.

    The Euler-Lagrange equation read backwards, by central differences: free of the bias of a
    finite lambda.

    Parameters
    ----------
    reconstruction : array-like of shape (n,)
        r on the grid: that of `contractive_optimum`, or a network's.
    contraction_weight : float > 0
        lambda, in squared units of the grid.
    grid : array-like of shape (n,)
        Equally spaced points x.

    Returns
    -------
    score : ndarray of shape (n,)
        NaN at the two ends, and where r' is not positive.

    Raises
    ------
    ValueError
        For a grid not equally spaced, or a reconstruction of another length.

    See Also
    --------
    contractive_optimum : A reconstruction to invert.
    correct_denoising : The same for a denoising one.

    Examples
    --------
    Of the standard normal density the score is -x; r is x / (1 + lambda).

    >>> import numpy as np
    >>> from skrae.datasets import invert_contraction
    >>> grid = np.linspace(-2, 2, 5)
    >>> invert_contraction(grid / (1 + 0.25), 0.25, grid).round(6)
    array([nan,  1.,  0., -1., nan])
    """
    check_positive(contraction_weight=contraction_weight)
    grid, step = _check_grid(grid)
    r = _check_reconstruction(reconstruction, grid)
    return _over_slope((r - grid) / contraction_weight - _second(r, step), r, step)


def correct_denoising(reconstruction, noise_level, grid):
    """[(r - x) / sigma^2 - r'' / 2] / r' = d log p / dx + O(sigma^4), from a denoising optimum.

    (r - x) / sigma^2 alone is the score of p blurred by the noise, off by O(sigma^2).

    Parameters
    ----------
    reconstruction : array-like of shape (n,)
        r on the grid: that of `denoising_optimum`, or a network's.
    noise_level : float > 0
        sigma, in the units of the grid.
    grid : array-like of shape (n,)
        Equally spaced points x.

    Returns
    -------
    score : ndarray of shape (n,)
        NaN at the two ends, and where r' is not positive.

    Raises
    ------
    ValueError
        For a grid not equally spaced, or a reconstruction of another length.

    See Also
    --------
    denoising_optimum : A reconstruction to correct.
    invert_contraction : The same for a contractive one, without a bias.

    Notes
    -----
    r = x + sigma^2 s_sigma with s_sigma = s + sigma^2 (s''/2 + s s') + O(sigma^4), the heat
    equation for the blurred density; and r' = 1 + sigma^2 s', r'' = sigma^2 s'' to that order.

    Examples
    --------
    Of the standard normal density the score is -x; r is x / (1 + sigma^2).

    >>> import numpy as np
    >>> from skrae.datasets import correct_denoising
    >>> grid = np.linspace(-2, 2, 5)
    >>> correct_denoising(grid / (1 + 0.25), 0.5, grid).round(6)
    array([nan,  1.,  0., -1., nan])
    """
    check_positive(noise_level=noise_level)
    grid, step = _check_grid(grid)
    r = _check_reconstruction(reconstruction, grid)
    return _over_slope((r - grid) / noise_level**2 - _second(r, step) / 2, r, step)


def _second(values, step):
    """Second derivative by central differences, NaN at the ends."""
    inner = (values[2:] - 2 * values[1:-1] + values[:-2]) / step**2
    return np.pad(inner, 1, constant_values=np.nan)


def _over_slope(numerator, values, step):
    slope = np.gradient(values, step)
    return np.divide(numerator, slope, out=np.full_like(slope, np.nan), where=slope > 0)


def _check_grid(grid, scale=np.inf, name=None):
    """The grid as an array and its step, at most half of `scale`, the number called `name`."""
    grid = np.asarray(grid, dtype=float)
    if grid.ndim != 1 or len(grid) < MIN_POINTS:
        raise ValueError(f"Got grid of shape {grid.shape}, expected (n,) with n >= {MIN_POINTS}.")
    steps = np.diff(grid)
    step = (grid[-1] - grid[0]) / len(steps)
    if not (np.isfinite(step) and step > 0 and np.allclose(steps, step, rtol=1e-6, atol=0)):
        raise ValueError(
            "Got an irregular grid, expected finite, increasing, equally spaced points."
        )
    if step > scale / 2:
        raise ValueError(
            f"Got a grid of step {step:.3g}, expected at most {name} / 2 = {scale / 2:.3g}."
        )
    return grid, step


def _check_mass(density, grid, step):
    """log p on the grid, which must hold its probability."""
    if getattr(density, "n_features", None) != 1:
        raise ValueError(
            f"Got a density with n_features={getattr(density, 'n_features', None)}, expected 1."
        )
    log_p = density.log_density(grid[:, None])
    mass = step * np.exp(log_p).sum()
    if not abs(mass - 1) < MASS_TOLERANCE:
        raise ValueError(
            f"Got a grid that holds a probability of {mass:.4g}, expected 1: take a longer or finer"
            " one."
        )
    return log_p


def _check_reconstruction(reconstruction, grid):
    reconstruction = np.asarray(reconstruction, dtype=float)
    if reconstruction.shape != grid.shape:
        raise ValueError(
            f"Got reconstruction of shape {reconstruction.shape}, expected {grid.shape}."
        )
    return reconstruction
