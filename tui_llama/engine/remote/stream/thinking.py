"""The thought of a model in an answer as it streams, and in answers that are sent back.

Servers send a thought beside the text, under two names, or in front of the text between `<think>` and `</think>`. Both
become a thought beside the text. Answers that an older version of this program has kept have it in their text.
"""

from enum import Enum, auto
from typing import Final, NamedTuple

OPENING: Final = "<think>"
CLOSING: Final = "</think>"
_BEHIND: Final = f"\n{CLOSING}\n\n"
_MOST_BLANKS: Final = 256  # white space before the text that is waited for a mark


class Parts(NamedTuple):
    """The next part of the thought, and the next part of the text behind it."""

    thought: str = ""
    text: str = ""


class _State(Enum):
    BEFORE = auto()
    IN_MARKS = auto()
    APART = auto()  # thinks beside the text, or has ended its thought and has no text yet
    ANSWERS = auto()


class ThinkingText:
    """Parts the thought and the text of one answer, however their pieces are cut.

    White space at both ends of a thought is left out, because servers differ in it. Marks in the text count only at its
    start, and only if no thought came beside it.

    Args:
        is_open: The answer that goes on is within its thought.
        has_text: The answer that goes on is in its text.
        is_apart: The server sends a thought beside the text where an answer goes on within it, too. So the first piece
            of text ends the thought, even if no piece of it came before.
        keeps_marks: The answer that goes on has its thought in its text, in marks; so has what is added.
    """

    def __init__(
        self, is_open: bool = False, has_text: bool = False, is_apart: bool = False, keeps_marks: bool = False
    ) -> None:
        if is_open:
            self._state = _State.APART if is_apart else _State.IN_MARKS
        else:
            self._state = _State.ANSWERS if has_text else _State.BEFORE
        self._has_thought, self._has_text = is_open, has_text
        self._begins = False  # the first letter of a thought is still to come
        self._held_back = ""  # may turn out to be a mark, or white space at the end of the thought
        self._keeps_marks = keeps_marks

    def add(self, thinking: str, text: str) -> Parts:
        """Returns what a piece of thinking and a piece of text add, each of them perhaps empty."""
        beside, behind = self._add_thinking(thinking), self._add_text(text)
        parts = Parts(beside.thought + behind.thought, beside.text + behind.text)
        return self._marked(parts) if self._keeps_marks else parts

    def finish(self, can_go_on: bool = False) -> Parts:
        """Returns what was held back, when no more will come; `can_go_on`: the answer was cut."""
        held, self._held_back = self._held_back, ""
        text = held if self._state is _State.BEFORE else ""
        thought = held.rstrip() if self._state is _State.IN_MARKS else ""
        if not self._keeps_marks:
            return Parts(thought, text)
        is_closed = can_go_on or self._state is not _State.APART
        return Parts("", thought + text + ("" if is_closed else _BEHIND))

    def _marked(self, parts: Parts) -> Parts:
        """Returns what is added to a thought in the text; the text behind it has the closing mark before it."""
        closing = _BEHIND if parts.text else ""
        self._keeps_marks = not parts.text
        return Parts("", parts.thought + closing + parts.text)

    def _add_thinking(self, piece: str) -> Parts:
        if not piece or (self._state is _State.ANSWERS and not piece.strip()):
            return Parts()
        text = ""
        if self._state is not _State.APART:
            if self._state is _State.BEFORE and self._held_back.strip():
                text, self._has_text = self._held_back, True
            if self._state is not _State.IN_MARKS:
                self._held_back, self._begins = "", True
            self._state = _State.APART
        return Parts(self._thought(piece), text)

    def _add_text(self, piece: str) -> Parts:
        if not piece:
            return Parts()
        if self._state is _State.BEFORE:
            return self._before(piece)
        if self._state is _State.IN_MARKS:
            return self._in_marks(piece)
        if self._state is _State.APART:
            piece = piece.lstrip("\r\n")
            if not piece:
                return Parts()
            self._state, self._held_back = _State.ANSWERS, ""
            piece = f"\n\n{piece}" if self._has_text else piece
        self._has_text = True
        return Parts(text=piece)

    def _before(self, piece: str) -> Parts:
        """Looks for the mark at the start of the text."""
        waiting = self._held_back + piece
        start = waiting.lstrip()
        may_be_mark = len(waiting) - len(start) <= _MOST_BLANKS
        if may_be_mark and OPENING.startswith(start):
            self._held_back = waiting
            return Parts()
        self._held_back = ""
        if may_be_mark and start.startswith(OPENING):
            self._state, self._begins = _State.IN_MARKS, True
            return self._add_text(start.removeprefix(OPENING))
        self._state, self._has_text = _State.ANSWERS, True
        return Parts(text=waiting)

    def _in_marks(self, piece: str) -> Parts:
        """Looks for the mark that ends the thought."""
        thought, closing, rest = (self._held_back + piece).partition(CLOSING)
        self._held_back = ""
        if closing:
            said = self._thought(thought)
            self._state, self._held_back, self._begins = _State.APART, "", True
            return Parts(said, self._add_text(rest).text)
        certain = len(thought) - _possible_length(thought)
        said = self._thought(thought[:certain])
        self._held_back += thought[certain:]
        return Parts(said)

    def _thought(self, piece: str) -> str:
        """Returns what a piece adds to the thought, and holds back white space that may be its end."""
        waiting = self._held_back + piece
        if self._begins:
            waiting = waiting.lstrip()
        said = waiting.rstrip()
        self._held_back = waiting[len(said) :]
        is_another = bool(said) and self._begins and self._has_thought
        self._begins = self._begins and not said
        self._has_thought = self._has_thought or bool(said)
        return f"\n\n{said}" if is_another else said


def _possible_length(text: str) -> int:
    """Returns how many characters at the end may be the beginning of the closing mark."""
    lengths = range(min(len(CLOSING) - 1, len(text)), 0, -1)
    return next((length for length in lengths if CLOSING.startswith(text[-length:])), 0)


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
