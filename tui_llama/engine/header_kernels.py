"""Reading a header in compiled code: what takes Python a tenth of a second for a large vocabulary."""

import mmap

import numpy as np
import numpy.typing as npt
from numba import types

from tui_llama.engine.compilation import compile_now, kernel

_LENGTH_BYTES = 8


@kernel
def _find_strings(content: npt.NDArray[np.uint8], at: int, limit: int, starts: npt.NDArray[np.int64]) -> int:
    """Writes to `starts` where each string begins, and behind them where the last one ends; returns how many there are.

    What is beyond `limit` is not read; a string that ends there is the last one, and its end is `limit` + 1.
    """
    found = 0
    while found < len(starts) - 1 and at <= limit - _LENGTH_BYTES:
        length = np.uint64(0)
        for byte in range(_LENGTH_BYTES):
            length |= np.uint64(content[at + byte]) << np.uint64(8 * byte)
        at += _LENGTH_BYTES
        starts[found] = at
        found += 1
        at = int(at + np.int64(length)) if length <= np.uint64(limit - at) else limit + 1
    starts[found] = at
    return found


_BYTES = types.Array(types.uint8, 1, "C", readonly=True)
_FIND_STRINGS = types.int64(_BYTES, types.int64, types.int64, types.int64[::1])


def find_strings(content: mmap.mmap, at: int, limit: int, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Does what `gguf_header.find_strings` does, but an end beyond `limit` may be any such place."""
    compile_now(_find_strings, _FIND_STRINGS)
    starts = np.empty(count + 1, np.int64)
    found = _find_strings(np.frombuffer(content, np.uint8), at, limit, starts)
    return starts[:found], int(starts[found])
