"""Rows of which entries are missing, as growth takes them.

patterns     rows that miss the same entries, together
incomplete   moments and likelihoods of what is observed
holed        such rows in the place of a tensor of full ones
"""
