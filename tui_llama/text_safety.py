"""Sanitizes all untrusted text on its way to the terminal: answers, pasted text, file names, metadata.

A terminal obeys the bytes that it gets. An escape sequence can write to the clipboard, rename the window, hide the
target of a link or make the terminal type. A direction override makes text look different from what it is. So only text
and line breaks pass. This is what happens to each character:

    line feed, tab                          kept
    carriage return, with its line feed     becomes one line feed; so do U+0085, U+2028 and U+2029, which end lines
    ESC and the C1 introducers              dropped with the sequence that they introduce (below)
    other C0, DEL, other C1                 dropped
    U+061C, 200E, 200F, 202A–E, 2066–9      become a visible ⇄ each: they change the direction of the text after them
    U+FEFF, U+FFF9–FFFB, U+206A–206F        dropped: they are invisible and obsolete, and can only hide something
    tag characters, U+E0000–E007F           dropped: they are an invisible alphabet; three flags lose their emblem
    lone surrogates, U+FFFE, U+FFFF         become U+FFFD: they are no characters and cannot be encoded or shown

Joiners (emoji families, Persian), variation selectors, combining marks and soft hyphens are kept.

Sequences are those of ECMA-48, in their 7-bit and 8-bit forms: escape (intermediates, final), CSI (parameters,
intermediates, final) and the strings OSC, DCS, SOS, PM, APC, up to BEL or ST. A sequence that does not end is dropped
up to the end of its line or to a limit, so that it cannot swallow the rest of an answer.

Source: ECMA-48 5th edition, sections 5.3, 5.4, 5.6; Unicode Technical Reports 36 and 51.
"""

import re
from enum import Enum, auto
from typing import Final

DIRECTION_SYMBOL: Final = "⇄"
HIDDEN_SYMBOL: Final = "·"
STRING_LIMIT: Final = 1024  # characters; more than any title or link in an answer needs
SEQUENCE_LIMIT: Final = 64  # characters of parameters and intermediates

_ESCAPE: Final = "\x1b"
_DIRECTION_CONTROLS: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_LINE_ENDS: Final = "\r\x85\u2028\u2029"
_NO_CHARACTERS: Final = "".join(map(chr, (*range(0xD800, 0xE000), 0xFFFE, 0xFFFF)))
_REPLACEMENTS: Final = {
    **dict.fromkeys(_LINE_ENDS, "\n"),
    **dict.fromkeys(_DIRECTION_CONTROLS, DIRECTION_SYMBOL),
    **dict.fromkeys(_NO_CHARACTERS, "\ufffd"),
}
_UNSAFE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u206a-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff"
    rf"\U000e0000-\U000e007f{_DIRECTION_CONTROLS}]"
)
# The flags of England, Scotland and Wales. A complete flag can hide at most six letters and digits.
_FLAG: Final = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
_FLAG_OR_UNSAFE: Final = re.compile(f"{_FLAG}|{_UNSAFE.pattern}")
_CONTROL_PICTURES: Final = 0x2400  # Unicode's pictures of U+0000 to U+001F, in their order
_STRING_END: Final = re.compile(rf"[\x07\x18\x1a\x1b\x9c\n{_LINE_ENDS}]")
_ONE_LINE: Final = str.maketrans("\n\t", "  ")


class _State(Enum):
    TEXT = auto()
    AFTER_RETURN = auto()  # a carriage return became a line feed; a line feed right after it belongs to it
    ESCAPE = auto()
    CONTROL = auto()  # CSI
    STRING = auto()  # OSC, DCS, SOS, PM, APC


_INTRODUCERS: Final = {
    _ESCAPE: _State.ESCAPE,
    "\x9b": _State.CONTROL,
    **dict.fromkeys("\x90\x98\x9d\x9e\x9f", _State.STRING),
}
_AFTER_ESCAPE: Final = {"[": _State.CONTROL, **dict.fromkeys("PX]^_", _State.STRING)}


