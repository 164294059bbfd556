"""The base of all dialogs: a box in the middle of the screen, which Esc or Ctrl+C closes."""

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from tui_llama.screens.ends_once import EndsOnce
from tui_llama.screens.lasting_focus import LastingFocus

Result = TypeVar("Result")


class Dialog(EndsOnce, LastingFocus, ModalScreen[Result]):
    """A box over the chat. A subclass puts its content into a container with the class `dialog`."""

    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by the base class
        (0, "-short"),
        (24, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "dismiss_dialog", "Close", show=False, priority=True)
    ]

    def action_dismiss_dialog(self) -> None:
        """Closes the dialog without a result."""
        self.dismiss(None)
