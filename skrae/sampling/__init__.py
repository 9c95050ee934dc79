"""Draws of any fitted density."""
