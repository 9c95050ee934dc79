"""Samplers the project is compared with, each tuned by its own adaptation: blackjax and emcee.

All take starts X_init (n_chains, d) and give a `Run`. Seconds are processor time after warm-up and
compilation. One evaluation is a density, its gradient or both at one point: a leapfrog step is one.
"""

import time
from dataclasses import dataclass

import numpy as np
from sklearn.mixture import GaussianMixture

from tests.benchmarks.sampling_targets import bench_module

LANGEVIN_ACCEPTANCE = 0.574
HAMILTONIAN_ACCEPTANCE = 0.8
MIXTURE_SIZES = (1, 2, 3, 4, 5, 6, 8, 12, 16)


@dataclass(frozen=True)
class Run:
    """Draws of all chains and what they cost.

    ``draws`` has shape (n_chains, n_draws, d), in the units of the rows; ``evaluations`` and
    ``seconds`` are those of the draws, ``warmup_evaluations`` those before them, all chains taken
    together.
    """

    draws: np.ndarray
    seconds: float
    evaluations: int
    warmup_evaluations: int
    settings: str = ""

    @property
    def rhat(self):
        """Largest rank-normalised split R-hat of the features."""
        statistics = bench_module("arviz_stats.base").array_stats
        return float(max(statistics.rhat(x) for x in np.moveaxis(self.draws, 2, 0)))

    @property
    def ess(self):
        """Smallest bulk effective sample size of the features."""
        statistics = bench_module("arviz_stats.base").array_stats
        return float(min(statistics.ess(x) for x in np.moveaxis(self.draws, 2, 0)))

    @property
    def ess_per_second(self):
        return self.ess / self.seconds

    @property
    def ess_per_thousand(self):
        """Effective samples per 1000 evaluations."""
        return 1000.0 * self.ess / self.evaluations


def timed(function, *args):
    """What the function returns and the processor seconds it took."""
    start = time.process_time()
    result = function(*args)
    return result, time.process_time() - start


# --- blackjax -------------------------------------------------------------------------------------


def mala(target, X_init, n_draws, n_warmup, seed):
    """Metropolis-adjusted Langevin chains, their common step size by dual averaging."""
    blackjax, jax = bench_module("blackjax"), bench_module("jax")
    move = blackjax.mala.build_kernel()

    def moves(key, state, step_size):
        step = jax.vmap(lambda key, state: move(key, state, target.log_density, step_size))
        state, info = step(_chain_keys(key, state.position), state)
        return state, info.acceptance_rate

    keys = jax.random.split(jax.random.key(seed))
    positions = jax.numpy.asarray(target.coordinates(X_init))
    first = jax.jit(jax.vmap(lambda z: blackjax.mala.init(z, target.log_density)))(positions)
    state, step_size = _adapt_step_size(moves, first, keys[0], n_warmup)
    (draws, _), seconds = _sample(moves, state, step_size, keys[1], n_draws)
    n, spread = len(X_init), float(np.sqrt(2 * step_size))
    return Run(target.rows(draws), seconds, n * n_draws, n * n_warmup, f"step {spread:.2g}")


def _adapt_step_size(moves, state, key, n_warmup):
    """State after the warm-up and the step size at which the chains' mean acceptance is best."""
    jax, search = bench_module("jax"), bench_module("blackjax.optimizers.dual_averaging")
    begin, update, final = search.dual_averaging()

    def adapt(carry, key):
        state, found = carry
        state, acceptance = moves(key, state, jax.numpy.exp(found.log_x))
        return (state, update(found, LANGEVIN_ACCEPTANCE - acceptance.mean())), None

    def run(state, keys):
        first = jax.tree.map(jax.numpy.asarray, begin(0.1))
        (state, found), _ = jax.lax.scan(adapt, (state, first), keys)
        return state, final(found)

    return jax.jit(run)(state, jax.random.split(key, n_warmup))


def hmc(target, X_init, n_draws, n_warmup, seed, *, limits=(15,)):
    """Hamiltonian chains; the number of leapfrog steps is uniform on 1, ..., limit, common to all.

    A fixed number resonates with the period of a Gaussian. Of several limits the one that does
    most with an evaluation in a pilot run is kept.
    """
    blackjax, jax = bench_module("blackjax"), bench_module("jax")
    move, options = blackjax.hmc.build_kernel(), {"num_integration_steps": 8}

    def limited(limit):
        def moves(key, state, adapted):
            n = jax.random.randint(key, (), 1, limit + 1)
            step = jax.vmap(lambda key, *at: move(key, at[0], target.log_density, *at[1], n))
            state, _ = step(_chain_keys(key, state.position), state, adapted)
            return state, jax.numpy.full(len(state.position), n)

        return moves

    adapted, keys = _adapted(blackjax.hmc, target, X_init, n_warmup, seed, options)
    best = limits[0]
    if len(limits) > 1:
        pilots = {n: _hamiltonian(limited(n), target, adapted, keys[0], 200) for n in limits}
        best = max(limits, key=lambda n: pilots[n].ess_per_thousand)
    return _hamiltonian(limited(best), target, adapted, keys[1], n_draws)


