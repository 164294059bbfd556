"""Writing in the user's own editor."""

import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fakes.chat_app import opened
from tui_llama.app import ChatApp
from tui_llama.controllers.composing.external_editor import edited, editor_command
from tui_llama.errors import UserError


class FakeEditor:
    """Saves a text in the file that it is given.

    Attributes:
        command: What was run.
        seen: The text that the file had.
    """

    def __init__(self, saved: bytes = b"", status: int = 0) -> None:
        self.saved, self.status = saved, status
        self.command: list[str] = []
        self.seen = ""

    async def run(self, command: Sequence[str]) -> int:
        self.command = list(command)
        file = Path(command[-1])
        self.seen = file.read_text(encoding="utf-8")
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        file.write_bytes(self.saved)
        Path(f"{file}~").write_bytes(b"what editors leave behind")
        return self.status


def test_the_editor_of_the_environment_is_used_with_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    assert editor_command({"VISUAL": "code --wait", "EDITOR": "vi"}) == ["code", "--wait"]
    assert editor_command({"VISUAL": " ", "EDITOR": "'/my tools/edit' -x"}) == ["/my tools/edit", "-x"]
    monkeypatch.setattr("shutil.which", lambda name: name if name == "vi" else None)
    assert editor_command({}) == ["vi"]
    monkeypatch.setattr("shutil.which", lambda _name: None)
    for environment in ({}, {"EDITOR": "'half"}):
        with pytest.raises(UserError):
            editor_command(environment)


async def test_what_is_saved_comes_back_and_nothing_is_left_behind() -> None:
    editor = FakeEditor("zwei\nZeilen 漢\n".encode())
    assert await edited("one\nline", ["edit", "-x"], editor.run) == "zwei\nZeilen 漢"
    assert editor.seen == "one\nline" and editor.command[:2] == ["edit", "-x"]
    assert not Path(editor.command[-1]).parent.exists()


async def test_an_editor_that_fails_or_is_missing_is_an_error_and_nothing_is_left_behind() -> None:
    editor = FakeEditor(b"half", status=1)
    with pytest.raises(UserError, match="ended with status 1"):
        await edited("text", ["edit"], editor.run)
    assert not Path(editor.command[-1]).parent.exists()
    with pytest.raises(UserError, match="cannot be used"):
        await edited("text", ["/no/such/editor"], ChatApp._run_command)


async def test_the_key_opens_the_draft_and_puts_the_caret_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    editor = FakeEditor(b"better\ntext\n")
    monkeypatch.setenv("VISUAL", "edit")
    async with opened() as driver:
        monkeypatch.setattr(driver.app, "run_in_terminal", editor.run)
        await driver.write("text")
        await driver.pilot.press("ctrl+g")
        await driver.until(lambda: driver.written == "better\ntext")
        assert driver.app.chat_screen.composer.cursor_at_end_of_text
        editor.status = 2
        await driver.pilot.press("f4")
        await driver.until(lambda: "edit ended with status 2. Your text stays as it was." in driver.status)
        assert driver.written == "better\ntext"


async def test_where_the_terminal_cannot_be_given_away_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "edit")
    async with opened() as driver:
        await driver.pilot.press("ctrl+g")
        await driver.until(lambda: "No other program can be opened here" in driver.status)
