"""The messages that were sent before, in this chat and in others."""

from pathlib import Path

import pytest
from textual.widgets import Input

from tests.fakes.chat_app import Driver, opened, spoken
from tests.widgets.test_composer import opened as composer_opened
from tui_llama.chats.store import Store
from tui_llama.screens.dialogs.history_list import HistoryList


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with two chats, of which the second is newer."""
    store = Store(tmp_path / "chats.sqlite3")
    for texts in (("about llamas", "same"), ("about\nalpacas", "same")):
        chat_id = store.create_chat()
        for text in texts:
            store.add_user_message(chat_id, text)
    return store


async def with_history(driver: Driver, count: int) -> None:
    composer = driver.app.chat_screen.composer
    await driver.until(lambda: len(composer.sent) == count, "the history")


async def texts_after(driver: Driver, *keys: str) -> list[str]:
    texts = []
    for key in keys:
        await driver.pilot.press(key)
        texts.append(driver.written)
    return texts


def test_each_text_is_remembered_once_newest_first(store: Store) -> None:
    assert [sent.text for sent in store.sent_texts()] == ["same", "about\nalpacas", "about llamas"]
    assert [sent.text for sent in store.sent_texts(limit=2)] == ["same", "about\nalpacas"]


async def test_up_goes_through_this_chat_first_then_through_the_others(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await with_history(driver, 3)
        await driver.ask("about llamas")
        assert await texts_after(driver, "up", "up", "up") == ["about llamas", "same", "about\nalpacas"]
        await driver.pilot.press("ctrl+n")
        await driver.until_state("ready")
        await driver.until(lambda: driver.app.chat_screen.composer.sent._older[-1:] == ["about llamas"])
        assert (await texts_after(driver, "up"))[-1] == "about llamas"


async def test_texts_of_other_chats_come_while_one_goes_through_the_history() -> None:
    async with composer_opened("own") as (_app, composer, pilot):
        await pilot.press("d", "up")
        assert composer.text == "own"
        composer.set_older_history(["other", "own"])
        await pilot.press("up")
        assert composer.text == "other"
        await pilot.press("down", "down")
        assert composer.text == "d"


async def test_a_message_is_found_by_its_words_and_written_again(store: Store) -> None:
    async with opened(store=store) as driver:
        await driver.write("half")
        await driver.pilot.press("alt+r")
        await driver.until(lambda: isinstance(driver.app.screen, HistoryList))
        screen = driver.app.screen
        screen.query_one(Input).value = "alp ab"
        await driver.pilot.pause()
        assert "In “about alpacas”: about alpacas" in driver.screen_text()
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.written == "about\nalpacas")
        assert driver.app.chat_screen.composer.cursor_at_end_of_text
        assert await texts_after(driver, "down", "down") == ["same", "half"]


async def test_what_is_said_in_an_incognito_chat_is_not_among_them(store: Store) -> None:
    async with opened(store=store, is_incognito=True, replies=[spoken("one")]) as driver:
        await driver.ask("a secret")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: not driver.app.turn_driver.chat.is_incognito)
        await driver.at_rest()
        assert "a secret" not in driver.app.chat_screen.composer.sent._texts


async def test_a_text_that_was_cleared_comes_before_the_last_message(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await driver.ask("about llamas")
        await driver.write("never mind")
        await driver.pilot.press("ctrl+c")
        assert await texts_after(driver, "up") == ["never mind"]


async def test_up_from_a_changed_last_message_keeps_the_change(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await with_history(driver, 3)
        await driver.ask("about llamas")
        await driver.pilot.press("up", "!")
        assert await texts_after(driver, "up") == ["about llamas"]
        assert (await texts_after(driver, "down"))[-1] == "about llamas!"


async def test_the_draft_comes_back_when_a_message_that_stood_in_its_place_is_sent(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one"), spoken("two"), spoken("three")]) as driver:
        await with_history(driver, 3)
        await driver.ask("about llamas")
        await driver.write("my draft")
        await driver.pilot.press("up", "enter")
        await driver.until(lambda: len(driver.engine.reply_requests) == 2)
        assert driver.written == "my draft"
        await driver.until_state("ready")
        await driver.pilot.press("alt+r")
        await driver.until(lambda: isinstance(driver.app.screen, HistoryList))
        await driver.pilot.press(*"alpacas", "enter")
        await driver.until(lambda: driver.written == "about\nalpacas")
        await driver.pilot.press("enter")
        await driver.until(lambda: len(driver.engine.reply_requests) == 3)
        assert driver.written == "my draft"


async def test_the_draft_comes_back_when_an_older_message_is_cleared_or_another_one_edited(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await with_history(driver, 3)
        await driver.ask("about llamas")
        await driver.write("my draft")
        await driver.pilot.press("up", "!", "ctrl+c")
        assert driver.written == "my draft"
        await driver.pilot.press("up")
        driver.app.action_edit_message()
        await driver.pilot.press("escape")
        assert driver.written == "my draft"


async def test_a_changed_older_message_is_kept_beside_the_draft(store: Store) -> None:
    async with opened(store=store, replies=[spoken("one")]) as driver:
        await with_history(driver, 3)
        await driver.ask("about llamas")
        await driver.write("my draft")
        await driver.pilot.press("up", "!")
        chat_id = driver.app.turn_driver.chat.chat_id
        assert chat_id is not None
        await driver.pilot.press("ctrl+q")
    assert store.draft(chat_id).text == "my draft\n\nabout llamas!"


async def test_what_is_changed_in_an_older_message_is_there_when_one_comes_back_to_it(store: Store) -> None:
    async with opened(store=store) as driver:
        await with_history(driver, 3)
        await driver.write("d")
        assert await texts_after(driver, "up", "!", "up", "down", "down") == [
            *("same", "same!", "about\nalpacas", "same!", "d"),
        ]
