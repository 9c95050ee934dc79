"""From raw columns to working space: a map for each column, then an affine one.

margins        a monotone spline for each column, and the affine map after it
johnson        maps that make skewed, heavy-tailed or bounded columns more normal
line_mixture   a mixture on the line, whose distribution function is part of a map
margin_fit     the spline of each column from rows
working_space  the choice among maps on held-out rows
report         what became of each column
"""
