"""Mixtures grown from rows.

em           weighted expectation-maximisation that grows mixtures by splitting
factors      covariances of many columns
selection    ridge, size, number, width and tail, chosen on held-out rows
"""
