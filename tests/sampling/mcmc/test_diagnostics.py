"""Diagnostics of chains: equal to arviz-stats, known values of known chains, invariances.

Random tests draw their tolerance from the asymptotic standard error at their own size, times 5.
"""

import math

import numpy as np
import pytest
from arviz_stats.base import array_stats
from hypothesis import given
from hypothesis import strategies as st

from skrae.sampling.mcmc.diagnostics import autocorrelation_time, ess, mcse, rhat, split_rhat
from tests.sampling.scripted import autoregressive

ORACLES = {
    "ess bulk": (ess, array_stats.ess, "bulk"),
    "ess mean": (lambda draws: ess(draws, kind="mean"), array_stats.ess, "mean"),
    "rhat": (rhat, array_stats.rhat, "rank"),
    "split rhat": (split_rhat, array_stats.rhat, "split"),
    "mcse": (mcse, array_stats.mcse, "mean"),
}
FUNCTIONS = {name: entry[0] for name, entry in ORACLES.items()} | {"time": autocorrelation_time}
SHAPES = [(4, 4), (4, 5), (3, 6), (2, 7), (4, 8), (5, 9), (3, 10), (2, 11), (7, 12), (3, 13)]


def with_rejections(rule, draws, probability):
    """Chains that stay where they are with that probability, as Metropolis-Hastings does."""
    held = np.where(rule.random(draws.shape[:2]) < probability, 0, np.arange(draws.shape[1]))
    last = np.maximum.accumulate(held, axis=1)
    return np.take_along_axis(draws, last[:, :, None], axis=1)


def cases(rule):
    """Named draws of shape (n_chains, n_draws, d) of all kinds."""
    white = rule.standard_normal((4, 501, 2))
    yield from (
        (f"AR({phi})", autoregressive(rule, phi, (4, 400, 2)))
        for phi in (-0.99, -0.9, -0.5, 0.1, 0.5, 0.9, 0.99)
    )
    yield from ((f"short {m} x {n}", rule.standard_normal((m, n, 50))) for m, n in SHAPES)
    yield "white noise", white
    yield "many chains", rule.standard_normal((64, 33, 2))
    yield "one chain", autoregressive(rule, 0.5, (1, 501, 2))
    yield "one short chain", rule.standard_normal((1, 7, 20))
    yield "other places", white + np.arange(4)[:, None, None]
    yield "other widths", white * np.arange(1, 5)[:, None, None]
    yield "drift", white + np.linspace(0, 3, 501)[:, None]
    yield "random walk", white.cumsum(axis=1)
    yield "counts", rule.poisson(1.3, (4, 301, 3))
    yield "coin", rule.integers(0, 2, (5, 300, 3))
    yield "equal halves", rule.permuted(np.tile([-1.0, 1.0], (4, 100)), axis=1)[..., None]
    yield "rejections", with_rejections(rule, white, 0.6)
    yield "log-normal", np.exp(3 * white)
    yield "Cauchy", rule.standard_cauchy((4, 500, 2))
    yield "tiny", 1e-12 * white
    yield "huge", 1e100 * white
    yield "far away", 1e7 + white


def oracle(name, draws):
    _, function, method = ORACLES[name]
    return by_arviz(function, draws, method)


def by_arviz(function, draws, method):
    # Its R-hat divides by the variance of chains that do not move.
    with np.errstate(divide="ignore", invalid="ignore"):
        return function(draws, chain_axis=0, draw_axis=1, method=method)


@pytest.mark.parametrize("name", ORACLES)
def test_equals_arviz(name, random_seed):
    for case, draws in cases(np.random.default_rng(random_seed)):
        if len(draws) == 1 and "rhat" in name:
            continue  # which ArviZ gives none of
        expected, actual = oracle(name, draws), ORACLES[name][0](draws)
        np.testing.assert_allclose(actual, expected, rtol=1e-6, err_msg=case)


