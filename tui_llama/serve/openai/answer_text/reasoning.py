"""Parts the thinking at the start of an answer from what follows it, however the stream is cut."""

from enum import Enum, auto
from typing import Final, NamedTuple

from tui_llama.serve.openai.answer_text.held_text import blank_length, possible_length

OPENING_MARK: Final = "<think>"
CLOSING_MARK: Final = "</think>"


class PartedText(NamedTuple):
    """The next text of the thinking, and the next text of the answer."""

    reasoning: str = ""
    content: str = ""


class _State(Enum):
    BEFORE = auto()
    BEGINS = auto()
    THINKS = auto()
    BETWEEN = auto()
    ANSWERS = auto()


class ReasoningSplitter:
    """Parts an answer into thinking and content. The marks, and the blanks beside them, belong to neither.

    Only thinking at the start counts; the marks are text anywhere else. Thinking that never ends stays thinking.

    Args:
        is_open: The prompt ends with the opening mark, so that the answer begins with a thought.
    """

    def __init__(self, is_open: bool = False) -> None:
        self._is_open = is_open
        self._state = _State.BEFORE
        self._waiting = ""
        self._known_length = 0

    def continue_after(self, text: str) -> None:
        """Takes the beginning of the answer, which the client has; only what follows is returned later."""
        self.push(text)
        self._known_length = len(self._waiting)

    def push(self, text: str) -> PartedText:
        """Takes the next text; returns what is certain."""
        self._waiting += text
        return self._parted(is_last=False)

    def finish(self) -> PartedText:
        """Returns what was held back, when no more will come."""
        return self._parted(is_last=True)

    def _parted(self, *, is_last: bool) -> PartedText:
        reasoning = content = ""
        if self._state is _State.BEFORE:
            self._look_for_mark(is_last)
        if self._state is _State.BEGINS:
            self._drop_blanks(_State.THINKS)
        if self._state is _State.THINKS:
            reasoning += self._thought(is_last)
        if self._state is _State.BETWEEN:
            self._drop_blanks(_State.ANSWERS)
        if self._state is _State.ANSWERS:
            content += self._released(len(self._waiting))
        return PartedText(reasoning, content)

    def _look_for_mark(self, is_last: bool) -> None:
        begun = self._waiting.lstrip()
        if begun.startswith(OPENING_MARK):
            self._waiting, self._known_length = begun.removeprefix(OPENING_MARK), 0
            self._state = _State.BEGINS
        elif is_last or not OPENING_MARK.startswith(begun):
            self._state = _State.BEGINS if self._is_open else _State.ANSWERS

    def _thought(self, is_last: bool) -> str:
        end = self._waiting.find(CLOSING_MARK)
        if end >= 0:
            thought = self._released(end).rstrip()
            self._waiting = self._waiting.removeprefix(CLOSING_MARK)
            self._state, self._known_length = _State.BETWEEN, 0
            return thought
        if is_last:
            return self._released(len(self._waiting))
        certain = len(self._waiting) - possible_length(self._waiting, (CLOSING_MARK,))
        return self._released(certain - blank_length(self._waiting[:certain]))

    def _drop_blanks(self, following: _State) -> None:
        begun = self._waiting.lstrip()
        self._known_length = max(0, self._known_length - (len(self._waiting) - len(begun)))
        self._waiting = begun
        if begun:
            self._state = following

    def _released(self, length: int) -> str:
        """Takes so many characters from what waits; returns those of them that the client does not have."""
        released, self._waiting = self._waiting[:length], self._waiting[length:]
        known = min(self._known_length, length)
        self._known_length -= known
        return released[known:]
