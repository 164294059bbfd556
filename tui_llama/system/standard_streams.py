"""Standard input, output and error, and Ctrl+C: what a shell gives a program, whatever state it is in.

A stream may be closed, broken or full. What is missing becomes nothing: an empty input, an output that goes nowhere.
A result that cannot be written is an error, which is told once; a message that cannot be written is no error. Ctrl+C is
quiet wherever it comes: status 130, and no traceback. Knows nothing of commands; imports little, as it comes first.
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
"""The first Ctrl+C asks for the end, one more may come by itself (`timeout` sends two), a third one means it."""


# --- before anything else ---------------------------------------------------------------------------------------


def prepare() -> None:
    """Makes all three streams usable. To be called before any file is opened: it might get a stream's descriptor."""
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
    """Lets a screen be drawn on standard output, which is a terminal, where standard error is none.

    Textual draws on what was standard error when the program began. Who sends messages to a file means no drawings.
    """
    if not os.isatty(2):
        sys.__stderr__ = sys.__stdout__  # type: ignore[misc] # declared for others, who have no reason to change it


def finish(status: int) -> int:
    """Writes what is still in the streams; to be called once nothing is written any more. Then Ctrl+C does nothing.

    Args:
        status: With which the program is about to end.

    Returns:
        The status with which it ends: that of a reader who went away counts where nothing was wrong before.

    Raises:
        UserError: the rest of the result cannot be written.
    """
    sys.stderr.flush()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        status = status or READER_GONE
    finally:
        # All is done but the interpreter's farewells, during which it would give Ctrl+C its first meaning back.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


def _open_nothing_as(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != descriptor:
        os.dup2(nothing, descriptor)
        os.close(nothing)


def _text_stream(kind: "type[_ResultFile | _MessageFile]", old: TextIO | None, descriptor: int) -> TextIO:
    """A stream to a descriptor, which writes as the one that Python made, and says what we want of failures."""
    if old is None:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a device
            raw = kind(os.dup(nothing.fileno()), "wb")
        return io.TextIOWrapper(io.BufferedWriter(raw), encoding="utf-8", errors="replace")
    if isinstance(getattr(getattr(old, "buffer", None), "raw", None), kind):
        return old
    with suppress(OSError):
        old.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(kind(descriptor, "wb", closefd=False)),
        encoding=old.encoding,
        errors="replace",
        line_buffering=descriptor == 2 or old.isatty(),
    )


class _ResultFile(io.FileIO):
    """Where the result goes. The first failure is told; then nothing more is tried, not even by the interpreter."""

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
    """Where messages go. The result does not depend on them, so a failure is not told; nobody could read of it."""

    def write(self, content: Any, /) -> int:
        with suppress(OSError):
            return _write(super().write, self, content)
        return memoryview(content).nbytes


def _write(write: Any, file: io.FileIO, content: Any) -> int:
    """Writes to a file. Waits where a pipe is full that another program has set not to let anybody wait."""
    while (count := write(content)) is None:
        select.select([], [file], [])
    return int(count)


# --- standard input -----------------------------------------------------------------------------------------------


def read_text() -> str:
    """All of standard input, without the mark that some programs put before a text. After a silent second it says so.

    Raises:
        UserError: it cannot be read, or is no UTF-8 text.
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
    """Whether somebody has put something into standard input, a file or a pipe, that nobody has read yet."""
    try:
        descriptor = sys.stdin.fileno()
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            return os.lseek(descriptor, 0, os.SEEK_CUR) < status.st_size
        if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            count = array.array("i", [0])
            fcntl.ioctl(descriptor, termios.FIONREAD, count)
            return count[0] > 0
    except (OSError, ValueError):  # not open, or not for reading
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
    """How often Ctrl+C was pressed."""

    count = 0


def end_at_interrupt() -> None:
    """From now on Ctrl+C ends the process at once: nothing is under way that would have to be tidied up."""
    signal.signal(signal.SIGINT, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, Ctrl+C raises `KeyboardInterrupt`, so that what is under way can be tidied up.

    However it comes out, perhaps as another exception of somebody who has caught it, it is a `KeyboardInterrupt` here.
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
    """A `KeyboardInterrupt` that came where none can be raised would be lost, with a traceback."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(unraisable)
