"""The density of the codes, from which new codes are drawn.

"mixture" is a mixture of Gaussians of a size that codes held out prefer, "normal" one Gaussian
without correlations, which is what codes of large entropy resemble (Ghose, Rashwan & Poupart 2020);
any other object with ``fit`` and ``sample`` has a copy of it fitted.
"""

from copy import copy

import numpy as np
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from skrae.preprocessing.contract.work import check_time, ended_early, interruptible
from skrae.preprocessing.draws import draws_of
from skrae.preprocessing.scales import ROUNDING, location_and_scale

NAMES = "mixture", "normal"
# Components that are tried, each with this many codes at least; the ridge of their covariances in
# units of the variance of the codes; and steps of EM that suffice.
SIZES, CODES_A_COMPONENT, RIDGE, MAX_STEPS = (1, 2, 4, 8, 16, 32, 64), 2, 1e-3, 1000
# Up to here all are tried: two components may split two clusters across, and four do not.
LEAST_TRIED = 4
# Codes held out: at least so many, or a quarter of few.
HELD_OUT_SHARE, MIN_HELD_OUT = 0.1, 30
# Codes that are enough to choose and fit a mixture.
MAX_CODES = 10_000
# The deviation of units of the code that do not vary, as a share of the largest.
LEAST_DEVIATION = 1e-6
# Draws that tell the variance of all.
N_DRAWS = 4096


def with_code_density(result, rows, density, rng, device):
    """The `AutoEncoderFit` with a density of the codes and the noise that its decoded draws lack.

    Draws have as much variance as the rows: x given h varies by what E(x | h) does not.

    Parameters
    ----------
    result : AutoEncoderFit
    rows : WeightedRows, in working space
    density : one of `NAMES`, or an object with ``fit`` and ``sample``
    rng : numpy.random.RandomState
    device : str
    """
    z, weights = rows.z.numpy(), rows.weights.numpy()
    answers = result.fitted.on(device)
    codes = answers.encode(z)
    fitted = fit_code_density(density, codes, weights, rng)
    draws = answers.decode(answers.in_range(draw_codes(fitted, N_DRAWS, codes.shape[1], rng)))
    variance = weights @ z**2 / weights.sum()  # of mean 0
    lacking = (variance - draws.var(axis=0)) * answers.space.scale**2
    noise_variance = np.clip(lacking, 0.0, result.residual_variance)
    return result._replace(code_density=fitted, noise_variance=noise_variance)


def fit_code_density(density, codes, weights, rng):
    """A density fitted to weighted codes.

    Parameters
    ----------
    density : one of `NAMES`, or an object with ``fit`` and ``sample``
    codes : array of shape (n, k)
    weights : array of shape (n,), of mean 1
    rng : numpy.random.RandomState

    Returns
    -------
    density : a fitted `sklearn.mixture.GaussianMixture`, or a copy of the object, fitted
    """
    if not isinstance(density, str):
        return _seeded_copy(density, rng).fit(_as_rows(codes, weights, len(codes), rng))
    mean, scale = _units(codes, weights)
    u = (_as_rows(codes, weights, min(len(codes), MAX_CODES), rng) - mean) / scale
    seed = rng.randint(2**31 - 1)
    found = _mixture(u, seed) if density == "mixture" else _gaussians(1, seed, "diag").fit(u)
    return _rescaled(found, mean, scale)


def draw_codes(density, n_codes, n_components, rng):
    """Codes (n_codes, n_components) from a fitted density, in random order.

    Parameters
    ----------
    density : object with ``sample``, which may give labels too, as scikit-learn's mixtures do
    n_codes, n_components : int
    rng : numpy.random.RandomState

    Raises
    ------
    ValueError
        Where the density gives no such codes.
    """
    codes = _sampled(density, n_codes, rng.randint(2**31 - 1))
    if codes.shape != (n_codes, n_components) or not np.isfinite(codes).all():
        raise ValueError(
            f"Got draws of shape {codes.shape}, {np.isfinite(codes).sum()} of their entries finite,"
            f" from the code_density {type(density).__name__}, expected finite codes of shape"
            f" {(n_codes, n_components)}."
        )
    return codes[rng.permutation(n_codes)]


def _sampled(density, n_codes, seed):
    own, scale = density, 1.0
    if isinstance(density, GaussianMixture) and density.covariance_type in ("full", "diag"):
        # NumPy judges covariances as those of units of order one.
        squares = density.covariances_.mean(axis=0)
        scale = np.sqrt(squares if squares.ndim == 1 else np.diag(squares))
        own = _rescaled(copy(density), 0.0, 1.0 / scale)
    return scale * draws_of(own, n_codes, seed)


def _seeded_copy(density, rng):
    """An unfitted copy, its random states seeded where they are not."""
    fresh = clone(density, safe=False)
    parameters = fresh.get_params() if hasattr(fresh, "get_params") else {}
    for name in sorted(parameters):
        if name.endswith("random_state") and parameters[name] is None:
            fresh.set_params(**{name: rng.randint(2**31 - 1)})
    return fresh


def _as_rows(codes, weights, size, rng):
    """Codes in random order, at most so many, each about as often as it weighs."""
    if (weights == weights[0]).all():
        return codes[rng.permutation(len(codes))[:size]]
    places = (np.arange(size) + rng.uniform()) / size
    index = np.searchsorted(np.cumsum(weights) / weights.sum(), places)
    return codes[rng.permutation(np.minimum(index, len(codes) - 1))]


def _units(codes, weights):
    mean, scale = location_and_scale(codes, weights / weights.sum())
    least = LEAST_DEVIATION * (scale.max() or 1.0)
    return mean, np.where(scale > ROUNDING * np.abs(mean), np.maximum(scale, least), least)


def _gaussians(n_components, seed, covariance_type="full", means=None):
    return GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        reg_covar=RIDGE,
        init_params="k-means++",
        means_init=means,
        max_iter=MAX_STEPS,
        random_state=seed,
    )


def _mixture(u, seed):
    """The mixture of the size that held-out codes prefer, refitted to all."""
    n_held_out = max(int(HELD_OUT_SHARE * len(u)), min(MIN_HELD_OUT, len(u) // 4))
    held_out, rest = u[:n_held_out], u[n_held_out:]
    found = _gaussians(1, seed).fit(u)
    if n_held_out == 0 or ended_early():
        return found
    with interruptible():
        best = _preferred(held_out, rest, seed)
        if best.n_components > 1:
            found = _gaussians(best.n_components, seed, means=best.means_).fit(u)
    return found


def _preferred(held_out, rest, seed):
    """The mixture of the rest of the first size after which held-out codes gain no more."""
    best = _gaussians(1, seed).fit(rest)
    value = best.score(held_out)
    for size in SIZES[1:]:
        if len(rest) < CODES_A_COMPONENT * size:
            break
        check_time()
        fresh = _gaussians(size, seed).fit(rest)
        fresh_value = fresh.score(held_out)
        if fresh_value > value:
            best, value = fresh, fresh_value
        elif size >= LEAST_TRIED:
            break
    return best


def _rescaled(mixture, mean, scale):
    """The mixture of mean + scale u, where the given one is of u."""
    mixture.means_ = mean + scale * mixture.means_
    if mixture.covariance_type == "diag":
        squares, rows = scale**2, scale
    else:
        squares, rows = np.outer(scale, scale), scale[:, None]
    mixture.covariances_ = mixture.covariances_ * squares
    mixture.precisions_ = mixture.precisions_ / squares
    mixture.precisions_cholesky_ = mixture.precisions_cholesky_ / rows
    mixture.means_init = None
    return mixture
