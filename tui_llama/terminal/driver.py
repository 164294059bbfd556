"""A terminal driver that no bytes can crash: our own framing in front of Textual's parser.

Textual's driver decodes strictly, so that one wrong byte ends its thread. It also looks for escape sequences in pasted
text. Here Textual's parser gets typed text or one whole sequence at a time, and no paste. A sequence that it cannot
read, or whose numbers it cannot compute with, is dropped.
"""

import os
import re
import selectors
from collections.abc import Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any, Final, TextIO

from textual import events
from textual._xterm_parser import _MAX_SEQUENCE_SEARCH_THRESHOLD, XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.keys import Keys
from textual.message import Message

from tui_llama.terminal.framing import Framing, Item, Pasted, Sequence, Typed
from tui_llama.terminal.gone import TerminalGone

_READ_BYTES: Final = 1 << 16
_WAKE_SECONDS: Final = 0.1  # the longest time until the thread notices that the driver ends
_WAITING_SECONDS: Final = 0.02  # the longest time until it notices that nothing follows an escape
_LINE_END: Final = re.compile(r"\r\n?")  # terminals send a paste's line ends as the key Enter


class TerminalInput:
    """Turns the bytes that a terminal sends into Textual's messages.

    Args:
        is_debugging: Whether Textual writes a log of its parser.
    """

    def __init__(self, is_debugging: bool = False) -> None:
        self._framing = Framing()
        self._parser = XTermParser(is_debugging)

    def feed(self, content: bytes) -> list[Message]:
        """Returns the messages of the next bytes."""
        return self._messages(self._framing.push(content))

    def rest(self, silent_seconds: float) -> list[Message]:
        """Returns the messages that follow from a silence of `silent_seconds`."""
        return self._messages(self._framing.rest(silent_seconds))

    def finish(self) -> list[Message]:
        """Ends the input and returns the last messages."""
        return self._messages(self._framing.finish())

    @property
    def is_waiting(self) -> bool:
        """True if a silence would have a meaning now, so that `rest` must be called."""
        return self._framing.is_waiting

    def _messages(self, items: Iterable[Item]) -> list[Message]:
        return [_renamed(message) for item in items for message in self._read(item) if not _is_ignored(message)]

    def _read(self, item: Item) -> Iterable[Message]:
        match item:
            case Pasted(text):
                return (events.Paste(_LINE_END.sub("\n", text)),)
            case Typed(text):
                return self._parsed(text)
            case Sequence("\x1b"):
                return (events.Key("escape", "\x1b"),)
            case Sequence(text) if len(text) == 2:
                return self._alt_key(text)
            case Sequence(text) if len(text) > _MAX_SEQUENCE_SEARCH_THRESHOLD:
                return self._keys(text)
            case Sequence(text):
                return self._parsed(text)

    def _keys(self, text: str) -> list[events.Key]:
        """Returns the keys of a sequence that is too long for Textual's search. Input methods send such sequences."""
        try:
            return list(self._parser._sequence_to_key_events(text))
        except ValueError:
            return []

    def _alt_key(self, text: str) -> Iterator[Message]:
        """Yields the key for an escape and a character: a key of its own, or the character with Alt."""
        known = list(self._parser._sequence_to_key_events(text))
        yield from known or self._parser._sequence_to_key_events(text[1], alt=True)

    def _parsed(self, text: str) -> list[Message]:
        """Returns the messages that Textual's parser makes of typed text or of one whole sequence."""
        try:
            messages = list(self._parser.feed(text))
        except Exception:  # of any kind, because the parser does not check the numbers with which it computes
            messages = []
            is_at_rest = False
        else:
            is_at_rest = self._parser._awaiting.timeout is None
        if not is_at_rest:  # it does not know the sequence and waits; it would read what comes next as keys
            self._renew_parser()
        return messages

    def _renew_parser(self) -> None:
        before, self._parser = self._parser, XTermParser(False)
        for name in ("last_x", "last_y", "mouse_pixels", "terminal_size", "terminal_pixel_size"):
            setattr(self._parser, name, getattr(before, name))


def _is_ignored(message: Message) -> bool:
    return isinstance(message, events.Key) and message.key == Keys.Ignore


def _renamed(message: Message) -> Message:
    """Returns a message, Ctrl+Enter under one name: in xterm's modifyOtherKeys form, Textual's name ends in \\r."""
    is_odd = isinstance(message, events.Key) and message.key == "ctrl+\r"
    return events.Key("ctrl+enter", None) if is_odd else message


class _LastingOutput:
    """Standard error for Textual's writer, without errors.

    When the terminal is gone, an error would end the writer, and the program would wait for it forever.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes `text` if there is still a terminal. Returns its length in any case."""
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flushes the stream if there is still a terminal."""
        with suppress(OSError):
            self._stream.flush()


class TerminalDriver(LinuxDriver):
    """Textual's driver for Linux and macOS, which reads through `TerminalInput`."""

    def __init__(self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None):
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        if self._file is not None:
            self._file = _LastingOutput(self._file)  # type: ignore[assignment] # the writer uses these two only

    def run_input_thread(self) -> None:
        """Reads until the driver ends or the terminal is gone, and then posts `TerminalGone`.

        SIGHUP is not enough to notice that the terminal is gone, because the program may ignore it.
        """
        terminal_input = TerminalInput(self._debug)
        with selectors.DefaultSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            heard_at = monotonic()
            while not self.exit_event.is_set():
                if selector.select(_WAITING_SECONDS if terminal_input.is_waiting else _WAKE_SECONDS):
                    content = self._read_terminal()
                    heard_at = monotonic()
                    if not content:
                        self.send_message(TerminalGone())
                        break
                    self._hand_on(terminal_input.feed(content))
                else:
                    self._hand_on(terminal_input.rest(monotonic() - heard_at))
        self._hand_on(terminal_input.finish())

    def _read_terminal(self) -> bytes:
        try:
            return os.read(self.fileno, _READ_BYTES)
        except OSError:
            return b""

    def _hand_on(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self.process_message(message)
