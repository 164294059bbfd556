"""A dialog that asks what to do with unsaved data before the program ends."""

from enum import StrEnum
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Button, Static

from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.text_safety import sanitize_line
from tui_llama.widgets.local_keys import UNSAVED, local_bindings


class Unsaved(StrEnum):
    """The user's answer. Each value is the id of a button."""

    TRY_AGAIN = "again"
    SAVE_AS_FILE = "file"
    LOSE = "lose"
    STAY = "stay"


class AskUnsaved(Dialog[Unsaved | None]):
    """A dialog whose result is what the user wants to do. None means to stay.

    Args:
        cause: Why the data is not saved; not trusted.
        losses: What quitting would lose, one line each; not trusted.
        can_stay: Whether the program may still go on.
    """

    HELP = """Not saved
    Something could not be written to the disk. Save it elsewhere, try again, or lose it.
    """
    AUTO_FOCUS = "#again"
    BINDINGS: ClassVar[list[BindingType]] = [
        *local_bindings(UNSAVED),
        Binding("down,right", "app.focus_next", "Next button", show=False),
        Binding("up,left", "app.focus_previous", "Button before", show=False),
    ]

    def __init__(self, cause: str, losses: list[str], *, can_stay: bool) -> None:
        super().__init__()
        self._cause = sanitize_line(cause)
        self._losses = [sanitize_line(loss) for loss in losses]
        self._can_stay = can_stay

    def compose(self) -> ComposeResult:
        """Yields the cause, the losses, and a button for each answer."""
        with Vertical(classes="dialog") as box:
            box.border_title = "Not everything is saved"
            yield Static(self._cause, markup=False)
            yield Static("\n".join(("Quitting now would lose:", *self._losses)), markup=False)
            yield Button("Try again (t)", id=Unsaved.TRY_AGAIN, compact=True)
            yield Button("Save as a file and quit (f)", id=Unsaved.SAVE_AS_FILE, compact=True)
            yield Button("Quit and lose it (l)", id=Unsaved.LOSE, variant="error", compact=True)
            if self._can_stay:
                yield Button("Stay (s)", id=Unsaved.STAY, compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(Unsaved(event.button.id or Unsaved.STAY))

    def action_answer(self, answer: str) -> None:
        """Answers by a key, as the buttons do."""
        if self._can_stay or answer != Unsaved.STAY:
            self.dismiss(Unsaved(answer))
