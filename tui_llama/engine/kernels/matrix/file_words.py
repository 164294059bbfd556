"""Words of 16 rows of the file as vectors, one row in each lane, from which tiles are packed."""

from collections.abc import Sequence
from functools import reduce

from llvmlite import ir

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import I16, I32, Builder, Value, constant, vector
from tui_llama.engine.layouts.weight_tile import GROUP_BYTES

_QUARTERS = (0, 4, 8, 12)


def _joined(b: Builder, first: Value, second: Value, places: Sequence[int]) -> Value:
    """Returns a vector of elements of two others; places count through the first and go on in the second."""
    return b.shuffle_vector(first, second, ir.Constant(vector(I32, len(places)), list(places)))


def _in_quarters(b: Builder, vectors: Sequence[Value], places: tuple[int, int, int, int]) -> Value:
    """Picks the same four places of each quarter of two vectors; places from 16 on are in the second."""
    return _joined(b, vectors[0], vectors[1], [start + place for start in _QUARTERS for place in places])


def four_words(b: Builder, rows: Sequence[Value], offset: int) -> list[Value]:
    """Loads four words from `offset` bytes on: one vector for each word, with the 16 rows in order."""
    vectors = []
    for row in range(4):
        # Quarter i holds row 4·i + row, so that shuffles inside quarters end with the rows in order.
        parts = [simd.load(b, rows[start + row], offset, I32, 4) for start in _QUARTERS]
        low, high = _joined(b, parts[0], parts[1], range(8)), _joined(b, parts[2], parts[3], range(8))
        vectors.append(_joined(b, low, high, range(16)))
    pairs = [
        [_in_quarters(b, two, places) for two in (vectors[:2], vectors[2:])]
        for places in ((0, 16, 1, 17), (2, 18, 3, 19))
    ]
    return [_in_quarters(b, pair, places) for pair in pairs for places in ((0, 1, 16, 17), (2, 3, 18, 19))]


def many_words(b: Builder, rows: Sequence[Value], offset: int, count: int) -> list[Value]:
    """Loads `count` words, a multiple of four, from `offset` bytes on."""
    return [word for group in range(count // 4) for word in four_words(b, rows, offset + GROUP_BYTES * group)]


def masked(b: Builder, words: Value, mask: int) -> Value:
    """Keeps the bits of a mask of every word."""
    return b.and_(words, constant(I32, mask))


def right(b: Builder, words: Value, bits: int) -> Value:
    """Shifts every word to the right, with zeros from the left."""
    return b.lshr(words, constant(I32, bits)) if bits else words


def left(b: Builder, words: Value, bits: int) -> Value:
    """Shifts every word to the left."""
    return b.shl(words, constant(I32, bits)) if bits else words


def halves(b: Builder, words: Value, bits: int) -> Value:
    """Returns the 16 bits from bit `bits` on of every word."""
    return b.trunc(right(b, words, bits), vector(I16))


NIBBLES, UPPER_NIBBLES, BIT_PAIRS, BITS, SIGNS = 0x0F0F0F0F, 0xF0F0F0F0, 0x03030303, 0x01010101, 0x80808080
SIX_BITS = 0x3F3F3F3F


def joined_nibbles(b: Builder, low: Value, high: Value, shift: int) -> Value:
    """Joins the nibbles at bit `shift` (0 or 4) of the words of groups q and q + 4."""
    if shift == 0:
        return b.or_(masked(b, low, NIBBLES), left(b, masked(b, high, NIBBLES), 4))
    return b.or_(masked(b, right(b, low, 4), NIBBLES), masked(b, high, UPPER_NIBBLES))


def gathered(b: Builder, words: Sequence[Value], bit: int, mask: int, width: int) -> Value:
    """Joins the fields at bit `bit` of the bytes of some words, the first one lowest, `width` bits each."""
    fields = [left(b, masked(b, right(b, word, bit), mask), width * q) for q, word in enumerate(words)]
    return reduce(b.or_, fields)
