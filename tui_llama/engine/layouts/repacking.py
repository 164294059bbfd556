"""What the kernels that repack weights and their caller agree on."""

UNIT_FIELDS = 9
"""How many 64-bit numbers describe one unit of repacking; see `tensors.repacking.units_of`."""
