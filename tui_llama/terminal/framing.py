"""Cuts what a terminal sends into keys, sequences and pastes. Knows no bytes' source, no clock and no Textual.

Nothing that arrives is trusted: not its encoding, not its grammar, not that what begins also ends.

    bytes that are no UTF-8     U+FFFD, as Python's decoder has it
    a bracketed paste           one `Pasted`, whatever is in it: escape sequences, NUL, a second start marker.
                                Terminals take the end marker out of what they paste. Where one has not, and the end
                                marker is followed at once by another one with no start between them, the first is
                                text as well
    a control sequence          one `Sequence`, if its numbers are ones that a keyboard, a mouse or a window has;
                                else nothing: it is no text, and must not become one
    a control string            nothing: OSC, DCS, APC, PM and SOS are replies to questions that this program does
                                not ask. No part of it is kept
    an escape by itself         `Sequence` of the escape alone; with a character after it, of both (Alt and a key)
    anything else               `Typed`, as long a piece as possible

Waiting ends, so that nothing which never ends can swallow what is typed later. How long the terminal was silent is
told by `rest`; that nobody has read what it sent is no silence.

    escape, escape [ and so on  after `ESCAPE_SECONDS` a key, the one with Alt
    a sequence, a string        dropped after `SEQUENCE_SECONDS`; the beginning of a start marker after `PASTE_SECONDS`
    a paste                     over after `PASTE_SECONDS`; what has come of it is handed on. A read that is exactly
                                one of the keys with which people leave (Esc, Ctrl+C, Ctrl+D, Ctrl+Q) ends it after
                                `LEAVING_SECONDS`, since what is left of a paste does not come so

A start marker may be cut anywhere, too: one of which the rest comes after its escape was taken for a key is still
one. Lengths are limited: a sequence by `SEQUENCE_LIMIT`, a paste by `PASTE_LIMIT`, from where on it is handed on in
pieces; so the memory is.

Sources: ECMA-48, 5.4 and 5.6; xterm's ctlseqs (bracketed paste, mouse tracking); kitty's keyboard protocol.
"""

import re
from codecs import getincrementaldecoder
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

ESCAPE_SECONDS: Final = 0.1
SEQUENCE_SECONDS: Final = 0.5
PASTE_SECONDS: Final = 3.0
LEAVING_SECONDS: Final = 1.0
SEQUENCE_LIMIT: Final = 1_024  # characters; an input method may send a sentence in one, by its characters' numbers
PASTE_LIMIT: Final = 1 << 24  # characters
LARGEST_NUMBER: Final = 32_767  # cells, pixels or a key's number, all of which are smaller
LARGEST_SIZE: Final = 2_000  # rows and columns of a terminal; each cell of a larger one would have to be drawn

_ESCAPE: Final = "\x1b"
_PASTE_START: Final = "\x1b[200~"
_PASTE_END: Final = "\x1b[201~"
_STRING_INTRODUCERS: Final = "P]X^_"
_INTRODUCERS: Final = "[O" + _STRING_INTRODUCERS
_STRING_END: Final = re.compile(r"[\x07\x18\x1a\x1b\x9c]")
_LEAVING: Final = re.compile(r"\x1b|\x03|\x04|\x11|\x1b\[(?:27|(?:99|100|113);5)u")
_PARAMETERS: Final = re.compile(r"[ -?]*")
_KEYBOARD: Final = re.compile(r"\x1b\[([\d:;]*)u")
_NUMBER: Final = re.compile(r"\d+")
_RESIZED: Final = re.compile(r"\x1b\[48;(\d+)(?::\d*)*;(\d+)(?::\d*)*;(\d+)(?::\d*)*;(\d+)(?::\d*)*t")


@dataclass(frozen=True, slots=True)
class Typed:
    """Characters that are keys each; no escape among them."""

    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """An escape, alone or with all that belongs to it."""

    text: str


@dataclass(frozen=True, slots=True)
class Pasted:
    """What was pasted, as it came."""

    text: str


Item = Typed | Sequence | Pasted


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()  # an escape has come, and perhaps what makes a sequence of it, but no more
    SEQUENCE = auto()  # of a control sequence or of a key (SS3): what has come is kept
    MOUSE = auto()  # three characters that stand for numbers
    OVERLONG = auto()  # a sequence of which nothing is kept
    STRING = auto()
    STRING_ESCAPE = auto()  # an escape inside of a string, which a backslash makes its end
    PASTE = auto()


