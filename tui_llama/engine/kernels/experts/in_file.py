"""Multiplies with matrices of experts that stay in the model file; layouts/file_experts.py says how they are read.

The file is read with the C library's `pread`, not mapped: if another program cuts it short, that is a note in memory,
which the caller looks at after the batch, and no fault that ends the process. What was read lately, the system keeps
in memory as long as nobody needs that more.
"""

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types

from tui_llama.engine.kernels.experts.choosing import routing_at
from tui_llama.engine.kernels.experts.grouping import copy_for_inner_kernel, point_at_group
from tui_llama.engine.kernels.ir.simd import (
    I32,
    I64,
    Builder,
    Value,
    at_address,
    call_kernel,
    int32_at,
    int64_at,
    row_at,
)
from tui_llama.engine.kernels.matrix.repack import pack_tile_row
from tui_llama.engine.layouts.file_experts import FILE_EXPERTS, ROWS_AT, STAGING_AT, WILL_NEED
from tui_llama.engine.layouts.routing import BATCH_AT, INNER_SCRATCH_AT
from tui_llama.engine.layouts.weight_tile import ROWS
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic

file_experts_at = at_address(numba.from_dtype(FILE_EXPERTS), "file_experts_at")

_ATTEMPTS = 3  # a signal may end a read on some file systems, and then it only has to be repeated


@intrinsic
def _read_file(_: Any, read: Any, file: Any, target: Any, size: Any, offset: Any) -> Any:
    """Calls `pread`; returns the number of bytes read, or -1."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        read, file, target, size, offset = arguments
        kind = ir.FunctionType(I64, [I32, I64, I64, I64])
        return b.call(b.inttoptr(read, kind.as_pointer()), [b.trunc(file, I32), target, size, offset])

    number = types.int64
    return number(types.uintp, number, number, number, number), generate


@intrinsic
def _advise(_: Any, advise: Any, file: Any, offset: Any, size: Any) -> Any:
    """Calls `posix_fadvise`: a part of the file will be needed soon. Whether that works does not matter."""

    def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
        advise, file, offset, size = arguments
        kind = ir.FunctionType(I32, [I32, I64, I64, I32])
        call = b.inttoptr(advise, kind.as_pointer())
        b.call(call, [b.trunc(file, I32), offset, size, I32(WILL_NEED)])
        return context.get_dummy_value()

    number = types.int64
    return types.void(types.uintp, number, number, number), generate


@helper
def _read_all(matrices: Any, offset: int, target: int, size: int) -> bool:
    """Reads a part of the file; returns False, and notes it for the caller, if that is not possible."""
    done, attempts = 0, 0
    while done < size:
        count = _read_file(np.uintp(matrices.read), matrices.file, target + done, size - done, offset + done)
        if count > 0:
            done += count
            attempts = 0
            continue
        attempts += 1
        if attempts == _ATTEMPTS:
            int64_at(np.uintp(matrices.failure))[0] = 1
            return False
    return True


@helper
def _tiles_of(matrices: Any, expert: int, tile: int, end: int, tile_row_bytes: int, scratch: Any) -> Any:
    """Reads and packs the tile rows `tile` … `end` - 1 of an expert; returns the address of their tiles, or 0."""
    first_row, row_bytes = tile * ROWS, matrices.row_bytes
    row_count = min(end * ROWS, matrices.rows) - first_row
    rows = scratch + ROWS_AT
    offset = matrices.first_byte + expert * matrices.expert_bytes + first_row * row_bytes
    if not _read_all(matrices, offset, rows, row_count * row_bytes):
        return 0
    tiles = rows + (matrices.tile_rows_at_once * ROWS * row_bytes + 63) // 64 * 64
    for index in range(end - tile):
        pack_tile_row(
            matrices.packer, rows + index * ROWS * row_bytes, row_bytes, tiles + index * tile_row_bytes,
            min(ROWS, row_count - index * ROWS), matrices.step_bytes, matrices.step_tile_bytes, matrices.table,
            scratch + STAGING_AT,
        )  # fmt: skip
    return tiles


def multiply_file_experts(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Multiplies the rows of each group with its expert's matrix, which is in the file. Unit: as `multiply_experts`.

    Plan row: as for `multiply_experts`, but `weight` is the address of a FILE_EXPERTS. Rows that cannot be read leave
    the output as it is. Scratch: see layouts/file_experts.py.
    """
    row = row_at(row_address)
    matrices, routing = file_experts_at(np.uintp(row.weight)), routing_at(np.uintp(row.routing))
    copy_for_inner_kernel(row_address, batch_address, scratch)
    inner_row = row_at(np.uintp(scratch))
    group_count = int64_at(np.uintp(routing.group_count))[0]
    unit = first
    while unit < last:
        group, tile = unit // row.units, unit % row.units
        if group >= group_count:
            return
        end = min(row.units, tile + min(last - unit, matrices.tile_rows_at_once))
        expert = point_at_group(row, routing, group, scratch)
        tiles = _tiles_of(matrices, expert, tile, end, row.tile_row_bytes, np.int64(scratch))
        if tiles == 0:
            return
        inner_row.weight = tiles - tile * row.tile_row_bytes
        call_kernel(
            np.uintp(row.inner_kernel), np.uintp(scratch), np.uintp(scratch + BATCH_AT), tile, end,
            np.uintp(scratch + INNER_SCRATCH_AT),
        )  # fmt: skip
        unit += end - tile


def ask_for_file_experts(row_address: int, batch_address: int, first: int, last: int, scratch: int) -> None:
    """Tells the system which experts will be read from the file, so that the disk can work on many. Unit: all of it.

    Plan row: `weight` is the address of a FILE_EXPERTS; `routing` has the groups.
    """
    row = row_at(row_address)
    matrices, routing = file_experts_at(np.uintp(row.weight)), routing_at(np.uintp(row.routing))
    experts = int32_at(np.uintp(routing.experts))
    for group in range(int64_at(np.uintp(routing.group_count))[0]):
        offset = matrices.first_byte + experts[group] * matrices.expert_bytes
        _advise(np.uintp(matrices.advise), matrices.file, offset, matrices.rows * matrices.row_bytes)
