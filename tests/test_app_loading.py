"""What a user may do before the model is there."""

import threading
from pathlib import Path
from unittest.mock import patch

from tests.fakes.chat_app import MODEL, opened, spoken
from tests.patience import HANG_SECONDS
from tui_llama import paths
from tui_llama.chats.store import Store
from tui_llama.engine.events import (
    Failed,
    LoadProgress,
    LoadStage,
    ModelLoaded,
)
from tui_llama.engine.scripted import Gate, ScriptedEngine, Step, demo_model


async def test_one_can_write_and_send_while_the_model_loads() -> None:
    gate = Gate()
    load: list[Step] = [LoadProgress(LoadStage.REPACK, 45, 100), gate, ModelLoaded(demo_model(MODEL))]
    engine = ScriptedEngine(load=load, replies=[spoken("at last")])
    async with opened(engine=engine, until_ready=False) as driver:
        await driver.until_state("loading · repack 45 %")
        await driver.send("early")
        await driver.until_state("your message waits")
        assert driver.questions == ["early"]
        assert not engine.reply_requests
        gate.open()
        await driver.until(lambda: driver.answers == ["at last"])


async def test_a_message_that_waits_can_be_taken_back() -> None:
    gate = Gate()
    engine = ScriptedEngine(load=[gate, ModelLoaded(demo_model(MODEL))], replies=[spoken("now")])
    async with opened(engine=engine, until_ready=False) as driver:
        await driver.until_state("loading")
        await driver.send("early")
        await driver.pilot.press("escape")
        gate.open()
        await driver.until_state("ready")
        assert not engine.reply_requests
        await driver.pilot.press("ctrl+r")
        await driver.until(lambda: driver.answers == ["now"])


async def test_a_model_that_cannot_be_loaded_says_why_and_keeps_what_was_written() -> None:
    engine = ScriptedEngine(load=[Failed(None, "small.gguf is damaged.", "Download it again.")])
    async with opened(engine=engine, until_ready=False) as driver:
        await driver.until_state("no model")
        await driver.until(lambda: driver.remarks == ["small.gguf is damaged.\nDownload it again."])
        await driver.send("hello?")
        assert driver.written == "hello?"


async def test_the_last_model_is_remembered(store: Store, tmp_path: Path) -> None:
    model = tmp_path / "model.gguf"
    model.touch()
    async with opened(store=store, model_path=str(model)):
        pass
    engine = ScriptedEngine()
    async with opened(store=store, model_path=None, engine=engine):
        assert engine.load_requests[0].model_path == str(model)
    store.close()


async def test_the_last_model_may_be_one_of_a_server(store: Store) -> None:
    address = "http://127.0.0.1:8080/v1#qwen3"
    async with opened(store=store, model_path=address):
        pass
    engine = ScriptedEngine()
    async with opened(store=store, model_path=None, engine=engine):
        assert engine.load_requests[0].model_path == address
    store.close()


async def test_a_message_that_is_sent_before_the_store_has_answered_waits_for_the_model() -> None:
    held = threading.Event()
    store = Store(paths.database_file())
    with patch.object(store, "recover", lambda: held.wait(HANG_SECONDS)):
        async with opened(store=store, replies=[spoken("early")], until_ready=False) as driver:
            try:
                await driver.until(lambda: not driver.app.models.is_missing)
                await driver.send("hi")
                assert driver.app.models.picker is None and not driver.written
            finally:
                held.set()
            await driver.until(lambda: driver.answers == ["early"])
    store.close()


async def test_nobody_says_that_there_is_no_model_before_the_store_was_asked_for_the_last_one(tmp_path: Path) -> None:
    held = threading.Event()
    store = Store(paths.database_file())
    model = tmp_path / "model.gguf"
    model.touch()
    store.set_preference("last_model", str(model))
    with patch.object(store, "recover", lambda: held.wait(HANG_SECONDS)):
        async with opened(store=store, model_path=None, until_ready=False) as driver:
            try:
                await driver.until(lambda: "looking for models" in driver.status)
                await driver.send("hi")
                assert driver.app.models.picker is None and driver.written == "hi"
            finally:
                held.set()
            await driver.until(lambda: [request.model_path for request in driver.engine.load_requests] == [str(model)])
    store.close()
