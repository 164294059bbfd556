"""How large the parts are that the tile multiplier works on, and where a thread keeps them; see tile_multiplier.py."""

TOKENS_AT_ONCE = {32: 16, 256: 32}
BLOCKS_AT_ONCE = {32: 4, 256: 1}
MOST_TOKENS = 256
MOST_TILES = 16
TILES_AT_ONCE = 2
CHUNK_BLOCKS = {32: 32, 256: 8}
STEP_BYTES = 1024  # of an operand: 16 × 64
STEPS = 4
PANEL_BYTES = {32: 512, 256: 8 * STEP_BYTES}  # of a block: codes; lows and highs
CONFIG_AT = 0
SUMS_AT = 64
SUMS_BYTES = 4 * STEP_BYTES
PANEL_AT = SUMS_AT + 2 * SUMS_BYTES
MOST_PANEL_BYTES = max(CHUNK_BLOCKS[columns] * size for columns, size in PANEL_BYTES.items())
IDLE_TOTALS_AT = PANEL_AT + TILES_AT_ONCE * MOST_PANEL_BYTES
TOTALS_AT = IDLE_TOTALS_AT + 64 * max(TOKENS_AT_ONCE.values())
TOTALS_BYTES = 64 * (MOST_TOKENS + 1)  # of a row of tiles; no power of two, which would crowd a cache's sets
SCRATCH_BYTES = TOTALS_AT + MOST_TILES * TOTALS_BYTES
