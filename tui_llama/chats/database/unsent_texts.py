"""What the user has written and not sent, and what was sent before, for all chats."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from tui_llama.chat import Attachment
from tui_llama.chats.database.moments import present
from tui_llama.chats.database.store_file import StoreFile
from tui_llama.chats.database.tables import drafts
from tui_llama.chats.stored import StoredDraft, StoredText

HISTORY_LENGTH = 1000

NOBODY: Final = 0
"""In place of the number of a program: whoever has written the draft, it is left for the next one that asks."""

_FIRST_PROGRAM: Final = 1 << 40  # beyond all ids of messages, which are bytes of the same file of locks


class LeftDraft(msgspec.Struct, frozen=True):
    """What was left by `programs`, by their numbers."""

    draft: StoredDraft = StoredDraft()
    programs: tuple[int, ...] = ()


def new_program() -> int:
    """Returns a number that no other program has."""
    return _FIRST_PROGRAM + secrets.randbelow(_FIRST_PROGRAM)


def joined(parts: Iterable[StoredDraft]) -> StoredDraft:
    """Returns drafts as one, the first at the beginning; a text that is there already is left out."""
    whole, texts = StoredDraft(), set[str]()
    for part in parts:
        whole = whole.before(StoredDraft("" if part.text in texts else part.text, part.attachments))
        texts.add(part.text)
    return whole


class UnsentTexts(StoreFile):
    """The part of a store that helps to write."""

    def draft(self, chat_id: str) -> StoredDraft:
        """Returns what is written in a chat and not sent, by all programs; an empty one if nothing is."""
        with self._transaction("DEFERRED") as database:
            return joined(drafts.read_drafts(database, chat_id).values())

    def keep_draft(
        self, chat_id: str, text: str, attachments: Sequence[Attachment] = (), *, program: int = NOBODY
    ) -> None:
        """Commits what is written in a chat and not sent, in place of what was; the chat need not be stored yet.

        `program` is the number of the program that runs, of `new_program`. Until it ends, the draft is its own.
        """
        with self._transaction() as database:
            self._hold(program)
            drafts.write_draft(database, chat_id, program, StoredDraft(text, tuple(attachments)), present())

    def left_draft(self, chat_id: str) -> LeftDraft:
        """Returns what programs that have ended have left in a chat, written and not sent."""
        with self._transaction("DEFERRED") as database:
            return self._left(drafts.read_drafts(database, chat_id))

    def take_left_draft(self, chat_id: str, left: LeftDraft, program: int) -> None:
        """Commits what was left as the beginning of the draft of the program that runs, unless another has taken it."""
        with self._transaction() as database:
            self._hold(program)
            there = drafts.read_drafts(database, chat_id)
            taken = [each for each in left.programs if each in there and each != program]
            for each in taken:
                drafts.write_draft(database, chat_id, each, StoredDraft(), 0)
            if taken:
                whole = joined([*(there[each] for each in taken), there.get(program, StoredDraft())])
                drafts.write_draft(database, chat_id, program, whole, present())

    def _left(self, there: Mapping[int, StoredDraft]) -> LeftDraft:
        locks = self._connection.answer_locks
        left = [each for each in there if each == NOBODY or locks.is_free(each)]
        return LeftDraft(joined(there[each] for each in left), tuple(left))

    def _hold(self, program: int) -> None:
        """Says that the program runs, until its process ends, however it ends."""
        if program != NOBODY:
            self._connection.answer_locks.hold(program)

    def end_program(self, program: int) -> None:
        """Says that the program writes no more: its drafts are left for the next one that asks."""
        self._connection.release_answer(program)

    def sent_texts(self, limit: int = HISTORY_LENGTH) -> list[StoredText]:
        """Returns the texts that were sent last in all chats, newest first, each text once."""
        with self._transaction("DEFERRED") as database:
            return drafts.sent_texts(database, limit)
