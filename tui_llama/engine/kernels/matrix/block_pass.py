"""What products of all block sizes share: a block of some tokens, its dot products, loops, and memory asked ahead."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce

from llvmlite import ir
from numba.core import cgutils

from tui_llama.engine.kernels.ir import simd
from tui_llama.engine.kernels.ir.simd import F32, I32, Builder, Value, constant
from tui_llama.engine.layouts.weight_tile import TileFormat

PREFETCH_BYTES = 6144
"""From the bytes in use to those that are prefetched."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Other factor of a tile's block: one block of some tokens, with the places of their sums."""

    quants: list[Value]
    summaries: list[Value]
    totals: list[Value]

    @property
    def sum_count(self) -> int:
        """Running sums for each token.

        Two sums hide the latency of adding for a single token; several tokens hide it for each other.
        """
        return 2 if len(self.totals) == 1 else 1


def dot_product(
    b: Builder, layout: TileFormat, start: Value, codes: list[Value], quants: Value, at: int, sum_count: int
) -> Value:
    """Adds to `start` the products of code vectors and quants from byte `at` on, in `sum_count` running sums."""
    groups = [simd.load_splat(b, quants, at + 4 * group, I32) for group in range(len(codes))]
    step = -(-len(codes) // sum_count)
    total = simd.dot4_sum(b, start, codes[:step], groups[:step], layout.value_bits)
    for first in range(step, len(codes), step):
        mine = slice(first, first + step)
        total = b.add(total, simd.dot4_sum(b, constant(I32, 0), codes[mine], groups[mine], layout.value_bits))
    return total


def signed_dot_product(b: Builder, codes: list[Value], quants: Value, at: int, sum_count: int) -> Value:
    """Returns what `dot_product` does, from zero, for codes of eight bits with signs; see `prefers_signed_bytes`."""
    groups = [simd.load_splat(b, quants, at + 4 * group, I32) for group in range(len(codes))]
    step, one = -(-len(codes) // sum_count), constant(I32, 1)
    # Two products with -128 fit into 16 bits as well, because no quant is larger than 127.
    sums = [
        simd.scaled_dot4_sum(
            b, constant(I32, 0), codes[first : first + step], groups[first : first + step], one, 127, is_signed=True
        )
        for first in range(0, len(codes), step)
    ]
    return reduce(b.add, sums)


def ask_ahead(b: Builder, place: Value, size: int) -> None:
    """Prefetches the weights that are needed a while after the `size` bytes at `place`.

    It prefetches only a few lines at a time: more than a core can wait for would block all other loads.
    """
    for line in range(0, size, 64):
        simd.prefetch(b, place, PREFETCH_BYTES + line)


@contextmanager
def in_blocks(b: Builder, count: Value, most: int) -> Iterator[tuple[Value, Value]]:
    """Loops over `count` items in blocks of at most `most`; yields first and count of each block."""
    rounds = b.sdiv(b.add(count, simd.integer(most - 1)), simd.integer(most))
    with cgutils.for_range(b, rounds) as loop:
        done = b.mul(loop.index, simd.integer(most))
        left = b.sub(count, done)
        yield done, b.select(b.icmp_signed("<", left, simd.integer(most)), left, simd.integer(most))


def zero(b: Builder, element: ir.Type = F32) -> Value:
    """Makes a place on the stack for a running sum, and sets it to zero wherever the code passes here."""
    value = constant(element, 0)
    place = simd.lane_variable(b, value)
    b.store(value, place)
    return place
