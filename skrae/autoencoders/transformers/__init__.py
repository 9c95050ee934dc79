"""The auto-encoder family: one objective, reconstruction plus weighted terms, and one transformer.

estimator    `AutoEncoder`, the public face
options      checks of its options
maps         what an auto-encoder is: from rows to codes and back
fit          the fit, from rows to a fitted auto-encoder
terms        penalties, corruptions and geodesic distances, as pure functions
"""

from skrae.autoencoders.transformers.estimator import AutoEncoder

__all__ = ["AutoEncoder"]
