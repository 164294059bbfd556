"""Large blocks of zeroed memory for arrays that compiled code reads by address."""

import errno
import mmap

import numpy as np
import numpy.typing as npt

_HUGE_PAGE_BYTES = 2 << 20
_REGION_BYTES = 64 << 20
_ALIGNMENT_BYTES = 64


def zeroed_bytes(size: int, *, huge_pages: bool = True) -> npt.NDArray[np.uint8]:
    """Returns zeroed memory, which the operating system supplies page by page as it is first touched.

    Args:
        size: Bytes, may be 0.
        huge_pages: True: large memory may have huge pages. These are three times as fast to touch, and fast to read,
            but one used byte takes a whole page.

    Returns:
        (size,) uint8; the memory lives as long as the array or a view of it.

    Raises:
        MemoryError: the system does not have enough memory.
    """
    if size == 0:
        return np.zeros(0, np.uint8)
    block = _private_map(size)
    if huge_pages and size >= _HUGE_PAGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(block, np.uint8, size)


def ask_for_huge_pages(array: npt.NDArray[np.generic]) -> None:
    """Lets the system use huge pages for the untouched part of an array of `zeroed_array`, if the array is large."""
    owner: object = array
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None) if isinstance(owner, np.ndarray) else getattr(owner, "obj", None)
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_HUGEPAGE"):
        owner.madvise(mmap.MADV_HUGEPAGE)


def _private_map(size: int) -> mmap.mmap:
    # Python's maps are shared with child processes by default, and shared memory gets no huge pages.
    try:
        if hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return mmap.mmap(-1, size)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"there are no {size} bytes of memory") from error
        raise


def zeroed_array(shape: tuple[int, ...], dtype: npt.DTypeLike, *, huge_pages: bool = True) -> npt.NDArray[np.generic]:
    """Returns a zeroed array on a cache-line boundary; see `zeroed_bytes`."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    if size >= _HUGE_PAGE_BYTES:
        return zeroed_bytes(size, huge_pages=huge_pages).view(kind).reshape(shape)
    room = np.zeros(size + _ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT_BYTES
    return room[start : start + size].view(kind).reshape(shape)


class ZeroedRegions:
    """Source of small pieces of zeroed memory, cut from large regions so that they share huge pages."""

    def __init__(self) -> None:
        self._left = zeroed_bytes(0)

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """Returns the next `size` bytes, on a cache-line boundary; they live as long as those of `zeroed_bytes`.

        Raises:
            MemoryError: the system does not have enough memory.
        """
        if size > len(self._left):
            self._left = zeroed_bytes(max(size, _REGION_BYTES))
        piece = self._left[:size]
        self._left = self._left[padded(size, _ALIGNMENT_BYTES) :]
        return piece


def padded(count: int, multiple: int = 16) -> int:
    """Returns `count` rounded up to a multiple of `multiple`."""
    return -(-count // multiple) * multiple


def odd_lines(size: int) -> int:
    """Returns `size` bytes rounded up to an odd number of cache lines.

    Rows of a table that are used together should be this far apart: at a distance of a power of two they would compete
    for the same few places of a cache.
    """
    return _ALIGNMENT_BYTES * (-(-size // _ALIGNMENT_BYTES) | 1)
