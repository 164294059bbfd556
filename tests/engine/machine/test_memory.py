"""Memory for compiled code: zeroed, aligned, apart from each other, and refused as memory where there is not enough."""

import numpy as np
import pytest

from tui_llama.engine.machine.memory import ZeroedRegions, zeroed_bytes


@pytest.mark.parametrize("huge_pages", [True, False])
@pytest.mark.parametrize("size", [0, 1, (4 << 20) + 1])
def test_memory_is_zeroed_and_writable(size: int, huge_pages: bool) -> None:
    block = zeroed_bytes(size, huge_pages=huge_pages)
    assert block.shape == (size,) and not block.any()
    block[:] = 1


def test_pieces_of_regions_are_aligned_and_apart() -> None:
    regions = ZeroedRegions()
    pieces = [regions.take(size) for size in (1, 100, 0, 65 << 20, 64, 7)]
    for number, piece in enumerate(pieces, 1):
        piece[:] = number
    assert [piece.size for piece in pieces] == [1, 100, 0, 65 << 20, 64, 7]
    assert all(piece.ctypes.data % 64 == 0 for piece in pieces if piece.size)
    assert all(np.all(piece == number) for number, piece in enumerate(pieces, 1))


def test_too_much_memory_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        zeroed_bytes(1 << 60)
