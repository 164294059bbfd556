"""`tui-llama doctor` as its user sees it: the page, its exit status, and what is not on it."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.tiny_model import make_tiny_model
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.chats.store import Store
from tui_llama.cli.main import command_line
from tui_llama.engine.descriptions import ReadSpeed

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "tui_llama", "doctor"]


@pytest.fixture(autouse=True)
def sound_surroundings(monkeypatch: pytest.MonkeyPatch, home_folder: Path) -> None:
    """A user without models of other programs, in a terminal that is none, with a machine that was measured."""
    monkeypatch.setenv("HOME", str(home_folder))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setattr("tui_llama.models.machine._measured_speed", lambda: ReadSpeed(1e10, was_disturbed=False))
    for variable in ("LC_ALL", "HF_HOME", "HF_HUB_CACHE", "OLLAMA_MODELS", "LLAMA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def model() -> Path:
    """A model that can run."""
    paths.make_private_folder(paths.models_folder())
    return make_tiny_model(paths.models_folder() / "tiny.gguf")


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that is slow to begin is waited for."""
    monkeypatch.setattr("tui_llama.doctor.machine._CHILD_SECONDS", HANG_SECONDS)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command_line, ["doctor", *arguments])


def test_where_nothing_is_wrong_it_says_so_with_status_zero(model: Path) -> None:
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\n\nNothing is wrong.\n" in result.stdout
    for title in ("Program", "Machine code", "Processor and memory", "Terminal", "Folders", "Models", "Chats"):
        assert f"{title}\n  " in result.stdout


def test_where_something_is_wrong_it_says_what_to_do_with_status_one() -> None:
    result = run()
    assert result.exit_code == 1
    assert result.stdout.endswith("What is wrong\n  - There is no model on this machine.\n    tui-llama pull starter\n")


def test_broken_settings_are_wrong_and_the_rest_is_looked_at(model: Path) -> None:
    paths.make_private_folder(paths.config_folder())
    paths.settings_file().write_text("threads = ")
    result = run()
    assert result.exit_code == 1
    assert "is not valid TOML" in result.stdout and "can run" in result.stdout


def test_an_instruction_set_that_there_is_not_is_wrong_and_the_rest_is_looked_at(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**os.environ, "TUI_LLAMA_INSTRUCTION_SET": "abacus"}
    done = subprocess.run(COMMAND, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert "Machine code: TUI_LLAMA_INSTRUCTION_SET is 'abacus'" in done.stdout
    assert "\nFolders\n" in done.stdout and "\nSettings\n" in done.stdout


def test_chats_that_others_can_read_are_wrong(model: Path, home_folder: Path) -> None:
    with Store(paths.database_file()):
        pass
    paths.database_file().chmod(0o644)
    paths.data_folder().chmod(0o755)
    result = run()
    assert result.exit_code == 1
    assert "Other users of this machine can read ~/data/chats.sqlite3." in result.stdout
    assert "chmod -R go= ~/data" in result.stdout


def test_programs_get_json(model: Path) -> None:
    result = run("--json")
    page = json.loads(result.stdout)
    assert (result.exit_code, page["wrong"]) == (0, [])
    values = {row["name"]: row["value"] for section in page["sections"] for row in section["rows"]}
    assert values["memory"] > 0 and values["standard input"] is False


def test_nothing_on_the_page_tells_who_somebody_is(
    model: Path, home_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.rename(model.with_name("\x1b[31mred\x1b]0;x\x07.gguf"))
    with Store(paths.database_file()) as store:
        store.create_chat(title="my-title")
    for name, value in (
        ("USER", "walter"),
        ("HTTPS_PROXY", "http://walter:my-password@proxy"),
        ("HF_TOKEN", "my-token"),
        ("TUI_LLAMA_SYSTEM_PROMPT", "my-prompt"),
        ("SSH_CONNECTION", "192.0.2.7 1 192.0.2.8 22"),
    ):
        monkeypatch.setenv(name, value)
    for result in (run(), run("--json")):
        for secret in (str(home_folder), "walter", "my-", "192.0.2", "\x1b"):
            assert secret not in result.stdout
        assert "red" in result.stdout and "~/data/models" in result.stdout


# With a terminal of its own, whose answer it waits for as long as that takes.
ON_A_TERMINAL = """
import fcntl, functools, sys, termios
from tui_llama.start import main
from tui_llama.doctor import terminal_answers
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
patience = float(sys.argv.pop(1))
terminal_answers.asked_terminal = functools.partial(terminal_answers.asked_terminal, seconds=patience)
main()
"""


def test_on_a_terminal_it_asks_and_leaves_no_trace(model: Path) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    command = [sys.executable, "-c", ON_A_TERMINAL, str(HANG_SECONDS), "doctor"]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True
    ) as process:
        drawn = b""
        while b"\x1b[c" not in drawn:
            drawn += os.read(ours, 4096)
        os.write(ours, b"\x1b[?9u\x1b[?2026;1$y\x1b[?62;52c")
        # The end is known by its words: a terminal has none.
        while b"Nothing is wrong." not in drawn:
            drawn += os.read(ours, 4096)
        process.wait()
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (0, b"")
    page = drawn.rpartition(b"\x1b[K")[2].decode()
    assert "kitty keyboard      yes, flags 9" in page
    assert "clipboard (OSC 52)  yes, by its attributes" in page
    assert "synchronized        yes" in page
    assert "\x1b" not in page
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
