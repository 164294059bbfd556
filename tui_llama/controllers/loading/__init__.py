"""Chooses, loads and fetches models."""
