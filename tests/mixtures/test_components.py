"""Quadratic forms as polynomials, packed symmetric matrices, shares and draws of an index."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from skrae.mixtures import components
from skrae.mixtures.components import (
    distance_coefficients,
    draw_index,
    draw_indices,
    log_sum,
    log_sum_and_shares,
    log_volume,
    quadratic_columns,
    shares_of,
    unpack_symmetric,
)

each_size = pytest.mark.parametrize("d", [1, 2, 5])
PROBABILITIES = [
    [0.5, 0.5],
    [0.1, 0.0, 0.3, 0.6, 0.0],
    [1e-3, 0.999],
    [1.0],
]


def random_factors(n, d, rng):
    """Lower triangular (n, d, d) with a diagonal in [.2, 2]."""
    factors = np.tril(rng.standard_normal((n, d, d)), -1)
    return torch.as_tensor(factors + np.eye(d) * rng.uniform(0.2, 2, (n, d, 1)))


def slow_distances(X, means, factors):
    """|L_k^-1 (x - mu_k)|^2 by a loop over rows and components."""
    return np.array(
        [
            [np.sum(np.linalg.solve(L, x - m) ** 2) for m, L in zip(means, factors, strict=True)]
            for x in X
        ]
    )


def pack(matrix):
    """The lower triangle of a symmetric matrix, row by row."""
    return np.array([matrix[i, j] for i in range(len(matrix)) for j in range(i + 1)])


@each_size
def test_features_are_the_monomials_in_packed_order(d, random_seed):
    X = np.random.default_rng(random_seed).standard_normal((4, d))
    expected = [np.concatenate([[1.0], x, pack(np.outer(x, x))]) for x in X]
    np.testing.assert_array_equal(quadratic_columns(torch.as_tensor(X)).T, expected)


@pytest.mark.parametrize("way", ["a gradient", "many threads"])
def test_monomials_are_the_same_without_numpy(way, random_seed, monkeypatch):
    z = torch.as_tensor(np.random.default_rng(random_seed).standard_normal((5, 3)))
    monkeypatch.setattr(components, "FEW_THREADS", np.inf)
    expected = quadratic_columns(z)
    if way == "many threads":
        monkeypatch.setattr(components, "FEW_THREADS", 0)
    found = quadratic_columns(z.requires_grad_(way == "a gradient"))
    assert found.requires_grad == (way == "a gradient")
    torch.testing.assert_close(found.detach(), expected, rtol=0.0, atol=0.0)


@each_size
def test_unpacking_undoes_packing(d, random_seed):
    A = np.random.default_rng(random_seed).standard_normal((3, d, d))
    symmetric = A + A.swapaxes(1, 2)
    packed = torch.as_tensor(np.array([pack(matrix) for matrix in symmetric]))
    np.testing.assert_array_equal(unpack_symmetric(packed, d), symmetric)


@each_size
@pytest.mark.parametrize("spread", [1.0, 100.0])
def test_distances_equal_slow_oracle(d, spread, random_seed):
    rng = np.random.default_rng(random_seed)
    means = torch.as_tensor(spread * rng.standard_normal((3, d)))
    factors = random_factors(3, d, rng)
    X = torch.as_tensor(spread * rng.standard_normal((10, d)))
    coefficients = distance_coefficients(means, factors)
    # The terms of the polynomial are as large as |L^-1|^2 spread^2 and cancel.
    size = np.linalg.norm(np.linalg.inv(factors), axis=(1, 2)).max() * (spread + X.abs().max())
    np.testing.assert_allclose(
        (coefficients @ quadratic_columns(X)).T,
        slow_distances(X.numpy(), means.numpy(), factors.numpy()),
        rtol=1e-12,
        atol=1e-14 * float(size) ** 2,
    )


@each_size
def test_distance_of_a_mean_from_itself_vanishes(d, random_seed):
    rng = np.random.default_rng(random_seed)
    means, factors = torch.as_tensor(rng.standard_normal((3, d))), random_factors(3, d, rng)
    distances = (distance_coefficients(means, factors) @ quadratic_columns(means)).T
    size = float(np.linalg.norm(np.linalg.inv(factors), axis=(1, 2)).max() * means.abs().max())
    np.testing.assert_allclose(distances.diagonal(), 0, atol=1e-14 * (1 + size) ** 2)


@each_size
def test_log_volume_is_half_the_log_determinant(d, random_seed):
    factors = random_factors(4, d, np.random.default_rng(random_seed))
    covariances = factors @ factors.mT
    np.testing.assert_allclose(2 * log_volume(factors), torch.logdet(covariances), atol=1e-11)


@pytest.mark.parametrize("probabilities", PROBABILITIES)
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_indices_are_drawn_in_proportion(probabilities, scale, random_seed):
    n_draws, p = 100_000, np.array(probabilities)
    rows = torch.as_tensor(scale * p).expand(n_draws, -1)
    index = draw_index(rows, torch.Generator().manual_seed(random_seed))
    assert index.shape == (n_draws,)
    counts = np.bincount(index, minlength=len(p))
    assert counts[p == 0].sum() == 0
    if np.count_nonzero(p) > 1:
        assert stats.chisquare(counts[p > 0], n_draws * p[p > 0]).pvalue > 1e-5


def test_every_row_draws_from_its_own_probabilities(random_seed):
    expected = torch.arange(6).repeat(50)
    certain = torch.nn.functional.one_hot(expected).double()
    index = draw_index(certain, torch.Generator().manual_seed(random_seed))
    np.testing.assert_array_equal(index, expected)


def test_rows_are_drawn_independently(random_seed):
    n_draws = 100_000
    rows = torch.full((n_draws, 2), 0.5)
    index = draw_index(rows, torch.Generator().manual_seed(random_seed)).numpy()
    products = (index[1:] - 0.5) * (index[:-1] - 0.5)
    # Each product is +-1/4 with equal odds.
    assert abs(products.mean()) < 5 * 0.25 / len(products) ** 0.5


def test_several_draws_of_a_row_are_independent(random_seed):
    n_rows = 100_000
    rows = torch.full((n_rows, 2), 0.5)
    index = draw_indices(rows, 2, torch.Generator().manual_seed(random_seed)).numpy()
    assert index.shape == (n_rows, 2)
    products = (index[:, 0] - 0.5) * (index[:, 1] - 0.5)
    assert abs(products.mean()) < 5 * 0.25 / n_rows**0.5


def test_draws_depend_on_the_generator_alone():
    rows = torch.full((1000, 4), 0.25)
    state = torch.get_rng_state()
    first, again, other = (draw_index(rows, torch.Generator().manual_seed(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


# By NumPy's exponential and by torch's, with terms that would underflow.
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("width", [1.0, 1e4])
def test_sums_and_shares_are_those_of_scipy(threads, width, random_seed):
    rng = np.random.default_rng(random_seed)
    logits, weights = width * rng.standard_normal((6, 50)), rng.random(50)
    total, shares = special.logsumexp(logits, axis=0), special.softmax(logits, axis=0)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        both = log_sum_and_shares(torch.as_tensor(logits.copy()))
        alone = log_sum(torch.as_tensor(logits.copy()))
        weighted = shares_of(torch.as_tensor(logits.copy()), torch.as_tensor(weights))
    finally:
        torch.set_num_threads(before)
    for found in (both[0], alone):
        np.testing.assert_allclose(found, total, rtol=1e-13)
    np.testing.assert_allclose(both[1], shares, rtol=1e-12, atol=1e-40)
    np.testing.assert_allclose(weighted, weights * shares, rtol=1e-12, atol=1e-40)


def test_the_log_sum_of_no_density_is_minus_infinity():
    assert log_sum(torch.full((3, 1), -torch.inf, dtype=torch.float64)).item() == -np.inf


def test_sums_and_shares_have_gradients_and_leave_what_they_are_of(random_seed):
    generator = torch.Generator().manual_seed(random_seed)
    logits = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    kept = logits.detach().clone()
    assert torch.autograd.gradcheck(log_sum, logits)
    assert torch.autograd.gradcheck(shares_of, logits)
    assert torch.autograd.gradcheck(log_sum_and_shares, logits)
    np.testing.assert_array_equal(logits.detach(), kept)
