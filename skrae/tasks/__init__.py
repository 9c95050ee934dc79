"""What densities are for: constraints on moments, classification, regression.

maximum_entropy/  `MaximumEntropyDensity`, of largest entropy, or nearest to a density, with moments
classifier        `DensityClassifier`, Bayes' rule over one density for each class
regressor         `DensityRegressor`, the law of a number given a row
"""

from skrae.tasks.classifier import DensityClassifier
from skrae.tasks.maximum_entropy.estimator import MaximumEntropyDensity
from skrae.tasks.regressor import DensityRegressor

__all__ = ["DensityClassifier", "DensityRegressor", "MaximumEntropyDensity"]
