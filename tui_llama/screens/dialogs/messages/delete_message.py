"""Asks how to delete a message that something follows: alone, or with all of that."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Static

from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.local_keys import DELETION, local_bindings

_LONGEST_TEXT = 200


class DeleteMessage(Dialog[bool | None]):
    """A dialog whose result is True for the message alone, False for all that follows it, too, and None for neither.

    Args:
        text: What the message says; not trusted.
        followed_by: How many messages follow it, on all branches.
    """

    HELP = """Delete a message
    Alone: what follows it stays, and the model reads that again. Undo (u) brings back what was deleted, either way.
    """
    AUTO_FOCUS = "#alone"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(DELETION),
        Binding("right,down", "app.focus_next", "Next button", show=False),
        Binding("left,up", "app.focus_previous", "Button before", show=False),
    ]

    def __init__(self, text: str, followed_by: int) -> None:
        super().__init__()
        self._text = sanitize_line(" ".join(text[:_LONGEST_TEXT].split())) or "…"
        self._followed_by = followed_by
        self._price = ""

    def compose(self) -> ComposeResult:
        """Yields the message, what it would cost, and the buttons."""
        with Vertical(classes="dialog -small") as box:
            box.border_title = "Delete this message?"
            yield Static(self._text, classes="quoted", markup=False)
            count = self._followed_by
            yield Static(f"{count} {'message follows' if count == 1 else 'messages follow'} it.", markup=False)
            yield Static(self._price, classes="details", id="price", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Only this (o)", id="alone", compact=True)
                yield Button(f"All {count + 1} (a)", id="all", variant="error", compact=True)
                yield Button("None (n)", id="none", compact=True)

    def tell_price(self, words: str) -> None:
        """Shows what it costs to delete the message alone."""
        self._price = words
        if self.is_attached and self.query("#price"):
            self.query_one("#price", Static).update(words)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss({"alone": True, "all": False}.get(event.button.id or ""))

    def action_answer(self, is_alone: bool) -> None:
        """Answers by a key, as the buttons do."""
        self.dismiss(is_alone)
