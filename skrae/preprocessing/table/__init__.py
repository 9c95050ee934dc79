"""From a raw table to views of its rows, and back.

table       `describe`, which makes of a table a `Table`, with `read` and `rows`
reading     columns of arrays and data frames
options     categorical_features and column_kinds
kinds       what each column is: continuous, cells, heaps, atoms, categorical, constant
grids/      rounded values, and those that many rows prefer
features    one column: its codes and numbers, and its values back
writing     values in the container of the fit, or in the holes of a table
report      arrays of one entry a column, printed as a table
"""
