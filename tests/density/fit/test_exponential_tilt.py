"""The tilt that gives a model the means of the rows: closed form, optimum, and in a fit."""

import math

import numpy as np
import pytest
import torch

from skrae.density.fit import exponential_tilt, fitting
from skrae.density.fit.exponential_tilt import Tilt, exponentially_tilted, likeliest_tilt
from skrae.mixtures.mixture import MixtureDensity
from tests.density.estimators import quick_estimator

LEVELS = (2, 3)


def random_mixture(seed, heavy=False):
    """Three components of two numbers and two categories; a Student-t one first if asked for."""
    rng = np.random.default_rng(seed)
    factors = np.tril(0.3 * rng.normal(size=(3, 2, 2))) + np.eye(2)
    numbers = rng.normal(size=(3, 2))
    levels = [rng.dirichlet(np.full(size, 2.0), size=3) for size in LEVELS]
    dofs = [3.0 if heavy else math.inf, math.inf, math.inf]
    means = np.hstack([numbers, *levels])
    return MixtureDensity(rng.dirichlet(np.ones(3)), means, factors, dofs, levels=LEVELS)


def theta_of(seed):
    return 0.5 * torch.randn(7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("seed", range(3))
def test_the_log_ratio_is_linear(seed):
    base, theta = random_mixture(seed), theta_of(seed)
    z = base.sample(200, torch.Generator().manual_seed(seed))
    added = exponentially_tilted(base, theta).log_density(z) - base.log_density(z) - z @ theta
    assert (added - added[0]).abs().max() < 1e-10


def test_the_constant_is_the_log_of_the_mean():
    base, theta = random_mixture(5), theta_of(5)
    z = base.sample(200_000, torch.Generator().manual_seed(5))
    factors = torch.exp(z @ theta)
    tilted = exponentially_tilted(base, theta)
    constant = float((tilted.log_density(z[:1]) - base.log_density(z[:1]) - z[:1] @ theta)[0])
    error = float(factors.std() / factors.mean()) / math.sqrt(len(z))
    assert abs(constant + float(factors.mean().log())) < 5.0 * error


def test_heavy_components_stay():
    base = random_mixture(1, heavy=True)
    tilted = exponentially_tilted(base, theta_of(1))
    assert float(tilted.weights[0]) == pytest.approx(float(base.weights[0]))
    np.testing.assert_array_equal(tilted.means[0], base.means[0])
    assert (tilted.means[1:] - base.means[1:]).abs().max() > 0.01
    assert float(tilted.weights.sum()) == pytest.approx(1.0)


def fitted_tilt(seed):
    """A mixture, rows of it tilted, and the `Tilt` that is found by them."""
    base, generator = random_mixture(seed), torch.Generator().manual_seed(seed)
    rows = exponentially_tilted(base, theta_of(seed)).sample(20_000, generator)
    draws = base.sample(20_000, generator)
    even = torch.full((20_000,), 1.0 / 20_000, dtype=torch.float64)
    return base, rows, likeliest_tilt(rows, even, draws, even, 2)


def test_the_likeliest_tilt_gives_the_mean_of_the_rows():
    """Without a penalty the means would be equal; it takes no more than a tenth off theta."""
    base, rows, tilt = fitted_tilt(2)
    found = exponentially_tilted(base, tilt.theta)
    before, after = ((q.mean - rows.mean(0)).abs() for q in (base, found))
    assert after.max() < 0.3 * before.max()


def test_the_gain_is_that_of_the_rows_and_the_penalty_counts():
    base, rows, found = fitted_tilt(2)
    gains = exponentially_tilted(base, found.theta).log_density(rows) - base.log_density(rows)
    assert found.gain == pytest.approx(float(gains.mean()), abs=0.02)
    # Seven directions, of which the sums of levels are constant; levels count in part.
    assert 2.0 < found.n_parameters < 5.0


def test_a_row_far_away_moves_no_mean():
    base = random_mixture(3)
    rows = base.sample(2000, torch.Generator().manual_seed(3))
    rows[0, 0] = 1e6
    draws = base.sample(20_000, torch.Generator().manual_seed(4))
    shares = [torch.full((len(z),), 1.0 / len(z), dtype=torch.float64) for z in (rows, draws)]
    theta = likeliest_tilt(rows, shares[0], draws, shares[1], 2).theta
    assert theta.isfinite().all()
    assert (exponentially_tilted(base, theta).mean - base.mean).abs().max() < 1.0


OPTIONS = {"select": "likelihood", "calibration_weight": 4.0, "max_iter": 60, "random_state": 0}


@pytest.fixture(scope="module")
def rows():
    """Rows of which a Gaussian knows the means but not the shape."""
    rng = np.random.default_rng(0)
    angle = rng.gamma(2.0, 0.8, size=3000)
    arc = np.column_stack([np.cos(angle), np.sin(angle)]) * 3.0
    return arc + 0.3 * rng.normal(size=arc.shape)


@pytest.fixture(scope="module")
def drifted(rows):
    """The fit without its last step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitting, "may_be_tilted", lambda options, previous: False)
        return quick_estimator(**OPTIONS).fit(rows)


def test_a_fit_has_the_means_of_its_rows(rows, drifted):
    def off(model):
        draws = model.sample(20_000, random_state=0)
        return float(np.abs((draws.mean(0) - rows.mean(0)) / rows.std(0)).max())

    model = quick_estimator(**OPTIONS).fit(rows)
    assert off(drifted) > 0.06
    assert off(model) < 0.04  # the error of the means of draws is .007
    assert model.score(rows) > drifted.score(rows)


@pytest.mark.parametrize(
    "found",
    [
        Tilt(torch.tensor([0.1, 0.1]).double(), 0.5 / 2700, 2.0),  # less than chance would gain
        Tilt(torch.tensor([5.0, -5.0]).double(), 1.0, 2.0),  # held-out rows lose
    ],
)
def test_nothing_moves_without_a_gain(rows, drifted, found, monkeypatch):
    monkeypatch.setattr(exponential_tilt, "likeliest_tilt", lambda *args: found)
    model = quick_estimator(**OPTIONS).fit(rows)
    np.testing.assert_array_equal(model.base_means_, drifted.base_means_)


@pytest.mark.parametrize(
    "options",
    [{"select": None}, {"calibration_weight": 0.0}, {"decoder": "tied", "hidden_layer_sizes": 8}],
)
def test_where_there_is_no_likelihood_there_is_no_tilt(rows, options, monkeypatch):
    def refuse(*args):
        raise AssertionError

    monkeypatch.setattr(fitting, "with_means_of_rows", refuse)
    quick_estimator(**{**OPTIONS, "max_iter": 12, **options}).fit(rows[:300])
