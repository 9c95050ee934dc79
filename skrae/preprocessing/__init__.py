"""From raw columns to working space, and back; and what every other room asks of rows.

transform    the protocol of a map to working space
affine       the affine one
scales       of columns, without wild values
rows         checks of rows and weights; rows as data frames
split        held-out rows
draws        of any object with `sample`
blocks       rows a block at a time
sources      tables that are read a block at a time, of more rows than memory holds
table        raw tables: holes, categories, atoms, cells
contract     what every estimator owes its caller
"""