def nuts(target, X_init, n_draws, n_warmup, seed):
    """Chains of the no-U-turn sampler."""
    blackjax, jax = bench_module("blackjax"), bench_module("jax")
    move = blackjax.nuts.build_kernel()

    def moves(key, state, adapted):
        step = jax.vmap(lambda key, state, at: move(key, state, target.log_density, *at))
        state, info = step(_chain_keys(key, state.position), state, adapted)
        return state, info.num_integration_steps

    adapted, keys = _adapted(blackjax.nuts, target, X_init, n_warmup, seed, {})
    return _hamiltonian(moves, target, adapted, keys[1], n_draws)


def _adapted(algorithm, target, X_init, n_warmup, seed, options):
    """State, (step sizes, dense mass matrices) and evaluations of a window adaptation per chain."""
    blackjax, jax = bench_module("blackjax"), bench_module("jax")
    warmup = blackjax.window_adaptation(
        algorithm,
        target.log_density,
        is_mass_matrix_diagonal=False,
        target_acceptance_rate=HAMILTONIAN_ACCEPTANCE,
        adaptation_info_fn=lambda state, info, adaptation: info.num_integration_steps,
        **options,
    )

    def adapt(key, position):
        (state, found), steps = warmup.run(key, position, num_steps=n_warmup)
        return state, (found["step_size"], found["inverse_mass_matrix"]), steps.sum()

    keys = jax.random.split(jax.random.key(seed), 3)
    positions = jax.numpy.asarray(target.coordinates(X_init))
    return jax.jit(jax.vmap(adapt))(_chain_keys(keys[2], positions), positions), keys


def _hamiltonian(moves, target, adapted, key, n_draws):
    state, parameters, n_warm = adapted
    (draws, steps), seconds = _sample(moves, state, parameters, key, n_draws)
    settings = f"{steps.mean():.3g} leapfrogs, step {float(np.median(parameters[0])):.2g}"
    return Run(target.rows(draws), seconds, int(steps.sum()), int(n_warm.sum()), settings)


def _chain_keys(key, chains):
    return bench_module("jax").random.split(key, len(chains))


def _sample(moves, state, parameters, key, n_draws):
    """Positions (n_chains, n_draws, d) and what each step reports, with the seconds they took."""
    jax = bench_module("jax")

    def draw(state, key):
        state, report = moves(key, state, parameters)
        return state, (state.position, report)

    keys = jax.random.split(key, n_draws)
    run = jax.jit(lambda state, keys: jax.lax.scan(draw, state, keys)[1])
    compiled = run.lower(state, keys).compile()
    (positions, reports), seconds = timed(lambda: jax.block_until_ready(compiled(state, keys)))
    return (np.asarray(positions).swapaxes(0, 1), np.asarray(reports)), seconds


# --- emcee ----------------------------------------------------------------------------------------


def emcee_stretch(log_density, X_init, n_draws, n_warmup, seed):
    """The affine-invariant ensemble; each walker is taken as a chain."""
    emcee = bench_module("emcee")
    sampler = emcee.EnsembleSampler(*X_init.shape, log_density, vectorize=True)
    start = emcee.State(X_init, random_state=np.random.MT19937(seed).state)
    warm = sampler.run_mcmc(start, n_warmup)
    sampler.reset()
    _, seconds = timed(sampler.run_mcmc, warm, n_draws)
    n = len(X_init)
    return Run(sampler.get_chain().swapaxes(0, 1), seconds, n * n_draws, n * n_warmup)


# --- independence ---------------------------------------------------------------------------------


def fit_mixture(rows, sizes=MIXTURE_SIZES):
    """The Gaussian mixture of the size with the lowest BIC."""
    models = [GaussianMixture(n, random_state=0).fit(rows) for n in sizes]
    return min(models, key=lambda model: model.bic(rows))


def independence(log_density, mixture, X_init, n_draws, seed):
    """Metropolis-Hastings whose proposals are independent draws of a mixture."""
    rng = np.random.default_rng(seed)
    draws, seconds = timed(_independence, log_density, mixture, X_init, n_draws, rng)
    settings = f"{mixture.n_components} components"
    return Run(draws, seconds, X_init.shape[0] * n_draws, 0, settings)


def _independence(log_density, mixture, X_init, n_draws, rng):
    n, d = X_init.shape
    mixture.random_state = np.random.RandomState(rng.bit_generator)
    proposals = rng.permutation(mixture.sample(n * n_draws)[0])
    rows = np.vstack([X_init, proposals])
    log_weights = (log_density(rows) - mixture.score_samples(rows)).reshape(-1, n)
    thresholds = np.log(rng.uniform(size=(n_draws, n)))
    held, chosen = np.arange(n), np.empty((n_draws, n), dtype=int)
    current = log_weights[0]
    for i, (new, threshold) in enumerate(zip(log_weights[1:], thresholds, strict=True)):
        accepted = threshold < new - current
        held = np.where(accepted, (i + 1) * n + np.arange(n), held)
        current = np.where(accepted, new, current)
        chosen[i] = held
    return rows[chosen].reshape(n_draws, n, d).swapaxes(0, 1)
