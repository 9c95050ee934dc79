"""Covariances of factors: scikit-learn's likelihood, what factors reproduce, and the choice."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import FactorAnalysis

from skrae.mixtures.growth import factors
from skrae.mixtures.growth.em import Settings, em_step, first_gaussian, reshape
from skrae.mixtures.growth.expectation import HeldOut, mean_log_density
from skrae.mixtures.growth.factors import FactorShape, factor_covariances
from skrae.preprocessing.rows import WeightedRows
from tests.mixtures.random_mixtures import generator


def law(d, rank, seed):
    """A covariance of `rank` factors, noise of each column's own."""
    to = {"generator": generator(seed), "dtype": torch.float64}
    loadings = torch.randn(d, rank, **to)
    return loadings @ loadings.T + torch.diag(0.5 + torch.rand(d, **to))


def draw(covariance, n, seed):
    noise = torch.randn(n, len(covariance), generator=generator(seed), dtype=torch.float64)
    z = noise @ torch.linalg.cholesky(covariance).T
    return WeightedRows(z, torch.ones(n, dtype=torch.float64))


def log_likelihood(sample, covariance):
    trace = torch.linalg.solve(covariance, sample).diagonal().sum()
    return float(-0.5 * (torch.logdet(covariance) + trace + len(sample) * np.log(2.0 * np.pi)))


def test_covariance_of_factors_is_given_back(monkeypatch, random_seed):
    monkeypatch.setattr(factors, "MAX_STEPS", 2000)
    monkeypatch.setattr(factors, "TOLERANCE", 1e-9)
    expected = torch.stack([law(12, 2, random_seed), law(12, 2, random_seed + 1)])
    found = factor_covariances(expected, 2)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rank", [1, 3])
def test_likelihood_is_that_of_scikit_learn(rank, random_seed):
    z = draw(law(20, 3, random_seed), 400, random_seed).z
    z = z - z.mean(0)
    sample = z.T @ z / len(z)
    own = log_likelihood(sample, factor_covariances(sample[None], rank)[0])
    expected = FactorAnalysis(rank, svd_method="lapack", tol=1e-8, max_iter=5000).fit(z.numpy())
    assert own == pytest.approx(expected.score(z.numpy()), abs=0.01)


def test_units_of_columns_do_not_matter(random_seed):
    sample, units = law(8, 4, random_seed), torch.logspace(-3, 3, 8, dtype=torch.float64)
    scale = units[:, None] * units
    one, other = factor_covariances(sample[None], 2), factor_covariances((scale * sample)[None], 2)
    torch.testing.assert_close(other, scale * one, rtol=1e-9, atol=0.0)


def test_noise_is_along_columns_whatever_the_axes(random_seed):
    to = {"generator": generator(random_seed), "dtype": torch.float64}
    axes = torch.randn(6, 6, **to)
    inverse, sample = torch.linalg.inv(axes), law(6, 3, random_seed)
    turned = inverse.T @ sample @ inverse
    found = FactorShape(axes, inverse, 1, 0.3)(turned[None])[0]
    expected = 0.3 * sample + 0.7 * factor_covariances(sample[None], 1)[0]
    torch.testing.assert_close(axes.T @ found @ axes, expected, rtol=1e-8, atol=1e-8)


def test_no_factors_leave_the_variances(random_seed):
    sample = law(5, 2, random_seed)
    shape = FactorShape.of_columns(5)
    torch.testing.assert_close(shape(sample[None])[0], torch.diag(sample.diagonal()))
    torch.testing.assert_close(shape._replace(share=1.0)(sample[None])[0], sample)


def test_held_out_rows_find_the_number_of_factors(random_seed):
    truth = law(80, 5, random_seed)
    rows, held_out = (draw(truth, n, random_seed + n) for n in (300, 150))
    shape = FactorShape.of_columns(80).chosen(rows, held_out)
    assert shape.rank in (5, 7)
    assert shape.share <= 0.1
    sample = first_gaussian(rows, Settings(0.0, 1.0, shape)).covariances[0]
    assert log_likelihood(truth, truth) - log_likelihood(truth, sample) < 2.0


def test_moved_stays_within_its_lists():
    shape = FactorShape.of_columns(8)
    assert shape.moved("rank", -1, 100) is None
    assert shape.moved("share", -1, 100) is None
    assert shape.moved("rank", 1, 100).rank == 1
    assert shape._replace(rank=3).moved("rank", 1, 100) is None  # beyond half the columns
    assert shape._replace(rank=1).moved("rank", 1, 3) is None  # and half the rows


def test_steps_keep_the_shape(random_seed):
    rows = draw(law(6, 2, random_seed), 200, random_seed)
    settings = Settings(0.0, 3.0, FactorShape.of_columns(6))
    mixture = first_gaussian(rows, settings)
    for _ in range(2):
        apart = mixture.covariances - torch.diag_embed(mixture.covariances.diagonal(dim1=1, dim2=2))
        assert float(apart.abs().max()) == 0.0
        mixture = em_step(mixture, *rows, settings)


def test_reshape_climbs_to_what_held_out_rows_prefer(random_seed):
    truth = law(10, 2, random_seed)
    rows, held_out = (draw(truth, n, random_seed + n) for n in (400, 200))
    settings = Settings(1e-6, 0.1, FactorShape.of_columns(10))
    start = first_gaussian(rows, settings)
    before = mean_log_density(start, HeldOut(*held_out))
    value, mixture, found = reshape(before, start, settings, rows, HeldOut(*held_out))
    assert value > before + 0.5
    assert found.shape.rank in (2, 3)
    assert value == pytest.approx(mean_log_density(mixture, HeldOut(*held_out)))


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("variance", [0.0, -1e-17])
def test_a_column_without_variance_leaves_the_others_theirs(rank, variance, random_seed):
    """Rounding may leave a nearly constant column a variance that is not above 0."""
    sample = law(8, 2, random_seed)
    with_constant = torch.zeros(9, 9, dtype=torch.float64)
    with_constant[:8, :8], with_constant[8, 8] = sample, variance
    found = factor_covariances(with_constant[None], rank)[0]
    expected = factor_covariances(sample[None], rank)[0]
    torch.testing.assert_close(found[:8, :8], expected, rtol=0.02, atol=0.02)
    assert 0.0 < float(found[8, 8]) < 1e-12
    assert float(torch.linalg.eigvalsh(found[:8, :8])[0]) > 0.0
    torch.linalg.cholesky(found)
