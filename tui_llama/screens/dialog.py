"""What all dialogs share: a box in the middle of the screen, closed by Esc or Ctrl+C."""

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from tui_llama.screens.ends_once import EndsOnce
from tui_llama.screens.lasting_focus import LastingFocus

Result = TypeVar("Result")


class Dialog(EndsOnce, LastingFocus, ModalScreen[Result]):
    """A box over the chat. Its content stands in a container with the class `dialog`."""

    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by the base class
        (0, "-short"),
        (24, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "dismiss_dialog", "Close", show=False, priority=True)
    ]

    def action_dismiss_dialog(self) -> None:
        """Closes it without a result."""
        self.dismiss(None)
