"""Layouts of what kernels need for types whose weights come from a grid, eight or four at once by an index.

The table of such a type holds a byte for each weight of an entry: first the signs of eight weights by their index, 256
entries of eight bytes, then the grid, entries of eight or four bytes. The codes of weights are those bytes, joined by
"or": a code has the number of its magnitude in its lower bits and, above them, whether it is negative. tensors/
grid_tables.py makes tables.

A block that was read, but is not yet in a tile, has a byte for each of 256 codes, then its sub-block scales and d:

    codes     u8[256]
    scales    i8[16]    the first 8 where a block has only 8
    d         f16
"""

SIGN_ENTRIES = 256
GRID_AT = 8 * SIGN_ENTRIES

SCALES_AT = 256
D_AT = SCALES_AT + 16
READ_BLOCK_BYTES = D_AT + 16  # so that vectors of 16 bytes can be loaded from everywhere in it
