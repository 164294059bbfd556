"""Constants shared by the kernels that repack weights and their caller."""

from tui_llama.engine.layouts.weight_tile import ROWS

UNIT_FIELDS = 10
"""64-bit numbers that describe one unit of repacking; see `tensors.repacking.units_of`."""

STAGING_BYTES = 2 * ROWS * 256
"""Scratch memory of a packing step: a block of 16 rows and its tile."""
