"""Attention: query rows against cached keys and values in blocks of 64 positions, with a running softmax.

One unit of work has as its rows all query heads that share a KV head, for several tokens of a prompt. A key or value
is then read, and widened to float32, once for all these rows.

The result has the same bits however the prompt was cut and whichever thread computes it. Blocks start at multiples of
64 positions and runs of blocks at multiples of 512. Every run starts from an empty state. In a run, every row goes
through its blocks with the same operations in the same order, whatever other rows are in the unit. The runs are then
merged from the first to the last. So different threads may share the runs of one token, as they
do in decode at depth.

tensors/kv_cache.py has the layouts of keys and values, blocks.py the steps of a block, states.py the state of a run.
"""

from typing import Any

import numpy as np

from tui_llama.engine.kernels.attention.blocks import (
    WEIGHED_AT_ONCE,
    add_distances,
    add_floats,
    add_halves,
    cap_scores,
    mask_scores,
    score_floats,
    score_halves,
    transpose_keys,
    weigh_positions,
    widen_halves,
    widen_quantised_keys,
    widen_quantised_values,
)
from tui_llama.engine.kernels.attention.states import clear_rows, lane_total, merge_rows, state_bytes
from tui_llama.engine.kernels.attention.vectors import LOG2_E, ROWS, scalar_power_of_two
from tui_llama.engine.kernels.ir.simd import atomic_add, atomic_store, batch_at, first_token, float32_at, row_at
from tui_llama.engine.layouts.attention import (
    BLOCK_POSITIONS,
    COUNTER_BYTES,
    MOST_ROWS,
    ROWS_AT_ONCE,
    RUN_POSITIONS,
    SCORE_BYTES,
)
from tui_llama.engine.layouts.plan_row import CHUNKED, Q8_0_CACHE
from tui_llama.engine.toolchain.numba_codegen import helper

_MOST_ROWS_UNWIDENED = 8  # with more rows, widening a block once costs less than widening it again for every four rows


@helper
def _padded(rows: int) -> Any:
    """Returns the number of rows rounded up to a multiple of `ROWS`; the added rows are zeros."""
    return (rows + ROWS - 1) // ROWS * ROWS


@helper
def _first_seen(row: Any, position: int) -> Any:
    """Returns the first position that a token at `position` can see."""
    if row.window == 0:
        return 0
    if row.mode == CHUNKED:
        return position // row.window * row.window
    return max(0, position - row.window + 1)


@helper
def _first_block(row: Any, position: int) -> Any:
    """Returns the start of the first block that a token at `position` can see."""
    return _first_seen(row, position) // BLOCK_POSITIONS * BLOCK_POSITIONS


