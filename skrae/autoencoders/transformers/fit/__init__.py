"""The fit, from rows to a fitted auto-encoder.

fitting        the steps of a fit in their order
criterion      the objective of a batch, and of held-out rows
code_density   the density of the codes, and the noise that its decoded draws lack
"""
