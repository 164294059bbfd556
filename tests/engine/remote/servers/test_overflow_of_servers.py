"""A conversation that is longer than the context of the server's model."""

import pytest

from tests.engine.remote.remote_chat import (
    ANSWER,
    QUESTION,
    chatting,
    ended_well,
    failure_of,
    reply_request,
)
from tests.fakes import openai_streams as wire
from tests.fakes.engine_events import notices_of
from tests.fakes.openai_dialects import (
    LLAMA_SERVER,
    OLLAMA,
    PLAIN,
    SGLANG,
    VLLM,
    Kind,
)
from tests.fakes.openai_server import stream
from tui_llama.chat import ChatMessage, Role
from tui_llama.engine.events import FailureCause

LONG_CHAT = (
    ChatMessage(Role.SYSTEM, "Be brief."),
    *(
        ChatMessage(role, f"{role} {turn} " + "llama " * 200)
        for turn in range(8)
        for role in (Role.USER, Role.ASSISTANT)
    ),
    QUESTION,
)


@pytest.mark.parametrize("kind", [PLAIN, LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_a_prompt_that_is_too_long_is_sent_again_without_its_oldest_turns(kind: Kind) -> None:
    assert kind.too_long is not None
    async with chatting(kind) as chat:
        events = await chat.ask(kind.too_long, stream(*wire.plain()), request=reply_request(*LONG_CHAT))
        ended_well(events, ANSWER)
        first, second = (request.json for request in chat.server.asked())
        assert len(first["messages"]) == len(LONG_CHAT)
        assert second["messages"][0] == first["messages"][0]
        rest = second["messages"][1:]
        assert rest == first["messages"][-len(rest) :]
        assert 0 < len(rest) < len(LONG_CHAT) - 1
        assert rest[0]["role"] == "user"
        assert {**first, "messages": None} == {**second, "messages": None}


@pytest.mark.parametrize("kind", [PLAIN, LLAMA_SERVER, VLLM, SGLANG], ids=lambda kind: kind.name)
async def test_a_prompt_that_stays_too_long_is_refused(kind: Kind) -> None:
    assert kind.too_long is not None
    async with chatting(kind) as chat:
        events = await chat.ask(*[kind.too_long] * 9, request=reply_request(*LONG_CHAT))
        failure = failure_of(events, FailureCause.ENGINE)
        assert "too long" in failure.message
        assert failure.hint
        assert len(chat.server.asked()) <= 4


async def test_a_single_message_that_is_too_long_is_not_sent_again() -> None:
    assert LLAMA_SERVER.too_long is not None
    async with chatting(LLAMA_SERVER) as chat:
        failure_of(await chat.ask(LLAMA_SERVER.too_long), FailureCause.ENGINE)
        assert len(chat.server.asked()) == 1


async def test_a_server_that_may_have_cut_the_prompt_is_told_of() -> None:
    async with chatting(OLLAMA) as chat:
        one, two = ([*wire.ollama()[:-2], wire.usage({**wire.USAGE, "prompt_tokens": count})] for count in (500, 300))
        assert not notices_of(await chat.ask(one, request=reply_request(*LONG_CHAT[:-2], QUESTION)))
        longer = (*LONG_CHAT[:-2], QUESTION, ChatMessage(Role.ASSISTANT, ANSWER), QUESTION)
        (notice,) = notices_of(await chat.ask(two, request=reply_request(*longer)))
        assert notice
