"""Finds, in the output of a chat template, which parts others than the model wrote and where answers begin.

Marks are put around the texts: characters that no template looks for, and that the given texts lose before. The output
with marks is then compared with the output without.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import msgspec

from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.tokenizer.tokenizer import Span

# Noncharacters: no template looks for them, and `without_marks` takes them out of the texts that are given.
_USER_TEXT_BEGINS, _USER_TEXT_ENDS, _ANSWER_BEGINS = "\ufdd0", "\ufdd1", "\ufdd2"
_MARKS = re.compile(f"([{_USER_TEXT_BEGINS}{_USER_TEXT_ENDS}{_ANSWER_BEGINS}])")
_REPLACEMENT = "\ufffd"
_OTHERS = (Role.USER, Role.TOOL)


@dataclass(frozen=True, slots=True)
class MarkedText:
    """A rendered text without its marks, and the places of the marks."""

    text: str
    user_spans: tuple[Span, ...]
    answers: tuple[int, ...]


def without_marks(text: str) -> str:
    """Returns the text with U+FFFD for each of the marks, so that nobody but this module can set one."""
    return _MARKS.sub(_REPLACEMENT, text)


def marked(message: ChatMessage, marks_answers: bool) -> ChatMessage:
    """Returns the message with marks around the user's or a tool's text, inside the white space that templates remove.

    For an answer, only its beginning is marked, because templates may look into answers, and only with `marks_answers`.
    """
    text = message.text
    start, end = len(text) - len(text.lstrip()), len(text.rstrip())
    if start >= end:
        return message
    if message.role in _OTHERS:
        text = f"{text[:start]}{_USER_TEXT_BEGINS}{text[start:end]}{_USER_TEXT_ENDS}{text[end:]}"
    elif message.role is Role.ASSISTANT and marks_answers:
        text = f"{text[:start]}{_ANSWER_BEGINS}{text[start:]}"
    return msgspec.structs.replace(message, text=text)


def with_marked_names(
    messages: Iterable[ChatMessage], control_spans: Callable[[str], Sequence[Span]]
) -> list[ChatMessage] | None:
    """Returns the messages with marks only around the names of control tokens in users' and tools' texts.

    None if these texts have no such names.
    """
    messages = [*messages]
    mark = marking((each.text for each in messages if each.role in _OTHERS), control_spans)
    if mark is None:
        return None
    return [msgspec.structs.replace(each, text=mark(each.text)) if each.role in _OTHERS else each for each in messages]


def marking(texts: Iterable[str], control_spans: Callable[[str], Sequence[Span]]) -> Callable[[str], str] | None:
    """Returns what puts marks around the names of control tokens in texts; None if the texts have none.

    Only those are marked, because templates look into the other texts: which type a parameter has, for example.

    Args:
        texts: All that may be marked.
        control_spans: Returns where the names of control tokens are in a text.
    """
    distinct = set(texts)
    if not control_spans("\0".join(distinct)):  # at once, because there may be thousands of control tokens
        return None
    marked_texts = {text: _with_marks(text, spans) for text in distinct if (spans := control_spans(text))}
    return (lambda text: marked_texts.get(text, text)) if marked_texts else None


def _with_marks(text: str, spans: Sequence[Span]) -> str:
    pieces, place = [], 0
    for start, end in spans:
        pieces += [text[place:start], _USER_TEXT_BEGINS, text[start:end], _USER_TEXT_ENDS]
        place = end
    return "".join([*pieces, text[place:]])


def take_out_marks(text: str) -> MarkedText:
    """Removes the marks from a rendered text, and returns the text with the places of the marks."""
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
    """Returns the white space that ends at `place`."""
    start = place
    while start and text[start - 1].isspace():
        start -= 1
    return start, place
