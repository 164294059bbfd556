"""What the kernels that merge pieces of words and their caller agree on."""

NO_TOKEN = -1
"""Stands for a piece that is no token of the vocabulary."""
