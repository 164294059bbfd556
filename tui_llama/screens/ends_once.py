"""A base for dialogs that end only once. Keys that were pressed after the closing one are dropped."""

from typing import TYPE_CHECKING, Any

from textual.await_complete import AwaitComplete
from textual.message import Message

if TYPE_CHECKING:
    from textual.screen import Screen

    _Base = Screen[Any]
else:
    _Base = object  # Textual looks for styles and bindings along the first base that is a widget


class EndsOnce(_Base):
    """A screen that ignores keys and reports after its end. Textual's own screen would end the program."""

    @property
    def has_ended(self) -> bool:
        """True if the screen was closed. Its widgets may still exist."""
        return self not in self.app.screen_stack

    @property
    def is_there(self) -> bool:
        """True if the screen is drawn and open. Slow work may report before it is drawn or after it was closed."""
        return self.is_mounted and not self.has_ended

    def dismiss(self, result: Any = None) -> AwaitComplete:
        """Closes the screen with a result. Does nothing if it is closed already."""
        return AwaitComplete() if self.has_ended else super().dismiss(result)

    async def _dispatch_message(self, message: Message) -> None:
        if not (message.bubble and self.is_mounted and self.has_ended):
            await super()._dispatch_message(message)
