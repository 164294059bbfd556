"""Keeps what is written and not sent, for each chat, over the end of the program, however that comes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from tui_llama.attachments.prompt_text import with_attachments
from tui_llama.chat import Attachment
from tui_llama.chats.database.unsent_texts import LeftDraft, new_program
from tui_llama.chats.journal import Journal
from tui_llama.chats.store import Store
from tui_llama.chats.stored import StoredDraft
from tui_llama.controllers.views import RunAlone, ScreenView
from tui_llama.conversation import SendMessage
from tui_llama.screens.commands import parse_slash, unescaped
from tui_llama.turn.live_chats import LiveChats, OfShownChat

if TYPE_CHECKING:
    from tui_llama.chats.open_chat import OpenChat

NEW_CHAT: Final = ""
"""Stands for the chat that has no message yet, in place of an id: there is one draft for the next of them."""

OLD_KEY: Final = "draft"
"""The preference in which earlier versions kept the one draft that they had."""

DRAFT_SECONDS = 0.5
"""The longest time for which something written is in memory only."""

_NOTHING: Final = StoredDraft()
_NOTHING_LEFT: Final = LeftDraft()


class DraftKeeper:
    """Keeps the drafts; an owner of writes, since one that is never stored is a loss.

    What earlier programs have left in a chat stays where it is, until it is shown: then it is a part of this program's
    draft. Programs that run beside this one keep theirs.

    Attributes:
        chat_id: Of no chat: it writes for all.
    """

    chat_id = ""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._program = new_program()
        self._drafts: dict[str, StoredDraft] = {}
        self._queued: dict[str, StoredDraft] = {}
        self._written: dict[str, StoredDraft] = {}  # what is queued and the draft, which the disk has as one
        self._stored: dict[str, StoredDraft] = {}  # changed on the journal's thread
        self._left: dict[str, LeftDraft] = {}  # what was read; as above

    @property
    def has_unstored_text(self) -> bool:
        """True if something is written that the disk does not have."""
        drafts = self._written.items()
        return any(draft != _NOTHING and self._stored.get(chat_id) != draft for chat_id, draft in drafts)

    def known(self, chat_id: str) -> StoredDraft:
        """Returns the draft of a chat as far as it is in memory."""
        return self._drafts.get(chat_id, _NOTHING)

    def has_left(self, chat_id: str) -> bool:
        """True if earlier programs have left something in a chat that was not shown, as far as anybody knows."""
        return chat_id not in self._left or self._left[chat_id].draft != _NOTHING

    async def read(self, chat_id: str) -> None:
        """Finds out what earlier programs have left in a chat; nothing if nobody knows."""

        def read_it(store: Store) -> None:
            if chat_id not in self._left:
                self._left[chat_id] = _read(store, chat_id)

        if chat_id not in self._left:
            await self._journal.read_or(read_it, None)

    def take_left(self, chat_id: str) -> StoredDraft:
        """Returns what earlier programs have left in a chat, once: it belongs to the draft of this program now."""
        left = self._left.get(chat_id, _NOTHING_LEFT)
        if left.draft != _NOTHING:
            self._left[chat_id] = _NOTHING_LEFT
            whole = left.draft.before(self._written.get(chat_id, _NOTHING))
            self._written[chat_id] = self._stored[chat_id] = whole
            self._journal.write(partial(_take, chat_id=chat_id, left=left, program=self._program), self)
        return left.draft

    def keep(self, chat_id: str, draft: StoredDraft) -> None:
        """Writes the draft of a chat, unless it is what is kept already."""
        self._drafts[chat_id] = draft
        self._write(chat_id)

    def keep_queued(self, chat_id: str, queued: StoredDraft) -> None:
        """Writes what is queued in a chat, before its draft: after a crash, both are the draft."""
        self._queued[chat_id] = queued
        self._write(chat_id)

    def end(self) -> None:
        """Leaves the drafts for the next program."""
        self._journal.write(lambda store: store.end_program(self._program))

    def _write(self, chat_id: str) -> None:
        whole = self._queued.get(chat_id, _NOTHING).before(self._drafts.get(chat_id, _NOTHING))
        if whole == self._written.get(chat_id, _NOTHING):
            return
        self._written[chat_id] = whole

        def store_it(store: Store) -> None:
            store.keep_draft(chat_id, whole.text, whole.attachments, program=self._program)
            self._stored[chat_id] = whole

        self._journal.write(store_it, self)


def _read(store: Store, chat_id: str) -> LeftDraft:
    left = store.left_draft(chat_id)
    if chat_id == NEW_CHAT and left.draft == _NOTHING:
        return LeftDraft(StoredDraft(store.preference(OLD_KEY) or ""))
    return left


def _take(store: Store, chat_id: str, left: LeftDraft, program: int) -> None:
    """Makes what was left the beginning of this program's draft; also what an earlier version has kept elsewhere."""
    if chat_id == NEW_CHAT and store.preference(OLD_KEY):
        if not left.programs:
            store.keep_draft(NEW_CHAT, left.draft.text, program=program)
        store.set_preference(OLD_KEY, "")
    store.take_left_draft(chat_id, left, program)


class DraftView(ScreenView, Protocol):
    """The app, as the controller uses it."""

    @property
    def is_editing(self) -> bool:
        """True while the user edits an earlier message."""
        ...

    def set_timer(self, delay: float, callback: Callable[[], None]) -> object:
        """Calls back once, after `delay` seconds."""
        ...


