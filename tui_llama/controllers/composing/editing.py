"""Puts an earlier message where the user writes, shows what sending it would cost, and sends it."""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from tui_llama import conversation
from tui_llama.chat import Role
from tui_llama.chats.stored import StoredDraft
from tui_llama.controllers.attaching.pending import PendingAttachments
from tui_llama.controllers.turns.idle_prefill import IdlePrefillController
from tui_llama.controllers.views import HintView, RunAlone, ScreenView, WishView
from tui_llama.conversation import State
from tui_llama.engine.events import PromptEstimate
from tui_llama.screens.commands import parse_slash
from tui_llama.screens.presenting import no_model_hint
from tui_llama.turn.editing import Editing
from tui_llama.turn.live_chats import LiveChats, OfShownChat
from tui_llama.widgets.composer import Composer


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

    @property
    def edits_answer(self) -> bool:
        """True while the message that is edited is an answer."""
        position = self.position
        return position is not None and self._turn_driver.chat.entries[position].role is Role.ASSISTANT

    def edit_last(self) -> None:
        """Edits the user's last message, or tells why that is not possible."""
        entries = self._turn_driver.chat.entries
        own = [number for number, entry in enumerate(entries) if entry.role is Role.USER]
        if own:
            self.edit(own[-1])
        else:
            self._view.show_hint("There is no message to edit yet.")

    def go_up(self, composer: Composer) -> None:
        """Edits the user's last message; if that is edited and unchanged, goes on to the messages sent before it.

        A text that was written since, and not sent, comes first; a command does not.
        """
        own, newest = self._turn_driver.chat.user_texts[-1:], composer.newest_text
        if composer.is_last_edited:
            if [composer.text] == own:
                self.leave()
                composer.recall_before()
            composer.recall_before()
        elif (own == [newest] or (own and parse_slash(newest))) and self._turn_driver.allows(conversation.EditMessage):
            self.edit_last()
            composer.is_last_edited = composer.recalls = True
        else:
            composer.recall_before()

    def edit(self, position: int) -> None:
        """Puts a message where the user writes.

        There is no idle prefill meanwhile, so that leaving the message costs nothing.
        """
        driver, entries = self._turn_driver, self._turn_driver.chat.entries
        is_own = entries[position].role is Role.USER
        if is_own and driver.state is State.NO_MODEL:
            self._view.show_hint(no_model_hint(driver.model_path))
        elif not driver.allows(conversation.EditMessage if is_own else conversation.EditAnswer):
            self._view.show_hint("Wait until the model is ready; Esc stops an answer.")
        else:
            self._remember()
            self._editing.begin(position, self._view.chat_screen.composer.set_aside())
            self._show(position)

    def _show(self, position: int) -> None:
        self._idle_prefill.stop()
        composer = self._view.chat_screen.composer
        composer.replace_text(self._turn_driver.chat.entries[position].text)
        self._view.chat_screen.show_edited("Editing the answer" if self.edits_answer else "Editing your message")
        composer.set_class(self.edits_answer, "-answer")
        composer.is_last_edited = composer.recalls = False  # a message sent before must not take its place
        self._pending.edit(self._turn_driver.chat.entries[position].attachments, takes_more=not self.edits_answer)
        composer.focus()
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
        composer = self._view.chat_screen.composer
        self._view.chat_screen.show_edited("")
        composer.remove_class("-answer")
        composer.is_last_edited, composer.recalls = False, True
        composer.replace_text(self._editing.end())
        self._pending.end_edit()

    def unsent(self, written: StoredDraft) -> StoredDraft:
        """Returns what would be lost if the program ended now: what was set aside, then what is changed, if anything.

        Args:
            written: What is in the composer, with its attachments.
        """
        position = self.position
        if position is None:
            return written
        before = StoredDraft(self._editing.draft, self._pending.set_aside)
        entry = self._turn_driver.chat.entries[position]
        is_changed = (written.text, written.attachments) != (entry.text, entry.attachments)
        return before.before(written) if is_changed else before

    def _remember(self) -> None:
        """Keeps what was written of another version: Up brings it back."""
        position, composer = self.position, self._view.chat_screen.composer
        if position is not None and composer.text != self._turn_driver.chat.entries[position].text:
            composer.remember(composer.text)

    def _mark(self, position: int | None) -> None:
        self._view.run_beside(partial(self._view.chat_screen.transcript.mark, position), "mark")
        self._view.show_status()

    def send(self, position: int, text: str) -> None:
        """Sends the text in place of the message that is edited, number `position`, unless it is the same.

        An edited answer is not sent, but kept as a version: F5 goes on from it.
        """
        entry, attachments = self._turn_driver.chat.entries[position], self._pending.attachments
        if (text, attachments) == (entry.text, entry.attachments):
            self._view.show_hint("Nothing was changed; Ctrl+R answers the last message again.")
        elif entry.role is Role.ASSISTANT:
            if self._save(conversation.EditAnswer(position, text), text):
                version = self._turn_driver.chat.entries[position].version
                self._view.show_hint(f"Saved as version {version}. F5 goes on from it; /undo takes it back.")
        else:
            self._save(conversation.EditMessage(position, text, attachments), text)

    def save_answer(self) -> None:
        """Keeps the answer that is edited as a version, if anything was changed, and ends editing."""
        position, text = self.position, self._view.chat_screen.composer.text
        if position is None or text == self._turn_driver.chat.entries[position].text or not text.strip():
            self.leave()
        else:
            self._save(conversation.EditAnswer(position, text), text)

    def _save(self, event: conversation.Event, text: str) -> bool:
        if not self._view.wish(event):
            return False
        self._view.chat_screen.composer.remember(text)
        self.put_back()
        self._view.show_status()
        return True

    def ask_price(self) -> None:
        """Asks what sending the message as it is written now would cost; an edited answer is not sent."""
        if self.edits_answer:
            self._note_price("the old text stays as a version")
        else:
            self._editing.ask_price(self._pending.message(self._view.chat_screen.composer.text))

    async def _estimate(self, position: int, text: str) -> PromptEstimate | None:
        return await self._turn_driver.questions.estimate(position, text)

    def _note_price(self, price: PromptEstimate | str | None) -> None:
        self.price = self._turn_driver.meter.price(price) if isinstance(price, PromptEstimate) else price or ""
        self._view.show_figures()
