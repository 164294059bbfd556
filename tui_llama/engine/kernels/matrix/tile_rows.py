"""Decodes single rows of tiles to float32, for the embedding; layouts/weight_tile.py describes the tiles.

The code works column by column, and learns the format from a record (layouts/tile_record.py), so one kernel does for
all formats. This is fast enough for a row.
"""

from typing import Any

import numba
import numpy as np

from tui_llama.engine.kernels.ir.simd import (
    at_address,
    float32_at,
    int32_at,
    load_half,
    uint8_at,
)
from tui_llama.engine.layouts.tile_record import EXPONENT, FLOAT16, TILE, VALUES_AT
from tui_llama.engine.layouts.weight_tile import BF16_FORMAT, F32_FORMAT, ROWS
from tui_llama.engine.toolchain.numba_codegen import helper

_RUN_COLUMNS = 16  # columns that have the same scales in every format
_F32, _BF16 = F32_FORMAT.type_id, BF16_FORMAT.type_id

_tile_at = at_address(numba.from_dtype(TILE), "tile_at")


@helper
def decode_row(tiles: int, lane: int, target: int, columns: int, record_address: int) -> None:
    """Decodes one row of a quantised matrix.

    Args:
        tiles: Address of the tile row.
        lane: Which of its 16 rows.
        target: Address of (columns,) float32, overwritten.
        columns: Length of the row.
        record_address: Address of the format's record.
    """
    record, out = _tile_at(np.uintp(record_address)), float32_at(np.uintp(target))
    values = int32_at(np.uintp(record_address + VALUES_AT))
    runs = record.columns // _RUN_COLUMNS
    for number in range(columns // _RUN_COLUMNS):
        tile, run = tiles + number // runs * record.tile_bytes, number % runs
        factor, minimum = _factor_and_minimum(tile, record, lane, run, runs)
        for k in range(_RUN_COLUMNS):
            code = _code(tile, record, lane, _RUN_COLUMNS * run + k)
            weight = np.float32(values[code]) if record.has_values else np.float32(code - record.code_offset)
            weight *= factor
            out[_RUN_COLUMNS * number + k] = weight + minimum if record.has_minimum else weight


@helper
def _factor_and_minimum(tile: int, record: Any, lane: int, run: int, runs: int) -> Any:
    """Returns what the numbers of a run of columns are multiplied by, and what is added then."""
    d = _scale(tile, record, lane, run * record.scales_of_columns // runs)
    minimum = load_half(np.uintp(tile + record.minimum_at + 2 * lane)) if record.has_minimum else np.float32(0.0)
    if record.scale_count == 0:
        return d, minimum
    block = run * record.scale_count // runs
    at = ROWS * 2 * (block // 2) + 2 * lane + block % 2
    scales = uint8_at(np.uintp(tile + record.scales_at))
    if not record.has_minimum:
        return d * np.float32(np.int8(scales[at])), minimum
    if record.scales_are_nibbles:
        return d * np.float32(scales[at] & 15), -minimum * np.float32(scales[at] >> 4)
    minima = uint8_at(np.uintp(tile + record.minima_at))
    return d * np.float32(scales[at]), -minimum * np.float32(minima[at])


@helper
def _code(tile: int, record: Any, lane: int, column: int) -> int:
    """Returns the code of a column of a tile."""
    part, group, place = column // 32, column % 32 // 4, 4 * lane + column % 4
    code = _bits(tile + record.codes_at + 64 * record.low_bits * part, record.low_bits, group, place)
    if record.high_bits:
        high = _bits(tile + record.high_at + 64 * record.high_bits * part, record.high_bits, group, place)
        code |= high << record.low_bits
    return code


@helper
def _bits(plane: int, bits: int, group: int, place: int) -> int:
    """Returns the bits that a plane of 32 columns has of the code at a place of one of its eight groups."""
    if bits == 4:  # groups q and q + 4 are together; of fewer bits, neighbours
        vector, shift = group % 4, 4 * (group // 4)
    else:
        vector, shift = group * bits // 8, group * bits % 8
    return int(uint8_at(np.uintp(plane))[64 * vector + place]) >> shift & (1 << bits) - 1


@helper
def _scale(tile: int, record: Any, lane: int, part: int) -> Any:
    """Returns the scale d of a part of the tile's columns."""
    if record.scale_kind == FLOAT16:
        return load_half(np.uintp(tile + 2 * (ROWS * part + lane))) * record.d_factor
    stored = int(uint8_at(np.uintp(tile))[ROWS * part + lane])
    if record.scale_kind == EXPONENT:
        # 2^(exponent - 128), in two factors because the smallest of these are no normal numbers.
        return np.float32(2.0 ** (stored // 2 - 64)) * np.float32(2.0 ** (stored - stored // 2 - 64))
    exponent, fraction = stored >> 3 & 15, np.float32(stored & 7)
    if exponent == 0:
        return np.float32(2.0**-10) * fraction
    return np.float32(2.0**-11) * np.float32(1 << exponent) * (np.float32(8.0) + fraction)


@helper
def decode_float_row(tiles: int, lane: int, target: int, columns: int, type_id: int) -> None:
    """Decodes one row of a float matrix; the arguments are those of `decode_row`, and its GGUF type."""
    out, bits = float32_at(np.uintp(target)), int32_at(np.uintp(target))
    for column in range(columns):
        place = ROWS * column + lane
        if type_id == _F32:
            out[column] = float32_at(np.uintp(tiles))[place]
        elif type_id == _BF16:
            stored = uint8_at(np.uintp(tiles))
            bits[column] = (np.int32(stored[2 * place]) | np.int32(stored[2 * place + 1]) << 8) << 16
        else:
            out[column] = load_half(np.uintp(tiles + 2 * place))
