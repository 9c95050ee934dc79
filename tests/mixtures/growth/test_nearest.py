"""Moments by the few likeliest components of each row, against those of all components."""

import numpy as np
import pytest
import torch

from skrae.mixtures.growth import em
from skrae.mixtures.growth import nearest as nearest_module
from skrae.mixtures.growth.expectation import Mixture, moments_of, shared_moments
from skrae.mixtures.growth.factors import FactorShape
from skrae.mixtures.growth.nearest import (
    MIN_COMPONENTS,
    MORE,
    Kernels,
    Nearest,
    likely_components,
    moments_of_few,
)
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing.blocks import WIDE
from tests.mixtures.random_mixtures import generator, random_mixture

D, LEVELS = WIDE + 1, (2, 3)


def random_case(n, n_components, seed, apart=0.2, levels=()):
    """A mixture of many columns, rows of it and their weights."""
    rule = generator(seed)
    to = {"generator": rule, "dtype": torch.float64}
    means = apart * torch.randn(n_components, D, **to)
    factors = 0.05 * torch.randn(n_components, D, D, **to).tril(-1)
    factors += torch.diag_embed(0.5 + torch.rand(n_components, D, **to))
    weights = 0.5 + torch.rand(n_components, **to)
    k = torch.randint(n_components, (n,), generator=rule)
    z = means[k] + torch.einsum("nij,nj->ni", factors[k], torch.randn(n, D, **to))
    own = ()
    if levels:
        own = [torch.rand(n_components, size, **to) + 0.1 for size in levels]
        own = 2 * [torch.cat([part / part.sum(1, keepdim=True) for part in own], dim=1)]
        onehots = [torch.eye(size, dtype=z.dtype)[k % size] for size in levels]
        z = torch.cat([z, *onehots], dim=1)
    covariances = factors @ factors.mT
    mixture = Mixture(weights / weights.sum(), means, covariances, covariances, *own)
    return mixture, z, 0.5 + torch.rand(n, **to)


@pytest.mark.parametrize("levels", [(), LEVELS])
def test_all_components_give_the_moments_of_all(levels, random_seed):
    mixture, z, weights = random_case(200, 5, random_seed, levels=levels)
    components = torch.argsort(torch.rand(200, 5, generator=generator(random_seed)), dim=1)
    found = moments_of_few(Kernels.of(mixture), z, weights, components)
    torch.testing.assert_close(found, moments_of(mixture, z, weights), rtol=1e-9, atol=1e-9)


def test_few_components_give_the_moments_of_restricted_shares(random_seed):
    """The slow oracle asks for each row the mixture of its own components."""
    mixture, z, weights = random_case(30, 6, random_seed, apart=0.02)
    rule = generator(random_seed)
    components = torch.stack([torch.randperm(6, generator=rule)[:2] for _ in range(30)])
    expected = torch.zeros(6, 1 + D, 1 + D, dtype=torch.float64)
    for i, own in enumerate(components):
        parts = (None if part is None else part[own] for part in mixture)
        expected[own] += moments_of(Mixture(*parts), z[i : i + 1], weights[i : i + 1])
    found = moments_of_few(Kernels.of(mixture), z, weights, components)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_the_steps_after_one_of_all_ask_the_likeliest(random_seed):
    """Of components far apart the moments are the same; of those that overlap all are asked."""
    for apart, few in ((3.0, True), (0.0, False)):
        mixture, z, weights = random_case(300, MIN_COMPONENTS, random_seed, apart)
        if not few:  # all alike
            alike = (part[:1].expand_as(part) for part in mixture[1:4])
            mixture = Mixture(mixture.weights, *alike)
        nearest, expected = Nearest(), moments_of(mixture, z, weights)
        for _ in range(2):
            found = shared_moments(mixture, z, weights, nearest)
            torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)
        assert bool(nearest._components) == few


def test_a_component_that_is_dropped_lets_all_be_asked(random_seed):
    mixture, z, weights = random_case(300, MIN_COMPONENTS, random_seed, 3.0)
    nearest, settings = Nearest(), em.Settings(1e-4, 10.0, FactorShape.of_columns(D))
    means = mixture.means.clone()
    em.em_step(mixture, z, weights, settings, nearest)
    assert nearest._components
    means[0] += 1000.0
    smaller = em.em_step(mixture._replace(means=means), z, weights, settings, nearest)
    assert len(smaller.weights) == MIN_COMPONENTS - 1
    assert not nearest._components


def density_of(mixture):
    """The same as a density."""
    weights, means, covariances = (part.numpy() for part in mixture[:3])
    return MixtureDensity(weights, means, np.linalg.cholesky(covariances), len(weights) * [np.inf])


def test_likely_components_have_the_shares_of_rows(monkeypatch, random_seed):
    """Of as many rows as are worth it, and of no fewer."""
    mixture, z, _ = random_case(100, MIN_COMPONENTS, random_seed, 0.5)
    density = density_of(mixture)
    assert likely_components(density, z) is None
    monkeypatch.setattr(nearest_module, "MIN_ROWS_OF_FEW", 100)
    components, shares = likely_components(density, z)
    assert components.shape == shares.shape == (100, MORE)
    expected = density.responsibilities(z).gather(1, components.long())
    torch.testing.assert_close(shares.double(), expected, rtol=1e-5, atol=1e-6)
    assert (shares.sum(1) > 0.99).all()


def test_rows_of_few_components_or_of_very_many_are_likely_of_no_few(monkeypatch, random_seed):
    """Fewer than MIN_COMPONENTS, few columns, and components that are all alike."""
    monkeypatch.setattr(nearest_module, "MIN_ROWS_OF_FEW", 20)
    few, z, _ = random_case(20, MIN_COMPONENTS - 1, random_seed)
    assert likely_components(density_of(few), z) is None
    narrow = random_mixture(2, MIN_COMPONENTS, random_seed)
    assert likely_components(narrow, z[:, :2]) is None
    mixture, z, _ = random_case(20, MIN_COMPONENTS, random_seed)
    weights = torch.full_like(mixture.weights, 1 / MIN_COMPONENTS)
    alike = Mixture(weights, *(part[:1].expand_as(part) for part in mixture[1:4]))
    assert likely_components(density_of(alike), z) is None


def test_refining_with_few_components_is_as_good(monkeypatch, random_seed):
    """Held-out log densities within .01 nats, of components that overlap little."""
    mixture, z, weights = random_case(2000, MIN_COMPONENTS, random_seed, 0.5)
    settings = em.Settings(1e-4, 10.0, FactorShape.of_columns(D))
    rows, held_out = (z[:1500], weights[:1500]), (z[1500:], weights[1500:], None)
    start = mixture._replace(covariances=2.0 * mixture.covariances)
    monkeypatch.setattr(em, "MIN_ROWS_OF_FEW", 1500)
    moments = Nearest.moments
    asked = []
    monkeypatch.setattr(Nearest, "moments", lambda *args: asked.append(1) or moments(*args))
    values = [em.refine(start, rows, held_out, settings, 8)[0]]
    assert asked
    monkeypatch.setattr(em, "Nearest", lambda: None)
    values.append(em.refine(start, rows, held_out, settings, 8)[0])
    assert values[0] == pytest.approx(values[1], abs=0.01)