@pytest.mark.parametrize("phi", [-0.5, 0, 0.5, 0.9, 0.98])
def test_known_values_of_autoregressive_chains(phi, random_seed):
    m, n = 64, 5000
    draws = autoregressive(np.random.default_rng(random_seed), phi, (m, n, 3))
    time = (1 + phi) / (1 - phi)
    # Sokal: a sum of correlations up to lag M has relative variance 2 (2 M + 1) / N. Geyer's sum
    # ends where phi^M drowns in their noise, and its last term was chosen for noise that is small.
    variance_error = math.sqrt((1 + phi**2) / (1 - phi**2) / (m * n))
    window = 1 + math.log(m * n) / (2 * math.log(1 / abs(phi))) if phi else 1
    rtol = 5 * (math.sqrt(2 * (2 * window + 1) / (m * n)) + variance_error / time)
    np.testing.assert_allclose(ess(draws, kind="mean"), m * n / time, rtol=rtol)
    np.testing.assert_allclose(ess(draws), m * n / time, rtol=rtol)
    np.testing.assert_allclose(autocorrelation_time(draws), time, rtol=rtol)
    np.testing.assert_allclose(
        mcse(draws) ** 2, time / (m * n), rtol=rtol + 5 * math.sqrt(2) * variance_error
    )
    # R^2 = 1 - 1/h + b/W, where b / (time / h) is chi-squared / (2 m - 1) over halves of h draws.
    half = n // 2
    spread = 5 * math.sqrt(2 / (2 * m - 1)) * time / half
    np.testing.assert_allclose(split_rhat(draws) ** 2, 1 + (time - 1) / half, atol=spread)
    assert (rhat(draws) ** 2 <= 1 + (max(time, 1) - 1) / half + max(spread, 5 / half)).all()


def test_mcse_is_the_spread_of_means_over_repeats(random_seed):
    n_repeats = 500
    draws = autoregressive(np.random.default_rng(random_seed), 0.7, (4, 1000, n_repeats))
    spread = draws.mean(axis=(0, 1)).std()
    np.testing.assert_allclose(mcse(draws).mean(), spread, rtol=5 / math.sqrt(2 * n_repeats))


def test_antithetic_chains_reach_the_bound(random_seed):
    draws = autoregressive(np.random.default_rng(random_seed), -0.95, (8, 1000, 2))
    np.testing.assert_allclose(ess(draws), 8000 * math.log10(8000), rtol=1e-12)


def test_shifted_chains_have_a_known_split_rhat(random_seed):
    shifts = np.array([-1.0, 0.0, 0.5, 2.0])
    m, half = len(shifts), 20_000
    noise = np.random.default_rng(random_seed).standard_normal((m, 2 * half, 3))
    actual = split_rhat(noise + shifts[:, None, None]) ** 2
    # Each shift counts twice, once per half.
    between = 2 * np.sum((shifts - shifts.mean()) ** 2) / (2 * m - 1)
    error = 2 * math.sqrt(between / (2 * m - 1) / half) + between * math.sqrt(2 / (2 * m * half))
    np.testing.assert_allclose(actual, 1 + between, atol=5 * error)


# Ranks of two chains that share no value are the halves of a normal: means -+ sqrt(2 / pi),
# variance 1 - 2 / pi within, and four half chains whose means have variance 4 (2 / pi) / 3.
APART = math.sqrt(1 + 8 / (3 * math.pi) / (1 - 2 / math.pi))


def test_chains_apart_have_a_known_rhat(random_seed):
    draws = np.random.default_rng(random_seed).standard_normal((2, 20_000, 3))
    far = draws + np.array([0, 100])[:, None, None]
    np.testing.assert_allclose(rhat(far), APART, rtol=1e-3)


def test_folding_detects_other_widths(random_seed):
    n = 20_000
    draws = np.random.default_rng(random_seed).standard_normal((2, n, 3))
    wide = draws * np.array([1, 1e6])[:, None, None]
    np.testing.assert_allclose(rhat(wide), APART, rtol=1e-3)
    # In place the chains agree: b h / W is chi-squared-like, and of order 1.
    assert (split_rhat(wide) - 1 < 30 / n).all()


