"""Every kernel at work in memory that is guarded to the byte; a program, since an access out of bounds ends it.

Each buffer has exactly the size that its kernel documents. Where callers guarantee more than what counts, as
`SPARE_TOKENS` after the input of a product, the buffer has exactly that much more. What kernels compute is tested
elsewhere: buffers hold zeros, unless what they hold says which addresses are next.

Arguments: a group of cases, and the number of the first case to run. Writes the number of each case before it begins.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.engine.kernels.guarded_case import SPARE_BYTES_OF_QUANTIZE, Case, on_both_sides, run_row
from tests.engine.kernels.guarded_experts import experts
from tests.engine.kernels.guarded_memory import GuardedMemory, Side
from tests.engine.kernels.kernel_bench import address
from tui_llama.bench.machine_limits import HAS_TILE_MULTIPLIER
from tui_llama.engine import ops
from tui_llama.engine.layouts import amx_panel, attention, machine_limits, plan_row
from tui_llama.engine.layouts.activations import SPARE_TOKENS, SUMMARY_BYTES
from tui_llama.engine.layouts.byte_pair_merge import NO_TOKEN
from tui_llama.engine.layouts.plan_row import BATCH, ROW
from tui_llama.engine.layouts.team import TEAM_FIELDS, new_team
from tui_llama.engine.layouts.top_logits import BLOCK_LOGITS
from tui_llama.engine.layouts.wait_gate import CACHE_LINE_BYTES, prepare_gate
from tui_llama.engine.layouts.weight_tile import FORMATS, ROWS, TileFormat
from tui_llama.engine.machine.memory import padded
from tui_llama.engine.plan.schedule import make_schedule, most_rows_of_a_stage
from tui_llama.engine.state_shape import LayerGroup, StateShape
from tui_llama.engine.tensors.kv_cache import CacheShape
from tui_llama.engine.tensors.repacking import units_of
from tui_llama.engine.tensors.tile_records import record_address

# --- kernels of a plan ------------------------------------------------------------------------------------------------


def _plan_cases(operation: str, run: Callable[..., None], *sizes: dict[str, Any]) -> Iterator[Case]:
    for values in sizes:
        text = ", ".join(f"{name} {getattr(value, 'name', value)}" for name, value in values.items())
        yield from on_both_sides((ops.plan_operation(operation),), text, partial(run, **values))


def _read_embedding(memory: GuardedMemory, layout: TileFormat, columns: int) -> None:
    token_ids = memory.copy(np.array([2, 0, 2], np.int32))
    weight = memory.zeros(layout.matrix_bytes(3, columns), np.uint8)
    output = memory.zeros((3, columns), np.float32)
    run_row(
        memory, "embed", 3, 0, {"token_ids": address(token_ids), "token_count": 3},
        weight=address(weight), weight_stride=len(weight), columns=columns, mode=layout.type_id,
        extra=record_address(layout),
        output=address(output), output_stride=output.strides[0],
    )  # fmt: skip


def _read_positions(memory: GuardedMemory, layout: TileFormat, columns: int) -> None:
    weight = memory.zeros(layout.matrix_bytes(7, columns), np.uint8)
    output = memory.zeros((3, columns), np.float32)
    run_row(
        memory, "embed_positions", 3, 0, {"token_count": 3, "first_position": 4},
        weight=address(weight), weight_stride=len(weight), columns=columns, mode=layout.type_id,
        output=address(output), output_stride=output.strides[0],
    )  # fmt: skip


def _normalise(memory: GuardedMemory, operation: str, columns: int, heads: int) -> None:
    source, output = (memory.zeros((3, heads * columns), np.float32) for _ in range(2))
    weight = memory.zeros((heads, columns), np.float32)
    bias = address(memory.zeros(columns, np.float32))
    run_row(
        memory, operation, 3 * heads, 0, {"token_count": 3},
        input=address(source), input_stride=source.strides[0], output=address(output), output_stride=output.strides[0],
        weight=address(weight), weight_stride=weight.strides[0], columns=columns, heads=heads, epsilon=1e-5, extra=bias,
    )  # fmt: skip


def _add(memory: GuardedMemory, columns: int) -> None:
    source, output = (memory.zeros((3, columns), np.float32) for _ in range(2))
    run_row(
        memory, "add", 3, 0, {"token_count": 3}, columns=columns, scale=0.5,
        input=address(source), input_stride=source.strides[0], output=address(output), output_stride=output.strides[0],
    )  # fmt: skip


def _copy_heads(memory: GuardedMemory, columns: int, step: int, target_step: int) -> None:
    tokens, heads = 3, 2
    source = memory.zeros((tokens, (heads - 1) * step + columns), np.float32)
    output = memory.zeros((tokens, (heads - 1) * target_step + columns), np.float32)
    run_row(
        memory, "copy_heads", tokens, 0, {"token_count": tokens}, columns=columns, heads=heads,
        head_dim=step, padded_head_dim=target_step, input=address(source), input_stride=source.strides[0],
        output=address(output), output_stride=output.strides[0],
    )  # fmt: skip


def _weigh_heads(memory: GuardedMemory, heads: int, head_dim: int) -> None:
    values, weights = (memory.zeros((3, heads * width), np.float32) for width in (head_dim, 1))
    run_row(
        memory, "weigh_heads", 3, 0, {"token_count": 3}, heads=heads, head_dim=head_dim,
        output=address(values), output_stride=values.strides[0], extra=address(weights),
        extra_stride=weights.strides[0],
    )  # fmt: skip


def _gate(memory: GuardedMemory, operation: str, columns: int, tokens: int) -> None:
    gates, ups, output = (memory.zeros((tokens, columns), np.float32) for _ in range(3))
    run_row(
        memory, operation, tokens, 0, {"token_count": tokens},
        input=address(gates), input_stride=gates.strides[0], extra=address(ups), extra_stride=ups.strides[0],
        output=address(output), output_stride=output.strides[0], columns=columns,
    )  # fmt: skip


def _change(memory: GuardedMemory, operation: str, columns: int, tokens: int, soft_cap: float = 0.0) -> None:
    numbers, of_layer = memory.zeros((tokens, columns), np.float32), memory.zeros(4, np.float32)
    run_row(
        memory, operation, tokens, 0, {"token_count": tokens}, columns=columns, soft_cap=soft_cap,
        weight=address(of_layer) if operation == "xielu" else 0,
        output=address(numbers), output_stride=numbers.strides[0],
    )  # fmt: skip


def quantize(memory: GuardedMemory, block: int, blocks: int, tokens: int, first_token: int) -> None:
    """Quantises the activations of tokens from `first_token` on, in blocks of `block` columns."""
    source = memory.zeros((tokens, blocks * block), np.float32)
    output = memory.zeros((tokens, blocks * (block + SUMMARY_BYTES[block])), np.uint8)
    run_row(
        memory, f"quantize_{block}", tokens - first_token, SPARE_BYTES_OF_QUANTIZE,
        {"token_count": tokens, "first_output_token": first_token}, output_tokens_only=1, columns=blocks,
        input=address(source), input_stride=source.strides[0], output=address(output), output_stride=output.strides[0],
    )  # fmt: skip


def multiply(memory: GuardedMemory, layout: TileFormat, rows: int, columns: int, tokens: int) -> None:
    """Runs a product with everything that a row may ask for: a bias, and adding to what is there already."""
    blocks = columns // layout.columns
    input_bytes = 4 * columns if layout.is_float else blocks * (layout.columns + SUMMARY_BYTES[layout.columns])
    source = memory.zeros((tokens + SPARE_TOKENS, input_bytes), np.uint8)
    weight = memory.zeros(layout.matrix_bytes(rows, columns), np.uint8)
    output, bias = memory.zeros((tokens, padded(rows)), np.float32), memory.zeros(padded(rows), np.float32)
    units = padded(rows) // ROWS
    run_row(
        memory, f"matrix_{layout.name.lower()}", units, amx_panel.SCRATCH_BYTES, {"token_count": tokens},
        input=address(source), input_stride=source.strides[0], output=address(output), output_stride=output.strides[0],
        weight=address(weight), weight_stride=len(weight) // units, columns=blocks, units=units,
        extra=address(bias), accumulate=1,
    )  # fmt: skip


def _cache(memory: GuardedMemory, shape: CacheShape) -> dict[str, int]:
    """Returns the fields of a batch that say where a cache is."""
    keys, values = (memory.zeros(size, np.uint8) for size in (shape.keys_bytes, shape.values_bytes))
    return {"keys": address(keys), "values": address(values)}


def _attend(
    memory: GuardedMemory, cache_type: str, head_dim: int, heads: int, kv_heads: int, tokens: int, first: int,
    **fields: float,
) -> None:  # fmt: skip
    shape = CacheShape(StateShape.uniform(1, kv_heads, head_dim, cache_type), first + tokens)
    width, group = shape.width(head_dim), heads // kv_heads
    queries = memory.zeros((tokens, heads, width), np.float32)
    output = memory.zeros((tokens, heads * head_dim), np.float32)
    runs = -(-shape.padded_context // attention.RUN_POSITIONS)
    shared = memory.zeros(attention.shared_bytes(width, kv_heads, runs), np.uint8)
    sinks, slopes = (memory.zeros(heads, np.float32) for _ in range(2))
    tokens_per_unit = attention.MOST_ROWS // group
    units = kv_heads * 3  # three threads may share a token's runs
    run_row(
        memory, "attention", units * -(-tokens // tokens_per_unit), attention.scratch_bytes(width, width),
        _cache(memory, shape) | {"token_count": tokens, "first_position": first},
        input=address(queries), input_stride=queries.strides[0], output=address(output),
        output_stride=output.strides[0], shared=address(shared), **{"shared_runs": runs} | fields,
        head_dim=head_dim, padded_head_dim=width, heads=heads, scale=0.3, extra=address(sinks), slopes=address(slopes),
        tokens_per_unit=tokens_per_unit, units=units, **shape.row_fields(0),
    )  # fmt: skip


def _attend_in_keys(memory: GuardedMemory, cache_type: str, heads: int, tokens: int, first: int) -> None:
    """Runs attention whose values are the first components of the keys, in a ring."""
    dim, value_dim, group = 80, 64, LayerGroup((0,), 1, 80, 0, 100)
    shape = CacheShape(StateShape((group,), cache_type), 4096, batch_tokens=8)
    queries = memory.zeros((tokens, heads, shape.width(dim)), np.float32)
    output = memory.zeros((tokens, heads * value_dim), np.float32)
    tokens_per_unit = attention.MOST_ROWS // heads
    fields = shape.row_fields(0) | {"value_dim": value_dim, "padded_value_dim": value_dim, "values_in_keys": 1}
    run_row(
        memory, "attention", -(-tokens // tokens_per_unit), attention.scratch_bytes(shape.width(dim), value_dim),
        _cache(memory, shape) | {"token_count": tokens, "first_position": first},
        input=address(queries), input_stride=queries.strides[0], output=address(output),
        output_stride=output.strides[0], head_dim=dim, padded_head_dim=shape.width(dim), heads=heads, scale=0.3,
        tokens_per_unit=tokens_per_unit, units=1, window=group.window, **fields,
    )  # fmt: skip


def _rotate(memory: GuardedMemory, head_dim: int, rotated: int, mode: int, grows: bool = False) -> None:
    tokens, heads, first = 3, 2, 5
    source = memory.zeros((tokens, heads * head_dim), np.float32)
    output = memory.zeros((tokens, heads, padded(head_dim)), np.float32)
    angles = memory.zeros((first + tokens, rotated // 2, 2), np.float32)
    factors = memory.zeros(first + tokens, np.float32)
    run_row(
        memory, "rotate_queries", tokens, 0, {"token_count": tokens, "first_position": first},
        input=address(source), input_stride=source.strides[0], output=address(output), output_stride=output.strides[0],
        extra=address(angles), extra_stride=angles.strides[0], mode=mode, heads=heads,
        head_dim=head_dim, padded_head_dim=padded(head_dim), rotated_dim=rotated,
        weight=address(factors) if grows else 0,
    )  # fmt: skip


def _store(memory: GuardedMemory, operation: str, cache_type: str, head_dim: int, first: int) -> None:
    tokens, shape = 3, CacheShape(StateShape.uniform(1, 2, head_dim, cache_type), 64)
    source = memory.zeros((tokens, 2 * head_dim), np.float32)
    angles = memory.zeros((first + tokens, head_dim // 2, 2), np.float32)
    run_row(
        memory, operation, tokens, 4 * head_dim,
        _cache(memory, shape) | {"token_count": tokens, "first_position": first},
        input=address(source), input_stride=source.strides[0], head_dim=head_dim,
        padded_head_dim=shape.width(head_dim), **shape.row_fields(0),
        extra=address(angles), extra_stride=angles.strides[0], rotated_dim=head_dim,
    )  # fmt: skip


def _elementwise() -> Iterator[Case]:
    for layout in FORMATS.values():
        counts = (1, 7, 33) if layout.is_float else (layout.block_columns, 3 * layout.block_columns)
        yield from _plan_cases(
            "embed", _read_embedding, *({"layout": layout, "columns": columns} for columns in counts)
        )
        if layout.is_float:
            tables = ({"layout": layout, "columns": columns} for columns in counts)
            yield from _plan_cases("embed_positions", _read_positions, *tables)
    norms = [{"columns": columns, "heads": heads} for columns in (1, 8, 16, 17, 40, 100) for heads in (1, 3)]
    for norm in ("rms_norm", "layer_norm"):
        yield from _plan_cases(norm, _normalise, *({"operation": norm, **sizes} for sizes in norms))
    yield from _plan_cases("add", _add, *({"columns": columns} for columns in (1, 16, 17)))
    parts = [{"columns": 5, "step": 8, "target_step": 5}, {"columns": 16, "step": 16, "target_step": 40}]
    yield from _plan_cases("copy_heads", _copy_heads, *parts)
    shapes = [{"heads": heads, "head_dim": head_dim} for heads, head_dim in ((1, 16), (5, 7), (40, 1))]
    yield from _plan_cases("weigh_heads", _weigh_heads, *shapes)
    widths: list[dict[str, Any]] = [{"columns": columns, "tokens": tokens} for columns in (16, 48) for tokens in (1, 3)]
    for gating in ("swiglu", "geglu", "reglu", "gate_by_relu_squared", "limited_swiglu"):
        yield from _plan_cases(gating, _gate, *({"operation": gating, **sizes} for sizes in widths))
    for change in ("gelu", "relu_squared", "sigmoid", "softplus", "xielu", "scale_and_cap", "limit"):
        yield from _plan_cases(change, _change, *({"operation": change, **sizes} for sizes in widths))
    capped = [{"operation": "scale_and_cap", "soft_cap": 30.0, **sizes} for sizes in widths]
    yield from _plan_cases("scale_and_cap", _change, *capped)
    for block in (32, 256):
        quantized: list[dict[str, Any]] = [
            {"block": block, "blocks": blocks, "tokens": tokens, "first_token": first_token}
            for blocks in (1, 3)
            for tokens, first_token in ((1, 0), (5, 4), (24, 0), (33, 0), (41, 3))
        ]
        yield from _plan_cases(f"quantize_{block}", quantize, *quantized)


def _products() -> Iterator[Case]:
    for layout in FORMATS.values():
        widths = (1, 7, 86) if layout.is_float else (layout.block_columns, 5 * layout.block_columns)
        sizes: list[dict[str, Any]] = [
            {"layout": layout, "rows": rows, "columns": columns, "tokens": tokens}
            for rows in (1, 33)
            for columns in widths
            for tokens in (1, 2, 3, 5, 7, 8, 13, 24, 33)
        ]
        yield from _plan_cases(f"matrix_{layout.name.lower()}", multiply, *sizes)


def _attention() -> Iterator[Case]:
    names = ("head_dim", "heads", "kv_heads", "tokens", "first")
    shapes = [
        (8, 8, 4, 1, 0), (8, 8, 4, 5, 60), (16, 4, 4, 1, 63), (64, 8, 2, 9, 0), (64, 7, 1, 3, 130), (80, 3, 3, 33, 31),
        (128, 8, 1, 2, 62), (16, 32, 1, 5, 100), (16, 1, 1, 130, 510), (32, 2, 1, 1, 1535), (96, 4, 2, 1, 511),
    ]  # fmt: skip
    options: list[dict[str, float]] = [{}, {"window": 70}, {"soft_cap": 5.0}, {"shared_runs": 0}]
    sizes: list[dict[str, Any]] = [
        {"cache_type": cache_type, **dict(zip(names, shape, strict=True)), **fields}
        for cache_type in ("f16", "q8_0")
        for shape in shapes
        for fields in options
    ]
    yield from _plan_cases("attention", _attend, *sizes)
    latent: list[dict[str, Any]] = [
        {"cache_type": cache_type, "heads": heads, "tokens": tokens, "first": first}
        for cache_type in ("f16", "q8_0")
        for heads, tokens, first in ((1, 1, 0), (16, 3, 638), (64, 2, 1300))
    ]
    yield from _plan_cases("attention", _attend_in_keys, *latent)


def _kv_cache() -> Iterator[Case]:
    rotations: list[dict[str, Any]] = [
        {"head_dim": head_dim, "rotated": rotated, "mode": mode}
        for head_dim, rotated in ((8, 8), (80, 80), (64, 32))
        for mode in (plan_row.NEIGHBOURS, plan_row.HALVES)
    ]
    rotations.append({"head_dim": 80, "rotated": 80, "mode": plan_row.HALVES, "grows": True})
    yield from _plan_cases("rotate_queries", _rotate, *rotations)
    for operation in ("store_keys", "store_values"):
        stored: list[dict[str, Any]] = [
            {"operation": operation, "cache_type": cache_type, "head_dim": head_dim, "first": first}
            for cache_type in ("f16", "q8_0")
            for head_dim in (8, 64, 80)
            for first in (0, 61)
        ]
        yield from _plan_cases(operation, _store, *stored)
    for cache_type in ("f16", "q8_0"):
        for head_dim in (8, 64, 80):
            for distance in (0, 7):
                sizes = f"{cache_type}, head_dim {head_dim}, distance {distance}"
                run = partial(_move, cache_type=cache_type, head_dim=head_dim, distance=distance)
                yield from on_both_sides((ops.MOVE_POSITIONS,), sizes, run)


def _move(memory: GuardedMemory, cache_type: str, head_dim: int, distance: int) -> None:
    """Fills all positions that there are; without a distance every other one stays as it is."""
    shape = CacheShape(StateShape.uniform(2, 2, head_dim, cache_type), 64)
    rows = memory.zeros(2, ROW)
    for layer in range(2):
        for name, value in shape.row_fields(layer).items():
            rows[layer][name] = value
    rows["head_dim"], rows["padded_head_dim"], rows["rotated_dim"] = head_dim, shape.width(head_dim), head_dim
    count = shape.padded_context - distance
    turns = memory.copy(np.arange(count, dtype=np.int32) % 2 - (distance == 0))
    assert plan_row.UNTURNED in turns or distance > 0
    angles, scratch = memory.zeros((2, head_dim // 2, 2), np.float32), memory.zeros((2, head_dim), np.float32)
    batch = memory.zeros((), BATCH)
    for name, value in _cache(memory, shape).items():
        batch[name] = value
    ops.MOVE_POSITIONS(
        address(rows), len(rows), address(batch), 0, count, distance, address(turns), address(angles), address(scratch)
    )


# --- kernels with arguments of their own ------------------------------------------------------------------------------


def _repacking() -> Iterator[Case]:
    for layout in FORMATS.values():
        kernels = (ops.packing(layout), ops.REPACK_UNITS)
        for rows in (1, 16, 33):
            for columns in (1, 7, 8, 86) if layout.is_float else (layout.block_columns, 3 * layout.block_columns):
                run = partial(_repack, layout=layout, rows=rows, columns=columns)
                yield from on_both_sides(kernels, f"{layout.name}, {rows} × {columns}", run)


def _repack(memory: GuardedMemory, layout: TileFormat, rows: int, columns: int) -> None:
    source = memory.zeros((rows, layout.row_bytes(columns)), np.uint8)
    target = memory.zeros(layout.matrix_bytes(rows, columns), np.uint8)
    units = memory.copy(units_of(layout, address(source), address(target), rows, columns, 0, padded(rows) // ROWS))
    step_bytes, tile_bytes = layout.packed_at_once
    staging, progress = memory.zeros(ROWS * step_bytes + tile_bytes, np.uint8), memory.zeros(2, np.int64)
    ops.REPACK_UNITS(address(units), len(units), address(progress), address(staging))
    assert progress.tolist() == [len(units) + 1, len(units)]


def _top_logits() -> Iterator[Case]:
    for vocabulary in (1, 15, BLOCK_LOGITS - 1, BLOCK_LOGITS, BLOCK_LOGITS + 1, 5 * BLOCK_LOGITS + 7):
        for count in sorted({1, min(3, vocabulary), vocabulary}):
            run = partial(_find_highest, vocabulary=vocabulary, count=count)
            yield from on_both_sides(ops.SAMPLING, f"{count} of {vocabulary}", run)


def _find_highest(memory: GuardedMemory, vocabulary: int, count: int) -> None:
    summarise, collect = ops.SAMPLING
    for values in (np.zeros(vocabulary), np.arange(vocabulary), -np.arange(vocabulary)):
        logits = memory.copy(values.astype(np.float32))
        highest = memory.zeros(-(-vocabulary // BLOCK_LOGITS), np.float32)
        top_ids, top_logits = memory.zeros(count, np.int32), memory.copy(np.full(count, -np.inf, np.float32))
        summarise(address(logits), vocabulary, address(highest))
        collect(
            address(logits), vocabulary, address(highest), len(highest), address(top_ids), address(top_logits), count
        )
        np.testing.assert_array_equal(top_logits, np.sort(logits)[::-1][:count])


_TEXTS = (b"a", b"b", b"c", b"ab", b"abc", "é".encode(), b" ", b"bc")
_MERGES = (b"a b", b"ab c", b"b c", b"a nothing", b" x")
_WORDS: tuple[tuple[bytes, ...], ...] = (
    (), (b"",), (b"a",), (b"ab",), (b"abc", b"abcabcab"), ("éa".encode(), b"\xc3"), (b"xyz", b"a", b"cab"),
)  # fmt: skip


def _byte_pair_merges() -> Iterator[Case]:
    for words in _WORDS:
        for byte_count in (0, 256):
            for whole_words in (0, 1):
                sizes = f"{words}, {byte_count} tokens of bytes, whole words {whole_words}"
                run = partial(_merge, words=words, byte_count=byte_count, whole_words=whole_words)
                yield from on_both_sides(ops.BYTE_PAIR_MERGING, sizes, run)


def _merge(memory: GuardedMemory, words: Sequence[bytes], byte_count: int, whole_words: int) -> None:
    enter_texts, read_merges, enter_merges, merge_words = ops.BYTE_PAIR_MERGING
    pool, starts, ends = _joined(memory, _TEXTS)
    table = memory.copy(np.full(16, NO_TOKEN, np.int32))  # twice as many slots as texts
    texts = (address(table), len(table), address(pool), address(starts), address(ends))
    enter_texts(*texts, len(_TEXTS))
    lines, line_starts, line_ends = _joined(memory, _MERGES)
    found = memory.zeros((len(_MERGES), 3), np.int32)
    read = read_merges(address(found), address(lines), address(line_starts), address(line_ends), len(_MERGES), *texts)
    assert read == len(_MERGES) - 1  # the last one has no second part
    merges, ranks = memory.copy(found[:3]), memory.copy(np.full(8, NO_TOKEN, np.int32))
    enter_merges(address(ranks), len(ranks), address(merges), len(merges))
    text, _, word_ends = _joined(memory, words)
    longest = max(map(len, words), default=0)
    out, links, heap = (
        memory.zeros(shape, kind)
        for shape, kind in ((len(text), np.int32), ((longest, 2), np.int32), (3 * longest, np.int64))
    )
    bytes_as_tokens = memory.copy(np.full(byte_count, 1, np.int32))
    count = merge_words(
        address(out), address(text), address(word_ends), len(words), whole_words, address(bytes_as_tokens), byte_count,
        address(ranks), len(ranks), address(merges), *texts, address(links), address(heap),
    )  # fmt: skip
    assert 0 <= count <= len(text)


def _joined(memory: GuardedMemory, texts: Sequence[bytes]) -> tuple[npt.NDArray[Any], ...]:
    """Returns the bytes of texts, one after the other, and where each begins and ends."""
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    starts = ends - np.array([len(text) for text in texts], np.int64)
    arrays: tuple[npt.NDArray[Any], ...] = (np.frombuffer(b"".join(texts), np.uint8), starts, ends)
    return tuple(memory.copy(array) for array in arrays)


def _strings() -> Iterator[Case]:
    for limit in range(len(_HEADER_STRINGS) + 1):
        for count in (0, 1, 4):
            run = partial(_find_strings, limit=limit, count=count)
            yield from on_both_sides((ops.FIND_STRINGS,), f"{count} strings in {limit} bytes", run)


_HEADER_STRINGS = b"".join(len(text).to_bytes(8, "little") + text for text in (b"llama", b"", b"a"))
_HEADER_STRINGS += (2**64 - 1).to_bytes(8, "little")  # the length of a hostile string


def _find_strings(memory: GuardedMemory, limit: int, count: int) -> None:
    content = memory.copy(np.frombuffer(_HEADER_STRINGS[:limit], np.uint8))
    starts = memory.zeros(count + 1, np.int64)
    assert ops.FIND_STRINGS(address(content), 0, limit, address(starts), count) <= count


def _machine_limits() -> Iterator[Case]:
    for distance in (0, 6144):
        yield from on_both_sides((ops.READ_PASS,), f"distance {distance}", partial(_read, distance=distance))
    multiply_passes = [ops.MULTIPLY_PASS_4_BY_3, ops.MULTIPLY_PASS_2_BY_3]
    if HAS_TILE_MULTIPLIER:
        multiply_passes.append(ops.MULTIPLY_PASS_TILES)
    for kernel in multiply_passes:
        yield from on_both_sides((kernel,), "two chunks", partial(_multiply_pass, kernel=kernel))


def _pass(memory: GuardedMemory) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Returns the memory that the threads of a pass share, and room for a thread's times."""
    shared = memory.zeros(machine_limits.PASS_BYTES, np.uint8)
    prepare_gate(address(shared) + machine_limits.GATE_AT)
    return shared, memory.zeros(2, np.int64)


