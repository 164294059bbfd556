"""The thinking of a model in the text of an answer: how it gets in when it streams, and out when it is sent back.

Servers send thinking beside the text, under two names. In the text of an answer it stands in front, in the form in
which local models write it: `<think>`, a line feed, the thinking, a line feed, `</think>` and an empty line. So every
reader of answers knows one form, and a chat may change between engines.
"""

from typing import Final

OPENING: Final = "<think>"
CLOSING: Final = "</think>"


class ThinkingText:
    """Joins the pieces of thinking and of text to one text.

    White space at both ends of the thinking is left out, because servers differ in it.

    Args:
        is_open: The answer that goes on is within its thinking.
        has_text: The answer that goes on is in its text.
        is_apart: The server sends thinking beside the text where an answer goes on within it, too. So the first piece
            of text ends the thinking, even if no piece of thinking came before.
    """

    def __init__(self, is_open: bool = False, has_text: bool = False, is_apart: bool = False) -> None:
        self._is_open = is_open
        self._has_text = has_text
        self._was_thinking = is_open and is_apart
        self._held_back = ""  # white space that may turn out to be the end of the thinking

    def add(self, thinking: str, text: str) -> str:
        """Returns what comes to the answer by a piece of thinking and a piece of text, each of them perhaps empty."""
        return self._add_thinking(thinking) + self._add_text(text)

    def finish(self) -> str:
        """Returns what ends the thinking, if the model has ended it without a text."""
        return self._close() if self._was_thinking and self._is_open else ""

    def _add_thinking(self, piece: str) -> str:
        if not piece:
            return ""
        self._was_thinking = True
        opening = ""
        if not self._is_open:
            piece = piece.lstrip()
            if not piece:
                return ""
            opening = ("\n\n" if self._has_text else "") + f"{OPENING}\n"
            self._is_open, self._has_text = True, False
        said = (self._held_back + piece).rstrip()
        self._held_back = (self._held_back + piece)[len(said) :]
        return opening + said

    def _add_text(self, piece: str) -> str:
        if not piece:
            return ""
        if self._is_open and not self._was_thinking:
            return piece  # the server does not tell thinking from text, and the text has the mark that ends it
        if not self._was_thinking or self._has_text:
            self._has_text = True
            return piece
        piece = piece.lstrip("\r\n")
        if not piece:
            return ""
        closing = self._close()
        self._has_text = True
        return closing + piece

    def _close(self) -> str:
        if not self._is_open:
            return ""
        self._is_open, self._held_back = False, ""
        return f"\n{CLOSING}\n\n"


def split_thinking(answer: str) -> tuple[str, str, bool]:
    """Returns the thinking at the start of an answer, the text behind it, and whether the thinking has ended.

    Without thinking the text is the whole answer.
    """
    start = answer.lstrip()
    if not start.startswith(OPENING):
        return "", answer, True
    thinking, end, text = start.removeprefix(OPENING).partition(CLOSING)
    if not end:
        return thinking.strip("\n"), "", False
    return thinking.strip(), text.lstrip("\r\n"), True
