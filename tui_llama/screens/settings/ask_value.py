"""Dialogs that ask for the value of a setting: one of several, or a number or text that is checked."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static, TextArea

from tui_llama.declarations import NONE, OneOf, Value
from tui_llama.errors import SettingsError
from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.screens.dialogs.pick import PickDialog, two_sides
from tui_llama.screens.settings.rows import SettingRow, shown_value
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.line_input import LineInput
from tui_llama.widgets.local_keys import WRITTEN_TEXT, local_bindings


class PickValue(PickDialog[str, str | None]):
    """A list of the allowed values, whose result is the chosen one, or None."""

    HELP = """A value
    The values that the setting may have.
    """
    KEYS = "Enter choose · {dialog_close} cancel"

    def __init__(self, row: SettingRow) -> None:
        assert isinstance(row.setting.range, OneOf)
        super().__init__(row.setting.range.texts)
        self._row = row
        self.TITLE_TEXT = row.title
        self.put_cursor(lambda value: value == row.value)

    def line(self, item: str, width: int) -> Content:
        """Returns the value, with a mark at the present one."""
        mark = "● " if item == self._row.value else "  "
        is_default = "default" if item == self._row.setting.default else ""
        return two_sides(mark + shown_value(self._row.setting, item), is_default, width)

    def details(self, item: str) -> str:
        """Returns what the setting does."""
        return self._row.setting.explanation

    def words(self, item: str) -> str:
        """Returns the value."""
        return shown_value(self._row.setting, item)

    def choose(self, item: str) -> None:
        """Closes the list with the value."""
        self.dismiss(item)

    def advice_when_empty(self, filter_text: str) -> str:
        """Says that no value is like this."""
        return "No value has this text."


class AskValue(Dialog[str | None]):
    """A line whose result is a text that the setting allows, or None if the user has left it."""

    HELP = """A value
    What the setting may be stands below the line.
    """

    def __init__(self, row: SettingRow) -> None:
        super().__init__()
        self._row = row

    def compose(self) -> ComposeResult:
        """Yields the line, what is allowed, a place for the refusal, and the keys."""
        row = self._row
        text = str(NONE) if row.value is None else str(row.value)
        with Vertical(classes="dialog -small -value") as box:
            box.border_title = row.title
            yield LineInput(text, select_on_focus=True, compact=True)
            yield Static(row.about, classes="advice", markup=False)
            message = Static("", classes="message", markup=False)
            message.display = False
            yield message
            yield Static(self.footer("Enter save · {dialog_close} cancel"), classes="keys")

    @on(LineInput.Changed)
    def _forget_refusal(self) -> None:
        self.query_one(".message").display = False

    @on(LineInput.Submitted)
    def _keep(self, event: LineInput.Submitted) -> None:
        try:
            self._row.setting.parse(event.value.strip(), self._row.title)
        except SettingsError as error:
            message = self.query_one(".message", Static)
            message.update(sanitize_line(f"{error}. {error.hint}"))
            message.display = True
        else:
            self.dismiss(event.value.strip())


class AskLongText(Dialog[str | None]):
    """A text of several lines, whose result is the text, or None if the user has left it."""

    HELP = """A text
    Enter begins a new line; Ctrl+S keeps the text.
    """

    def __init__(self, row: SettingRow) -> None:
        super().__init__()
        self._row = row

    BINDINGS = [*local_bindings(WRITTEN_TEXT)]  # noqa: RUF012 - as the base class has it

    def compose(self) -> ComposeResult:
        """Yields the text in a box, and the keys."""
        with Vertical(classes="dialog -list") as box:
            box.border_title = self._row.title
            yield TextArea(str(self._row.value or ""), compact=True, tab_behavior="focus")
            yield Static(self._row.setting.explanation, classes="details", markup=False)
            yield Static(self.footer("{text_save} save · {dialog_close} cancel"), classes="keys")

    def action_keep(self) -> None:
        """Closes the dialog with the text."""
        self.dismiss(self.query_one(TextArea).text.strip())


def ask_for(row: SettingRow) -> Dialog[str | None]:
    """Returns the dialog that suits the setting."""
    if isinstance(row.setting.range, OneOf):
        return PickValue(row)
    is_long = row.setting.name in ("system_prompt", "reply_start")
    return AskLongText(row) if is_long else AskValue(row)


def other_value(row: SettingRow) -> Value:
    """Returns the other one of two values."""
    assert isinstance(row.setting.range, OneOf)
    first, second = row.setting.range.texts
    return second if row.value == first else first
