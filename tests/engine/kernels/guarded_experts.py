"""The kernels for mixtures of experts at work in memory that is guarded to the byte; see `guarded_cases`."""

import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.engine.kernels.guarded_case import SPARE_BYTES_OF_QUANTIZE, Case, on_both_sides, run_row
from tests.engine.kernels.guarded_memory import GuardedMemory
from tests.engine.kernels.kernel_bench import address
from tui_llama.engine import ops
from tui_llama.engine.layouts import amx_panel
from tui_llama.engine.layouts.activations import SPARE_TOKENS, SUMMARY_BYTES
from tui_llama.engine.layouts.file_experts import FILE_EXPERTS, scratch_bytes, tile_rows_at_once
from tui_llama.engine.layouts.routing import INNER_SCRATCH_AT, ROUTING, SOFTMAX, SOFTMAX_OF_CHOSEN, most_input_rows
from tui_llama.engine.layouts.weight_tile import F16_FORMAT, Q4_0_FORMAT, Q4_K_FORMAT, ROWS, TileFormat
from tui_llama.engine.machine.memory import padded
from tui_llama.engine.tensors.expert_sizes import ExpertSizes
from tui_llama.engine.tensors.file_experts import address_in_c_library

_SIZES = (
    ExpertSizes(1, 1, 1),
    ExpertSizes(17, 5, 1, "softmax of chosen"),
    ExpertSizes(12, 3, 1, group_count=4, used_group_count=2),
)


def experts() -> Iterator[Case]:
    """Yields the cases."""
    for operation in (ops.CLAMPED_SWIGLU, ops.GATE_BY_SIGMOID, ops.WEIGH):
        for columns in (16, 48):
            gate = partial(_gate, operation=operation.name, columns=columns)
            yield from on_both_sides((operation,), f"{columns} columns", gate)
    for sizes in _SIZES:
        for layout in (F16_FORMAT, Q4_0_FORMAT, Q4_K_FORMAT):
            quantization = [] if layout.is_float else [ops.quantization(layout.columns)]
            for tokens in (1, 5, 33):
                run = partial(_mix_experts, sizes=sizes, layout=layout, tokens=tokens)
                text = f"{sizes.used_count} of {sizes.count} experts, {layout.name}, {tokens} tokens"
                yield from on_both_sides((*ops.EXPERTS, ops.matrix_product(layout), *quantization), text, run)
    yield from _experts_in_a_file()


def _experts_in_a_file() -> Iterator[Case]:
    for layout in (F16_FORMAT, Q4_0_FORMAT, Q4_K_FORMAT):
        kernels = (ops.CHOOSE_EXPERTS, ops.GROUP_TOKENS, *ops.FILE_EXPERTS, ops.matrix_product(layout))
        for columns, rows in ((2 * layout.columns, 33), (9 * max(layout.columns, 8), 96)):
            run = partial(_multiply_in_file, layout=layout, columns=columns, rows=rows)
            text = f"{rows} rows of {columns} columns in a file, {layout.name}"
            yield from on_both_sides((*kernels, ops.packing(layout)), text, run)


def _gate(memory: GuardedMemory, operation: str, columns: int) -> None:
    """Runs `clamped_swiglu`, `gate_by_sigmoid` or `weigh`."""
    values, others = (
        memory.zeros((3, width), np.float32) for width in (columns, 1 if operation == "weigh" else columns)
    )
    run_row(
        memory, operation, 3, 0, {"token_count": 3}, input=address(values), input_stride=values.strides[0],
        output=address(values), output_stride=values.strides[0], extra=address(others), extra_stride=others.strides[0],
        columns=columns,
    )  # fmt: skip


def _route(memory: GuardedMemory, sizes: ExpertSizes, tokens: int) -> tuple[Any, list[npt.NDArray[Any]]]:
    """Chooses and groups in guarded memory; returns the rule, and all of the arrays that it points to."""
    count, used = sizes.count, sizes.used_count
    rule, logits = memory.zeros((), ROUTING), memory.zeros((tokens, padded(count)), np.float32)
    rule["expert_count"], rule["used_count"], rule["weights_scale"] = count, used, 1.0
    rule["expert_group_count"], rule["used_expert_group_count"] = sizes.group_count, sizes.used_group_count
    rule["gating"] = SOFTMAX_OF_CHOSEN if sizes.gating == "softmax of chosen" else SOFTMAX
    of_groups = ("experts", "first_rows", "row_counts", "first_inputs")
    lengths = dict.fromkeys(("chosen", "weights", "rows"), tokens * used) | {"groups": count, "group_count": 2}
    lengths |= dict.fromkeys(of_groups, min(count, tokens * used))
    arrays = {name: memory.zeros(length, np.int32) for name, length in lengths.items()}
    for name, array in arrays.items():
        rule[name] = address(array)
    bias = memory.zeros(count, np.float32)
    fields: dict[str, Any] = {"routing": address(rule), "extra": address(bias)}
    run_row(
        memory, "choose_experts", tokens, 20 * padded(count), {"token_count": tokens},
        input=address(logits), input_stride=logits.strides[0], **fields,
    )  # fmt: skip
    run_row(memory, "group_tokens", 1, 0, {"token_count": tokens}, **fields)
    return rule, [*arrays.values(), bias]


