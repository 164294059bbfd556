"""The forward pass as a table of plan rows, built once for a model and then run for every batch."""
