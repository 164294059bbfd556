"""Chats in memory and on a disk that fails for a while: in the end the disk has what is in memory."""

import asyncio
import contextlib
import itertools
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.flaky_store import Fault, FlakyStore
from tests.fakes.stored_trees import tree
from tests.scale import scaled
from tui_llama import paths
from tui_llama.chat import Role, StopReason, Usage
from tui_llama.chats import journal as journal_module
from tui_llama.chats.journal import Journal
from tui_llama.chats.open_chat import OpenChat
from tui_llama.chats.record import ChatRecord, Deletion, delete_chat, list_chats, rename_chat, unstored_chats
from tui_llama.chats.store import Store
from tui_llama.errors import StoreConflictError, StoreError

USAGE = Usage(generated_tokens=2, context_used=9)


@dataclass
class Desk:
    """A store that fails, its journal, and what was told of it."""

    store: FlakyStore
    journal: Journal
    failures: list[Exception] = field(default_factory=list)
    recoveries: list[str] = field(default_factory=list)

    def fail(self, fault: Fault = Fault.AT_ONCE) -> None:
        self.store.lasting_fault = fault

    def pragma(self, text: str) -> list[tuple[int]]:
        """Changes or reads what belongs to the store's own connection; returns the rows."""
        return self.store._connection.sqlite.execute(f"PRAGMA {text}").fetchall()

    @property
    def waiting_ids(self) -> list[str]:
        """The chats of which something still has to be stored."""
        return [owner.chat_id for owner in self.journal.waiting if isinstance(owner, ChatRecord)]

    async def stored_chat(self) -> OpenChat:
        """A chat of one turn that is stored."""
        chat = OpenChat(self.journal)
        say(chat, "one", "two")
        await self.journal.settle()
        return chat

    async def mend(self) -> None:
        self.store.lasting_fault = None
        self.store.faults.clear()
        assert await self.journal.try_again()

    async def assert_stored(self, chat: OpenChat) -> None:
        """The chat on the disk is the one in memory, and its path is what is shown."""
        await self.journal.settle()
        assert self.journal.waiting == []
        assert chat.chat_id is not None
        assert tree(self.store, chat.chat_id) == tree(chat._record.memory, chat.chat_id)
        stored = self.store.messages(chat.chat_id)
        assert [(each.role, each.text) for each in stored] == [(each.role, each.text) for each in chat.entries]
        if stored:
            assert self.store.ledger(stored[-1].message_id) == await chat.whole_ledger()


@contextlib.asynccontextmanager
async def desk(path: Path | None = None) -> AsyncIterator[Desk]:
    store = FlakyStore(path or paths.database_file())
    with store:
        failures: list[Exception] = []
        recoveries: list[str] = []
        journal = Journal(store, failures.append, lambda: recoveries.append("again"))
        yield Desk(store, journal, failures, recoveries)
        await journal.close()


def answer(chat: OpenChat, *pieces: str) -> None:
    """An answer to the last message, one token for each piece."""
    chat.begin_answer()
    chat.set_prompt(0, (1, 2))
    for number, piece in enumerate(pieces):
        chat.append(piece, (10 + number,))
        chat.flush()
    chat.finish_answer(StopReason.END_OF_GENERATION, USAGE)


def say(chat: OpenChat, question: str, *pieces: str) -> None:
    chat.add_message(question)
    answer(chat, *pieces)


# --- each fault, everywhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", Fault)
async def test_turns_made_while_the_store_fails_are_stored_in_order_in_the_end(fault: Fault) -> None:
    async with desk() as at:
        chat = OpenChat(at.journal, model_path="/models/m.gguf", system_prompt="Be brief.")
        say(chat, "before", "yes")
        await at.assert_stored(chat)
        at.fail(fault)
        say(chat, "one", "two", "three")
        say(chat, "four", "five")
        await at.journal.settle()
        assert at.waiting_ids == [chat.chat_id]
        assert (await chat.whole_ledger()).newest_ids == [1, 2, 10]
        await at.mend()
        say(chat, "after", "yes")
        await at.assert_stored(chat)
        assert [type(error) for error in at.failures] == [StoreError]
        assert at.recoveries == ["again"]


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize("position", range(16))
async def test_whichever_write_fails_nothing_is_missing_and_nothing_is_there_twice(fault: Fault, position: int) -> None:
    async with desk() as at:
        at.store.faults = [*[None] * position, fault]
        chat = OpenChat(at.journal)
        say(chat, "one", "two", " three")
        chat.set_answer_aside()
        answer(chat, "another")
        chat.replace_message(0, "first")
        answer(chat, "third")
        chat.rename("Mine")
        chat.set_model("/models/other.gguf")
        await chat.turn_to_branch((await chat.branches())[-1].tip_message_id)
        await at.mend()
        await at.assert_stored(chat)
        assert len(at.store.all_messages(chat.chat_id or "")) == 5


