"""A program that is told to end by a signal: its exit status says so, and what it had begun is tidied up."""

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes.headless_program import PROGRAM, ROOT, start
from tests.patience import HANG_SECONDS, has_ended, needs_descriptors_of_processes
from tui_llama import paths
from tui_llama.chats.store import Store
from tui_llama.system.endings import endings_as_exits

BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)

# The real screen, whose engine's process does what it is told without any model.
SCREEN = """
import os
from pathlib import Path
from tui_llama import start
from tui_llama.cli import screen
from tui_llama.engine.process.worker import EngineWorker

class TellingWorker(EngineWorker):
    async def _started_child(self):
        child = await super()._started_child()
        Path(os.environ["PID_FILE"]).write_text(str(child.process.pid))
        return child

screen._make_local_engine = lambda: TellingWorker("tests.fakes.child_engines:ObedientEngine")
start.main()
"""


@BOTH
@pytest.mark.parametrize("command", ["ask", "complete"])
def test_an_answer_that_is_ended_keeps_what_was_printed(command: str, number: signal.Signals) -> None:
    with start(command, "Once", "-m", "long.gguf", "--temp", "0", "--no-loop-guard") as process:
        assert process.stdout is not None
        assert process.stdout.read(10).isalpha()
        process.send_signal(number)
        rest, errors = process.communicate()
    assert (process.returncode, errors) == (128 + number, b"")
    assert rest == b"" or rest.isalpha()


@BOTH
def test_a_load_that_is_ended_leaves_no_word(number: signal.Signals) -> None:
    with start("complete", "Once", "-m", "endless.gguf") as process:
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(number)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (128 + number, b"")


@pytest.mark.parametrize("command", [("cache", "clear"), ("models", "remove", "nothing")], ids=" ".join)
@BOTH
def test_a_command_that_waits_for_its_user_ends_too(command: tuple[str, ...], number: signal.Signals) -> None:
    program = "import click, sys\nclick.confirm = lambda *a, **k: (print('?', flush=True), sys.stdin.read())\n"
    program += "import tui_llama.cli.model_listing as m\nm.choose_found = lambda name: click.confirm()\n"
    program += "from tui_llama.start import main\nmain()\n"
    with subprocess.Popen(
        [sys.executable, "-c", program, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"?\n"
        process.send_signal(number)
        process.wait()
    assert process.returncode == 128 + number


def test_a_signal_that_is_ignored_ends_nothing() -> None:
    program = "import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + PROGRAM
    arguments = ("complete", "Once", "-m", "long.gguf", "--temp", "0", "-n", "300", "--no-loop-guard")
    with start(*arguments, program=program) as process:
        assert process.stdout is not None
        first = process.stdout.read(10)
        process.send_signal(signal.SIGHUP)
        rest, _ = process.communicate()
    assert (process.returncode, len(first + rest)) == (0, 300)


class Terminal:
    """A terminal with the program on it, and somebody who looks at it."""

    def __init__(self, folder: Path) -> None:
        model = folder / "model.gguf"
        model.write_bytes(b"")
        self._pid_file = folder / "pid"
        self.keyboard, self.line = pty.openpty()
        fcntl.ioctl(self.line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.modes_before = self.modes()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCREEN, "-m", str(model)],
            stdin=self.line,
            stdout=self.line,
            stderr=self.line,
            cwd=ROOT,
            env={**os.environ, "TERM": "xterm-256color", "PID_FILE": str(self._pid_file)},
            start_new_session=True,
        )
        self._shown = b""
        self._has_come = threading.Condition()
        self._looking = threading.Thread(target=self._look)
        self._looking.start()

    def _look(self) -> None:
        with suppress(OSError, ValueError):
            while chunk := os.read(self.keyboard, 65536):
                with self._has_come:
                    self._shown += chunk
                    self._has_come.notify_all()

    def wait_for(self, text: bytes) -> None:
        with self._has_come:
            assert self._has_come.wait_for(lambda: text in self._shown, HANG_SECONDS), self._shown[-2000:]

    def type(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)

    def modes(self) -> list[object]:
        return termios.tcgetattr(self.line)

    def engine_has_ended(self) -> bool:
        """Waits for the end of the engine's process."""
        return has_ended(int(self._pid_file.read_text()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.line)
        self._looking.join()
        os.close(self.keyboard)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def answers() -> list[str]:
    with Store(paths.database_file()) as store:
        (chat,) = store.list_chats()
        return [message.text for message in store.messages(chat.chat_id)]


@needs_descriptors_of_processes
@BOTH
def test_the_screen_ends_with_its_engine_and_keeps_the_answer(terminal: Terminal, number: signal.Signals) -> None:
    terminal.wait_for(b"ready")
    terminal.type(b"write LLAMAS\r")
    terminal.wait_for(b"answering")
    terminal.process.send_signal(number)
    terminal.process.wait()

    assert terminal.process.returncode == 128 + number
    assert terminal.engine_has_ended()
    assert terminal.modes() == terminal.modes_before
    assert answers() == ["write LLAMAS", "LLAMAS"]


@needs_descriptors_of_processes
@BOTH
def test_it_ends_as_well_while_nothing_is_under_way(terminal: Terminal, number: signal.Signals) -> None:
    terminal.wait_for(b"ready")
    terminal.process.send_signal(number)
    terminal.process.wait()

    assert terminal.process.returncode == 128 + number
    assert terminal.engine_has_ended()
    assert terminal.modes() == terminal.modes_before


@BOTH
def test_an_ending_that_became_another_exception_is_still_an_ending(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as end, endings_as_exits():
        try:
            os.kill(os.getpid(), number)
        except SystemExit as exit:
            raise RuntimeError from exit
    assert end.value.code == 128 + number


def test_an_exception_without_an_ending_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError), endings_as_exits():
        raise RuntimeError
