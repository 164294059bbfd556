"""Data of a forward pass: sizes, weights, rotary tables, keys and values."""
