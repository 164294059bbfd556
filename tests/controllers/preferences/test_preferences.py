"""The settings screen: what it shows, what it changes, and when that applies."""

from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input, Static, TextArea

from tests.fakes.chat_app import Driver, opened, spoken
from tui_llama import paths
from tui_llama.declarations import Applies
from tui_llama.screens.dialogs.pick import PickDialog
from tui_llama.screens.settings.ask_value import AskLongText, AskValue
from tui_llama.screens.settings.rows import Scope
from tui_llama.screens.settings.settings_screen import SettingsScreen
from tui_llama.screens.settings.theme_picker import ThemePicker
from tui_llama.settings import SETTINGS, Settings
from tui_llama.settings_sources import load_settings


def written() -> Settings:
    return load_settings(paths.settings_file(), {})


def settings_file(content: str) -> Path:
    file = paths.settings_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


async def open_settings(driver: Driver, search: str = "") -> SettingsScreen:
    await driver.pilot.press("f2")
    await driver.until(lambda: isinstance(driver.app.screen, SettingsScreen))
    screen = driver.app.screen
    assert isinstance(screen, SettingsScreen)
    await driver.until(lambda: screen.highlighted is not None)
    await find(driver, screen, search)
    return screen


async def find(driver: Driver, screen: PickDialog[Any, Any], search: str) -> None:
    screen.query_one(Input).value = search
    await driver.pilot.pause()
    await driver.until(lambda: screen.highlighted is not None)


def said(screen: SettingsScreen) -> str:
    return str(screen.query_one(".message", Static).content)


async def answer(driver: Driver, text: str) -> None:
    """Gives the dialog that asks for a value this one."""
    await driver.until(lambda: isinstance(driver.app.screen, AskValue))
    driver.app.screen.query_one(Input).value = text
    await driver.pilot.press("enter")


async def test_a_number_is_asked_for_checked_written_and_used() -> None:
    async with opened() as driver:
        screen = await open_settings(driver, "temperature")
        await driver.pilot.press("enter")
        await answer(driver, "warm")
        refusal = driver.app.screen.query_one(".message", Static)
        await driver.until(lambda: "'warm' is not a number" in str(refusal.content))
        await answer(driver, "0.25")
        await driver.until(lambda: driver.app.screen is screen and "next answer" in said(screen))

        assert written().sampling.temperature == 0.25
        assert driver.app.live_chats.host.settings.sampling.temperature == 0.25
        assert "0.25 · settings file" in driver.screen_text()


async def test_what_was_set_is_marked_and_can_be_set_back() -> None:
    file = settings_file("# mine\ncontext_size = 4096 # enough\n")
    async with opened() as driver:
        screen = await open_settings(driver, "set context size")
        assert "● Context size" in driver.screen_text()
        await driver.pilot.press("delete")
        await driver.until(lambda: said(screen) == "Saved; applies when a model is loaded next.")

        assert file.read_text() == "# mine\n"
        assert "● Context size" not in driver.screen_text()


async def test_of_two_values_enter_takes_the_other_and_it_applies_at_once() -> None:
    async with opened() as driver:
        screen = await open_settings(driver, "density")
        await driver.pilot.press("enter")
        await driver.until(lambda: said(screen) == "Saved.")

        assert written().density == "compact"
        assert driver.app.chat_screen.has_class("-compact")


async def test_a_variable_that_wins_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUI_LLAMA_TEXT_WIDTH", "60")
    async with opened() as driver:
        screen = await open_settings(driver, "text width")
        assert "60 · TUI_LLAMA_TEXT_WIDTH" in driver.screen_text()
        await driver.pilot.press("enter")
        await answer(driver, "90")
        await driver.until(lambda: "TUI_LLAMA_TEXT_WIDTH wins" in said(screen))


async def test_a_model_gets_its_own_value() -> None:
    async with opened() as driver:
        screen = await open_settings(driver)
        await driver.pilot.press("tab")
        await driver.until(lambda: "small.gguf" in driver.screen_text())
        await find(driver, screen, "top_k")
        await driver.pilot.press("enter")
        await answer(driver, "5")
        await driver.until(lambda: "5 · this model" in driver.screen_text())

        assert written().for_model("/x/small.gguf").sampling.top_k == 5
        assert written().sampling.top_k == 40


async def test_a_chat_gets_its_own_sampling_which_no_file_has() -> None:
    async with opened(replies=[spoken("Hi.")]) as driver:
        await driver.ask("Hello")
        screen = await open_settings(driver)
        await driver.pilot.press("shift+tab")
        await driver.until(lambda: screen._scope is Scope.CHAT)
        await find(driver, screen, "top_k")
        await driver.pilot.press("enter")
        await answer(driver, "5")
        await driver.until(lambda: "5 · this chat" in driver.screen_text())

        assert driver.app.turn_driver.chat.choices.sampling == {"top_k": 5}
        assert written() == Settings()


