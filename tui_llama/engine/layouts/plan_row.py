"""Layout of a plan in memory: one row for each plan step, and the few numbers that change from batch to batch.

Both are structured NumPy arrays that the compiled code reads in place. Addresses are absolute; the plan's owner keeps
the buffers alive. Each kernel's docstring in `kernels/` says how the kernel uses the fields.
"""

import numpy as np

F16_CACHE, Q8_0_CACHE = 0, 1  # types of the KV cache; see tensors/kv_cache.py
PER_PLAN, PER_TOKEN, PER_TOKEN_GROUP, PER_CHOSEN_EXPERT = 0, 1, 2, 3  # what the `units` of a plan step count
# The tokens that a plan step works on: all, or those whose logits are wanted. Where experts have a row for each token,
# the rows of these are the first ones, and not those from the first such token on.
EVERY_TOKEN, OUTPUT_TOKENS, ROWS_OF_OUTPUT_TOKENS = 0, 1, 2
NEIGHBOURS, HALVES = 0, 1  # components that a rotation pairs: (2i, 2i + 1), or (i, i + rotated_dim / 2)
UNTURNED = -1  # in the rotation numbers of `move_positions`: leave this key as it is
SLIDING, CHUNKED = 0, 1  # windows: the last positions, or those from the last multiple of the window on

ROW = np.dtype(
    [
        ("kernel", np.uint64),  # address of the compiled kernel
        ("input", np.uint64),
        ("output", np.uint64),
        ("weight", np.uint64),
        ("extra", np.uint64),  # second input, bias or table; 0 where there is none
        ("routing", np.uint64),  # of a mixture of experts, see layouts/routing.py; 0 elsewhere
        ("inner_kernel", np.uint64),  # address of the compiled kernel that this one calls for each part of its work
        ("factor", np.uint64),  # float32 that products are multiplied by before a bias is added; 0 where there is none
        ("shared", np.uint64),  # memory in which threads leave each other results; 0 where there is none
        ("slopes", np.uint64),  # float32 (heads,) by which scores fall with each position of distance; 0: they do not
        ("input_stride", np.int64),  # bytes from one token to the next
        ("output_stride", np.int64),
        ("extra_stride", np.int64),
        ("weight_stride", np.int64),  # bytes from one tile row to the next
        ("expert_stride", np.int64),  # bytes from one expert's weights to the next
        ("tile_row_bytes", np.int64),  # of experts' weights, whose rows have no `weight_stride` to fetch ahead by
        ("units", np.int64),  # units of work: in all, for each token, group of tokens or expert; see `per_token`
        ("columns", np.int64),  # length of a reduction, in elements or blocks
        ("heads", np.int64),
        ("kv_heads", np.int64),
        ("head_dim", np.int64),  # of queries and keys
        ("padded_head_dim", np.int64),
        ("value_dim", np.int64),
        ("padded_value_dim", np.int64),
        ("rotated_dim", np.int64),
        ("expert_count", np.int64),
        ("used_count", np.int64),  # experts that a token uses
        ("first_rotated", np.int64),  # first component of a head that is rotated
        ("keys_offset", np.int64),  # bytes from the cache's first key to the layer's
        ("values_offset", np.int64),
        ("cache_positions", np.int64),  # of the layer, a multiple of 64: position p lies at p modulo this
        ("window", np.int64),  # positions that a token sees at most, its own included; 0: all
        ("shared_runs", np.int64),  # results for each KV head that fit into `shared`
        ("scale", np.float32),
        ("epsilon", np.float32),
        ("soft_cap", np.float32),  # limit that scores approach (soft_cap · tanh); 0: no limit
        ("per_token", np.int32),
        ("tokens_per_unit", np.int32),
        ("output_tokens_only", np.int32),  # EVERY_TOKEN, OUTPUT_TOKENS or ROWS_OF_OUTPUT_TOKENS
        ("accumulate", np.int32),  # 1: add to the output instead of replacing it
        ("barrier", np.int32),  # 1: ends a stage, whose units must be done before the next row begins
        ("mode", np.int32),  # variant of the kernel
        ("cache_type", np.int32),  # F16_CACHE or Q8_0_CACHE
        ("values_in_keys", np.int32),  # 1: a value is the first components of its key, and is not stored itself
    ],
    align=True,
)

BATCH = np.dtype(
    [
        ("token_ids", np.uint64),  # int32 (tokens,)
        ("keys", np.uint64),  # see tensors/kv_cache.py
        ("values", np.uint64),
        ("token_count", np.int64),
        ("first_position", np.int64),  # cache position of the first token; the batch's tokens see all earlier positions
        ("rotation_offset", np.int64),  # added to a token's position before its rotation; at most 0
        ("first_output_token", np.int64),  # first token whose logits are computed
    ],
    align=True,
)

ENTRY = np.dtype(
    [
        ("kernel", np.int64),  # address of the compiled kernel
        ("units", np.int64),  # units of work in this batch
        ("least_share", np.int64),  # fewest units that a thread takes at once, while so many are left
        ("stage_units", np.int64),  # where this row ends a stage: the units of the whole stage; else 0
        # where this row ends a stage: the row that begins the next stage, or the end; one thread does those between
        ("following", np.int64),
    ]
)
"""Row of a schedule: one plan step in one batch."""

MOST_UNITS = (1 << 24) - 1
"""Most units of a plan step in one batch: threads count units in 24 bits."""
