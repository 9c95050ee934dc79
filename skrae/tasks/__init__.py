"""What densities are for: constraints on moments, classification, outliers.

maximum_entropy/  `MaximumEntropyDensity`, of largest entropy, or nearest to a density, with moments
detector/         `DensityOutlierDetector`, rows of low density
classifier        `DensityClassifier`, Bayes' rule over one density for each class
"""

from skrae.tasks.classifier import DensityClassifier
from skrae.tasks.detector.estimator import DensityOutlierDetector
from skrae.tasks.maximum_entropy.estimator import MaximumEntropyDensity

__all__ = ["DensityClassifier", "DensityOutlierDetector", "MaximumEntropyDensity"]
