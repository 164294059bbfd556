"""The system prompt of a chat: changed with its price before the eyes, given to the model, and stored."""

import pytest

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama import paths
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import PromptEstimate
from tui_llama.engine.requests import EstimateRequest
from tui_llama.engine.scripted import ScriptedEngine
from tui_llama.screens.dialogs.choosing.write_text import WriteText
from tui_llama.settings import Settings

PROMPT = "Be brief."


def given(driver: Driver) -> ChatMessage:
    return driver.engine.reply_requests[-1].messages[0]


def dialog_is_open(driver: Driver) -> bool:
    return isinstance(driver.app.screen, WriteText) and driver.app.screen.is_there


async def test_in_an_empty_chat_it_is_taken_at_once_and_shown_folded() -> None:
    async with opened(replies=[spoken("yes")], size=(100, 24)) as driver:
        await driver.send("/system You are a llama.\u200b")
        await driver.until(lambda: "▸ System prompt (F9) · 17 tokens · You are a llama." in driver.screen_text())
        await driver.ask("hi")
        assert given(driver) == ChatMessage(Role.SYSTEM, "You are a llama.\u200b".strip())
        await driver.at_rest()
        assert driver.store.chat(driver.store.list_chats()[0].chat_id).system_prompt.startswith("You are a llama.")


async def test_a_click_unfolds_it_and_another_folds_it() -> None:
    settings = Settings(system_prompt="One.\nTwo.\nThree.")
    async with opened(settings=settings, size=(100, 24)) as driver:
        await driver.until(lambda: "▸ System prompt (F9) · 16 tokens · One. Two. Three." in driver.screen_text())
        await driver.pilot.click("#system")
        await driver.until(lambda: "Three." in driver.screen_text() and "One. Two." not in driver.screen_text())
        await driver.pilot.click("#system")
        await driver.until(lambda: "▸ System prompt (F9) · 16 tokens · One. Two." in driver.screen_text())


@pytest.mark.parametrize(("keys", "shown"), [("f7", " (F7)"), ("", "")])
async def test_its_line_names_the_key_that_the_user_has_chosen_to_edit_it(keys: str, shown: str) -> None:
    file = paths.keymap_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[keys]\nedit_system_prompt = "{keys}"\n')
    async with opened(settings=Settings(system_prompt=PROMPT), size=(100, 24)) as driver:
        await driver.until(lambda: f"▸ System prompt{shown} · 9 tokens · {PROMPT}" in driver.screen_text())


async def test_the_count_is_that_of_the_text_that_is_shown() -> None:
    async with opened(settings=Settings(system_prompt=PROMPT), size=(100, 24)) as driver:
        await driver.until(lambda: f" · 9 tokens · {PROMPT}" in driver.screen_text())
        await driver.send("/system Be.")
        await driver.until(lambda: " · 3 tokens · Be." in driver.screen_text())
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: f" · 9 tokens · {PROMPT}" in driver.screen_text())


async def test_the_price_is_shown_before_it_is_changed_and_nothing_changes_by_asking() -> None:
    asked: list[EstimateRequest] = []

    def estimate(request: EstimateRequest) -> PromptEstimate:
        asked.append(request)
        return PromptEstimate(3, 912, None)

    engine = ScriptedEngine(replies=[spoken("yes"), spoken("no")], estimate=estimate)
    async with opened(engine=engine, settings=Settings(system_prompt=PROMPT), size=(100, 30)) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f9")
        await driver.until(lambda: dialog_is_open(driver))
        assert "reads" not in driver.screen_text().split("System prompt", 1)[1].split("╰")[0].replace("ready", "")
        await driver.pilot.press(*"X")
        await driver.until(lambda: "The next answer keeps 3 · reads 912" in driver.screen_text())
        assert asked[-1].messages[0] == ChatMessage(Role.SYSTEM, PROMPT + "X")
        assert [message.text for message in asked[-1].messages[1:3]] == ["hi", "yes"]
        assert driver.app.turn_driver.chat.system_prompt == PROMPT
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: not dialog_is_open(driver))
        await driver.ask("again")
        assert given(driver).text == PROMPT + "X"


async def test_another_text_is_shown_in_the_dialog_with_its_price_where_the_chat_has_messages() -> None:
    async with opened(replies=[spoken("yes")], size=(100, 30)) as driver:
        await driver.ask("hi")
        await driver.send("/system Be long.")
        await driver.until(lambda: dialog_is_open(driver))
        await driver.until(lambda: "The next answer keeps" in driver.screen_text())
        await driver.pilot.press("escape")
        await driver.until(lambda: not dialog_is_open(driver))
        assert driver.app.turn_driver.chat.system_prompt == ""


async def test_it_comes_back_with_its_chat() -> None:
    async with opened(size=(100, 24)) as driver:
        await driver.send("/system First.")
        await driver.ask("hi")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: not driver.questions)
        assert "System prompt" not in driver.screen_text()
        await driver.pilot.press("ctrl+pagedown")
        await driver.until(lambda: driver.questions == ["hi"])
        await driver.until(lambda: "▸ System prompt (F9) · 6 tokens · First." in driver.screen_text())


async def test_emptied_it_is_gone() -> None:
    async with opened(replies=[spoken("yes")], settings=Settings(system_prompt="No"), size=(100, 30)) as driver:
        await driver.pilot.press("f9")
        await driver.until(lambda: dialog_is_open(driver))
        await driver.pilot.press("backspace", "backspace", "ctrl+s")
        await driver.until(lambda: not dialog_is_open(driver))
        await driver.ask("hi")
        assert given(driver).role is Role.USER
