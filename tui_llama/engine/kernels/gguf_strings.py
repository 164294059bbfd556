"""Reading a header in compiled code: what takes Python a tenth of a second for a large vocabulary."""

import numpy as np

from tui_llama.engine.kernels.ir.simd import int64_at, uint8_at
from tui_llama.engine.toolchain.numba_codegen import helper

_LENGTH_BYTES = 8


@helper
def _length_at(address: int) -> np.uint64:
    """The uint64 at an address of any alignment, little-endian."""
    content, length = uint8_at(np.uintp(address)), np.uint64(0)
    for byte in range(_LENGTH_BYTES):
        length |= np.uint64(content[byte]) << np.uint64(8 * byte)
    return length


def find_strings(content: int, at: int, limit: int, starts: int, count: int) -> int:
    """Writes to `starts` where each string begins, and behind them where the last one ends; returns how many there are.

    What is beyond `limit` is not read; a string that ends there is the last one, and its end is `limit` + 1.

    Args:
        content: Address of the file.
        at: Where in it the first string is.
        limit: Where in it all strings end at the latest.
        starts: Address of (count + 1,) int64.
        count: How many strings are looked for.
    """
    found, out = 0, int64_at(np.uintp(starts))
    while found < count and at <= limit - _LENGTH_BYTES:
        length = _length_at(content + at)
        at += _LENGTH_BYTES
        out[found] = at
        found += 1
        at = int(at + np.int64(length)) if length <= np.uint64(limit - at) else limit + 1
    out[found] = at
    return found
