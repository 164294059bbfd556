"""How a request says the way in which tokens are chosen."""

from typing import Any

import pytest

from tests.serve.openai.asking import TEXT, Asker
from tui_llama.sampling.settings import SamplingSettings
from tui_llama.sampling.texts import read_biases, read_breakers, read_samplers


async def asked(**fields: Any) -> SamplingSettings:
    asker = Asker()
    answer = await asker.ask(TEXT, prompt="Hello", **fields)
    assert answer.status == 200, answer.body
    return asker.request.sampling


ALL = {
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "min_p": 0.5,
    "seed": 5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repeat_penalty": 1.5,
    "repeat_last_n": 5,
    "typical_p": 0.5,
    "top_n_sigma": 1.5,
    "min_keep": 5,
    "xtc_probability": 0.5,
    "xtc_threshold": 0.2,
    "dynatemp_range": 0.5,
    "dynatemp_exponent": 1.5,
    "dry_multiplier": 0.5,
    "dry_base": 1.5,
    "dry_allowed_length": 5,
    "dry_penalty_last_n": 5,
    "dry_sequence_breakers": ["\n", "END OF"],
    "mirostat": 2,
    "mirostat_tau": 4.5,
    "mirostat_eta": 0.5,
    "adaptive_target": 0.5,
    "adaptive_decay": 0.5,
    "samplers": ["top_k", "adaptive_p"],
    "logit_bias": {"5": 1.5},
}


async def test_every_setting_has_a_field() -> None:
    sampling, usual = await asked(**ALL), await asked()
    same = [name for name in SamplingSettings.__struct_fields__ if getattr(sampling, name) == getattr(usual, name)]
    assert not same
    assert read_breakers(sampling.dry_sequence_breakers) == ("\n", "END OF")
    assert read_samplers(sampling.samplers) == ("top_k", "adaptive_p")


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        ({"15043": -100, "7": False}, ((15043, -100.0), (7, -float("inf")))),
        ({"Hello, world": 0.5}, (("Hello, world", 0.5),)),
        ([[5, 1.0], ["7", False], ['say "no"', -2]], ((5, 1.0), (7, -float("inf")), ('say "no"', -2.0))),
        ({}, ()),
    ],
)
async def test_biases_are_of_tokens_and_of_texts(bias: Any, expected: Any) -> None:
    assert read_biases((await asked(logit_bias=bias)).logit_bias) == expected


async def test_samplers_may_be_letters_and_no_samplers_are_the_usual_ones() -> None:
    assert read_samplers((await asked(samplers="kt")).samplers) == ("top_k", "temperature")
    assert (await asked(samplers=[])).samplers == SamplingSettings().samplers


async def test_another_servers_minus_one_is_the_whole_context() -> None:
    sampling = await asked(dry_penalty_last_n=-1, repeat_last_n=-1)
    assert sampling.dry_penalty_last_n == sampling.penalty_last_n > 64
