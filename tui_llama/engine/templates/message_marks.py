"""Finds again, in what a chat template has written, which parts the user wrote and where answers begin.

Characters that no text has and no template looks for are put around the texts; what is written with them is compared
with what is written without.
"""

import re
from dataclasses import dataclass

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.tokenizer.tokenizer import Span

# Noncharacters: no text has them, no template looks for them.
_USER_TEXT_BEGINS, _USER_TEXT_ENDS, _ANSWER_BEGINS = "\ufdd0", "\ufdd1", "\ufdd2"
_MARKS = re.compile(f"([{_USER_TEXT_BEGINS}{_USER_TEXT_ENDS}{_ANSWER_BEGINS}])")


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A rendered text without its marks, and where they were in it."""

    text: str
    user_spans: tuple[Span, ...]
    answers: tuple[int, ...]


def marked(message: ChatMessage, marks_answers: bool) -> ChatMessage:
    """The same with marks around the user's text, inside of the white space that templates take away.

    Of an answer, which templates may look into, the beginning is marked, and only if that is asked for.
    """
    text = message.text
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if start >= end:
        return message
    if message.role is Role.USER:
        text = f"{text[:start]}{_USER_TEXT_BEGINS}{text[start:end]}{_USER_TEXT_ENDS}{text[end:]}"
    elif message.role is Role.ASSISTANT and marks_answers:
        text = f"{text[:start]}{_ANSWER_BEGINS}{text[start:]}"
    return ChatMessage(message.role, text)


def take_out_marks(text: str) -> MarkedText:
    """The text that a template has written of marked messages, and where the marks are."""
    plain: list[str] = []
    user_spans: list[Span] = []
    answers: list[int] = []
    begins: int | None = None
    length = 0
    for part in _MARKS.split(text):
        if part == _USER_TEXT_BEGINS:
            begins = length
        elif part == _USER_TEXT_ENDS and begins is not None:
            user_spans.append((begins, length))
            begins = None
        elif part == _ANSWER_BEGINS:
            answers.append(length)
        elif part != _USER_TEXT_ENDS:
            plain.append(part)
            length += len(part)
    return MarkedText("".join(plain), tuple(user_spans), tuple(answers))


def space_before(text: str, place: int) -> Span:
    """The white space that ends at `place`."""
    start = place
    while start and text[start - 1].isspace():
        start -= 1
    return start, place