@helper
def _gather(row: Any, queries: int, token: int, kv_head: int, rows: int) -> None:
    """Copies the query rows of one KV head side by side, scaled, and fills up with rows of zeros."""
    width, group = row.padded_head_dim, row.heads // row.kv_heads
    # Scores are in units of log 2. With a cap, `_restrict` multiplies by log2(e), after tanh.
    scale = np.float32(row.scale / row.soft_cap) if row.soft_cap > 0 else np.float32(row.scale * np.float32(LOG2_E))
    for r in range(_padded(rows)):
        query = float32_at(np.uintp(queries + r * width * 4))
        if r < rows:
            at = (token + r // group) * row.input_stride + (kv_head * group + r % group) * width * 4
            source = float32_at(np.uintp(np.int64(row.input) + at))
            for i in range(width):
                query[i] = source[i] * scale
        else:
            for i in range(width):
                query[i] = np.float32(0.0)


@helper
def _restrict(row: Any, scores: int, kv_head: int, position: int, first_row: int, rows: int, block_start: int) -> None:
    """Caps the scores of a block, lets them fall with distance, and masks positions that a row does not see.

    Those are ahead of it, or have left its window. `position` is the position of the unit's first row; `first_row` is
    the number of the first row at `scores`.
    """
    if row.soft_cap > 0:
        for r in range(rows):
            cap_scores(scores + r * SCORE_BYTES, np.float32(row.soft_cap * np.float32(LOG2_E)))
    group = row.heads // row.kv_heads
    if row.slopes != 0:
        for r in range(rows):
            head, own = kv_head * group + (first_row + r) % group, position + (first_row + r) // group
            add_distances(scores + r * SCORE_BYTES, np.int64(row.slopes) + 4 * head, block_start - own)
    first, last = position + first_row // group, position + (first_row + rows - 1) // group
    if first < block_start + BLOCK_POSITIONS - 1 or _first_seen(row, last) > block_start:
        for r in range(rows):
            own = position + (first_row + r) // group
            mask_scores(scores + r * SCORE_BYTES, _first_seen(row, own) - block_start, own + 1 - block_start)


@helper
def _attend(
    row: Any, batch: Any, kv_head: int, position: int, rows: int, start: int, end: int, queries: int, state: int,
    scratch: int,
) -> None:  # fmt: skip
    """Computes one run: goes through the blocks of positions `start` … `end` - 1; the first row is at `position`."""
    width, value_width, quantised = row.padded_head_dim, row.padded_value_dim, row.cache_type == Q8_0_CACHE
    has_values = row.values_in_keys == 0
    padded_rows = _padded(rows)
    width_bytes = 17 if quantised else 32
    first_key = np.int64(batch.keys) + row.keys_offset + kv_head * (row.cache_positions // 16) * width_bytes * width
    first_value = (
        np.int64(batch.values) + row.values_offset + kv_head * (row.cache_positions // 16) * width_bytes * value_width
    )
    factors = scratch + ROWS_AT_ONCE * SCORE_BYTES
    widened_keys = factors + ROWS_AT_ONCE * 16
    # If all rows go through a block together, the keys are no longer needed when the values come. Both then use the
    # same memory, which takes half the space in the processor's cache.
    is_shared = padded_rows <= ROWS_AT_ONCE and has_values
    widened_values = widened_keys + (0 if is_shared else 4 * BLOCK_POSITIONS * width)
    sums = state + padded_rows * value_width * 4
    peaks = sums + padded_rows * 64
    clear_rows(state, value_width, padded_rows)
    for block_start in range(start, end, BLOCK_POSITIONS):
        first_tile = block_start % row.cache_positions // 16
        keys = first_key + first_tile * width_bytes * width
        values = first_value + first_tile * width_bytes * value_width
        widened = quantised or rows > _MOST_ROWS_UNWIDENED or not has_values
        if quantised:
            widen_quantised_keys(keys, widened_keys, width)
        elif widened:
            widen_halves(keys, widened_keys, BLOCK_POSITIONS * width)
        # A position that rounding up adds is masked, so its weight is 0.
        count = min(BLOCK_POSITIONS, (end - block_start + WEIGHED_AT_ONCE - 1) // WEIGHED_AT_ONCE * WEIGHED_AT_ONCE)
        for r in range(0, padded_rows, ROWS_AT_ONCE):
            some = min(ROWS_AT_ONCE, padded_rows - r)
            query, output = queries + r * width * 4, state + r * value_width * 4
            if widened:
                score_floats(query, widened_keys, width, scratch, some)
            else:
                score_halves(query, keys, width, scratch, some)
            _restrict(row, scratch, kv_head, position, r, min(some, rows - r), block_start)
            weigh_positions(scratch, sums + 64 * r, peaks + 16 * r, factors, some)
            if r == 0 and not has_values:
                transpose_keys(widened_keys, widened_values, width, value_width)
            elif r == 0 and quantised:
                widen_quantised_values(values, widened_values, value_width)
            elif r == 0 and widened:
                widen_halves(values, widened_values, BLOCK_POSITIONS * value_width)
            if widened:
                add_floats(scratch, widened_values, count, value_width, factors, output, some)
            else:
                add_halves(scratch, values, count, value_width, factors, output, some)


@helper
def _scatter(row: Any, state: int, token: int, kv_head: int, rows: int) -> None:
    """Divides each row by the sum of its weights and writes it to the place of its token and head."""
    dim, width, group = row.value_dim, row.padded_value_dim, row.heads // row.kv_heads
    padded_rows = _padded(rows)
    sums = state + padded_rows * width * 4
    peaks = float32_at(np.uintp(sums + padded_rows * 64))
    for r in range(rows):
        head = kv_head * group + r % group
        total = lane_total(sums + 64 * r)
        factor = np.float32(1.0)
        if row.extra != 0:
            # A sink has a score and no value: it adds to the sum of the weights only. If it is the highest score, the
            # weights so far become relative to it.
            sink = float32_at(np.uintp(row.extra))[head] * np.float32(LOG2_E)
            peak = max(peaks[4 * r], sink)
            factor = scalar_power_of_two(peaks[4 * r] - peak)
            total = total * factor + scalar_power_of_two(sink - peak)
        factor = factor / total
        output = float32_at(np.uintp(state + r * width * 4))
        at = (token + r // group) * row.output_stride + head * dim * 4
        target = float32_at(np.uintp(np.int64(row.output) + at))
        for i in range(dim):
            target[i] = output[i] * factor


def attention(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Computes attention of one KV head's query heads for a group of tokens. Units: KV heads × token groups × shares.

    Plan row: `input` is float32 (tokens, heads, padded_head_dim), rotated; `output` float32 (tokens, heads ·
    value_dim); `scale` multiplies the scores; `tokens_per_unit` · heads / kv_heads is at most `MOST_ROWS`. `units` is
    KV heads × shares. The shares let several threads divide the runs of one token group; they need `shared` memory of
    `shared_bytes`, without which the first share does everything.

    With a `window` above 0 a token sees only so many positions, its own included: the last ones, or in `mode` CHUNKED
    those from the last multiple of the window on. A `soft_cap` above 0 turns a score into soft_cap · tanh(score /
    soft_cap). `slopes` is 0, or the address of float32 (heads,): what a head's scores lose with each position between
    the two tokens. `extra` is 0, or the address of float32 (heads,): the score of a position without a value that every
    token sees (a sink). With `values_in_keys` the cache has no values: they are the first `value_dim` components of the
    keys.

    Sources: of the window, Beltagy et al. 2020 (Longformer); of the cap, Gemma Team 2024 (Gemma 2); of the slopes,
    Press et al. 2022 (ALiBi); of the sinks, Xiao et al. 2023 (StreamingLLM). Naive twin: tests/naive/ops.py.
    """
    row, batch = row_at(row_address), batch_at(batch_address)
    start_token = first_token(row, batch)
    width, value_width = row.padded_head_dim, row.padded_value_dim
    group, shares = row.heads // row.kv_heads, row.units // row.kv_heads
    token_count = batch.token_count - start_token
    groups = (token_count + row.tokens_per_unit - 1) // row.tokens_per_unit
    last_run = (batch.first_position + batch.token_count - 1) // RUN_POSITIONS
    most_runs = last_run - _first_block(row, batch.first_position + start_token) // RUN_POSITIONS + 1
    # Threads share a token group only if it has several runs, and if `shared` has room for the states of all runs.
    alone = most_runs == 1 or groups * most_runs > row.shared_runs
    state_size = state_bytes(_padded(min(token_count, row.tokens_per_unit) * group), value_width)
    own_states = np.int64(scratch) + MOST_ROWS * 4 * width
    rest = own_states + 2 * state_bytes(MOST_ROWS, value_width)
    for unit in range(first, last):
        share, task = unit % shares, unit // shares
        token = start_token + task % groups * row.tokens_per_unit
        tokens = min(row.tokens_per_unit, batch.token_count - token)
        rows = tokens * group
        position = batch.first_position + token
        begin, end = _first_block(row, position), position + tokens
        first_run = begin // RUN_POSITIONS
        run_count = (end - 1) // RUN_POSITIONS - first_run + 1
        run, run_end = run_count * share // shares, run_count * (share + 1) // shares
        states = np.int64(row.shared) + row.kv_heads * row.shared_runs * COUNTER_BYTES + task * most_runs * state_size
        if alone:
            run, run_end, states = 0, run_count if share == 0 else 0, own_states
        if run == run_end:
            continue
        done = run_end - run
        _gather(row, scratch, token, task // groups, rows)
        while run < run_end:
            start = max(begin, (first_run + run) * RUN_POSITIONS)
            # A thread that works alone needs two states: one for the merged runs so far, one for the next run.
            state = states + (min(run, 1) if alone else run) * state_size
            _attend(
                row, batch, task // groups, position, rows, start, min(end, (first_run + run + 1) * RUN_POSITIONS),
                scratch, state, rest,
            )  # fmt: skip
            if alone and run > 0:
                merge_rows(states, state, value_width, _padded(rows))
            run += 1
        if not alone:
            counter = np.uintp(np.int64(row.shared) + task * COUNTER_BYTES)
            if atomic_add(counter, done) + done < run_count:
                continue
            atomic_store(counter, 0)  # the last thread to arrive merges: all other runs are finished
            for later in range(1, run_count):
                merge_rows(states, states + later * state_size, value_width, _padded(rows))
        _scatter(row, states, token, task // groups, rows)