async def test_a_write_is_tried_again_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FIRST_WAIT_SECONDS", 0.0)
    async with desk() as at:
        at.store.faults = [Fault.AT_ONCE] * 5
        chat = OpenChat(at.journal)
        say(chat, "one", "two")
        while not at.recoveries:
            await asyncio.sleep(0)
        await at.assert_stored(chat)


async def test_what_one_chat_cannot_store_is_no_matter_of_another() -> None:
    async with desk() as at:
        first, second = OpenChat(at.journal), OpenChat(at.journal)
        say(first, "one", "two")
        say(second, "three", "four")
        await at.assert_stored(first)
        message_id = at.store.messages(first.chat_id or "")[0].message_id
        with sqlite3.connect(at.store.path) as database:  # as a damaged page would have it
            database.execute(
                "UPDATE messages SET role = 'user', usage = x'00', text = x'ff' WHERE message_id = ?", (message_id,)
            )
        first.replace_message(0, "again")
        say(second, "five", "six")
        assert not await at.journal.try_again()
        assert at.waiting_ids == [first.chat_id]
        assert at.store.messages(second.chat_id or "")[-1].text == "six"
        with sqlite3.connect(at.store.path) as database:
            database.execute("UPDATE messages SET usage = NULL, text = 'one' WHERE message_id = ?", (message_id,))
        await at.mend()
        await at.assert_stored(first)


# --- going about while something waits --------------------------------------------------------------------------


async def test_a_chat_that_waits_can_be_left_and_opened_again_and_goes_on() -> None:
    async with desk() as at:
        at.fail()
        first = OpenChat(at.journal)
        say(first, "one", "two")
        first.rename("Mine")
        await first.leave()
        other = OpenChat(at.journal)
        say(other, "three", "four")
        assert [chat.title for chat in await list_chats(at.journal)] == ["three", "Mine"]
        await other.leave()
        again = await OpenChat.restore(at.journal, first.chat_id or "")
        assert (again.entries, again.title) == (first.entries, "Mine")
        say(again, "five", "six")
        again.set_answer_aside()
        answer(again, "seven")
        assert await again.turn_to_version(-1)
        assert [branch.answer for branch in await again.branches()] == ["seven", "six"]
        await at.mend()
        await at.assert_stored(again)
        assert [chat.title for chat in await list_chats(at.journal)] == [each.title for each in at.store.list_chats()]
        assert unstored_chats(at.journal) == []


async def test_a_chat_from_the_disk_is_changed_while_the_disk_takes_nothing() -> None:
    async with desk() as at:
        chat = OpenChat(at.journal)
        say(chat, "one", "two")
        say(chat, "three", "four")
        await chat.leave()
        at.fail()
        await rename_chat(at.journal, chat.chat_id or "", "Other name")
        again = await OpenChat.restore(at.journal, chat.chat_id or "")
        assert again.title == "Other name"
        again.replace_message(2, "third")
        answer(again, "fourth")
        await at.mend()
        await at.assert_stored(again)
        assert at.store.chat(chat.chat_id or "").title == "Other name"


async def test_a_chat_can_be_deleted_while_some_of_it_waits() -> None:
    async with desk() as at:
        stored, unstored, kept = OpenChat(at.journal), OpenChat(at.journal), OpenChat(at.journal)
        say(stored, "one", "two")
        await at.journal.settle()
        at.fail()
        deleted: list[str] = []
        for chat in (stored, unstored, kept):
            say(chat, "three", "four")
        for chat in (stored, unstored):
            await chat.leave()
            delete_chat(at.journal, chat.chat_id or "", lambda: deleted.append("gone"))
        assert [each.chat_id for each in await list_chats(at.journal)] == [kept.chat_id]
        assert sum(isinstance(owner, Deletion) for owner in at.journal.waiting) == 2
        await at.mend()
        assert [each.chat_id for each in at.store.list_chats()] == [kept.chat_id]
        assert len(deleted) == 2


