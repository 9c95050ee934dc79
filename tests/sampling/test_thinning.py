"""Rows out of chains: how long the pilot runs, how far it is thinned, what the rows are worth."""

import math

import numpy as np
import pytest

from skrae.sampling import thinning
from skrae.sampling.thinning import chain_rows
from tests.sampling.scripted import ScriptedRun, autoregressive

MIN_PILOT, MAX_PILOT, MAX_THIN = 256, 4096, 128
LIMIT = 1.01**2 - 1


def pilot_length(excess, monkeypatch):
    """Transitions of the pilot where R-hat^2 - 1 of n draws is excess(n)."""

    def rhat(positions):
        return np.array([1.0, math.sqrt(1.0 + excess(positions.shape[1]))])

    monkeypatch.setattr(thinning.diagnostics, "rhat_of_few", rhat)
    run = ScriptedRun(np.random.default_rng(0).standard_normal((2, 4 * MAX_PILOT, 2)))
    _, quality = chain_rows(run, 2)
    assert quality.summary.n_draws == run.n_done, "more than the pilot was drawn"
    np.testing.assert_array_equal(quality.summary.rhat, rhat(run.positions[:, : run.n_done]))
    return run.n_done


@pytest.mark.parametrize("n", [MIN_PILOT, 512, 2048])
def test_pilot_doubles_until_the_chains_agree(n, monkeypatch):
    """Chains that mix, R-hat^2 - 1 of which falls as 1 / n, just below the limit at n or above."""
    assert pilot_length(lambda m: 0.99 * LIMIT * n / m, monkeypatch) == n
    assert pilot_length(lambda m: 1.01 * LIMIT * n / m, monkeypatch) == 2 * n


def test_pilot_of_chains_that_mix_too_slowly_ends(monkeypatch):
    """At twice that length they would agree."""
    assert pilot_length(lambda m: 1.01 * LIMIT * MAX_PILOT / m, monkeypatch) == MAX_PILOT


def test_pilot_ends_where_twice_as_many_draws_take_off_less_than_a_tenth(monkeypatch):
    def falling(ratio):
        return lambda m: 0.5 * ratio ** math.log2(m / MIN_PILOT)

    assert pilot_length(falling(0.91), monkeypatch) == 2 * MIN_PILOT
    assert pilot_length(falling(0.89), monkeypatch) == MAX_PILOT
    assert pilot_length(lambda m: 0.5 * 0.89 if m == 512 else 0.5, monkeypatch) == 1024


def rows_of(time, seed):
    """AR(1) chains of this time, more of their rows than the pilot holds, `Quality`, `thin`."""
    phi, n_chains = (time - 1) / (time + 1), 256
    rule = np.random.default_rng(seed)
    run = ScriptedRun(autoregressive(rule, phi, (n_chains, 3 * MAX_PILOT, 1)))
    n_samples = n_chains * int(1.2 * MAX_PILOT / min(2 * time, MAX_THIN) + 2)
    rows, quality = chain_rows(run, n_samples)
    assert len(rows) == n_samples
    assert len(run.thins) > 1, "the pilot gave all rows"
    return run, rows, quality, run.thins[-1]


@pytest.mark.parametrize("time", [3.0, 9.0, 40.0])
def test_rows_are_thinned_by_twice_the_autocorrelation_time(time, random_seed):
    """And count as independent ones then."""
    run, rows, quality, thin = rows_of(time, random_seed)
    n_pilot = quality.summary.n_draws
    # Sokal's error of a sum of correlations up to a lag of 5 times it.
    error = math.sqrt(2 * (10 * time + 1) / (256 * n_pilot))
    assert abs(thin - 2 * time) < 5 * error * 2 * time + 1
    assert quality.ess >= len(rows)
    # Each row is a draw: every thin-th of the pilot, and every thin-th after it.
    place = np.nonzero(np.isin(run.positions[..., 0], rows))[1] + 1
    assert len(place) == len(rows)
    assert (np.where(place > n_pilot, place - n_pilot, place) % thin == 0).all()


def test_rows_are_thinned_no_further_than_a_limit(random_seed):
    assert rows_of(0.4 * MAX_THIN, random_seed)[-1] < MAX_THIN
    assert rows_of(0.75 * MAX_THIN, random_seed)[-1] == MAX_THIN


@pytest.mark.parametrize(("d", "most"), [(2, 4096), (60, 4096), (100, 2621), (1000, 262)])
def test_pilot_of_many_columns_is_shorter(d, most):
    assert thinning._longest_pilot(np.empty((64, 0, d))) == most
