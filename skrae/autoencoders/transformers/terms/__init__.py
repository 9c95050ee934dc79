"""The terms of the objective, as pure functions.

penalties    reconstruction, sparsity, contraction of the encoder, distances
corruption   Gaussian, masking and swap noise
geodesics    distances along the rows
"""
