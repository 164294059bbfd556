"""Finds where the strings of a header are, in compiled code (kernels/gguf_strings)."""

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.gguf import header


def find_strings(content: bytes, at: int, limit: int, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Does what `header.find_strings` does, but an end beyond `limit` may be any such place."""
    starts = np.empty(count + 1, np.int64)
    address = np.frombuffer(content, np.uint8).ctypes.data
    found = ops.FIND_STRINGS(address, at, limit, starts.ctypes.data, count)
    return starts[:found], int(starts[found])


def quickest_find_strings() -> header.FindStrings:
    """What finds them in compiled code, unless that would have to be compiled first."""
    return find_strings if ops.FIND_STRINGS.is_ready else header.find_strings
