"""The screen with the real remote engine, against each kind of server: the list, a chat, and every way it breaks."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest
from msgspec.structs import replace

from tests.fakes import openai_streams as said
from tests.fakes.chat_app import ScreenDriver
from tests.fakes.fake_model import FakeModel, answering
from tests.fakes.local_chat import QUIET, NearEngine
from tests.fakes.models import FakeModels, found_models
from tests.fakes.openai_dialects import CONTEXT_SIZE, KINDS, LLAMA_SERVER, LOADING, MODEL, PLAIN, Kind
from tests.fakes.openai_server import CHAT, MODELS, Cut, FakeServer, Script, response, stream
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.app import ChatApp
from tui_llama.chats.store import LAST_MODEL, Store
from tui_llama.engine.events import FailureCause
from tui_llama.engine.remote.engine import RemoteEngine
from tui_llama.engine.remote.models import ServerModel
from tui_llama.engine.routed import RoutedEngine
from tui_llama.engine.scripted import Gate
from tui_llama.models import source
from tui_llama.models.library import FoundModel
from tui_llama.models.source import ThisMachine
from tui_llama.screens.dialogs.model_picker import ModelPicker
from tui_llama.servers.address import Server
from tui_llama.servers.declared import find_server
from tui_llama.servers.keys import key_of


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a server on a busy machine take its time."""
    monkeypatch.setattr(source, "SERVER_SECONDS", HANG_SECONDS)


class ServersOnly(FakeModels):
    """Models that do not exist, beside servers that do."""

    def __init__(self, found: Sequence[FoundModel] = ()) -> None:
        super().__init__(found)
        self._machine = ThisMachine()

    async def models_of(self, server: Server) -> list[ServerModel]:
        return await self._machine.models_of(server)


@asynccontextmanager
async def chatting_on(url: str, *, local: FakeModel | None = None) -> AsyncIterator[ScreenDriver]:
    """Opens the program with the model of a server, which is called "home"."""
    servers = (Server("home", url),)
    with Store(paths.database_file()) as store:
        app = ChatApp(
            engine_factory=lambda: RoutedEngine(
                lambda: NearEngine(local or FakeModel()), lambda: RemoteEngine(partial(find_server, servers), key_of)
            ),
            store=store,
            settings=replace(QUIET, servers=servers),
            model_path=url,
            models=ServersOnly(found_models(1)),
        )
        app.animation_level = "none"
        async with app.run_test(size=(110, 30)) as pilot:
            yield ScreenDriver(app, pilot, store)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
async def test_a_chat_with_each_kind_of_server(kind: Kind) -> None:
    async with kind.server() as server, chatting_on(server.url) as driver:
        await driver.until_state("ready")
        assert f"{MODEL} · home" in driver.screen_text()
        server.answer(stream(*said.plain()), stream(*said.plain()))
        await driver.ask("hi")
        assert driver.answers == ["".join(said.ANSWER)]
        assert "to first token" in driver.status
        await driver.ask("and then?")
        assert [message["role"] for message in server.last.json["messages"]] == ["user", "assistant", "user"]
        assert server.last.json["temperature"] == 0  # the user has set it
        assert "top_k" not in server.last.json  # and not this
        assert driver.store.preference(LAST_MODEL) == f"{server.url}#{MODEL}"
        assert driver.remarks == []


async def test_progress_and_cached_tokens_are_shown_where_a_server_tells_them() -> None:
    reading = Gate()
    events = said.llama_server()
    async with LLAMA_SERVER.server() as server, chatting_on(server.url) as driver:
        await driver.until_state("ready")
        server.answer(stream(events[0], reading, *events[1:]))
        await driver.send("hi")
        await driver.until(lambda: "reading 20 / 30" in driver.status, "progress")
        reading.open()
        await driver.until_state("ready")
        assert "20 cached" in driver.status
        assert driver.status.endswith(f"/ {CONTEXT_SIZE:,}")


async def test_a_servers_thought_is_folded_above_its_answer_and_a_cut_one_goes_on() -> None:
    cut = [said.chunk({"reasoning_content": "They"}), said.chunk({}, "length")]
    rest = [said.chunk({"reasoning_content": " hum."}), *said.plain()]
    async with LLAMA_SERVER.server() as server, chatting_on(server.url) as driver:
        await driver.until_state("ready")
        server.answer(stream(*cut), stream(*rest), stream(*said.plain()))
        await driver.send("hi")
        await driver.until(lambda: "thought for" in driver.screen_text(), "the folded thought")
        await driver.until_state("ready")
        await driver.pilot.press("f5")
        await driver.until(lambda: driver.answers == ["".join(said.ANSWER)], "the answer")
        await driver.until_state("ready")
        assert driver.app.turn_driver.chat.entries[-1].thought == "They hum."
        assert server.last.json["continue_final_message"] == "reasoning_content"
        await driver.send("/think off")
        await driver.ask("and then?")
        assert server.last.json["chat_template_kwargs"] == {"enable_thinking": False}
        assert server.last.json["messages"][1]["reasoning_content"] == "They hum."


async def test_a_server_that_is_loading_its_model_is_waited_for() -> None:
    async with LLAMA_SERVER.server() as server:
        server.serve("GET", MODELS, LOADING)
        async with chatting_on(server.url) as driver:
            await driver.until(lambda: "home is loading the model" in driver.status, "the server's state")
            await driver.send("hi")
            await driver.until(lambda: "your message waits" in driver.status, "the message's state")
            server.answer(stream(*said.plain()))
            server.serve("GET", MODELS, LLAMA_SERVER.routes["GET", MODELS])
            await driver.until(lambda: driver.answers == ["".join(said.ANSWER)], "the answer")


