"""Distances, gradients and moments: by whitening they are what they are by monomials."""

import numpy as np
import pytest
import torch

from skrae.mixtures import quadratics
from skrae.mixtures.growth import em, expectation
from skrae.mixtures.mixture import MixtureDensity
from skrae.preprocessing import blocks
from tests.derivatives import finite_differences
from tests.mixtures.random_mixtures import generator, in_blocks, random_mixture

INF = np.inf
LAWS = {
    "gaussian": random_mixture(3, 1, 0),
    "gaussians": random_mixture(3, 4, 1),
    "with a tail": random_mixture(3, 3, 2, [INF, 3.0, INF]),
    "tails alone": random_mixture(2, 2, 3, [3.0, 4.0]),
    "blocks": in_blocks(random_mixture(4, 3, 4, [INF, INF, 3.0]), [0, 1, 0, 2]),
}
each_law = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)


@pytest.fixture
def wide(monkeypatch):
    """Every table counts as one of many columns."""
    return lambda: monkeypatch.setattr(blocks, "WIDE", 0)


def rows(n, d, seed):
    return torch.randn(n, d, generator=generator(seed), dtype=torch.float64)


@each_law
def test_density_is_the_same_either_way(law, wide, random_seed):
    z = 2.0 * rows(50, law.n_features, random_seed)
    narrow = *law.evaluate(z), law.responsibilities(z), law.sample(20, generator(0))
    wide()
    law = MixtureDensity(*law.arrays())
    found = *law.evaluate(z), law.responsibilities(z), law.sample(20, generator(0))
    for one, other in zip(found, narrow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(law.log_density(z), found[0], rtol=1e-12, atol=1e-12)


@each_law
def test_gradient_by_whitening_is_that_of_the_density(law, wide, random_seed):
    wide()
    law = MixtureDensity(*law.arrays())
    z = rows(10, law.n_features, random_seed)
    slopes = finite_differences(law.log_density, z)
    np.testing.assert_allclose(law.evaluate(z)[1], slopes, rtol=1e-5, atol=1e-6)
    z.requires_grad_()
    (slope,) = torch.autograd.grad(law.log_density(z).sum(), z)
    torch.testing.assert_close(slope, law.evaluate(z)[1].detach(), rtol=1e-10, atol=1e-10)


def test_expectation_maximisation_is_the_same_either_way(wide, random_seed):
    z, weights = rows(200, 3, random_seed), torch.rand(200, generator=generator(1)).double()

    def run():
        settings = em.Settings(1e-4, 6.0)
        mixture = em.first_gaussian((z, weights), settings)
        for _ in range(2):
            mixture = em.split(mixture, generator(random_seed))
        for _ in range(3):
            mixture = em.em_step(mixture, z, weights, settings)
        return *mixture, expectation.log_density(mixture, z), *em.merge_closest(mixture)

    narrow = run()
    wide()
    for one, other in zip(run(), narrow, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("few_shares", [2, 3])
def test_moments_are_sums_of_shares_times_monomials(few_shares, monkeypatch, random_seed):
    """Three components, which are few or more than that."""
    monkeypatch.setattr(quadratics, "FEW_SHARES", few_shares)
    z = rows(9, 2, random_seed)
    shares, onehots = torch.rand(3, 9, generator=generator(1)).double(), torch.eye(2)[[0, 1, 1] * 3]
    columns = quadratics.row_columns(torch.cat([z, onehots.double()], dim=1), 2)
    found = quadratics.weighted_moments(shares, columns, 2)
    a, b = z.numpy().T
    monomials = np.stack([np.ones(9), a, b, a * a, b * a, b * b, *onehots.numpy().T])
    expected = [[(share * own).sum() for own in monomials] for share in shares.numpy()]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert found.is_contiguous()


@pytest.mark.parametrize("rows_of_a_block", [1, 7])
def test_blocks_of_many_columns_change_nothing(rows_of_a_block, wide, monkeypatch, random_seed):
    wide()
    law = MixtureDensity(*LAWS["with a tail"].arrays())
    z = rows(20, 3, random_seed)
    whole = law.evaluate(z)
    monkeypatch.setattr(blocks, "BLOCK_NUMBERS", 3 * rows_of_a_block)
    assert quadratics.rows_at_once(3, 3) == rows_of_a_block
    monkeypatch.setattr(quadratics, "BLOCK_NUMBERS", 1)
    monkeypatch.setattr(quadratics, "DISTANCE_ROWS", 3)
    law = MixtureDensity(*law.arrays())
    for one, other in zip(law.evaluate(z), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_moments_of_components_far_apart_are_those_of_all_rows(random_seed):
    d, z = 3, rows(60, 3, random_seed)
    shares = torch.full((3, 60), 1e-30, dtype=torch.float64)
    shares[torch.arange(60) % 3, torch.arange(60)] = 1.0 - 2e-30
    columns = torch.cat([torch.ones(1, 60, dtype=torch.float64), z.T])
    expected = torch.einsum("kn,in,jn->kij", shares, columns, columns)
    found = torch.stack([quadratics._products(share, columns, d) for share in shares])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_no_array_of_a_matrix_for_each_row_is_built(random_seed):
    """200 rows in 300 dimensions would hold 144 MB of matrices."""
    d = 300
    law = MixtureDensity([0.5, 0.5], np.zeros((2, d)), np.stack(2 * [np.eye(d)]), [INF, 3.0])
    z, largest = rows(200, d, random_seed), []

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            out = function(*arguments, **(options or {}))
            largest.extend(t.numel() for t in [out] if isinstance(t, torch.Tensor))
            return out

    with Sizes():
        law.evaluate(z)
        law.log_density(z)
        law.sample(200, generator(0))
    assert max(largest) <= 2 * d * d


@each_law
def test_hessian_is_the_derivative_of_the_gradient(law, random_seed):
    z = 2.0 * rows(20, law.n_features, random_seed)
    expected = finite_differences(lambda x: law.evaluate(x)[1], z)
    torch.testing.assert_close(law.hessian(z), expected, rtol=1e-5, atol=1e-5)
