"""Known densities: each draws samples and gives its normalised log density and gradient.

They serve as ground truth, so every formula is exact, or a quadrature finer than float64 resolves.
"""

from abc import ABC, abstractmethod

import numpy as np
from numpy.polynomial import Polynomial
from scipy.special import gammaln, i0e, i1e, logsumexp, roots_legendre, softmax

__all__ = [
    "Banana",
    "Funnel",
    "Gaussian",
    "GaussianCurve",
    "LogGamma",
    "MixtureOfGaussians",
    "Moons",
    "Ring",
    "RotatedMixture",
    "SexticWell",
    "Spiral",
    "StudentT",
]

_LOG_2PI = np.log(2 * np.pi)
_BLOCK_SIZE = 2**20


def _as_generator(random_state):
    # Seeding from a RandomState advances it, so that two draws in a row differ.
    if isinstance(random_state, np.random.RandomState):
        random_state = random_state.randint(2**31, size=4)
    return np.random.default_rng(random_state)


def _check_positive(**parameters):
    for name, value in parameters.items():
        if not (np.isscalar(value) and 0 < value < np.inf):
            raise ValueError(f"got {name}={value!r}, expected a positive finite number")


def _check_count(minimum, **parameters):
    for name, value in parameters.items():
        if not isinstance(value, (int, np.integer)) or value < minimum:
            raise ValueError(f"got {name}={value!r}, expected an integer of at least {minimum}")


def _check_shape(name, array, expected):
    if array.shape != expected:
        raise ValueError(f"got {name} of shape {array.shape}, expected {expected}")


class _Density(ABC):
    """A density p on R^d, with d the attribute ``n_features``."""

    def sample(self, n_samples, random_state=None):
        """Draw independent rows from p.

        Parameters
        ----------
        n_samples : int
        random_state : None, int, RandomState or Generator

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
        """
        _check_count(0, n_samples=n_samples)
        return self._sample(n_samples, _as_generator(random_state))

    def log_density(self, X):
        """Return log p(x), normalised, in nats.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        log_density : ndarray of shape (n,)
        """
        X = self._check_rows(X)
        # Far away -log p exceeds the largest float: -inf is the value wanted there.
        with np.errstate(over="ignore"):
            return self._log_density(X)

    def gradient(self, X):
        """Return grad log p(x), analytically.

        Parameters
        ----------
        X : array-like of shape (n, n_features)

        Returns
        -------
        gradient : ndarray of shape (n, n_features)
        """
        X = self._check_rows(X)
        with np.errstate(over="ignore"):
            return self._gradient(X)

    def _check_rows(self, X):
        X = np.asarray(X, dtype=float)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"got X of shape {X.shape}, expected (n, {self.n_features})")
        return X

    @abstractmethod
    def _sample(self, n_samples, rng): ...

    @abstractmethod
    def _log_density(self, X): ...

    @abstractmethod
    def _gradient(self, X): ...


