"""What the user sees of a store that fails: a notice while it does, and a question before anything would be lost."""

import json
import os
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from tests.fakes.chat_app import Driver, opened, spoken
from tests.fakes.flaky_store import Fault, FlakyStore
from tui_llama import paths
from tui_llama.chats import journal
from tui_llama.chats.store import Store
from tui_llama.controllers.composing import draft
from tui_llama.controllers.saving import NOT_SAVED, SAVED_AGAIN
from tui_llama.engine.scripted import Gate
from tui_llama.screens.dialogs.ask_text import AskText
from tui_llama.screens.dialogs.unsaved import AskUnsaved


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a lock that the test itself holds; what waits is tried again by the test alone."""
    monkeypatch.setattr(journal, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(journal, "IMPATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(journal, "FIRST_WAIT_SECONDS", 3600.0)


@pytest.fixture
def store() -> Iterator[FlakyStore]:
    opened_store = FlakyStore(paths.database_file())
    with opened_store:
        yield opened_store


def texts(store: Store, title: str) -> list[str]:
    """What is stored on the path of the chat of that title."""
    (chat_id,) = [chat.chat_id for chat in store.list_chats() if chat.title == title]
    return [message.text for message in store.messages(chat_id)]


async def until_asked(driver: Driver) -> str:
    """Presses Ctrl+Q, and returns what is asked."""
    await driver.pilot.press("ctrl+q")
    await driver.until(lambda: isinstance(driver.app.screen, AskUnsaved) and "Quitting now" in driver.screen_text())
    return driver.screen_text()


async def until_ended(driver: Driver, *keys: str) -> None:
    await driver.pilot.press(*keys)
    await driver.until(lambda: driver.app._exit, "the end")


async def test_turns_made_while_another_program_holds_the_lock_are_stored_when_it_lets_go(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two"), spoken("three")]) as driver:
        with sqlite3.connect(store.path, isolation_level=None) as other:
            other.execute("BEGIN EXCLUSIVE")
            await driver.ask("first")
            await driver.ask("second")
            assert [remark.partition(":")[0] for remark in driver.remarks] == [NOT_SAVED]
            assert "in use by another program" in driver.remarks[0]
            assert "ready · not saved" in driver.status
            other.execute("ROLLBACK")
        assert store.list_chats() == []
        await driver.ask("third")
        await driver.until(lambda: driver.remarks == [SAVED_AGAIN])
        assert "not saved" not in driver.status
        await driver.app.journal.settle()
        assert texts(store, "first") == ["first", "one", "second", "two", "third", "three"]


async def test_everything_that_one_can_do_with_a_chat_can_be_done_while_nothing_is_stored(store: FlakyStore) -> None:
    replies = [spoken(word) for word in ("one", "two", "three", "four", "five")]
    async with opened(store=store, replies=replies) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["two"])
        await driver.until_state("ready")
        await driver.pilot.press("up")
        await driver.write(", once more")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["three"])
        await driver.until_state("ready")
        await driver.send("/rename A title")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        assert [remark.partition(":")[0] for remark in driver.remarks] == [NOT_SAVED]
        await driver.ask("second")
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.answers == ["three"])
        await driver.ask("and")
        store.lasting_fault = None
        assert await driver.app.journal.try_again()
        assert texts(store, "A title") == ["first, once more", "three", "and", "five"]
        assert texts(store, "second") == ["second", "four"]
        assert sorted(chat.message_count for chat in store.list_chats()) == [2, 7]


async def test_only_pieces_of_an_answer_have_to_wait(store: FlakyStore) -> None:
    gates = Gate(), Gate()
    steps = spoken("One", " two", " three")
    async with opened(store=store, replies=[[*steps[:2], gates[0], *steps[2:4], gates[1], *steps[4:]]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["One"])
        await driver.app.journal.settle()
        store.lasting_fault = Fault.BEFORE_COMMIT
        gates[0].open()
        await driver.until(lambda: driver.answers == ["One two three"])
        driver.app.turn_driver.chat.flush()
        await driver.until(lambda: driver.remarks)
        store.lasting_fault = None
        gates[1].open()
        await driver.until_state("ready")
        await driver.app.journal.try_again()
        assert texts(store, "hi") == ["hi", "One two three"]


async def test_nothing_is_asked_when_nothing_would_be_lost(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.ask("hi")
        await until_ended(driver, "ctrl+q")
    assert texts(store, "hi") == ["hi", "one"]


async def test_quitting_asks_first_and_one_may_stay(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        asked = await until_asked(driver)
        assert "The disk is full." in asked
        assert "“first”: 2 messages" in asked
        await driver.pilot.press("ctrl+q")  # asks no second time
        await driver.pilot.press("s")
        await driver.until(lambda: driver.app.screen is driver.app.chat_screen)
        await driver.ask("second")
        assert driver.answers == ["one", "two"]
        assert "“first”: 4 messages" in await until_asked(driver)
        await driver.pilot.press("escape")
        await driver.until(lambda: driver.app.screen is driver.app.chat_screen)


async def test_trying_again_asks_again_until_it_is_stored(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        await until_asked(driver)
        asking = driver.app.screen
        await driver.pilot.press("t")
        await driver.until(lambda: isinstance(driver.app.screen, AskUnsaved) and driver.app.screen is not asking)
        store.lasting_fault = None
        await until_ended(driver, "t")
    assert texts(store, "first") == ["first", "one"]


async def test_it_can_be_given_up(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        await until_asked(driver)
        await until_ended(driver, "l")
    store.lasting_fault = None
    assert store.list_chats() == []


async def name_file(driver: Driver, name: Path) -> None:
    """Answers what is asked with a file: its folder is pasted, its name is typed."""
    await driver.pilot.press("f")
    await driver.until(lambda: isinstance(driver.app.screen, AskText))
    await driver.pilot.pause()
    driver.app.screen.query_one(Input).post_message(events.Paste(f"{name.parent}/"))
    await driver.pilot.pause()
    await driver.pilot.press(*name.name)


async def test_it_can_be_had_as_a_file_and_nothing_is_written_over(store: FlakyStore, tmp_path: Path) -> None:
    taken, new = tmp_path / "taken.md", tmp_path / "new.md"
    taken.write_text("mine")
    async with opened(store=store, replies=[spoken("one"), spoken("two")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.questions == [])
        await driver.ask("second")
        await until_asked(driver)
        await name_file(driver, taken)
        await driver.pilot.press("enter")
        await driver.until(lambda: "it is there already" in driver.screen_text())
        await name_file(driver, new)
        await until_ended(driver, "enter")
    assert taken.read_text() == "mine"
    assert new.read_text() == (
        "# first\n\n## You\n\nfirst\n\n## Answer\n\none\n\n# second\n\n## You\n\nsecond\n\n## Answer\n\ntwo\n"
    )
    assert new.stat().st_mode & 0o777 == 0o600


async def test_the_file_can_be_json_with_all_branches(store: FlakyStore, tmp_path: Path) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["two"])
        await driver.until_state("ready")
        await until_asked(driver)
        await name_file(driver, tmp_path / "chats.json")
        await until_ended(driver, "enter")
    (chat,) = json.loads((tmp_path / "chats.json").read_text())
    assert chat["chat"]["title"] == "first"
    assert [message["text"] for message in chat["messages"]] == ["first", "one", "two"]
    assert chat["chat"]["tip_message_id"] == chat["messages"][-1]["message_id"]


async def test_an_answer_under_way_is_asked_about_too(store: FlakyStore) -> None:
    gate = Gate()
    async with opened(store=store, replies=[[*spoken("Half")[:2], gate]]) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half"])
        driver.app.turn_driver.chat.flush()
        await driver.app.journal.settle()
        store.lasting_fault = Fault.AT_ONCE  # seen only when the answer is ended, and staying is no longer possible
        asked = await until_asked(driver)
        assert "“hi”: its latest changes" in asked
        assert "Stay" not in asked
        store.lasting_fault = None
        await until_ended(driver, "t")
    assert texts(store, "hi") == ["hi", "Half"]


async def test_a_deletion_that_did_not_happen_is_asked_about(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.ask("hi")
        await driver.app.journal.settle()
        store.lasting_fault = Fault.AT_ONCE
        await driver.send("/delete")
        await driver.pilot.press("y")
        await driver.until(lambda: driver.questions == [])
        assert "deletions of chats: 1" in await until_asked(driver)
        store.lasting_fault = None
        await until_ended(driver, "t")
    assert store.list_chats() == []


async def test_a_chat_that_another_program_has_deleted_is_told_of_and_can_be_had_as_a_file(
    store: FlakyStore, tmp_path: Path
) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two")]) as driver:
        await driver.ask("first")
        await driver.app.journal.settle()
        with Store(store.path) as other:
            other.delete_chat(other.list_chats()[0].chat_id)
        await driver.ask("second")
        assert driver.remarks == [
            "This chat is no longer saved: This chat no longer exists.\nAnother running program may have deleted it."
        ]
        await until_asked(driver)
        await name_file(driver, tmp_path / "saved.md")
        await until_ended(driver, "enter")
    assert "second" in (tmp_path / "saved.md").read_text()


async def test_whoever_cannot_be_asked_finds_a_file_beside_the_chats(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        os.kill(os.getpid(), signal.SIGHUP)
        await until_ended(driver)
    (saved,) = paths.data_folder().glob("unsaved-chats-*.md")
    assert "## You\n\nfirst" in saved.read_text()


@pytest.mark.parametrize("has_home", [True, False])
async def test_where_nothing_can_be_written_beside_the_chats_the_file_is_elsewhere(
    store: FlakyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_home: bool
) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    for folder in [scratch, home][: 1 + has_home]:
        folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    async with opened(store=store, replies=[spoken("one")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        monkeypatch.setattr(paths, "data_folder", lambda: tmp_path / "gone")
        os.kill(os.getpid(), signal.SIGTERM)
        await until_ended(driver)
        (saved,) = (home if has_home else scratch).glob("unsaved-chats-*.md")
        assert "## You\n\nfirst" in saved.read_text()
        assert driver.app._exit_renderables == [f"The part of your chats that could not be saved is in {saved}"]


async def test_that_nothing_could_be_saved_anywhere_is_said(
    store: FlakyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    async with opened(store=store, replies=[spoken("one")]) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.ask("first")
        monkeypatch.setattr(paths, "data_folder", lambda: tmp_path / "gone")
        os.kill(os.getpid(), signal.SIGTERM)
        await until_ended(driver)
        (said,) = driver.app._exit_renderables
        assert str(said).startswith("The part of your chats that could not be saved is lost: ")


# --- the message that you have not sent -------------------------------------------------------------------------------


async def test_a_draft_is_there_again_after_the_program_has_ended(store: FlakyStore) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.write("half a\nthought")
        await until_ended(driver, "ctrl+q")
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.until(lambda: driver.written == "half a\nthought")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["one"])
    async with opened(store=store) as driver:
        assert driver.written == ""


async def test_a_draft_is_kept_while_it_rests_so_that_a_crash_does_not_take_it(
    store: FlakyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft, "DRAFT_SECONDS", 0.01)
    async with opened(store=store) as driver:
        await driver.write("half")
        await driver.until(lambda: store.draft(draft.NEW_CHAT).text, "a draft in the store")
        # A program that is begun now finds it, though this one has not ended.
        with Store(store.path) as another:
            assert another.draft(draft.NEW_CHAT).text == "half"


async def test_a_draft_of_an_incognito_chat_is_not_kept(store: FlakyStore) -> None:
    async with opened(store=store, is_incognito=True) as driver:
        await driver.write("a secret")
        await until_ended(driver, "ctrl+q")
    assert store.draft(draft.NEW_CHAT).text == ""


async def test_a_draft_that_cannot_be_kept_is_asked_about(store: FlakyStore) -> None:
    async with opened(store=store) as driver:
        store.lasting_fault = Fault.AT_ONCE
        await driver.write("half")
        assert "the message that you have not sent" in await until_asked(driver)
        await driver.pilot.press("s")
        await driver.until(lambda: driver.app.screen is driver.app.chat_screen)
        assert driver.written == "half"


async def test_the_program_starts_while_another_program_holds_the_lock(store: FlakyStore) -> None:
    store.keep_draft(draft.NEW_CHAT, "half")
    with sqlite3.connect(store.path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with Store(store.path) as own:
            async with opened(store=own, replies=[spoken("one")]) as driver:
                assert driver.written == "half"
                await driver.pilot.press("enter")
                await driver.until(lambda: driver.answers == ["one"])
                other.execute("ROLLBACK")
                await driver.until_state("ready")
    assert texts(store, "half") == ["half", "one"]
