"""Good, bad, unknown: what chains cannot tell of themselves is told, and no draw is no number."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KernelDensity

from skrae import RAESampler
from skrae.sampling.mcmc import warmup
from skrae.sampling.mcmc.runs import within
from tests.density.estimators import quick_estimator
from tests.sampling.known_targets import Known, correlated_gaussian, five_modes
from tests.sampling.scripted import seen_in

ROWS = np.random.default_rng(0).standard_normal((200, 2))


class Flat:
    """A density of no integral: log p = 0."""

    n_features_in_ = 2

    def score_samples(self, X):
        return np.zeros(len(X))


def told(sampler, *arguments, **options):
    """The draws, and all that is told of them."""
    chains, caught = seen_in(lambda: sampler.sample_chains(*arguments, **options))
    assert np.isfinite(chains.draws).all()
    return " ".join(str(w.message) for w in caught if w.category is ConvergenceWarning)


NORMAL = Known(correlated_gaussian(2))
LOCAL = {"proposal": "random_walk", "base_density": None, "random_state": 0}


def test_one_chain_of_tiny_steps_is_told():
    sampler = RAESampler(NORMAL, n_chains=1, step_size=1e-6, init=ROWS[:1], n_warmup=0, **LOCAL)
    assert "R-hat" in told(sampler, 200)
    still = sampler.set_params(step_size=1e-17)
    assert "is unknown. No draw differs from another by more than rounding" in told(still, 200)


def test_chains_that_start_at_one_point_and_stay_are_told():
    sampler = RAESampler(NORMAL, step_size=1e6, init=np.zeros((64, 2)), n_warmup=0, **LOCAL)
    assert "Whether the chains mix is unknown. No draw differs" in told(sampler, 200)


@pytest.mark.parametrize("far", [1e100, 1e200, -1e308])
def test_starts_without_density_are_refused(far):
    sampler = RAESampler(NORMAL, n_chains=2, base_density=ROWS, random_state=0)
    with pytest.raises(ValueError, match="Got a log density of -inf at start 1, expected starts"):
        sampler.sample_chains(5, [[0.0, 0.0], [far, 0.0]])


def test_three_draws_of_two_modes_are_told():
    sampler = RAESampler(Known(five_modes(2)), base_density=five_modes(2).sample(500, 0))
    assert "3 draws a chain are too few to tell" in told(sampler, 3)


def test_a_bounded_target_is_sampled_in_silence():
    kernels = KernelDensity(kernel="tophat", bandwidth=1.0).fit(ROWS)
    sampler = RAESampler(kernels, base_density=ROWS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        chains, _ = seen_in(lambda: sampler.sample_chains(50))
        assert chains.n_nonfinite.sum() > 0
        assert not any("falls nowhere" in str(w.message) for w in seen_in(sampler.sample)[1])


@pytest.mark.parametrize("options", [{"base_density": ROWS}, {"init": ROWS[:64], **LOCAL}])
def test_a_density_of_no_integral_is_told(options):
    sampler = RAESampler(Flat(), n_warmup=64, **{"random_state": 0, **options})
    assert "it falls nowhere, as no proper density does" in told(sampler, 50)


def test_what_overflows_is_the_largest_number():
    largest = np.finfo(np.float32).max
    found = within(np.array([[-np.inf, 1e300, 2.0]]), np.float32)
    np.testing.assert_array_equal(found, [[-largest, largest, 2.0]])


@pytest.fixture(scope="module")
def model():
    angles = np.random.default_rng(0).uniform(0.0, 6.0, 200)
    noise = 0.1 * np.random.default_rng(1).standard_normal((200, 2))
    return quick_estimator().fit(np.stack([np.cos(angles), np.sin(angles)], axis=1) + noise)


@pytest.mark.parametrize("proposal", ["auto", "langevin", "independence"])
@pytest.mark.parametrize("n_cycles", [1, 3])
def test_an_interrupted_warm_up_gives_where_the_chains_stand(
    proposal, n_cycles, model, monkeypatch
):
    run_cycle, calls = warmup.run_cycle, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) > n_cycles:
            raise KeyboardInterrupt
        return run_cycle(*arguments)

    monkeypatch.setattr(warmup, "run_cycle", interrupted)
    sampler = RAESampler(model, proposal=proposal, random_state=0)
    with pytest.warns(ConvergenceWarning, match="interrupted in its warm-up: where each chain"):
        chains = sampler.sample_chains(20)
    assert chains.draws.shape == (64, 1, 2)
    expected = model.score_samples(chains.draws[:, 0])
    np.testing.assert_allclose(chains.log_density[:, 0], expected, rtol=1e-5)
    with pytest.warns(ConvergenceWarning, match="interrupted in its warm-up"):
        rows = sampler.sample(100)
    assert rows.shape == (64, 2)
    monkeypatch.undo()
    later = seen_in(lambda: sampler.sample_chains(200, continue_from=chains))[0]
    if proposal != "langevin" or n_cycles > 1:
        assert later.acceptance_rate.mean() > 0.05


def test_a_warm_up_interrupted_at_once_raises(model, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(warmup, "run_cycle", interrupted)
    for method in ("sample", "sample_chains"):
        with pytest.raises(KeyboardInterrupt):
            getattr(RAESampler(model), method)(5)
