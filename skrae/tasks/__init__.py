"""What densities are for: moments, classes, numbers, outliers, missing entries.

maximum_entropy/  `MaximumEntropyDensity`, of largest entropy, or nearest to a density, with moments
classifier        `DensityClassifier`, Bayes' rule over one density for each class
regressor         `DensityRegressor`, the law of a number given a row
detector/         `DensityOutlierDetector`, rows of low density
densities         the density that these are given
imputer           `DensityImputer`, what is missing from rows given what is observed
"""

from skrae.tasks.classifier import DensityClassifier
from skrae.tasks.detector.estimator import DensityOutlierDetector
from skrae.tasks.imputer import DensityImputer
from skrae.tasks.maximum_entropy.estimator import MaximumEntropyDensity
from skrae.tasks.regressor import DensityRegressor

__all__ = [
    "DensityClassifier",
    "DensityImputer",
    "DensityOutlierDetector",
    "DensityRegressor",
    "MaximumEntropyDensity",
]
