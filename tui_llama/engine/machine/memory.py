"""Large blocks of zeroed memory for arrays that compiled code reads by address."""

import errno
import mmap

import numpy as np
import numpy.typing as npt

_HUGE_PAGE_BYTES = 2 << 20
_REGION_BYTES = 64 << 20
_ALIGNMENT_BYTES = 64


def zeroed_bytes(size: int, *, huge_pages: bool = True) -> npt.NDArray[np.uint8]:
    """Zeroed memory from the operating system, page by page as it is first touched.

    Args:
        size: Bytes, may be 0.
        huge_pages: Whether the pages of large memory may be huge: three times as fast to touch, and fast to read, but
            all of a page is taken as soon as one byte of it is used.

    Returns:
        (size,) uint8; the memory lives as long as the array or a view of it.

    Raises:
        MemoryError: the system has not so much.
    """
    if size == 0:
        return np.zeros(0, np.uint8)
    block = _private_map(size)
    if huge_pages and size >= _HUGE_PAGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(block, np.uint8, size)


def ask_for_huge_pages(array: npt.NDArray[np.generic]) -> None:
    """Lets the system use huge pages for what is not touched yet of an array of `zeroed_array`, if that is large."""
    owner: object = array
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None) if isinstance(owner, np.ndarray) else getattr(owner, "obj", None)
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_HUGEPAGE"):
        owner.madvise(mmap.MADV_HUGEPAGE)


def _private_map(size: int) -> mmap.mmap:
    # Python's maps are shared with child processes unless told otherwise, and shared memory has no huge pages.
    try:
        if hasattr(mmap, "MAP_PRIVATE"):
            return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return mmap.mmap(-1, size)
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(f"there are no {size} bytes of memory") from error
        raise


def zeroed_array(shape: tuple[int, ...], dtype: npt.DTypeLike, *, huge_pages: bool = True) -> npt.NDArray[np.generic]:
    """A zeroed array on a cache-line boundary; see `zeroed_bytes`."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    if size >= _HUGE_PAGE_BYTES:
        return zeroed_bytes(size, huge_pages=huge_pages).view(kind).reshape(shape)
    room = np.zeros(size + _ALIGNMENT_BYTES, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT_BYTES
    return room[start : start + size].view(kind).reshape(shape)


class ZeroedRegions:
    """Hands out zeroed memory, piece after piece of large regions, so that small pieces share huge pages."""

    def __init__(self) -> None:
        self._left = zeroed_bytes(0)

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """The next `size` bytes, on a cache-line boundary; they live as `zeroed_bytes`.

        Raises:
            MemoryError: the system has not so much.
        """
        if size > len(self._left):
            self._left = zeroed_bytes(max(size, _REGION_BYTES))
        piece = self._left[:size]
        self._left = self._left[padded(size, _ALIGNMENT_BYTES) :]
        return piece


def padded(count: int, multiple: int = 16) -> int:
    """`count` rounded up to a multiple."""
    return -(-count // multiple) * multiple


def odd_lines(size: int) -> int:
    """`size` bytes rounded up to an odd number of cache lines.

    That far apart rows of a table should lie that are used together: an even power of two apart they would compete for
    the same few places of a cache.
    """
    return _ALIGNMENT_BYTES * (-(-size // _ALIGNMENT_BYTES) | 1)
