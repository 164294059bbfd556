"""Constants shared by the kernels that repack weights and their caller."""

UNIT_FIELDS = 10
"""64-bit numbers that describe one unit of repacking; see `tensors.repacking.units_of`."""
