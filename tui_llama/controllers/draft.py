"""Keeps what is written and not sent, for each chat, over the end of the program, however that comes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from tui_llama.attachments.prompt_text import with_attachments
from tui_llama.chat import Attachment
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


class DraftKeeper:
    """Keeps the drafts; an owner of writes, since one that is never stored is a loss.

    Attributes:
        chat_id: Of no chat: it writes for all.
    """

    chat_id = ""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._drafts: dict[str, StoredDraft] = {}
        self._queued: dict[str, StoredDraft] = {}
        self._written: dict[str, StoredDraft] = {}  # what is queued and the draft, which the disk has as one
        self._stored: dict[str, StoredDraft] = {}  # changed on the journal's thread

    @property
    def has_unstored_text(self) -> bool:
        """True if something is written that the disk does not have."""
        drafts = self._written.items()
        return any(draft != _NOTHING and self._stored.get(chat_id) != draft for chat_id, draft in drafts)

    def known(self, chat_id: str) -> StoredDraft | None:
        """Returns the draft of a chat if it is in memory."""
        return self._drafts.get(chat_id)

    async def restore(self, chat_id: str) -> StoredDraft:
        """Returns what is written in a chat and not sent; nothing if nobody knows."""
        if chat_id not in self._drafts:
            kept = await self._journal.read_or(lambda store: _read(store, chat_id), _NOTHING)
            if chat_id == NEW_CHAT:
                self._journal.write(_forget_old)
            self._drafts.setdefault(chat_id, kept)
            self._written.setdefault(chat_id, kept)
            self._stored.setdefault(chat_id, kept)
            return kept
        return self._drafts[chat_id]

    def keep(self, chat_id: str, draft: StoredDraft) -> None:
        """Writes the draft of a chat, unless it is what is kept already."""
        if draft != self._drafts.get(chat_id, _NOTHING):  # nothing may be written where nobody knows yet
            self._drafts[chat_id] = draft
            self._write(chat_id)

    def keep_queued(self, chat_id: str, queued: StoredDraft) -> None:
        """Writes what is queued in a chat, before its draft: after a crash, both are the draft."""
        self._queued[chat_id] = queued
        self._write(chat_id)

    def _write(self, chat_id: str) -> None:
        whole = self._queued.get(chat_id, _NOTHING).before(self._drafts.get(chat_id, _NOTHING))
        if whole == self._written.get(chat_id, _NOTHING):
            return
        self._written[chat_id] = whole

        def store_it(store: Store) -> None:
            store.keep_draft(chat_id, whole.text, whole.attachments)
            self._stored[chat_id] = whole

        self._journal.write(store_it, self)


def _read(store: Store, chat_id: str) -> StoredDraft:
    kept = store.draft(chat_id)
    if chat_id == NEW_CHAT and kept == _NOTHING:
        return StoredDraft(store.preference(OLD_KEY) or "")
    return kept


def _forget_old(store: Store) -> None:
    """Moves what an earlier version has kept to where it is looked for now."""
    old = store.preference(OLD_KEY)
    if old:
        if store.draft(NEW_CHAT) == _NOTHING:
            store.keep_draft(NEW_CHAT, old)
        store.set_preference(OLD_KEY, "")


class DraftView(ScreenView, Protocol):
    """The app, as the controller uses it."""

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
        """Puts the kept draft of the chat into the composer, before what is written there meanwhile."""
        chat, chat_id = self._turn_driver.chat, _id_of(self._turn_driver.chat)
        if chat_id is None:
            return
        draft = await self._keeper.restore(chat_id)
        if draft == _NOTHING or not self._view.can_draw or chat is not self._turn_driver.chat:
            return
        written = StoredDraft(self._view.chat_screen.composer.text, tuple(self.attached()))
        if written == _NOTHING:
            self._show(draft)
        elif written != draft:
            self.show_attached(draft.before(written).attachments)
            self._view.chat_screen.composer.put_above(draft.text)

    def _show(self, draft: StoredDraft) -> None:
        self.show_attached(draft.attachments)
        self._view.chat_screen.composer.replace_text(draft.text)

    def follow(self) -> None:
        """Puts the draft of another chat into the composer, if another one is shown now."""
        if self._turn_driver.chat is self._shown_chat or not self._view.can_draw:
            return
        self._keep_as(self._shown_id)
        self._shown_chat, self._shown_id = self._turn_driver.chat, _id_of(self._turn_driver.chat)
        known = _NOTHING if self._shown_id is None else self._keeper.known(self._shown_id)
        self._show(known or _NOTHING)
        if known is None:
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
        whole = returned.before(self._keeper.known(chat_id) or _NOTHING)
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

    def _keep_as(self, chat_id: str | None) -> None:
        if chat_id is not None and self._view.chat_screen.has_composer:
            written = StoredDraft(self._view.chat_screen.composer.unsent_text, tuple(self.attached()))
            self._keeper.keep(chat_id, self.unsent(written))


def _id_of(chat: "OpenChat") -> str | None:
    """Returns the chat's id, or `NEW_CHAT`; None where nothing may be kept."""
    return None if chat.is_incognito else chat.chat_id or NEW_CHAT
