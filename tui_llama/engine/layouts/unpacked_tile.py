"""Sizes of an unpacked tile of 256 columns and its tokens' sums, and their offsets in a thread's scratch.

kernels/matrix/unpacked.py says how they are used.
"""

FEWEST_TOKENS = 16
"""Tokens from which it costs less to unpack a tile once than in each pass of eight tokens."""

MOST_TOKENS = 128
MOST_TILES = 16
CHUNK_BLOCKS = 8  # of 256 columns: the input of so many columns of `MOST_TOKENS` finds room in a core's cache

PART_BYTES = 512  # of 32 columns
CODES_AT = 0
TOTALS_AT = CODES_AT + 8 * PART_BYTES
# of one tile row; not a power of two, which would map all rows to the same cache sets
TOTALS_BYTES = 64 * (MOST_TOKENS + 1)
SCRATCH_BYTES = TOTALS_AT + MOST_TILES * TOTALS_BYTES