class TextSanitizer:
    """Sanitizes a text that arrives in chunks. The result does not depend on where the text was cut.

    No safe text is held back, because only sequences, which are dropped, must wait for their end.
    """

    def __init__(self) -> None:
        self._state = _State.TEXT
        self._length = 0  # the length of the sequence so far, without its introducer

    def push(self, chunk: str) -> str:
        """Returns the safe text of the next chunk."""
        if self._state is _State.TEXT and _UNSAFE.search(chunk) is None:
            return chunk
        safe: list[str] = []
        position = 0
        while position < len(chunk):
            position = self._step(chunk, position, safe)
        return "".join(safe)

    def finish(self) -> str:
        """Ends the text and any open sequence. The next chunk begins a new text. Returns an empty text."""
        self._state = _State.TEXT
        return ""

    def _step(self, chunk: str, position: int, safe: list[str]) -> int:
        """Takes at least one character, or changes to a state that will. Returns the new position."""
        match self._state:
            case _State.TEXT:
                return self._read_text(chunk, position, safe)
            case _State.AFTER_RETURN:
                self._state = _State.TEXT
                return position + (chunk[position] == "\n")
            case _State.ESCAPE:
                return self._read_escape(chunk, position)
            case _State.CONTROL:
                return self._read_control(chunk, position)
            case _State.STRING:
                return self._read_string(chunk, position)

    def _read_text(self, chunk: str, position: int, safe: list[str]) -> int:
        unsafe = _UNSAFE.search(chunk, position)
        if unsafe is None:
            safe.append(chunk[position:])
            return len(chunk)
        character = unsafe.group()
        safe.append(chunk[position : unsafe.start()])
        safe.append(_REPLACEMENTS.get(character, ""))
        if character == "\r":
            self._state = _State.AFTER_RETURN
        elif character in _INTRODUCERS:
            self._begin(_INTRODUCERS[character])
        return unsafe.end()

    def _read_escape(self, chunk: str, position: int) -> int:
        character = chunk[position]
        if not self._length and character in _AFTER_ESCAPE:
            self._begin(_AFTER_ESCAPE[character])
            return position + 1
        return self._read_parameter(character, position, first_final="0")

    def _read_control(self, chunk: str, position: int) -> int:
        return self._read_parameter(chunk[position], position, first_final="@")

    def _read_parameter(self, character: str, position: int, first_final: str) -> int:
        """Reads one character of a sequence that ends with a character from `first_final` to `~`."""
        if " " <= character < first_final and self._length < SEQUENCE_LIMIT:
            self._length += 1
            return position + 1
        self._state = _State.TEXT
        # Any character but the final one interrupts the sequence and is read as text.
        return position + (first_final <= character <= "~")

    def _read_string(self, chunk: str, position: int) -> int:
        limit = position + STRING_LIMIT - self._length
        end = _STRING_END.search(chunk, position, limit)
        if end is not None:
            # The end is read again as text: there a line end counts, an ESC begins the ST, and the others are dropped.
            self._state = _State.TEXT
            return end.start()
        taken = min(limit, len(chunk))
        self._length += taken - position
        if self._length == STRING_LIMIT:
            self._state = _State.TEXT
        return taken

    def _begin(self, state: _State) -> None:
        self._state = state
        self._length = 0


def sanitize(text: str) -> str:
    """Returns the text without anything that a terminal would obey. Keeps line feeds and tabs."""
    return TextSanitizer().push(text)


def drawn(text: str) -> str:
    """Returns the text as an editor draws it: each character that a terminal obeys or hides becomes a visible one.

    The result is as long as `text`, so that a place in one is the same place in the other. Line feeds, tabs and
    complete flags of tag characters stay as they are.
    """
    return _FLAG_OR_UNSAFE.sub(_drawn_match, text)


def _drawn_match(match: re.Match[str]) -> str:
    return match.group() if len(match.group()) > 1 else _drawn_character(match.group())


def _drawn_character(character: str) -> str:
    code = ord(character)
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    if character == "\x7f":
        return "\u2421"
    if character in _LINE_ENDS:
        return "\u21b5"
    if character in _REPLACEMENTS:
        return _REPLACEMENTS[character]
    return HIDDEN_SYMBOL if character > "\xff" else "\ufffd"


def sanitize_line(text: str) -> str:
    """Returns the safe text on one line, for names, titles and metadata. Line feeds and tabs become spaces."""
    return sanitize(text).translate(_ONE_LINE)
