"""Sizes of attention's blocks, runs and working memory; attention_kernels.py tells what they are for."""

BLOCK_POSITIONS = 64
RUN_POSITIONS = 512
MOST_ROWS = 128
ROWS_AT_ONCE = 32  # go through a block together: few enough for their scores to stay in the fastest cache
SCORE_BYTES = 4 * BLOCK_POSITIONS
COUNTER_BYTES = 64
LANE_SUM_BYTES = 64  # of a row: 16 float32


def state_bytes(rows: int, width: int) -> int:
    """Bytes of what some rows know of a run: sums of weighted values, lanes of weights, and peaks."""
    return rows * (4 * width + LANE_SUM_BYTES + 16)


def scratch_bytes(width: int) -> int:
    """Bytes of working memory that a thread needs: queries, two states, scores, factors, a block of keys and values."""
    queries_and_states = MOST_ROWS * 4 * width + 2 * state_bytes(MOST_ROWS, width)
    return queries_and_states + ROWS_AT_ONCE * (SCORE_BYTES + 16) + 2 * 4 * BLOCK_POSITIONS * width


def shared_bytes(width: int, kv_heads: int, runs: int) -> int:
    """Bytes of the memory, zeros at first, in which threads leave each other `runs` runs for each kv head."""
    return kv_heads * runs * (COUNTER_BYTES + state_bytes(MOST_ROWS, width))