class MixtureOfGaussians(_Density):
    """Mixture of Gaussians, p(x) = sum_k w_k N(x; m_k, C_k).

    Parameters
    ----------
    weights : array-like of shape (k,)
        Positive, summing to one.
    means : array-like of shape (k, d)
    covariances : array-like of shape (k, d, d) or (d, d)
        Symmetric positive definite; a single one is shared by all components.

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
            raise ValueError(f"got means of shape {self.means.shape}, expected (k, d), k, d >= 1")
        n_components, self.n_features = self.means.shape
        _check_shape("weights", self.weights, (n_components,))
        if not (np.all(self.weights > 0) and np.isclose(self.weights.sum(), 1, rtol=0, atol=1e-9)):
            raise ValueError(f"got weights={weights!r}, expected positive numbers summing to one")
        self.covariances = np.asarray(covariances, dtype=float)
        shape = (n_components, self.n_features, self.n_features)
        if self.covariances.ndim == 2:
            _check_shape("covariances", self.covariances, shape[1:])
            self.covariances = np.broadcast_to(self.covariances, shape)
        _check_shape("covariances", self.covariances, shape)
        self._factorise()

    def _factorise(self):
        """C = L L^T and C^-1 = A A^T, component by component."""
        if not np.allclose(self.covariances, self.covariances.swapaxes(1, 2), rtol=1e-9, atol=0):
            raise ValueError("got asymmetric covariances, expected symmetric positive definite")
        try:
            self._factors = np.linalg.cholesky(self.covariances)
        except np.linalg.LinAlgError:
            raise ValueError("got indefinite covariances, expected positive definite") from None
        self._whiteners = np.linalg.inv(self._factors).swapaxes(1, 2)
        log_volumes = np.log(np.einsum("kii->ki", self._factors)).sum(axis=1)
        self._log_heights = (np.log(self.weights) - log_volumes - 0.5 * self.n_features * _LOG_2PI)[
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
        step = max(1, _BLOCK_SIZE // self.means.size)
        starts = range(0, max(1, len(X)), step)
        return np.concatenate([function(X[start : start + step]) for start in starts])


class Gaussian(MixtureOfGaussians):
    """Gaussian, p(x) = N(x; m, C).

    Parameters
    ----------
    mean : array-like of shape (d,)
    covariance : array-like of shape (d, d)
        Symmetric positive definite.

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
    random_state : None, int, RandomState or Generator
        Draws the mixture; `sample` has a random state of its own.

    References
    ----------
    Dasgupta (1999), Learning mixtures of Gaussians, FOCS.

    Examples
    --------
    >>> from skrae.datasets import RotatedMixture
    >>> RotatedMixture(n_features=3, random_state=0).sample(4, random_state=1).shape
    (4, 3)
    """

    def __init__(self, n_features=10, n_components=5, random_state=0):
        _check_count(1, n_features=n_features, n_components=n_components)
        rng = _as_generator(random_state)
        shape = (n_components, n_features)
        means = 2 * rng.standard_normal(shape)
        axes = np.linalg.qr(rng.standard_normal((*shape, n_features)))[0]
        scaled_axes = axes * np.exp(rng.uniform(np.log(0.16), np.log(0.8), shape))[:, None]
        covariances = scaled_axes @ scaled_axes.swapaxes(1, 2)
        super().__init__(np.full(n_components, 1 / n_components), means, covariances)


class GaussianCurve(MixtureOfGaussians):
    """25 equal Gaussians N(c(t_k), thickness^2 I) along a closed curve in 10 dimensions.

    For m = 1, ..., 5 coordinates 2m - 1 and 2m of c(t) are cos(m t) / m and sin(m t) / m, and
    t_k = 2 pi k / 25. The speed is sqrt(5), so that neighbours lie about 0.55 apart.

    Parameters
    ----------
    thickness : float
        Standard deviation of each Gaussian.

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

    def __init__(self, thickness=0.1):
        _check_positive(thickness=thickness)
        order = np.arange(1, 6)
        angle = 2 * np.pi * np.arange(25)[:, None] / 25 * order
        means = np.stack([np.cos(angle) / order, np.sin(angle) / order], axis=2).reshape(25, 10)
        super().__init__(np.full(25, 1 / 25), means, thickness**2 * np.eye(10))


def _curve_nodes(start, stop, speed, thickness):
    """Gauss-Legendre nodes and weights of the mean over t in [start, stop].

    On a curve no faster than `speed` neighbouring nodes are at most half a thickness apart, where
    the quadrature of a Gaussian errs by less than float64 rounds, even in the narrower integrands
    far from the curve.
    """
    _check_positive(thickness=thickness)
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


class Ring(_Density):
    """Thickened circle, x = radius (cos t, sin t) + N(0, thickness^2 I), t ~ U[0, 2 pi].

    With R and s for radius and thickness,
    p(x) = exp(-(|x|^2 + R^2) / 2 s^2) I_0(R |x| / s^2) / (2 pi s^2).

    Parameters
    ----------
    radius, thickness : float

    References
    ----------
    Rice (1945), Mathematical analysis of random noise, Bell System Technical Journal 24.

    Examples
    --------
    >>> from skrae.datasets import Ring
    >>> Ring().log_density([[1.0, 0.0], [0.0, 0.0]]).round(3)
    array([ -0.453, -47.233])
    """

    n_features = 2

    def __init__(self, radius=1.0, thickness=0.1):
        _check_positive(radius=radius, thickness=thickness)
        self.radius = radius
        self.thickness = thickness

    def _sample(self, n_samples, rng):
        angle = rng.uniform(0, 2 * np.pi, n_samples)
        circle = self.radius * np.column_stack([np.cos(angle), np.sin(angle)])
        return circle + self.thickness * rng.standard_normal((n_samples, 2))

    def _log_density(self, X):
        norm = np.linalg.norm(X, axis=1)
        bessel = np.log(i0e(self.radius * norm / self.thickness**2))
        exponent = -0.5 * ((norm - self.radius) / self.thickness) ** 2
        return exponent + bessel - _LOG_2PI - 2 * np.log(self.thickness)

    def _gradient(self, X):
        u = self.radius * np.linalg.norm(X, axis=1) / self.thickness**2
        # I_1(u) / (u I_0(u)) tends to 1/2 at the centre.
        ratio = np.divide(i1e(u), u * i0e(u), out=np.full_like(u, 0.5), where=u > 0)
        return X * ((self.radius / self.thickness) ** 2 * ratio - 1)[:, None] / self.thickness**2


