"""The chat as its user sees it, driven headless: what is not trusted, and following the answer."""

import asyncio

import pytest

from tests.fakes.chat_app import opened, spoken
from tests.patience import HANG_SECONDS
from tui_llama.chat import StopReason
from tui_llama.chats.store import Store
from tui_llama.engine.scripted import Gate, ScriptedEngine

# --- what is not trusted ------------------------------------------------------------------------------------------


async def test_escape_sequences_never_reach_the_screen() -> None:
    pieces = ("red \x1b", "[31mtext\x1b]0;owned", "\x07 \u202eevil \x9b2J end")
    async with opened(replies=[spoken(*pieces)]) as driver:
        await driver.ask("\x1b[2Jhi\x07")
        text = driver.screen_text()
        assert "red text" in text
        assert "end" in text
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text if character != "\n")
        assert "\u202e" not in text
        assert "owned" not in text


async def test_markup_stays_text_everywhere() -> None:
    markup = "[b]x[/b] [@click=app.quit]y[/] [/nope] [red"
    replies = [spoken(f"{markup}\n\n| {markup} |\n|---|\n| {markup} |\n")]
    async with opened(replies=replies, size=(120, 40)) as driver:
        await driver.ask(markup)
        await driver.until(lambda: driver.screen_text().count("[@click=app.quit]y[/]") == 5)
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "messages" in driver.screen_text())
        assert "[/nope]" in driver.screen_text()


async def test_html_and_single_line_breaks_of_an_answer_are_shown() -> None:
    async with opened(replies=[spoken("use <div> here\nsecond line")]) as driver:
        await driver.ask("hi")
        await driver.until(lambda: "use <div> here" in driver.screen_text())
        lines = [line.strip() for line in driver.screen_text().splitlines()]
        assert "second line" in lines


# --- following the answer -----------------------------------------------------------------------------------------


async def test_scrolling_up_stops_following_until_end_is_pressed() -> None:
    gate, last = Gate(), Gate()
    pieces = [f"paragraph {number}\n\n" for number in range(60)]
    steps = spoken(*pieces)
    async with opened(replies=[[*steps[:50], gate, *steps[50:-1], last, steps[-1]]]) as driver:
        transcript = driver.app.chat_screen.transcript
        await driver.send("hi")
        await driver.until(lambda: "paragraph 48" in driver.screen_text())
        await driver.pilot.press("pageup")
        await driver.until(lambda: not transcript.is_following)
        here = transcript.scroll_y
        gate.open()
        await driver.until(lambda: "↓ new text" in driver.screen_text())
        await driver.until(lambda: "paragraph 59" in driver.answers[0])
        assert transcript.scroll_y == here
        badge = driver.app.chat_screen.query_one("#more")
        assert badge.region.y >= transcript.region.bottom  # it covers no text
        await driver.pilot.press("end")
        await driver.until(lambda: "paragraph 59" in driver.screen_text())
        assert "↓ new text" not in driver.screen_text()
        last.open()
        await driver.until_state("ready")


@pytest.mark.slow
async def test_a_long_chat_mounts_its_end_and_fills_in_on_the_way_up(store: Store) -> None:
    chat_id = store.create_chat(title="long")
    for number in range(60):
        question = store.add_user_message(chat_id, f"question {number}")
        answer = store.begin_answer(chat_id, question)
        store.append_to_answer(answer, f"answer {number}", ())
        store.finish_answer(answer, StopReason.END_OF_GENERATION, None)
    async with opened(store=store) as driver:
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: "long" in driver.screen_text())
        await driver.pilot.press("enter")
        await driver.until(lambda: "answer 59" in driver.screen_text())
        assert len(driver.questions) == 8
        transcript = driver.app.chat_screen.transcript
        for _ in range(30):
            await driver.pilot.press("ctrl+home")
            await driver.pilot.pause()
            if len(driver.questions) == 60:
                break
        assert driver.questions[0] == "question 0"
        transcript.follow()
        await driver.until(lambda: len(driver.questions) == 8)
    store.close()


async def test_waiting_events_do_not_block_quitting() -> None:
    never = Gate()
    async with asyncio.timeout(HANG_SECONDS):
        async with opened(engine=ScriptedEngine(load=[never]), until_ready=False) as driver:
            await driver.until_state("loading")
            await driver.pilot.press("ctrl+q")
        assert driver.engine.is_closed
