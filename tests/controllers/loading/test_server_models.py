"""Servers on the screen: their models in the list, typed addresses, words while they load, and what they cannot do."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from msgspec.structs import replace
from textual.widgets import Input, OptionList

from tests.fakes.chat_app import MODEL, Driver, opened, spoken
from tests.fakes.models import FakeModels, found_models
from tests.fakes.served_models import ADDRESS, HOME, SERVER_USAGE, served, served_model, server_engine
from tui_llama import paths
from tui_llama.chat import StopReason
from tui_llama.chats.chat_date import local_now
from tui_llama.chats.store import LAST_MODEL, Store
from tui_llama.controllers.turns import prompts
from tui_llama.engine.events import Failed, FailureCause, LoadProgress, LoadStage, ModelLoaded, TextPiece
from tui_llama.engine.remote.models import ServerModel
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step
from tui_llama.errors import EngineError, SettingsError
from tui_llama.screens.dialogs.ask_whether import AskWhether
from tui_llama.screens.dialogs.model_picker import ModelPicker
from tui_llama.servers.address import Server
from tui_llama.settings import Settings

LAB = Server("lab", "https://lab.example/v1", key_variable="LAB_KEY")
SETTINGS = Settings(theme="llama-dusk", servers=(HOME, LAB))
QWEN = ServerModel("qwen3-8b", 32_768, is_loaded=True)


def two_servers() -> FakeModels:
    models = FakeModels(found_models(1))
    models.on_servers = {
        "home": [QWEN, ServerModel("/srv/models/big-Q4_K_M.gguf", is_loaded=False, sees_images=True)],
        "lab": EngineError("lab refused the connection", "Start it."),
    }
    return models


def lines(driver: Driver) -> list[str]:
    options = driver.app.screen.query_one(OptionList)
    return [str(options.get_option_at_index(index).prompt).rstrip() for index in range(options.option_count)]


async def open_list(driver: Driver) -> None:
    await driver.pilot.press("ctrl+l")
    await driver.until(lambda: isinstance(driver.app.screen, ModelPicker), "the picker")


async def type_in_list(driver: Driver, text: str) -> None:
    driver.app.screen.query_one(Input).value = text
    await driver.pilot.pause()
    await driver.pilot.press("enter")


def asked(driver: Driver) -> list[str]:
    return [request.model_path for request in driver.engine.load_requests]


@asynccontextmanager
async def on_server(*replies: Iterable[Step], settings: Settings = SETTINGS) -> AsyncIterator[Driver]:
    async with opened(engine=server_engine(replies), model_path=ADDRESS, settings=settings, size=(100, 30)) as driver:
        yield driver


# --- the list -----------------------------------------------------------------------------------------------------


async def test_the_models_of_each_server_stand_under_its_name_below_those_of_this_machine() -> None:
    async with opened(models=two_servers(), settings=SETTINGS, size=(100, 30)) as driver:
        await open_list(driver)
        await driver.until(lambda: any("lab refused" in line for line in lines(driver)), "both servers")
        shown = lines(driver)
        assert [line.split("  ")[0] for line in shown[:1]] == ["On this machine"]
        assert shown[2:6] == [
            "On home",
            next(line for line in shown if "qwen3-8b" in line),
            next(line for line in shown if "big-Q4_K_M" in line),
            "On lab",
        ]
        assert "context 32k" in shown[3]
        assert "not in memory" in shown[4]
        assert shown[4].strip().startswith("big-Q4_K_M  ")
        assert shown[6].strip() == "lab refused the connection"
        assert shown[7] == "Get one"


async def test_a_server_that_is_slow_delays_neither_the_list_nor_the_other_servers() -> None:
    models = two_servers()
    models.answering["lab"] = asyncio.Event()
    async with opened(models=models, settings=SETTINGS, size=(100, 30)) as driver:
        await open_list(driver)
        await driver.until(lambda: any("qwen3-8b" in line for line in lines(driver)), "the quick one")
        await driver.until(lambda: "tok/s" in driver.screen_text(), "speeds")
        assert "asking …" in [line.strip() for line in lines(driver)]
        models.answering["lab"].set()
        await driver.until(lambda: any("lab refused" in line for line in lines(driver)), "the slow one")
        assert "asking …" not in [line.strip() for line in lines(driver)]
        assert models.asked == ["home", "lab"]


async def test_servers_are_asked_when_the_list_is_opened_and_not_again_for_what_happens_on_this_machine() -> None:
    models = two_servers()
    path = models.found[0].path
    models.pulled.add(path)
    models.answering["lab"] = asyncio.Event()
    async with opened(models=models, settings=SETTINGS, size=(100, 30)) as driver:
        await open_list(driver)
        await driver.until(lambda: any("qwen3-8b" in line for line in lines(driver)), "the quick one")
        await driver.until(lambda: "tok/s" in driver.screen_text(), "speeds")
        driver.app.models.remove(str(path))
        await driver.until(lambda: not any("model-1" in line for line in lines(driver)), "the list without it")
        await driver.at_rest()
        models.answering["lab"].set()
        await driver.until(lambda: any("lab refused" in line for line in lines(driver)), "the slow one")
        assert models.asked == ["home", "lab"]
        await driver.pilot.press("escape")
        await open_list(driver)
        await driver.until(lambda: models.asked == ["home", "lab"] * 2, "the question of the other list")


async def test_a_model_of_a_server_is_loaded_by_its_address_and_remembered() -> None:
    async with opened(models=two_servers(), settings=SETTINGS, engine=server_engine()) as driver:
        await open_list(driver)
        await driver.until(lambda: any("qwen3-8b" in line for line in lines(driver)), "the server")
        await type_in_list(driver, "qwen3")
        await driver.until(lambda: ADDRESS in asked(driver), "the load")
        await driver.until_state("ready")
        assert "qwen3-8b · home" in driver.screen_text()
        assert driver.store.preference(LAST_MODEL) == ADDRESS
        assert driver.app.turn_driver.chat.model_path == ADDRESS


async def test_a_line_that_stands_for_a_server_loads_nothing_and_says_why() -> None:
    async with opened(models=two_servers(), settings=SETTINGS, size=(100, 30)) as driver:
        await open_list(driver)
        await driver.until(lambda: any("lab refused" in line for line in lines(driver)), "both servers")
        await type_in_list(driver, "refused")
        await driver.until(lambda: "Start it." in driver.status, "the reason")
        assert asked(driver) == [MODEL]
        await driver.pilot.press("delete")
        await driver.until(lambda: "cannot be removed here" in driver.status, "why not")


async def test_a_server_without_its_key_and_one_without_models_say_so() -> None:
    models = two_servers()
    models.on_servers = {"home": [], "lab": SettingsError("the variable LAB_KEY is not set", "Set it.")}
    async with opened(models=models, settings=SETTINGS, size=(100, 30)) as driver:
        await open_list(driver)
        await driver.until(lambda: any("LAB_KEY" in line for line in lines(driver)), "both servers")
        assert [line.strip() for line in lines(driver)[2:6]] == [
            "On home",
            "no models",
            "On lab",
            "the variable LAB_KEY is not set",
        ]


async def test_a_fault_at_one_server_is_a_line_and_takes_nothing_else_away() -> None:
    models = two_servers()
    models.on_servers["lab"] = ValueError("a fault")
    async with opened(models=models, settings=SETTINGS, size=(100, 30)) as driver:
        await open_list(driver)
        await driver.until(lambda: any("lab cannot be asked: a fault" in line for line in lines(driver)), "the fault")
        await driver.until(lambda: any("qwen3-8b" in line for line in lines(driver)), "the other server")


async def test_names_of_a_server_are_shown_as_text_on_one_line_and_there_may_be_any_number_of_them() -> None:
    models = two_servers()
    many = [ServerModel(f"model-{number}") for number in range(1200)]
    models.on_servers = {"home": [ServerModel("\x1b]0;evil\x07[b]x\ny"), *many], "lab": []}
    async with opened(models=models, settings=SETTINGS, size=(100, 30)) as driver:
        await open_list(driver)
        await driver.until(lambda: any("and 201 more" in line for line in lines(driver)), "the names")
        shown = lines(driver)[3]
        assert "[b]x y" in shown
        assert not any(character in shown for character in "\x1b\x07\n")


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("http://10.0.0.9:1234", "http://10.0.0.9:1234/v1"),
        ("http://10.0.0.9:1234/v1/#some/model", "http://10.0.0.9:1234/v1#some/model"),
        ("HTTPS://box.example/v1/chat/completions", "https://box.example/v1"),
    ],
)
async def test_a_typed_address_is_loaded_from_the_list_and_by_a_command(typed: str, address: str) -> None:
    async with opened(models=two_servers(), settings=SETTINGS) as driver:
        await open_list(driver)
        await driver.until(lambda: lines(driver), "the list")
        driver.app.screen.query_one(Input).value = typed
        await driver.until(lambda: "Enter loads a model from this server." in driver.screen_text(), "advice")
        await driver.pilot.press("enter")
        await driver.until(lambda: asked(driver) == [MODEL, address], "the load")
        await driver.until_state("ready")
        await driver.send(f"/model {typed}")
        await driver.until(lambda: asked(driver) == [MODEL, address, address], "the load")


async def test_an_address_that_is_none_is_refused_with_a_reason() -> None:
    async with opened(models=two_servers(), settings=SETTINGS) as driver:
        await driver.send("/model http://")
        await driver.until(lambda: "this is no URL of a server" in driver.status, "the reason")
        await open_list(driver)
        await driver.until(lambda: lines(driver), "the list")
        await type_in_list(driver, "http://user:secret@box/v1")
        await driver.until(lambda: "must not contain a name or a password" in driver.status, "the reason")
        assert asked(driver) == [MODEL]


# --- loading ------------------------------------------------------------------------------------------------------


async def test_loading_from_a_server_speaks_of_a_connection_and_of_the_server_that_loads() -> None:
    connecting, loading = Gate(), Gate()
    steps: list[Step] = [connecting, LoadProgress(LoadStage.READ, 0, 1), loading, ModelLoaded(served_model())]
    engine = ScriptedEngine(load=steps)
    async with opened(engine=engine, model_path=ADDRESS, settings=SETTINGS, until_ready=False) as driver:
        await connecting.reached()
        await driver.until_state("connecting to home")
        assert "Connecting to home" in driver.screen_text()
        assert "%" not in driver.screen_text()
        connecting.open()
        await driver.until_state("home is loading the model")
        assert "%" not in driver.screen_text()
        loading.open()
        await driver.until_state("ready")
        assert "qwen3-8b · home" in driver.screen_text()


async def test_a_server_that_cannot_be_reached_at_the_start_leaves_no_model_and_says_so() -> None:
    with Store(paths.database_file()) as store:
        store.set_preference(LAST_MODEL, ADDRESS)
        refused: list[Step] = [Failed(None, "home refused the connection", "Start it.", FailureCause.REFUSED)]
        engine = ScriptedEngine(load=refused)
        async with opened(engine=engine, model_path=None, settings=SETTINGS, store=store, until_ready=False) as driver:
            await driver.until_state("no model")
            await driver.until(lambda: len(driver.remarks) == 1, "the reason")
            assert driver.remarks == ["home refused the connection\nStart it. Ctrl+R tries it again."]
            assert asked(driver) == [ADDRESS]


async def test_a_server_that_was_down_is_tried_again_by_one_key_and_answers_what_waited_for_it() -> None:
    gate = Gate()
    refused = Failed(None, "home refused the connection", "Start it.", FailureCause.REFUSED)
    loads: list[list[Step]] = [[refused], [gate, refused], [ModelLoaded(served_model())]]
    engine = ScriptedEngine(load=lambda _request: loads.pop(0), replies=[served("Hello")])
    async with opened(
        engine=engine, model_path=ADDRESS, settings=SETTINGS, size=(100, 30), until_ready=False
    ) as driver:
        await driver.until(lambda: len(driver.remarks) == 1, "the failure")
        assert "There is no model yet" not in driver.screen_text()
        await driver.send("hi")
        await driver.until(lambda: "Ctrl+R tries it again" in driver.status, "what to do")
        assert driver.written == "hi"
        await driver.pilot.press("ctrl+r")
        await gate.reached()
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.questions == ["hi"], "the message that waits")
        gate.open()
        await driver.until(lambda: len(driver.remarks) == 2, "the failure")
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["Hello"], "the answer")
        assert asked(driver) == [ADDRESS] * 3


async def test_a_server_that_the_settings_do_not_name_is_listed_once_its_address_was_given() -> None:
    models = two_servers()
    models.on_servers |= {"10.0.0.9:1234": [ServerModel("first"), ServerModel("second")], "box.example": []}
    given = "http://10.0.0.9:1234/v1#first"
    async with opened(
        models=models, engine=server_engine(), model_path=given, settings=SETTINGS, size=(100, 30)
    ) as driver:
        await driver.send("/model https://box.example/v1")
        await driver.until(lambda: len(asked(driver)) == 2, "the load")
        await driver.until_state("ready")
        await open_list(driver)
        await driver.until(lambda: any("second" in line for line in lines(driver)), "the server")
        await driver.until(lambda: any("no models" in line for line in lines(driver)), "the other server")
        assert [line for line in lines(driver) if line.startswith("On ")][1:] == [
            "On home",
            "On lab",
            "On 10.0.0.9:1234",
            "On box.example",
        ]


async def test_without_a_model_on_this_machine_the_list_with_the_servers_opens_by_itself() -> None:
    models = two_servers()
    models.found = []
    async with opened(models=models, model_path=None, settings=SETTINGS, until_ready=False) as driver:
        await driver.until(lambda: isinstance(driver.app.screen, ModelPicker), "the picker")
        await driver.until(lambda: any("qwen3-8b" in line for line in lines(driver)), "the server")


# --- a turn -------------------------------------------------------------------------------------------------------


async def test_a_servers_reply_shows_what_is_known_of_it() -> None:
    reading, answering = Gate(), Gate()
    steps = [reading, TextPiece(0, "Hello", ()), answering, *served(" there", usage=SERVER_USAGE)]
    async with on_server(steps) as driver:
        await driver.send("hi")
        await reading.reached()
        await driver.until_state("waiting for home")
        reading.open()
        await driver.until(lambda: driver.answers == ["Hello"], "text")
        await driver.until_state("answering")
        assert "tok/s" not in driver.status
        assert "generated" not in driver.status
        answering.open()
        await driver.until_state("ready")
        assert "ready  0.4 s to first token · 45.0 tok/s · 1,024 cached" in driver.status
        assert driver.status.endswith("1,444 / 32,768")


async def test_a_server_that_tells_nothing_shows_the_time_to_the_first_token_and_no_context() -> None:
    async with on_server(served("Hello")) as driver:
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Hello"], "text")
        await driver.until_state("ready")
        assert driver.status.strip() == "● ready  0.4 s to first token"


@pytest.mark.parametrize("cause", [cause for cause in FailureCause if cause is not FailureCause.ENGINE])
async def test_each_failure_of_a_server_keeps_the_text_and_can_be_tried_again(cause: FailureCause) -> None:
    failed: list[Step] = [TextPiece(0, "Half", ()), Failed(0, f"home: {cause}", "Try again.", cause)]
    async with on_server(failed, served("Whole")) as driver:
        await driver.send("hi")
        await driver.until_state("failed")
        assert (driver.answers, driver.notes) == (["Half"], ["failed · F5 goes on"])
        assert driver.remarks == [f"home: {cause}\nTry again."]
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["Whole"], "the other answer")
        await driver.until_state("ready")


# --- what a server cannot do --------------------------------------------------------------------------------------


async def test_the_price_of_an_edit_is_not_asked_of_a_server_and_nothing_is_said_in_its_place() -> None:
    async with on_server(served("Hello", usage=SERVER_USAGE), served("Again")) as driver:
        await driver.ask("hi")
        await driver.pilot.press("up")
        await driver.until_state("editing")
        assert await driver.app.turn_driver.questions.estimate(0, "hi there") is None
        assert "keeps" not in driver.status
        assert "first token" not in driver.status
        await driver.write(" there")
        await driver.pilot.press("enter")
        await driver.until(lambda: driver.answers == ["Again"], "the answer")
        assert driver.engine.estimate_requests == []


async def test_the_prompt_of_a_server_is_not_shown_and_the_reason_is() -> None:
    async with on_server(served("Hello")) as driver:
        await driver.ask("hi")
        await driver.app.run_action("show_prompt")
        await driver.until(lambda: "home makes the prompt of the messages itself" in driver.status, "the reason")
        assert driver.engine.estimate_requests == []


async def test_a_server_is_not_asked_to_read_ahead() -> None:
    async with on_server(served("Hello"), settings=replace(SETTINGS, read_ahead="on")) as driver:
        await driver.ask("hi")
        await driver.write("and then ")
        assert await driver.app.turn_driver.questions.idle_prefill_request("and then") is None
        assert driver.engine.idle_prefill_requests == []


async def test_the_date_is_renewed_on_a_server_without_a_price(monkeypatch: pytest.MonkeyPatch) -> None:
    async with on_server(served("Hello")) as driver:
        await driver.ask("hi")
        tomorrow = local_now() + timedelta(days=1)
        monkeypatch.setattr(prompts, "local_now", lambda: tomorrow)
        await driver.send("/today")
        await driver.until(lambda: isinstance(driver.app.screen, AskWhether), "the question")
        assert "so far." in driver.screen_text()
        assert "Cost" not in driver.screen_text()
        assert driver.engine.estimate_requests == []


async def test_a_server_that_cannot_continue_says_why() -> None:
    engine_says = "SGLang turns the answer into a message of yours."
    model = served_model(can_continue=False, why_not_continue=engine_says)
    engine = server_engine([served("Hel", reason=StopReason.LENGTH)], model=model)
    async with opened(engine=engine, model_path=ADDRESS, settings=SETTINGS, size=(100, 30)) as driver:
        await driver.ask("hi")
        await driver.pilot.press("f5")
        await driver.until(lambda: engine_says in driver.status, "the reason")
        assert len(driver.engine.reply_requests) == 1


async def test_a_model_that_loads_in_place_of_a_server_has_all_its_figures_again() -> None:
    async with on_server(served("Hello"), spoken("Hi")) as driver:
        await driver.ask("hi")
        driver.engine._load_script = lambda request: [ModelLoaded(replace(served_model(MODEL), server=""))]
        await driver.send(f"/model {MODEL}")
        await driver.until(lambda: asked(driver)[-1] == MODEL, "the load")
        await driver.until_state("ready")
        assert "home" not in driver.screen_text()