def test_one_chain_that_drifts_is_seen_in_its_halves(random_seed):
    draws = np.random.default_rng(random_seed).standard_normal((2, 1000, 1))
    drift = draws + np.linspace(0, 10, 1000)[:, None]
    assert by_arviz(array_stats.rhat, drift, "identity") < 1.01
    assert split_rhat(drift)[0] > 1.5
    assert rhat(drift)[0] > 1.5


def test_far_origin_and_odd_unit_cost_no_digits(random_seed):
    steps = np.random.default_rng(random_seed).integers(-1000, 1000, (4, 500, 2)).astype(float)
    for name in ("ess mean", "split rhat"):
        function = FUNCTIONS[name]
        np.testing.assert_allclose(function(2.0**50 + steps), function(steps), rtol=1e-12)
        for unit in (1e-300, 1e300):
            np.testing.assert_allclose(function(unit * steps), function(steps), rtol=1e-12)
    np.testing.assert_allclose(mcse(2.0**50 + steps), mcse(steps), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e300])
def test_constant_column(value):
    draws = np.full((4, 51, 1), value)
    assert ess(draws) == ess(draws, kind="mean") == oracle("ess bulk", draws) == 200
    assert mcse(draws) == 0
    assert np.isnan(rhat(draws))
    assert np.isnan(split_rhat(draws))


def test_chains_stuck_apart_never_agree(random_seed):
    draws = np.random.default_rng(random_seed).standard_normal((4, 1, 100)).repeat(75, axis=1)
    assert (rhat(draws) == np.inf).all()
    assert (split_rhat(draws) == np.inf).all()
    for kind in ("bulk", "mean"):
        np.testing.assert_allclose(ess(draws, kind=kind), oracle(f"ess {kind}", draws), rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_column_that_is_not_finite_gives_nan_alone(name, bad, random_seed):
    draws = np.random.default_rng(random_seed).standard_normal((4, 51, 3))
    expected = FUNCTIONS[name](draws)
    draws[2, 25, 1] = bad  # the middle draw, which is in no half
    expected[1] = np.nan
    np.testing.assert_array_equal(FUNCTIONS[name](draws), expected)
    assert np.isnan(FUNCTIONS[name](draws[..., [1]])).all()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "shape", [(4, 3, 2), (4, 1, 2), (4, 0, 2), (0, 50, 2), (4, 50, 0), (0, 0, 0)]
)
def test_too_little_gives_nan(name, shape):
    actual = FUNCTIONS[name](np.zeros(shape))
    np.testing.assert_array_equal(actual, np.full(shape[2], np.nan))


@pytest.mark.parametrize("function", [rhat, split_rhat])
def test_halves_of_one_chain_are_compared(function, random_seed):
    """V / W of two halves of one chain, and of the same halves as chains of two equal halves."""
    draws = np.random.default_rng(random_seed).standard_normal((1, 50, 2))
    halves = np.concatenate([draws[:, :25], draws[:, 25:]])
    between, within = halves.mean(axis=1).var(axis=0, ddof=1), halves.var(axis=1, ddof=1).mean(0)
    expected = np.sqrt(24 / 25 + between / within)
    if function is split_rhat:
        np.testing.assert_allclose(function(draws), expected)
    apart = draws + np.repeat([0.0, 9.0], 25)[:, None]
    assert (function(apart) > 2.0).all()
    assert (function(draws) < 1.3).all()


