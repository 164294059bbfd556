"""A dialog that asks for one line of text."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.widgets.line_input import LineInput


class AskText(Dialog[str | None]):
    """A dialog whose result is the line, or None if the user left it or typed nothing.

    Args:
        question: The title of the dialog.
        text: The text in the line at first.
    """

    HELP = """A line of text
    Enter keeps what the line says.
    """

    def __init__(self, question: str, text: str = "") -> None:
        super().__init__()
        self._question = question
        self._text = text

    def compose(self) -> ComposeResult:
        """Yields the line in a box with the question as its title, and the keys."""
        with Vertical(classes="dialog -small") as box:
            box.border_title = self._question
            yield LineInput(self._text, select_on_focus=True, compact=True)
            yield Static(self.footer("Enter save · {dialog_close} cancel"), classes="keys")

    @on(LineInput.Submitted)
    def _keep(self, event: LineInput.Submitted) -> None:
        self.dismiss(event.value.strip() or None)
