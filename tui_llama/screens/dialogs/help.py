"""The help: the keys and commands of the chat."""

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from tui_llama.screens.commands import COMMANDS, COMPOSER_KEYS, TRANSCRIPT_KEYS
from tui_llama.screens.dialogs.dialog import Dialog

_KEYS_WIDTH = 24


class HelpTable(Widget):
    """A table of keys and their meanings: side by side, or on two lines where there is no room for that."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"help-table--keys"}

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._rows = rows

    def render(self) -> Content:
        """Returns all rows of the table."""
        return self._content(self.content_size.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Returns the number of lines: one or two for each row."""
        return self._content(width).plain.count("\n") + 1

    def _content(self, width: int) -> Content:
        meaning_width = max(len(meaning) for _, meaning in self._rows)
        is_wide = _KEYS_WIDTH + meaning_width <= width
        return Content("\n").join(self._line(keys, meaning, is_wide) for keys, meaning in self._rows)

    @staticmethod
    def _line(keys: str, meaning: str, is_wide: bool) -> Content:
        gap = " " * (_KEYS_WIDTH - len(keys)) if is_wide else "\n    "
        return Content.assemble((keys, ".help-table--keys"), gap, meaning)


class HelpScreen(Dialog[None]):
    """A dialog with three short tables."""

    AUTO_FOCUS = ".tables"

    def compose(self) -> ComposeResult:
        """Yields the tables of the composer's keys, the transcript's keys, and the commands."""
        with Vertical(classes="dialog -tall") as box:
            box.border_title = "Help"
            with VerticalScroll(classes="tables"):
                yield Static("Writing", classes="heading")
                yield HelpTable(COMPOSER_KEYS)
                yield Static("Reading", classes="heading")
                yield HelpTable(TRANSCRIPT_KEYS)
                yield Static("Commands", classes="heading")
                yield HelpTable(_command_rows())
            yield Static("↑ ↓ scroll · Esc close", classes="keys")


def _command_rows() -> list[tuple[str, str]]:
    return [
        (f"/{command.slashes[0]}" + (f"  {command.shown_keys}" if command.shown_keys else ""), command.explanation)
        for command in COMMANDS
    ]