def _read(memory: GuardedMemory, distance: int) -> None:
    (shared, times), block = _pass(memory), memory.zeros((2, machine_limits.CHUNK_BYTES), np.uint8)
    ops.READ_PASS(address(shared), 1, address(times), address(block), len(block), distance, 1)


def _multiply_pass(memory: GuardedMemory, kernel: ops.Operation) -> None:
    (shared, times), scratch = _pass(memory), memory.zeros(machine_limits.SCRATCH_BYTES, np.uint8)
    kernel(address(shared), 1, address(times), address(scratch), 2, 1)


def _plan_loop() -> Iterator[Case]:
    for tokens in (1, 3):
        for profiled in (False, True):
            run = partial(_run_plan, tokens=tokens, profiled=profiled)
            sizes = f"{tokens} tokens, {'with' if profiled else 'without'} a profile"
            yield from on_both_sides((ops.TAKE_PART, ops.plan_operation("rms_norm")), sizes, run)


def _run_plan(memory: GuardedMemory, tokens: int, profiled: bool) -> None:
    """Runs a plan of four norms, in stages of one and two, for two threads of which only one has come."""
    columns, heads, threads, scratch_bytes = 7, 3, 2, 64
    source, output = (memory.zeros((tokens, heads * columns), np.float32) for _ in range(2))
    weight, rows, batch = memory.zeros(columns, np.float32), memory.zeros(4, ROW), memory.zeros((), BATCH)
    source[:] = weight[:] = 1.0
    rows["kernel"], rows["barrier"] = ops.plan_operation("rms_norm").address, [1, 0, 1, 1]
    rows["input"], rows["output"], rows["weight"] = address(source), address(output), address(weight)
    rows["input_stride"] = rows["output_stride"] = source.strides[0]
    rows["columns"], rows["heads"], rows["units"], rows["per_token"] = columns, heads, heads, plan_row.PER_TOKEN
    batch["token_count"] = tokens
    schedule = make_schedule(rows, tokens, 0, threads)
    entries = memory.copy(schedule.entries)
    counters = memory.zeros((most_rows_of_a_stage(rows), threads, CACHE_LINE_BYTES), np.uint8)
    scratch, profile = memory.zeros((threads, scratch_bytes), np.uint8), memory.zeros((3, len(rows)), np.int64)
    team = memory.copy(new_team())
    fields = {
        "rows": address(rows), "row_count": len(rows), "batch": address(batch), "schedule": address(entries),
        "first_row": schedule.first_row, "thread_count": threads, "regular_threads": threads,
        "scratch": address(scratch), "scratch_bytes": scratch_bytes, "counters": address(counters),
        "counters_stride": counters.strides[0], "profile": address(profile) if profiled else 0,
    }  # fmt: skip
    for name, value in fields.items():
        team[TEAM_FIELDS.index(name)] = value
    ops.TAKE_PART(address(team), 0)
    np.testing.assert_array_equal(output, source)


