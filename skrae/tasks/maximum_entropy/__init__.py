"""Densities of largest entropy under moment constraints.

estimator   `MaximumEntropyDensity`, the public face
problem     from options and rows to what is asked, checked
moments     names, callables and transformers as one function
support     bounds of columns, or points
fitting     the fit: which method, and what is told of a failure
integrals/  Newton steps of the dual, on points, cells or particles
"""
