"""Columns whose values lie on a grid.

lattice     the grid of rounded values
heaps       the values of a grid that many rows prefer
"""
