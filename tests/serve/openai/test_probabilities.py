"""The log-probabilities of tokens in answers."""

from typing import Any

import pytest

from tests.serve.openai.asking import TEXT, USAGE, Asker, probable
from tui_llama.chat import StopReason
from tui_llama.engine.events import Finished, PromptEncoded, TextPiece, TokenProbability
from tui_llama.engine.scripted import Step


def likely(*pieces: TextPiece, reason: StopReason = StopReason.END_OF_GENERATION) -> list[Step]:
    return [PromptEncoded(0, 0, ()), *pieces, Finished(0, reason, USAGE)]


def entry(text: str, logprob: float, token_id: int = 7) -> dict[str, Any]:
    return {"id": token_id, "token": text, "logprob": logprob, "bytes": list(text.encode())}


MARK = probable("<|im_end|>")
END = TextPiece(0, "", MARK.token_ids, MARK.probabilities)


async def test_probabilities_come_with_their_text_and_without_the_end_mark() -> None:
    script = likely(probable("é", -0.5, "e", "é"), probable("!"), END)
    asker = Asker([script, script])
    stream, whole = await asker.ask(stream=True, logprobs=True), await asker.ask(logprobs=True)
    others = [entry("e", -1.5, 9), entry("é", -1.5, 9)]
    told = [{**entry("é", -0.5), "top_logprobs": others}, {**entry("!", -0.5), "top_logprobs": []}]

    assert [chunk["choices"][0].get("logprobs") for chunk in stream.chunks] == [
        None,
        {"content": told[:1]},
        {"content": told[1:]},
        None,
    ]
    assert whole.json["choices"][0]["logprobs"] == {"content": told}


async def test_the_end_mark_has_no_probability_either_where_pieces_were_joined() -> None:
    joined = TextPiece(
        0, "é!", (7, 7, 7), (*probable("é").probabilities, *probable("!").probabilities, *END.probabilities)
    )
    told = (await Asker([likely(joined)]).ask(logprobs=True)).json["choices"][0]["logprobs"]["content"]

    assert [each["token"] for each in told] == ["é", "!"]


async def test_no_probability_is_lost_where_an_answer_is_cut_off() -> None:
    script = likely(probable("é"), END, reason=StopReason.LENGTH)
    stream = await Asker([script]).ask(stream=True, logprobs=True)

    assert [
        each["token"]
        for chunk in stream.chunks
        for each in chunk["choices"][0].get("logprobs", {"content": []})["content"]
    ] == ["é", "<|im_end|>"]


async def test_the_tokens_of_a_stop_text_have_no_probabilities_as_they_have_no_text() -> None:
    held = [TextPiece(0, "", each.token_ids, each.probabilities) for each in (probable("ST"), probable("OP"))]
    script = likely(probable("é"), *held, reason=StopReason.STOP_TEXT)
    asker = Asker([script, script])
    whole, stream = await asker.ask(logprobs=True), await asker.ask(logprobs=True, stream=True)

    assert [each["token"] for each in whole.json["choices"][0]["logprobs"]["content"]] == ["é"]
    told = [chunk["choices"][0].get("logprobs") for chunk in stream.chunks if chunk["choices"]]
    assert [each["token"] for chunk in told if chunk for each in chunk["content"]] == ["é"]


@pytest.mark.parametrize(("text", "tokens"), [("é!", ["é", "!"]), ("é", ["é"])])
async def test_where_pieces_were_joined_before_a_stop_text_what_was_told_has_its_probability(
    text: str, tokens: list[str]
) -> None:
    joined = TextPiece(0, text, (7, 7), (*probable("é").probabilities, *probable("!").probabilities))
    held = TextPiece(0, "", (7,), probable("STOP").probabilities)
    answer = await Asker([likely(joined, held, reason=StopReason.STOP_TEXT)]).ask(logprobs=True)

    assert [each["token"] for each in answer.json["choices"][0]["logprobs"]["content"]] == tokens


async def test_an_impossible_token_has_a_number() -> None:
    told = (await Asker([likely(probable("a", float("-inf")))]).ask(logprobs=True)).json["choices"][0]["logprobs"]

    assert told["content"][0]["logprob"] == -9999.0


async def test_a_texts_probabilities_have_the_old_form() -> None:
    half = TextPiece(0, "", (8,), (TokenProbability(b"\xc3", -1.0, 8),))
    other_half = TextPiece(0, "é", (9,), (TokenProbability(b"\xa9", -2.0, 9),))
    script = likely(probable("a", -0.5, "b"), half, other_half, probable("!"), END)
    asker = Asker([script, script])
    whole = await asker.ask(TEXT, prompt="Say", logprobs=1)
    stream = await asker.ask(TEXT, prompt="Say", logprobs=1, stream=True)

    assert whole.json["choices"][0]["logprobs"] == {
        "tokens": ["a", "bytes:\\xc3", "bytes:\\xa9", "!"],
        "token_logprobs": [-0.5, -1.0, -2.0, -0.5],
        "top_logprobs": [{"b": -1.5, "a": -0.5}, {"bytes:\\xc3": -1.0}, {"bytes:\\xa9": -2.0}, {"!": -0.5}],
        "text_offset": [0, 1, 1, 2],
    }
    told = [chunk["choices"][0]["logprobs"] for chunk in stream.chunks]
    assert [each["text_offset"] for each in told if each] == [[0], [1, 1], [2]]
    assert asker.request.top_probabilities == 1
