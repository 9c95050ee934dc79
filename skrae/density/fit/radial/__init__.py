"""Radial units in a fit, as a decoder of their own and as a share of the model.

closed_form  the units and their coefficients, by the closed form of the criterion
members      the share of radial units in the model
"""
