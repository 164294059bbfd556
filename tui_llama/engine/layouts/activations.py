"""Quantised activations: one token's input in blocks of 32 or 256 columns, as long as the weight's blocks.

A token's row holds the quants of all its columns, i8, and then for every block what the kernels know of its sums, so
that nobody has to add them up again:

    32 columns     f32 d · f32 d × sum · i32 -8 × sum · i32 -16 × sum · i32 -128 × sum · 12 bytes unused      32 bytes
    256 columns    f32 d · 12 bytes unused · i16 sums of 32 quants [8] · i32 -8 × sums of 32 [8]
                   i32 -16 × sums of 16 [16] · i32 -32 × sums of 8 [32]                                     256 bytes

The tile multiplier wants the same 64 columns of 16 tokens together (or 32, where blocks are no longer). So what is
written for many tokens is interleaved, group by group of 16 tokens: 64 columns of the first token, of the second and so
on, then the next 64 columns; after all quants, for every block, what this unit's kernels need:

    32 columns     f32 d [16] · f32 d × sum [16]                                                             128 bytes
    256 columns    f32 d [16] · i16 sums of 32 quants [16][8]                                                320 bytes

A dot product with codes that have an offset starts from minus the offset times the sum: the codes of a type, as they
are summed up between two scales, then stay within 16 bits (see matrix_kernels.py).
"""

from tui_llama.engine.machine.memory import odd_lines

SUMMARY_BYTES = {32: 32, 256: 256}
SCALED_SUM_AT = 4
START_32_AT = {8: 8, 16: 12, 128: 16}  # by the offset of the codes
SUMS_AT = 16

START_256_AT = {8: 32, 16: 64, 32: 128}  # by the offset of the codes; sums of 32, 16 and 8 quants

GROUP_TOKENS = 16
"""How many tokens are interleaved."""

GROUP_SUMS_AT = 64
GROUP_SUMS_BYTES = {32: 4, 256: 16}  # of one token
GROUP_SUMMARY_BYTES = {columns: GROUP_SUMS_AT + GROUP_TOKENS * size for columns, size in GROUP_SUMS_BYTES.items()}

FEWEST_GROUPED_TOKENS = 24
"""From how many tokens on they are, where there is a tile multiplier, which is faster than vectors from there on."""

SPARE_TOKENS = 32
"""How many tokens beyond the last an input must be readable for; what it holds there does not matter."""


def grouped_columns(block_columns: int) -> int:
    """How many columns of a token stand together where tokens are interleaved."""
    return min(64, block_columns)


def activation_bytes(columns: int, block_columns: int) -> int:
    """Bytes from one token's quantised input to the next.

    Args:
        columns: Columns of the input.
        block_columns: Columns of the weights' blocks: 32 or 256.
    """
    return odd_lines(columns // block_columns * (block_columns + SUMMARY_BYTES[block_columns]))
