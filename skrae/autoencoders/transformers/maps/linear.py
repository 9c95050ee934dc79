"""The linear path: code h = x E, reconstruction h D, the best of its rank for corrupted rows.

With C the covariance of the rows x and x~ a corruption with E(x~ | x) = a x and cov(x~) =
a^2 C + diag(g), the linear map of x~ with the least error in x is B = (a^2 C + diag(g))^-1 a C, and
that of rank k goes through the k first axes V of a C B: E = B V, D = V^T (reduced-rank regression;
Izenman 1975). Without corruption B is the identity and V are the principal axes.
"""

from typing import NamedTuple

import numpy as np

# Relative variance below which a direction is left out of an inverse.
VARIANCE_FLOOR = 1e-12


class LinearPath(NamedTuple):
    """The best linear auto-encoder of its rank."""

    encoder: np.ndarray  # E (d, k)
    decoder: np.ndarray  # D (k, d), its rows orthonormal, or zero beyond the number of columns
    deviations: np.ndarray  # (k,) of the code

    def among(self, own):
        """The path in a table of more columns, bool (n,), of which it knows its own alone."""
        shape = len(own), len(self.decoder)
        encoder, decoder = np.zeros(shape), np.zeros(shape[::-1])
        encoder[own], decoder[:, own] = self.encoder, self.decoder
        return LinearPath(encoder, decoder, self.deviations)


def linear_path(covariance, n_components, kept=1.0, added=0.0):
    """The `LinearPath` of rows of mean 0.

    Parameters
    ----------
    covariance : array of shape (d, d), C
    n_components : int, k
    kept : float, a
    added : float or array of shape (d,), g

    Examples
    --------
    >>> path = linear_path(np.diag([4.0, 1.0]), 1)
    >>> path.encoder.T, path.deviations
    (array([[1., 0.]]), array([2.]))
    >>> linear_path(np.diag([4.0, 1.0]), 1, added=4.0).encoder.T  # half of a noisy row is noise
    array([[0.5, 0. ]])
    """
    d = len(covariance)
    encoder, decoder = np.zeros((d, n_components)), np.zeros((n_components, d))
    corrupted = kept**2 * covariance + np.diag(np.broadcast_to(added, d))
    denoiser = np.eye(d)
    if kept != 1.0 or np.any(added):
        denoiser = _inverse(corrupted) @ (kept * covariance)
    axes = _first_axes(kept * covariance @ denoiser, n_components)
    decoder[: len(axes)] = axes
    encoder[:, : len(axes)] = denoiser @ axes.T
    variances = np.einsum("ik,ij,jk->k", encoder, corrupted, encoder)
    return LinearPath(encoder, decoder, np.sqrt(np.maximum(variances, 0.0)))


def _first_axes(matrix, n_axes):
    """The eigenvectors of the largest eigenvalues, one a row, their largest entries positive."""
    axes = np.linalg.eigh(0.5 * (matrix + matrix.T))[1].T[::-1][:n_axes]
    largest = np.abs(axes).argmax(axis=1)
    return axes * np.sign(axes[np.arange(len(axes)), largest])[:, None]


def _inverse(covariance):
    return np.linalg.pinv(covariance, rcond=VARIANCE_FLOOR, hermitian=True)
