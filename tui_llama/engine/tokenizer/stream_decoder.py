"""Decodes tokens to text while they arrive, without ever returning half a character."""

import codecs
from collections.abc import Callable


class StreamDecoder:
    """Decodes pieces of UTF-8 as they arrive.

    Bytes that may still become a character are held back. Bytes that cannot become one become U+FFFD at once: one for
    each run that a decoder of the whole text would replace, so that every way of splitting the bytes gives the same
    text.
    """

    def __init__(self, piece: Callable[[int], bytes]) -> None:
        self._piece = piece
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """Returns the text that is certain after token `token_id`; often empty inside a character."""
        return self._decoder.decode(self._piece(token_id))

    def finish(self) -> str:
        """Returns the bytes held back, as U+FFFD; empty after a whole character. The decoder may be used again."""
        rest = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return rest
