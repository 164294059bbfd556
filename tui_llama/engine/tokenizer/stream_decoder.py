"""Turns tokens into text while they arrive, without ever showing half a character."""

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Decodes pieces of UTF-8 as they come.

    Bytes that may still become a character are held back. Bytes that cannot become one, whatever follows, are
    U+FFFD at once: one for each run that a decoder of the whole text would replace, so that every way of
    cutting the bytes gives the same text.
    """

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """The text that is certain after token `token_id`; often empty inside of a character."""
        return self._decoder.decode(self._piece(token_id))

    def finish(self) -> str:
        """What was held back, as U+FFFD; empty after a whole character. The decoder may be used anew."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
