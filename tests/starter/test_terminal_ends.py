"""However the real program ends, the terminal is as it was: also while an editor is open, and after a crash."""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.tmux import Tmux, tmux_at
from tui_llama import paths

pytestmark = [pytest.mark.starter, pytest.mark.slow]

READY = "● ready"
CRASHING = """
from tui_llama.controllers.preferences.actions import PreferenceActions
def fail(self):
    raise RuntimeError("a fault in a handler")
PreferenceActions.action_help = fail
from tui_llama.start import main
main()
"""


class Program:
    """The program in a terminal whose modes before it are known."""

    def __init__(self, tmux: Tmux, model: Path, home: Path) -> None:
        self.tmux = tmux
        self._environment = {
            paths.HOME_VARIABLE: str(home),
            paths.KERNEL_CACHE_VARIABLE: os.environ[paths.KERNEL_CACHE_VARIABLE],
            "TERM": "tmux-256color",
            "LANG": "C.UTF-8",
        }
        self._options = ["-m", str(model), "--temp", "0"]
        self._before = ""

    def start(self, size: tuple[int, int], code: list[str], **environment: str) -> None:
        """Starts it and waits until it can answer."""
        folder = Path(__file__).resolve().parents[2]
        variables = {**self._environment, **environment}
        self.tmux.start(["sleep", "0"], variables, size, folder)
        self.tmux.until_ended()
        self._before = self.tmux.modes
        self.tmux.stop()
        self.tmux.start([sys.executable, *code, *self._options], variables, size, folder)
        self.tmux.until_shown(READY)

    def ends(self) -> int:
        """Waits for its end, which must leave the terminal as it was; returns its exit status."""
        status = self.tmux.until_ended()
        assert self.tmux.modes == self._before
        return status


@pytest.fixture
def program(starter_model: Path, home_folder: Path) -> Iterator[Program]:
    """Gives the program, which is not started yet."""
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux, a terminal that tests can type into")
    with tempfile.TemporaryDirectory() as folder, tmux_at(Path(folder) / "tmux") as tmux:
        yield Program(tmux, starter_model, home_folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_an_editor_is_open(program: Program, tmp_path: Path, number: signal.Signals) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nstty raw -echo\nprintf "\\033[?1049h the editor is open"\nexec sleep 1000\n')
    editor.chmod(0o755)
    program.start((100, 30), ["-m", "tui_llama"], EDITOR=str(editor), VISUAL="")
    program.tmux.keys("C-g")
    program.tmux.until_shown("the editor is open")
    os.kill(program.tmux.process_id, number)
    assert program.ends() == 128 + number


def test_a_crash(program: Program) -> None:
    program.start((60, 20), ["-c", CRASHING])
    program.tmux.keys("F1")
    assert program.ends() != 0
