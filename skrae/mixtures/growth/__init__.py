"""Mixtures grown from rows.

expectation  densities of mixtures, and moments of the rows of their components
em           weighted expectation-maximisation that grows mixtures by splitting
factors      covariances of many columns
levels       level probabilities of categories, shrunk as covariances are
selection    ridge, size and number of mixtures, chosen on held-out rows
holes        rows of which entries are missing
tails        width and tail, chosen likewise
"""