class SexticWell(_Density):
    """Density on the line with two modes and a shoulder, p(x) = exp(-E(x)) / Z.

    E(x) = (10 (x + 1)^2 + 1) (20 x^2 + 1) (30 (x - 1)^2 + 1) / 1000. Z comes from a trapezoid rule,
    samples from the inverse distribution function, both on a fine grid of [-2.5, 2.5], outside of
    which p < 1e-300.

    References
    ----------
    Alain & Bengio (2014), What regularized auto-encoders learn from the data-generating
    distribution, JMLR 15.

    Examples
    --------
    >>> from skrae.datasets import SexticWell
    >>> SexticWell().log_density([[-1.0], [0.0], [1.0]]).round(3)
    array([-2.328, -0.128, -0.648])
    """

    n_features = 1

    def __init__(self):
        x = Polynomial([0.0, 1.0])
        factors = (10 * (x + 1) ** 2 + 1) * (20 * x**2 + 1) * (30 * (x - 1) ** 2 + 1)
        self._energy = factors / 1000
        self._force = -self._energy.deriv()
        self._grid = np.linspace(-2.5, 2.5, 50001)
        height = np.exp(-self._energy(self._grid))
        areas = np.diff(self._grid) * (height[1:] + height[:-1]) / 2
        self._log_normalizer = np.log(areas.sum())
        self._cdf = np.concatenate([[0], np.cumsum(areas) / areas.sum()])

    def _sample(self, n_samples, rng):
        return np.interp(rng.uniform(size=n_samples), self._cdf, self._grid)[:, None]

    def _log_density(self, X):
        return -self._energy(X[:, 0]) - self._log_normalizer

    def _gradient(self, X):
        return self._force(X)


class Banana(_Density):
    """Twisted Gaussian, x_1 ~ N(0, s^2), x_2 | x_1 ~ N(b (s^2 - x_1^2), 1), other x_j ~ N(0, 1).

    Parameters
    ----------
    n_features : int
        At least 2.
    scale, bend : float
        s and b above.

    References
    ----------
    Haario, Saksman & Tamminen (1999), Adaptive proposal distribution for random walk Metropolis
    algorithm, Computational Statistics 14; s = 10 and b = .03 or .1 there.

    Examples
    --------
    >>> from skrae.datasets import Banana
    >>> Banana().gradient([[10.0, 1.0]])
    array([[-0.7, -1. ]])
    """

    def __init__(self, n_features=2, scale=10.0, bend=0.03):
        _check_count(2, n_features=n_features)
        _check_positive(scale=scale, bend=bend)
        self.n_features = n_features
        self.scale = scale
        self.bend = bend

    def _ridge(self, first):
        return self.bend * (self.scale**2 - first**2)

    def _sample(self, n_samples, rng):
        X = rng.standard_normal((n_samples, self.n_features))
        X[:, 0] *= self.scale
        X[:, 1] += self._ridge(X[:, 0])
        return X

    def _untwist(self, X):
        """The standard normal row that `_sample` twists into X, a map of Jacobian 1 / scale."""
        Z = X.copy()
        Z[:, 0] /= self.scale
        Z[:, 1] -= self._ridge(X[:, 0])
        return Z

    def _log_density(self, X):
        squares = np.sum(self._untwist(X) ** 2, axis=1)
        return -0.5 * (squares + self.n_features * _LOG_2PI) - np.log(self.scale)

    def _gradient(self, X):
        Z = self._untwist(X)
        gradient = -Z
        gradient[:, 0] = -Z[:, 0] / self.scale - 2 * self.bend * X[:, 0] * Z[:, 1]
        return gradient