# --- all of them ------------------------------------------------------------------------------------------------------

GROUPS: dict[str, Callable[[], Iterator[Case]]] = {
    "elementwise": _elementwise,
    "products": _products,
    "experts": experts,
    "attention": _attention,
    "kv_cache": _kv_cache,
    "repacking": _repacking,
    "top_logits": _top_logits,
    "byte_pair_merges": _byte_pair_merges,
    "strings": _strings,
    "machine_limits": _machine_limits,
    "plan_loop": _plan_loop,
}
"""The cases of all kernels, by the name of a group."""


def overrun() -> Iterator[Case]:
    """Yields a kernel that is told of more bytes than there are, and one that is told of as many; not in `GROUPS`."""
    for side in Side:
        yield Case((ops.FIND_STRINGS,), "8 bytes too many", side, partial(_read_strings, too_many=8))
        yield Case((ops.FIND_STRINGS,), "no byte too many", side, partial(_read_strings, too_many=0))


def _read_strings(memory: GuardedMemory, too_many: int) -> None:
    """Reads the lengths of empty strings, `too_many` bytes of them before and behind the buffer."""
    content, starts = memory.zeros(8, np.uint8), memory.zeros(4, np.int64)
    ops.FIND_STRINGS(address(content), -too_many, len(content) + too_many, address(starts), 3)


def main() -> None:
    """Runs the cases of a group; see the top."""
    group, first = sys.argv[1:]
    cases = list((GROUPS | {"overrun": overrun})[group]())
    for number in range(int(first), len(cases)):
        print(number, flush=True)
        case = cases[number]
        case.run(GuardedMemory(case.side))


if __name__ == "__main__":
    main()
