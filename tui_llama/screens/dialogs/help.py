"""The help: what has the focus, with its keys; then the keys of the chat and all commands, with the user's own keys."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any, ClassVar

import msgspec
from textual.app import ComposeResult
from textual.containers import Container, Vertical, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from tui_llama.screens.commands import COMMANDS, COMPOSER_KEYS, TRANSCRIPT_KEYS
from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.screens.keys.hints import bindings_of_focus
from tui_llama.screens.keys.keymap import Keymap
from tui_llama.screens.keys.names import spelled, spelled_list
from tui_llama.widgets.messages.acts import ACT_KEYS, MOVE_KEYS

_KEYS_WIDTH = 21
_LEAST_WIDTH = 60  # where a line has room for keys and meanings
_GAP = 3


class FocusHelp(msgspec.Struct, frozen=True):
    """The help for what has the focus: its name, what it is, and its keys with their meanings."""

    title: str
    text: str
    rows: Sequence[tuple[str, str]]


def help_of_focus(screen: Screen[Any]) -> FocusHelp:
    """Returns the help for what has the focus on a screen: its attribute `HELP`, or that of what it lies in."""
    focused = screen.focused
    nodes = [] if focused is None else [node for node in focused.ancestors_with_self if isinstance(node, Widget)]
    if isinstance(screen, Dialog):  # what a dialog is for says more than that there is a line to write in
        nodes = [screen, *nodes]
    text = next((node.HELP for node in nodes if node.HELP), "")
    title, _, words = text.partition("\n")
    rows = [(spelled(key), words) for key, words in bindings_of_focus(screen) if screen.is_modal or focused]
    return FocusHelp(title, " ".join(words.split()), rows)


class HelpTable(Widget):
    """Keys and their meanings: in as many columns as there is room for; where it is narrow, each on two lines."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"help-table--keys"}

    def __init__(self, rows: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._rows = rows

    def render(self) -> Content:
        """Returns all rows of the table."""
        return self._content(self.content_size.width)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Returns the number of lines that the columns need."""
        return self._content(width).plain.count("\n") + 1

    def _content(self, width: int) -> Content:
        meaning_width = max((Content(meaning).cell_length for _, meaning in self._rows), default=0)
        column_width = _KEYS_WIDTH + meaning_width
        indent = _KEYS_WIDTH if width >= _LEAST_WIDTH else 4
        if column_width > width:
            return Content("\n").join(self._hanging(*row, indent, width) for row in self._rows)
        columns = max(1, (width + _GAP) // (column_width + _GAP))
        lines = -(-len(self._rows) // columns)
        return Content("\n").join(self._line(self._rows[line::lines], column_width) for line in range(lines))

    def _line(self, rows: Sequence[tuple[str, str]], column_width: int) -> Content:
        cells = [self._cell(*row) for row in rows]
        blanks = [Content(" " * (column_width + _GAP - cell.cell_length)) for cell in cells[:-1]]
        return Content("").join(part for pair in zip(cells, [*blanks, Content("")], strict=True) for part in pair)

    def _hanging(self, keys: str, meaning: str, indent: int, width: int) -> Content:
        """Returns a row whose meaning has as many lines as it needs; the first is beside the keys if it fits."""
        lines = [" " * indent + line for line in wrap(meaning, max(1, width - indent))]
        if Content(keys).cell_length < indent == _KEYS_WIDTH:
            return self._cell(keys, "\n".join(lines).lstrip())
        return Content.assemble((keys, ".help-table--keys"), "\n", "\n".join(lines))

    @staticmethod
    def _cell(keys: str, meaning: str) -> Content:
        blank = " " * max(1, _KEYS_WIDTH - Content(keys).cell_length)
        return Content.assemble((keys, ".help-table--keys"), blank, meaning)


class HelpScreen(Dialog[None]):
    """A dialog with the help.

    Args:
        focus: What has the focus, which is explained first.
        keymap: The keys of the commands.
    """

    AUTO_FOCUS = ".tables"
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by the base class
        (0, "-narrow"),
        (150, "-wide"),
    ]

    def __init__(self, focus: FocusHelp, keymap: Keymap) -> None:
        super().__init__()
        self._focus_help = focus
        self._keymap = keymap

    def compose(self) -> ComposeResult:
        """Yields the tables: two columns on a wide screen, one below the other on a narrow one."""
        with Vertical(classes="dialog -tall -help") as box:
            box.border_title = "Help"
            with VerticalScroll(classes="tables"), Container(classes="columns"):
                with Vertical(classes="column"):
                    yield from self._explain_focus()
                    yield Static("Writing", classes="heading")
                    yield HelpTable(COMPOSER_KEYS)
                    yield Static("Reading", classes="heading")
                    yield HelpTable(TRANSCRIPT_KEYS)
                    yield Static("On a message", classes="heading")
                    yield HelpTable([*MOVE_KEYS, *self._act_rows()])
                with Vertical(classes="column"):
                    yield Static("Commands", classes="heading")
                    yield HelpTable(list(self._command_rows()))
            yield Static("↑ ↓ scroll · F2 settings and keys · Esc close", classes="keys")

    def _explain_focus(self) -> ComposeResult:
        focus = self._focus_help
        if focus.title:
            yield Static(focus.title, classes="heading", markup=False)
            yield Static(focus.text, classes="focus-help", markup=False)
            if focus.rows:
                yield HelpTable(focus.rows)

    def _act_rows(self) -> Iterator[tuple[str, str]]:
        for each in ACT_KEYS:
            own = self._keymap.keys.get(f"message_{each.act.name.lower()}")
            yield each.shown_keys if own is None else spelled_list(own), each.explanation

    def _command_rows(self) -> Iterator[tuple[str, str]]:
        for command in COMMANDS:
            words = f"/{command.slashes[0]}" if command.slashes else ""
            yield "  ".join(filter(None, (words, self._keymap.shown(command)))), command.explanation
