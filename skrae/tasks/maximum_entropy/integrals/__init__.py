"""The dual problem, and the integrals that it is about.

dual        Newton steps on log Z - theta . t
quadrature  cells in one and two dimensions
particles   means over draws, by tempered sequential Monte Carlo
base        what draws are made of
"""
