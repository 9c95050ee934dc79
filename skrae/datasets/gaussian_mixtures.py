"""Known densities that are mixtures of Gaussians, p(x) = sum_k w_k N(x; m_k, C_k).

A curve thickened by Gaussian noise is one too: the mean over the curve, taken by a quadrature.
"""

import numpy as np
from scipy.special import logsumexp, roots_legendre, softmax

from skrae.datasets.known_density import (
    LOG_2PI,
    KnownDensity,
    as_generator,
    check_count,
    check_positive,
    check_shape,
)

BLOCK_SIZE = 2**20


class MixtureOfGaussians(KnownDensity):
    """Mixture of Gaussians, p(x) = sum_k w_k N(x; m_k, C_k).

    Parameters
    ----------
    weights : array-like of shape (k,)
        Positive, summing to one.
    means : array-like of shape (k, d)
        Centres m_k.
    covariances : array-like of shape (k, d, d) or (d, d)
        C_k, symmetric positive definite; a single one is shared by all components.

    See Also
    --------
    Gaussian : A single component.
    RotatedMixture : Components drawn at random.

    References
    ----------
    McLachlan & Peel (2000), Finite Mixture Models, chapter 3.

    Examples
    --------
    >>> from skrae.datasets import MixtureOfGaussians
    >>> density = MixtureOfGaussians([0.5, 0.5], [[-2.0], [2.0]], [[1.0]])
    >>> density.gradient([[-3.0], [1.0]]).round(3)
    array([[1.   ],
           [0.928]])
    """

    def __init__(self, weights, means, covariances):
        self.weights = np.asarray(weights, dtype=float)
        self.means = np.asarray(means, dtype=float)
        if self.means.ndim != 2 or 0 in self.means.shape:
            raise ValueError(f"Got means of shape {self.means.shape}, expected (k, d), k, d >= 1.")
        n_components, self.n_features = self.means.shape
        check_shape("weights", self.weights, (n_components,))
        if not (np.all(self.weights > 0) and np.isclose(self.weights.sum(), 1, rtol=0, atol=1e-9)):
            raise ValueError(f"Got weights={weights!r}, expected positive numbers summing to one.")
        self.covariances = np.asarray(covariances, dtype=float)
        shape = (n_components, self.n_features, self.n_features)
        if self.covariances.ndim == 2:
            check_shape("covariances", self.covariances, shape[1:])
            self.covariances = np.broadcast_to(self.covariances, shape)
        check_shape("covariances", self.covariances, shape)
        self._factorise()

    def _factorise(self):
        """C = L L^T and C^-1 = A A^T, component by component."""
        if not np.allclose(self.covariances, self.covariances.swapaxes(1, 2), rtol=1e-9, atol=0):
            raise ValueError("Got asymmetric covariances, expected symmetric positive definite.")
        try:
            self._factors = np.linalg.cholesky(self.covariances)
        except np.linalg.LinAlgError:
            raise ValueError("Got indefinite covariances, expected positive definite.") from None
        self._whiteners = np.linalg.inv(self._factors).swapaxes(1, 2)
        log_volumes = np.log(np.einsum("kii->ki", self._factors)).sum(axis=1)
        self._log_heights = (np.log(self.weights) - log_volumes - 0.5 * self.n_features * LOG_2PI)[
            :, None
        ]

    def _sample(self, n_samples, rng):
        labels = rng.choice(len(self.weights), size=n_samples, p=self.weights / self.weights.sum())
        noise = rng.standard_normal((n_samples, self.n_features))
        return self.means[labels] + np.einsum("nij,nj->ni", self._factors[labels], noise)

    def _log_density(self, X):
        return self._by_blocks(lambda block: logsumexp(self._log_terms(block)[0], axis=0), X)

    def _gradient(self, X):
        return self._by_blocks(self._gradient_of_block, X)

    def _gradient_of_block(self, X):
        log_terms, whitened = self._log_terms(X)
        pulls = whitened * softmax(log_terms, axis=0)[:, :, None]
        return -np.einsum("kne,kde->nd", pulls, self._whiteners, optimize=True)

    def _log_terms(self, X):
        """Log of each term of the sum, (k, n), and the whitened deviations, (k, n, d)."""
        whitened = (X - self.means[:, None]) @ self._whiteners
        return self._log_heights - 0.5 * np.einsum("kne,kne->kn", whitened, whitened), whitened

    def _by_blocks(self, function, X):
        step = max(1, BLOCK_SIZE // self.means.size)
        starts = range(0, max(1, len(X)), step)
        return np.concatenate([function(X[start : start + step]) for start in starts])


class Gaussian(MixtureOfGaussians):
    """Gaussian, p(x) = N(x; m, C).

    Parameters
    ----------
    mean : array-like of shape (d,)
        m, the centre.
    covariance : array-like of shape (d, d)
        C, symmetric positive definite.

    See Also
    --------
    MixtureOfGaussians : Several, weighted.
    StudentT : Heavier tails.

    References
    ----------
    Anderson (2003), An Introduction to Multivariate Statistical Analysis, section 2.3.

    Examples
    --------
    >>> from skrae.datasets import Gaussian
    >>> Gaussian([1.0, 0.0], [[4.0, 0.0], [0.0, 1.0]]).gradient([[3.0, 2.0]])
    array([[-0.5, -2. ]])
    """

    def __init__(self, mean, covariance):
        super().__init__([1.0], np.asarray(mean, dtype=float)[None], covariance)


class RotatedMixture(MixtureOfGaussians):
    """Equal mixture of Gaussians with centres from N(0, 2^2 I) and axes turned at random.

    The standard deviation along each axis is log-uniform on [.16, .8].

    Parameters
    ----------
    n_features, n_components : int
        Number of columns, and of Gaussians; at least 1.
    random_state : None, int, RandomState or Generator
        Draws the mixture; `sample` has a random state of its own.

    See Also
    --------
    MixtureOfGaussians : Components of your own.

    References
    ----------
    Dasgupta (1999), Learning mixtures of Gaussians, FOCS.

    Examples
    --------
    The mean log density of many samples is minus the entropy, in nats.

    >>> from skrae.datasets import RotatedMixture
    >>> density = RotatedMixture(n_features=3, random_state=0)
    >>> X = density.sample(10_000, random_state=1)
    >>> round(float(density.log_density(X).mean()), 1)
    -2.7
    """

    def __init__(self, n_features=10, n_components=5, random_state=0):
        check_count(1, n_features=n_features, n_components=n_components)
        rng = as_generator(random_state)
        shape = (n_components, n_features)
        means = 2 * rng.standard_normal(shape)
        axes = np.linalg.qr(rng.standard_normal((*shape, n_features)))[0]
        scaled_axes = axes * np.exp(rng.uniform(np.log(0.16), np.log(0.8), shape))[:, None]
        covariances = scaled_axes @ scaled_axes.swapaxes(1, 2)
        super().__init__(np.full(n_components, 1 / n_components), means, covariances)


class GaussianCurve(MixtureOfGaussians):
    """25 equal Gaussians N(c(t_k), C_k) along a closed curve in 10 dimensions.

    For m = 1, ..., 5 coordinates 2m - 1 and 2m of c(t) are cos(m t) / m and sin(m t) / m, and
    t_k = 2 pi k / 25. The speed is sqrt(5), so that neighbours lie about 0.55 apart. With u_k the
    unit tangent, C_k = thickness^2 [I + (elongation^2 - 1) u_k u_k^T].

    Parameters
    ----------
    thickness : float
        Standard deviation of each Gaussian across the curve.
    elongation : float
        The standard deviation along the curve, in thicknesses; 1 is a round Gaussian.

    See Also
    --------
    Spiral, Moons, Ring : Thickened curves in the plane.

    References
    ----------
    In the spirit of the sampling experiment of Alain & Bengio (2014), JMLR 15; the curve is ours.

    Examples
    --------
    >>> from skrae.datasets import GaussianCurve
    >>> GaussianCurve().means[0]
    array([1.        , 0.        , 0.5       , 0.        , 0.33333333,
           0.        , 0.25      , 0.        , 0.2       , 0.        ])
    """

    def __init__(self, thickness=0.1, elongation=1.0):
        check_positive(thickness=thickness, elongation=elongation)
        order = np.arange(1, 6)
        angle = 2 * np.pi * np.arange(25)[:, None] / 25 * order
        cosines, sines = np.cos(angle), np.sin(angle)
        means = np.stack([cosines / order, sines / order], axis=2).reshape(25, 10)
        tangents = np.stack([-sines, cosines], axis=2).reshape(25, 10) / np.sqrt(5)
        along = (elongation**2 - 1) * tangents[:, :, None] * tangents[:, None, :]
        super().__init__(np.full(25, 1 / 25), means, thickness**2 * (np.eye(10) + along))


def _curve_nodes(start, stop, speed, thickness):
    """Gauss-Legendre nodes and weights of the mean over t in [start, stop].

    On a curve no faster than `speed` neighbouring nodes are at most half a thickness apart, where
    the quadrature of a Gaussian errs by less than float64 rounds, even in the narrower integrands
    far from the curve.
    """
    check_positive(thickness=thickness)
    n_nodes = int(np.ceil(np.pi * (stop - start) * speed / thickness)) + 16
    nodes, weights = roots_legendre(n_nodes)
    return (start + stop) / 2 + (stop - start) / 2 * nodes, weights / 2


class Spiral(MixtureOfGaussians):
    """Thickened spiral, x = (0.04 t sin t, 0.04 t cos t) + N(0, thickness^2 I), t ~ U[3, 15].

    The density is the mean over t of a Gaussian, taken by a quadrature of about 23 / thickness
    nodes; its relative error is below 1e-10 wherever the density matters.

    Parameters
    ----------
    thickness : float
        Standard deviation of the noise.

    See Also
    --------
    Moons, Ring : Other thickened curves in the plane.

    References
    ----------
    Alain & Bengio (2014), What regularized auto-encoders learn from the data-generating
    distribution, JMLR 15.

    Examples
    --------
    >>> from skrae.datasets import Spiral
    >>> Spiral().log_density([[0.0, 0.0], [0.0, 0.5]]).round(2)
    array([-17.01,   1.19])
    """

    def __init__(self, thickness=0.02):
        t, weights = _curve_nodes(3, 15, 0.04 * np.hypot(1, 15), thickness)
        means = 0.04 * t[:, None] * np.column_stack([np.sin(t), np.cos(t)])
        super().__init__(weights, means, thickness**2 * np.eye(2))


class Moons(MixtureOfGaussians):
    """Two interleaved half circles, (cos t, sin t) or (1 - cos t, 1/2 - sin t), + noise.

    t ~ U[0, pi], the two are equally likely and the noise is N(0, thickness^2 I). The density is
    the mean over t of a Gaussian, by a quadrature of about 20 / thickness nodes, to rounding.

    Parameters
    ----------
    thickness : float
        Standard deviation of the noise.

    See Also
    --------
    Spiral, Ring : Other thickened curves in the plane.

    References
    ----------
    The geometry of `sklearn.datasets.make_moons`, Pedregosa et al. (2011), JMLR 12.

    Examples
    --------
    >>> from skrae.datasets import Moons
    >>> Moons().log_density([[0.0, 1.0], [1.0, -0.5]]).round(3)
    array([-0.453, -0.453])
    """

    def __init__(self, thickness=0.1):
        t, weights = _curve_nodes(0, np.pi, 1, thickness)
        upper = np.column_stack([np.cos(t), np.sin(t)])
        means = np.concatenate([upper, [1, 0.5] - upper])
        super().__init__(np.tile(weights / 2, 2), means, thickness**2 * np.eye(2))
