"""Auto-encoders for scikit-learn: density, score and samples of rows, and codes of them."""

from skrae import datasets, metrics, plotting
from skrae.autoencoders.transformers import AutoEncoder, InfoMaxEncoder
from skrae.density import RegularizedAutoEncoderScore
from skrae.sampling import Chains, RAESampler
from skrae.tasks import DensityClassifier, DensityOutlierDetector, MaximumEntropyDensity

__version__ = "0.1.0.dev0"

__all__ = [
    "AutoEncoder",
    "Chains",
    "DensityClassifier",
    "DensityOutlierDetector",
    "InfoMaxEncoder",
    "MaximumEntropyDensity",
    "RAESampler",
    "RegularizedAutoEncoderScore",
    "datasets",
    "metrics",
    "plotting",
]
