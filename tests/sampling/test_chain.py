"""The chain in words: what is at work, in which order."""

import pytest

from tui_llama.sampling.chain import chain_names, chain_words
from tui_llama.sampling.settings import SamplingSettings

ALL = SamplingSettings(
    logit_bias="1+1 2-inf",
    repeat_penalty=1.1,
    dry_multiplier=0.8,
    top_n_sigma=1.5,
    typical_p=0.9,
    xtc_probability=0.5,
    dynatemp_range=0.3,
)


def test_the_default_chain_names_its_samplers() -> None:
    assert chain_words(SamplingSettings()) == "top_k 40 → top_p 0.95 → min_p 0.05 → temperature 0.8 → random"


def test_all_samplers_stand_in_llama_cpps_order() -> None:
    assert chain_words(ALL) == (
        "logit_bias 2 → penalties last 64 repeat 1.1 → dry 0.8 base 1.75 allowed 2 last 64 → top_n_sigma 1.5 → "
        "top_k 40 → typ_p 0.9 → top_p 0.95 → min_p 0.05 → xtc 0.5 from 0.1 → temperature 0.5 to 1.1 → random"
    )


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (SamplingSettings(temperature=0), ("greedy",)),
        (SamplingSettings(temperature=0, repeat_penalty=2.0), ("penalties", "greedy")),
        (SamplingSettings(temperature=0, xtc_probability=0.5, top_p=1), ("top_k", "min_p", "xtc", "greedy")),
        (SamplingSettings(temperature=0, dynatemp_range=1), ("top_k", "top_p", "min_p", "temperature", "random")),
        (SamplingSettings(temperature=0, samplers="top_k"), ("top_k", "random")),
        (SamplingSettings(temperature=0, samplers="temp;top_k"), ("greedy",)),
        (SamplingSettings(mirostat=2, repeat_penalty=2.0, logit_bias="1+1"), ("logit_bias", "temperature", "mirostat")),
        (SamplingSettings(mirostat=1, temperature=0), ("greedy",)),
        (SamplingSettings(mirostat=1, temperature=1, dynatemp_range=1), ("mirostat",)),
        (SamplingSettings(samplers="adaptive_p;min_p"), ("min_p", "adaptive_p")),
        (SamplingSettings(samplers="", top_k=1), ("random",)),
        (SamplingSettings(xtc_probability=1, xtc_threshold=0.6, samplers="xtc"), ("random",)),
        (SamplingSettings(dry_multiplier=1, dry_base=0.5, samplers="dry"), ("random",)),
        (SamplingSettings(samplers="top_k;top_k"), ("top_k", "top_k", "random")),
    ],
)
def test_only_what_is_at_work_is_named(settings: SamplingSettings, expected: tuple[str, ...]) -> None:
    assert chain_names(settings) == expected


def test_mirostat_and_adaptive_p_tell_their_values() -> None:
    assert chain_words(SamplingSettings(mirostat=2, temperature=1)) == "mirostat 2 tau 5 eta 0.1"
    words = chain_words(SamplingSettings(samplers="adaptive_p", adaptive_target=0.3, min_keep=3))
    assert words == "adaptive_p 0.3 decay 0.9"
    assert chain_words(SamplingSettings(samplers="min_p", min_keep=3)) == "min_p 0.05 keep 3 → random"
