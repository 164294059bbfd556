"""Finds the strings of a header in compiled code (kernels/gguf_strings.py)."""

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.gguf import header


def find_strings(content: bytes, at: int, limit: int, count: int) -> tuple[npt.NDArray[np.int64], int]:
    """Does the same as `header.find_strings`, but returns `limit` + 1 for any end beyond `limit`."""
    starts = np.empty(count + 1, np.int64)
    address = np.frombuffer(content, np.uint8).ctypes.data
    found = ops.FIND_STRINGS(address, at, limit, starts.ctypes.data, count)
    return starts[:found], int(starts[found])


def compiled_find_strings() -> header.FindStrings:
    """Returns the compiled `find_strings` if it is compiled already, else the one in Python."""
    return find_strings if ops.FIND_STRINGS.is_ready else header.find_strings