@pytest.mark.parametrize("fault", [None, *Fault])
async def test_a_chat_is_deleted_while_all_of_it_is_being_stored(
    fault: Fault | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is there for as long as the journal's thread copies out of it."""
    copying, is_deleted = threading.Event(), threading.Event()
    copy_chat = Store.copy_chat

    def copy_slowly(memory: Store, chat_id: str, into: Store) -> dict[int, int]:
        copying.set()
        assert is_deleted.wait(60)
        return copy_chat(memory, chat_id, into)

    async with desk() as at:
        chat = await at.stored_chat()
        for file in at.store.path.parent.glob(f"{at.store.path.name}*"):
            file.unlink()  # so that all of the chat goes into a new one
        monkeypatch.setattr(Store, "copy_chat", copy_slowly)
        at.store.faults = [fault]
        chat.rename("Mine")
        assert await asyncio.to_thread(copying.wait, 60)
        await chat.leave()
        delete_chat(at.journal, chat.chat_id or "", lambda: None)
        is_deleted.set()
        await at.journal.settle()
        await at.mend()
        assert not [error for error in at.failures if type(error) is not StoreError]
        assert (at.store.list_chats(), at.journal.waiting, at.journal.refused) == ([], [], {})
        assert chat._record.summary() is None


# --- others -----------------------------------------------------------------------------------------------------


async def test_a_chat_that_another_program_has_deleted_is_told_of_and_stays_in_memory() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        with Store(at.store.path) as other:
            other.delete_chat(chat.chat_id or "")
        say(chat, "three", "four")
        await at.journal.settle()
        assert [type(error) for error in at.failures] == [StoreConflictError]
        assert chat.is_refused
        assert at.journal.waiting == []
        assert [record.chat_id for record, _summary in unstored_chats(at.journal)] == [chat.chat_id]
        assert [summary.title for summary in await list_chats(at.journal)] == ["one"]
        say(chat, "five", "six")
        await chat.leave()
        again = await OpenChat.restore(at.journal, chat.chat_id or "")
        assert [entry.text for entry in again.entries] == ["one", "two", "three", "four", "five", "six"]
        other_chat = OpenChat(at.journal)
        say(other_chat, "seven", "eight")
        await at.assert_stored(other_chat)


async def test_more_of_an_answer_that_another_program_wrote_meanwhile_is_not_lost() -> None:
    async with desk() as at:
        chat = OpenChat(at.journal)
        say(chat, "why?", "Beca")
        await at.journal.settle()
        at.fail()
        chat.reopen_answer()
        await chat.ledger_to_go_on()
        chat.append("use.", (5,))
        chat.finish_answer(StopReason.LENGTH, None)
        with Store(at.store.path) as other:
            message_id = other.messages(chat.chat_id or "")[-1].message_id
            other.reopen_answer(message_id)
            other.append_to_answer(message_id, "me, too", (6,))
            other.finish_answer(message_id, StopReason.LENGTH, None)
        at.store.lasting_fault = None
        await at.journal.try_again()
        assert [str(error) for error in at.failures] == [
            "The disk is full.",
            "The stored text of this answer is different.",
        ]
        assert chat.is_refused
        again = await OpenChat.restore(at.journal, chat.chat_id or "")
        assert again.entries[-1].text == "Became, too"
        assert chat.entries[-1].text == "Because."


async def test_what_another_program_adds_to_a_chat_is_no_hindrance() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        at.fail()
        say(chat, "three", "four")
        with Store(at.store.path) as other:
            other.add_user_message(chat.chat_id or "", "from elsewhere")
            other.add_user_message(other.create_chat(), "a chat beside it")
        await at.mend()
        assert [each.text for each in at.store.messages(chat.chat_id or "")] == ["one", "two", "three", "four"]
        assert len(at.store.all_messages(chat.chat_id or "")) == 5


# --- the file itself --------------------------------------------------------------------------------------------


def remove(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        each.unlink()


async def test_the_chat_goes_whole_into_a_new_file_when_its_own_was_removed() -> None:
    async with desk() as at:
        chat = OpenChat(at.journal)
        say(chat, "one", "two")
        chat.set_answer_aside()
        answer(chat, "another")
        await at.journal.settle()
        remove(at.store.path)
        say(chat, "three", "four")
        await at.assert_stored(chat)
        with Store(at.store.path) as reopened:
            assert [each.text for each in reopened.all_messages(chat.chat_id or "")] == [
                *("one", "two", "another", "three", "four")
            ]
        assert at.failures == []


async def test_half_an_answer_goes_on_in_a_new_file() -> None:
    async with desk() as at:
        chat = OpenChat(at.journal)
        chat.add_message("one")
        chat.begin_answer()
        chat.set_prompt(0, (1, 2))
        chat.append("half", (3,))
        chat.flush()
        await at.journal.settle()
        remove(at.store.path)
        chat.append(" and half", (4,))
        chat.flush()
        await at.assert_stored(chat)
        chat.append(" again", (5,))
        chat.finish_answer(StopReason.END_OF_GENERATION, USAGE)
        await at.assert_stored(chat)


async def test_a_folder_that_is_gone_is_waited_for() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        folder = at.store.path.parent
        folder.rename(folder.with_name("elsewhere"))
        say(chat, "three", "four")
        await at.journal.settle()
        assert at.waiting_ids == [chat.chat_id]
        folder.with_name("elsewhere").rename(folder)
        await at.mend()
        await at.assert_stored(chat)


async def test_a_folder_that_is_made_again_gets_all_of_the_chat() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        shutil.rmtree(at.store.path.parent)
        say(chat, "three", "four")
        await at.journal.settle()
        assert at.waiting_ids == [chat.chat_id]
        assert at.journal.trouble is not None and "create it again" in at.journal.trouble.hint
        at.store.path.parent.mkdir()
        await at.mend()
        await at.assert_stored(chat)


async def test_a_file_that_comes_back_in_place_of_what_cannot_be_opened_is_used_again() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        away = at.store.path.with_name("away")
        at.store.path.rename(away)
        at.store.path.mkdir()
        say(chat, "three", "four")
        await at.journal.settle()
        assert at.waiting_ids == [chat.chat_id]
        at.store.path.rmdir()
        away.rename(at.store.path)
        await at.mend()
        await at.assert_stored(chat)
        assert not chat.is_refused


async def test_an_older_file_that_has_the_chat_too_is_not_mixed_with_it() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        with contextlib.closing(sqlite3.connect(at.store.path)) as other:
            other.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()
        backup = at.store.path.with_name("backup")
        shutil.copy(at.store.path, backup)
        say(chat, "three", "four")
        await at.journal.settle()
        remove(at.store.path)
        backup.rename(at.store.path)
        say(chat, "five", "six")
        await at.journal.settle()
        assert chat.is_refused
        assert "was replaced" in str(at.failures[0])
        assert [each.text for each in at.store.messages(chat.chat_id or "")] == ["one", "two"]


async def test_another_program_holds_the_lock_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(journal_module, "IMPATIENCE_SECONDS", 0.0)
    async with desk() as at:
        with sqlite3.connect(at.store.path, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            chat = OpenChat(at.journal)
            say(chat, "one", "two")
            await at.journal.settle()
            assert "in use by another program" in str(at.failures[0])
            assert [each.title for each in await list_chats(at.journal)] == ["one"]
            other.execute("ROLLBACK")
        say(chat, "three", "four")
        assert await at.journal.try_again()
        await at.assert_stored(chat)


async def test_a_full_disk_that_gets_room_again() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        pages = at.pragma("page_count")[0][0]
        at.pragma(f"max_page_count = {pages}")
        say(chat, "three " * 10_000, "four " * 10_000)
        say(chat, "five", "six")
        await at.journal.settle()
        assert "the disk is full" in str(at.failures[0])
        at.pragma("max_page_count = 1000000")
        await at.mend()
        await at.assert_stored(chat)


async def test_a_file_that_may_not_be_written_for_a_while() -> None:
    async with desk() as at:
        chat = await at.stored_chat()
        at.pragma("query_only = ON")
        say(chat, "three", "four")
        await at.journal.settle()
        assert "cannot be written" in str(at.failures[0])
        at.pragma("query_only = OFF")
        await at.mend()
        await at.assert_stored(chat)


# --- whatever is done, and whenever it fails --------------------------------------------------------------------


class User:
    """Does what a seed says, with some chats and a store that fails at random."""

    def __init__(self, at: Desk, seed: int) -> None:
        self.at = at
        self.random = Random(seed)
        self.numbers = itertools.count()
        self.chat = OpenChat(at.journal)
        self.chat_ids: list[str] = []

    def words(self) -> str:
        return self.random.choice(["", "né", "\x00", "long " * 300]) + str(next(self.numbers))

    def ids(self) -> tuple[int, ...]:
        return tuple(self.random.randrange(2**32) for _ in range(self.random.randrange(4)))

    async def act(self) -> None:
        talk = self.send, self.send, self.answer, self.answer, self.regenerate, self.edit, self.go_on
        move = self.turn, self.branch, self.new, self.switch, self.delete, self.rename, self.set_model
        await self.random.choice((*talk, *move, self.fail, self.mend))()

    async def send(self) -> None:
        self.chat.add_message(self.words())
        self.chat_ids = [*dict.fromkeys((*self.chat_ids, self.chat.chat_id or ""))]

    async def answer(self) -> None:
        if self.chat.entries and not self.chat.ends_in_answer:
            self.chat.begin_answer()
            await self.grow()

    async def grow(self) -> None:
        if not self.chat.has_prompt and self.random.random() < 0.8:
            self.chat.set_prompt(self.random.randint(0, len((await self.chat.ledger()).newest_ids)), self.ids())
        for _ in range(self.random.randrange(4)):
            self.chat.append(self.random.choice(["", self.words()]), self.ids())
            if self.random.random() < 0.7:
                self.chat.flush()
        self.chat.finish_answer(self.random.choice(list(StopReason)), self.random.choice([None, USAGE]))

    async def regenerate(self) -> None:
        if self.chat.entries:
            self.chat.set_answer_aside()
            await self.answer()

    async def go_on(self) -> None:
        if self.chat.ends_in_answer and self.chat.has_prompt and not self.chat.entries[-1].is_replied_to:
            self.chat.reopen_answer()
            await self.grow()

    async def edit(self) -> None:
        positions = [number for number, entry in enumerate(self.chat.entries) if entry.role is Role.USER]
        if positions:
            self.chat.replace_message(self.random.choice(positions), self.words())
            await self.answer()

    async def rename(self) -> None:
        self.chat.rename(self.words())

    async def set_model(self) -> None:
        self.chat.set_model(self.words())

    async def turn(self) -> None:
        await self.chat.turn_to_version(self.random.choice([-1, 1]))

    async def branch(self) -> None:
        branches = await self.chat.branches()
        if branches:
            await self.chat.turn_to_branch(self.random.choice(branches).tip_message_id)

    async def new(self) -> None:
        await self.chat.leave()
        self.chat = OpenChat(self.at.journal)

    async def switch(self) -> None:
        if self.chat_ids:
            opened = await OpenChat.restore(self.at.journal, self.random.choice(self.chat_ids))
            await self.chat.leave()
            opened._record._is_taken_up()
            self.chat = opened

    async def delete(self) -> None:
        if self.random.random() < 0.5 or not self.chat_ids:
            return
        chat_id = self.random.choice(self.chat_ids)
        if chat_id == self.chat.chat_id:
            await self.new()
        self.chat_ids.remove(chat_id)
        delete_chat(self.at.journal, chat_id, lambda: None)

    async def fail(self) -> None:
        self.at.store.faults = self.random.choices([None, *Fault], k=self.random.randrange(12))
        self.at.store.lasting_fault = self.random.choice([None, *Fault])

    async def mend(self) -> None:
        self.at.store.lasting_fault = None
        await self.at.journal.try_again()


async def assert_stored_after_trouble(seed: int, folder: Path) -> None:
    """A user does 30 things while the disk fails now and then; once it does no longer, all of them are on it."""
    async with desk(folder / "chats.sqlite3") as at:
        user = User(at, seed)
        for _ in range(30):
            await user.act()
        await at.mend()
        assert not at.journal.refused
        assert {chat.chat_id for chat in at.store.list_chats()} == set(user.chat_ids)
        if user.chat.chat_id is not None:
            at.journal._thread.submit(lambda: None).result()
            await at.assert_stored(user.chat)
        for chat_id in user.chat_ids:
            opened = await OpenChat.restore(at.journal, chat_id)
            await at.assert_stored(opened)
        assert {str(error) for error in at.failures} <= {"The disk is full.", "The disk reports an error."}


@given(st.integers(0, 2**32))
@settings(max_examples=scaled(40, 1000))
def test_whatever_was_done_is_on_the_disk_once_it_takes_it(seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(assert_stored_after_trouble(seed, Path(folder)))