class Funnel(_Density):
    """Neal's funnel, x_1 ~ N(0, scale^2) and x_j | x_1 ~ N(0, exp(x_1)) for j > 1.

    Parameters
    ----------
    n_features : int
        At least 2.
    scale : float
        Standard deviation of x_1, the log variance of the others.

    References
    ----------
    Neal (2003), Slice sampling, Annals of Statistics 31, section 8.

    Examples
    --------
    >>> from skrae.datasets import Funnel
    >>> Funnel(n_features=3).gradient([[0.0, 1.0, 2.0]])
    array([[ 1.5, -1. , -2. ]])
    """

    def __init__(self, n_features=10, scale=3.0):
        _check_count(2, n_features=n_features)
        _check_positive(scale=scale)
        self.n_features = n_features
        self.scale = scale

    def _sample(self, n_samples, rng):
        X = rng.standard_normal((n_samples, self.n_features))
        X[:, 0] *= self.scale
        X[:, 1:] *= np.exp(X[:, :1] / 2)
        return X

    def _log_density(self, X):
        first = X[:, 0]
        squares = (first / self.scale) ** 2 + np.sum(X[:, 1:] ** 2, axis=1) * np.exp(-first)
        log_scales = np.log(self.scale) + 0.5 * (self.n_features - 1) * first
        return -0.5 * (squares + self.n_features * _LOG_2PI) - log_scales

    def _gradient(self, X):
        first, others = X[:, :1], X[:, 1:]
        forces = -others * np.exp(-first)
        excess = -np.sum(others * forces, axis=1, keepdims=True) - (self.n_features - 1)
        return np.hstack([excess / 2 - first / self.scale**2, forces])


class StudentT(_Density):
    """Multivariate Student t, p(x) proportional to (1 + |x|^2 / df)^(-(df + d) / 2).

    Parameters
    ----------
    n_features : int
        d above.
    df : float
        Degrees of freedom; moments exist below this order.

    References
    ----------
    Kotz & Nadarajah (2004), Multivariate t Distributions and Their Applications, chapter 1.

    Examples
    --------
    >>> from skrae.datasets import StudentT
    >>> StudentT(n_features=1, df=1.0).log_density([[0.0]]).round(4)
    array([-1.1447])
    """

    def __init__(self, n_features=2, df=5.0):
        _check_count(1, n_features=n_features)
        _check_positive(df=df)
        self.n_features = n_features
        self.df = df

    def _sample(self, n_samples, rng):
        Z = rng.standard_normal((n_samples, self.n_features))
        return Z * np.sqrt(self.df / rng.chisquare(self.df, size=(n_samples, 1)))

    def _log_density(self, X):
        d, df = self.n_features, self.df
        constant = gammaln((df + d) / 2) - gammaln(df / 2) - 0.5 * d * np.log(np.pi * df)
        return constant - 0.5 * (df + d) * np.log1p(np.sum(X**2, axis=1) / df)

    def _gradient(self, X):
        squares = np.sum(X**2, axis=1, keepdims=True)
        return -(self.df + self.n_features) * X / (self.df + squares)


class LogGamma(_Density):
    """Independent logarithms of gamma variables, p(x) = prod_j exp(a x_j - exp(x_j)) / Gamma(a).

    Skewed to the left; a is the shape.

    Parameters
    ----------
    n_features : int
    shape : float

    References
    ----------
    Prentice (1974), A log gamma model and its maximum likelihood estimation, Biometrika 61.

    Examples
    --------
    >>> from skrae.datasets import LogGamma
    >>> LogGamma(n_features=2).log_density([[0.0, 0.0]])
    array([-2.])
    """

    def __init__(self, n_features=2, shape=1.0):
        _check_count(1, n_features=n_features)
        _check_positive(shape=shape)
        self.n_features = n_features
        self.shape = shape

    def _sample(self, n_samples, rng):
        # log G(a) = log G(a + 1) + log(U) / a, and the right side never takes the log of an
        # underflowed draw, as a small shape otherwise would.
        size = (n_samples, self.n_features)
        exponential = rng.standard_exponential(size)
        return np.log(rng.standard_gamma(self.shape + 1, size)) - exponential / self.shape

    def _log_density(self, X):
        return np.sum(self.shape * X - np.exp(X) - gammaln(self.shape), axis=1)

    def _gradient(self, X):
        return self.shape - np.exp(X)
