"""The list of colour themes. The theme under the cursor is shown at once; Esc brings back the one before."""

import msgspec
from textual import on
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList

from tui_llama.screens.dialogs.pick import PickDialog, two_sides


class ListedTheme(msgspec.Struct, frozen=True):
    """A theme of the list, and what it is listed under. The name is safe to print."""

    name: str
    heading: str
    detail: str = ""


class ThemePicker(PickDialog[ListedTheme, str | None]):
    """A dialog whose result is the name of the chosen theme, or None.

    Args:
        themes: The themes, those with the same heading together.
        current: The name of the present theme.
    """

    HELP = """Themes
    The colours of the program. The theme under the cursor is shown at once. Your own are files in the folder that is
    named here.
    """
    TITLE_TEXT = "Theme"
    KEYS = "↑ ↓ look · Enter keep · {dialog_close} as before"

    class Looked(Message):
        """Posted when the cursor is on another theme."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, themes: list[ListedTheme], current: str) -> None:
        super().__init__(themes)
        self._current = current
        self.put_cursor(lambda theme: theme.name == current)

    def line(self, item: ListedTheme, width: int) -> Content:
        """Returns the name, with a mark at the present theme."""
        mark = "● " if item.name == self._current else "  "
        return two_sides(mark + item.name, item.detail, width)

    def heading(self, item: ListedTheme) -> str:
        """Returns whose theme it is."""
        return item.heading

    def words(self, item: ListedTheme) -> str:
        """Returns the name and whose it is."""
        return f"{item.name} {item.heading} {item.detail}"

    def choose(self, item: ListedTheme) -> None:
        """Closes the list with this theme."""
        self.dismiss(item.name)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says that no theme has this name."""
        return "No theme has this name."

    @on(OptionList.OptionHighlighted)
    def _look(self) -> None:
        if self.highlighted is not None:
            self.post_message(self.Looked(self.highlighted.name))
