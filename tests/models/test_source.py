"""The screen asks one object about models, and it answers with what is on this machine."""

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from tests.fakes.no_models import hide_models
from tests.fakes.openai_dialects import CONTEXT_SIZE, LLAMA_SERVER, MODEL
from tests.fakes.tiny_model import make_tiny_model
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.engine.model.facts import read_model_facts
from tui_llama.errors import UserError
from tui_llama.models import machine, pull
from tui_llama.models import source as sources
from tui_llama.models.downloads import DownloadFailed
from tui_llama.models.machine import Machine
from tui_llama.models.record import note_pulled
from tui_llama.models.source import ModelSource, ThisMachine
from tui_llama.servers import keys
from tui_llama.servers.address import Server


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSource:
    hide_models(monkeypatch, tmp_path)
    return ThisMachine()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a server on a busy machine take its time."""
    monkeypatch.setattr(sources, "SERVER_SECONDS", HANG_SECONDS)


@pytest.fixture
def model() -> Path:
    return make_tiny_model(paths.make_private_folder(paths.models_folder()) / "tiny.gguf")


def test_it_finds_what_is_in_our_folder(source: ModelSource, model: Path) -> None:
    assert model in [found.path for found in source.find()]


def test_it_has_the_machine_measured(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = Machine("a processor", 4, 2, 1, 20e9)
    monkeypatch.setattr(machine, "measured_machine", lambda: measured)
    assert source.machine() == measured


async def test_it_looks_into_files(source: ModelSource, model: Path) -> None:
    assert [facts async for facts in source.inspect([model])] == [read_model_facts(model)]


async def test_it_fetches_beside_this_process(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "child_command", lambda *_: (sys.executable, "-c", ""))
    assert [type(event) async for event in source.pull("starter")] == [DownloadFailed]


def test_it_removes_only_what_was_fetched(source: ModelSource, model: Path) -> None:
    assert not source.was_pulled(model)
    note_pulled(model)
    size_bytes = model.stat().st_size
    assert source.was_pulled(model)
    assert source.remove(model) == size_bytes
    assert not model.exists()


async def test_it_asks_a_server_with_its_key_for_its_models(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_KEY", "secret")
    async with LLAMA_SERVER.server() as server:
        [listed] = await source.models_of(Server("lab", server.url, key_variable="LAB_KEY"))
        assert (listed.name, listed.context_size) == (MODEL, CONTEXT_SIZE)
        assert server.requests[-1].header("authorization") == "Bearer secret"


async def test_a_key_is_looked_up_once_and_again_only_after_it_was_refused(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ["old", "new"]
    monkeypatch.setattr(sources, "_key_of", lambda _server: keys.pop(0))
    async with LLAMA_SERVER.server() as server:
        lab = Server("lab", server.url, key_command="show key")
        await source.models_of(lab)
        await source.models_of(lab)
        assert keys == ["new"]
        assert LLAMA_SERVER.wrong_key is not None
        server.answer(LLAMA_SERVER.wrong_key, method="GET", path="/v1/models")
        with pytest.raises(UserError, match="key"):
            await source.models_of(lab)
        await source.models_of(lab)
        assert server.requests[-1].header("authorization") == "Bearer new"


async def test_a_server_without_its_key_is_not_asked(source: ModelSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_KEY", raising=False)
    async with LLAMA_SERVER.server() as server:
        with pytest.raises(UserError, match="LAB_KEY"):
            await source.models_of(Server("lab", server.url, key_variable="LAB_KEY"))
        assert server.requests == []


async def test_a_server_that_is_not_there_is_an_error(source: ModelSource) -> None:
    async with LLAMA_SERVER.server() as server:
        url = server.url
    with pytest.raises(UserError, match="lab"):
        await source.models_of(Server("lab", url))


def test_a_key_that_never_comes_does_not_hold_up_the_end_of_the_program(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, comes = threading.Event(), threading.Event()
    asking: list[threading.Thread] = []

    def key_of(_server: Server) -> str:
        asking.append(threading.current_thread())
        asked.set()
        comes.wait()
        return ""

    async def give_up() -> None:
        listing = asyncio.ensure_future(source.models_of(Server("lab", "http://127.0.0.1:1/v1", key_command="key")))
        await asyncio.to_thread(asked.wait)
        listing.cancel()
        await asyncio.gather(listing, return_exceptions=True)
        if not asking[0].daemon:  # the end of the loop would wait for it, and this test with it
            comes.set()

    monkeypatch.setattr(keys, "key_of", key_of)
    asyncio.run(give_up())
    assert not comes.is_set()
    comes.set()
