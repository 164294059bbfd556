"""Parts the tool calls in an answer from its text, however the stream is cut.

A call is held back until it is whole. What looks like a call and never becomes one stays text. The formats of the
families of models are in `tool_formats`.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from tui_llama.serve.openai.answer_text.held_text import blank_length, possible_length
from tui_llama.serve.openai.answer_text.tool_formats import INCOMPLETE, ReadCalls, ToolCall, ToolFormat


class NumberedCall(msgspec.Struct, frozen=True):
    """A call of a tool: its place among those of the answer, from 0, and its id."""

    index: int
    call_id: str
    name: str
    arguments: str


AnswerPart: TypeAlias = str | NumberedCall

_NO_MARK: Final = ""


class ToolCallParser:
    """Parts an answer into text and calls. Blanks beside calls belong to neither.

    Args:
        tool_format: How the model writes calls.
        new_id: Returns the id of a call that has none, for each call another one.
    """

    def __init__(self, tool_format: ToolFormat, new_id: Callable[[], str]) -> None:
        self._format = tool_format
        self._new_id = new_id
        self._waiting = ""
        self._opened = _NO_MARK
        self._may_be_bare = True
        self.call_count = 0

    def push(self, text: str) -> list[AnswerPart]:
        """Takes the next text; returns what is certain."""
        self._waiting += text
        return self._parts(is_last=False)

    def finish(self) -> list[AnswerPart]:
        """Returns what was held back, when no more will come."""
        return self._parts(is_last=True)

    def _parts(self, *, is_last: bool) -> list[AnswerPart]:
        parts: list[AnswerPart] = []
        goes_on = True
        while goes_on:
            if self._opened:
                goes_on = self._after_mark(parts, is_last)
            elif self._may_be_bare:
                goes_on = self._where_bare(parts, is_last)
            else:
                goes_on = self._in_text(parts, is_last)
        return parts

    def _after_mark(self, parts: list[AnswerPart], is_last: bool) -> bool:
        """Reads what follows an opening mark; returns whether there is more to look at."""
        read = self._format.read(self._waiting)
        if read is INCOMPLETE:
            if not is_last:
                return False
            read = self._format.read(self._waiting + self._format.closing_mark)
        if isinstance(read, ReadCalls):
            self._take(parts, read, self._waiting)
        else:
            _add_text(parts, self._opened)
            self._may_be_bare = False
        self._opened = _NO_MARK
        return True

    def _where_bare(self, parts: list[AnswerPart], is_last: bool) -> bool:
        """Looks for a call without a mark at the start of the answer or behind another call."""
        begun = self._waiting.lstrip()
        read = self._format.read_bare(begun) if begun else INCOMPLETE
        if read is INCOMPLETE and not is_last:
            return False
        if isinstance(read, ReadCalls):
            self._take(parts, read, begun)
            return True
        if self.call_count:  # the blanks behind a call
            self._waiting = begun
        self._may_be_bare = False
        return bool(self._waiting)

    def _in_text(self, parts: list[AnswerPart], is_last: bool) -> bool:
        """Lets text through up to the next opening mark; returns whether one was found."""
        found = [(place, mark) for mark in self._format.marks if (place := self._waiting.find(mark)) >= 0]
        if found:
            place, mark = min(found)
            before = self._waiting[:place]
            shown = before.rstrip()
            _add_text(parts, shown)
            self._opened = before[len(shown) :] + mark
            self._waiting = self._waiting[place + len(mark) :]
            return True
        certain = len(self._waiting)
        if not is_last:
            certain -= possible_length(self._waiting, self._format.marks)
            certain -= blank_length(self._waiting[:certain])
        _add_text(parts, self._waiting[:certain])
        self._waiting = self._waiting[certain:]
        return False

    def _take(self, parts: list[AnswerPart], read: ReadCalls, text: str) -> None:
        for call in read.calls:
            parts.append(self._numbered(call))
            self.call_count += 1
        self._waiting = text[read.length :]
        self._may_be_bare = True

    def _numbered(self, call: ToolCall) -> NumberedCall:
        return NumberedCall(self.call_count, call.call_id or self._new_id(), call.name, call.arguments)


def _add_text(parts: list[AnswerPart], text: str) -> None:
    if text and parts and isinstance(parts[-1], str):
        parts[-1] += text
    elif text:
        parts.append(text)
