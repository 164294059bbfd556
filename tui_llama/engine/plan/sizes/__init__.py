"""Reads and checks the sizes that a model file gives, as its architecture's declaration says."""
