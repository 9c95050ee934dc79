"""The auto-encoder family: one objective, reconstruction plus weighted terms, and one transformer.

estimator    `AutoEncoder`, the public face
options      checks of its options
linear       the linear path: principal axes, or the best linear denoiser of that rank
network      encoder and decoder on top of the linear path, and the code's slopes
criterion    the objective of a batch, and of held-out rows
fitting      the fit, from rows to a fitted auto-encoder
fitted       what a fitted auto-encoder answers, in the units of the data
soundness    whether a stored auto-encoder is one that a fit may give
terms        penalties, corruptions and geodesic distances, as pure functions
"""

from skrae.autoencoders.transformers.estimator import AutoEncoder

__all__ = ["AutoEncoder"]
