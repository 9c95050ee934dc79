"""Tables larger than memory: fitted to by a sample and then by all rows, answered block by block.

And streams, each of whose blocks is seen once.

learning   the rows that a fit takes from any table
settling   all rows, for the last steps of its mixtures
answers    answers about the rows of a source, joined
stream     blocks that are seen once: rows that are kept at first, then steps
tilt       what stands over a base density that has taken a step
"""
