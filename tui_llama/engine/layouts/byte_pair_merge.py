"""Constants shared by the kernels that merge pieces of words and their caller."""

NO_TOKEN = -1
"""Marks a piece that is not a token of the vocabulary."""
