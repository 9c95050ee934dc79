"""The integrals that the dual problem (`density.fit.dual`) is about.

quadrature  cells in one and two dimensions
particles   means over draws, by tempered sequential Monte Carlo
base        what draws are made of
"""
