"""The program is closed and opened again: the chat goes on as if it had never been closed."""

from pathlib import Path

import msgspec
import pytest

from tests.starter.real_chat import GREEDY, SEEDED, chatting
from tui_llama import paths
from tui_llama.settings import Settings

pytestmark = [pytest.mark.starter, pytest.mark.slow]

FIRST = "I have a llama named Bo. He is brown. Say hello to him."
SECOND = "What is he like?"


@pytest.mark.parametrize("settings", [GREEDY, SEEDED], ids=["temperature 0", "a seed"])
async def test_a_chat_goes_on_after_a_restart_as_if_nothing_had_happened(
    starter_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings = msgspec.structs.replace(settings, max_tokens=16)
    async with chatting(starter_model, settings) as driver:
        await driver.ask(FIRST)
        first = driver.turns[0].cost
    async with chatting(starter_model, settings) as driver:
        await driver.open_newest_chat()
        assert driver.questions == [FIRST]
        await driver.ask(SECOND)
        resumed, answers, ledger = driver.turns[0], driver.answers, await driver.stored_ledger()
        assert driver.remarks == []
    monkeypatch.setenv(paths.HOME_VARIABLE, str(tmp_path))
    async with chatting(starter_model, settings) as driver:
        await driver.ask(FIRST)
        await driver.ask(SECOND)
        unbroken = driver.turns[1]
        assert (answers, ledger) == (driver.answers, await driver.stored_ledger())
    assert resumed.token_ids == unbroken.token_ids
    assert resumed.cost.reused_tokens == unbroken.cost.reused_tokens == first.context_used
    assert resumed.cost.read_tokens == unbroken.cost.read_tokens
    assert resumed.cost.context_used == unbroken.cost.context_used
