"""The bytes of answers on the wire, with the ids, times and figures of `asking`."""

from collections.abc import Sequence
from typing import Any

from tests.serve.openai.asking import CHAT, Asker
from tui_llama.engine.scripted import Step

HEAD = (
    'data: {"id":"chatcmpl-000000000","object":"chat.completion.chunk","created":1700000000,"model":"llama",'
    '"system_fingerprint":"fp_a662d82d72","choices":['
)
TEXT_HEAD = HEAD.replace("chatcmpl-", "cmpl-").replace("chat.completion.chunk", "text_completion")
TIMINGS = (
    '"timings":{"cache_n":3,"prompt_n":2,"prompt_ms":500.0,"prompt_per_token_ms":250.0,"prompt_per_second":4.0,'
    '"predicted_n":4,"predicted_ms":2000.0,"predicted_per_token_ms":500.0,"predicted_per_second":2.0}'
)
USAGE_FIGURES = (
    '"usage":{"prompt_tokens":5,"completion_tokens":4,"total_tokens":9,"prompt_tokens_details":{"cached_tokens":3}}'
)


def delta(fields: str, finish_reason: str = "null", further: str = "") -> str:
    return f'{HEAD}{{"index":0,"delta":{{{fields}}},"finish_reason":{finish_reason}}}]{further}}}\n\n'


def text_chunk(text: str, finish_reason: str = "null", further: str = "", logprobs: str = "null") -> str:
    inner = f'"index":0,"text":"{text}","logprobs":{logprobs},"finish_reason":{finish_reason}'
    return f"{TEXT_HEAD}{{{inner}}}]{further}}}\n\n"


ROLE = delta('"role":"assistant","content":""')
DONE = "data: [DONE]\n\n"


async def streamed(script: Sequence[Step], path: str = CHAT, **fields: Any) -> str:
    answer = await Asker([script]).ask(path, stream=True, **fields)
    assert answer.status == 200, answer.body
    assert answer.has_ended
    return answer.body.decode()
