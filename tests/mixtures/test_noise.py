"""Streams of random numbers for rows: uniform, independent, of their own row alone."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from skrae.mixtures.noise import RowStreams, integer, normal, normal_of_some, resumed, uniform

LIKE = torch.zeros(1, dtype=torch.float64)


def keys(n, seed):
    return torch.randint(-(2**62), 2**62, (n,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("draw", "law"), [(uniform, "uniform"), (normal, "norm")])
def test_numbers_follow_their_law(draw, law, random_seed):
    numbers = draw((20_000, 5), RowStreams(keys(1000, random_seed)), LIKE)
    assert numbers.shape == (20_000, 5)
    assert kstest(numbers.numpy().ravel(), law).pvalue > 1e-5


def test_numbers_of_rows_copies_columns_and_requests_are_uncorrelated(random_seed):
    streams = RowStreams(torch.arange(200) + random_seed)  # neighbouring keys
    table = torch.stack([normal((800, 3), streams, LIKE) for _ in range(4)])
    parts = table.reshape(4, 4, 200, 3).permute(2, 0, 1, 3).reshape(200, -1).numpy()
    for matrix in (parts, parts.T):
        correlation = np.corrcoef(matrix, rowvar=False)
        off = correlation[np.triu_indices(len(correlation), 1)]
        assert np.abs(off).max() < 6.0 / np.sqrt(len(matrix))
        assert abs(off.mean()) < 6.0 / np.sqrt(len(matrix) * len(off))


def test_a_row_gets_what_is_its_own(random_seed):
    every = keys(6, random_seed)
    together = uniform((18, 4), RowStreams(every), LIKE).reshape(3, 6, 4)
    for i in range(6):
        alone = uniform((3, 2), RowStreams(every[i : i + 1]), LIKE)
        torch.testing.assert_close(together[:, i, :2], alone, rtol=0.0, atol=0.0)


def test_no_number_is_an_end_of_the_interval():
    numbers = RowStreams(torch.arange(1000)).uniform(100_000, 10)
    assert 0.0 < numbers.min() < 1e-5
    assert 1.0 - 1e-5 < numbers.max() < 1.0


def test_streams_go_on_from_a_state(random_seed):
    streams = RowStreams(keys(3, random_seed))
    normal((3, 2), streams, LIKE)
    state = streams.get_state()
    later = normal((3, 2), streams, LIKE)
    again = normal((3, 2), resumed(state, "cpu"), LIKE)
    torch.testing.assert_close(again, later, rtol=0.0, atol=0.0)
    streams.set_state(state)
    torch.testing.assert_close(normal((3, 2), streams, LIKE), later, rtol=0.0, atol=0.0)


def test_some_rows_get_what_they_would_among_all(random_seed):
    index, parts = torch.tensor([1, 4]), keys(6, random_seed)
    every = normal((6, 3), RowStreams(parts), LIKE)
    some = normal_of_some(index, (6, 3), RowStreams(parts), LIKE)
    torch.testing.assert_close(some, every[index], rtol=0.0, atol=0.0)
    generator = torch.Generator().manual_seed(0)
    assert normal_of_some(index, (6, 3), generator, LIKE).shape == (2, 3)


def test_whole_numbers_are_even_and_the_same_for_all_tables(random_seed):
    first, second = RowStreams(keys(2, random_seed)), RowStreams(keys(5, random_seed + 1))
    numbers = [integer(4, first) for _ in range(4000)]
    assert numbers == [integer(4, second) for _ in range(4000)]
    counts = np.bincount(numbers)
    assert np.abs(counts - 1000).max() < 5.0 * np.sqrt(4000 * 0.25 * 0.75)
