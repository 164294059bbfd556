"""Carries out what the user wants of the turn: send, stop, answer again, go on."""

from collections.abc import Mapping
from typing import Final, Protocol

from tui_llama import conversation
from tui_llama.chat import Role
from tui_llama.controllers.attaching.pending import PendingAttachments
from tui_llama.controllers.composing.editing import EditingController
from tui_llama.controllers.loading.models import ModelsController
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.views import HintView, ScreenView, WishView
from tui_llama.conversation import State
from tui_llama.declarations import Value
from tui_llama.screens.presenting import no_model_hint, why_not_continued
from tui_llama.turn.live_chats import LiveChats, OfShownChat

NOTHING: Final[Mapping[str, Value]] = {}


class TurnControllerView(ScreenView, HintView, WishView, Protocol):
    """The app, as the controller uses it."""


class TurnController(OfShownChat):
    """The keys and commands that begin, end or repeat a turn.

    Args:
        live_chats: Have the driver of the chat on the screen.
        editing: Sends the message that is edited, and is left before anything else is answered.
        idle_prefill: Rests where the user stops.
        models: Chooses a model where there is none.
        pending: What is attached to the message that is sent.
        view: The app.
    """

    def __init__(
        self,
        live_chats: LiveChats,
        editing: EditingController,
        idle_prefill: IdlePrefillController,
        models: ModelsController,
        pending: PendingAttachments,
        view: TurnControllerView,
    ) -> None:
        super().__init__(live_chats)
        self._editing = editing
        self._idle_prefill = idle_prefill
        self._models = models
        self._pending = pending
        self._view = view

    def send(self, text: str) -> None:
        """Sends the text, or puts it in place of the message that is edited; what cannot be sent stays written."""
        if self._models.is_missing:
            if self._turn_driver.model_path:
                self._view.show_hint(no_model_hint(self._turn_driver.model_path))
                return
            self._view.show_hint("There is no model yet; your text stays here.")
            if self._models.fetch is None and not self._models.is_looking:
                self._models.open_picker()
        elif self._editing.position is not None:
            self._editing.send(self._editing.position, text)
        elif self._view.wish(conversation.SendMessage(text, self._pending.attachments)):
            self._view.chat_screen.composer.accept()
            self._pending.clear()

    def return_message(self, message: conversation.SendMessage) -> None:
        """Puts a message that was queued before what is written, with its attachments."""
        if message.text:
            self._view.chat_screen.composer.put_before(message.text)
        for attachment in message.attachments:
            self._pending.add(attachment)

    def take_back(self, number: int | None = None) -> None:
        """Takes back a message that waits for the end of the answer, to edit it: that of this number, or the last."""
        driver = self._turn_driver
        if driver.queued.shown and driver.allows(conversation.TakeBack):
            driver.dispatch(conversation.TakeBack(len(driver.queued) - 1 if number is None else number))
            self._view.chat_screen.composer.focus()
        else:
            self._view.show_hint("No message is queued. Enter during an answer queues one.")

    def change_queue(self, number: int, place: int | None) -> None:
        """Moves a message that waits to another place, or removes it; the message comes back by Up."""
        driver = self._turn_driver
        gone = driver.queued.at(number) if place is None else []
        if driver.allows(conversation.ChangeQueue):
            driver.dispatch(conversation.ChangeQueue(number, place))
            for message in gone:
                if message.text:
                    self._view.chat_screen.composer.remember(message.text)
                returns = "; ↑ brings its text back" if message.text else ""
                lacks = ", without what was attached" if message.text and message.attachments else ""
                self._view.show_hint(f"Removed{returns}{lacks}.")

    def stop_or_leave_editing(self) -> bool:
        """Stops the turn, or leaves the message that is edited; returns whether there was one of them."""
        if self._turn_driver.allows(conversation.Stop):
            self._stop()
        elif self._editing.is_editing:
            self._editing.leave()
        else:
            return False
        return True

    def _stop(self) -> None:
        was_reading = self._turn_driver.state is State.READING
        self._turn_driver.dispatch(conversation.Stop())
        if was_reading:  # nor is it to be read while nobody waits for it
            self._idle_prefill.hold()

    def regenerate(self, position: int | None = None, sampling: Mapping[str, Value] = NOTHING) -> None:
        """Asks for another answer; after a failure, for the answer or the model that failed.

        Args:
            position: The number of the answer, or of the user's message; None for the last.
            sampling: How this answer alone chooses its tokens, by the names of `SamplingSettings`.
        """
        driver = self._turn_driver
        if self._editing.is_editing:
            self._editing.leave()
        if self._models.is_missing:
            self._load_again()
            return
        if driver.chat.is_empty:
            self._view.show_hint("There is no message to answer yet.")
            return
        if position is not None and not self._go_to_question(position):
            return
        before, driver.requests.once = driver.requests.once, sampling
        if driver.allows(conversation.Retry):
            driver.dispatch(conversation.Retry())
        elif not self._view.wish(conversation.Regenerate()):
            driver.requests.once = before  # of an answer that is still awaited

    def _go_to_question(self, position: int) -> bool:
        """Lets the path end in the user's message to answer, unless it is the last anyway; says whether it does."""
        entries = self._turn_driver.chat.entries
        asked = position - (entries[position].role is Role.ASSISTANT)
        if asked < 0:
            self._view.show_hint("Nothing was asked before this answer.")
            return False
        if asked == len(entries) - 1 - self._turn_driver.chat.ends_in_answer:
            return True
        return self._view.wish(conversation.Branch(asked))

    def _load_again(self) -> None:
        """Loads the model whose load failed; the last message waits for it where it has no answer."""
        driver = self._turn_driver
        if not driver.model_path:
            self._view.show_hint(no_model_hint(""))
            return
        driver.dispatch(conversation.Retry())
        if not driver.chat.is_empty and not driver.chat.ends_in_answer:
            driver.dispatch(conversation.Regenerate())

    def continue_answer(self, position: int | None = None) -> None:
        """Asks for more of an answer, from where it was cut off; one that is edited is kept as it is written now.

        An answer that something follows stays as it is: a copy of it goes on.

        Args:
            position: The number of the answer; None for the last.
        """
        driver, view = self._turn_driver, self._view
        if self._editing.edits_answer:
            self._editing.save_answer()
        elif self._editing.is_editing:
            self._editing.leave()
        if self._models.is_missing:
            view.show_hint(no_model_hint(driver.model_path))
            return
        may = driver.allows(conversation.Continue)
        why_not = why_not_continued(driver.chat, driver.model, position) if may else ""
        if why_not:
            view.show_hint(why_not)
            return
        at = len(driver.chat.entries) - 1 if position is None else position
        is_followed = may and (at < len(driver.chat.entries) - 1 or driver.chat.entries[at].is_replied_to)
        if not is_followed or view.wish(conversation.EditAnswer(at, driver.chat.entries[at].text)):
            view.wish(conversation.Continue())
