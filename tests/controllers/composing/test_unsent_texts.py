"""What is written and not sent survives: a message that is edited, one that is queued, one that comes too early."""

from pathlib import Path

import pytest

from tests.fakes.chat_app import opened, spoken
from tests.test_app_live_chats import begin, gated
from tui_llama.chats.store import Store
from tui_llama.controllers.composing.draft import NEW_CHAT
from tui_llama.engine.scripted import Gate


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "chats.sqlite3")


@pytest.mark.parametrize(("changed", "kept"), [("", "my draft"), (" changed", "my draft\n\nfirst changed")])
async def test_a_draft_that_is_set_aside_for_an_edit_is_kept_with_what_was_changed(
    store: Store, changed: str, kept: str
) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.ask("first")
        await driver.write("my draft")
        driver.app.action_edit_message()
        await driver.until(lambda: driver.written == "first")
        if changed:
            await driver.write(changed)
        await driver.pilot.press("ctrl+q")
    assert store.draft(store.list_chats()[0].chat_id).text == kept


async def test_a_draft_is_kept_while_an_older_message_is_shown(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.ask("first")
        await driver.write("my draft")
        await driver.pilot.press("up")
        await driver.until(lambda: driver.written == "first")
        await driver.pilot.press("ctrl+q")
    assert store.draft(store.list_chats()[0].chat_id).text == "my draft"


async def test_only_the_draft_is_left_when_the_edit_is_left(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.ask("first")
        await driver.write("my draft")
        driver.app.action_edit_message()
        await driver.write(" changed")
        driver.app._draft.keep()
        driver.app.action_stop()
        await driver.until(lambda: driver.written == "my draft")
        await driver.pilot.press("ctrl+q")
    assert store.draft(store.list_chats()[0].chat_id).text == "my draft"


@pytest.mark.parametrize("way", ["", "exit", "ctrl+q", "signal"])
async def test_what_is_queued_is_the_beginning_of_the_draft_however_the_program_ends(store: Store, way: str) -> None:
    gate = Gate()
    async with opened(store=store, replies=[gated(gate, "One", " two")]) as driver:
        await begin(driver, gate)
        await driver.send("queued")
        await driver.write("and a draft")
        if way == "exit":
            driver.app.exit()
        elif way == "signal":
            driver.app._leaving.quit_unasked(3)
        elif way:
            await driver.pilot.press(way)
    assert store.draft(store.list_chats()[0].chat_id).text == "queued\n\nand a draft"


async def test_a_draft_comes_back_before_what_was_written_while_it_was_read(store: Store) -> None:
    store.keep_draft(NEW_CHAT, "the old draft")
    async with opened(store=store, until_ready=False) as driver:
        driver.app.chat_screen.composer.insert("new")
        await driver.until(lambda: driver.written == "the old draft\n\nnew")
        await driver.write(" words")
        assert driver.written == "the old draft\n\nnew words"
        await driver.pilot.press("ctrl+q")
    assert store.draft(NEW_CHAT).text == "the old draft\n\nnew words"
