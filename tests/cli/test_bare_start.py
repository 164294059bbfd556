"""`tui-llama` without arguments, which opens the screen without the command line."""

import os
import pty
import subprocess
import sys

import pytest

from tui_llama import paths
from tui_llama.cli import bare_start
from tui_llama.settings import Settings


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "argv", ["tui-llama"])
    monkeypatch.setattr("tui_llama.system.standard_streams.give_screen_a_terminal", lambda: None)


@pytest.mark.usefixtures("on_a_terminal")
def test_only_what_the_command_line_need_not_read_is_a_bare_start(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bare_start.is_bare()
    monkeypatch.setenv("_TUI_LLAMA_COMPLETE", "bash_source")
    assert not bare_start.is_bare()
    monkeypatch.delenv("_TUI_LLAMA_COMPLETE")
    monkeypatch.setenv("TERM", "dumb")
    assert not bare_start.is_bare()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "argv", ["tui-llama", "--incognito"])
    assert not bare_start.is_bare()


@pytest.mark.usefixtures("on_a_terminal")
def test_the_screen_opens_with_the_settings_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    paths.settings_file().parent.mkdir(parents=True)
    paths.settings_file().write_text("prompt_cache_mib = 7\n")
    opened: list[tuple[object, Settings]] = []
    monkeypatch.setattr(bare_start, "open_screen", lambda options, settings: opened.append((options, settings)))
    bare_start._open()
    assert [(options, settings.prompt_cache_mib) for options, settings in opened] == [({}, 7)]


@pytest.mark.parametrize(
    ("line", "word"), [("prompt_cache_mib = -7", b"prompt_cache_mib"), ('persona = "nobody"', b"nobody")]
)
def test_settings_that_make_no_sense_are_told_in_place_of_the_screen(line: str, word: bytes) -> None:
    paths.settings_file().parent.mkdir(parents=True)
    paths.settings_file().write_text(f"{line}\n")
    process_id, terminal = pty.fork()
    if process_id == 0:  # pragma: no cover - another process
        os.execve(sys.executable, [sys.executable, "-m", "tui_llama"], {**os.environ, "TERM": "xterm"})
    said = b""
    try:
        while more := os.read(terminal, 4096):
            said += more
    except OSError:  # the program has ended
        pass
    _process_id, status = os.waitpid(process_id, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert word in said


def test_without_a_terminal_the_command_line_says_what_to_use() -> None:
    command = [sys.executable, "-m", "tui_llama"]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert run.returncode == 2
    assert "The screen needs a terminal. Without the screen, use" in run.stderr