class DraftController(OfShownChat):
    """The draft in the composer of an app: that of the chat which is shown; one of an incognito chat is not kept.

    Args:
        journal: Writes the drafts.
        live_chats: Have the driver of the chat on the screen.
        view: The app.
        run: Runs a coroutine of a group in place of what is under way in it.

    Attributes:
        attached: Returns what is attached to the draft.
        show_attached: Shows what was attached to a draft that is restored.
        unsent: Returns what would be lost now, of what is written: while a message is edited, also what was set aside.
    """

    def __init__(self, journal: Journal, live_chats: LiveChats, view: DraftView, run: RunAlone) -> None:
        super().__init__(live_chats)
        self._keeper = DraftKeeper(journal)
        self._view = view
        self._run = run
        self._shown_chat = self._turn_driver.chat
        self._shown_id = _id_of(self._shown_chat)
        self._is_due = False
        self.attached: Callable[[], Sequence[Attachment]] = tuple
        self.show_attached: Callable[[Sequence[Attachment]], None] = lambda _attachments: None
        self.unsent: Callable[[StoredDraft], StoredDraft] = lambda written: written

    @property
    def sendable(self) -> str:
        """The part of the draft that will be sent, with what is attached to it; a command is not sent."""
        text = self._view.chat_screen.composer.text.lstrip("\n")
        return with_attachments("" if parse_slash(text) else unescaped(text), self.attached())

    async def restore(self) -> None:
        """Puts what earlier programs have left in the chat into the composer, before what is written there meanwhile.

        While an earlier message is edited there, it stays where it is.
        """
        chat, chat_id = self._turn_driver.chat, _id_of(self._turn_driver.chat)
        if chat_id is None:
            return
        await self._keeper.read(chat_id)
        if not self._view.can_draw or chat is not self._shown_chat or self._view.is_editing:
            return
        left = self._keeper.take_left(chat_id)
        if left == _NOTHING:
            return
        written = StoredDraft(self._view.chat_screen.composer.text, tuple(self.attached()))
        if written == _NOTHING:
            self._show(left)
        else:
            self.show_attached(left.before(written).attachments)
            self._view.chat_screen.composer.put_above(left.text)
        self.keep()

    def _show(self, draft: StoredDraft) -> None:
        self.show_attached(draft.attachments)
        self._view.chat_screen.composer.replace_text(draft.text)

    def follow(self) -> None:
        """Puts the draft of another chat into the composer, if another one is shown now."""
        if self._turn_driver.chat is self._shown_chat or not self._view.can_draw:
            return
        self._keep_as(self._shown_id)
        self._shown_chat, self._shown_id = self._turn_driver.chat, _id_of(self._turn_driver.chat)
        if self._shown_id is None:
            self._show(_NOTHING)
            return
        self._show(self._keeper.known(self._shown_id))
        if self._keeper.has_left(self._shown_id):
            self._run("draft", self.restore)

    def keep_queued(self, chat: "OpenChat", message: SendMessage | None) -> None:
        """Keeps what is queued in a chat, which is alive but may not be shown; None if nothing is."""
        chat_id = _id_of(chat)
        if chat_id is not None:
            queued = _NOTHING if message is None else StoredDraft(message.text, message.attachments)
            self._keeper.keep_queued(chat_id, queued)

    def put_back(self, chat: "OpenChat", message: SendMessage) -> None:
        """Puts a message that was queued in a chat before its draft, while the chat is not drawn on the screen."""
        chat_id = _id_of(chat)
        if chat_id is None:
            return
        if chat is self._shown_chat:  # its draft is there already
            self._keep_as(chat_id)
        returned = StoredDraft(message.text, message.attachments)
        whole = returned.before(self._keeper.known(chat_id))
        self._keeper.keep(chat_id, whole)
        if chat is self._shown_chat and self._view.can_draw:
            self._show(whole)

    def keep_soon(self) -> None:
        """Keeps the draft a little later: once for everything that is written meanwhile.

        One that was sent or cleared is forgotten at once.
        """
        if not self._view.chat_screen.composer.text:
            self.keep()
        elif not self._is_due and self._view.can_draw:
            self._is_due = True
            self._view.set_timer(DRAFT_SECONDS, self._keep_now)

    def _keep_now(self) -> None:
        self._is_due = False
        if self._view.can_draw:
            self.keep()

    def keep(self) -> None:
        """Keeps the draft as it is now; where the composer is gone already, what was kept before stays."""
        if not self._view.chat_screen.has_composer:
            return
        chat_id = _id_of(self._shown_chat)
        if chat_id != self._shown_id and self._shown_id is not None:  # its first message was sent
            self._keeper.keep(self._shown_id, _NOTHING)
        self._shown_id = chat_id
        self._keep_as(chat_id)

    def end(self) -> None:
        """Leaves the drafts for the next program; nothing is written any more."""
        self._keeper.end()

    def _keep_as(self, chat_id: str | None) -> None:
        if chat_id is not None and self._view.chat_screen.has_composer:
            written = StoredDraft(self._view.chat_screen.composer.unsent_text, tuple(self.attached()))
            self._keeper.keep(chat_id, self.unsent(written))


def _id_of(chat: "OpenChat") -> str | None:
    """Returns the chat's id, or `NEW_CHAT`; None where nothing may be kept."""
    return None if chat.is_incognito else chat.chat_id or NEW_CHAT
