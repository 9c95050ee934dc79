"""A map of the numeric columns of rows beside whose entries the one-hots of categories stand."""

from dataclasses import dataclass

import numpy as np

from skrae.preprocessing.transform import Transform


@dataclass(frozen=True, eq=False)
class Beside(Transform):
    """The map of the first columns; the `n_others` last ones stay as they are.

    A density is one with respect to the numeric columns alone: what is last adds nothing to the log
    determinant, and every derivative along it is 0.
    """

    inner: Transform
    n_others: int

    @property
    def is_affine(self):
        """That of the inner map."""
        return self.inner.is_affine

    def _numeric(self, rows):
        return rows[..., : rows.shape[-1] - self.n_others]

    def _with_others(self, numeric, rows):
        return np.concatenate([numeric, rows[..., rows.shape[-1] - self.n_others :]], axis=-1)

    def _with_zeros(self, array):
        """Zeros beside vectors (n, d_c), and around matrices (n, d_c, d_c)."""
        return np.pad(array, [(0, 0)] + [(0, self.n_others)] * (array.ndim - 1))

    def forward(self, X):
        """Rows in working space."""
        return self._with_others(self.inner.forward(self._numeric(X)), X)

    def inverse(self, z):
        """Rows in the units of the data."""
        return self._with_others(self.inner.inverse(self._numeric(z)), z)

    def forward_and_log_det(self, X):
        """Both at once."""
        z, log_det = self.inner.forward_and_log_det(self._numeric(X))
        return self._with_others(z, X), log_det

    def log_abs_det(self, X):
        """That of the numeric columns."""
        return self.inner.log_abs_det(self._numeric(X))

    def gradient(self, X, gradient):
        """By the inner map, and 0."""
        return self._with_zeros(self.inner.gradient(self._numeric(X), self._numeric(gradient)))

    def pull_back(self, X, gradient):
        """By the inner map, and 0."""
        return self._with_zeros(self.inner.pull_back(self._numeric(X), self._numeric(gradient)))

    def hessian(self, X, gradient, hessian):
        """By the inner map, and 0."""
        own = hessian[:, : hessian.shape[1] - self.n_others, : hessian.shape[2] - self.n_others]
        found = self.inner.hessian(self._numeric(X), lambda: self._numeric(gradient()), own)
        return self._with_zeros(found)

    def covariance(self, X, covariance):
        """By the inner map, and 0."""
        n = covariance.shape[1] - self.n_others
        return self._with_zeros(self.inner.covariance(self._numeric(X), covariance[:, :n, :n]))

    def by_columns(self):
        """Those of the inner map, and the matrices of its numeric columns."""
        columns, matrix, inverse = self.inner.by_columns()
        return Beside(columns, self.n_others), matrix, inverse

    def scaled(self, scale):
        """The numeric columns divided by scale, (d_c,)."""
        return Beside(self.inner.scaled(scale), self.n_others)

    def parts(self):
        """Those of the inner map."""
        return self.inner.parts()
