"""Shows what a terminal sends for each key: its bytes, and the name under which this program reads them.

The terminal is asked for the same as on the screen: raw input, kitty's keyboard protocol, pastes in brackets. It is as
before when this ends, if the signals that end the program become exits.
"""

import os
import select
import termios
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Final

from textual import events
from textual.message import Message

from tui_llama.terminal.driver import TerminalInput

END_KEY: Final = "ctrl+c"

# As Textual's driver for Linux asks: kitty's flags 1, 8 and 16 give every key a name of its own, and its text.
_BEGIN: Final = b"\x1b[?2004h\x1b[>25u"
_END: Final = b"\x1b[<u\x1b[?2004l"
_READ_BYTES: Final = 1 << 16
_WAITING_SECONDS: Final = 0.02
_IDLE_SECONDS: Final = 0.5
"""A signal that comes right before the wait does not end it: Python obeys it once the wait is over."""


@contextmanager
def key_terminal(input_descriptor: int, output_descriptor: int) -> Iterator[None]:
    """Puts the terminal into the state of the screen for the length of the block.

    Raises:
        OSError: it is no terminal, or it is gone.
        termios.error: for the same reasons.
    """
    before = termios.tcgetattr(input_descriptor)
    try:
        tty.setraw(input_descriptor, termios.TCSANOW)
        os.write(output_descriptor, _BEGIN)
        yield
    finally:
        with suppress(OSError, termios.error):  # the terminal is gone
            os.write(output_descriptor, _END)
            termios.tcsetattr(input_descriptor, termios.TCSAFLUSH, before)


def show_keys(input_descriptor: int, say: Callable[[str], None]) -> None:
    """Says a line for each key, until Ctrl+C or the end of the terminal."""
    reading, heard_at, content = TerminalInput(), monotonic(), b""
    while True:
        has_come, _, _ = select.select(
            [input_descriptor], [], [], _WAITING_SECONDS if reading.is_waiting else _IDLE_SECONDS
        )
        if has_come:
            new = os.read(input_descriptor, _READ_BYTES)
            if not new:
                return
            content, heard_at = content + new, monotonic()
            messages = reading.feed(new)
        elif not content:
            continue
        else:
            messages = reading.rest(monotonic() - heard_at)
        if messages or not reading.is_waiting:
            say(key_line(content, messages))
            content = b""
        if any(isinstance(message, events.Key) and message.key == END_KEY for message in messages):
            return


def key_line(content: bytes, messages: Iterable[Message]) -> str:
    """Returns the bytes that came and the names of the keys that they are."""
    names = [_name(message) for message in messages]
    return f"{_shown(content):<32}  {', '.join(filter(None, names)) or 'nothing that this program knows'}"


def _name(message: Message) -> str:
    match message:
        case events.Key(key=key):
            return key
        case events.Paste(text=text):
            return f"a paste of {len(text)} characters"
        case _:
            return type(message).__name__


def _shown(content: bytes) -> str:
    """Returns bytes in a form that no terminal obeys: ESC for an escape, ^A for control characters."""
    parts = []
    for character in content[:64].decode("utf-8", "backslashreplace"):
        if character == "\x1b":
            parts.append("ESC")
        elif character < " " or character == "\x7f":
            parts.append(f"^{chr(ord(character) ^ 64)}")
        else:
            parts.append(character if character.isprintable() else repr(character)[1:-1])
    return " ".join(parts) + (" …" if len(content) > 64 else "")
