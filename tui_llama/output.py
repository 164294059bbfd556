"""The output of commands without a screen: the result on one stream, everything else on the other.

On a terminal the result is sanitized, as on the screen. A file or a pipe gets the exact text, because its reader wants
that, and the program that shows the text later must sanitize it anyway.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

from tui_llama.errors import UserError
from tui_llama.text_safety import TextSanitizer, sanitize_line

_USUAL_WIDTH: Final = 80


class Output:
    """Prints the result on one stream, and on the other notices and a line of progress that is overwritten.

    Args:
        results: The stream of the result. On a terminal the result ends in a newline.
        messages: The stream of everything else.
        shows_thoughts: Whether a model's thought is shown beside the result, on a terminal only.
    """

    def __init__(self, results: TextIO, messages: TextIO, *, shows_thoughts: bool = True) -> None:
        self._results = results
        self._messages = messages
        self._sanitizer = TextSanitizer() if results.isatty() else None
        self._shows_progress = messages.isatty()
        self._thoughts = TextSanitizer() if shows_thoughts and messages.isatty() else None
        self._is_in_thought = False
        self._progress_is_shown = False
        self._at_line_start = True
        self._notices: set[str] = set()

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Leaves the terminal tidy, whatever happens inside the block."""
        try:
            yield
            if self._sanitizer is not None:
                self._write(self._sanitizer.finish())
        finally:
            self._clear_progress()
            self._end_thought()
            if self._results.isatty() and not self._at_line_start:
                self._write("\n")

    def progress(self, text: str) -> None:
        """Shows a line of progress in place of the one before. Does so only on a terminal, cut to its width."""
        if self._shows_progress:
            # One cell less, because some terminals begin a new line after the last cell, which cannot be taken back.
            shown = sanitize_line(text)[: _width_of(self._messages) - 1]
            self._messages.write(f"\r\x1b[K{shown}")
            self._messages.flush()
            self._progress_is_shown = True

    def notice(self, text: str) -> None:
        """Prints a line beside the result, each text only once."""
        if text in self._notices:
            return
        self._notices.add(text)
        self._clear_progress()
        self._end_thought()
        if self._sanitizer is not None and self._messages.isatty() and not self._at_line_start:
            self._messages.write("\n")  # both are shown on one terminal; the result itself stays as it is
            self._at_line_start = True
        self._messages.write(f"note: {sanitize_line(text)}\n")
        self._messages.flush()

    def thought(self, text: str) -> None:
        """Prints a part of the thought before the result, dimmed, if thoughts are shown."""
        if text and self._thoughts is not None:
            self._clear_progress()
            self._messages.write(f"\x1b[2m{self._thoughts.push(text)}\x1b[22m")
            self._messages.flush()
            self._is_in_thought = True

    def result(self, text: str) -> None:
        """Prints a part of the result, sanitized if it goes to a terminal.

        Raises:
            UserError: the result cannot be written.
            BrokenPipeError: the reader of the result has gone.
        """
        self._write(text if self._sanitizer is None else self._sanitizer.push(text))

    def _write(self, text: str) -> None:
        if not text:
            return
        self._clear_progress()
        self._end_thought()
        try:
            self._results.write(text)
            self._results.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise UserError(f"the result cannot be written: {error.strerror}") from error
        self._at_line_start = text.endswith("\n")

    def _end_thought(self) -> None:
        if self._is_in_thought:
            self._messages.write("\n\n")
            self._messages.flush()
            self._is_in_thought = False

    def _clear_progress(self) -> None:
        if self._progress_is_shown:
            self._messages.write("\r\x1b[K")
            self._messages.flush()
            self._progress_is_shown = False


def _width_of(stream: TextIO) -> int:
    """Returns the width in cells of the terminal to which a stream leads, or 80 if it is unknown."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH
    except (OSError, ValueError):
        return _USUAL_WIDTH


def percent(done: int, total: int) -> str:
    """Returns the share of `total` that is done, such as "50 %"; empty if `total` is 0."""
    return f"{100 * done // total} %" if total else ""
