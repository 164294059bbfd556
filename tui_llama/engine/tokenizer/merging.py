"""Byte-pair merging on arrays: calls the compiled code of kernels/byte_pair_merge.py with their addresses."""

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
    """Table that finds a token by its text.

    Args:
        pool: The bytes of all texts.
        starts: (tokens,) where each text begins in `pool`.
        ends: (tokens,) where each text ends.
    """

    def __init__(self, pool: ByteArray, starts: IntArray, ends: IntArray) -> None:
        self._table = _free_slots(len(starts))
        self._arrays: tuple[npt.NDArray[Any], ...] = (pool, np.ascontiguousarray(starts), np.ascontiguousarray(ends))
        self.arguments = (_address(self._table), len(self._table), *map(_address, self._arrays))
        ops.ENTER_TEXTS(*self.arguments, len(starts))

    def read_merges(self, lines: ByteArray, starts: IntArray, ends: IntArray) -> tuple[IdArray, int]:
        """Splits merges at the first space that is not their first character, and looks up the tokens that they name.

        Args:
            lines: The bytes of all merges.
            starts: (merges,) where each merge begins in `lines`.
            ends: (merges,) where each merge ends.

        Returns:
            (merges, 3) int32, the ids of both symbols and of the merged symbol, or -1; and the number of the first line
            without such a space, or the number of lines if all have one.
        """
        found = np.empty((len(starts), 3), np.int32)
        places = (np.ascontiguousarray(starts), np.ascontiguousarray(ends))
        count = ops.READ_MERGES(_address(found), _address(lines), *map(_address, places), len(starts), *self.arguments)
        return found, int(count)


class Merger:
    """Turns words into tokens.

    Args:
        texts: The tokens' texts.
        merges: (merges, 3) int32, two symbols and the merged symbol, by rank; of a pair that is listed twice, the first
            counts.
        bytes_as_tokens: (256,) int32, tokens for the bytes of characters without a token, or -1; (0,) for no such
            tokens.
        whole_words: True: a word that is a token stays whole, even if no merges lead to it.
    """

    def __init__(self, texts: TextTable, merges: IdArray, bytes_as_tokens: IdArray, whole_words: bool) -> None:
        self._texts = texts
        self._merges = np.ascontiguousarray(merges)
        self._bytes_as_tokens = bytes_as_tokens
        self._whole_words = whole_words
        self._ranks = _free_slots(len(merges))
        ops.ENTER_MERGES(_address(self._ranks), len(self._ranks), _address(self._merges), len(merges))

    def merge(self, words: Sequence[bytes]) -> IdArray:
        """Merges UTF-8 words; returns their tokens in order, (tokens,) int32, -1 for a character without a token."""
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
    """Makes a hash table for `count` entries that is at most half full."""
    return np.full(1 << max(1, 2 * count - 1).bit_length(), NO_TOKEN, np.int32)


def _address(array: npt.NDArray[Any]) -> int:
    return int(array.ctypes.data)
