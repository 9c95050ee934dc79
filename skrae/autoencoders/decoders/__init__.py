"""The reconstruction functions r(z) that a density can be read from."""
