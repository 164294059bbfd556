"""Personas on the screen: taken by name or from the list, saved, deleted, and what a chat has of them."""

import threading
from pathlib import Path

import pytest

from tests.fakes.chat_app import MODEL, Driver, opened, spoken
from tui_llama import paths
from tui_llama.chat import ChatChoices, Role, Thinking
from tui_llama.engine.requests import ReplyRequest
from tui_llama.models.library import FoundModel
from tui_llama.personas.examples import EXAMPLES, add_examples
from tui_llama.personas.folder import find_persona, read_personas, save_persona
from tui_llama.personas.persona import Persona
from tui_llama.screens.dialogs.ask_text import AskText
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.choosing.persona_list import PersonaList
from tui_llama.settings import Settings

PIRATE = Persona(
    "Pirate",
    description="Talks like one",
    system_prompt="You are a pirate.",
    sampling={"temperature": 0.9},
    thinking=Thinking.OFF,
    reply_start="Arr, ",
)


def is_shown(driver: Driver, dialog: type[object]) -> bool:
    return isinstance(driver.app.screen, dialog) and driver.app.screen.is_there  # type: ignore[attr-defined]


async def test_a_persona_is_taken_with_all_that_it_chooses() -> None:
    save_persona(PIRATE)
    async with opened(replies=[spoken("matey")], size=(140, 24)) as driver:
        await driver.send("/persona Pirate")
        await driver.until(lambda: driver.app.turn_driver.chat.choices == PIRATE.choices())
        await driver.ask("hi")
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert (request.messages[0].role, request.messages[0].text) == (Role.SYSTEM, "You are a pirate.")
        assert (request.sampling.temperature, request.reply_start) == (0.9, "Arr, ")
        await driver.until(lambda: driver.answers == ["Arr, matey"])
        figures = driver.app.chat_screen.status._status.figures
        assert figures.startswith("Pirate · temperature 0.9 · think off · begins “Arr,”")


async def test_what_binds_the_answers_of_a_chat_stays_when_a_persona_is_taken() -> None:
    save_persona(PIRATE)
    async with opened(replies=[spoken("{}")], size=(140, 24)) as driver:
        await driver.send("/json")
        await driver.send("/persona Pirate")
        await driver.until(lambda: driver.app.turn_driver.chat.choices.persona == "Pirate")
        await driver.ask("hi")
        request = driver.engine.reply_requests[-1]
        assert isinstance(request, ReplyRequest)
        assert (request.json_schema, request.reply_start) == ('{"type": "object"}', "Arr, ")


async def test_the_list_shows_what_each_chooses_and_which_file_is_broken() -> None:
    save_persona(PIRATE)
    save_persona(Persona("Poet", system_prompt="Rhyme.\x1b[31m"))
    (paths.personas_folder() / "bad.toml").write_text("x = 1")
    async with opened(size=(110, 32)) as driver:
        await driver.send("/persona")
        await driver.until(lambda: is_shown(driver, PersonaList))
        await driver.until(lambda: "Talks like one" in driver.screen_text())
        await driver.until(lambda: "bad.toml: unknown key x" in driver.screen_text())
        await driver.until(lambda: "temperature 0.9 · thinking off" in driver.screen_text())
        await driver.pilot.press("down")
        await driver.until(lambda: "Rhyme." in driver.screen_text())
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.app.turn_driver.chat.choices.persona == "Poet")


async def test_where_the_chat_has_messages_the_price_is_asked_first() -> None:
    save_persona(PIRATE)
    async with opened(replies=[spoken("yes"), spoken("no")], size=(110, 32)) as driver:
        await driver.ask("hi")
        await driver.send("/persona Pirate")
        await driver.until(lambda: is_shown(driver, AskWhether))
        await driver.until(lambda: "The next answer keeps" in driver.screen_text())
        await driver.pilot.press("n")
        await driver.until(lambda: not is_shown(driver, AskWhether))
        assert driver.app.turn_driver.chat.choices.persona == ""
        await driver.send("/persona Pirate")
        await driver.until(lambda: is_shown(driver, AskWhether))
        await driver.pilot.press("y")
        await driver.until(lambda: driver.app.turn_driver.chat.system_prompt == "You are a pirate.")
        assert driver.app.turn_driver.chat.choices.persona == "Pirate"


async def test_what_is_chosen_in_the_chat_is_saved_under_a_name() -> None:
    async with opened(size=(110, 32)) as driver:
        await driver.send("/system Be brief.")
        await driver.send("/set top_k 3")
        await driver.send("/persona")
        await driver.until(lambda: is_shown(driver, PersonaList))
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: is_shown(driver, AskText))
        await driver.pilot.press(*"my/one", "enter")
        await driver.until(lambda: len(read_personas().personas) == 1)
        saved = find_persona("my-one")
        assert (saved.system_prompt, saved.sampling, saved.model) == ("Be brief.", {"top_k": 3}, Path(MODEL).stem)
        await driver.until(lambda: "my-one" in driver.screen_text())


async def test_a_persona_of_the_same_name_is_replaced_only_where_the_user_says_so() -> None:
    save_persona(PIRATE)
    async with opened(size=(110, 32)) as driver:
        await driver.send("/persona")
        await driver.until(lambda: is_shown(driver, PersonaList))
        await driver.pilot.press("ctrl+s")
        await driver.until(lambda: is_shown(driver, AskText))
        await driver.pilot.press(*"Pirate", "enter")
        await driver.until(lambda: is_shown(driver, AskWhether))
        await driver.pilot.press("n")
        await driver.until(lambda: is_shown(driver, PersonaList))
        assert find_persona("Pirate") == PIRATE


