"""The base of all dialogs: a box in the middle of the screen, which Esc or Ctrl+C closes."""

from typing import ClassVar, TypeVar

from textual.binding import BindingType
from textual.screen import ModalScreen

from tui_llama.screens.ends_once import EndsOnce
from tui_llama.screens.keys.footers import footer
from tui_llama.screens.lasting_focus import LastingFocus
from tui_llama.widgets.local_keys import DIALOG, local_bindings

Result = TypeVar("Result")


class Dialog(EndsOnce, LastingFocus, ModalScreen[Result]):
    """A box over the chat. A subclass puts its content into a container with the class `dialog`."""

    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by the base class
        (0, "-short"),
        (24, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [*local_bindings(DIALOG)]

    def footer(self, template: str) -> str:
        """Returns the line of keys below the dialog, with the user's own: see `footers.footer`."""
        return footer(template, self.app._keymap)

    def action_dismiss_dialog(self) -> None:
        """Closes the dialog without a result."""
        self.dismiss(None)
