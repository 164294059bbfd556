"""Runs a program in a pseudo-terminal and watches what it draws, and when."""

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import perf_counter
from types import TracebackType
from typing import Self

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # control sequences
    r"|\x1b[\]PX^_].*?(?:\x1b\\|\x07)"  # strings: titles, queries
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
_READ_BYTES = 1 << 16


class Terminal:
    """A command in a pseudo-terminal of its own. A context manager, which ends the command.

    Args:
        command: The program and its arguments.
        environment: The whole environment of the program.
        columns: The width in cells.
        rows: The height in cells.

    `process_id` is the process of the program. `started_at` is the time of its start, by `perf_counter`.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], columns: int = 120, rows: int = 40
    ) -> None:
        self.started_at = perf_counter()
        self.process_id, self._descriptor = pty.fork()
        if self.process_id == 0:
            try:
                os.execvpe(command[0], list(command), {**environment, "TERM": "xterm-256color"})
            finally:
                os._exit(127)
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, size)
        # A read may end inside a character.
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._drawn = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Hangs up, and kills the program if it does not end by itself within five seconds."""
        with suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGHUP)
        deadline = perf_counter() + 5
        while perf_counter() < deadline and self._read(0.1):
            pass
        with suppress(ProcessLookupError):
            os.kill(self.process_id, signal.SIGKILL)
        os.waitpid(self.process_id, 0)
        os.close(self._descriptor)

    def type(self, text: str) -> None:
        """Sends `text` as keys."""
        os.write(self._descriptor, text.encode())

    def paste(self, text: str) -> None:
        """Sends a text as a paste. Reads the output meanwhile, so that neither side waits for the other."""
        data = f"\x1b[200~{text}\x1b[201~".encode()
        while data:
            data = data[os.write(self._descriptor, data[:1024]) :]
            self._read(0)

    def forget(self) -> None:
        """Forgets everything that was drawn so far."""
        self._drawn = ""

    def has_drawn(self, *texts: str) -> bool:
        """Tells whether one of `texts` was drawn since `forget`."""
        visible = _ESCAPES.sub("", self._drawn)
        return any(text in visible for text in texts)

    def has_drawn_anything(self) -> bool:
        """Tells whether any letter was drawn since `forget`."""
        return any(character.isalpha() for character in _ESCAPES.sub("", self._drawn))

    def watch(self, seconds: float) -> bool:
        """Waits up to `seconds` for something to be drawn. Returns False if the program has ended."""
        return self._read(seconds)

    def wait_for(self, text: str, seconds: float) -> float | None:
        """Returns the seconds until `text` is drawn, or None if it is not drawn within `seconds`."""
        start = perf_counter()
        while not self.has_drawn(text):
            left = start + seconds - perf_counter()
            if left <= 0 or not self._read(left):
                return None
        return perf_counter() - start

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except OSError:  # the program has closed its side
            return False
        self._drawn += self._decoder.decode(data)
        return bool(data)
