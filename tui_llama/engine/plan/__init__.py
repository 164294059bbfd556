"""The forward pass as a table of operations: built once for a model, then run for every batch."""
