"""What all dialogs share: a box in the middle of the screen, closed by Esc or Ctrl+C."""

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import ModalScreen

from tui_llama.screens.lasting_focus import LastingFocus

Result = TypeVar("Result")


class Dialog(LastingFocus, ModalScreen[Result]):
    """A box over the chat. Its content stands in a container with the class `dialog`."""

    VERTICAL_BREAKPOINTS = [  # noqa: RUF012 - declared without ClassVar by the base class
        (0, "-short"),
        (24, "-tall"),
    ]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "dismiss_dialog", "Close", show=False, priority=True)
    ]

    @property
    def is_there(self) -> bool:
        """Whether it is drawn: what takes its time may come back before that, or after it was closed."""
        return self.is_mounted and self.display

    async def _dispatch_message(self, message: Message) -> None:
        """Handles a message; keys and reports that come to a dialog after the one that closed it are dropped."""
        if self.display or not message.bubble:
            await super()._dispatch_message(message)

    def action_dismiss_dialog(self) -> None:
        """Closes it without a result."""
        self.dismiss(None)
