"""What densities are for: constraints on moments, classification.

maximum_entropy/  `MaximumEntropyDensity`, of largest entropy, or nearest to a density, with moments
classifier        `DensityClassifier`, Bayes' rule over one density for each class
"""

from skrae.tasks.classifier import DensityClassifier
from skrae.tasks.maximum_entropy.estimator import MaximumEntropyDensity

__all__ = ["DensityClassifier", "MaximumEntropyDensity"]
