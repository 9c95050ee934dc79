"""A matrix for each row, one of a few: no array (n, d, d) is built of them where d is large."""

import torch

from skrae.preprocessing.blocks import is_wide


class RowMatrices:
    """matrices[index[i]] of row i, multiplied matrix by matrix.

    Parameters
    ----------
    matrices : tensor of shape (K, d, d)
    index : tensor of shape (n,), whole numbers
    """

    def __init__(self, matrices, index):
        self.matrices, self.index = matrices, index

    def __len__(self):
        return len(self.index)

    def __getitem__(self, rows):
        """The matrix of one row, or those of several."""
        index = self.index[rows]
        return RowMatrices(self.matrices, index) if index.ndim else self.matrices[index]

    @property
    def mT(self):
        """The matrices transposed."""
        return RowMatrices(self.matrices.mT, self.index)

    def products(self, vectors):
        """Each row's matrix times its vector, (n, d)."""
        found = torch.empty_like(vectors)
        for k in self.index.unique().tolist():
            own = (self.index == k).nonzero()[:, 0]
            found[own] = vectors[own] @ self.matrices[k].T
        return found


def matrices_of_rows(matrices, index):
    """matrices[index] (n, d, d), or the same as `RowMatrices` where d is large."""
    wide = is_wide(matrices.shape[-1])
    return RowMatrices(matrices, index) if wide else matrices[index]


def row_products(matrices, vectors):
    """M_i v_i of each row i, (n, d), for M a tensor (n, d, d) or `RowMatrices`."""
    if isinstance(matrices, RowMatrices):
        return matrices.products(vectors)
    return torch.einsum("nij,nj->ni", matrices, vectors)
