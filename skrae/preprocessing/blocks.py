"""Rows a block at a time, and a matrix for each: bounded memory, layers that stay in the cache."""

import torch
import torch.nn.functional as F

from skrae.preprocessing.contract.processes import current
from skrae.preprocessing.contract.work import check_time

# Rows at a time; where all layers of a network are kept, as many as leave them in the cache; and
# draws of a base density at a time, on which the stream of random numbers depends.
BLOCK_ROWS, NETWORK_ROWS, BLOCK_DRAWS = 4096, 1024, 8192
# Blocks that processes share out.
MIN_SHARED = 4
# Numbers of a block that stay in the cache, for what has one for each row and component.
BLOCK_NUMBERS = 524_288
# More columns are a wide table: of their d^2 products none is held for many rows at once, and no
# more numbers than MATRIX_NUMBERS in all matrices (d, d) of a kind.
WIDE, MATRIX_NUMBERS = 60, 2**23


def is_wide(n_columns):
    """Whether a table has so many columns that no row is given a matrix of its own."""
    return n_columns > WIDE


def n_matrices(d):
    """How many matrices (d, d) may be held at once: of components, or of rows.

    >>> n_matrices(300), n_matrices(4000)
    (93, 1)
    """
    return max(1, MATRIX_NUMBERS // d**2)


def block_rows(n_components):
    """Rows at a time where each has a number for every component.

    >>> block_rows(10), block_rows(1024)
    (4096, 512)
    """
    return min(BLOCK_ROWS, max(1, BLOCK_NUMBERS // n_components))


def block_sizes(n, size):
    """The sizes of the blocks of n rows: `size` each, and the rest.

    >>> block_sizes(10, 4)
    [4, 4, 2]
    """
    return [size] * (n // size) + [n % size] * (n % size > 0)


def by_blocks(function, *rows, size=BLOCK_ROWS):
    """function(*rows) of tensors of n rows each, a block of `size` rows at a time.

    Parameters
    ----------
    function : callable
        From tensors of m rows to a tensor of m rows, or to a tuple of such.
    *rows : tensors of shape (n, ...)

    Returns
    -------
    What the function returns, with n rows.

    Examples
    --------
    >>> by_blocks(lambda z: 2 * z, torch.arange(5), size=2)
    tensor([0, 2, 4, 6, 8])
    """
    check_time()
    if len(rows[0]) <= size:
        return function(*rows)
    parts = []
    for block in zip(*(r.split(size) for r in rows), strict=True):
        parts.append(function(*block))
        check_time()
    if isinstance(parts[0], tuple):
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))
    return torch.cat(parts)


def shared_by_blocks(function, *rows, size=BLOCK_ROWS):
    """The same of one tensor, of whose blocks each process takes some where they are many.

    All processes must ask for the same at once. Nothing that is random may be drawn in it.
    """
    processes, n = current(), len(rows[0])
    n_blocks = -(-n // size)
    if processes.size == 1 or n_blocks < MIN_SHARED:
        return by_blocks(function, *rows, size=size)
    own = processes.share(n, size)
    part = by_blocks(function, *(r[own] for r in rows), size=size)
    return processes.joined(part, n, size)


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
    def shape(self):
        """(n, d, d)"""
        return len(self), *self.matrices.shape[1:]

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
    """M_i v_i of each row i, (n, d), for M a tensor (n, d, d) or `RowMatrices`.

    Matrices of fewer axes act on the first ones, and the others become 0: categories stand still.
    """
    return on_first_axes(_row_products, matrices, vectors)


def _row_products(matrices, vectors):
    if isinstance(matrices, RowMatrices):
        return matrices.products(vectors)
    return torch.einsum("nij,nj->ni", matrices, vectors)


def on_first_axes(function, matrices, vectors):
    """function(matrices, vectors), (n, d), of the axes that the matrices have; 0 in the others.

    >>> on_first_axes(lambda a, v: v @ a, 2.0 * torch.eye(1), torch.ones(1, 3))
    tensor([[2., 0., 0.]])
    """
    n_axes, d = matrices.shape[-1], vectors.shape[-1]
    if n_axes == d:
        return function(matrices, vectors)
    return F.pad(function(matrices, vectors[..., :n_axes]), (0, d - n_axes))
