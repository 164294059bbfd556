"""How a plan lies in memory: one row for each operation, and the few numbers that change from batch to batch.

Both are structured NumPy arrays that the compiled code reads in place. Addresses are absolute, of buffers that the
plan's owner keeps alive. What a field means beyond its name is up to the kernel; `ops.py` says so kernel by kernel.
"""

import numpy as np

F16_CACHE, Q8_0_CACHE = 0, 1  # types of the cache of keys and values; see kv_cache.py
PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP = 0, 1, 2  # what `units` of a row counts
NEIGHBOURS, HALVES = 0, 1  # which components a rotation pairs: (2i, 2i + 1), or (i, i + rotated_dim / 2)
UNTURNED = -1  # among the rotations of `move_positions`: a key that is left as it is

ROW = np.dtype(
    [
        ("kernel", np.uint64),  # address of the compiled kernel
        ("input", np.uint64),
        ("output", np.uint64),
        ("weight", np.uint64),
        ("extra", np.uint64),  # second input, bias or table; 0 where there is none
        ("shared", np.uint64),  # memory in which threads leave each other results; 0 where there is none
        ("input_stride", np.int64),  # bytes from one token to the next
        ("output_stride", np.int64),
        ("extra_stride", np.int64),
        ("weight_stride", np.int64),  # bytes from one tile row to the next
        ("units", np.int64),  # units of work, or units for each token where `per_token` is set
        ("columns", np.int64),  # length of a reduction, in elements or blocks
        ("heads", np.int64),
        ("kv_heads", np.int64),
        ("head_dim", np.int64),
        ("padded_head_dim", np.int64),
        ("rotated_dim", np.int64),
        ("layer", np.int64),
        ("window", np.int64),  # positions that a token sees, its own included; 0: all
        ("shared_runs", np.int64),  # how many results for each kv head fit into `shared`
        ("scale", np.float32),
        ("epsilon", np.float32),
        ("soft_cap", np.float32),  # where scores level off; 0: nowhere
        ("per_token", np.int32),
        ("tokens_per_unit", np.int32),
        ("output_tokens_only", np.int32),  # 1: only tokens whose logits are wanted
        ("accumulate", np.int32),  # 1: add to the output instead of replacing it
        ("barrier", np.int32),  # 1: the team meets after this row
        ("mode", np.int32),  # variant of the kernel
        ("cache_type", np.int32),  # F16_CACHE or Q8_0_CACHE
    ],
    align=True,
)

BATCH = np.dtype(
    [
        ("token_ids", np.uint64),  # int32 (tokens,)
        ("keys", np.uint64),  # see kv_cache.py
        ("values", np.uint64),
        ("token_count", np.int64),
        ("first_position", np.int64),  # where in the cache the first token goes; what lies before it, it sees
        ("rotation_offset", np.int64),  # what is added to a token's position before it is rotated; at most 0
        ("first_output_token", np.int64),  # logits are made from this token on
        ("context_size", np.int64),  # positions that the cache has room for, a multiple of 64
    ],
    align=True,
)

ENTRY = np.dtype(
    [
        ("kernel", np.int64),  # address of the compiled kernel
        ("units", np.int64),  # units of work in this batch
        ("least_share", np.int64),  # how many of them a thread takes at least, if there are so many left
        ("stage_units", np.int64),  # where this row ends a stage: the units of the whole stage; else 0
        ("following", np.int64),  # where it does: the row that begins the next one, or the end; those between are alone
    ]
)
"""A row of a schedule: what a row of the plan is in one batch."""

MOST_UNITS = (1 << 24) - 1
"""The most units that a row may have in a batch: threads count them in so many bits."""
