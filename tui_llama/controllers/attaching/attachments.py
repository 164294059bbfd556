"""Attaches files and long pastes to the message that is being written, and shows what is attached."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol, TypeVar

from tui_llama.attachments.pasted import is_long_paste, pasted_attachment
from tui_llama.attachments.reading import read_dropped
from tui_llama.attachments.several import ReadFiles, read_typed
from tui_llama.attachments.typed_paths import dropped_paths
from tui_llama.chat import Attachment
from tui_llama.chats.open_chat import OpenChat
from tui_llama.controllers.attaching.facts import AttachmentFacts
from tui_llama.controllers.attaching.pending import PendingAttachments
from tui_llama.controllers.views import DialogView, HintView, RemarkView, RunAlone, ScreenView
from tui_llama.conversation import SendMessage
from tui_llama.errors import AttachmentError
from tui_llama.screens.commands import parse_slash
from tui_llama.system.daemon_threads import in_daemon_thread
from tui_llama.turn.live_chats import LiveChats, OfShownChat

READ_SECONDS: Final = 10.0
"""A disk that has not answered by then is not waited for: it may be a network that is gone."""

_TOLD_REFUSALS: Final = 2
"""So many files are named that were not attached; the others are counted."""

_Result = TypeVar("_Result")


class AttachmentsView(ScreenView, DialogView, HintView, Protocol):
    """The app, as the controller uses it."""

    def run_beside(self, work: Callable[[], Coroutine[Any, Any, None]], group: str) -> object:
        """Runs work beside others of its group."""
        ...

    def note_draft(self) -> None:
        """Takes note that what will be sent is something else now."""
        ...


class AttachmentsController(OfShownChat):
    """The attachments of an app.

    Args:
        pending: What is attached to the message that is being written.
        live_chats: Have the chat on the screen, and the engine, which counts tokens.
        remarks: Shows what could not be attached after a while.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.

    Attributes:
        keep_for: Keeps what was read for a chat that is not on the screen any more, with its draft.
    """

    def __init__(
        self,
        pending: PendingAttachments,
        live_chats: LiveChats,
        remarks: RemarkView,
        view: AttachmentsView,
        run: RunAlone,
    ) -> None:
        super().__init__(live_chats)
        self._pending = pending
        self._remarks = remarks
        self._view = view
        self._facts = AttachmentFacts(live_chats.host, run, self._note_fact)
        self._chat_looked_at: object = None
        self.keep_for: Callable[[OpenChat, SendMessage], None] = lambda _chat, _message: None
        pending.on_change = self._show_pending

    def begin(self) -> None:
        """Begins to be asked by the widgets that show attachments, and by the composer; for when they are there."""
        screen = self._view.chat_screen
        screen.composer.take_paste = self.take_paste
        screen.transcript.facts_of = self._facts.of

    # --- attaching ----------------------------------------------------------------------------------------------

    def attach_typed(self, text: str) -> None:
        """Attaches the files that are meant by what was typed: a path, several, or a pattern."""
        if text.strip():
            self._view.run_beside(partial(self._attach, text), "attach")

    def begin_path(self) -> None:
        """Begins a path in the text, so that files are suggested."""
        composer = self._view.chat_screen.composer
        composer.focus()
        composer.write("@" if not composer.text or composer.text[-1].isspace() else " @")

    async def _attach(self, text: str) -> None:
        chat = self._turn_driver.chat
        try:
            self._add(chat, await _in_time(partial(read_typed, text), text))
        except AttachmentError as error:
            self._refuse(error)

    def _add(self, chat: OpenChat, files: ReadFiles) -> None:
        """Attaches files to what is written in a chat, and says what was not attached, or only to the next message."""
        if chat is not self._turn_driver.chat:  # the user has left it while a slow disk was read
            self._keep_for(chat, "", files.attachments)
            return
        said = [str(refusal) for refusal in files.refusals[:_TOLD_REFUSALS]]
        if len(files.refusals) > _TOLD_REFUSALS:
            said.append(f"And {len(files.refusals) - _TOLD_REFUSALS:,} more.")
        is_kept_for_next = not self._pending.takes_more
        for attachment in files.attachments:
            if attachment in self._pending.kept and len(files.attachments) == 1:
                said.append(f"{attachment.name} is attached already.")
            self._pending.add(attachment)
        if is_kept_for_next and files.attachments:
            said.append("An answer has no attachments: this one waits for your next message.")
        elif said and files.attachments and files.refusals:
            said.insert(0, f"{len(files.attachments)} attached.")
        if said and self._view.can_draw:
            self._view.show_hint(" ".join(said))

    def _keep_for(self, chat: OpenChat, text: str, attachments: Sequence[Attachment] = ()) -> None:
        if text or attachments:
            self.keep_for(chat, SendMessage(text, tuple(attachments)))

    def take_paste(self, text: str) -> bool:
        """Takes a pasted text if it is long, or looks like dropped files; returns whether it did.

        What only looked like files is written where the cursor is.
        """
        composer = self._view.chat_screen.composer
        rows = dropped_paths(text)
        if rows and not parse_slash(composer.text):
            self._view.run_beside(partial(self._take_dropped, text, rows), "attach")
        elif is_long_paste(text) and self._pending.takes_more:
            self._take_long(text)
        else:
            return False
        return True

    async def _take_dropped(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        chat, refusal, attachments = self._turn_driver.chat, None, None
        try:
            attachments = await _in_time(partial(read_dropped, rows), text)
        except AttachmentError as error:
            refusal = error
        self._add(chat, ReadFiles(tuple(attachments or ())))
        if attachments is None and chat is not self._turn_driver.chat:
            self._keep_for(chat, text)
        elif attachments is None and is_long_paste(text) and self._pending.takes_more:
            self._take_long(text)
        elif attachments is None and self._view.can_draw:
            self._view.chat_screen.composer.write(text)
        if refusal is not None:
            self._refuse(refusal)

    def _take_long(self, text: str) -> None:
        try:
            self._pending.add(pasted_attachment(text, [each.name for each in self._pending.attachments]))
        except AttachmentError as error:
            self._refuse(error)

    def _refuse(self, error: AttachmentError) -> None:
        if self._view.can_draw:
            self._view.show_hint(f"{error} {error.hint}".rstrip())

    # --- what is attached ---------------------------------------------------------------------------------------

    def remove(self, attachment: Attachment) -> None:
        """Attaches it no longer."""
        self._pending.remove(attachment)

    def remove_all(self) -> bool:
        """Attaches nothing any more; returns whether there was something."""
        had_some = bool(self._pending.attachments)
        self._pending.clear()
        return had_some

    def detach(self) -> None:
        """Attaches nothing any more, and says so where nothing was."""
        if not self.remove_all():
            self._view.show_hint("Nothing is attached.")

    def write_as_text(self, attachment: Attachment) -> None:
        """Puts a pasted text, or the path of a file, into the text, in place of the attachment."""
        self._pending.remove(attachment)
        composer = self._view.chat_screen.composer
        composer.write(attachment.path or attachment.text)
        composer.focus()

    def show(self, attachment: Attachment) -> None:
        """Shows the content of an attachment of the message that is being written."""
        self._open(self._pending.attachments, attachment)

    def show_latest(self) -> None:
        """Shows what is attached to the message that is being written, or to the last that has something attached."""
        sent = (entry.attachments for entry in reversed(self._turn_driver.chat.entries))
        attachments = next((each for each in (self._pending.attachments, *sent) if each), ())
        if attachments:
            self.show_all(attachments)
        else:
            self._view.show_hint("Nothing is attached. @ and /read attach files.")

    def show_all(self, attachments: Sequence[Attachment]) -> None:
        """Shows the contents of the attachments of a message."""
        self._open(attachments, attachments[0])

    def _open(self, attachments: Sequence[Attachment], first: Attachment) -> None:
        from tui_llama.screens.dialogs.attached_texts import AttachedTexts

        shown = [(each, self._facts.of(each)) for each in attachments]
        self._view.push_screen(AttachedTexts(shown, list(attachments).index(first)))

    # --- what is shown ------------------------------------------------------------------------------------------

    def _show_pending(self) -> None:
        if not self._view.can_draw:
            return
        screen = self._view.chat_screen
        screen.attached.show([(each, self._facts.of(each)) for each in self._pending.attachments])
        screen.composer.sends_without_text = bool(self._pending.attachments)
        self._view.note_draft()
        self.look()

    def look(self) -> None:
        """Finds out what is not known of the attachments on the screen; does nothing where all is known."""
        chat = self._turn_driver.chat
        if chat is not self._chat_looked_at:
            self._chat_looked_at = chat
            self._facts.look_again()
        if self._view.can_draw:
            sent = (entry.attachments for entry in reversed(chat.entries))
            self._facts.look(chain(self._pending.attachments, chain.from_iterable(sent)))

    def _note_fact(self, attachment: Attachment) -> None:
        if not self._view.can_draw:
            return
        if attachment in self._pending.attachments and self._has_no_room(attachment):
            return
        screen = self._view.chat_screen
        screen.attached.show([(each, self._facts.of(each)) for each in self._pending.attachments])
        screen.transcript.redraw_attached()

    def _has_no_room(self, attachment: Attachment) -> bool:
        """Removes an attachment that does not fit into the context beside the others, and says so."""
        model, tokens = self._turn_driver.model, self._facts.of(attachment).tokens
        if model is None or not model.context_size or tokens is None:
            return False
        others = (self._facts.of(each).tokens or 0 for each in self._pending.attachments if each != attachment)
        room = max(0, model.context_size - sum(others))
        if tokens <= room:
            return False
        self._pending.remove(attachment)
        words = f"{attachment.name} has {tokens:,} tokens, and the context has room for {room:,}."
        self._remarks.add_failure(words, "Attach a part of it, or load the model with a larger context.")
        return True


async def _in_time(read: Callable[[], _Result], text: str) -> _Result:
    """Returns what is read in a thread.

    Raises:
        AttachmentError: as `read`, or the disk does not answer.
    """
    try:
        return await asyncio.wait_for(in_daemon_thread(read), READ_SECONDS)
    except TimeoutError:
        raise AttachmentError(f"{text.strip()} cannot be read: the disk does not answer.") from None
