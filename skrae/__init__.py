"""Density, score and samples from regularized auto-encoders, as one scikit-learn estimator."""

from skrae import datasets, metrics
from skrae._estimator import RegularizedAutoEncoderScore

__version__ = "0.1.0.dev0"

__all__ = ["RegularizedAutoEncoderScore", "datasets", "metrics"]
