"""Sizes of attention's blocks, runs and scratch memory; kernels/attention/kernel.py says how they are used."""

BLOCK_POSITIONS = 64
RUN_POSITIONS = 512
MOST_ROWS = 128
ROWS_AT_ONCE = 32  # go through a block together: few enough for their scores to stay in the L1 cache
SCORE_BYTES = 4 * BLOCK_POSITIONS
COUNTER_BYTES = 64
LANE_SUM_BYTES = 64  # of one row: 16 float32


def state_bytes(rows: int, value_width: int) -> int:
    """Returns the bytes of the softmax state of some rows: weighted values, lane sums of weights, and peaks."""
    return rows * (4 * value_width + LANE_SUM_BYTES + 16)


def scratch_bytes(key_width: int, value_width: int) -> int:
    """Returns a thread's scratch bytes: queries, two states, scores, factors, a widened block of keys and of values."""
    queries_and_states = MOST_ROWS * 4 * key_width + 2 * state_bytes(MOST_ROWS, value_width)
    widened = 4 * BLOCK_POSITIONS * (key_width + value_width)
    return queries_and_states + ROWS_AT_ONCE * (SCORE_BYTES + 16) + widened


def shared_bytes(value_width: int, kv_heads: int, runs: int) -> int:
    """Returns the bytes of the zero-filled memory in which threads leave each other `runs` runs for each KV head."""
    return kv_heads * runs * (COUNTER_BYTES + state_bytes(MOST_ROWS, value_width))
