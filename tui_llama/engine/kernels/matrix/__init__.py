"""Products of matrices with vectors and batches, and the kernels that prepare weights and activations for them."""
