"""A dialog that shows the whole of a long text. It draws only the visible rows, because laying out all is slow."""

from typing import ClassVar

from rich.segment import Segment
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widgets import Static

from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.text_safety import drawn
from tui_llama.widgets.cutting import rows
from tui_llama.widgets.local_keys import SHOWN_TEXT, local_bindings
from tui_llama.widgets.long_text import extent

_TAB_CELLS = 4


class TextRows(ScrollView, can_focus=True):
    """A text in rows as wide as the widget, broken between any two grapheme clusters."""

    def __init__(self, text: str) -> None:
        super().__init__(classes="rows")
        self._lines = [line.expandtabs(_TAB_CELLS) for line in drawn(text).split("\n")]
        self._rows: list[str] = []

    def on_resize(self) -> None:
        """Breaks the text into rows for the new width."""
        width = max(1, self.scrollable_content_region.width)
        self._rows = [row for line in self._lines for row in rows(line, width)]
        self.virtual_size = Size(width, len(self._rows))
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Returns the visible row at line `y` of the widget."""
        row = self.scroll_offset.y + y
        text = self._rows[row] if row < len(self._rows) else ""
        return Strip([Segment(text, self.rich_style)]).adjust_cell_length(self.size.width, self.rich_style)


class WholeText(Dialog[None]):
    """A dialog with a long text and the keys."""

    HELP = """A long message
    The whole of a message that the chat shows only in part.
    """
    AUTO_FOCUS = ".rows"
    BINDINGS: ClassVar[list[BindingType]] = [*local_bindings(SHOWN_TEXT)]

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        """Yields the rows of the text in a box that says its length, and the keys."""
        with Vertical(classes="dialog -whole") as box:
            box.border_title = extent(self._text)
            yield TextRows(self._text)
            yield Static(
                self.footer("↑ ↓ PgUp PgDn Home End scroll · {text_copy} copy · {dialog_close} close"), classes="keys"
            )

    def action_copy(self) -> None:
        """Copies the whole text as it was written."""
        self.app.copy_to_clipboard(self._text)
