"""Large blocks of zeroed memory for arrays that compiled code reads by address."""

import mmap

import numpy as np
import numpy.typing as npt

_HUGE_PAGE_BYTES = 2 << 20
_ALIGNMENT_BYTES = 64


def zeroed_bytes(size: int) -> npt.NDArray[np.uint8]:
    """Zeroed memory from the operating system, page by page as it is first touched; in huge pages where it is large.

    Args:
        size: Bytes, may be 0.

    Returns:
        (size,) uint8; the memory lives as long as the array or a view of it.
    """
    if size == 0:
        return np.zeros(0, np.uint8)
    block = mmap.mmap(-1, size)
    if size >= _HUGE_PAGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(block, np.uint8, size)


def zeroed_array(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """A zeroed array on a cache-line boundary."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    if size >= _HUGE_PAGE_BYTES:
        return zeroed_bytes(size).view(kind).reshape(shape)
    room = np.zeros(size + _ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT_BYTES
    return room[start : start + size].view(kind).reshape(shape)


def padded(count: int, multiple: int = 16) -> int:
    """`count` rounded up to a multiple."""
    return -(-count // multiple) * multiple
