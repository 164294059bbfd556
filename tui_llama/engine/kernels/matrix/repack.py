"""Repacks rows of the file into tiles (see layouts/weight_tile.py), unit after unit; packing.py packs the blocks.

A table of units tells the kernel all its work, so that threads need no Python meanwhile.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import Builder, Value, atomic_add, int64_at, uint8_at
from tui_llama.engine.layouts.repacking import UNIT_FIELDS
from tui_llama.engine.layouts.weight_tile import ROWS
from tui_llama.engine.toolchain.numba_codegen import helper, intrinsic


@helper
def _copy(source: int, target: int, count: int) -> None:
    from_bytes, to_bytes = uint8_at(np.uintp(source)), uint8_at(np.uintp(target))
    for byte in range(count):
        to_bytes[byte] = from_bytes[byte]


@helper
def _clear(target: int, count: int) -> None:
    to_bytes = uint8_at(np.uintp(target))
    for byte in range(count):
        to_bytes[byte] = 0


def _caller(argument_count: int) -> Callable[..., None]:
    """Makes the intrinsic that calls the compiled packer at an address, with so many arguments after it."""

    def call_packer(_: Any, packer: Any, source: Any, row_bytes: Any, target: Any, blocks: Any, table: Any) -> Any:
        def generate(context: Any, b: Builder, signature: Any, arguments: Any) -> Value:
            kind = ir.FunctionType(ir.VoidType(), [simd.I64] * argument_count)
            b.call(b.inttoptr(arguments[0], kind.as_pointer()), arguments[1 : 1 + argument_count])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    call_packer.__name__ = f"call_packer_{argument_count}"
    return intrinsic(call_packer)


_call_plain, _call_with_table = _caller(4), _caller(5)


@helper
def _pack(packer: int, source: int, row_bytes: int, target: int, blocks: int, table: int) -> None:
    if table:
        _call_with_table(packer, source, row_bytes, target, blocks, table)
    else:
        _call_plain(packer, source, row_bytes, target, blocks, table)


@helper
def pack_tile_row(
    packer: int, source: int, row_bytes: int, target: int, lanes: int, step_bytes: int, tile_bytes: int, table: int,
    staging: int,
) -> None:  # fmt: skip
    """Packs one tile row. Copies replace the file where it has fewer than 16 rows, or fewer bytes than a step."""
    whole = row_bytes // step_bytes if lanes == ROWS else 0
    _pack(packer, source, row_bytes, target, whole, table)
    packed = staging + ROWS * step_bytes
    if lanes < ROWS:
        _clear(staging, ROWS * step_bytes)
    for block in range(whole, -(-row_bytes // step_bytes)):
        count = min(step_bytes, row_bytes - block * step_bytes)
        for lane in range(lanes):
            _copy(source + lane * row_bytes + block * step_bytes, staging + lane * step_bytes, count)
        _pack(packer, staging, step_bytes, packed, 1, table)
        _copy(packed, target + block * tile_bytes, tile_bytes * count // step_bytes)


def repack_units(units: int, unit_count: int, progress: int, staging: int) -> None:
    """Fills tiles, unit after unit; see `repack_units` in tensors/repacking.py."""
    while True:
        index = atomic_add(np.uintp(progress), 1)
        if index >= unit_count:
            return
        unit = int64_at(np.uintp(units + 8 * UNIT_FIELDS * index))
        packer, source, row_bytes, target, rows = unit[0], unit[1], unit[2], unit[3], unit[4]
        step_bytes, tile_bytes, table, first, last = unit[5], unit[6], unit[7], unit[8], unit[9]
        tile_row_bytes = row_bytes // step_bytes * tile_bytes + row_bytes % step_bytes * ROWS
        for tile_row in range(first, last):
            pack_tile_row(
                packer, source + tile_row * ROWS * row_bytes, row_bytes, target + tile_row * tile_row_bytes,
                min(ROWS, rows - tile_row * ROWS), step_bytes, tile_bytes, table, staging,
            )  # fmt: skip
        atomic_add(np.uintp(progress + 8), 1)
