"""The real program in a real terminal, with the starter: typed, pasted, resized, killed, and opened again."""

import os
import shutil
import signal
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.fakes.tmux import Tmux, tmux_at
from tui_llama import paths
from tui_llama.chat import Role
from tui_llama.chats.store import Store

pytestmark = [pytest.mark.starter, pytest.mark.slow]

SIZES = [(100, 30), (60, 20)]
READY = "● ready"
NO_KEYS = bytes(range(128, 256)) + b"\x1b[999;999~\x1b[<0;9999;9999M\x1b]52;c;AAAA\x07\x1bP+q\x1b\\"


class Program:
    """The program in a terminal, as a user starts it."""

    def __init__(self, tmux: Tmux, model: Path, home: Path) -> None:
        self.tmux = tmux
        self._model = model
        self._home = home
        self._modes_before = ""

    def start(self, size: tuple[int, int] = (100, 30), *options: str, max_tokens: int = 24) -> None:
        """Starts it, again if it has ended, and waits until it can answer."""
        self.tmux.stop()
        environment = {
            paths.HOME_VARIABLE: str(self._home),
            paths.KERNEL_CACHE_VARIABLE: os.environ[paths.KERNEL_CACHE_VARIABLE],
            "TERM": "tmux-256color",
            "LANG": "C.UTF-8",
            "TUI_LLAMA_MAX_TOKENS": str(max_tokens),
        }
        command = [sys.executable, "-m", "tui_llama", "-m", str(self._model), "--temp", "0", *options]
        folder = Path(__file__).resolve().parents[2]
        self.tmux.start(["sleep", "0"], environment, size, folder)
        self.tmux.until_ended()
        self._modes_before = self.tmux.modes
        self.tmux.stop()
        self.tmux.start(command, environment, size, folder)
        screen = self.tmux.until_shown(READY)
        (line,) = (line for line in screen.splitlines() if READY in line)
        assert len(line) >= size[0] - 2  # the program takes the whole window

    def ends(self) -> int:
        """Waits for its end, which must leave the terminal as it was; returns its exit status."""
        status = self.tmux.until_ended()
        assert self.tmux.modes == self._modes_before
        return status

    def ask(self, text: str) -> str:
        """Sends a message and waits for the end of its answer; returns the screen."""
        self.tmux.type(text)
        self.tmux.until_shown(text[-20:])
        before = complete_messages()
        self.tmux.keys("Enter")
        self.tmux.until(lambda _screen: complete_messages() == before + 2, "an answer on the disk")
        return self.tmux.until_shown(READY)


