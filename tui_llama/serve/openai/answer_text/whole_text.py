"""Writes a thought into the text of an answer, for clients that ask for both in one: `<think>`, thought, `</think>`."""

from typing import Final

_OPENING: Final = "<think>\n"
_CLOSING: Final = "\n</think>\n\n"


class WholeText:
    """The text of one answer with the thought before it.

    Args:
        is_open: The answer goes on within its thought, which the client has opened.
    """

    def __init__(self, is_open: bool = False) -> None:
        self._is_open = is_open

    def push(self, thought: str, text: str) -> str:
        """Returns what the next thought and the next text, each of them perhaps empty, add to the answer."""
        written = ""
        if thought:
            written += thought if self._is_open else _OPENING + thought
            self._is_open = True
        if text:
            written += _CLOSING + text if self._is_open else text
            self._is_open = False
        return written
