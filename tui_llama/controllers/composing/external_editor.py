"""Lets the user write in another editor, the one that the environment names."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from textual.app import SuspendNotSupported

from tui_llama.controllers.views import HintView, RunAlone, ScreenView
from tui_llama.errors import UserError
from tui_llama.text_safety import sanitize_line

_FALLBACKS: Final = ("nano", "vim", "vi")
_FILE_NAME: Final = "message.md"

RunCommand = Callable[[Sequence[str]], Awaitable[int]]
"""Gives the terminal to a command and returns its exit status when it has ended; raises an OSError where it cannot
begin."""


class EditorView(ScreenView, HintView, Protocol):
    """The app, as the controller uses it."""

    async def run_in_terminal(self, command: Sequence[str]) -> int:
        """See `TerminalApp.run_in_terminal`."""
        ...


class ExternalEditorController:
    """Opens the draft in an editor, and takes over what is saved there.

    Args:
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.
    """

    def __init__(self, view: EditorView, run: RunAlone) -> None:
        self._view = view
        self._run = run

    def open(self) -> None:
        """Opens the draft in the editor."""
        self._run("editor", self._edit)

    async def _edit(self) -> None:
        composer = self._view.chat_screen.composer
        try:
            text = await edited(composer.text, editor_command(os.environ), self._view.run_in_terminal)
        except SuspendNotSupported:
            self._view.show_hint("No other program can be opened here. Start this one in a terminal.")
            return
        except UserError as error:
            self._view.show_hint(f"{error}. {error.hint}")
            return
        if self._view.can_draw and text != composer.text:
            composer.replace_text(text)


def editor_command(environment: Mapping[str, str]) -> list[str]:
    """Returns the user's editor and its arguments: `VISUAL`, else `EDITOR`, else one that is there.

    Raises:
        UserError: there is none, or what is named so is no command.
    """
    named = environment.get("VISUAL", "").strip() or environment.get("EDITOR", "").strip()
    if not named:
        found = next((name for name in _FALLBACKS if shutil.which(name)), None)
        if found is None:
            raise UserError("there is no editor", "Set EDITOR, such as EDITOR=nano, and start again.")
        return [found]
    try:
        return shlex.split(named)
    except ValueError as error:
        raise UserError(f"the editor {sanitize_line(named)} is no command", "Set EDITOR to its name.") from error


async def edited(text: str, command: Sequence[str], run: RunCommand) -> str:
    """Returns the text as it is saved in the editor. The file is in a folder of its own, which is removed.

    Raises:
        UserError: the editor failed; nothing of the text is lost.
    """
    name = sanitize_line(command[0])
    try:
        with tempfile.TemporaryDirectory(prefix="tui_llama-") as folder:  # only this user may look into it
            file = Path(folder, _FILE_NAME)
            file.write_text(text, encoding="utf-8", errors="replace", newline="")
            status = await run([*command, str(file)])
            if status:
                raise UserError(f"{name} ended with status {status}", "Your text stays as it was.")
            saved = file.read_bytes()
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise UserError(f"{name} cannot be used: {cause}", "Set EDITOR to an editor that is installed.") from error
    return _text_of(saved, text)


def _text_of(saved: bytes, before: str) -> str:
    """Returns the saved text without the line end that editors add at the end."""
    text = saved.decode("utf-8", "replace").replace("\r\n", "\n")
    return text.removesuffix("\n") if not before.endswith("\n") else text