class Framing:
    """Takes what a terminal sends, in pieces of any size, and returns what it means."""

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._state = _State.TEXT
        self._kept = ""  # of an escape or a sequence
        self._late_marker = ""  # of a paste's start marker: what may still come of one that was taken for a key
        self._pasted: list[str] = []
        self._pasted_length = 0
        self._silent_seconds = 0.0

    def push(self, content: bytes) -> list[Item]:
        """What the next bytes mean; what has not ended yet waits."""
        text = self._decode(content)
        items: list[Item] = []
        if self._has_been_left(text):
            self._end_paste(items)
        if content:
            self._silent_seconds = 0.0
        if text and self._late_marker:
            text = self._with_late_marker(text)
        position = 0
        while position < len(text):
            position = self._step(text, position, items)
        return items

    def rest(self, silent_seconds: float) -> list[Item]:
        """What it means that nothing has come for so long.

        Args:
            silent_seconds: Since the last bytes, or since the beginning.
        """
        self._silent_seconds = silent_seconds
        items: list[Item] = []
        match self._state:
            case _State.ESCAPE if silent_seconds >= ESCAPE_SECONDS:
                self._expect_late_marker()
                self._end_sequence(items)
            case _State.SEQUENCE if silent_seconds >= self._sequence_seconds:
                self._expect_late_marker()
                self._state = _State.TEXT
            case _State.MOUSE | _State.OVERLONG | _State.STRING | _State.STRING_ESCAPE:
                if silent_seconds >= SEQUENCE_SECONDS:
                    self._state = _State.TEXT
            case _State.PASTE if silent_seconds >= PASTE_SECONDS:
                self._end_paste(items)
        return items

    def finish(self) -> list[Item]:
        """Nothing more will come: what of a paste there is."""
        items: list[Item] = []
        if self._state is _State.PASTE:
            self._end_paste(items)
        self._state = _State.TEXT
        return items

    @property
    def is_waiting(self) -> bool:
        """Whether silence would mean something now."""
        return self._state is not _State.TEXT

    # --- one step -----------------------------------------------------------------------------------------------

    def _step(self, text: str, position: int, items: list[Item]) -> int:
        """Takes at least one character, or leaves the state for one that will; returns the new position."""
        match self._state:
            case _State.TEXT:
                position = self._read_typed(text, position, items)
            case _State.ESCAPE:
                position = self._read_escape(text[position], position, items)
            case _State.SEQUENCE:
                position = self._read_sequence(text, position, items)
            case _State.MOUSE:
                position = self._read_mouse(text[position], position)
            case _State.OVERLONG:
                position = self._read_overlong(text, position)
            case _State.STRING:
                position = self._read_string(text, position)
            case _State.STRING_ESCAPE:
                position = self._read_string_escape(text[position], position)
            case _State.PASTE:
                position = self._read_paste(text, position, items)
        return position

    def _read_typed(self, text: str, position: int, items: list[Item]) -> int:
        end = text.find(_ESCAPE, position)
        end = len(text) if end < 0 else end
        if end > position:
            items.append(Typed(text[position:end]))
        if end == len(text):
            return end
        self._state, self._kept = _State.ESCAPE, _ESCAPE
        return end + 1

    def _read_escape(self, character: str, position: int, items: list[Item]) -> int:
        if character == _ESCAPE:
            self._end_sequence(items)  # the first was a key
        elif self._kept == _ESCAPE and character in _INTRODUCERS:
            self._kept += character
        elif self._kept == _ESCAPE:
            self._kept += character
            self._end_sequence(items)
            return position + 1
        elif self._kept[1] in _STRING_INTRODUCERS:
            self._state = _State.STRING
        else:
            self._state = _State.SEQUENCE
        return position + (self._state is _State.ESCAPE)

    def _read_sequence(self, text: str, position: int, items: list[Item]) -> int:
        end = _end_of_parameters(text, position)
        self._kept += text[position : min(end, position + SEQUENCE_LIMIT)]
        if len(self._kept) > SEQUENCE_LIMIT:
            self._state, self._kept = _State.OVERLONG, ""
            return end
        return self._read_final(text[end], end, items) if end < len(text) else end

    def _read_final(self, character: str, position: int, items: list[Item]) -> int:
        if self._kept == "\x1b[" and character == "M":
            self._state, self._kept = _State.MOUSE, ""
        elif self._kept == "\x1b[" and character == "[":  # a function key of the Linux console: escape [ [ A
            self._kept += character
        elif not "@" <= character <= "~":  # anything else breaks it off, and is read anew
            self._state = _State.TEXT
            return position
        elif self._kept + character == _PASTE_START:
            self._state, self._kept = _State.PASTE, ""
        else:
            self._kept = _believable(self._kept + character)
            self._end_sequence(items)
        return position + 1

    def _read_mouse(self, character: str, position: int) -> int:
        if character < " ":  # no number is written so
            self._state = _State.TEXT
            return position
        self._kept += " "
        if len(self._kept) == 3:
            self._state = _State.TEXT
        return position + 1

    def _read_overlong(self, text: str, position: int) -> int:
        end = _end_of_parameters(text, position)
        if end == len(text):
            return end
        self._state = _State.TEXT
        return end + ("@" <= text[end] <= "~")

    def _read_string(self, text: str, position: int) -> int:
        end = _STRING_END.search(text, position)
        if end is None:
            return len(text)
        self._state = _State.STRING_ESCAPE if end.group() == _ESCAPE else _State.TEXT
        return end.end()

    def _read_string_escape(self, character: str, position: int) -> int:
        if character == "\\":
            self._state = _State.TEXT
            return position + 1
        self._state, self._kept = _State.ESCAPE, _ESCAPE  # it begins something of its own
        return position

    def _end_sequence(self, items: list[Item]) -> None:
        if self._kept:
            items.append(Sequence(self._kept))
        self._state, self._kept = _State.TEXT, ""

    # --- pastes -------------------------------------------------------------------------------------------------

    def _read_paste(self, text: str, position: int, items: list[Item]) -> int:
        """Takes all up to the end marker, or all but what may be the beginning of one."""
        kept, self._kept = self._kept, ""
        joined = kept + text[position:] if kept else text
        start = 0 if kept else position
        end = _last_end(joined, start)
        if end is None:
            self._kept = _marker_beginning(joined, start)
            self._keep_pasted(joined[start : len(joined) - len(self._kept)], items)
            return len(text)
        self._keep_pasted(joined[start:end], items)
        self._end_paste(items)
        return len(text) - (len(joined) - end - len(_PASTE_END))

    def _keep_pasted(self, text: str, items: list[Item]) -> None:
        self._pasted.append(text)
        self._pasted_length += len(text)
        if self._pasted_length >= PASTE_LIMIT:
            self._hand_on_pasted(items)

    def _end_paste(self, items: list[Item]) -> None:
        self._pasted.append(self._kept)
        self._state, self._kept = _State.TEXT, ""
        self._hand_on_pasted(items)

    def _hand_on_pasted(self, items: list[Item]) -> None:
        pasted = "".join(self._pasted)
        if pasted:
            items.append(Pasted(pasted))
        self._pasted, self._pasted_length = [], 0

    def _has_been_left(self, text: str) -> bool:
        is_stuck = self._state is _State.PASTE and self._silent_seconds >= LEAVING_SECONDS
        return is_stuck and _LEAVING.fullmatch(text) is not None

    @property
    def _sequence_seconds(self) -> float:
        """What may become a start marker is waited for as long as a paste is: it has more behind it."""
        return PASTE_SECONDS if _PASTE_START.startswith(self._kept) else SEQUENCE_SECONDS

    def _expect_late_marker(self) -> None:
        rest = _PASTE_START.removeprefix(self._kept) if _PASTE_START.startswith(self._kept) else ""
        self._late_marker = rest if len(rest) > 1 else ""  # one character could be typed

    def _with_late_marker(self, text: str) -> str:
        """The text with the beginning of its start marker, if it goes on with that; nobody types as much at once."""
        marker, self._late_marker = self._late_marker, ""
        goes_on = text.startswith(marker) or (len(text) > 1 and marker.startswith(text))
        return _PASTE_START.removesuffix(marker) + text if goes_on else text


