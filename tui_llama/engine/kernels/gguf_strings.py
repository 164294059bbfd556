"""Finds the strings of a GGUF header in compiled code; Python needs a tenth of a second for a large vocabulary."""

import numpy as np

from tui_llama.engine.kernels.ir.simd import int64_at, uint8_at
from tui_llama.engine.toolchain.numba_codegen import helper

_LENGTH_BYTES = 8


@helper
def _length_at(address: int) -> np.uint64:
    """Returns the uint64 at an address of any alignment, little-endian."""
    content, length = uint8_at(np.uintp(address)), np.uint64(0)
    for byte in range(_LENGTH_BYTES):
        length |= np.uint64(content[byte]) << np.uint64(8 * byte)
    return length


def find_strings(content: int, at: int, limit: int, starts: int, count: int) -> int:
    """Finds strings: writes their starts and then the end of the last one to `starts`, and returns their number.

    Bytes from `limit` on are not read. A string that would end after it is the last one; its end is `limit` + 1.

    Args:
        content: Address of the file.
        at: Where in it the first string is.
        limit: Where in it the strings must end.
        starts: Address of (count + 1,) int64.
        count: Number of strings to find.
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
