"""The real program on a pseudo-terminal, under what random and broken terminals send."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from threading import Thread
from time import monotonic

import pytest

from tests.patience import HANG_SECONDS
from tests.terminal.byte_streams import PASTE_END, PASTE_START, random_stream

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import fcntl, runpy, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); " \
    "runpy.run_module('tests.terminal.chat_child', run_name='__main__')"  # fmt: skip
IGNORING_HANG_UP = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {PROGRAM}"
ESCAPE_KEY, F7 = b"\x1b[27u", b"\x1b[18~"

LEAVING_KEYS = b"\x03\x04\x11\x1a"  # quit, and suspend


class Terminal:
    """What a person sees of the program, and may send to it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._shown = bytearray()

    def send(self, content: bytes) -> None:
        """Sends it all, while what the program draws is read by somebody."""
        sender = Thread(target=_write_all, args=(self._descriptor, content))
        sender.start()
        while sender.is_alive():
            self._read(0.01)
        sender.join()

    def last_drawn(self) -> str:
        """What came last, for whoever reads of a failure: a traceback, if the program has ended with one."""
        while self._read(1.0):
            pass
        return bytes(self._shown[-6000:]).decode(errors="replace")

    def leave(self) -> None:
        """Closes the terminal."""
        os.close(self._descriptor)

    def until(self, words: str) -> None:
        """Returns once it was drawn, which must be in one piece; forgets what was drawn before."""
        assert self.shows(words, HANG_SECONDS), f"it was not drawn, but {bytes(self._shown[-2000:])!r}"

    def shows(self, words: str, seconds: float) -> bool:
        """Whether it is drawn in so many seconds; if so, forgets what was drawn."""
        end = monotonic() + seconds
        while words.encode() not in self._shown:
            if monotonic() > end or not self._read(max(0.0, end - monotonic())):
                return False
        self._shown.clear()
        return True

    def forget(self) -> None:
        """Forgets all that was drawn; the program must be stopped."""
        while self._read(0.0):
            pass
        self._shown.clear()

    def _read(self, silent_seconds: float) -> bool:
        if not select.select([self._descriptor], [], [], silent_seconds)[0]:
            return False
        try:
            content = os.read(self._descriptor, 1 << 16)
        except OSError:
            return False
        self._shown += content
        return bool(content)


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content[:1024]) :]


@contextmanager
def chat(program: str = PROGRAM) -> Iterator[tuple[Terminal, "subprocess.Popen[bytes]"]]:
    """The program, ready for a message."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment,
        start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        terminal = Terminal(ours)
        try:
            terminal.until("ready")
            yield terminal, process
        finally:
            process.kill()
            with suppress(OSError):  # a test may have closed it
                os.close(ours)


def paste(text: bytes) -> bytes:
    return PASTE_START + text + PASTE_END


@pytest.mark.parametrize("content", [b"\xe1", b"ab\xff\xfecd", b"\x1b[1114112u", b"\x1b[<0;99999999999999999999;1M"])
def test_bytes_that_make_no_sense_do_not_end_the_program(content: bytes) -> None:
    with chat() as (terminal, process):
        terminal.send(content)
        terminal.send(paste(b"still-here"))
        terminal.until("still-here")
        terminal.send(b"\x11")
        assert process.wait() == 0


def test_escape_sequences_and_control_keys_in_a_paste_are_text() -> None:
    with chat() as (terminal, process):
        terminal.send(paste(b"Look at this:\r\x1b[1;32mok\x1b[0m\r\x11\rrest"))
        terminal.until("rest")
        assert process.poll() is None
        terminal.send(b"\x11")
        assert process.wait() == 0


@pytest.mark.parametrize("program", [PROGRAM, IGNORING_HANG_UP], ids=["hang-up", "hang-up ignored"])
@pytest.mark.parametrize("number", range(3))
def test_a_terminal_that_goes_away_while_it_is_drawn_to_ends_the_program(number: int, program: str) -> None:
    random = Random(number)
    with chat(program) as (terminal, process):
        for _ in range(10):
            terminal.send(paste(random.randbytes(20).hex().encode() + b"\n"))
        terminal.leave()
        assert process.wait(HANG_SECONDS) == 128 + signal.SIGHUP


def test_a_terminal_that_goes_away_while_nothing_happens_ends_the_program_too() -> None:
    with chat(IGNORING_HANG_UP) as (terminal, process):
        terminal.leave()
        assert process.wait(HANG_SECONDS) == 128 + signal.SIGHUP


def test_ctrl_z_suspends_the_program_while_one_writes() -> None:
    with chat() as (terminal, process):
        terminal.send(b"still-here")
        terminal.until("still-here")
        terminal.send(b"\x1a")
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        terminal.forget()
        process.send_signal(signal.SIGCONT)
        terminal.until("still-here")
        terminal.send(b"\x11")
        assert process.wait(HANG_SECONDS) == 0


def test_no_random_stream_ends_the_program() -> None:
    random = Random(11)
    with chat() as (terminal, process):
        for number in range(10):
            for _ in range(25):
                stream = random_stream(random)
                if not any(key in stream.content for key in LEAVING_KEYS):
                    terminal.send(stream.content)
            # What has begun must end first, and dialogs be closed, of which any number may be open. What was written
            # is selected, to be replaced by the next; the mark has a line of its own, if it comes before that.
            mark = f"mark-{number}"
            marked = PASTE_END + ESCAPE_KEY * 3 + F7 + paste(f"\n{mark}".encode())
            assert any(_answers(terminal, marked, mark) for _ in range(int(HANG_SECONDS))), terminal.last_drawn()
            assert process.poll() is None, terminal.last_drawn()


def _answers(terminal: Terminal, content: bytes, words: str) -> bool:
    terminal.send(content)
    return terminal.shows(words, 1.0)


def test_what_did_not_change_is_drawn_again_after_the_program_was_suspended() -> None:
    with chat() as (terminal, process):
        terminal.send(paste(b"still-here"))
        terminal.until("still-here")
        process.send_signal(signal.SIGTSTP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        terminal.forget()
        process.send_signal(signal.SIGCONT)
        terminal.until("New chat")
        terminal.send(b"\x11")
        assert process.wait(HANG_SECONDS) == 0
