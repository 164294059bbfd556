"""A real terminal to work the program in: tmux, which types, pastes, resizes and tells what stands on the screen."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.patience import HANG_SECONDS

_POLL_SECONDS = 0.05


class Tmux:
    """One tmux server with one window.

    Args:
        socket: Where the server listens; a file that is not there yet.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], size: tuple[int, int], folder: Path
    ) -> None:
        """Runs a program from a shell in a window of this size, columns by rows; the window stays after its end."""
        variables = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        columns, rows = size
        self._run(
            *("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(folder)),
            *variables,
            *("sh", "-c", '"$@"; echo "ended with $? "; exec cat', "sh"),
            *arguments,
        )

    def keys(self, *names: str) -> None:
        """Presses keys, by tmux's names."""
        self._run("send-keys", *names)

    def type(self, text: str) -> None:
        """Types a text."""
        self._run("send-keys", "-l", "--", text)

    def send_bytes(self, content: bytes) -> None:
        """Sends bytes as they are, which may be no keys of any terminal."""
        self._run("send-keys", "-H", *(f"{byte:02x}" for byte in content))

    def paste(self, text: str) -> None:
        """Pastes a text, between the marks of a paste where the program has asked for them."""
        subprocess.run([*self._command, "load-buffer", "-"], input=text.encode(), check=True)
        self._run("paste-buffer", "-p", "-d")

    def resize(self, columns: int, rows: int) -> None:
        """Gives the window another size."""
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    @property
    def screen(self) -> str:
        """The text on the screen."""
        return self._run("capture-pane", "-p")

    @property
    def process_id(self) -> int:
        """The program's process."""
        shell = self._run("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    @property
    def modes(self) -> str:
        """The modes of the window that a program may change: its screen, mouse reports, the cursor, keypad, echo."""
        flags = "#{alternate_on} #{mouse_any_flag} #{cursor_flag} #{keypad_cursor_flag} #{keypad_flag} #{pane_tty}"
        *modes, device = self._run("display-message", "-p", flags).split()
        line = subprocess.run(["stty", "-g", "-F", device], check=True, stdout=subprocess.PIPE, text=True).stdout
        return f"{' '.join(modes)} {line.strip()}"

    def until(self, condition: Callable[[str], object], what: str) -> str:
        """Waits until the screen is as wanted; returns it."""
        ends_at = time.monotonic() + HANG_SECONDS
        while not condition(screen := self.screen):
            assert time.monotonic() < ends_at, f"never: {what}\n{screen}"
            time.sleep(_POLL_SECONDS)
        return screen

    def until_shown(self, text: str) -> str:
        """Waits until a text stands on the screen; returns the screen."""
        return self.until(lambda screen: text in screen, text)

    def until_ended(self) -> int:
        """Waits for the end of the program; returns its exit status, 128 and its number for a signal."""
        ended = re.compile(r"ended with (\d+)\b")
        match = ended.search(self.until(ended.search, "the end"))
        assert match is not None
        return int(match[1])

    def stop(self) -> None:
        """Ends the server and whatever runs in it."""
        subprocess.run([*self._command, "kill-server"], stderr=subprocess.DEVNULL, check=False)
        self._socket.unlink(missing_ok=True)  # the server ends a little later, and the next one must not ask it

    @property
    def _command(self) -> tuple[str, ...]:
        return ("tmux", "-S", str(self._socket))

    def _run(self, *arguments: str) -> str:
        # A size in the environment, as other tests leave it there, would be stronger than that of the window.
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        command = [*self._command, *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


@contextmanager
def tmux_at(socket: Path) -> Iterator[Tmux]:
    """Gives a terminal, and ends what runs in it."""
    tmux = Tmux(socket)
    try:
        yield tmux
    finally:
        tmux.stop()
