"""Puts an earlier message where the user writes, shows what sending it would cost, and sends it."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from tui_llama import conversation
from tui_llama.chat import Role
from tui_llama.controllers.attaching.pending import PendingAttachments
from tui_llama.controllers.idle_prefill import IdlePrefillController
from tui_llama.controllers.views import HintView, RunAlone, ScreenView, WishView
from tui_llama.conversation import State
from tui_llama.engine.events import PromptEstimate
from tui_llama.screens.presenting import no_model_hint
from tui_llama.turn.editing import Editing
from tui_llama.turn.live_chats import LiveChats, OfShownChat


class EditingView(ScreenView, HintView, WishView, Protocol):
    """The app, as the controller uses it."""

    def show_status(self) -> None:
        """Shows everything around the messages as it is now."""
        ...

    def show_figures(self) -> None:
        """Shows the figures a little later."""
        ...

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside other work of its group."""
        ...


class EditingController(OfShownChat):
    """The message that is edited, at most one.

    Args:
        live_chats: Have the driver of the chat on the screen.
        idle_prefill: Rests while a message is edited.
        pending: What is attached to the message.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.

    Attributes:
        price: What sending the message would cost, in words; empty while nobody knows.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        idle_prefill: IdlePrefillController,
        pending: PendingAttachments,
        view: EditingView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._idle_prefill = idle_prefill
        self._pending = pending
        self._view = view
        self._editing = Editing(self._estimate, partial(run, "price"), self._note_price)
        self.price = ""

    @property
    def position(self) -> int | None:
        """The number of the message that is edited; None while none is."""
        return self._editing.position

    @property
    def is_editing(self) -> bool:
        """True while the user edits a message."""
        return self._editing.position is not None

    def edit_earlier(self) -> None:
        """Goes to the user's last message, or to the one before the message that is being edited."""
        self._edit(-1)

    def edit_later(self) -> None:
        """Goes back to a later message; does nothing while none is edited."""
        if self.is_editing:
            self._edit(1)

    def _edit(self, step: int) -> None:
        """Puts an earlier message where the user writes; behind the last of them is what was there before.

        There is no idle prefill meanwhile, so that leaving the message costs nothing.
        """
        positions = [number for number, entry in enumerate(self._turn_driver.chat.entries) if entry.role is Role.USER]
        if not positions:
            self._view.show_hint("There is no message to edit yet.")
        elif self._turn_driver.state is State.NO_MODEL:
            self._view.show_hint(no_model_hint(self._turn_driver.model_path))
        elif not self._turn_driver.allows(conversation.EditMessage):
            self._view.show_hint("Wait until the model is ready; Esc stops an answer.")
        elif step < 0 and self.position == positions[0]:
            self._view.show_hint("This is the first message.")
        else:
            self._remember()
            position = self._editing.move(positions, step, self._view.chat_screen.composer.text)
            if position is None:
                self.leave()
            else:
                self._show(position)

    def _show(self, position: int) -> None:
        self._idle_prefill.stop()
        entry = self._turn_driver.chat.entries[position]
        self._view.chat_screen.composer.replace_text(entry.text)
        self._pending.edit(entry.attachments)
        self._mark(position)
        self.ask_price()

    def leave(self) -> None:
        """Goes back to what was being written before."""
        self._remember()
        self.put_back()
        self._mark(None)
        self._idle_prefill.start_if_at_rest()

    def put_back(self) -> None:
        """Ends editing, with what was being written before in the composer again."""
        self._view.chat_screen.composer.replace_text(self._editing.end())
        self._pending.end_edit()

    def _remember(self) -> None:
        """Keeps what was written of another version: Up brings it back."""
        position, composer = self.position, self._view.chat_screen.composer
        if position is not None and composer.text != self._turn_driver.chat.entries[position].text:
            composer.remember(composer.text)

    def _mark(self, position: int | None) -> None:
        self._view.run_beside(partial(self._view.chat_screen.transcript.mark, position), "mark")
        self._view.show_status()

    def send(self, position: int, text: str) -> None:
        """Sends the text in place of the message that is edited, number `position`, unless it is the same."""
        entry, attachments = self._turn_driver.chat.entries[position], self._pending.attachments
        if (text, attachments) == (entry.text, entry.attachments):
            self._view.show_hint("Nothing was changed; Ctrl+R answers the last message again.")
            return
        if self._view.wish(conversation.EditMessage(position, text, attachments)):
            self._view.chat_screen.composer.remember(text)
            self.put_back()
            self._view.show_status()

    def ask_price(self) -> None:
        """Asks what sending the message as it is written now would cost."""
        self._editing.ask_price(self._pending.message(self._view.chat_screen.composer.text))

    async def _estimate(self, position: int, text: str) -> PromptEstimate | None:
        return await self._turn_driver.estimate(position, text)

    def _note_price(self, price: PromptEstimate | str | None) -> None:
        self.price = self._turn_driver.meter.price(price) if isinstance(price, PromptEstimate) else price or ""
        self._view.show_figures()
