"""A user chats through the screen with real servers: llama-server, and ours, each with the starter."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

from tests.engine.remote.servers.test_real_server import real_server
from tests.fakes.chat_app import ScreenDriver, unhurried
from tests.fakes.models import FakeModels
from tests.starter.real_chat import QUIET
from tui_llama import paths
from tui_llama.app import ChatApp
from tui_llama.chats.store import Store
from tui_llama.cli.screen import make_engine
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.servers.address import RemoteModel
from tui_llama.settings import Settings

pytestmark = [pytest.mark.starter, pytest.mark.slow]

needs_llama_server = pytest.mark.skipif(
    find_spec("xllamacpp") is None, reason="needs the package xllamacpp, a real llama-server"
)

GREEDY = msgspec.structs.replace(
    QUIET,
    sampling=SamplingSettings(temperature=0.0),
    given=frozenset({"sampling.temperature"}),
    max_tokens=24,
    theme="llama-dusk",
)
SHORT = "Say hello in one short sentence."
LONG = "What is the capital of France?"


@asynccontextmanager
async def chatting(model: str, settings: Settings = GREEDY) -> AsyncIterator[ScreenDriver]:
    """Opens the program as the command line does, and waits until the model can answer."""
    with Store(paths.database_file()) as store:
        app = ChatApp(
            engine_factory=partial(make_engine, settings.servers),
            store=store,
            settings=settings,
            model_path=model,
            models=FakeModels(),
        )
        app.animation_level = "none"
        async with unhurried(), app.run_test(size=(100, 30)) as pilot:
            driver = ScreenDriver(app, pilot, store)
            await driver.until_state("ready")
            yield driver


@contextmanager
def our_server(model: Path, home: Path) -> Iterator[str]:
    """Starts `tui-llama serve` with its own home; yields its base URL."""
    command = [sys.executable, "-m", "tui_llama", "serve", "-m", str(model), "--port", "0"]
    environment = {**os.environ, paths.HOME_VARIABLE: str(home)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        try:
            found = (re.search(r"http://\S+/v1", line) for line in process.stderr)
            yield next(match.group() for match in found if match)
        finally:
            process.terminate()


@needs_llama_server
async def test_a_chat_on_llama_server_is_stopped_and_goes_on(starter_model: Path) -> None:
    settings = msgspec.structs.replace(GREEDY, max_tokens=None, loop_guard="off")
    with real_server(starter_model) as server:
        async with chatting(str(RemoteModel(server.url, "")), settings) as driver:
            await driver.send(LONG)
            await driver.until(lambda: driver.answers and len(driver.answers[0].split()) > 3, "some of an answer")
            await driver.pilot.press("escape")
            await driver.until_state("ready")
            await driver.until(lambda: driver.notes == ["stopped · F5 goes on"], "the note below it")
            (part,) = driver.answers
            await driver.pilot.press("f5")
            await driver.until(lambda: len(driver.answers[0]) > len(part) + 10, "more of the answer")
            await driver.pilot.press("escape")
            await driver.until_state("ready")
            assert driver.answers[0].startswith(part)


@needs_llama_server
async def test_the_status_line_says_what_llama_server_tells(starter_model: Path) -> None:
    with real_server(starter_model) as server:
        async with chatting(str(RemoteModel(server.url, ""))) as driver:
            await driver.ask(SHORT)
            await driver.until(lambda: "s to first token" in driver.status, "the time to the first token")
            await driver.ask("And now in another way.")
            await driver.until(lambda: "cached" in driver.status, "what was cached")
            assert "tok/s" in driver.status


@needs_llama_server
async def test_a_server_that_is_killed_leaves_what_it_has_said(starter_model: Path) -> None:
    settings = msgspec.structs.replace(GREEDY, max_tokens=None, loop_guard="off")
    with real_server(starter_model) as server:
        async with chatting(str(RemoteModel(server.url, "")), settings) as driver:
            await driver.send(LONG)
            await driver.until(lambda: driver.answers and len(driver.answers[0].split()) > 3, "some of an answer")
            server.kill()
            await driver.until_state("failed")
            assert len(driver.answers[0].split()) > 3
            assert driver.remarks


async def test_a_chat_goes_from_our_server_to_a_file_and_back(starter_model: Path, tmp_path: Path) -> None:
    with our_server(starter_model, tmp_path) as url:
        async with chatting(str(RemoteModel(url, ""))) as driver:
            await driver.ask(SHORT)
            served = driver.answers[0]
            driver.app.models.load(str(starter_model))
            await driver.until(lambda: "SmolLM2 135M" in driver.screen_text().splitlines()[0], "the file's model")
            await driver.until_state("ready")
            await driver.ask("Thank you.")
            await driver.pilot.press("ctrl+n")
            await driver.ask(SHORT)
            assert driver.answers == [served]  # the same bits from the file as over the server
            driver.app.models.load(str(RemoteModel(url, "")))
            await driver.until(lambda: "127.0.0.1" in driver.screen_text().splitlines()[0], "the server's model")
            await driver.until_state("ready")
            await driver.ask("Thank you.")
            assert len(driver.answers) == 2
