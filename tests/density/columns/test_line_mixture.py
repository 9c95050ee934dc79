"""Mixtures on the line: likelihood, normal scores, scales far apart, rounded values."""

import numpy as np
import pytest
from scipy import stats

from skrae.density.columns import line_mixture
from skrae.density.columns.line_mixture import LineMixture, fit_line, grid_step

MIXTURE = LineMixture(
    np.array([0.2, 0.5, 0.3]), np.array([-2.0, 0.0, 1.0]), np.array([1.0, 0.05, 2.0])
)


def cumulative(s):
    return sum(
        w * stats.norm(m, sd).cdf(s)
        for w, m, sd in zip(MIXTURE.weights, MIXTURE.means, MIXTURE.widths, strict=True)
    )


def fit(draw, n, random_seed):
    rng = np.random.default_rng(random_seed)
    s, held_out = draw(rng, n), draw(rng, n // 4)
    share = np.full(n, 1.0 / n)
    return fit_line(s, share, held_out, np.ones(n // 4)), draw(rng, 20_000)


def test_density_and_normal_scores_are_those_of_the_mixture():
    s = np.linspace(-4.0, 4.0, 81)
    u, first, second = MIXTURE.normal_scores(s)
    np.testing.assert_allclose(u, stats.norm.ppf(cumulative(s)), atol=1e-9)
    slope = (cumulative(s + 1e-6) - cumulative(s - 1e-6)) / 2e-6
    np.testing.assert_allclose(MIXTURE.log_density(s), np.log(slope), atol=1e-6)
    up, down = MIXTURE.normal_scores(s + 1e-5), MIXTURE.normal_scores(s - 1e-5)
    np.testing.assert_allclose(first, (up[0] - down[0]) / 2e-5, rtol=1e-6)
    np.testing.assert_allclose(second, (up[1] - down[1]) / 2e-5, rtol=1e-5, atol=1e-5)


def test_normal_scores_are_finite_far_out():
    for part in MIXTURE.normal_scores(np.array([-60.0, -30.0, 30.0, 60.0])):
        assert np.isfinite(part).all()


@pytest.mark.parametrize("width", [1e-3, 1e-6])
def test_what_is_narrow_is_found_at_its_own_scale(width, random_seed):
    """Half of the rows in a spike: the likelihood of fresh rows is nearly that of the law."""

    def draw(rng, n):
        return rng.standard_normal(n) * np.where(rng.random(n) < 0.5, width, 1.0)

    mixture, fresh = fit(draw, 2000, random_seed)
    truth = np.logaddexp(stats.norm.logpdf(fresh), stats.norm(0.0, width).logpdf(fresh)) - np.log(2)
    assert truth.mean() - mixture.log_density(fresh).mean() < 0.06


def test_a_normal_column_gets_one_component_and_the_wide_one(random_seed):
    mixture, fresh = fit(lambda rng, n: rng.standard_normal(n), 2000, random_seed)
    assert len(mixture.weights) <= 3
    assert stats.norm.logpdf(fresh).mean() - mixture.log_density(fresh).mean() < 0.01


def test_sizes_beyond_the_patience_are_not_tried(monkeypatch, random_seed):
    tried, fit = [], line_mixture._expectation_maximisation

    def recorded(points, counts, size, *rest):
        tried.append(size)
        return fit(points, counts, size, *rest)

    monkeypatch.setattr(line_mixture, "_expectation_maximisation", recorded)
    s, held_out = np.random.default_rng(random_seed).standard_normal((2, 500))
    share = np.full(500, 1 / 500)
    fit_line(s, share, held_out, np.ones(500))
    assert tuple(tried) == line_mixture.SIZES
    tried.clear()
    found = fit_line(s, share, held_out, np.ones(500), patience=1)
    assert len(tried) < len(line_mixture.SIZES)
    assert len(found.weights) - 1 in tried[:-1]


def test_rounded_values_get_no_component_narrower_than_their_step(random_seed):
    rng = np.random.default_rng(random_seed)
    s = np.round(rng.standard_normal(1000), 1)
    assert grid_step(s) == pytest.approx(0.1)
    mixture = fit_line(s, np.full(1000, 1e-3), s[:200], np.ones(200))
    assert mixture.widths.min() >= 0.1 - 1e-9
    assert grid_step(rng.standard_normal(1000)) == 0.0


def test_an_atom_gets_no_peak(random_seed):
    """Half of the rows at one value, in a column that is continuous otherwise."""
    rng = np.random.default_rng(random_seed)
    s = np.where(rng.random(1000) < 0.5, 0.0, rng.standard_normal(1000))
    mixture = fit_line(s, np.full(1000, 1e-3), s[:200], np.ones(200))
    assert mixture.widths.min() >= 0.005
