"""Regularized auto-encoders as density models: log density, score and samples in one estimator."""

__version__ = "0.1.0.dev0"
