"""What `sample` and `sample_chains` return: laws of rows, continuation, diagnostics, no traces."""

import copy
import pickle
import sys
from functools import cache, partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from skrae import RAESampler
from skrae.datasets import Banana
from skrae.sampling.mcmc import diagnostics
from skrae.sampling.start import make_setup
from tests.density.estimators import quick_estimator
from tests.sampling.known_targets import Known, correlated_gaussian, five_modes
from tests.sampling.scripted import seen_in

# Of the p-value of one of the dozens of two-sample comparisons below.
FALSE_ALARM = 1e-5

# Short runs: how well chains mix is the business of test_sampler.py.
pytestmark = pytest.mark.filterwarnings("ignore:The chains (do not mix|are too short)")


@cache
def mixture_of(law):
    """Near the law, not equal to it, so that some proposals are refused."""
    return GaussianMixture(len(law.weights), random_state=0).fit(law.sample(500, 0))


def known_sampler(law, n_chains=8, n_warmup=64, seed=0, **options):
    """A sampler of a known law with a base density fitted to rows of it."""
    options = {"base_density": mixture_of(law), **options}
    return RAESampler(
        Known(law), n_chains=n_chains, n_warmup=n_warmup, random_state=seed, **options
    )


@pytest.fixture(scope="module")
def bent():
    """A network over one Gaussian, fitted to float32 rows of a banana."""
    rows = Banana(scale=2.0, bend=0.3).sample(2000, 0).astype(np.float32)
    return quick_estimator().fit(rows)


@pytest.fixture(scope="module")
def plain():
    """An estimator of which the base density is the model."""
    rows = five_modes(2).sample(2000, 0)
    model = quick_estimator(base_density="mixture", max_components=8).fit(rows)
    assert model.network_gain_ == 0.0
    return model


def assert_same_law(X, Y, seed):
    """Kolmogorov-Smirnov along the columns and 20 directions through standardised rows."""
    directions = np.random.default_rng(seed).standard_normal((X.shape[1], 20))
    directions = np.hstack([np.eye(X.shape[1]), directions]) / Y.std(axis=0)[:, None]
    for direction in directions.T:
        assert ks_2samp(X @ direction, Y @ direction).pvalue > FALSE_ALARM


# sample


def test_rows_have_the_law_of_exact_draws(random_seed):
    for law in (correlated_gaussian(2), five_modes(2), correlated_gaussian(10)):
        X = known_sampler(law, 64, 256, random_seed).sample(2000)
        assert X.shape == (2000, law.n_features)
        assert X.dtype == np.float64
        assert_same_law(X, law.sample(20_000, random_seed + 1), random_seed)
        assert len(np.unique(X, axis=0)) > 0.9 * len(X)


def test_rows_are_thinned_until_refused_moves_repeat_hardly_any(random_seed):
    """Three random-walk moves in four are refused."""
    law = correlated_gaussian(2)
    X = known_sampler(law, 64, 128, random_seed, proposal="random_walk").sample(2000)
    assert len(np.unique(X, axis=0)) > 0.9 * len(X)


@pytest.mark.filterwarnings("ignore:The . rows are worth only")
def test_a_few_rows_come_from_all_chains(random_seed):
    """Chains that hardly move, each at its own place."""
    places = np.column_stack([np.arange(8.0), np.zeros(8)])
    sampler = known_sampler(
        correlated_gaussian(2),
        seed=random_seed,
        proposal="random_walk",
        step_size=1e-9,
        n_warmup=0,
        init=places,
        base_density=None,
    )
    assert len(np.unique(sampler.sample(8)[:, 0].round())) > 2


def test_rows_of_a_network_have_its_law_and_that_of_its_own_sample(bent, random_seed):
    """Against exact draws of the same density, by rejection from a wide box."""
    X = RAESampler(bent, random_state=random_seed).sample(2000)
    assert X.dtype == np.float32
    assert_same_law(X, bent.sample(2000, random_state=random_seed + 1), random_seed)
    # A box that holds all but the base density's Student-t tails.
    low, high = np.array([-12.0, -30.0]), np.array([12.0, 12.0])
    rng = np.random.default_rng(random_seed)
    points = rng.uniform(low, high, (200_000, 2))
    density = np.exp(bent.score_samples(points))
    exact = points[rng.uniform(0, density.max(), len(points)) < density]
    assert len(exact) > 2000
    inside = (np.abs(X - (low + high) / 2) < (high - low) / 2).all(axis=1)
    assert_same_law(X[inside], exact, random_seed)


