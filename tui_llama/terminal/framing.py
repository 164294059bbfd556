"""Cuts the bytes that a terminal sends into keys, sequences and pastes. Has no input or output, no clock, no Textual.

Nothing that arrives is trusted: neither its encoding, nor its grammar, nor that a thing that begins will also end.

    bytes that are not UTF-8    U+FFFD, as Python's decoder replaces them
    a bracketed paste           one `Pasted`, whatever it contains: escape sequences, NUL, a second start marker.
                                Terminals remove the end marker from pasted text. If one has not, so that a piece
                                contains several end markers with no start marker between them, the last one ends
                                the paste and the others are text
    a control sequence          one `Sequence`, if a keyboard, a mouse or a window can have its numbers; else it is
                                dropped, because it must not become text
    a control string            dropped: OSC, DCS, APC, PM and SOS answer questions that this program does not ask.
                                No part of it is kept
    an escape                   alone, a `Sequence` of the escape; with a character after it, a `Sequence` of both
                                (Alt and a key)
    anything else               `Typed`, in pieces as long as possible

Waiting has an end, so that a sequence or paste that never ends cannot swallow the keys that are typed later. `rest` is
told how long the terminal was silent. Bytes that were sent but not read yet are not silence.

    escape, escape [ and so on  after `ESCAPE_SECONDS` a key: Esc, or the character with Alt
    a sequence, a string        dropped after `SEQUENCE_SECONDS`; the beginning of a start marker after `PASTE_SECONDS`
    a paste                     ends after `PASTE_SECONDS`, and the text so far is handed on. A read that is exactly
                                one of the keys with which people leave (Esc, Ctrl+C, Ctrl+D, Ctrl+Q) ends it after
                                `LEAVING_SECONDS`, because the rest of a paste would not arrive like that

A start marker may arrive in pieces, cut anywhere. Its rest is still recognized after its escape was taken for a key.
Lengths are limited, and so is the memory: a sequence has at most `SEQUENCE_LIMIT` characters, and a paste is handed on
in pieces of about `PASTE_LIMIT` characters.

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
SEQUENCE_LIMIT: Final = 1_024  # characters; an input method may send a whole sentence as the numbers of its characters
PASTE_LIMIT: Final = 1 << 24  # characters
LARGEST_NUMBER: Final = 32_767  # limit for cells, pixels and numbers of keys, all of which are smaller
LARGEST_SIZE: Final = 2_000  # rows and columns of a terminal; a larger one would take too long to draw

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
    """Typed characters, each of which is a key. There is no escape among them."""

    text: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """An escape, alone or with the characters of its sequence."""

    text: str


@dataclass(frozen=True, slots=True)
class Pasted:
    """Pasted text, exactly as it arrived."""

    text: str


Item = Typed | Sequence | Pasted


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()  # an escape has come, and perhaps the character that introduces a sequence
    SEQUENCE = auto()  # inside a control sequence or a key (SS3), whose characters so far are kept
    MOUSE = auto()  # three characters that stand for numbers
    OVERLONG = auto()  # inside a sequence that is too long, of which nothing is kept
    STRING = auto()
    STRING_ESCAPE = auto()  # an escape inside of a string, which a backslash makes its end
    PASTE = auto()


class Framing:
    """Takes the bytes that a terminal sends, in pieces of any size, and returns items."""

    def __init__(self) -> None:
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._state = _State.TEXT
        self._kept = ""  # the characters so far of an escape or a sequence, or of a paste's end marker
        self._late_marker = ""  # the rest of a start marker whose beginning was taken for a key
        self._pasted: list[str] = []
        self._pasted_length = 0
        self._silent_seconds = 0.0

    def push(self, content: bytes) -> list[Item]:
        """Returns the items of the next bytes. An item that has not ended yet waits for more."""
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
        """Returns the items that follow from a silence of the terminal.

        Args:
            silent_seconds: The time since the last bytes, or since the beginning.
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
        """Ends the input. Returns the text so far of a paste that has not ended."""
        items: list[Item] = []
        if self._state is _State.PASTE:
            self._end_paste(items)
        self._state = _State.TEXT
        return items

    @property
    def is_waiting(self) -> bool:
        """True if a silence would have a meaning now, so that `rest` must be called."""
        return self._state is not _State.TEXT

    # --- one step -----------------------------------------------------------------------------------------------

    def _step(self, text: str, position: int, items: list[Item]) -> int:
        """Takes at least one character, or changes to a state that will. Returns the new position."""
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
            self._end_sequence(items)  # the first escape was a key
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
        elif not "@" <= character <= "~":  # any other character breaks the sequence off and is read again as text
            self._state = _State.TEXT
            return position
        elif self._kept + character == _PASTE_START:
            self._state, self._kept = _State.PASTE, ""
        else:
            self._kept = _believable(self._kept + character)
            self._end_sequence(items)
        return position + 1

    def _read_mouse(self, character: str, position: int) -> int:
        if character < " ":  # no mouse number is encoded like this
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
        self._state, self._kept = _State.ESCAPE, _ESCAPE  # the escape ended the string and begins a sequence
        return position

    def _end_sequence(self, items: list[Item]) -> None:
        if self._kept:
            items.append(Sequence(self._kept))
        self._state, self._kept = _State.TEXT, ""

    # --- pastes -------------------------------------------------------------------------------------------------

    def _read_paste(self, text: str, position: int, items: list[Item]) -> int:
        """Takes the text up to the end marker. Without one, it takes all but a possible beginning of an end marker."""
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
        """The time to wait for the rest of a sequence: as long as for a paste if it may become a start marker."""
        return PASTE_SECONDS if _PASTE_START.startswith(self._kept) else SEQUENCE_SECONDS

    def _expect_late_marker(self) -> None:
        rest = _PASTE_START.removeprefix(self._kept) if _PASTE_START.startswith(self._kept) else ""
        self._late_marker = rest if len(rest) > 1 else ""  # a single character could be typed

    def _with_late_marker(self, text: str) -> str:
        """Returns the text. Puts the start marker's beginning before it if the text goes on with the marker's rest.

        Nobody types that many characters at once.
        """
        marker, self._late_marker = self._late_marker, ""
        goes_on = text.startswith(marker) or (len(text) > 1 and marker.startswith(text))
        return _PASTE_START.removesuffix(marker) + text if goes_on else text


def _end_of_parameters(text: str, position: int) -> int:
    """Returns the position at which the parameters and intermediate characters of a sequence end, or the text."""
    found = _PARAMETERS.match(text, position)
    assert found is not None  # the pattern also matches an empty text
    return found.end()


def _last_end(text: str, position: int) -> int | None:
    """Returns the position of the marker that ends the paste, or None if it has not come yet."""
    end = text.find(_PASTE_END, position)
    if end < 0:
        return None
    start = text.find(_PASTE_START, end)
    return text.rfind(_PASTE_END, end, start if start >= 0 else len(text))


def _marker_beginning(text: str, position: int) -> str:
    """Returns the longest suffix of the text that may be the beginning of an end marker."""
    for length in range(len(_PASTE_END) - 1, 0, -1):
        if text.endswith(_PASTE_END[:length], position):
            return _PASTE_END[:length]
    return ""


def _believable(sequence: str) -> str:
    """Returns the sequence if no number in it is too large for its meaning, else an empty text.

    A terminal that does not know its size in pixels reports 0. The size in cells then replaces it, because Textual
    divides positions of the mouse by it.
    """
    keyboard = _KEYBOARD.fullmatch(sequence)
    if keyboard is not None:  # the numbers of a keyboard sequence are code points
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
