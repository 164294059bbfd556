"""Parts an answer into the thought before it and its text, while its tokens arrive and however they are cut.

A mark that is one token of the vocabulary counts only as that token: the same letters, token by token, are text. So
each such token is one character here, which no text can have. Marks without a token of their own are found as text.
"""

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Final, NamedTuple

from tui_llama.engine.templates.thinking.forms import (
    HARMONY_CHANNEL,
    HARMONY_END,
    HARMONY_MESSAGE,
    HARMONY_START,
    HARMONY_THOUGHT,
    ThoughtForm,
)
from tui_llama.engine.tokenizer.tokenizer import Tokenizer

_FIRST_STAND_IN: Final = 0xDC00  # half a surrogate pair, which decoding never gives
_MOST_MARK_TOKENS: Final = 64
_CHANNEL_MARKS: Final = (HARMONY_CHANNEL, HARMONY_MESSAGE, HARMONY_START, HARMONY_END)


class Parts(NamedTuple):
    """The next part of the thought, and the next part of the text behind it."""

    thought: str = ""
    text: str = ""


class MarkedTokens:
    """The tokens that are marks of thoughts, and the characters that stand for them.

    Args:
        tokenizer: The model's.
        form: How the model writes thoughts.
    """

    def __init__(self, tokenizer: Tokenizer, form: ThoughtForm) -> None:
        marks = _CHANNEL_MARKS if form.has_channels else (form.opening, form.closing)
        spans = [(mark, mark[slice(*span)]) for mark in marks for span in tokenizer.special_spans(mark)]
        names = dict.fromkeys(name for _mark, name in spans)
        found = {name: token_id for name in names if (token_id := tokenizer.token_id(name)) is not None}
        self._stand_ins = {name: chr(_FIRST_STAND_IN + number) for number, name in enumerate(found)}
        self._of_token = {token_id: self._stand_ins[name] for name, token_id in found.items()}
        self._shown = {
            ord(self._stand_ins[name]): tokenizer.piece(token_id).decode(errors="replace")
            for name, token_id in found.items()
        }

    @property
    def shown(self) -> Mapping[int, str]:
        """What each stand-in is as text, for `str.translate`; nothing for the control tokens."""
        return self._shown

    def stand_in(self, token_id: int) -> str:
        """Returns the character for a token; "" if it is no mark."""
        return self._of_token.get(token_id, "")

    def written(self, mark: str) -> str:
        """Returns a mark with the stand-ins of its tokens."""
        for name, stand_in in self._stand_ins.items():
            mark = mark.replace(name, stand_in)
        return mark


def opened_parter(tokenizer: Tokenizer, form: ThoughtForm, prompt_ids: Sequence[int]) -> "ThoughtParter":
    """Returns what parts the answer to a prompt of these tokens."""
    marks = MarkedTokens(tokenizer, form)
    pieces = (
        marks.stand_in(token_id) or tokenizer.piece(token_id, special=True).decode(errors="replace")
        for token_id in prompt_ids[-_MOST_MARK_TOKENS:]
    )
    return ThoughtParter(form, marks, "".join(pieces))


class _State(Enum):
    BEFORE = auto()
    HEADER = auto()
    BEGINS = auto()
    THINKS = auto()
    BETWEEN = auto()
    ANSWERS = auto()


