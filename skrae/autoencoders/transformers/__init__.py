"""The auto-encoder family: one objective, reconstruction plus weighted terms, and its encoders.

estimator    `AutoEncoder`, the public face
infomax      `InfoMaxEncoder`, which has no decoder
encoder      what both are: a fit, a stored state, codes of rows
options      checks of their options
maps         what an auto-encoder is: from rows to codes and back
fit          the fit, from rows to a fitted auto-encoder
terms        penalties, corruptions, distances, entropy and information, as pure functions
"""

from skrae.autoencoders.transformers.estimator import AutoEncoder
from skrae.autoencoders.transformers.infomax import InfoMaxEncoder

__all__ = ["AutoEncoder", "InfoMaxEncoder"]
