"""Layout of a tile format in memory, for the kernel that decodes single rows of tiles of any format.

`TileFormat` in weight_tile.py says what the fields mean. The 16 values that codes stand for follow as int32.
"""

import numpy as np

TILE = np.dtype(
    [
        ("columns", np.int64),
        ("tile_bytes", np.int64),
        ("code_offset", np.int64),
        ("has_minimum", np.int64),
        ("scale_count", np.int64),
        ("scales_are_nibbles", np.int64),
        ("has_values", np.int64),
        ("scale_kind", np.int64),  # FLOAT16, EXPONENT or SMALL_FLOAT
        ("scales_of_columns", np.int64),
        ("minimum_at", np.int64),
        ("scales_at", np.int64),
        ("minima_at", np.int64),
        ("codes_at", np.int64),
        ("low_bits", np.int64),
        ("high_at", np.int64),
        ("high_bits", np.int64),
        ("d_factor", np.float32),
    ],
    align=True,
)
VALUES_AT = TILE.itemsize
VALUE_COUNT = 16

FLOAT16, EXPONENT, SMALL_FLOAT = 0, 1, 2