def _multiply_in_file(memory: GuardedMemory, layout: TileFormat, columns: int, rows: int) -> None:
    """Runs the kernels that read the experts from a file."""
    sizes, tokens, tile_rows = ExpertSizes(5, 2, 1), 4, padded(rows) // ROWS
    rule, arrays = _route(memory, sizes, tokens)
    stride = (
        4 * columns if layout.is_float else columns // layout.columns * (layout.columns + SUMMARY_BYTES[layout.columns])
    )
    inputs = memory.zeros((most_input_rows(tokens, 2, 5) + SPARE_TOKENS, stride), np.uint8)
    outputs = memory.zeros((2 * tokens, padded(rows)), np.float32)
    row_bytes, record = layout.row_bytes(columns), memory.zeros((), FILE_EXPERTS)
    failure = memory.zeros(1, np.int64)
    with tempfile.TemporaryFile() as file:
        file.truncate(sizes.count * rows * row_bytes)
        record["read"], record["advise"] = (address_in_c_library(name) for name in ("pread", "posix_fadvise"))
        record["packer"], record["failure"], record["file"] = (
            ops.packing(layout).address,
            address(failure),
            file.fileno(),
        )
        record["expert_bytes"], record["row_bytes"], record["rows"] = rows * row_bytes, row_bytes, rows
        record["step_bytes"], record["step_tile_bytes"] = layout.packed_at_once
        record["tile_rows_at_once"] = tile_rows_at_once(layout, columns)
        batch, fields = {"token_count": tokens}, {"routing": address(rule), "weight": address(record)}
        run_row(memory, "ask_for_file_experts", 1, 0, batch, **fields)
        run_row(
            memory, "multiply_file_experts", tile_rows * sizes.count, scratch_bytes(layout, columns), batch, **fields,
            columns=columns // layout.columns, input=address(inputs), input_stride=stride, output=address(outputs),
            output_stride=outputs.strides[0], tile_row_bytes=layout.matrix_bytes(ROWS, columns), units=tile_rows,
            inner_kernel=ops.matrix_product(layout).address,
        )  # fmt: skip
    assert failure[0] == 0
    assert arrays


def _mix_experts(memory: GuardedMemory, sizes: ExpertSizes, layout: TileFormat, tokens: int) -> None:
    """Runs all kernels of a mixture of experts, one after the other."""
    rule, arrays = _route(memory, sizes, tokens)
    columns, rows = 2 * layout.columns, 33
    tile_rows = padded(rows) // ROWS
    stride = 4 * columns if layout.is_float else 2 * (layout.columns + SUMMARY_BYTES[layout.columns])
    source = memory.zeros((tokens, columns), np.float32)
    input_rows = most_input_rows(tokens, sizes.used_count, sizes.count) + SPARE_TOKENS
    inputs = memory.zeros((input_rows, stride), np.uint8)
    weight = memory.zeros((sizes.count, layout.matrix_bytes(rows, columns)), np.uint8)
    bias, factors = memory.zeros((sizes.count, padded(rows)), np.float32), memory.zeros(sizes.count, np.float32)
    parts = memory.zeros((tokens * sizes.used_count, padded(rows)), np.float32)
    sums = memory.zeros((tokens, padded(rows)), np.float32)
    batch, routing = {"token_count": tokens}, address(rule)
    run_row(
        memory, "spread_inputs", tokens, INNER_SCRATCH_AT + SPARE_BYTES_OF_QUANTIZE, batch,
        routing=routing, columns=2, input=address(source), input_stride=source.strides[0], output=address(inputs),
        output_stride=stride, inner_kernel=0 if layout.is_float else ops.quantization(layout.columns).address,
    )  # fmt: skip
    run_row(
        memory, "multiply_experts", tile_rows * sizes.count, INNER_SCRATCH_AT + amx_panel.SCRATCH_BYTES, batch,
        routing=routing, columns=2, input=address(inputs), input_stride=stride, output=address(parts),
        output_stride=parts.strides[0], weight=address(weight), expert_stride=weight.strides[0], extra=address(bias),
        extra_stride=bias.strides[0], tile_row_bytes=weight.shape[1] // tile_rows, units=tile_rows,
        inner_kernel=ops.matrix_product(layout).address, factor=address(factors),
    )  # fmt: skip
    run_row(
        memory, "add_experts", tokens, 64 + 4 * sizes.used_count, batch, routing=routing, columns=padded(rows),
        input=address(parts), input_stride=parts.strides[0], output=address(sums), output_stride=sums.strides[0],
        accumulate=1,
    )  # fmt: skip
    assert arrays  # they live until here
