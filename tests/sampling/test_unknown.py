"""Good, bad, unknown: what chains cannot tell of themselves is told, and no draw is no number."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KernelDensity

from skrae import RAESampler
from skrae.sampling.mcmc import warmup
from tests.benchmarks.reliability_diagnostics import CASES, NORMAL, ROWS, told
from tests.density.estimators import quick_estimator
from tests.sampling.scripted import seen_in


@pytest.mark.parametrize("case", CASES)
def test_what_chains_cannot_tell_is_told(case):
    assert CASES[case][1] in told(case)


@pytest.mark.parametrize("far", [1e200, -1e308])
def test_starts_without_density_are_refused(far):
    sampler = RAESampler(NORMAL, n_chains=2, base_density=ROWS, random_state=0)
    with pytest.raises(ValueError, match="Got a log density of -inf at start 1, expected starts"):
        sampler.sample_chains(5, [[0.0, 0.0], [far, 0.0]])


def test_a_bounded_target_is_sampled_in_silence():
    kernels = KernelDensity(kernel="tophat", bandwidth=1.0).fit(ROWS)
    sampler = RAESampler(kernels, base_density=ROWS, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        chains, _ = seen_in(lambda: sampler.sample_chains(50))
        assert chains.n_nonfinite.sum() > 0
        assert not any("falls nowhere" in str(w.message) for w in seen_in(sampler.sample)[1])


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
    calls.clear()
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
