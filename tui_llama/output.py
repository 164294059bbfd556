"""What a command without a screen prints: the result on one stream, everything else on the other.

On a terminal the result goes through the same gate as on the screen. In a file or a pipe it is what it is, byte for
byte: whoever reads it wants the text, and who looks at it later has a gate of their own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from tui_llama.errors import UserError
from tui_llama.text_safety import TextSanitizer, sanitize_line

_USUAL_WIDTH: Final = 80


class Output:
    """The result on one stream; on the other a line of progress that is written over, and notices.

    Args:
        results: Where the result goes; on a terminal it ends in a newline.
        messages: Where everything else goes.
    """

    def __init__(self, results: TextIO, messages: TextIO) -> None:
        self._results = results
        self._messages = messages
        self._sanitizer = TextSanitizer() if results.isatty() else None
        self._shows_progress = messages.isatty()
        self._progress_is_shown = False
        self._at_line_start = True
        self._notices: set[str] = set()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Leaves the terminal tidy whatever happens inside."""
        try:
            yield
            if self._sanitizer is not None:
                self._write(self._sanitizer.finish())
        finally:
            self._clear_progress()
            if self._results.isatty() and not self._at_line_start:
                self._write("\n")

    def progress(self, text: str) -> None:
        """Shows how far something is, in place of what was shown before; on a terminal only, and cut to its width."""
        if self._shows_progress:
            # One cell less: some terminals begin a new line after the last one, which nothing could take back.
            shown = sanitize_line(text)[: _width_of(self._messages) - 1]
            self._messages.write(f"\r\x1b[K{shown}")
            self._messages.flush()
            self._progress_is_shown = True

    def notice(self, text: str) -> None:
        """Prints a line beside the result; the same one only once."""
        if text in self._notices:
            return
        self._notices.add(text)
        self._clear_progress()
        self._messages.write(f"note: {sanitize_line(text)}\n")
        self._messages.flush()

    def result(self, text: str) -> None:
        """Prints a part of the result, to a terminal through the gate; raises `UserError` where that fails."""
        self._write(text if self._sanitizer is None else self._sanitizer.push(text))

    def _write(self, text: str) -> None:
        if not text:
            return
        self._clear_progress()
        try:
            self._results.write(text)
            self._results.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"the result cannot be written: {error.strerror}") from error
        self._at_line_start = text.endswith("\n")

    def _clear_progress(self) -> None:
        if self._progress_is_shown:
            self._messages.write("\r\x1b[K")
            self._messages.flush()
            self._progress_is_shown = False


def _width_of(stream: TextIO) -> int:
    """Cells in a line of the terminal that a stream leads to; 80 where nobody knows."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def percent(done: int, total: int) -> str:
    """How much of `total` is done; empty where there is no total."""
    return f"{100 * done // total} %" if total else ""