def test_a_base_density_that_is_the_model_is_drawn_from_directly(plain, random_seed):
    """Independent draws of q, without chains: no row twice, and the law of the estimator's own."""
    sampler = RAESampler(plain, random_state=random_seed)
    X = sampler.sample(3000)
    assert len(np.unique(X, axis=0)) == 3000
    assert_same_law(X, plain.sample(3000, random_state=random_seed + 1), random_seed)
    through_chains = sampler.set_params(temperature=1.0 + 1e-12).sample(3000)
    assert_same_law(X, through_chains, random_seed)
    assert not np.array_equal(X, through_chains)


def test_an_integer_decides_the_rows(bent, plain):
    samplers = (RAESampler(bent, n_warmup=32), RAESampler(plain), known_sampler(five_modes(2)))
    for sampler in samplers:
        X = sampler.set_params(random_state=3).sample(50)
        assert np.array_equal(X, sampler.sample(50))
        assert not np.array_equal(X, sampler.set_params(random_state=4).sample(50))
        unseeded = sampler.set_params(random_state=None)
        assert not np.array_equal(unseeded.sample(50), unseeded.sample(50))


@pytest.mark.parametrize("n_chains", [1, 2, 3, 64])
def test_any_number_of_rows_from_any_number_of_chains(n_chains, random_seed):
    law = correlated_gaussian(2)
    sampler = known_sampler(law, n_chains, 128, random_seed)
    assert sampler.sample().shape == (1, 2)
    for n in (1, 2, n_chains + 1, 700):
        X = sampler.sample(n)
        assert X.shape == (n, 2)
        assert np.isfinite(X).all()
    assert len(np.unique(X, axis=0)) > 600
    assert_same_law(X, law.sample(20_000, random_seed + 1), random_seed)


# sample_chains


@pytest.mark.parametrize("proposal", ["auto", "hamiltonian", "random_walk", "independence"])
@pytest.mark.parametrize("thin", [1, 3])
def test_two_runs_in_a_row_are_one_long_run(proposal, thin, random_seed):
    law = correlated_gaussian(3)
    sampler = known_sampler(law, proposal=proposal, thin=thin, seed=random_seed)
    whole, first = sampler.sample_chains(90), sampler.sample_chains(37)
    # Another seed does not matter once a run has begun.
    second = sampler.set_params(random_state=random_seed + 1).sample_chains(
        53, continue_from=pickle.loads(pickle.dumps(first))
    )
    assert second.draws.shape == (8, 53, 3)
    assert np.array_equal(np.concatenate([first.draws, second.draws], axis=1), whole.draws)
    both = np.concatenate([first.log_density, second.log_density], axis=1)
    assert np.array_equal(both, whole.log_density)
    rate = (37 * first.acceptance_rate + 53 * second.acceptance_rate) / 90
    assert np.allclose(rate, whole.acceptance_rate)
    assert second.step_size == whole.step_size


def test_a_run_of_an_estimator_or_of_a_learned_base_goes_on_as_well(bent, random_seed):
    law = correlated_gaussian(2)
    learned = known_sampler(
        law, 8, 256, random_seed, init=law.sample(8, random_seed), base_density="auto"
    )
    for sampler, known in ((RAESampler(bent, n_chains=8, n_warmup=64), True), (learned, False)):
        sampler.set_params(random_state=random_seed)
        if known:
            whole, first = sampler.sample_chains(40), sampler.sample_chains(15)
        else:
            with pytest.warns(match="No base density is known"):
                whole, first = sampler.sample_chains(40), sampler.sample_chains(15)
        second = sampler.sample_chains(25, continue_from=first)
        assert np.array_equal(np.concatenate([first.draws, second.draws], axis=1), whole.draws)


def test_thin_keeps_every_third_transition(random_seed):
    sampler = known_sampler(correlated_gaussian(2), seed=random_seed)
    every = sampler.sample_chains(99)
    third = sampler.set_params(thin=3).sample_chains(33)
    assert third.thin == 3
    assert np.array_equal(third.draws, every.draws[:, 2::3])
    assert np.array_equal(third.log_density, every.log_density[:, 2::3])
    # The rates count all transitions, kept or not.
    assert np.array_equal(third.acceptance_rate, every.acceptance_rate)


def test_starts_by_argument_go_before_those_of_the_option(random_seed):
    law = five_modes(2)
    options = {"proposal": "random_walk", "base_density": None, "n_warmup": 0, "step_size": 1e-6}
    there, here = np.tile(law.means[1], (8, 1)), np.tile(law.means[2], (8, 1))
    sampler = known_sampler(law, seed=random_seed, init=there, **options)
    assert np.allclose(sampler.sample_chains(5).draws, law.means[1], atol=1e-3)
    assert np.allclose(sampler.sample_chains(5, here).draws, law.means[2], atol=1e-3)
    assert np.allclose(sampler.sample_chains(5, X_init=here.tolist()).draws, here[0], atol=1e-3)
    assert np.array_equal(sampler.init, there)