@pytest.mark.parametrize("function", [rhat, split_rhat])
def test_what_moves_by_rounding_alone_is_unknown(function, random_seed):
    steps = np.random.default_rng(random_seed).standard_normal((4, 50, 1))
    still = 1.0 + 1e-16 * steps
    assert np.isnan(function(still)).all()
    assert np.isfinite(function(1.0 + 1e-10 * steps)).all()
    started_apart = still + np.arange(4.0)[:, None, None]
    assert (function(started_apart) > 3.0).all()


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", [(), (50,), (4, 50), (4, 50, 2, 1)])
def test_other_axes_raise(name, shape):
    with pytest.raises(
        ValueError, match=r"Got draws of shape .*, expected \(n_chains, n_draws, d\)"
    ):
        FUNCTIONS[name](np.zeros(shape))


def test_unknown_kind_raises():
    with pytest.raises(ValueError, match=r"Got kind='tail', expected one of \('bulk', 'mean'\)"):
        ess(np.zeros((4, 50, 1)), kind="tail")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_input_stays_as_it_was(name, random_seed):
    draws = np.random.default_rng(random_seed).standard_normal((4, 50, 2))
    copy = draws.copy()
    FUNCTIONS[name](draws)
    FUNCTIONS[name](draws.tolist())
    np.testing.assert_array_equal(draws, copy)


@st.composite
def chains(draw):
    """Correlated draws, some repeated, of any small shape."""
    rule = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(2, 6), st.integers(4, 60), st.integers(1, 3)))
    draws = autoregressive(rule, draw(st.floats(-0.9, 0.95)), shape)
    return with_rejections(rule, draws, draw(st.sampled_from([0, 0.3, 0.9])))


def assert_same(name, draws, others, factor=1):
    expected = factor * FUNCTIONS[name](draws)
    np.testing.assert_allclose(FUNCTIONS[name](others), expected, rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
@given(draws=chains(), data=st.data())
def test_order_of_chains_and_columns_does_not_matter(name, draws, data):
    order = data.draw(st.permutations(range(draws.shape[0])))
    assert_same(name, draws, draws[order])
    each = np.concatenate([FUNCTIONS[name](draws[..., [j]]) for j in range(draws.shape[2])])
    np.testing.assert_allclose(FUNCTIONS[name](draws), each, rtol=1e-9)


# Powers of 2 and reflections round nothing: folding |x - median| makes ties that rounding breaks.
@pytest.mark.parametrize("name", FUNCTIONS)
@given(draws=chains(), exponent=st.integers(-40, 40), sign=st.sampled_from([-1, 1]))
def test_change_of_units_changes_only_the_standard_error(name, draws, exponent, sign):
    unit = 2.0**exponent
    assert_same(name, draws, sign * unit * draws, factor=unit if name == "mcse" else 1)


@pytest.mark.parametrize("name", ["ess mean", "split rhat", "mcse", "ess bulk", "time"])
@given(draws=chains(), origin=st.floats(-1e3, 1e3))
def test_origin_does_not_matter(name, draws, origin):
    np.testing.assert_allclose(
        FUNCTIONS[name](draws + origin), FUNCTIONS[name](draws), rtol=1e-6, atol=1e-12
    )


@pytest.mark.parametrize("map_", [np.exp, np.cbrt, np.arctan])
@given(draws=chains())
def test_ranks_do_not_feel_monotone_maps(map_, draws):
    assert_same("ess bulk", draws, map_(draws))
    assert_same("time", draws, map_(draws))


# Folding is about the median and feels a map, unless it is odd and the draws symmetric.
@pytest.mark.parametrize("map_", [np.sinh, np.cbrt, np.arctan])
@given(draws=chains())
def test_rhat_of_symmetric_draws_does_not_feel_odd_maps(map_, draws):
    draws = np.concatenate([draws, -draws])
    assert_same("rhat", draws, map_(draws))


@given(draws=chains())
def test_rhat_is_the_larger_of_two(draws):
    located = by_arviz(array_stats.rhat, draws, "z_scale")
    spread = by_arviz(array_stats.rhat, draws, "folded")
    larger = np.fmax(located, spread)
    # Where arviz divides by the rounding of a variance that is 0, the number is all but infinite.
    np.testing.assert_allclose(rhat(draws), np.where(larger > 1e7, np.inf, larger), rtol=1e-6)
