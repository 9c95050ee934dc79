"""Corruptions: what they leave of an entry, and what they add to its variance."""

import math

import numpy as np
import pytest
import torch

from skrae.autoencoders.transformers.terms.corruption import CORRUPTIONS
from tests.autoencoders.transformers.estimators import quick_auto_encoder
from tests.mixtures.random_mixtures import generator

N_DRAWS = 4000
each_corruption = pytest.mark.parametrize("name", CORRUPTIONS)
each_share = pytest.mark.parametrize("name", ["masking", "swap"])


def centred(n, seed):
    """n rows of three columns of mean 0, correlated, their second moments a whole batch's."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 3)) @ np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 2.0]])
    return torch.from_numpy(x - x.mean(axis=0))


def draws(name, x, level, seed):
    """Corruptions of the same rows, (N_DRAWS, n, d)."""
    source = generator(seed)
    return torch.stack([CORRUPTIONS[name].corrupt(x, level, source) for _ in range(N_DRAWS)])


def within_errors(samples, expected, n_errors=5.0):
    """Whether means over the first axis are the expected ones but for their standard errors."""
    error = samples.std(0, correction=1) / math.sqrt(len(samples))
    return bool(((samples.mean(0) - expected).abs() <= n_errors * error + 1e-12).all())


@each_corruption
@pytest.mark.parametrize("level", [0.1, 0.7])
def test_mean_of_a_corrupted_entry_is_what_is_kept_of_it(name, level, random_seed):
    x = centred(6, random_seed)
    kept = CORRUPTIONS[name].kept(level)
    assert within_errors(draws(name, x, level, random_seed), kept * x)


@each_corruption
@pytest.mark.parametrize("level", [0.1, 0.7])
def test_covariance_of_corrupted_rows_is_what_is_kept_and_added(name, level, random_seed):
    """a^2 C + diag(g), each draw's second moments being one sample of it.

    A swap takes a row's own entry once in n times, which keeps more off the diagonal.
    """
    x = centred(40, random_seed)
    covariance = x.T @ x / len(x)
    corruption = CORRUPTIONS[name]
    added = corruption.added(level, covariance.diagonal())
    expected = corruption.kept(level) ** 2 * covariance + torch.diag(added)
    if name == "swap":
        own = (1.0 - level + level / len(x)) / (1.0 - level)
        expected = torch.where(torch.eye(3, dtype=torch.bool), expected, own**2 * expected)
    noisy = draws(name, x, level, random_seed)
    moments = torch.einsum("mni,mnj->mij", noisy, noisy) / len(x)
    assert within_errors(moments, expected)


@each_corruption
def test_level_zero_changes_nothing(name, random_seed):
    x = centred(20, random_seed)
    assert torch.equal(CORRUPTIONS[name].corrupt(x, 0.0, generator(random_seed)), x)
    assert CORRUPTIONS[name].kept(0.0) == 1.0
    assert not CORRUPTIONS[name].added(0.0, x.var(0)).any()


@each_share
def test_the_level_is_the_share_of_changed_entries(name, random_seed):
    """Within 5 standard errors of a binomial share of 40 000 entries."""
    x = torch.arange(1.0, 40001.0).reshape(10000, 4)
    noisy = CORRUPTIONS[name].corrupt(x, 0.3, generator(random_seed))
    share = float((noisy != x).double().mean())
    assert abs(share - 0.3) < 5.0 * math.sqrt(0.3 * 0.7 / 40000) + 1e-4


def test_masked_entries_are_the_mean(random_seed):
    x = centred(50, random_seed)
    noisy = CORRUPTIONS["masking"].corrupt(x, 0.5, generator(random_seed))
    assert not noisy[noisy != x].any()
    assert 0.0 < float((noisy == x).double().mean()) < 1.0


def test_swapped_entries_are_of_the_same_column(random_seed):
    x = torch.arange(200.0).reshape(50, 4)
    noisy = CORRUPTIONS["swap"].corrupt(x, 0.5, generator(random_seed))
    assert torch.equal(noisy % 4, x % 4)
    donors = (noisy // 4)[noisy != x]
    assert donors.unique().numel() > 20
    rows_of_donors = (noisy // 4).unique(dim=0)
    assert any(row.unique().numel() > 2 for row in rows_of_donors), "entries swap one by one"


def test_gaussian_noise_is_independent_of_the_row(random_seed):
    x = torch.zeros(3000, 2)
    noise = CORRUPTIONS["gaussian"].corrupt(x, 0.5, generator(random_seed))
    far = CORRUPTIONS["gaussian"].corrupt(x + 8.0, 0.5, generator(random_seed))
    torch.testing.assert_close(far - 8.0, noise, rtol=0.0, atol=1e-5)


@each_corruption
def test_corruption_follows_its_generator(name, random_seed):
    x = centred(30, random_seed)
    first, again, other = (
        CORRUPTIONS[name].corrupt(x, 0.4, generator(seed))
        for seed in (random_seed, random_seed, random_seed + 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@each_corruption
def test_constant_columns_stay_as_they_are(name, random_seed):
    X = np.column_stack([centred(60, random_seed).numpy(), np.full(60, 7.25)])
    model = quick_auto_encoder(noise=name, noise_level=0.5, max_iter=20).fit(X)
    np.testing.assert_array_equal(model.reconstruct(X)[:, 3], 7.25)
    moved = X + np.array([0.0, 0.0, 0.0, 3.0])
    np.testing.assert_array_equal(model.transform(moved), model.transform(X))