def complete_messages() -> int:
    """Returns the number of messages on the disk that are whole, while the program writes there."""
    database = f"file:{quote(str(paths.database_file()))}?mode=ro"
    with closing(sqlite3.connect(database, uri=True)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM messages WHERE state = 'complete'").fetchone()
    return int(count)


@pytest.fixture
def program(starter_model: Path, home_folder: Path) -> Iterator[Program]:
    """Gives the program, which is not started yet."""
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux, a terminal that tests can type into")
    with tempfile.TemporaryDirectory() as folder, tmux_at(Path(folder) / "tmux") as tmux:
        yield Program(tmux, starter_model, home_folder)


@pytest.mark.parametrize("size", SIZES)
def test_a_chat_goes_on_after_the_program_was_ended(program: Program, size: tuple[int, int]) -> None:
    program.start(size)
    program.ask("Say hello in one short sentence.")
    program.tmux.keys("C-q")
    assert program.ends() == 0
    program.start(size)
    program.tmux.keys("C-s")
    program.tmux.until_shown("Say hello in one")
    program.tmux.keys("Enter")
    program.tmux.until_shown("generated")
    screen = program.ask("Thanks.")
    assert " reused" in screen
    assert " 0 reused" not in screen


def test_what_is_written_survives_a_kill(program: Program) -> None:
    program.start()
    program.tmux.type("half a thought")
    program.tmux.until_shown("half a thought")
    database = paths.database_file()

    def is_kept(_screen: str) -> bool:
        return any(b"half a thought" in file.read_bytes() for file in database.parent.glob("chats.sqlite3*"))

    program.tmux.until(is_kept, "the draft on the disk")
    os.kill(program.tmux.process_id, signal.SIGKILL)
    program.tmux.until_ended()
    program.start()
    program.tmux.until_shown("half a thought")


def test_a_long_paste_is_sent_whole(program: Program) -> None:
    program.start()
    lines = [f"line {number} about whales" for number in range(200)]
    program.tmux.paste("\n".join(lines))
    program.tmux.until(lambda screen: "199" in screen or "200 lines" in screen, "the paste")
    program.tmux.keys("Enter")
    program.tmux.until(lambda screen: READY not in screen, "an answer that begins")
    program.tmux.keys("Escape")
    program.tmux.until_shown(READY)
    with Store(paths.database_file()) as store:
        (chat,) = store.list_chats()
        message = store.messages(chat.chat_id)[0]
    assert [each.text for each in message.attachments] == ["\n".join(lines)]


@pytest.mark.parametrize("size", SIZES)
def test_a_dropped_file_is_attached_and_says_later_that_it_has_changed(
    program: Program, size: tuple[int, int], tmp_path: Path
) -> None:
    notes = tmp_path / "a b.txt"
    notes.write_bytes("The llama is called Bruno. Caf\u00e9.\r\n".encode("latin-1"))
    program.start(size)
    program.tmux.paste(f"'{notes}' ")
    program.tmux.until_shown("a b.txt  34 bytes ·")
    program.ask("What is the name of the llama?")
    program.tmux.until_shown("Bruno")
    notes.write_text("another llama")
    program.tmux.keys("C-q")
    assert program.ends() == 0
    program.start(size)
    program.tmux.keys("C-s")
    program.tmux.until_shown("What is the name")
    program.tmux.keys("Enter")
    program.tmux.until_shown("file changed")


@pytest.mark.parametrize("size", SIZES)
def test_an_answer_is_edited_continued_and_undone(program: Program, size: tuple[int, int]) -> None:
    program.start(size)
    program.ask("Say hello in one short sentence.")
    program.tmux.keys("M-Up")
    program.tmux.until_shown("e edit")
    program.tmux.keys("e")
    program.tmux.until_shown("Editing the answer")
    program.tmux.type(" And llamas")
    program.tmux.until_shown("And llamas")
    program.tmux.keys("Enter")
    program.tmux.until_shown("edited · F5 goes on · version 2 of 2")
    program.tmux.keys("F5")
    words = ("And llamas", "version 2 of 2", " generated")
    program.tmux.until(
        lambda screen: "edited" not in screen and READY in screen and all(each in screen for each in words),
        "an answer that goes on",
    )
    program.tmux.keys("M-u")
    screen = program.tmux.until(lambda screen: "version 1 of 2" in screen, "the answer before the edit")
    assert "And llamas" not in screen


@pytest.mark.parametrize("size", SIZES)
def test_a_chat_forks_and_its_tree_leads_back(program: Program, size: tuple[int, int]) -> None:
    program.start(size)
    program.ask("Say hello in one short sentence.")
    program.ask("Thanks a lot.")
    program.tmux.keys("M-Up")
    program.tmux.until_shown("c continue")
    program.tmux.keys("k", "k")
    program.tmux.keys("b")
    program.tmux.until(lambda screen: "Thanks a lot." not in screen, "a branch")
    program.tmux.until_shown(READY)
    program.ask("Tell me more.")
    program.tmux.keys("M-t")
    tree = program.tmux.until_shown("2/2 You: Tell me more.")
    assert "1/2 You: Thanks a lot." in tree
    program.tmux.keys("Up", "Up", "Enter")
    program.tmux.until(lambda screen: "The tree" not in screen and "Thanks a lot." in screen, "the first branch")
    program.tmux.keys("k", "Right")
    program.tmux.until(lambda screen: "Thanks a lot." not in screen and "Tell me more." in screen, "the version after")


def test_a_message_that_is_sent_during_an_answer_waits_for_its_end(program: Program) -> None:
    program.start(max_tokens=200)
    program.tmux.type("First question: tell me a long story.")
    program.tmux.until_shown("a long story.")
    program.tmux.keys("Enter")
    program.tmux.until_shown("Enter queue")
    program.tmux.type("Second question")
    program.tmux.keys("Enter")
    program.tmux.until(lambda _screen: complete_messages() == 4, "both answers")
    program.tmux.until(lambda screen: "queued" not in screen and READY in screen, "nothing queued")
    with Store(paths.database_file()) as store:
        (chat,) = store.list_chats()
        asked = [message.text for message in store.messages(chat.chat_id) if message.role is Role.USER]
    assert asked == ["First question: tell me a long story.", "Second question"]


@pytest.mark.parametrize("size", SIZES)
def test_a_path_is_completed_and_attached_and_taken_off_again(program: Program, size: tuple[int, int]) -> None:
    program.start(size)
    program.tmux.type("@Makef")
    program.tmux.until_shown("   Makefile")
    program.tmux.keys("Tab")
    program.tmux.until_shown("Makefile  ")
    program.tmux.until(lambda screen: " lines · " in screen, "the size of what is attached")
    program.tmux.keys("BTab")
    program.tmux.until_shown("x remove")
    program.tmux.keys("x")
    screen = program.tmux.until(lambda screen: " lines · " not in screen, "nothing attached")
    assert "@Makefile" in screen


def test_any_bytes_and_any_size_leave_the_program_in_order(program: Program) -> None:
    program.start()
    for columns in range(40, 200, 16):
        program.tmux.resize(columns, columns // 4)
        program.tmux.send_bytes(
            bytes(range(128, 256)) + b"\x1b[999;999~\x1b[<0;9999;9999M\x1b]52;c;AAAA\x07\x1bP+q\x1b\\"
        )
    program.tmux.resize(100, 30)
    program.tmux.keys("Escape", "C-c")
    program.tmux.until(lambda screen: READY in screen, "the program as before")
    program.tmux.keys("C-q")
    assert program.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_in_order(program: Program, number: signal.Signals) -> None:
    program.start()
    os.kill(program.tmux.process_id, number)
    assert program.ends() == 128 + number
