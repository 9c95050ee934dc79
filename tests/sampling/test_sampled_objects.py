"""What may be sampled: searches, pipelines, models by themselves, anything that offers a target."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrae import RAESampler
from skrae.datasets import Banana
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.affine import AffineMap
from skrae.sampling.mcmc import runs
from skrae.sampling.mcmc.kernels import State
from skrae.sampling.targets import Target
from tests.density.estimators import quick_estimator
from tests.sampling.scripted import seen_in

ROWS = Banana(scale=2.0, bend=0.3).sample(200, 0)
HOLES = np.where([[True, False], [False, True]], np.nan, ROWS[:2])


@pytest.fixture(scope="module")
def model():
    """A model whose network is not zero, or no chain would be run."""
    fitted = quick_estimator(max_iter=20).fit(ROWS)
    assert not fitted._sampling_target().is_base
    return fitted


# Searches and pipelines

# estimator, what is searched, and the base density
SEARCHES = [
    (KernelDensity(), {"bandwidth": [0.2, 3.0]}, GaussianMixture(random_state=0).fit(ROWS)),
    (GaussianMixture(random_state=0), {"n_components": [1, 2]}, "auto"),
    (quick_estimator(), {"max_iter": [20]}, "auto"),
]


@pytest.mark.filterwarnings("ignore:The chains (do not mix|are too short)")
@pytest.mark.parametrize(("estimator", "grid", "base"), SEARCHES)
def test_a_search_is_sampled_by_its_best_estimator(estimator, grid, base):
    search = GridSearchCV(estimator, grid, cv=2)
    with pytest.raises(NotFittedError):
        RAESampler(search).sample(2)
    search.fit(ROWS)
    whole, best = (
        RAESampler(fitted, n_chains=4, n_warmup=16, base_density=base, random_state=0)
        for fitted in (search, search.best_estimator_)
    )
    assert_array_equal(whole.sample_chains(5).draws, best.sample_chains(5).draws)
    assert_array_equal(whole.sample(9), best.sample(9))
    assert_array_equal(whole.sample_conditional(HOLES, 4), best.sample_conditional(HOLES, 4))
    assert_array_equal(whole.impute(HOLES, 4), best.impute(HOLES, 4))


@pytest.mark.parametrize("options", [{"proposal": "langevin"}, {"log_ratio": "path"}])
def test_a_pipeline_without_a_gradient_names_its_last_step(options, model):
    """Which has one; where no pipeline hides it, the advice would mislead."""
    pipeline = make_pipeline(StandardScaler(), quick_estimator(max_iter=20)).fit(ROWS)
    with pytest.raises(TypeError, match=r"a Pipeline without log_density_gradient.*pipeline\[-1\]"):
        RAESampler(pipeline, base_density=ROWS, **options).sample(2)
    mixture = GaussianMixture(random_state=0).fit(ROWS)
    with pytest.raises(TypeError, match="without log_density_gradient") as refusal:
        RAESampler(mixture, **options).sample(2)
    assert "ipeline" not in str(refusal.value)
    steps = RAESampler(pipeline[-1], n_chains=4, n_warmup=16, random_state=0, **options)
    assert_array_equal(steps.sample_chains(40).draws.shape, (4, 40, 2))


# Seeds of a call, and a model's own `sample`


def test_the_seed_of_a_call_is_that_of_the_option(model):
    sampler = RAESampler(model, n_chains=8, n_warmup=16, random_state=5)
    expected = RAESampler(model, n_chains=8, n_warmup=16, random_state=3).sample(20)
    assert_array_equal(sampler.sample(20, random_state=3), expected)
    assert_array_equal(sampler.sample(20, random_state=np.random.RandomState(3)), expected)
    assert sampler.random_state == 5
    own = sampler.sample(20)
    assert not np.array_equal(own, expected)
    assert_array_equal(sampler.sample(20, random_state=None), own)


def test_a_model_draws_as_a_sampler_of_it(model):
    rows = model.sample(20, random_state=3)
    assert_array_equal(rows, RAESampler(model, random_state=3).sample(20))
    assert not np.array_equal(rows, model.sample(20, random_state=4))
    assert model.random_state == 0


# Interrupts of a model's own `sample`


def interrupt_after(n_cycles, monkeypatch):
    """Ctrl-C once this many cycles after the warm-up are done."""
    n_done, inner = 0, runs.run_cycle

    def cycle(*arguments):
        nonlocal n_done
        n_done += 1
        if n_done > n_cycles:
            raise KeyboardInterrupt
        return inner(*arguments)

    monkeypatch.setattr(runs, "run_cycle", cycle)


@pytest.mark.parametrize("n_cycles", [1, 3, 6, 40])
def test_an_interrupted_model_returns_fewer_rows_and_says_so(n_cycles, model, monkeypatch):
    """Within the pilot, of 4 cycles at first, and after it."""
    interrupt_after(n_cycles, monkeypatch)
    rows, caught = seen_in(lambda: model.sample(10**6, random_state=0))
    assert 64 <= len(rows) < 10**6
    assert np.isfinite(rows).all()
    (told,) = [w for w in caught if "interrupted" in str(w.message)]
    assert told.category is ConvergenceWarning
    assert f"interrupted; the {len(rows)} rows drawn before" in str(told.message)


def test_a_model_interrupted_before_its_first_row_raises(model, monkeypatch):
    interrupt_after(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        model.sample(100, random_state=0)


# The protocol


class Duck:
    """A density with the two methods alone, of no base class."""

    def fit(self, X):
        self.mean = X.mean(axis=0)
        return self

    def score_samples(self, X):
        return -0.5 * ((X - self.mean) ** 2).sum(axis=1)


def test_an_object_of_no_base_class_is_sampled():
    X = np.random.default_rng(0).standard_normal((500, 2)) + 3.0
    duck = Duck().fit(X)
    draws = RAESampler(duck, base_density=X, random_state=0).sample_chains(200)
    error = 5.0 * draws.mcse()
    assert (np.abs(draws.to_rows().mean(axis=0) - duck.mean) < error).all()
    with pytest.raises(TypeError, match="expected a fitted Gaussian mixture"):
        RAESampler(duck, base_density=duck).sample(1)


class Normal(Target):
    """N(mean, I) / T in two dimensions, of the base density N(mean, T I), which is p^(1 / T)."""

    mean = np.array([3.0, -40.0])
    has_gradient = True

    def __init__(self, temperature=1.0):
        self.beta = 1.0 / temperature
        self.transform = AffineMap.diagonal(self.mean, np.ones(2))
        factor = math.sqrt(temperature) * np.eye(2)
        self.base = MixtureDensity([1.0], np.zeros((1, 2)), [factor], [np.inf])
        self.factors = self.base.factors

    def __call__(self, z):
        log_q, _, responsibilities = self.base.evaluate(z)
        return State(z, self.densities(z)[0], -self.beta * z, log_q, responsibilities)

    def densities(self, z):
        log_p = -0.5 * z.square().sum(1) - math.log(2.0 * math.pi)
        return self.beta * log_p, self.base.log_density(z)

    def hessian(self, z):
        return -self.beta * torch.eye(2).to(z).expand(len(z), 2, 2)


class Offers:
    """An object that is nothing but a target, and asks itself for no density of rows."""

    def score_samples(self, X):
        raise AssertionError("not to be called")

    def log_density_gradient(self, X):
        raise AssertionError("not to be called")

    log_density_hessian = log_density_gradient

    def _sampling_target(self, temperature):
        return Normal(temperature)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("proposal", ["auto", "independence", "langevin", "hamiltonian"])
def test_a_target_that_an_object_offers_is_sampled(proposal, temperature, random_seed):
    sampler = RAESampler(
        Offers(), proposal=proposal, temperature=temperature, random_state=random_seed
    )
    rows = sampler.sample(1000)
    white = (rows - Normal.mean) / math.sqrt(temperature)
    for column in white.T:
        assert kstest(column, "norm").pvalue > 1e-6
    chains = sampler.set_params(n_warmup=32).sample_chains(20)
    if proposal == "independence":
        assert (chains.acceptance_rate == 1.0).all(), "the base density is exact"
    # The log density is that of the untempered p.
    squares = ((chains.draws - Normal.mean) ** 2).sum(axis=2)
    assert_allclose(chains.log_density, -0.5 * squares - math.log(2.0 * math.pi), atol=1e-9)


def test_rows_are_completed_by_a_target_that_an_object_offers(random_seed):
    """Entries of N(mean, I) are independent of each other."""
    X = np.column_stack([np.linspace(-5.0, 5.0, 100), np.full(100, np.nan)])
    draws = RAESampler(Offers(), random_state=random_seed).sample_conditional(X, 20)
    assert_array_equal(draws[:, :, 0], np.repeat(X[:, :1], 20, axis=1))
    assert kstest(draws[:, 0, 1] - Normal.mean[1], "norm").pvalue > 1e-6


def test_a_target_that_is_its_base_is_drawn_from_without_chains(monkeypatch):
    monkeypatch.setattr(Normal, "is_base", True)
    monkeypatch.setattr(Normal, "__call__", lambda *z: pytest.fail("a chain was run"))
    assert len(np.unique(RAESampler(Offers(), random_state=0).sample(500), axis=0)) == 500


@pytest.mark.parametrize("missing", ["__call__", "densities", "hessian"])
def test_a_target_without_one_of_its_methods_is_none(missing):
    with pytest.raises(TypeError, match=f"abstract.*{missing}"):
        type("Partial", (Normal,), {missing: getattr(Target, missing)})()
    with pytest.raises(TypeError, match=f"abstract.*{missing}"):
        Target()


def test_a_target_without_a_base_density_needs_starts(monkeypatch):
    class Bare(Normal):
        """The same without what independence proposals and starts are drawn from."""

        def __init__(self, temperature=1.0):
            super().__init__(temperature)
            self.base = self.factors = None

    monkeypatch.setattr(Offers, "_sampling_target", lambda self, temperature: Bare(temperature))
    with pytest.raises(ValueError, match="without a base density to draw starts from, expected"):
        RAESampler(Offers(), n_chains=4, n_warmup=8, random_state=0).sample_chains(4)
