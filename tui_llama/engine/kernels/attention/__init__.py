"""Attention over the keys and values of the context."""
