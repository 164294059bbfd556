"""Sizes of the parts that AMX products work on, and their offsets in a thread's scratch; see kernels/matrix/amx.py."""

TOKENS_AT_ONCE = {32: 16, 256: 32}
BLOCKS_AT_ONCE = {32: 4, 256: 1}
MOST_TOKENS = 256
MOST_TILES = 16
TILES_AT_ONCE = 2
CHUNK_BLOCKS = {32: 32, 256: 8}
STEP_BYTES = 1024  # of one operand: 16 rows × 64 bytes
STEPS = 4
PANEL_BYTES = {32: 512, 256: 8 * STEP_BYTES}  # of one block: codes for 32 columns; low and high bytes for 256
CONFIG_AT = 0
SUMS_AT = 64
SUMS_BYTES = 4 * STEP_BYTES
PANEL_AT = SUMS_AT + 2 * SUMS_BYTES
MOST_PANEL_BYTES = max(CHUNK_BLOCKS[columns] * size for columns, size in PANEL_BYTES.items())
IDLE_TOTALS_AT = PANEL_AT + TILES_AT_ONCE * MOST_PANEL_BYTES
TOTALS_AT = IDLE_TOTALS_AT + 64 * max(TOKENS_AT_ONCE.values())
# of one tile row; not a power of two, which would map all rows to the same cache sets
TOTALS_BYTES = 64 * (MOST_TOKENS + 1)
SCRATCH_BYTES = TOTALS_AT + MOST_TILES * TOTALS_BYTES
