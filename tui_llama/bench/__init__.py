"""Measures how fast models and this machine are."""
