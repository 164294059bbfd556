"""Opening a long chat: what is done before its first frame, what that shows, and what comes after it."""

from typing import Any

import pytest

from tests.fakes.chat_app import Driver, opened
from tui_llama import paths
from tui_llama.chat import StopReason
from tui_llama.chats.store import Store
from tui_llama.widgets.messages.window import MOUNTED_AT_FIRST

ROWS = 24
_ANSWER = "A **paragraph**.\n\n- an item\n- another\n\nThe end of it: answer {}."


def long_chat(message_count: int) -> Store:
    """A store with one chat of so many messages."""
    store = Store(paths.database_file())
    chat = store.create_chat(title="long")
    for number in range(message_count // 2):
        answer = store.begin_answer(chat, store.add_user_message(chat, f"question {number}"))
        store.append_to_answer(answer, _ANSWER.format(number), ())
        store.finish_answer(answer, StopReason.END_OF_GENERATION, None)
    return store


def frames_of(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What is mounted and what is on the screen in each frame from now on; those without a message are left out."""
    frames: list[tuple[int, str]] = []
    transcript, display = driver.app.chat_screen.transcript, driver.app._display

    def noted(screen: Any, renderable: Any) -> None:
        if transcript.children:
            frames.append((len(transcript.children), driver.screen_text()))
        display(screen, renderable)

    monkeypatch.setattr(driver.app, "_display", noted)
    return frames


async def test_the_first_frame_of_a_long_chat_has_its_end_and_little_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with long_chat(200) as store:
        async with opened(store=store, size=(80, ROWS)) as driver:
            frames = frames_of(driver, monkeypatch)
            await driver.pilot.press("ctrl+pagedown")
            await driver.until(lambda: frames, "the first frame")
            mounted, text = frames[0]
            assert "answer 99." in text
            assert mounted <= ROWS // 4, "more messages than the screen shows"


async def test_what_is_above_the_first_frame_is_there_before_it_is_scrolled_to() -> None:
    with long_chat(200) as store:
        async with opened(store=store, size=(80, ROWS)) as driver:
            transcript = driver.app.chat_screen.transcript
            await driver.pilot.press("ctrl+pagedown")
            await driver.until(lambda: transcript.max_scroll_y > transcript.size.height, "a screen above the end")
            await driver.at_rest()
            assert len(transcript.children) <= MOUNTED_AT_FIRST
            assert transcript.is_following
            assert "answer 99." in driver.screen_text()


async def test_a_chat_that_was_opened_scrolls_up_to_its_beginning_without_holes() -> None:
    with long_chat(60) as store:
        async with opened(store=store, size=(80, ROWS)) as driver:
            transcript = driver.app.chat_screen.transcript
            await driver.pilot.press("ctrl+pagedown")
            await driver.until(lambda: "answer 29." in driver.screen_text())
            seen: set[int] = set()
            for _ in range(200):
                text = driver.screen_text()
                seen |= {number for number in range(30) if f"answer {number}." in text}
                if "question 0" in text and transcript.scroll_y == 0:
                    break
                await driver.pilot.press("pageup")
                await driver.pilot.pause()
            assert seen == set(range(30))


async def test_another_chat_may_be_opened_while_the_first_is_still_filled_up() -> None:
    with long_chat(100) as store:
        answer = store.begin_answer(other := store.create_chat(title="other"), store.add_user_message(other, "short"))
        store.append_to_answer(answer, "and brief", ())
        store.finish_answer(answer, StopReason.END_OF_GENERATION, None)
        async with opened(store=store, size=(80, ROWS)) as driver:
            await driver.pilot.press("ctrl+pagedown", "ctrl+pagedown", "ctrl+pageup")
            await driver.until(lambda: "and brief" in driver.screen_text())
            await driver.at_rest()
            assert driver.questions == ["short"]
            assert driver.app.chat_screen.transcript.message_count == 2
