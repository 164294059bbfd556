"""Asks for one line of text."""

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from tui_llama.screens.dialog import Dialog
from tui_llama.widgets.line_input import LineInput


class AskText(Dialog[str | None]):
    """Returns the line, or None when the user left.

    Args:
        question: What is asked for.
        text: What stands there at first.
    """

    def __init__(self, question: str, text: str = "") -> None:
        super().__init__()
        self._question = question
        self._text = text

    def compose(self) -> ComposeResult:
        """The question, the line, the keys."""
        with Vertical(classes="dialog -small") as box:
            box.border_title = self._question
            yield LineInput(self._text, select_on_focus=True, compact=True)
            yield Static("Enter keep · Esc leave as it was", classes="keys")

    @on(LineInput.Submitted)
    def _keep(self, event: LineInput.Submitted) -> None:
        self.dismiss(event.value.strip() or None)
