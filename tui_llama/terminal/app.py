"""Textual's app, mended for real terminals: how they are read, drawn again, copied to and left."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from textual import events, on
from textual.app import App
from textual.driver import Driver

from tui_llama.terminal.colourless import Colourless, ReversedGrounds, forget_empty_variable

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.filter import LineFilter
    from textual.screen import Screen

# The alternate screen, mouse reports and marked pastes off, the cursor on: an editor that was ended may leave them so.
_LEAVE_SCREEN: Final = b"\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[?1049l"


class TerminalApp(App[None]):
    """A full-screen program that knows nothing of chats.

    Attributes:
        has_lent_terminal: Whether another program has the terminal now. Then this one goes on and draws nothing.
    """

    has_lent_terminal = False
    _early_input: "list[events.Key | events.Paste] | None" = None

    def __init__(self, css_path: "Sequence[Path]" = ()) -> None:
        forget_empty_variable()
        super().__init__(css_path=list(css_path))
        if self.no_color:
            self._filters = [Colourless()]  # in place of Textual's, which leave shades of grey
        self._reversed_grounds = ReversedGrounds()

    def get_line_filters(self) -> "Sequence[LineFilter]":
        """Returns what is applied to all that is drawn."""
        filters = super().get_line_filters()
        return [*filters, self._reversed_grounds] if self.native_ansi_color else filters

    def hold_input(self) -> None:
        """Keeps what is typed from now on until `release_input`: there may be nothing yet that could take it."""
        self._early_input = []

    async def release_input(self) -> None:
        """Hands on what was typed meanwhile, in order.

        Before the program reads the terminal, that sends Enter as a line feed and marks no paste. So text of several
        lines comes as one paste, whose line ends stay in it.
        """
        early, self._early_input = self._early_input or [], None
        for is_text, keys in groupby(early, _is_text):
            if is_text:
                text = "".join(event.character or "" for event in keys if isinstance(event, events.Key))
                await self.on_event(events.Paste(text))
            else:
                for event in keys:
                    await self.on_event(event)

    async def on_event(self, event: events.Event) -> None:
        """Handles an event, or keeps it: see `hold_input`."""
        if self._early_input is not None and isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            self._early_input.append(event)
        else:
            await super().on_event(event)

    async def run_in_terminal(self, command: Sequence[str]) -> int:
        """Gives the terminal to a command, and takes it back when that ends; meanwhile all else goes on.

        Returns:
            The exit status of the command.

        Raises:
            OSError: the command cannot be started.
            SuspendNotSupported: this terminal cannot be given away.
        """
        try:
            with self.suspend():
                self.has_lent_terminal = True
                try:
                    return await self._run_command(command)
                finally:
                    self.has_lent_terminal = False
        finally:
            self._draw_all()

    @staticmethod
    async def _run_command(command: Sequence[str]) -> int:
        process = await asyncio.create_subprocess_exec(*command)
        try:
            return await process.wait()
        finally:
            if process.returncode is None:  # this program ends
                process.terminate()
                try:
                    await process.wait()
                finally:
                    with suppress(OSError):  # the terminal is gone
                        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _LEAVE_SCREEN)

    def _display(self, screen: "Screen[Any]", renderable: "RenderableType | None") -> None:
        if not self.has_lent_terminal:
            super()._display(screen, renderable)

    def get_driver_class(self) -> type[Driver]:
        """Returns our driver, which reads the terminal; on Windows Textual's, since what is sent comes as events."""
        if sys.platform == "win32":
            return super().get_driver_class()
        from tui_llama.terminal.driver import TerminalDriver

        return TerminalDriver

    @on(Driver.SignalResume)
    def _draw_all(self) -> None:
        """Draws all: after the program was suspended, the terminal shows nothing of what did not change meanwhile."""
        self.screen.refresh()

    def keep_for_paste(self, text: str) -> None:
        """Keeps a text that the editor's key for pasting inserts, whatever the terminal does with it."""
        self._clipboard = text

    def write_sequence(self, sequence: str) -> None:
        """Writes to the terminal what it obeys, such as a sequence that copies a text."""
        if self._driver is not None:
            self._driver.write(sequence)

    async def _close_all(self) -> None:
        """Ends all widgets. Work that is ended while it waits for the removal of some ends these tasks with it."""
        task = asyncio.current_task()
        while True:  # each time goes on with those that are left
            try:
                await super()._close_all()
                break
            except asyncio.CancelledError:
                if task is None or task.cancelling():
                    raise
        self._next_callbacks.clear()  # which would wait for the same removals


def _is_text(event: events.Key | events.Paste) -> bool:
    return isinstance(event, events.Key) and (event.is_printable or event.character == "\n")
