"""Rows with holes in the place of a tensor of rows: the same steps, of what is observed."""

import numpy as np
import pytest
import torch

from skrae.mixtures.growth.em import Settings, em_step
from skrae.mixtures.growth.expectation import Mixture, mean_log_density
from skrae.mixtures.growth.holes.holed import HoledRows
from skrae.mixtures.growth.holes.patterns import IncompleteRows
from skrae.mixtures.mixture import MixtureDensity
from tests.mixtures.random_mixtures import generator, random_mixture, with_levels

MATRIX = torch.tensor([[1.2, 0.3], [-0.4, 0.8]], dtype=torch.float64)
LEVELS = (2, 3)
SETTINGS = Settings(0.0, 0.0, levels=LEVELS)


def a_mixture(levels=LEVELS, seed=0, k=2):
    law = with_levels(random_mixture(2, k, seed), levels, seed + 1)
    covariances = law.factors @ law.factors.mT
    numbers, own = law.means[:, :2].clone(), law.means[:, 2:].clone()
    parts = (own, own) if levels else ()
    return Mixture(law.weights, numbers, covariances, covariances, *parts)


def density_of(mixture, levels=LEVELS):
    means = torch.cat([mixture.means, mixture.levels], 1)
    factors = torch.linalg.cholesky(mixture.covariances)
    dofs = np.full(len(means), np.inf)
    return MixtureDensity(mixture.weights, means, factors, dofs, levels=levels)


def holed(n=60, holes=0.3, seed=3):
    """Rows of a mixture in working space, and the same with holes."""
    full = density_of(a_mixture()).sample(n, generator(seed))
    y = full[:, :2] @ torch.linalg.inv(MATRIX)
    onehots = full[:, 2:].clone()
    rng = np.random.default_rng(seed)
    y[torch.from_numpy(rng.random((n, 2)) < holes)] = torch.nan
    for place in (slice(0, 2), slice(2, 5)):
        onehots[torch.from_numpy(rng.random(n) < holes), place] = 0.0
    weights = torch.from_numpy(rng.uniform(0.5, 2.0, n))
    rows = HoledRows(full, IncompleteRows(y, onehots, weights), MATRIX, LEVELS)
    return full, weights, rows


def test_rows_without_holes_take_the_steps_of_a_tensor():
    full, weights, rows = holed(holes=0.0)
    expected = em_step(a_mixture(), full, weights, SETTINGS)
    found = em_step(a_mixture(), rows, weights, SETTINGS)
    for own, right in zip(found, expected, strict=True):
        torch.testing.assert_close(own, right, rtol=1e-9, atol=1e-10)


def test_likelihoods_are_those_of_what_is_observed():
    full, _, rows = holed()
    mixture = a_mixture()
    found = rows.log_likelihoods(mixture)
    torch.testing.assert_close(rows.log_density(density_of(mixture)), found, rtol=0, atol=1e-9)
    complete = ~rows.rows.y.isnan().any(1) & (rows.rows.onehots.sum(1) == 2.0)
    assert 3 < complete.sum() < len(rows)
    log_det = torch.linalg.slogdet(MATRIX).logabsdet
    expected = density_of(mixture).log_density(full) + log_det
    torch.testing.assert_close(found[complete], expected[complete], rtol=0, atol=1e-9)
    empty = rows.rows.y.isnan().all(1) & (rows.rows.onehots.sum(1) == 0.0)
    torch.testing.assert_close(found[empty], torch.zeros_like(found[empty]), rtol=0, atol=1e-10)


def test_steps_never_lower_the_likelihood():
    _, weights, rows = holed(n=200)
    mixture, values = a_mixture(seed=7), []
    for _ in range(12):
        values.append(mean_log_density(mixture, (rows, weights)))
        mixture = em_step(mixture, rows, weights, SETTINGS)
    assert (np.diff(values) > -1e-10).all()
    assert values[-1] > values[0] + 0.05


def test_they_are_indexed_and_joined_as_a_tensor_is():
    full, _, rows = holed()
    assert len(rows) == 60
    assert rows.shape == full.shape
    expected = rows.log_likelihoods(a_mixture())
    mask = torch.arange(60) % 3 == 0
    for index in (slice(0, 20), torch.tensor([5, 1, 9]), mask):
        part = rows[index]
        assert torch.equal(part.full, full[index])
        found = part.log_likelihoods(a_mixture())
        torch.testing.assert_close(found, expected[index], rtol=0, atol=1e-10)
    both = rows[:20].joined(rows[20:])
    assert torch.equal(both.full, full)
    torch.testing.assert_close(both.log_likelihoods(a_mixture()), expected, rtol=0, atol=1e-10)


def test_weights_are_repetitions():
    _, _, rows = holed()
    whole = IncompleteRows(rows.rows.y, rows.rows.onehots, torch.ones(60, dtype=torch.float64) * 2)
    once = HoledRows(rows.full, whole, MATRIX, LEVELS)
    ones = rows[torch.arange(60).repeat(2)]
    ones = HoledRows(
        ones.full,
        ones.rows._replace(weights=torch.ones(120, dtype=torch.float64)),
        MATRIX,
        LEVELS,
    )
    weights = torch.full((60,), 2.0, dtype=torch.float64)
    found = em_step(a_mixture(), once, weights, SETTINGS)
    expected = em_step(a_mixture(), ones, weights.repeat(2) / 2.0, SETTINGS)
    for own, right in zip(found, expected, strict=True):
        assert own.numpy() == pytest.approx(right.numpy(), rel=1e-9, abs=1e-10)
