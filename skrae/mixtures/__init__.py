"""The base density: mixtures of Gaussian and Student-t components.

components   distances, tails and draws of many components at once
categories   levels of categorical columns, independent given the component
mixture      `MixtureDensity`: log density, gradient, responsibilities, draws
conditional  the law of missing entries given observed ones
online       steps of expectation-maximisation, a block of rows each
growth       expectation-maximisation, and the choice of ridge, size, number, width and tail
"""
