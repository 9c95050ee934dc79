"""Marginals and conditionals of a fitted density.

line       the base density along one number, given the rest
tilted     the law along it that a network makes
laws       such laws of a numeric column, in its units, for rows of which entries may be missing
kinds      what can be asked of a column, by what it is: continuous, cells, atoms, categorical
columns    which columns are asked for, and their values as users hand them over
objects    `Marginal` and `Conditional`, the public faces
"""