def test_log_density_is_score_samples_of_the_draws(bent, plain, random_seed):
    law = five_modes(2)
    for sampler, error in (
        (known_sampler(law), 1e-9),
        (known_sampler(law, temperature=3.0, proposal="hamiltonian"), 1e-9),
        (RAESampler(plain, n_chains=8, n_warmup=32), 1e-9),
        # Chains evaluate networks in float32, and draws are rounded to it.
        (RAESampler(bent, n_chains=8, n_warmup=32, temperature=0.7), 1e-3),
    ):
        chains = sampler.set_params(random_state=random_seed).sample_chains(30)
        expected = sampler.estimator.score_samples(chains.draws.reshape(-1, 2)).reshape(8, 30)
        assert np.allclose(chains.log_density, expected, rtol=error, atol=error)


@pytest.mark.parametrize("proposal", ["auto", "langevin", "independence"])
def test_the_state_of_a_run_is_that_of_its_positions(proposal, bent, random_seed):
    """Proposals of q leave no old gradient and no old responsibilities to local moves."""
    sampler = RAESampler(
        bent, proposal=proposal, n_chains=200, n_warmup=32, random_state=random_seed
    )
    state = sampler.sample_chains(64)._checkpoint.state
    with torch.no_grad():
        expected = make_setup(sampler).target(state.position)
    for name in ("log_density", "log_base"):
        torch.testing.assert_close(
            getattr(state, name), getattr(expected, name), rtol=1e-4, atol=1e-4
        )
    if proposal != "independence":
        for name in ("gradient", "responsibilities"):
            old, new = getattr(state, name), getattr(expected, name)
            torch.testing.assert_close(old, new, rtol=1e-3, atol=1e-3)


def test_acceptance_rate_is_the_share_of_draws_that_differ_from_the_last(random_seed):
    chains = known_sampler(five_modes(2), seed=random_seed).sample_chains(500)
    moved = (np.diff(chains.draws, axis=1) != 0).any(axis=2).mean(axis=1)
    assert np.abs(moved - chains.acceptance_rate).max() < 2 / 500
    assert chains.acceptance_rate.shape == (8,)


def test_zero_density_is_counted_and_never_entered(random_seed):
    """A Gaussian cut off at x_0 = m_0: half of the proposals of the whole one are lost."""
    law = correlated_gaussian(2)
    middle = law.means[0, 0]

    class Half(Known):
        def score_samples(self, X):
            return np.where(X[:, 0] > middle, super().score_samples(X), -np.inf)

    sampler = RAESampler(
        Half(law),
        proposal="independence",
        base_density=law.sample(1000, 0),
        n_chains=8,
        n_warmup=32,
        random_state=random_seed,
    )
    chains = sampler.sample_chains(500)
    assert (chains.draws[:, :, 0] > middle).all()
    assert abs(chains.n_nonfinite.mean() / 500 - 0.5) < 0.05


def test_shapes_and_diagnostics(random_seed):
    chains = known_sampler(correlated_gaussian(3), seed=random_seed).sample_chains(100)
    assert chains.draws.shape == (8, 100, 3)
    assert chains.log_density.shape == (8, 100)
    assert chains.n_nonfinite.shape == (8,)
    assert chains.feature_names is None
    for name in ("ess", "rhat", "mcse"):
        expected = getattr(diagnostics, name)(chains.draws)
        assert expected.shape == (3,)
        assert np.array_equal(getattr(chains, name)(), expected)
    assert np.array_equal(chains.to_rows(), chains.draws.reshape(800, 3))
    text = repr(chains)
    for part in ("n_chains=8", "n_draws=100", "n_features=3", f"ess={chains.ess().min():.0f}"):
        assert part in text
    assert f"rhat={chains.rhat().max():.3f}" in text


def test_one_chain_and_one_draw_have_a_display(random_seed):
    sampler = known_sampler(correlated_gaussian(2), n_chains=1, seed=random_seed)
    for n_draws in (1, 50):
        chains, caught = seen_in(partial(sampler.sample_chains, n_draws))
        assert any("too few to tell" in str(warning.message) for warning in caught) == (
            n_draws == 1
        )
        assert chains.draws.shape == (1, n_draws, 2)
        assert "n_chains=1" in repr(chains)


