"""The terms of the objective, as pure functions.

penalties    reconstruction, sparsity, contraction of the encoder, distances
corruption   Gaussian, masking and swap noise
geodesics    distances along the rows
entropy      the entropy of a code, by nearest neighbours
information  what the codes of two views of a row tell of each other
"""
