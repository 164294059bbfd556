"""The bytes of all tokens of a vocabulary in one array, to find the tokens that hold some bytes or end with them."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray


class TokenPieces:
    """Finds tokens by their bytes. A search takes milliseconds, a look at each token a second.

    Args:
        pieces: The bytes of each token, in the order of ids.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._bytes = np.frombuffer(b"".join(pieces), np.uint8)
        self._ends = np.fromiter(accumulate(map(len, pieces)), np.int64, len(pieces))
        self._lengths = np.diff(self._ends, prepend=0)

    def holding(self, wanted: bytes) -> NDArray[np.int64]:
        """Returns the ids of the tokens in which the bytes, at least one, lie; rising."""
        starts = np.arange(len(self._bytes) - len(wanted) + 1)
        for offset, byte in enumerate(wanted):
            starts = starts[self._bytes[starts + offset] == byte]
        token_ids = np.searchsorted(self._ends, starts, side="right")
        return np.unique(token_ids[starts + len(wanted) <= self._ends[token_ids]])

    def ending_with(self, wanted: bytes) -> NDArray[np.int64]:
        """Returns the ids of the tokens that end with the bytes; rising."""
        token_ids = np.flatnonzero(self._lengths >= len(wanted))
        for offset, byte in enumerate(reversed(wanted), 1):
            token_ids = token_ids[self._bytes[self._ends[token_ids] - offset] == byte]
        return token_ids
