"""A matrix for each row: the products are those of the array that is not built."""

import pytest
import torch

from skrae.preprocessing import blocks
from skrae.preprocessing.blocks import RowMatrices, matrices_of_rows, row_products


@pytest.fixture
def parts():
    to = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    return torch.randn(4, 3, 3, **to), torch.tensor([2, 0, 0, 3, 2]), torch.randn(5, 3, **to)


def test_products_are_those_of_the_gathered_matrices(parts):
    matrices, index, vectors = parts
    found, gathered = RowMatrices(matrices, index), matrices[index]
    expected = (gathered @ vectors[:, :, None])[:, :, 0]
    torch.testing.assert_close(row_products(found, vectors), expected)
    torch.testing.assert_close(row_products(gathered, vectors), expected)
    turned = (gathered.mT @ vectors[:, :, None])[:, :, 0]
    torch.testing.assert_close(row_products(found.mT, vectors), turned)


def test_rows_are_taken_as_of_an_array(parts):
    matrices, index, vectors = parts
    found = RowMatrices(matrices, index)
    assert len(found) == 5
    assert torch.equal(found[3], matrices[3])
    expected = row_products(matrices[index[:2]], vectors[:2])
    torch.testing.assert_close(row_products(found[:2], vectors[:2]), expected)


def test_gradients_are_those_of_the_gathered_matrices(parts):
    matrices, index, vectors = parts
    slopes = []
    for found in (RowMatrices(matrices, index), matrices[index]):
        v = vectors.clone().requires_grad_()
        (slope,) = torch.autograd.grad(row_products(found, v).square().sum(), v)
        slopes.append(slope)
    torch.testing.assert_close(*slopes)


def test_only_many_columns_go_without_the_array(parts, monkeypatch):
    matrices, index, _ = parts
    assert torch.equal(matrices_of_rows(matrices, index), matrices[index])
    monkeypatch.setattr(blocks, "WIDE", 2)
    assert isinstance(matrices_of_rows(matrices, index), RowMatrices)
