"""Rows a block at a time: the answers are those of all rows at once."""

import pytest
import torch

from skrae.preprocessing.blocks import BLOCK_NUMBERS, BLOCK_ROWS, block_rows, block_sizes, by_blocks


@pytest.mark.parametrize("n", [0, 1, 4, 5, 9])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_blocks_add_up(n, size):
    sizes = block_sizes(n, size)
    assert sum(sizes) == n
    assert all(s == size for s in sizes[:-1])


@pytest.mark.parametrize("n_components", [1, 100, 128, 129, 4000, 10**9])
def test_blocks_of_many_components_are_bounded(n_components):
    size = block_rows(n_components)
    assert 1 <= size <= BLOCK_ROWS
    assert size == 1 or size * n_components <= BLOCK_NUMBERS
    assert size == BLOCK_ROWS or (size + 1) * n_components > BLOCK_NUMBERS


@pytest.mark.parametrize("n", [0, 1, 4, 5, 9])
def test_blocks_give_what_all_rows_give(n):
    z, w, sizes = torch.arange(2.0 * n).reshape(n, 2), torch.arange(1.0 * n), []

    def function(rows, weights):
        sizes.append(len(rows))
        return rows * weights[:, None], weights + 1.0

    moved, more = by_blocks(function, z, w, size=4)
    assert torch.equal(moved, z * w[:, None])
    assert torch.equal(more, w + 1.0)
    assert max(sizes) <= 4
    assert torch.equal(by_blocks(torch.neg, z, size=4), -z)
