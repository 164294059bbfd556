"""Fetches the starter: a very small model with which the program can be tried at once."""
