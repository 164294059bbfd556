"""Products of matrices with vectors and batches, and what prepares weights and activations for them."""
