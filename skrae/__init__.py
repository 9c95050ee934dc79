"""Auto-encoders for scikit-learn: density, score and samples of rows, and codes of them."""

from skrae import datasets, metrics, plotting
from skrae.autoencoders.transformers import AutoEncoder, InfoMaxEncoder
from skrae.density import Conditional, Marginal, RegularizedAutoEncoderScore
from skrae.sampling import Chains, RAESampler
from skrae.tasks import (
    DensityClassifier,
    DensityImputer,
    DensityOutlierDetector,
    DensityRegressor,
    MaximumEntropyDensity,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "AutoEncoder",
    "Chains",
    "Conditional",
    "DensityClassifier",
    "DensityImputer",
    "DensityOutlierDetector",
    "DensityRegressor",
    "InfoMaxEncoder",
    "Marginal",
    "MaximumEntropyDensity",
    "RAESampler",
    "RegularizedAutoEncoderScore",
    "datasets",
    "metrics",
    "plotting",
]
