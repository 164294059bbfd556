"""Layout of quantised activations: a token's input in blocks of 32 or 256 columns, as long as the weight's blocks.

A token's row holds the quants of all its columns (i8), then a summary of every block. The summary holds sums that the
kernels need, so that they are added up once and not once per weight row:

    32 columns     f32 d · f32 d × sum · i32 -8 × sum · i32 -16 × sum · i32 -128 × sum
                   i32 -16 × sums of 16 [2] · 4 bytes unused                                                 32 bytes
    256 columns    f32 d · i32 sum · 8 bytes unused · i16 sums of 32 quants [8] · i16 sums of 16 [16]
                   i32 -8 × sums of 32 [8] · i32 -16 × sums of 16 [16] · i32 -32 × sums of 8 [32]
                   i32 -128 × sums of 32 [8]                                                                320 bytes

AMX loads the same 64 columns of 16 tokens at once (32 columns where a block has only 32). A large batch is therefore
interleaved in groups of 16 tokens: 64 columns of the first token, 64 columns of the second and so on, then the next 64
columns of each. After all quants follows a summary of every block for the group:

    32 columns     f32 d [16] · f32 d × sum [16]                                                             128 bytes
    256 columns    f32 d [16] · i16 sums of 32 quants [8] and of 16 quants [16], for each of 16 tokens       832 bytes

A dot product with codes that have an offset starts from -offset × sum. The running sum between two scales then stays
within 16 bits (see kernels/matrix/sums_256.py).
"""

from tui_llama.engine.machine.memory import odd_lines

SUMMARY_BYTES = {32: 32, 256: 320}
SCALED_SUM_AT = 4
START_32_AT = {8: 8, 16: 12, 128: 16}  # keyed by the offset of the codes
STARTS_16_AT = {16: 20}  # the same, of the first and the last 16 columns
SUM_AT = 4
SUMS_AT = 16
SUMS_OF_16_AT = 16
"""From a token's sums of 32 quants to its sums of 16."""

START_256_AT = {8: 64, 16: 96, 32: 160}  # keyed by the offset of the codes; sums of 32, 16 and 8 quants
STARTS_128_AT = 288  # of codes with an offset of 128, from sums of 32 quants

GROUP_TOKENS = 16
"""Tokens in one interleaved group."""

GROUP_SUMS_AT = 64
GROUP_SUMS_BYTES = {32: 4, 256: 48}  # of one token
GROUP_SUMMARY_BYTES = {columns: GROUP_SUMS_AT + GROUP_TOKENS * size for columns, size in GROUP_SUMS_BYTES.items()}

FEWEST_GROUPED_TOKENS = 24
"""Tokens from which a batch is interleaved on processors with AMX: from here on AMX is faster than vectors."""

SPARE_TOKENS = 32
"""Tokens beyond the last one that must be readable in an input buffer; their content is ignored."""


def grouped_columns(block_columns: int) -> int:
    """Returns the number of consecutive columns of one token in an interleaved input."""
    return min(64, block_columns)


def activation_bytes(columns: int, block_columns: int) -> int:
    """Returns the distance in bytes between the quantised inputs of two tokens.

    Args:
        columns: Columns of the input.
        block_columns: Columns of the weights' blocks: 32 or 256.
    """
    return odd_lines(columns // block_columns * (block_columns + SUMMARY_BYTES[block_columns]))
