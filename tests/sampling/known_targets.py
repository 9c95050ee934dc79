"""Known densities as samplers see them, with exact `score_samples` and `log_density_gradient`."""

import numpy as np

from skrae.datasets import (
    Banana,
    Funnel,
    Gaussian,
    GaussianCurve,
    LogGamma,
    MixtureOfGaussians,
)


class Known:
    """A density of `skrae.datasets` with the methods of a fitted estimator; counts its rows."""

    def __init__(self, density):
        self.density = density
        self.n_features_in_ = density.n_features
        self.n_evaluations = 0

    def score_samples(self, X):
        self.n_evaluations += len(X)
        return self.density.log_density(X)

    def log_density_gradient(self, X):
        return self.density.gradient(X)


class Ungraded:
    """The same without a gradient."""

    def __init__(self, density):
        self.density = density
        self.n_features_in_ = density.n_features

    def score_samples(self, X):
        return self.density.log_density(X)


def correlated_gaussian(d, condition=100.0):
    """N(m, C) with axes turned at random and variances from 1 / condition to 1."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    covariance = axes * np.geomspace(1.0 / condition, 1.0, d) @ axes.T
    return Gaussian(rng.standard_normal(d), 0.5 * (covariance + covariance.T))


def five_modes(d):
    """Five Gaussians of unequal weight, far apart beside their widths."""
    rng = np.random.default_rng(1)
    directions = np.linalg.qr(rng.standard_normal((max(d, 5), max(d, 5))))[0][:5, :d]
    angle = 2 * np.pi * np.arange(5) / 5
    circle = np.column_stack([np.cos(angle), np.sin(angle)])
    means = 10.0 * (circle if d == 2 else directions)
    weights = np.array([0.1, 0.15, 0.2, 0.25, 0.3])
    spreads = rng.uniform(0.4, 1.2, (5, d))
    return MixtureOfGaussians(weights, means, [np.diag(s**2) for s in spreads])


KNOWN_TARGETS = {
    "gaussian-2": lambda: correlated_gaussian(2),
    "gaussian-10": lambda: correlated_gaussian(10),
    "gaussian-50": lambda: correlated_gaussian(50),
    "modes-2": lambda: five_modes(2),
    "modes-10": lambda: five_modes(10),
    "banana": lambda: Banana(),
    "funnel-5": lambda: Funnel(5, scale=1.0),
    "log-gamma-8": lambda: LogGamma(8),
    "curve-10": lambda: GaussianCurve(),
}
