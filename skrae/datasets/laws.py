"""Known densities that are no mixtures of Gaussians, each with a formula of its own."""

import numpy as np
from numpy.polynomial import Polynomial
from scipy.special import gammaln, i0e, i1e

from skrae.datasets.known_density import LOG_2PI, KnownDensity, check_count, check_positive


class Ring(KnownDensity):
    r"""Thickened circle, x = radius (cos t, sin t) + N(0, thickness^2 I), t ~ U[0, 2 pi].

    Parameters
    ----------
    radius : float
        R, that of the circle.
    thickness : float
        s, the standard deviation of the noise.

    See Also
    --------
    Moons, Spiral : Other thickened curves in the plane.

    Notes
    -----
    With the modified Bessel function I_0 the density is

    .. math::

        p(x) = \frac{1}{2 \pi s^2} \exp\left(-\frac{|x|^2 + R^2}{2 s^2}\right)
        I_0\left(\frac{R |x|}{s^2}\right).

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
        check_positive(radius=radius, thickness=thickness)
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
        return exponent + bessel - LOG_2PI - 2 * np.log(self.thickness)

    def _gradient(self, X):
        u = self.radius * np.linalg.norm(X, axis=1) / self.thickness**2
        # I_1(u) / (u I_0(u)) tends to 1/2 at the centre.
        ratio = np.divide(i1e(u), u * i0e(u), out=np.full_like(u, 0.5), where=u > 0)
        return X * ((self.radius / self.thickness) ** 2 * ratio - 1)[:, None] / self.thickness**2


class SexticWell(KnownDensity):
    """Density on the line with two modes and a shoulder, p(x) = exp(-E(x)) / Z.

    E(x) = (10 (x + 1)^2 + 1) (20 x^2 + 1) (30 (x - 1)^2 + 1) / 1000. Z comes from a trapezoid rule,
    samples from the inverse distribution function, both on a fine grid of [-2.5, 2.5], outside of
    which p < 1e-300.

    See Also
    --------
    denoising_optimum, contractive_optimum : What an auto-encoder would learn from it.

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


class Banana(KnownDensity):
    """Twisted Gaussian, x_1 ~ N(0, s^2), x_2 | x_1 ~ N(b (s^2 - x_1^2), 1), other x_j ~ N(0, 1).

    Parameters
    ----------
    n_features : int
        At least 2.
    scale : float
        s, the standard deviation of x_1.
    bend : float
        b, the curvature of the parabola.

    See Also
    --------
    Funnel : Another test of samplers, of varying width.

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
        check_count(2, n_features=n_features)
        check_positive(scale=scale, bend=bend)
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
        return -0.5 * (squares + self.n_features * LOG_2PI) - np.log(self.scale)

    def _gradient(self, X):
        Z = self._untwist(X)
        gradient = -Z
        gradient[:, 0] = -Z[:, 0] / self.scale - 2 * self.bend * X[:, 0] * Z[:, 1]
        return gradient


class Funnel(KnownDensity):
    """Neal's funnel, x_1 ~ N(0, scale^2) and x_j | x_1 ~ N(0, exp(x_1)) for j > 1.

    Parameters
    ----------
    n_features : int
        At least 2.
    scale : float
        Standard deviation of x_1, the log variance of the others.

    See Also
    --------
    Banana : Another test of samplers, of varying direction.

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
        check_count(2, n_features=n_features)
        check_positive(scale=scale)
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
        return -0.5 * (squares + self.n_features * LOG_2PI) - log_scales

    def _gradient(self, X):
        first, others = X[:, :1], X[:, 1:]
        forces = -others * np.exp(-first)
        excess = -np.sum(others * forces, axis=1, keepdims=True) - (self.n_features - 1)
        return np.hstack([excess / 2 - first / self.scale**2, forces])


class StudentT(KnownDensity):
    r"""Multivariate Student t, p(x) proportional to (1 + |x|^2 / df)^(-(df + d) / 2).

    Parameters
    ----------
    n_features : int
        d, at least 1.
    df : float
        Degrees of freedom; moments exist below this order. 1 is the Cauchy distribution.

    See Also
    --------
    Gaussian : Its limit of many degrees of freedom.

    Notes
    -----
    With nu for the degrees of freedom,

    .. math::

        p(x) = \frac{\Gamma((\nu + d) / 2)}{\Gamma(\nu / 2) (\pi \nu)^{d / 2}}
        \left(1 + \frac{|x|^2}{\nu}\right)^{-(\nu + d) / 2}.

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
        check_count(1, n_features=n_features)
        check_positive(df=df)
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


class LogGamma(KnownDensity):
    """Independent logarithms of gamma variables, p(x) = prod_j exp(a x_j - exp(x_j)) / Gamma(a).

    Skewed to the left, the more the smaller a is.

    Parameters
    ----------
    n_features : int
        Number of columns, at least 1.
    shape : float
        a, that of the gamma variables.

    See Also
    --------
    Banana, Funnel : Features that depend on each other.

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
        check_count(1, n_features=n_features)
        check_positive(shape=shape)
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
