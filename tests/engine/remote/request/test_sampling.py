"""What a server is told of how tokens are chosen."""

import math
from typing import Any

import pytest

from tui_llama.engine.remote.dialects import DIALECTS, LLAMA_SERVER, LM_STUDIO, OLLAMA, PLAIN, SGLANG, VLLM, Dialect
from tui_llama.engine.remote.request.sampling import SamplingBody, sampling_fields
from tui_llama.engine.requests import ReplyRequest
from tui_llama.sampling.settings import SamplingSettings


def told(dialect: Dialect, **values: Any) -> SamplingBody:
    request = ReplyRequest(1, (), sampling=SamplingSettings(**values), given_sampling=tuple(values))
    return sampling_fields(request, dialect)


def test_llama_server_is_told_all_settings() -> None:
    names = SamplingSettings.__struct_fields__
    fields, unknown = told(LLAMA_SERVER, **{name: getattr(SamplingSettings(), name) for name in names})
    assert unknown == []
    assert fields.keys() == {*names, "repeat_last_n"} - {"penalty_last_n", "seed"}


@pytest.mark.parametrize(
    ("name", "value", "sent"),
    [
        ("samplers", "top-k;temp", ["top_k", "temperature"]),
        ("dry_sequence_breakers", r"\n END\sOF", ["\n", "END OF"]),
        ("dry_sequence_breakers", "none", [""]),
        ("logit_bias", '5+1 7-inf "no"-2', [[5, 1.0], [7, False], ["no", -2.0]]),
        ("mirostat_tau", 3.0, 3.0),
    ],
)
def test_texts_of_settings_become_lists(name: str, value: Any, sent: Any) -> None:
    assert told(LLAMA_SERVER, **{name: value}) == ({name: sent}, [])


@pytest.mark.parametrize("dialect", [PLAIN, VLLM, SGLANG, LM_STUDIO])
def test_openai_has_biases_of_tokens_between_two_limits(dialect: Dialect) -> None:
    assert told(dialect, logit_bias="5+1.5 7-inf 9+300") == ({"logit_bias": {"5": 1.5, "7": -100.0, "9": 100.0}}, [])
    assert told(dialect, logit_bias='"no"-2') == ({}, ["logit_bias"])


def test_what_a_server_does_not_know_is_named() -> None:
    for dialect in (each for each in DIALECTS.values() if each is not LLAMA_SERVER):
        assert told(dialect, dry_multiplier=0.8, samplers="top_k") == ({}, ["dry_multiplier", "samplers"])
    assert told(OLLAMA, logit_bias="5+1") == ({}, ["logit_bias"])


def test_no_infinite_number_is_sent() -> None:
    for dialect in DIALECTS.values():
        fields, _ = told(dialect, logit_bias="5-inf")
        assert not any(isinstance(value, float) and math.isinf(value) for value in fields.values())
