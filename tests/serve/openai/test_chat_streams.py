"""Answers of a conversation as they go over the wire, to the byte."""

import pytest

from tests.serve.openai.asking import CHAT, TEXT, Asker, said
from tests.serve.openai.wire import DONE, HEAD, ROLE, TIMINGS, USAGE_FIGURES, delta, streamed
from tui_llama.chat import StopReason, Usage
from tui_llama.engine.events import Finished, PromptEncoded
from tui_llama.engine.scripted import Step


async def test_a_stream_has_the_role_the_text_the_end_and_the_mark() -> None:
    assert await streamed(said("Hel", "", "lo")) == "".join(
        [
            ROLE,
            delta('"content":"Hel"'),
            delta('"content":"lo"'),
            delta("", '"stop"', f",{TIMINGS}"),
            DONE,
        ]
    )


async def test_usage_comes_last_if_it_is_asked_for() -> None:
    body = await streamed(said("Hi"), stream_options={"include_usage": True})

    assert body == "".join(
        [ROLE, delta('"content":"Hi"'), delta("", '"stop"'), f"{HEAD}],{USAGE_FIGURES},{TIMINGS}}}\n\n", DONE]
    )


async def test_progress_is_told_if_it_is_asked_for() -> None:
    body = await streamed(said("Hi"), return_progress=True)
    role = '"role":"assistant","content":null'
    progress = ',"prompt_progress":{{"total":5,"cache":3,"processed":{},"time_ms":0}}'

    assert body == "".join(
        [
            delta(role, further=progress.format(3)),
            delta(role, further=progress.format(5)),
            ROLE,
            delta('"content":"Hi"'),
            delta("", '"stop"', f",{TIMINGS}"),
            DONE,
        ]
    )


async def test_every_chunk_has_timings_if_they_are_asked_for() -> None:
    chunks = (await Asker([said("Hel", "lo")]).ask(stream=True, timings_per_token=True)).chunks

    assert [chunk["timings"]["predicted_n"] for chunk in chunks] == [0, 1, 2, 4]
    assert [chunk["timings"]["cache_n"] for chunk in chunks] == [3, 3, 3, 3]


async def test_the_headers_forbid_holding_a_stream_back() -> None:
    answer = await Asker([said("Hi")]).ask(stream=True)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")


async def test_an_answer_without_a_word_has_its_role_too() -> None:
    assert await streamed(said()) == "".join([ROLE, delta("", '"stop"', f",{TIMINGS}"), DONE])


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (StopReason.END_OF_GENERATION, "stop"),
        (StopReason.STOP_TEXT, "stop"),
        (StopReason.LENGTH, "length"),
        (StopReason.CONTEXT_FULL, "length"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, TEXT])
async def test_the_end_has_its_reason(path: str, reason: StopReason, word: str) -> None:
    asker = Asker([said("Hi", reason=reason), said("Hi", reason=reason)])
    stream, whole = await asker.ask(path, prompt="a", stream=True), await asker.ask(path, prompt="a")

    assert stream.chunks[-1]["choices"][0]["finish_reason"] == word
    assert whole.json["choices"][0]["finish_reason"] == word


async def test_a_whole_answer_is_one_object() -> None:
    answer = await Asker([said("Hel", "lo")]).ask()

    assert answer.headers["content-type"] == "application/json"
    assert answer.body.decode() == (
        '{"id":"chatcmpl-000000000","object":"chat.completion","created":1700000000,"model":"llama",'
        '"system_fingerprint":"fp_a662d82d72","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},'
        f'"finish_reason":"stop"}}],{USAGE_FIGURES},{TIMINGS}}}'
    )


async def test_drafted_tokens_are_told() -> None:
    usage = Usage(drafted_tokens=7, accepted_tokens=3)
    script: list[Step] = [PromptEncoded(0, 0, ()), Finished(0, StopReason.LENGTH, usage)]
    timings = (await Asker([script]).ask()).json["timings"]

    assert (timings["draft_n"], timings["draft_n_accepted"]) == (7, 3)
    assert (timings["prompt_per_second"], timings["predicted_per_token_ms"]) == (0.0, 0.0)
