"""Standard input, output and error, and Ctrl+C, in whatever state the shell hands them over.

A stream may be closed, broken or full. A missing input becomes an empty one, and a missing output discards everything.
A result that cannot be written is an error, which is reported once. A message that cannot be written is not an error.
Ctrl+C ends the program quietly wherever it comes: with status 130 and without a traceback. This module knows no
commands. It imports little, because it is imported first.
"""

import array
import fcntl
import io
import os
import select
import signal
import stat
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO, Any, Final, TextIO

from tui_llama.errors import UserError

INTERRUPTED: Final = 130
READER_GONE: Final = 141

_SILENCE_SECONDS: Final = 1.0
_BYTE_ORDER_MARK: Final = "\ufeff"
_LAST_INTERRUPT: Final = 3
"""The Ctrl+C that ends the process at once: the first asks for the end, and `timeout` sends two by itself."""


# --- before anything else ---------------------------------------------------------------------------------------


def prepare() -> None:
    """Makes all three streams usable. Must be called before any file is opened, which might get their descriptors."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            _open_nothing_as(descriptor)
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - for the whole run
    sys.stdout = _text_stream(_ResultFile, sys.stdout, 1)
    sys.stderr = _text_stream(_MessageFile, sys.stderr, 2)


def give_screen_a_terminal() -> None:
    """Lets Textual draw on standard output, which is a terminal, if standard error is not a terminal.

    Textual draws on the original standard error. A user who redirects that to a file wants the messages there, not the
    drawing.
    """
    if not os.isatty(2):
        sys.__stderr__ = sys.__stdout__  # type: ignore[misc] # declared for others, who have no reason to change it


def finish(status: int) -> int:
    """Flushes the streams after the last output. From then on Ctrl+C does nothing.

    Args:
        status: The status with which the program is about to end.

    Returns:
        The status with which to end: `status`, or `READER_GONE` if it was 0 and the reader of the result has gone.

    Raises:
        UserError: the rest of the result cannot be written.
    """
    sys.stderr.flush()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or READER_GONE
    finally:
        # While it shuts down, the interpreter would give Ctrl+C its original meaning back.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


def _open_nothing_as(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)


def _text_stream(kind: "type[_ResultFile | _MessageFile]", old: TextIO | None, descriptor: int) -> TextIO:
    """Returns a stream to a descriptor, with the encoding of `old` and the failure handling of `kind`.

    There is no `BufferedWriter` between: an interrupt at the end of a write would let it write the same bytes again.
    """
    if old is None:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a device
            discarding = kind(os.dup(nothing.fileno()), "wb")
        return io.TextIOWrapper(discarding, encoding="utf-8", errors="replace")
    if isinstance(getattr(old, "buffer", None), kind):
        return old
    with suppress(OSError):
        old.flush()
    return io.TextIOWrapper(
        kind(descriptor, "wb", closefd=False),
        encoding=old.encoding,
        errors="replace",
        line_buffering=descriptor == 2 or old.isatty(),
    )


class _ResultFile(io.FileIO):
    """The file of the result. It reports the first failure; later writes, also the interpreter's, do nothing."""

    _has_failed = False

    def write(self, content: Any, /) -> int:
        if self._has_failed:
            return memoryview(content).nbytes
        try:
            return _write(super().write, self, content)
        except BrokenPipeError:
            self._has_failed = True
            raise
        except OSError as error:
            self._has_failed = True
            raise UserError(f"the result cannot be written: {error.strerror}") from error


class _MessageFile(io.FileIO):
    """The file of messages. It reports no failure: the result does not depend on it, and nobody could read a report."""

    def write(self, content: Any, /) -> int:
        with suppress(OSError):
            return _write(super().write, self, content)
        return memoryview(content).nbytes


def _write(write: Any, file: io.FileIO, content: Any) -> int:
    """Writes all of the content to a file and returns the number of bytes.

    Waits while the file is a full pipe, even if another program has made the pipe non-blocking.
    """
    rest = memoryview(content).cast("B")
    total = len(rest)
    while rest:
        count = write(rest)
        if count is None:
            select.select([], [file], [])
        else:
            rest = rest[count:]
    return total


# --- standard input -----------------------------------------------------------------------------------------------


def read_text() -> str:
    """Returns all of standard input as text, without a byte order mark. Tells the user after a second that it waits.

    Raises:
        UserError: it cannot be read, or is not UTF-8 text.
    """
    waiting = threading.Timer(_SILENCE_SECONDS, _say_that_we_wait)
    waiting.daemon = True
    waiting.start()
    try:
        content = _binary_input().read()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise UserError(f"standard input cannot be read: {cause}") from error
    finally:
        waiting.cancel()
    try:
        return content.decode().removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise UserError(f"standard input is not UTF-8 text: byte {error.start} is wrong") from error


def holds_unread_bytes() -> bool:
    """Tells whether standard input is a file, pipe or socket with bytes that nobody has read yet."""
    try:
        descriptor = sys.stdin.fileno()
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return os.lseek(descriptor, 0, os.SEEK_CUR) < status.st_size
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            count = array.array("i", [0])
            fcntl.ioctl(descriptor, termios.FIONREAD, count)
            return count[0] > 0
    except (OSError, ValueError):  # not open, or not readable
        pass
    return False


def _binary_input() -> IO[bytes]:
    return sys.stdin.buffer


def _say_that_we_wait() -> None:
    way = "; Ctrl+D ends it" if sys.stdin.isatty() else ""
    sys.stderr.write(f"note: waiting for the end of standard input{way}\n")
    sys.stderr.flush()


# --- Ctrl+C -------------------------------------------------------------------------------------------------------


class _Interrupts:
    """The number of times that Ctrl+C was pressed."""

    count = 0


def end_at_interrupt() -> None:
    """Makes Ctrl+C end the process at once from now on. For times when there is nothing to tidy up."""
    signal.signal(signal.SIGINT, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Makes Ctrl+C raise `KeyboardInterrupt` inside the block, so that work under way can be tidied up.

    If code in the block turns the interrupt into another exception, the block raises `KeyboardInterrupt` from that one.
    """
    sys.unraisablehook = _unraisable
    signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    except Exception as error:
        if _Interrupts.count:
            raise KeyboardInterrupt from error
        raise
    finally:
        end_at_interrupt()


def _interrupt(number: int, frame: FrameType | None) -> None:
    _Interrupts.count += 1
    if _Interrupts.count == 1:
        raise KeyboardInterrupt
    if _Interrupts.count >= _LAST_INTERRUPT:
        _leave(number, frame)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _unraisable(unraisable: "sys.UnraisableHookArgs") -> None:
    """Ends the process if a `KeyboardInterrupt` comes where none can be raised and would be lost in a traceback."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(unraisable)
