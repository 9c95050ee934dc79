"""The score estimator: options, fit, and what a fitted density answers."""
