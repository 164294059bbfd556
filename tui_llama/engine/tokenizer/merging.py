"""Byte-pair merging on arrays: passes their addresses to the compiled code (kernels/byte_pair_merge)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tui_llama.engine import ops
from tui_llama.engine.layouts.byte_pair_merge import NO_TOKEN

ByteArray = npt.NDArray[np.uint8]
IdArray = npt.NDArray[np.int32]
IntArray = npt.NDArray[np.int64]


class TextTable:
    """Which token has which text.

    Args:
        pool: The bytes of all texts.
        starts: (tokens,) where in `pool` each begins.
        ends: (tokens,) where it has ended.
    """

    def __init__(self, pool: ByteArray, starts: IntArray, ends: IntArray) -> None:
        self._table = _free_slots(len(starts))
        self._arrays: tuple[npt.NDArray[Any], ...] = (pool, np.ascontiguousarray(starts), np.ascontiguousarray(ends))
        self.arguments = (_address(self._table), len(self._table), *map(_address, self._arrays))
        ops.ENTER_TEXTS(*self.arguments, len(starts))

    def read_merges(self, lines: ByteArray, starts: IntArray, ends: IntArray) -> tuple[IdArray, int]:
        """Cuts merges at the first space that is not their first character, and finds what they speak of.

        Args:
            lines: The bytes of all merges.
            starts: (merges,) where in `lines` each begins.
            ends: (merges,) where it has ended.

        Returns:
            (merges, 3) int32, the ids of both symbols and of what becomes of them, or -1; and the first line that has
            no such space, or their number if all have one.
        """
        found = np.empty((len(starts), 3), np.int32)
        places = (np.ascontiguousarray(starts), np.ascontiguousarray(ends))
        count = ops.READ_MERGES(_address(found), _address(lines), *map(_address, places), len(starts), *self.arguments)
        return found, int(count)


class Merger:
    """Turns words into tokens.

    Args:
        texts: The tokens' texts.
        merges: (merges, 3) int32: two symbols and what becomes of them, by rank; one that is listed twice counts first.
        bytes_as_tokens: (256,) int32, tokens for the bytes of characters without one, or -1; (0,) for no such tokens.
        whole_words: Whether a word that is a token is taken whole, whatever merges say.
    """

    def __init__(self, texts: TextTable, merges: IdArray, bytes_as_tokens: IdArray, whole_words: bool) -> None:
        self._texts = texts
        self._merges = np.ascontiguousarray(merges)
        self._bytes_as_tokens = bytes_as_tokens
        self._whole_words = whole_words
        self._ranks = _free_slots(len(merges))
        ops.ENTER_MERGES(_address(self._ranks), len(self._ranks), _address(self._merges), len(merges))

    def merge(self, words: Sequence[bytes]) -> IdArray:
        """The tokens of UTF-8 words, one word after the other: (tokens,) int32, -1 for a character without one."""
        text = np.frombuffer(b"".join(words), np.uint8)
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        word_ends, longest = np.cumsum(lengths), int(lengths.max(initial=0))
        out = np.empty(len(text), np.int32)
        links, heap = np.empty((longest, 2), np.int32), np.empty(3 * longest, np.int64)
        count = ops.MERGE_WORDS(
            _address(out), _address(text), _address(word_ends), len(words), int(self._whole_words),
            _address(self._bytes_as_tokens), len(self._bytes_as_tokens), _address(self._ranks), len(self._ranks),
            _address(self._merges), *self._texts.arguments, _address(links), _address(heap),
        )  # fmt: skip
        return out[:count]


def _free_slots(count: int) -> IdArray:
    """A hash table for `count` entries that is at most half full."""
    return np.full(1 << max(1, 2 * count - 1).bit_length(), NO_TOKEN, np.int32)


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)
