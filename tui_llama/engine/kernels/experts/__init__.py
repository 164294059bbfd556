"""Kernels for mixtures of experts: choosing, grouping tokens by expert, and products with the chosen experts only."""
