"""Tables larger than memory: fitted to by a sample and then by all rows, answered block by block.

learning   the rows that a fit takes from any table
settling   all rows, for the last steps of its mixtures
answers    answers about the rows of a source, joined
"""
