"""What densities are for: constraints on moments, classification, imputation.

maximum_entropy/  `MaximumEntropyDensity`, of largest entropy, or nearest to a density, with moments
classifier        `DensityClassifier`, Bayes' rule over one density for each class
imputer           `DensityImputer`, what is missing from rows given what is observed
"""

from skrae.tasks.classifier import DensityClassifier
from skrae.tasks.imputer import DensityImputer
from skrae.tasks.maximum_entropy.estimator import MaximumEntropyDensity

__all__ = ["DensityClassifier", "DensityImputer", "MaximumEntropyDensity"]
