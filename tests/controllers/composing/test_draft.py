"""What is written and not sent, for each chat."""

from pathlib import Path

import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama.chat import Attachment
from tui_llama.chats.database import schema
from tui_llama.chats.store import Store
from tui_llama.chats.stored import StoredDraft
from tui_llama.chats.stored_text import attachments_json
from tui_llama.controllers.composing import draft
from tui_llama.controllers.composing.draft import NEW_CHAT, OLD_KEY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "chats.sqlite3")


async def new_chat(driver: Driver) -> None:
    before = driver.app.turn_driver.chat
    await driver.pilot.press("ctrl+n")
    await driver.until(lambda: driver.app.turn_driver.chat is not before, "a new chat")
    await driver.at_rest()


async def switch(driver: Driver, key: str) -> None:
    before = driver.app.turn_driver.chat
    await driver.pilot.press(key)
    await driver.until(lambda: driver.app.turn_driver.chat is not before, "another chat")
    await driver.at_rest()


async def test_each_chat_has_a_draft_and_the_caret_is_at_its_end(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two")]) as driver:
        await driver.ask("first")
        await driver.write("draft of\nthe first")
        await new_chat(driver)
        assert driver.written == ""
        await driver.ask("second")
        await driver.write("draft of the second")
        await switch(driver, "ctrl+pagedown")
        await driver.until(lambda: driver.written == "draft of\nthe first")
        assert driver.app.chat_screen.composer.cursor_at_end_of_text
        await switch(driver, "ctrl+pageup")
        await driver.until(lambda: driver.written == "draft of the second")
        await switch(driver, "ctrl+pagedown")
        assert driver.written == "draft of\nthe first"
    # Another program finds them where they were.
    async with opened(store=store) as driver:
        assert driver.written == ""
        await switch(driver, "ctrl+pagedown")
        await driver.until(lambda: driver.written == "draft of the second")


async def test_a_chat_without_a_message_has_a_draft_until_its_first_message_is_sent(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two")]) as driver:
        await driver.ask("first")
        await new_chat(driver)
        await driver.write("of the new one")
        await switch(driver, "ctrl+pagedown")
        assert driver.written == ""
        await new_chat(driver)
        await driver.until(lambda: driver.written == "of the new one")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["two"])
        await driver.at_rest()
        assert store.draft(NEW_CHAT).text == ""
        await new_chat(driver)
        assert driver.written == ""


async def test_a_draft_is_there_within_a_second_while_one_goes_on_writing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert draft.DRAFT_SECONDS <= 1
    monkeypatch.setattr(draft, "DRAFT_SECONDS", 0.05)
    async with opened(store=store) as driver:

        async def write_more() -> bool:
            await driver.pilot.press("a")
            return bool(store.draft(NEW_CHAT).text)

        for _ in range(10_000):
            if await write_more():
                break
        else:
            pytest.fail("the draft was never kept")


async def test_the_draft_of_an_earlier_version_is_taken_over(store: Store) -> None:
    store.set_preference(OLD_KEY, "from before")
    async with opened(store=store) as driver:
        await driver.until(lambda: driver.written == "from before")
        await driver.at_rest()
        assert (store.preference(OLD_KEY), store.draft(NEW_CHAT).text) == ("", "from before")


async def test_an_incognito_chat_leaves_no_draft_and_sees_none(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.write("open")
        before = driver.app.turn_driver.chat
        driver.app.action_incognito()
        await driver.until(lambda: driver.app.turn_driver.chat is not before)
        await driver.at_rest()
        assert driver.written == ""
        await driver.write("secret")
        await new_chat(driver)
        await driver.until(lambda: driver.written == "open")
    assert store.draft(NEW_CHAT).text == "open"


async def test_a_draft_is_deleted_with_its_chat(store: Store) -> None:
    chat_id = store.create_chat()
    store.keep_draft(chat_id, "half")
    store.delete_chat(chat_id)
    assert store.draft(chat_id).text == ""


async def test_two_running_programs_have_drafts_of_their_own_and_the_next_one_gets_both(store: Store) -> None:
    async with opened(store=store) as first, opened(store=store) as second:
        await first.write("of the first")
        await second.write("of the second")
        first.app._draft.keep()
        second.app._draft.keep()
        await first.at_rest()
        await second.at_rest()
        async with opened(store=store) as third:
            await third.at_rest()
            assert third.written == ""
    async with opened(store=store) as driver:
        await driver.until(lambda: sorted(driver.written.split("\n\n")) == ["of the first", "of the second"], "both")
        await driver.at_rest()
        await driver.pilot.press("ctrl+c")
        await driver.at_rest()
        assert store.draft(NEW_CHAT) == StoredDraft()


async def test_nothing_that_was_left_is_lost_where_one_writes_before_it_is_read(store: Store) -> None:
    """The disk is slow: what is written is kept before anybody knows what was left."""
    store.keep_draft(NEW_CHAT, "left")
    async with opened(store=store) as driver:
        keeper = driver.app._draft._keeper
        keeper._left.pop(NEW_CHAT)
        store.keep_draft(NEW_CHAT, "left later")
        await driver.pilot.press("!")
        driver.app._draft.keep()
        await driver.at_rest()
        assert "left later" in store.draft(NEW_CHAT).text
        await driver.app._draft.restore()
        assert driver.written == "left later\n\nleft!"
        await driver.at_rest()
        assert store.draft(NEW_CHAT).text == "left later\n\nleft!"


async def test_what_is_attached_is_written_once_however_often_the_text_changes(store: Store) -> None:
    note = Attachment("note", "a long text")
    writes: list[str] = []
    with store._transaction() as database:
        database.set_trace_callback(writes.append)
    store.keep_draft(NEW_CHAT, "one", [note])
    store.keep_draft(NEW_CHAT, "one two", [note])
    assert sum("a long text" in statement for statement in writes) == 1
    assert store.draft(NEW_CHAT) == StoredDraft("one two", (note,))
    store.keep_draft("a chat", "", [note])
    store.keep_draft(NEW_CHAT, "one two")
    assert store.draft("a chat") == StoredDraft("", (note,))
    store.keep_draft("a chat", "")
    with store._transaction() as database:
        assert database.execute("SELECT count(*) FROM draft_attachments").fetchone()[0] == 0


def test_drafts_of_the_schema_before_are_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.sqlite3"
    notes = (Attachment("one", "1"), Attachment("two", "2", "/two", "ab"))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:4])
        with Store(path) as old, old._transaction() as database:
            row = "INSERT INTO drafts (chat_id, text, attachments, written_at) VALUES (?, ?, ?, 1)"
            database.execute(row, ("", "half", attachments_json(notes)))
            database.execute(row, ("damaged", "whole", "["))
    with Store(path) as store:
        assert store.draft("") == StoredDraft("half", notes)
        assert store.draft("damaged") == StoredDraft("whole")
        assert store.left_draft("").draft == StoredDraft("half", notes)