def test_names_of_columns_reach_the_chains(random_seed):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(five_modes(2).sample(500, 0), columns=["left", "right"])
    mixture = GaussianMixture(5, random_state=0).fit(frame)
    chains = RAESampler(mixture, n_chains=4, n_warmup=16, random_state=random_seed).sample_chains(9)
    assert chains.feature_names == ["left", "right"]


def assert_arviz(data, chains, names):
    x = data["posterior"]["x"]
    assert x.dims == ("chain", "draw", "feature")
    assert np.array_equal(x.values, chains.draws)
    assert list(x.coords["feature"].values) == names
    assert np.array_equal(data["sample_stats"]["lp"].values, chains.log_density)


def test_to_arviz(random_seed):
    pytest.importorskip("arviz_base")
    chains = known_sampler(correlated_gaussian(2), seed=random_seed).sample_chains(20)
    assert_arviz(chains.to_arviz(), chains, ["x0", "x1"])
    chains.feature_names = ["height", "width"]
    assert_arviz(chains.to_arviz(), chains, ["height", "width"])


def test_to_arviz_hands_over_draws_and_names(monkeypatch, random_seed):
    """Also where arviz-base is not installed."""
    chains = known_sampler(correlated_gaussian(2), seed=random_seed).sample_chains(20)
    module = SimpleNamespace(from_dict=lambda data, **options: (data, options))
    monkeypatch.setitem(sys.modules, "arviz_base", module)
    data, options = chains.to_arviz()
    assert np.array_equal(data["posterior"]["x"], chains.draws)
    assert np.array_equal(data["sample_stats"]["lp"], chains.log_density)
    assert options == {"coords": {"feature": ["x0", "x1"]}, "dims": {"x": ["feature"]}}
    monkeypatch.setitem(sys.modules, "arviz_base", None)
    with pytest.raises(ImportError, match="arviz-base"):
        chains.to_arviz()


# What calls leave behind


def test_chains_and_samplers_are_pickled(bent, random_seed):
    sampler = RAESampler(bent, n_chains=4, n_warmup=16, random_state=random_seed)
    chains = sampler.sample_chains(12)
    again = pickle.loads(pickle.dumps(chains))
    assert np.array_equal(again.draws, chains.draws)
    assert repr(again) == repr(chains)
    other = pickle.loads(pickle.dumps(sampler))
    assert np.array_equal(other.sample_chains(12).draws, chains.draws)
    assert np.array_equal(
        other.sample_chains(5, continue_from=again).draws,
        sampler.sample_chains(5, continue_from=chains).draws,
    )


def test_a_clone_keeps_the_fitted_estimator_and_the_options(bent):
    sampler = RAESampler(bent, n_chains=5, thin=2)
    copied = clone(sampler)
    assert copied is not sampler
    assert copied.estimator is bent
    assert copied.get_params(deep=False) == sampler.get_params(deep=False)
    copied.set_params(thin=7, estimator__verbose=bent.verbose)
    assert (copied.thin, sampler.thin) == (7, 2)
    assert "n_chains=5" in repr(sampler)


def arrays_of(thing):
    """The attributes of an object, the objects among them copied."""
    return copy.deepcopy(vars(thing))


def assert_unchanged(thing, before):
    after = vars(thing)
    assert list(after) == list(before)
    for name, old in before.items():
        if name == "estimator":
            continue
        np.testing.assert_equal(after[name], old)


def test_calls_change_neither_sampler_nor_estimator_nor_global_randomness(bent, random_seed):
    law = five_modes(2)
    mixture = GaussianMixture(5, random_state=0).fit(law.sample(500, 0))
    X = np.array([[1.0, np.nan], [np.nan, np.nan], [0.5, 2.0]], np.float32)
    for estimator in (bent, mixture):
        sampler = RAESampler(estimator, n_chains=4, n_warmup=16, random_state=random_seed)
        before, fitted = arrays_of(sampler), arrays_of(estimator)
        numpy_state = np.random.get_state()  # noqa: NPY002
        torch_state = torch.get_rng_state()
        default = torch.get_default_dtype()
        chains = sampler.sample_chains(20)
        held = copy.deepcopy(chains.draws)
        sampler.sample_chains(5, continue_from=chains)
        sampler.sample(10)
        sampler.sample_conditional(X, 24)
        sampler.impute(X, 24)
        assert np.array_equal(chains.draws, held)
        assert_unchanged(sampler, before)
        assert sampler.estimator is estimator
        assert_unchanged(estimator, fitted)
        np.testing.assert_equal(np.random.get_state(), numpy_state)  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), torch_state)
        assert torch.get_default_dtype() == default
        assert torch.is_grad_enabled()