async def test_a_server_that_is_not_there_leaves_no_model_and_its_line_in_the_list_says_so() -> None:
    async with PLAIN.server() as server:
        url = server.url
    async with chatting_on(url) as driver:
        await driver.until_state("no model")
        await driver.until(lambda: driver.remarks, "the reason")
        assert "home" in driver.remarks[0]
        await driver.pilot.press("ctrl+l")
        await driver.until(lambda: isinstance(driver.app.screen, ModelPicker), "the list")
        await driver.until(lambda: "On home" in driver.screen_text(), "the server")
        await driver.until(lambda: "asking" not in driver.screen_text(), "its answer")


async def test_the_models_of_a_server_are_listed_and_loaded() -> None:
    async with LLAMA_SERVER.server() as server, chatting_on(server.url) as driver:
        await driver.until_state("ready")
        await driver.pilot.press("ctrl+l")
        await driver.until(lambda: "On home" in driver.screen_text() and MODEL in driver.screen_text(), "the model")
        assert "context 2k" in driver.screen_text()
        await driver.pilot.press(*"llama-3b", "enter")
        await driver.until(lambda: not isinstance(driver.app.screen, ModelPicker), "the chat")
        await driver.until_state("ready")


TOO_MANY = response({"error": {"message": "slow down"}}, 429, {"Retry-After": "9999"})
BROKEN: dict[FailureCause, Script] = {
    FailureCause.CUT_OFF: stream(said.ROLE, said.text("Half"), Cut.RESET),
    FailureCause.NO_END: stream(said.ROLE, said.text("Half"), said.DONE),
    FailureCause.ERROR_IN_STREAM: stream(said.ROLE, said.text("Half"), said.error_event({"message": "no memory"})),
    FailureCause.NO_SUCH_MODEL: PLAIN.wrong_model or TOO_MANY,
    FailureCause.KEY_REFUSED: PLAIN.wrong_key or TOO_MANY,
    FailureCause.BUSY: TOO_MANY,
    FailureCause.SERVER_ERROR: response({"error": {"message": "out of memory"}}, 500),
}


@pytest.mark.parametrize("cause", BROKEN)
async def test_whatever_breaks_the_text_is_kept_and_the_answer_can_be_had_again(cause: FailureCause) -> None:
    async with PLAIN.server() as server, chatting_on(server.url) as driver:
        await driver.until_state("ready")
        server.answer(BROKEN[cause])
        await driver.send("hi")
        await driver.until_state("failed")
        began = cause in (FailureCause.CUT_OFF, FailureCause.NO_END, FailureCause.ERROR_IN_STREAM)
        assert driver.answers == ["Half" if began else ""]
        assert len(driver.remarks) == 1
        assert "home" in driver.remarks[0]
        server.answer(stream(*said.plain()))
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["".join(said.ANSWER)], "the answer")
        await driver.until_state("ready")


async def test_escape_closes_the_connection_and_keeps_the_text() -> None:
    gate = Gate()
    async with PLAIN.server() as server, chatting_on(server.url) as driver:
        await driver.until_state("ready")
        server.answer(stream(said.ROLE, said.text("Half"), gate))
        await driver.send("hi")
        await driver.until(lambda: driver.answers == ["Half"], "text")
        await driver.pilot.press("escape")
        await driver.until_state("ready")
        assert await server.last.was_left()
        await driver.until(lambda: driver.notes == ["stopped"], "the end of the answer")
        assert driver.answers == ["Half"]


async def stop_half_an_answer(driver: ScreenDriver, server: FakeServer) -> None:
    await driver.until_state("ready")
    server.answer(stream(said.ROLE, said.text("Half"), Gate()), stream(said.text(" whole"), said.STOP, said.DONE))
    await driver.send("hi")
    await driver.until(lambda: driver.answers == ["Half"], "text")
    await driver.pilot.press("escape")
    await driver.until_state("ready")
    await driver.pilot.press("f5")


async def test_an_answer_that_was_stopped_goes_on_where_the_server_can() -> None:
    async with LLAMA_SERVER.server() as server, chatting_on(server.url) as driver:
        await stop_half_an_answer(driver, server)
        await driver.until(lambda: driver.answers == ["Half whole"], "the rest")
        assert server.last.json["messages"][-1] == {"role": "assistant", "content": "Half"}


async def test_where_the_server_cannot_continue_an_answer_the_reason_is_told() -> None:
    async with PLAIN.server() as server, chatting_on(server.url) as driver:
        await stop_half_an_answer(driver, server)
        await driver.until(lambda: "OpenAI's protocol has no way to continue an answer." in driver.status, "why not")
        assert len(server.asked(CHAT)) == 1


async def change_to(driver: ScreenDriver, path: str) -> None:
    def is_loaded() -> bool:
        model = driver.app.turn_driver.model
        return model is not None and model.path.startswith(path)

    await driver.send(f"/model {path}")
    await driver.until(is_loaded, "another model")
    await driver.until_state("ready")


async def test_a_chat_goes_from_a_server_to_a_local_model_and_back() -> None:
    local = FakeModel(answering("one"), name="small", vocabulary="bytes")
    async with LLAMA_SERVER.server() as server, chatting_on(server.url, local=local) as driver:
        await driver.until_state("ready")
        server.answer(stream(*said.llama_server(["afar"])), stream(*said.llama_server(["again"])))
        await driver.ask("first")
        await change_to(driver, "small.gguf")
        await driver.ask("second")
        await change_to(driver, server.url)
        await driver.ask("third")
        assert driver.answers == ["afar", "one", "again"]
        contents = [message["content"] for message in server.last.json["messages"]]
        assert contents == ["first", "afar", "second", "one", "third"]
        assert driver.remarks == []
