"""Johnson's maps: derivatives, inverses, and which columns they are for."""

import numpy as np
import pytest
from scipy import stats

from skrae.density.columns.johnson import Johnson, at_sharp_ends, normalising

MAPS = {
    "identity": Johnson(),
    "from an end": Johnson((-1.0, 0.01)),
    "up to an end": Johnson(None, (3.0, 0.5)),
    "between ends": Johnson((-1.0, 1e-4), (3.0, 0.3)),
}


@pytest.fixture(params=list(MAPS))
def johnson(request):
    return MAPS[request.param]


def test_derivatives_and_inverse(johnson):
    x = np.concatenate([np.linspace(-1.5, 3.5, 301), [-1.0 + 1e-5, 3.0 - 1e-5, -1e3, 1e4]])
    e, first, second = johnson.derivatives(x)
    assert (first > 0.0).all()
    np.testing.assert_allclose(johnson.inverse(e), x, rtol=1e-9, atol=1e-9)
    step = 1e-6 * np.maximum(1e-3, np.minimum(np.abs(x + 1.0), np.abs(x - 3.0)))
    above, below = johnson.derivatives(x + step), johnson.derivatives(x - step)
    np.testing.assert_allclose((above[0] - below[0]) / (2.0 * step), first, rtol=1e-4, atol=1e-6)
    bends = (above[1] - below[1]) / (2.0 * step)
    np.testing.assert_allclose(bends, second, rtol=1e-3, atol=1e-4 * np.abs(second).max())


def uniform_share(x):
    return np.full(len(x), 1.0 / len(x))


LAWS = {
    "normal": (stats.norm(), False),
    "two humps": (None, False),
    "log-normal": (stats.lognorm(1.0), True),
    "steep log-normal": (stats.lognorm(4.0), True),
    "Cauchy": (stats.cauchy(), True),
    "gamma": (stats.gamma(1.0), True),
}


@pytest.mark.parametrize("name", list(LAWS))
def test_skewed_and_heavy_columns_are_made_more_normal(name, random_seed):
    law, bends = LAWS[name]
    rng = np.random.default_rng(random_seed)
    if law is None:
        x = np.where(rng.random(1000) < 0.5, -3.0, 3.0) + rng.standard_normal(1000)
    else:
        x = law.rvs(1000, random_state=rng)
    johnson = normalising(x, uniform_share(x), zero=0.0)
    assert johnson.is_identity != bends
    if bends:
        e = johnson.derivatives(x)[0]
        before, after = (stats.kstest(stats.zscore(v), "norm").statistic for v in (x, e))
        assert after < 0.6 * before


def test_amounts_end_at_zero(random_seed):
    x = stats.lognorm(2.0).rvs(1000, random_state=random_seed)
    (end, c), upper = normalising(x, uniform_share(x), zero=0.0)
    assert (end, upper) == (0.0, None)
    assert c < x.min()
    mirrored = normalising(-x, uniform_share(x), zero=0.0)
    assert mirrored == (None, (end, c))


@pytest.mark.parametrize("values", [10, 30])
def test_rounded_values_are_not_stretched_within_their_step(values, random_seed):
    """Any likelihood could be had of them."""
    x = np.round(stats.lognorm(0.8).rvs(400, random_state=random_seed) * values / 5.0)
    johnson = normalising(x, uniform_share(x), zero=-1.0, step=1.0)
    for place in johnson:
        assert place is None or place[1] >= 0.25


SHARP = {
    "box": (stats.uniform(), (True, True)),
    "exponential": (stats.expon(), (True, False)),
    "arcsine": (stats.beta(0.5, 0.5), (True, True)),
    "normal": (stats.norm(), (False, False)),
    "triangle": (stats.beta(3.0, 3.0), (False, False)),
}


@pytest.mark.parametrize("name", list(SHARP))
def test_sharp_ends_are_found(name, random_seed):
    law, expected = SHARP[name]
    x = law.rvs(4000, random_state=random_seed)
    johnson = at_sharp_ends(x)
    assert tuple(place is not None for place in johnson) == expected
    if johnson.lower is not None:
        end, c = johnson.lower
        assert end < x.min()
        assert c < 0.01


def test_zero_is_the_end_of_amounts_that_come_near_it(random_seed):
    x = stats.expon().rvs(2000, random_state=random_seed)
    assert at_sharp_ends(x, zero=0.0).lower[0] == 0.0
    assert at_sharp_ends(x + 5.0, zero=0.0).lower[0] > 4.9


def test_few_rows_have_no_ends():
    assert at_sharp_ends(np.random.default_rng(0).random(50)).is_identity
