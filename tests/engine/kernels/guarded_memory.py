"""Arrays beside a page that nobody may touch: an access past their end, or before their beginning, is a fault.

Kernels work on addresses, so nothing else tells a read of a byte too many from a good one. A fault ends the process.
"""

import ctypes
import mmap
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

_NO_ACCESS = 0  # PROT_NONE, which Python's mmap does not name


class Side(StrEnum):
    """The side of an array that is guarded to the byte; on the other side, a fault comes after the rest of a page."""

    END = "end"
    BEGINNING = "beginning"


class GuardedMemory:
    """Arrays of zeros between two pages that nobody may touch; all are kept as long as this is.

    Args:
        side: Which side of the arrays touches its page.
    """

    def __init__(self, side: Side) -> None:
        self._side = side
        self._blocks: list[mmap.mmap] = []

    def zeros(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Returns an array of zeros, contiguous; its end or its beginning is that of a page."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        block = mmap.mmap(-1, room + 2 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._blocks.append(block)
        everything = np.frombuffer(block, np.uint8)
        first, last = mmap.PAGESIZE, mmap.PAGESIZE + room
        for guard in (0, last):
            _forbid(int(everything.ctypes.data) + guard)
        start = first if self._side is Side.BEGINNING else last - size
        return everything[start : start + size].view(kind).reshape(shape)

    def copy(self, content: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Returns a copy of an array, placed as `zeros` places one."""
        array = self.zeros(content.shape, content.dtype)
        array[...] = content
        return array


def _forbid(page: int) -> None:
    """Makes every access to a page a fault."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), _NO_ACCESS) != 0:
        raise OSError(ctypes.get_errno(), "mprotect failed")
