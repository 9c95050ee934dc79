"""The base density: mixtures of Gaussian and Student-t components.

components   distances, tails and draws of many components at once
mixture      `MixtureDensity`: log density, gradient, responsibilities, draws
em           weighted expectation-maximisation that grows mixtures by splitting
selection    ridge, size, number, width and tail, chosen on held-out rows
conditional  the law of missing entries given observed ones
"""
