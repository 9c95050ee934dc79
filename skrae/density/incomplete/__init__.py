"""Rows that tell less than a density is of: holes, cells, atoms.

cells       the intervals that values of a grid stand for
law         what a base density makes of such rows: their log density, and full rows behind them
completing  full rows to fit to, from ever better laws
evaluator   every question about incomplete rows
rows        rows of a user, whatever they are, as full rows, and answers by the user's columns
"""