class ThoughtParter:
    """Parts the text of one answer. The marks, and the blanks beside them, belong to neither part.

    Only a thought at the start counts, but where an answer has channels: there each part has a header.

    Args:
        form: How the model writes thoughts.
        marks: The characters that stand for its marks.
        prompt_end: The end of the prompt, with stand-ins; it may have opened a thought.

    Attributes:
        marks: As above.
    """

    def __init__(self, form: ThoughtForm, marks: MarkedTokens, prompt_end: str = "") -> None:
        self.marks = marks
        self._has_channels = form.has_channels
        self._opening, self._closing = marks.written(form.opening), marks.written(form.closing)
        self._channel, self._message, self._start, self._end = map(marks.written, _CHANNEL_MARKS)
        self._waiting = ""
        self._state = self._state_after(prompt_end)
        self._written: set[_State] = set()  # kinds of parts that are not empty
        self._begun: _State | None = None  # the kind of the part that is being written

    @property
    def is_thinking(self) -> bool:
        """True within a thought, as far as that is certain."""
        return self._state in (_State.BEGINS, _State.THINKS)

    @property
    def is_before_text(self) -> bool:
        """True while all that came is a thought, a mark or a header, or may be one."""
        return self._state in (_State.BEFORE, _State.HEADER, _State.BEGINS, _State.THINKS)

    def push(self, text: str) -> Parts:
        """Takes the next text, with stand-ins; returns what is certain."""
        self._waiting += text
        return self._parted(is_last=False)

    def finish(self) -> Parts:
        """Returns what was held back, when no more will come."""
        return self._parted(is_last=True)

    def _state_after(self, prompt_end: str) -> _State:
        if not self._has_channels:
            return _State.BEGINS if prompt_end.rstrip().endswith(self._opening) else _State.BEFORE
        header, is_whole, _ = prompt_end.rpartition(self._start)[2].partition(self._message)
        if is_whole:
            return _State.BEGINS if HARMONY_THOUGHT in header else _State.ANSWERS
        return _State.BEFORE

    def _parted(self, *, is_last: bool) -> Parts:
        thought = text = ""
        state = None
        while state is not self._state:
            state = self._state
            if state is _State.BEFORE:
                self._look_for_mark(is_last)
            elif state is _State.HEADER:
                self._read_header(is_last)
            elif state in (_State.BEGINS, _State.BETWEEN):
                self._drop_blanks()
            elif state is _State.THINKS:
                thought += self._joined(state, self._thought(is_last))
            else:
                text += self._joined(state, self._text(is_last))
        return Parts(thought, text)

    def _look_for_mark(self, is_last: bool) -> None:
        begun = self._waiting.lstrip()
        if self._has_channels:
            openings: tuple[str, ...] = (self._channel, self._start)
        else:
            openings = (self._opening,)
        found = next((mark for mark in openings if begun.startswith(mark)), None)
        if found is not None:
            self._waiting = begun if self._has_channels else begun.removeprefix(found)
            self._state = _State.HEADER if self._has_channels else _State.BEGINS
        elif is_last or not any(mark.startswith(begun) for mark in openings):
            self._state = _State.ANSWERS

    def _read_header(self, is_last: bool) -> None:
        """Reads the header of a channel: it tells whether a thought or text follows."""
        header, is_whole, rest = self._waiting.partition(self._message)
        if is_whole:
            self._waiting = rest
            self._state = _State.BEGINS if HARMONY_THOUGHT in header else _State.BETWEEN
        elif is_last:
            self._waiting = ""

    def _drop_blanks(self) -> None:
        self._waiting = self._waiting.lstrip()
        if self._waiting:
            self._state = _State.THINKS if self._state is _State.BEGINS else _State.ANSWERS

    def _thought(self, is_last: bool) -> str:
        found = self._find_end(self._closing)
        if found is not None:
            thought = self._waiting[: found[0]].rstrip()
            self._waiting = self._waiting[found[1] :]
            self._state = _State.HEADER if self._has_channels else _State.BETWEEN
            return thought
        certain = len(self._waiting) - (0 if is_last else self._possible_length(self._closing))
        thought = self._waiting[:certain].rstrip()
        self._waiting = "" if is_last else self._waiting[len(thought) :]
        return thought

    def _text(self, is_last: bool) -> str:
        if self._has_channels and (found := self._find_end(self._end)) is not None:
            text, self._waiting = self._waiting[: found[0]], self._waiting[found[1] :]
            self._state = _State.HEADER
            return text
        held = self._possible_length(self._end) if self._has_channels and not is_last else 0
        certain = len(self._waiting) - held
        text, self._waiting = self._waiting[:certain], self._waiting[certain:]
        return text

    def _find_end(self, mark: str) -> tuple[int, int] | None:
        """Returns where the mark begins and ends; where there are channels, the header of another one ends a part."""
        place = self._waiting.find(mark)
        found = [(place, place + len(mark))] if place >= 0 else []
        if self._has_channels:
            found += [(at, at) for other in (self._start, self._channel) if (at := self._waiting.find(other)) >= 0]
        return min(found, default=None)

    def _possible_length(self, mark: str) -> int:
        """Returns how many characters at the end may be the beginning of a mark."""
        marks = (mark, self._start, self._channel) if self._has_channels else (mark,)
        longest = min(max(map(len, marks)) - 1, len(self._waiting))
        for length in range(longest, 0, -1):
            if any(each.startswith(self._waiting[-length:]) for each in marks):
                return length
        return 0

    def _joined(self, kind: _State, text: str) -> str:
        """Returns a text as it is shown; an empty line parts it from an earlier part of its kind."""
        shown = text.translate(self.marks.shown) if text else ""
        if not shown:
            return ""
        is_another = self._begun is not kind and kind in self._written
        self._written.add(kind)
        self._begun = kind
        return f"\n\n{shown}" if is_another else shown
