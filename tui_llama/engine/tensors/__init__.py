"""What a forward pass works with: sizes, weights, rotary tables, keys and values."""