def _end_of_parameters(text: str, position: int) -> int:
    """Where the parameters and intermediate characters of a sequence end, or the text."""
    found = _PARAMETERS.match(text, position)
    assert found is not None  # it matches nothing, too
    return found.end()


def _last_end(text: str, position: int) -> int | None:
    """Where the marker stands that ends the paste; None where it has not come."""
    end = text.find(_PASTE_END, position)
    if end < 0:
        return None
    start = text.find(_PASTE_START, end)
    return text.rfind(_PASTE_END, end, start if start >= 0 else len(text))


def _marker_beginning(text: str, position: int) -> str:
    """The longest end of the text with which an end marker may begin."""
    for length in range(len(_PASTE_END) - 1, 0, -1):
        if text.endswith(_PASTE_END[:length], position):
            return _PASTE_END[:length]
    return ""


def _believable(sequence: str) -> str:
    """The sequence, if no number in it is too large for what it says; else nothing.

    Sizes in pixels of terminals that do not know them are 0; they become those in cells, since a mouse would have to
    be divided by them.
    """
    keyboard = _KEYBOARD.fullmatch(sequence)
    if keyboard is not None:  # its numbers are characters
        return sequence if all(_is_character(number) for number in _NUMBER.findall(keyboard[1])) else ""
    if not all(_is_at_most(number, LARGEST_NUMBER) for number in _NUMBER.findall(sequence)):
        return ""
    if sequence.startswith("\x1b[48;") and sequence.endswith("t"):
        return _believable_size(sequence)
    return sequence


def _believable_size(sequence: str) -> str:
    resized = _RESIZED.fullmatch(sequence)
    if resized is None:
        return ""
    height, width, pixel_height, pixel_width = map(int, resized.groups())
    if not (0 < height <= LARGEST_SIZE and 0 < width <= LARGEST_SIZE):
        return ""
    return f"\x1b[48;{height};{width};{pixel_height or height};{pixel_width or width}t"


def _is_at_most(number: str, largest: int) -> bool:
    return len(number) < 10 and int(number) <= largest


def _is_character(number: str) -> bool:
    return _is_at_most(number, 0x10FFFF) and not 0xD800 <= int(number) < 0xE000
