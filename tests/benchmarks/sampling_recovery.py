"""Do the draws follow the law? The distance from a curve of 25 Gaussians, and weights of modes."""

import numpy as np

from skrae import RAESampler, RegularizedAutoEncoderScore
from skrae.datasets import GaussianCurve
from tests.benchmarks.records import table
from tests.benchmarks.sampling_ours import skrae
from tests.benchmarks.sampling_peers import fit_mixture
from tests.sampling.known_targets import Known, five_modes

N_DIRECTIONS = 1000
FLOOR_PAIRS = 10
LIMIT = 1.5
N_REPEATS = 5
BASE_ROWS = 2000
WALK_SD, WALK_CHAINS, WALK_BURN_IN, WALK_THIN = 0.1, 50, 2000, 100
CURVE_SIZES = (5, 10, 15, 20, 25, 30, 40)


def sliced_wasserstein(X, Y, n_directions=N_DIRECTIONS, seed=0):
    """Mean over random directions of the distance W1 between the projections of equally many rows.

    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(sliced_wasserstein(X, X), 3)
    0.0
    """
    directions = np.random.default_rng(seed).standard_normal((X.shape[1], n_directions))
    directions /= np.linalg.norm(directions, axis=0)
    return float(np.abs(np.sort(X @ directions, 0) - np.sort(Y @ directions, 0)).mean())


# --- the curve ------------------------------------------------------------------------------------


def curve_table(size):
    """Sliced Wasserstein distance from fresh draws: mean and sd over the seeds of the draws.

    One distance varies by a fifth with the fresh draws, so that each is a mean over several.
    """
    n_train, n, repeats = (400, 250, 2) if size.quick else (10000, 4000, N_REPEATS)
    density = GaussianCurve()
    floor = _floor(density, n)
    fresh = [density.sample(n, random_state=100 + i) for i in range(repeats)]
    body = [["two fresh samples", _mean_and_spread(floor), "1", ""]]
    for label, draw in _curve_draws(density, n_train, n):
        draws = [draw(seed) for seed in range(repeats)]
        distances = [np.mean([sliced_wasserstein(X, Y) for Y in fresh]) for X in draws]
        ratio = np.mean(distances) / floor.mean()
        verdict = "yes" if ratio <= LIMIT else "no"
        body.append([label, _mean_and_spread(distances), f"{ratio:.2f}", verdict])
    return table(["draws", "sliced Wasserstein", "in floors", f"within {LIMIT} floors"], body)


def _mean_and_spread(distances):
    return f"{np.mean(distances):.4f} ± {np.std(distances, ddof=1):.4f}"


def _floor(density, n):
    """Distances between pairs of independent samples."""
    pairs = [(density.sample(n, 2 * i), density.sample(n, 2 * i + 1)) for i in range(FLOOR_PAIRS)]
    return np.array([sliced_wasserstein(X, Y) for X, Y in pairs])


def _curve_draws(density, n_train, n):
    """Labels and functions from a seed to n draws."""
    rows = density.sample(n_train, random_state=1000)
    model = RegularizedAutoEncoderScore(random_state=0).fit(rows)
    known, base = Known(density), rows[:BASE_ROWS]
    gain = f"the network adds {model.network_gain_:.2f} nat to q"
    yield f"RAESampler, fitted model; {gain}", lambda i: RAESampler(model, random_state=i).sample(n)
    yield "RAESampler, its chains", lambda i: _chain_rows(RAESampler(model, random_state=i), n)
    exact = lambda i: RAESampler(known, base_density=base, random_state=i).sample(n)  # noqa: E731
    yield "RAESampler, exact density, rows as base", exact
    yield "the fitted model's own `sample`", lambda i: model.sample(n, random_state=i)
    mixture = fit_mixture(rows, CURVE_SIZES)
    label = f"Gaussian mixture, {mixture.n_components} components"
    yield label, lambda i: mixture.set_params(random_state=i).sample(n)[0]
    yield "random walk on the exact density", lambda i: random_walk(density, n, i)


def _chain_rows(sampler, n):
    """n rows from the chains themselves: where q is the model, `sample` asks q alone."""
    return (
        sampler.sample_chains(-(-n // sampler.n_chains))
        .draws.swapaxes(0, 1)
        .reshape(-1, sampler.estimator.n_features_in_)[:n]
    )


def random_walk(density, n, seed=0):
    """Metropolis chains from the origin, moves N(0, WALK_SD^2 I), thinned; n rows."""
    rng = np.random.default_rng(seed)
    x = np.zeros((WALK_CHAINS, density.n_features))
    value, kept = density.log_density(x), []
    for i in range(WALK_BURN_IN + WALK_THIN * -(-n // WALK_CHAINS)):
        proposed = x + WALK_SD * rng.standard_normal(x.shape)
        new = density.log_density(proposed)
        accepted = np.log(rng.uniform(size=len(x))) < new - value
        x, value = np.where(accepted[:, None], proposed, x), np.where(accepted, new, value)
        if i >= WALK_BURN_IN and (i - WALK_BURN_IN) % WALK_THIN == 0:
            kept.append(x)
    return np.concatenate(kept)[:n]


# --- weights of modes -----------------------------------------------------------------------------


def weights_table(size):
    """Largest error of a mode's weight, all chains started in the lightest of five modes."""
    body = []
    for d in (2,) if size.quick else (2, 10):
        density = five_modes(d)
        for label, draws in _weights_draws(density, size):
            error = mode_errors(density, draws)
            body.append([f"modes-{d}", label, f"{np.abs(error).max():.4f}"])
    return table(["law", "draws", "largest error of a mode's weight"], body)


def mode_errors(density, draws):
    """Share of the draws whose most responsible component is k, less its weight, shape (K,)."""
    terms = density._log_terms(draws)[0]
    return np.bincount(terms.argmax(0), minlength=len(terms)) / len(draws) - density.weights


def _weights_draws(density, size):
    rows = density.sample(size.n_rows, random_state=0)
    model = RegularizedAutoEncoderScore(random_state=0).fit(rows)
    starts = lightest_mode(density, size.n_chains)
    known, n = Known(density), size.n_draws
    yield "as many independent draws of the law", density.sample(n * size.n_chains, random_state=5)
    yield "training rows", rows
    yield "independent draws of the fitted model", model.sample(20000, random_state=0)
    yield "auto, fitted model", _rows(skrae(model, starts, n, 0))
    base = rows[:BASE_ROWS]
    yield "auto, exact density, rows as base", _rows(skrae(known, starts, n, 0, base_density=base))
    yield "auto, exact density, no base", _rows(skrae(known, starts, n, 0))


def lightest_mode(density, n):
    """n draws of the component of least weight."""
    k = int(np.argmin(density.weights))
    rng = np.random.default_rng(3)
    return rng.multivariate_normal(density.means[k], density.covariances[k], size=n)


def _rows(run):
    return run.draws.reshape(-1, run.draws.shape[2])
