"""What may follow the leader key: a box at the bottom of the screen with the letters and their commands."""

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from tui_llama.screens.commands import COMMANDS
from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.screens.keys.keymap import Keymap
from tui_llama.screens.keys.names import spelled

_COLUMN_WIDTH = 24


class LetterTable(Widget):
    """Letters and titles, in as many columns as there is room for."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"letter-table--keys"}

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._rows = rows

    def render(self) -> Content:
        """Returns all letters, one column after the other."""
        lines = self._line_count(self.content_size.width)
        return Content("\n").join(
            Content("").join(self._cell(*row) for row in self._rows[line::lines]) for line in range(lines)
        )

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Returns the number of lines that the columns need."""
        return self._line_count(width)

    def _line_count(self, width: int) -> int:
        columns = max(1, width // _COLUMN_WIDTH)
        return max(1, -(-len(self._rows) // columns))

    @staticmethod
    def _cell(letter: str, title: str) -> Content:
        blank = " " * max(1, _COLUMN_WIDTH - 8 - Content(title).cell_length)
        return Content.assemble((f"{letter:<6}", ".letter-table--keys"), "  ", title, blank)


class LeaderMenu(Dialog[str | None]):
    """A box whose result is the name of the command that was chosen by its letter, or None."""

    HELP = """The leader key
    A letter does what stands behind it.
    """

    def __init__(self, keymap: Keymap) -> None:
        super().__init__()
        self._letters = dict(keymap.letters)

    def compose(self) -> ComposeResult:
        """Yields the letters in a box, and the keys."""
        titles = {command.name: command.title for command in COMMANDS}
        with Vertical(classes="dialog -bottom") as box:
            box.border_title = "Then press"
            yield LetterTable([(spelled(letter), titles[name]) for letter, name in self._letters.items()])
            yield Static("Esc close", classes="keys")

    def on_key(self, event: events.Key) -> None:
        """Takes the letter; any other key closes the box, as a wrong letter does."""
        event.stop()
        names = (event.character, event.key)
        self.dismiss(next((self._letters[name] for name in names if name in self._letters), None))
