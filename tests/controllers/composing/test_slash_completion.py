"""Slash commands, completed as they are typed."""

import pytest

from tests.fakes.chat_app import opened
from tests.fakes.models import FakeModels, found_models
from tui_llama.controllers.composing import slash_completion
from tui_llama.controllers.composing.slash_completion import SlashCompletion
from tui_llama.screens.commands import COMMANDS, Choice, Command, nearest_slash, unescaped
from tui_llama.widgets.completion.suggestion import CursorPlace


def suggested(text: str, **sources: slash_completion.ChoiceSource) -> list[str] | None:
    completion = SlashCompletion(sources)(CursorPlace(text, "", True))
    return None if completion is None else [suggestion.insert for suggestion in completion.suggestions]


def test_a_slash_lists_every_command_that_has_a_word() -> None:
    assert len(suggested("/") or []) == sum(bool(command.slashes) for command in COMMANDS)


def test_what_begins_so_comes_first_and_a_whole_word_before_all() -> None:
    assert (suggested("/ne") or [])[:2] == ["/new", "/next"]
    assert (suggested("/prompt") or [])[0] == "/prompt"
    assert (suggested("/bye") or [])[0] == "/bye"
    assert "/resume" in (suggested("/resu") or [])


@pytest.mark.parametrize("text", ["hello /n", "//n", "/usr/bin", " /n", "/2", "/nonsense x"])
def test_what_is_no_command_is_not_completed(text: str) -> None:
    assert suggested(text) is None


def test_a_text_of_several_lines_or_with_more_behind_the_cursor_is_none() -> None:
    completion = SlashCompletion({})
    assert completion(CursorPlace("/n", "", False)) is None
    assert completion(CursorPlace("/n", "ew", True)) is None


def test_arguments_come_from_the_command_or_from_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = (
        Command("a", "A", "", ("think",), argument="on or off", choices=(Choice("on", "yes"), Choice("off"))),
        Command("b", "B", "", ("set",), argument="name value", choice_source="sampling"),
        Command("c", "C", "", ("new",)),
    )
    monkeypatch.setattr(slash_completion, "COMMANDS", commands)
    monkeypatch.setattr(
        slash_completion, "find_slash", lambda word: next((c for c in commands if word in c.slashes), None)
    )
    assert suggested("/th") == ["/think "]
    assert suggested("/think ") == ["on", "off"]
    assert suggested("/think of") == ["off"]
    assert suggested("/think f") == ["off"]
    assert suggested("/new ") == []
    typed: list[str] = []

    def sampling(text: str) -> list[Choice]:
        typed.append(text)
        return [Choice("top_p 0.9"), Choice("temperature 0.7")]

    assert suggested("/set te", sampling=sampling) == ["temperature 0.7"] and typed == ["te"]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("//new", "/new"),
        ("//etc/hosts is odd", "/etc/hosts is odd"),
        ("// a comment", "// a comment"),
        ("//a\n//b", "//a\n//b"),
        ("///", "///"),
        ("/", "/"),
    ],
)
def test_two_slashes_send_one(text: str, sent: str) -> None:
    assert unescaped(text) == sent


def test_the_nearest_word_is_found_where_there_is_one() -> None:
    assert nearest_slash("modle") == "model"
    assert nearest_slash("regenrate") == "regen"
    assert nearest_slash("xyzzy") is None


async def test_a_command_is_completed_and_carried_out_and_an_unknown_one_gets_advice() -> None:
    async with opened() as driver:
        await driver.pilot.press("slash", "h", "e", "tab")
        assert driver.written == "/help"
        await driver.pilot.press("enter")
        assert driver.app.screen is not driver.app.chat_screen and driver.written == ""
        await driver.pilot.press("escape")
        await driver.send("/modle")
        assert "Did you mean /model?" in driver.status and driver.written == "/modle"


async def test_a_message_may_begin_with_a_slash() -> None:
    async with opened() as driver:
        await driver.ask("//help me")
        assert driver.questions == ["/help me"]
        assert driver.engine.reply_requests[-1].messages[-1].text == "/help me"


async def test_models_are_suggested_by_name_and_loaded_by_it() -> None:
    async with opened(models=FakeModels(found_models())) as driver:
        popup = driver.app.chat_screen.composer.completer.popup
        assert popup is not None
        await driver.write("/model ")
        await driver.until(lambda: popup.option_count == 3, "three models")
        await driver.pilot.press("2", "tab")
        assert driver.written == "/model Model 2"
        await driver.pilot.press("enter")
        await driver.until(lambda: len(driver.engine.load_requests) == 2, "another model")
        assert driver.engine.load_requests[-1].model_path == "/models/model-2.gguf"


async def test_the_hints_follow_what_enter_does_while_suggestions_are_shown() -> None:
    async with opened(size=(100, 30)) as driver:

        async def until_hints(words: str) -> None:
            await driver.until(lambda: words in driver.screen_text(), words)

        await until_hints("Enter send · Ctrl+J new line")
        await driver.pilot.press(*"/chat")
        await until_hints("Enter take · ↓ next · Esc close")
        await driver.pilot.press("s")  # written whole: Enter carries it out
        await until_hints("Enter run · Tab take · ↓ next · Esc close")
        await driver.pilot.press("escape")
        await until_hints("Enter run · Ctrl+J new line")
        await driver.pilot.press(*["backspace"] * 6)
        await until_hints("Enter send · Ctrl+J new line")
