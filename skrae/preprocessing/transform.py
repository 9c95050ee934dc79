"""The protocol of a map between the units of the data and working space.

With z = t(x), log p_x(x) = log p_z(z) + log |det dz/dx|, and derivatives follow by the chain rule.
Methods take rows X in the units of the data, which every caller has, and give NumPy arrays of as
many rows: whatever varies from row to row comes per row.
"""

from abc import ABC, abstractmethod


class Transform(ABC):
    """A smooth one-to-one map z = t(x) of rows, with what a density needs of it."""

    # Whether its log determinant is the same everywhere.
    is_affine = False

    @abstractmethod
    def forward(self, X):
        """Rows in working space, float64 (n, d)."""

    @abstractmethod
    def inverse(self, z):
        """Rows in the units of the data, of the shape (..., d) of z."""

    @abstractmethod
    def log_abs_det(self, X):
        """log |det dz/dx| at each row, (n,)."""

    def forward_and_log_det(self, X):
        """`forward` and `log_abs_det`, where they share work at once."""
        return self.forward(X), self.log_abs_det(X)

    @abstractmethod
    def gradient(self, X, gradient):
        """grad log p_x (n, d) from grad log p_z (n, d) at the same rows."""

    @abstractmethod
    def pull_back(self, X, gradient):
        """The gradient in z (n, d) of a function from that in x, without a log determinant."""

    @abstractmethod
    def hessian(self, X, gradient, hessian):
        """Hessian of log p_x (n, d, d) from gradient and Hessian of log p_z at the same rows.

        `gradient` is a function without arguments, asked where the map is curved alone.
        """

    @abstractmethod
    def covariance(self, X, covariance):
        """Covariances (n, d, d) in the units of the data from those about z, to first order."""

    @abstractmethod
    def by_columns(self):
        """A transform of each column by itself, and the matrix A with t(x) = columns(x) A.

        What is missing from a row is an axis of the columns' space, not one of working space.

        Returns
        -------
        columns : Transform
        matrix, inverse : arrays of shape (d, d), A and A^-1
        """

    @abstractmethod
    def scaled(self, scale):
        """The map x -> t(x) / scale, scale of shape (d,)."""

    @abstractmethod
    def parts(self):
        """The arrays and numbers that it is made of, a list."""