async def test_a_broken_file_is_told_and_nothing_is_lost() -> None:
    async with opened() as driver:
        screen = await open_settings(driver, "density")
        file = settings_file("density = ")
        await driver.pilot.press("enter")
        await driver.until(lambda: "not valid TOML" in said(screen))

        assert file.read_text() == "density = "


async def test_a_theme_is_looked_at_left_chosen_and_remembered() -> None:
    async with opened() as driver:
        app = driver.app
        await driver.write("/theme")
        await driver.pilot.press("escape", "enter")
        await driver.until(lambda: isinstance(app.screen, ThemePicker))
        picker = app.screen
        assert isinstance(picker, ThemePicker)
        await find(driver, picker, "nord")
        await driver.until(lambda: app.theme == "nord")
        await driver.pilot.press("escape")
        await driver.until(lambda: app.theme == "llama-dusk")

        app.action_choose_theme("ansi-light")
        await driver.until(lambda: app.theme == "ansi-light")
        assert written().theme == "ansi-light"


async def test_a_users_theme_is_there_and_a_broken_one_is_told() -> None:
    folder = paths.themes_folder()
    folder.mkdir(parents=True)
    (folder / "mine.toml").write_text('dark = false\nprimary = "#112233"\n')
    (folder / "bad.toml").write_text('primary = "puce-ish"\n')
    (folder / "worse.toml").write_text("primary = ")
    async with opened(settings=Settings(theme="mine")) as driver:
        assert driver.app.theme == "mine"
        assert any("bad.toml" in remark and "puce-ish" in remark for remark in driver.remarks)
        assert any("worse.toml" in remark for remark in driver.remarks)


async def test_a_theme_that_is_gone_is_told() -> None:
    async with opened(settings=Settings(theme="gone")) as driver:
        assert driver.app.theme == "llama-dusk"
        assert any("no theme gone" in remark for remark in driver.remarks)


async def test_the_width_of_the_conversation_changes_while_it_is_shown() -> None:
    async with opened(replies=[spoken("Hi.")], size=(120, 30)) as driver:
        await driver.ask("Hello")
        assert driver.app.chat_screen.composer.size.width > 60
        await open_settings(driver, "text width")
        await driver.pilot.press("enter")
        await answer(driver, "50")
        await driver.until(lambda: driver.app.chat_screen.composer.outer_size.width == 50)
        await driver.until(lambda: driver.views[0].outer_size.width == 50)


async def test_without_animation_nothing_moves_and_the_caret_stands() -> None:
    async with opened(settings=Settings(animation="off")) as driver:
        assert driver.app.animation_level == "none"
        await driver.pilot.press("a")
        assert not driver.app.chat_screen.composer.cursor_blink


async def open_chat_settings(driver: Driver, search: str) -> SettingsScreen:
    screen = await open_settings(driver)
    await driver.pilot.press("shift+tab")
    await driver.until(lambda: screen._scope is Scope.CHAT)
    await find(driver, screen, search)
    return screen


async def test_a_chat_gets_its_own_thinking_with_the_next_answer_and_gives_it_back() -> None:
    async with opened(replies=[spoken("Hi."), spoken("Ho."), spoken("Hm.")]) as driver:
        await driver.ask("Hello")
        screen = await open_chat_settings(driver, "thinking tokens")
        await driver.pilot.press("enter")
        await answer(driver, "7")
        await driver.until(lambda: "7 · this chat" in driver.screen_text() and "next answer" in said(screen))
        await driver.pilot.press("escape")
        await driver.ask("More")
        assert driver.engine.reply_requests[-1].thinking_tokens == 7

        screen = await open_chat_settings(driver, "thinking tokens")
        await driver.pilot.press("delete")
        await driver.until(lambda: driver.app.turn_driver.chat.choices.thinking_tokens is None)
        assert written() == Settings()


async def test_a_chat_gets_its_own_system_prompt_and_start_of_replies() -> None:
    async with opened(replies=[spoken("Hi.")]) as driver:
        chat = driver.app.turn_driver.chat
        for search, text in (("system prompt", "Be brief."), ("reply start", "Well,")):
            screen = await open_chat_settings(driver, search)
            await driver.pilot.press("enter")
            await driver.until(lambda: isinstance(driver.app.screen, AskLongText))
            driver.app.screen.query_one(TextArea).text = text
            await driver.pilot.press("ctrl+s")
            await driver.until(lambda: driver.app.screen is not None and "This chat has it so" in driver.screen_text())
            assert "● " in driver.screen_text()
            await driver.pilot.press("escape")
            await driver.until(lambda: driver.app.screen is driver.app.chat_screen)
            assert screen is not None
        assert (chat.system_prompt, chat.choices.reply_start) == ("Be brief.", "Well,")


def test_a_setting_of_answers_is_not_said_to_apply_at_once() -> None:
    at_once = {name for name, setting in SETTINGS.items() if setting.applies is Applies.AT_ONCE}
    assert at_once == {"theme", "density", "text_width", "animation", "keymap", "read_ahead"}
