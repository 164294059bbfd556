"""Real clients over a real connection: the `openai` package, and `llm` with a model of the server."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import uvicorn
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.serve.openai.asking import USAGE, Asker, Thought, probable, said
from tui_llama.chat import StopReason
from tui_llama.engine.events import Failed, Finished, PromptEncoded, TextPiece
from tui_llama.engine.scripted import Gate, Loss, Step

MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Who are you?"}]
TOOLS: list[ChatCompletionToolParam] = [{"type": "function", "function": {"name": "weather"}}]
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'


@pytest.fixture(autouse=True)
def _without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@asynccontextmanager
async def served(asker: Asker) -> AsyncIterator[str]:
    """Serves the routes on a free port of this machine; gives their base URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(asker.app, log_level="warning", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            await serving


@asynccontextmanager
async def openai_client(asker: Asker) -> AsyncIterator[openai.AsyncOpenAI]:
    async with served(asker) as url, openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


async def test_openai_streams_a_chat() -> None:
    asker = Asker([said(Thought("hm"), "Hel", "lo")])
    async with openai_client(asker) as client:
        stream = await client.chat.completions.create(
            model="llama", messages=MESSAGES, stream=True, stream_options={"include_usage": True}, temperature=0.5
        )
        chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [getattr(chunk.choices[0].delta, "reasoning_content", None) for chunk in chunks[1:2]] == ["hm"]
    assert chunks[-2].choices[0].finish_reason == "stop"
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert (usage.total_tokens, usage.prompt_tokens_details.cached_tokens) == (9, 3)
    assert asker.request.sampling.temperature == 0.5


async def test_openai_gets_a_whole_chat_with_probabilities() -> None:
    script = [PromptEncoded(0, 0, ()), probable("Hello", -0.5, "Hi"), *said(reason=StopReason.LENGTH)[3:]]
    async with openai_client(Asker([script])) as client:
        answer = await client.chat.completions.create(
            model="llama", messages=MESSAGES, logprobs=True, top_logprobs=1, max_completion_tokens=1
        )

    choice = answer.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hello", "length")
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    assert choice.logprobs.content[0].logprob == -0.5
    assert choice.logprobs.content[0].top_logprobs[0].token == "Hi"


async def test_openais_helper_puts_a_streamed_tool_call_together() -> None:
    asker = Asker([said("I look.\n", CALL[:30], CALL[30:])])
    async with (
        openai_client(asker) as client,
        client.chat.completions.stream(model="llama", messages=MESSAGES, tools=TOOLS) as stream,
    ):
        completion = await stream.get_final_completion()

    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("I look.", "tool_calls")
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].function.name == "weather"
    assert choice.message.tool_calls[0].function.arguments == '{"city": "Rome"}'


async def test_openai_sends_what_a_tool_returned() -> None:
    asker = Asker([said(CALL), said("Sunny.")])
    async with openai_client(asker) as client:
        asked = await client.chat.completions.create(model="llama", messages=MESSAGES, tools=TOOLS)
        message: Any = asked.choices[0].message
        result: Any = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}
        answer = await client.chat.completions.create(model="llama", messages=[*MESSAGES, message, result], tools=TOOLS)

    assert answer.choices[0].message.content == "Sunny."


@pytest.mark.parametrize("streams", [True, False])
async def test_openai_continues_a_text(streams: bool) -> None:
    async with openai_client(Asker([said("Hel", "lo")])) as client:
        if streams:
            stream = await client.completions.create(model="llama", prompt="Say", stream=True)
            text = "".join([chunk.choices[0].text async for chunk in stream])
        else:
            text = (await client.completions.create(model="llama", prompt="Say")).choices[0].text

    assert text == "Hello"


async def test_openai_understands_errors() -> None:
    too_long = Failed(0, "the prompt is too long", prompt_tokens=9000)
    in_stream: list[Step] = [PromptEncoded(0, 0, ()), TextPiece(0, "Hel", (1,)), Loss()]
    async with openai_client(Asker([[too_long], in_stream])) as client:
        with pytest.raises(openai.NotFoundError) as not_found:
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.chat.completions.create(model="llama", messages=MESSAGES, n=2)
        with pytest.raises(openai.BadRequestError) as overflow:
            await client.chat.completions.create(model="llama", messages=MESSAGES)
        stream = await client.chat.completions.create(model="llama", messages=MESSAGES, stream=True)
        with pytest.raises(openai.APIError, match="engine ended"):
            _ = [chunk async for chunk in stream]

    assert not_found.value.code == "model_not_found"
    assert refused.value.param == "n"
    assert overflow.value.code == "context_length_exceeded"


async def test_an_answer_that_openai_closes_is_cancelled() -> None:
    gate = Gate()
    asker = Asker([[*said("Hel")[:-1], gate, Finished(0, StopReason.LENGTH, USAGE)], said("Next")])
    async with openai_client(asker) as client:
        stream = await client.chat.completions.create(model="llama", messages=MESSAGES, stream=True)
        await gate.reached()
        await stream.close()
        answer = await client.chat.completions.create(model="llama", messages=MESSAGES)

    assert answer.choices[0].message.content == "Next"


@pytest.mark.parametrize("options", [[], ["--no-stream"]])
async def test_llm_chats_with_a_model_of_the_server(tmp_path: Path, options: list[str]) -> None:
    asker = Asker([said("Hel", "lo")])
    async with served(asker) as url:
        (tmp_path / "extra-openai-models.yaml").write_text(
            f"- model_id: served\n  model_name: llama\n  api_base: {url}\n  api_key_name: served\n"
        )
        (tmp_path / "keys.json").write_text('{"served": "none"}')
        program = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "llm", "-m", "served", "-s", "Be short.", *options, "Who are you?"),
            env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        shown, complaint = await program.communicate()

    assert program.returncode == 0, complaint.decode()
    assert shown.decode().strip() == "Hello"
    assert [message.text for message in asker.request.messages] == ["Be short.", "Who are you?"]
