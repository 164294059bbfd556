"""Clients that wait, and clients that go."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from tests.patience import HANG_SECONDS
from tests.serve.openai.asking import CHAT, TEXT, Asker, Reply, said
from tests.serve.openai.wire import DONE, ROLE
from tui_llama.engine.events import PromptEncoded, PromptProgress, TextPiece
from tui_llama.engine.scripted import Gate


async def test_comments_keep_a_stream_alive_while_the_prompt_is_read() -> None:
    gate, reply = Gate(), Reply()
    script = [PromptEncoded(0, 0, ()), PromptProgress(0, 0, 0, 5), gate, TextPiece(0, "Hi", (1,)), *said()[3:]]
    asker = Asker([script], ping_seconds=0.001)
    asking = asyncio.create_task(asker.send(reply, stream=True))
    await reply.until(b": ping\n\n: ping\n\n")
    gate.open()
    await asking

    assert reply.status == 200
    assert reply.body.replace(b": ping\n\n", b"").startswith(ROLE.encode())
    assert reply.body.endswith(DONE.encode())


async def test_an_error_after_a_comment_is_an_event() -> None:
    gate, reply = Gate(), Reply()
    asker = Asker([[gate]], ping_seconds=0.001)
    asking = asyncio.create_task(asker.send(reply, stream=True))
    await reply.until(b": ping\n\n")
    asker.queue.close()
    await asking

    assert reply.status == 200
    assert reply.chunks == [
        {
            "error": {
                "message": "The server is shutting down.",
                "type": "unavailable_error",
                "code": "shutting_down",
                "param": None,
            }
        }
    ]


@pytest.mark.parametrize("path", [CHAT, TEXT])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_goes_cancels_its_answer(path: str, stream: bool) -> None:
    gate, reply = Gate(), Reply()
    asker = Asker([[*said("Hel")[:-1], gate, TextPiece(0, "late", (2,)), *said()[3:]], said("Next")])
    asking = asyncio.create_task(asker.send(reply, path, prompt="a", stream=stream))
    await gate.reached()
    reply.leave()
    await asking

    assert b"late" not in reply.body
    assert b"[DONE]" not in reply.body
    assert not asker.queue.is_taken
    assert (await asker.ask()).json["choices"][0]["message"]["content"] == "Next"


async def test_a_client_that_goes_while_it_waits_never_gets_the_engine() -> None:
    gate, first, second = Gate(), Reply(), Reply()
    asker = Asker([[PromptEncoded(0, 0, ()), gate, *said("Hi")[1:]]])
    asking = asyncio.create_task(asker.send(first))
    await gate.reached()
    waiting = asyncio.create_task(asker.send(second))
    while not asker.queue.length:
        await asyncio.sleep(0)
    second.leave()
    await waiting
    gate.open()
    await asking

    assert len(asker.engine.reply_requests) == 1
    assert json.loads(first.body)["choices"][0]["message"]["content"] == "Hi"


async def test_the_server_shutting_down_ends_an_answer_that_has_not_begun_with_503() -> None:
    gate, reply = Gate(), Reply()
    asker = Asker([[PromptEncoded(0, 0, ()), gate, *said("Hi")[1:]]])
    asking = asyncio.create_task(asker.send(reply))
    await gate.reached()
    asker.queue.close()
    await asking

    assert (reply.status, reply.error["code"]) == (503, "shutting_down")


class SlowReply(Reply):
    """An answer of which nothing is read before a gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()

    async def take(self, message: MutableMapping[str, Any]) -> None:
        await self.gate.wait()
        await super().take(message)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_reads_slowly_does_not_keep_the_engine(stream: bool) -> None:
    slow = SlowReply()
    asker = Asker([said("Slow", "ly"), said("Next")])
    asking = asyncio.create_task(asker.send(slow, stream=stream))
    await slow.gate.reached()

    async with asyncio.timeout(HANG_SECONDS):
        answered = await asker.ask()
    slow.gate.open()
    await asking

    assert answered.json["choices"][0]["message"]["content"] == "Next"
    assert (slow.text if stream else slow.json["choices"][0]["message"]["content"]) == "Slowly"


async def test_the_engine_waits_for_a_client_for_which_too_much_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_llama.serve.openai.answering._MOST_UNSENT_EVENTS", 2)
    slow = SlowReply()
    asker = Asker([said(*"abcdefgh")])
    asking = asyncio.create_task(asker.send(slow, stream=True))
    await slow.gate.reached()
    for _ in range(100):  # far more than the answer has events
        await asyncio.sleep(0)

    assert asker.queue.is_taken
    slow.gate.open()
    await asking
    assert slow.text == "abcdefgh"
    assert not asker.queue.is_taken
