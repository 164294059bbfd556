"""Constants shared by the kernels that find the highest logits and their caller."""

BLOCK_LOGITS = 64
"""Logits that are summarised by their highest one."""
