"""The figures of answers, and what stands around every answer."""

import msgspec
import pytest

from tests.serve.openai.asking import MODEL, Asker
from tui_llama.engine.events import PromptProgress, TextPiece
from tui_llama.serve.openai.chunks import Envelope, Ids, fingerprint
from tui_llama.serve.openai.figures import RunningFigures


def test_running_figures_follow_the_clock() -> None:
    moment = 10.0
    figures = RunningFigures(lambda: moment)
    moment = 10.25
    assert figures.read(PromptProgress(0, 4, 4, 12)) == {"total": 12, "cache": 4, "processed": 4, "time_ms": 250}
    moment = 10.5
    assert figures.read(PromptProgress(0, 4, 12, 12)) == {"total": 12, "cache": 4, "processed": 12, "time_ms": 500}
    figures.wrote(TextPiece(0, "Hel", (1,)))
    figures.wrote(TextPiece(0, "lo", (2, 3)))
    moment = 12.5

    assert figures.timings() == {
        "cache_n": 4,
        "prompt_n": 8,
        "prompt_ms": 500.0,
        "prompt_per_token_ms": 62.5,
        "prompt_per_second": 16.0,
        "predicted_n": 3,
        "predicted_ms": 2000.0,
        "predicted_per_token_ms": pytest.approx(2000 / 3),
        "predicted_per_second": 1.5,
    }


def test_ids_differ_and_what_computes_has_one_name() -> None:
    one, another = (Envelope("cmpl-", MODEL, Ids()).around("x", []) for _ in range(2))

    assert one["id"] != another["id"]
    assert one["system_fingerprint"] == another["system_fingerprint"] == fingerprint(MODEL)
    assert fingerprint(MODEL) != fingerprint(msgspec.structs.replace(MODEL, vocabulary="w"))


async def test_a_model_whose_file_name_is_no_unicode_is_named_as_it_can_be() -> None:
    asker = Asker(model=msgspec.structs.replace(MODEL, path="/models/ll\udcffma.gguf"))

    assert (await asker.ask()).json["model"] == "ll\\udcffma"
    assert (await asker.ask(model="other")).status == 404
