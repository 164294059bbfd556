"""What the kernels that find the highest logits and their caller agree on."""

BLOCK_LOGITS = 64
"""How many logits are summed up by their highest."""