async def test_delete_asks_and_then_removes_the_file() -> None:
    save_persona(PIRATE)
    async with opened(size=(110, 32)) as driver:
        await driver.send("/persona")
        await driver.until(lambda: is_shown(driver, PersonaList))
        await driver.until(lambda: "Talks like one" in driver.screen_text())
        await driver.pilot.press("delete")
        await driver.until(lambda: is_shown(driver, AskWhether))
        await driver.pilot.press("y")
        await driver.until(lambda: not read_personas().personas)
        await driver.until(lambda: "No personas yet" in driver.screen_text())


async def test_the_model_of_a_persona_is_loaded_by_its_name() -> None:
    save_persona(Persona("Other", model="Big-Model.gguf"))
    big = FoundModel(path=Path("/models/big-model.gguf"), name="big-model", size_bytes=1, origin="here")
    async with opened(models=[big], size=(110, 32)) as driver:
        await driver.send("/persona Other")
        await driver.until(lambda: driver.app.turn_driver.model_path == "/models/big-model.gguf")
        await driver.until_state("ready")


async def test_a_model_that_is_not_here_is_named_and_the_chat_keeps_its_own() -> None:
    save_persona(Persona("Other", model="elsewhere", sampling={"top_k": 1}))
    async with opened(size=(140, 32)) as driver:
        await driver.send("/persona Other")
        await driver.until(lambda: "is not on this machine: elsewhere" in driver.status)
        assert driver.app.turn_driver.model_path == MODEL
        assert driver.app.turn_driver.chat.choices.sampling == {"top_k": 1}


async def test_a_name_that_no_persona_has_is_told() -> None:
    async with opened(size=(140, 24)) as driver:
        await driver.send("/persona nobody")
        await driver.until(lambda: "There is no persona nobody" in driver.status)


async def test_new_chats_begin_with_the_persona_of_the_settings() -> None:
    save_persona(PIRATE)
    settings = Settings(theme="llama-dusk", persona="pirate", system_prompt="Of the settings")
    async with opened(settings=settings, size=(140, 24)) as driver:
        chat = driver.app.turn_driver.chat
        assert (chat.choices, chat.system_prompt) == (PIRATE.choices(), "You are a pirate.")
        await driver.ask("hi")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: not driver.questions)
        assert driver.app.turn_driver.chat.choices.persona == "Pirate"


async def test_a_persona_of_the_settings_that_is_gone_is_told_with_the_next_new_chat() -> None:
    settings = Settings(theme="llama-dusk", persona="nobody", system_prompt="Of the settings")
    async with opened(settings=settings, size=(140, 24)) as driver:
        assert driver.app.turn_driver.chat.system_prompt == "Of the settings"
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: "There is no persona nobody" in driver.status)


async def test_none_takes_back_what_was_chosen_but_not_the_system_prompt() -> None:
    save_persona(PIRATE)
    async with opened(size=(140, 24)) as driver:
        await driver.send("/persona Pirate")
        await driver.until(lambda: driver.app.turn_driver.chat.choices.persona == "Pirate")
        await driver.send("/persona none")
        await driver.until(lambda: driver.app.turn_driver.chat.choices == ChatChoices())
        assert driver.app.turn_driver.chat.system_prompt == "You are a pirate."


async def test_personas_to_begin_with_are_added_once_and_listed() -> None:
    async with opened(size=(110, 32)) as driver:
        await driver.send("/persona examples")
        await driver.until(lambda: is_shown(driver, PersonaList))
        await driver.until(lambda: "Code reviewer" in driver.screen_text())
        await driver.pilot.press("escape")
        found = read_personas()
        assert (found.personas, found.problems) == (tuple(sorted(EXAMPLES, key=lambda each: each.name.casefold())), ())
        save_persona(Persona("Teacher", system_prompt="Mine."))
        assert add_examples() == []
        assert find_persona("Teacher").system_prompt == "Mine."


async def test_a_new_chat_says_how_to_get_the_model_of_its_persona() -> None:
    save_persona(Persona("Deep", model="bigger"))
    async with opened(settings=Settings(theme="llama-dusk", persona="Deep")) as driver:
        await driver.pilot.press("ctrl+n")
        await driver.until_state("Deep wants the model bigger: /persona Deep loads it.")
    save_persona(Persona("Deep", model="Small"))  # which is loaded
    async with opened(settings=Settings(theme="llama-dusk", persona="Deep")) as driver:
        await driver.pilot.press("ctrl+n")
        await driver.at_rest()
        assert "wants the model" not in driver.status


async def test_a_persona_does_not_go_to_a_chat_that_is_shown_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    save_persona(PIRATE)
    is_shown_now = threading.Event()

    def find_slowly(name: str) -> Persona:
        is_shown_now.wait(30)
        return find_persona(name)

    monkeypatch.setattr("tui_llama.personas.folder.find_persona", find_slowly)
    async with opened(replies=[spoken("hi")], size=(110, 24)) as driver:
        await driver.ask("hello")
        first = driver.app.turn_driver.chat
        await driver.send("/persona Pirate")
        await driver.pilot.press("ctrl+n")
        await driver.until(lambda: driver.app.turn_driver.chat is not first)
        is_shown_now.set()
        await driver.until(lambda: "Pirate was not taken" in driver.screen_text())
        assert driver.app.turn_driver.chat.choices == ChatChoices()
        assert first.choices == ChatChoices()
