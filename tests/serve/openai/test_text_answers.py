"""Texts that are continued, streamed and whole."""

from typing import Any

import pytest

from tests.serve.openai.asking import TEXT, Asker, said
from tests.serve.openai.wire import DONE, TEXT_HEAD, TIMINGS, USAGE_FIGURES, streamed, text_chunk
from tui_llama.engine.requests import CompleteRequest


async def test_a_text_is_continued_in_chunks() -> None:
    assert await streamed(said("Hel", "lo"), TEXT, prompt="Say") == "".join(
        [text_chunk("Hel"), text_chunk("lo"), text_chunk("", '"stop"', f",{TIMINGS}"), DONE]
    )


async def test_a_texts_usage_comes_last_if_it_is_asked_for() -> None:
    body = await streamed(said("Hi"), TEXT, prompt="Say", stream_options={"include_usage": True})

    assert body == "".join(
        [text_chunk("Hi"), text_chunk("", '"stop"'), f"{TEXT_HEAD}],{USAGE_FIGURES},{TIMINGS}}}\n\n", DONE]
    )


async def test_a_text_is_continued_at_once() -> None:
    answer = await Asker([said("Hel", "lo")]).ask(TEXT, prompt="Say")

    assert answer.json["object"] == "text_completion"
    assert answer.json["choices"] == [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": "stop"}]


@pytest.mark.parametrize(
    ("prompt", "text", "token_ids"),
    [("Say", "Say", ()), (["Say"], "Say", ()), ([83, 97], "", (83, 97)), ([[83, 97]], "", (83, 97))],
)
async def test_a_prompt_is_text_or_tokens(prompt: Any, text: str, token_ids: tuple[int, ...]) -> None:
    asker = Asker([said("!")])
    answer = await asker.ask(TEXT, prompt=prompt, echo=True)
    request = asker.request

    assert isinstance(request, CompleteRequest)
    assert (request.text, request.ledger, request.answer) == (text, token_ids, None)
    assert request.vocabulary == ("v" if token_ids else "")
    assert answer.json["choices"][0]["text"] == (text or "Sa") + "!"


async def test_a_streamed_echo_comes_first() -> None:
    assert (await streamed(said("!"), TEXT, prompt="Say", echo=True)).startswith(text_chunk("Say") + text_chunk("!"))


@pytest.mark.parametrize(("fields", "most"), [({}, 16), ({"max_tokens": 3}, 3), ({"max_tokens": -1}, None)])
async def test_a_text_has_the_length_that_the_protocol_says(fields: dict[str, Any], most: int | None) -> None:
    asker = Asker()
    await asker.ask(TEXT, prompt="Say", **fields)

    assert asker.request.max_tokens == most


async def test_texts_that_begin_alike_share_their_stored_prompt() -> None:
    asker = Asker()
    for prompt in ("a" * 300, "a" * 400, "b" * 300, [97] * 300):
        await asker.ask(TEXT, prompt=prompt)
    owners = [request.chat_id for request in asker.engine.reply_requests]

    assert owners[0] == owners[1]
    assert len({*owners}) == 3
