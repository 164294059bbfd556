"""The dialogs: lists that are filtered by typing, questions, help."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from tests.fakes.chat_app import opened
from tests.fakes.models import found_models
from tui_llama import screens
from tui_llama.chats.stored import ChatSummary
from tui_llama.screens.dialogs.ask_text import AskText
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.chat_list import ChatList, ListedChat
from tui_llama.screens.dialogs.dialog import Dialog
from tui_llama.screens.dialogs.help import FocusHelp, HelpScreen
from tui_llama.screens.dialogs.model_picker import ListedModel, ModelPicker
from tui_llama.screens.keys.keymap import Keymap

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)
NOTHING = object()


class DialogApp(App[None]):
    result: object = NOTHING


@asynccontextmanager
async def shown(dialog: Dialog[Any]) -> AsyncIterator[tuple[DialogApp, Pilot[None]]]:
    app = DialogApp()

    def keep(result: object) -> None:
        app.result = result

    async with app.run_test() as pilot:
        await app.push_screen(dialog, keep)
        await pilot.pause()
        await pilot.pause()
        yield app, pilot


def lines(app: DialogApp) -> list[str]:
    options = app.screen.query_one(OptionList)
    return [str(options.get_option_at_index(index).prompt) for index in range(options.option_count)]


def advice(app: DialogApp) -> str:
    return str(app.screen.query_one(".advice", Static).content)


def chat(title: str, age: timedelta = timedelta(), *, is_open: bool = False) -> ListedChat:
    return ListedChat(ChatSummary(title, title, "model.gguf", 2, NOW - age), is_open)


CHATS = [chat("Llamas in the Andes", is_open=True), chat("Rain", timedelta(days=3)), chat("Old", timedelta(days=400))]
MODELS = [ListedModel(f"/m/{name}.gguf", name, size="1.0 GB Q4_K") for name in ("Alpha", "Beta")]


async def test_chats_are_listed_with_their_age_and_the_open_one_is_marked() -> None:
    async with shown(ChatList(CHATS, NOW)) as (app, _pilot):
        first, second, third = lines(app)
        assert first.startswith("● Llamas in the Andes")
        assert first.endswith("12:00")
        assert second.endswith("11 Mar")
        assert third.endswith("2025-02-07")


async def test_typing_filters_by_all_words_in_any_case() -> None:
    async with shown(ChatList(CHATS, NOW)) as (app, pilot):
        await pilot.press(*"ANDES lla")
        assert len(lines(app)) == 1
        await pilot.press(*"xyz")
        assert lines(app) == []
        assert advice(app) == "No chat has this text in its title or its model's name."


async def test_arrows_move_while_typing_and_enter_opens() -> None:
    async with shown(ChatList(CHATS, NOW)) as (app, pilot):
        await pilot.press("down", "down", "up", "enter")
        assert app.result == "Rain"


@pytest.mark.parametrize("key", ["escape", "ctrl+c"])
async def test_a_dialog_is_closed_without_a_result(key: str) -> None:
    async with shown(ChatList(CHATS, NOW)) as (app, pilot):
        await pilot.press(key)
        assert app.result is None


async def test_an_empty_list_says_that_chats_are_kept() -> None:
    async with shown(ChatList([], NOW)) as (app, pilot):
        assert "saved here" in advice(app)
        await pilot.press("enter", "f2", "delete")
        assert isinstance(app.screen, ChatList)


async def test_titles_are_shown_as_text_on_one_line() -> None:
    async with shown(ChatList([chat("[b]bold[/b]\x1b[31m\nnext [/x]")], NOW)) as (app, _pilot):
        assert lines(app)[0].startswith("  [b]bold[/b] next [/x]")


async def test_a_model_is_chosen_by_its_name() -> None:
    async with shown(ModelPicker(MODELS, Path("/models"))) as (app, pilot):
        await pilot.press(*"beta", "enter")
        assert app.result == "/m/Beta.gguf"


async def test_a_path_typed_by_hand_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.touch()
    async with shown(ModelPicker(MODELS, Path("/models"))) as (app, pilot):
        app.screen.query_one(Input).value = str(file)
        await pilot.pause()
        assert advice(app) == "Enter loads this file."
        await pilot.press("enter")
        assert app.result == str(file)


async def test_a_path_to_nothing_is_not_accepted() -> None:
    async with shown(ModelPicker(MODELS, Path("/models"))) as (app, pilot):
        await pilot.press(*"/no/such/file", "enter")
        assert advice(app) == "There is no such model or file."
        assert app.result is NOTHING


async def test_without_models_it_says_where_to_put_one() -> None:
    async with shown(ModelPicker(None, Path("/our/models"))) as (app, pilot):
        assert advice(app) == "Looking for models …"
        assert isinstance(app.screen, ModelPicker)
        app.screen.replace_items([])
        await pilot.pause()
        assert "/our/models" in advice(app)


async def test_a_text_is_asked_for_with_the_old_one_selected() -> None:
    async with shown(AskText("Rename chat", "Old title")) as (app, pilot):
        await pilot.press(*"New", "enter")
        assert app.result == "New"


async def test_an_empty_text_changes_nothing() -> None:
    async with shown(AskText("Rename chat", "Old title")) as (app, pilot):
        await pilot.press("delete", "enter")
        assert app.result is None


@pytest.mark.parametrize(
    ("keys", "answer"), [(["y"], True), (["n"], False), (["enter"], False), (["left", "enter"], True)]
)
async def test_a_question_is_answered_by_keys_and_the_harmless_one_has_the_focus(keys: list[str], answer: bool) -> None:
    async with shown(AskWhether("Delete?", "A chat", "Delete")) as (app, pilot):
        await pilot.press(*keys)
        assert app.result is answer


@pytest.mark.parametrize("size", [(40, 12), (60, 20), (80, 24), (200, 60)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ChatList(CHATS * 30, NOW),
        lambda: ModelPicker(MODELS * 30, Path("/models")),
        lambda: HelpScreen(FocusHelp("", "", ()), Keymap()),
        lambda: AskText("Rename chat", "t" * 200),
        lambda: AskWhether("Delete this chat for good?", "t" * 200, "Delete"),
    ],
    ids=["chats", "models", "help", "text", "whether"],
)
async def test_a_dialog_fits_the_screen(make: Callable[[], Dialog[Any]], size: tuple[int, int]) -> None:
    async with opened(size=size) as driver:
        await driver.app.push_screen(make())
        await driver.pilot.pause()
        await driver.pilot.pause()
        box = driver.app.screen.query_one(".dialog").region
        assert driver.app.screen.region.contains_region(box)
        keys = driver.app.screen.query(".keys, .buttons").last().region
        assert keys.height > 0
        assert box.contains_region(keys)


async def test_the_picker_opens_by_itself_when_no_model_is_known() -> None:
    async with opened(model_path=None, models=found_models(2), until_ready=False) as driver:
        await driver.until(lambda: "Model 2" in driver.screen_text())
        await driver.pilot.press("down", "enter")
        await driver.until_state("ready")
        assert driver.engine.load_requests[0].model_path == "/models/model-2.gguf"


def kinds_of_dialogs() -> list[type[Dialog[Any]]]:
    for module in walk_packages(screens.__path__, f"{screens.__name__}."):
        import_module(module.name)
    kinds = list(Dialog.__subclasses__())
    for kind in kinds:
        kinds += kind.__subclasses__()
    return [kind for kind in kinds if kind.__module__.startswith(screens.__name__)]


def test_f1_explains_every_dialog() -> None:
    kinds = kinds_of_dialogs()
    assert len(kinds) > 15
    assert {kind.__name__ for kind in kinds if not kind.HELP} == {"HelpScreen", "PickDialog"}


async def test_the_list_of_chats_says_one_message_of_one() -> None:
    chats = [ListedChat(ChatSummary(f"{count}", "Rain", "model.gguf", count, NOW), False) for count in (1, 2)]
    async with shown(ChatList(chats, NOW)) as (app, _):
        one, two = lines(app)
        assert "   1 message  " in one
        assert "   2 messages  " in two
        assert len(one) == len(two)
