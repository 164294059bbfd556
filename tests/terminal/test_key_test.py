"""What `tui-llama keys` shows, and that the terminal is in order afterwards, however it ends."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import HANG_SECONDS
from tui_llama.screens.keys.keymap import Keymap
from tui_llama.screens.keys.reach import out_of_reach, why_not
from tui_llama.terminal.driver import TerminalInput
from tui_llama.terminal.key_test import key_line

ROOT = Path(__file__).resolve().parents[2]
SHOW = """
from tui_llama.system.endings import endings_as_exits
from tui_llama.terminal.key_test import key_terminal, show_keys
with endings_as_exits(), key_terminal(0, 1):
    show_keys(0, lambda line: print(line, end="\\r\\n", flush=True))
"""


@pytest.mark.parametrize(
    ("content", "shown", "name"),
    [
        (b"\x1b[1;5A", "ESC [ 1 ; 5 A", "ctrl+up"),
        (b"\x0e", "^N", "ctrl+n"),
        (b"\x1b[13;2u", "ESC [ 1 3 ; 2 u", "shift+enter"),
        ("é".encode(), "é", "é"),
        (b"\x1b[200~hello\x1b[201~", "ESC [ 2 0 0 ~ h e l l o ESC [ 2 0 1 ~", "a paste of 5 characters"),
        (b"\x1b[1;1;1;1X", "ESC [ 1 ; 1 ; 1 ; 1 X", "nothing that this program knows"),
    ],
)
def test_a_line_has_the_bytes_and_the_name(content: bytes, shown: str, name: str) -> None:
    line = key_line(content, TerminalInput().feed(content))

    assert line.startswith(shown) and line.endswith(name)


def test_which_keys_need_kittys_protocol() -> None:
    assert why_not("shift+enter") == "is sent as Enter"
    assert why_not("ctrl+i") == "is sent as Tab"
    assert why_not("super+c") == "is not sent"
    assert all(why_not(key) is None for key in ("ctrl+n", "ctrl+pagedown", "alt+up", "f2", "escape", "alt+enter"))
    missing = [each.key for each in out_of_reach(Keymap({"new_chat": "ctrl+1"}), has_kitty_protocol=False)]
    assert {"Shift+Enter", "Ctrl+Enter", "Ctrl+1"} <= set(missing)
    assert out_of_reach(Keymap(), has_kitty_protocol=True) == []


class Shown:
    """The program on a pseudo-terminal."""

    def __init__(self) -> None:
        self.own, other = pty.openpty()
        self.before = termios.tcgetattr(other)
        self.other = other
        self.process = subprocess.Popen(
            [sys.executable, "-c", SHOW], cwd=ROOT, stdin=other, stdout=other, stderr=other, start_new_session=True
        )
        self.text = b""

    def until(self, words: bytes) -> None:
        while words not in self.text:
            has_come, _, _ = select.select([self.own], [], [], HANG_SECONDS)
            assert has_come, f"it never came, but {self.text!r}"
            self.text += os.read(self.own, 4096)

    @property
    def mode(self) -> list[object]:
        return termios.tcgetattr(self.other)


@pytest.fixture
def shown() -> Iterator[Shown]:
    shown = Shown()
    yield shown
    shown.process.kill()
    shown.process.wait()
    os.close(shown.own)
    os.close(shown.other)


def test_keys_are_shown_until_ctrl_c_and_the_terminal_is_as_before(shown: Shown) -> None:
    shown.until(b"\x1b[>25u")
    assert shown.mode != shown.before
    os.write(shown.own, b"\x1b[1;5A")
    shown.until(b"ctrl+up")
    os.write(shown.own, b"\x03")
    shown.until(b"\x1b[<u")
    assert shown.process.wait(HANG_SECONDS) == 0
    assert shown.mode == shown.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_leaves_the_terminal_as_before(shown: Shown, number: signal.Signals) -> None:
    shown.until(b"\x1b[>25u")
    shown.process.send_signal(number)
    shown.until(b"\x1b[<u")
    assert shown.process.wait(HANG_SECONDS) == 128 + number
    assert shown.mode == shown.before
